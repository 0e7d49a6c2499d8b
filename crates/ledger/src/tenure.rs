//! An owner's hold on the Lease (R2): renews it, finds out what became of a renewal that got no clear
//! answer, and stops for good when the Lease is gone or another's.

use std::sync::Arc;
use std::time::Duration;

use crate::mutant::{Mutant, mutated};
use crate::record::{LeaseRecord, ObservedLease};
use crate::status::StopReason;
use crate::store::{RequestId, StoreReply, StoreRequest};
use crate::time::BootInstant;
use crate::types::{Nonce, Version};

/// L: how long a Lease must be seen unchanged before another replica takes it, ρ apart. For liveness
/// only; three renewals fit in.
pub const LEASE_DURATION: Duration = Duration::from_secs(10);
/// How often the owner renews its Lease: two writes for each three seats' worth of waiting under Q
/// would be too many, and a slower one keeps freed seats from their next user.
pub const LEASE_RENEW: Duration = Duration::from_secs(3);
/// How long to wait after a request that failed without a clear answer.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// A request under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Flight {
    Read(RequestId),
    Write(RequestId, BootInstant),
}

/// What a reply meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// The reply was to another request, or decides nothing.
    Undecided,
    /// The last renewal sent is acknowledged.
    Renewed,
    /// This owner holds the Lease no more.
    Lost(StopReason),
}

/// The Lease in its owner's hands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tenure {
    pub(crate) uid: Arc<str>,
    pub(crate) version: Version,
    pub(crate) transitions: u32,
    /// R2's s: when the last acknowledged renewal was sent.
    pub(crate) since: BootInstant,
    flight: Option<Flight>,
    /// The version may be another by now: read before the next write.
    doubt: bool,
    due: BootInstant,
}

impl Tenure {
    /// The Lease just taken by a write sent at `since`, which gave it this version.
    pub(crate) fn new(uid: Arc<str>, version: Version, transitions: u32, since: BootInstant) -> Self {
        Self { uid, version, transitions, since, flight: None, doubt: false, due: since + LEASE_RENEW }
    }

    /// The next request, if one is due; a write counts as sent now.
    pub(crate) fn request(&mut self, now: BootInstant, id: RequestId, me: &Nonce) -> Option<StoreRequest> {
        if self.flight.is_some() || now < self.due {
            return None;
        }
        if self.doubt {
            self.flight = Some(Flight::Read(id));
            return Some(StoreRequest::ReadLease);
        }
        self.flight = Some(Flight::Write(id, now));
        let record = LeaseRecord { holder: Some(me.clone()), transitions: self.transitions };
        Some(StoreRequest::WriteLease { expect: self.version.clone(), record })
    }

    /// When [`request`](Self::request) will have something; None: after the reply.
    pub(crate) fn next_due(&self) -> Option<BootInstant> {
        self.flight.is_none().then_some(self.due)
    }

    /// The id of the write under way.
    pub(crate) fn writing(&self) -> Option<RequestId> {
        match self.flight {
            Some(Flight::Write(id, _)) => Some(id),
            _ => None,
        }
    }

    pub(crate) fn reply(&mut self, now: BootInstant, id: RequestId, reply: &StoreReply, me: &Nonce) -> Kept {
        match self.flight.clone() {
            Some(Flight::Write(sent_as, sent)) if sent_as == id => {
                self.flight = None;
                self.wrote(now, sent, reply)
            }
            Some(Flight::Read(sent_as)) if sent_as == id => {
                self.flight = None;
                self.read(now, reply, me)
            }
            _ => Kept::Undecided,
        }
    }

    fn wrote(&mut self, now: BootInstant, sent: BootInstant, reply: &StoreReply) -> Kept {
        match reply {
            StoreReply::Written { version } => {
                self.version = version.clone();
                self.since = if mutated(Mutant::HorizonFromAnswer) { now } else { sent };
                self.doubt = false;
                self.due = sent + LEASE_RENEW;
                Kept::Renewed
            }
            StoreReply::Conflict => {
                self.doubt = true;
                self.due = now;
                Kept::Undecided
            }
            _ => {
                if mutated(Mutant::UnknownRenewalCounts) {
                    self.since = sent;
                }
                self.doubt = true;
                self.due = now + RETRY_PAUSE;
                Kept::Undecided
            }
        }
    }

    fn read(&mut self, now: BootInstant, reply: &StoreReply, me: &Nonce) -> Kept {
        let StoreReply::Lease(found) = reply else {
            self.due = now + RETRY_PAUSE;
            return Kept::Undecided;
        };
        match found {
            Some(lease) if lease.uid == self.uid && lease.record.holder.as_ref() == Some(me) => {
                self.version = lease.version.clone();
                self.doubt = false;
                self.due = now;
                Kept::Undecided
            }
            Some(lease) if lease.uid == self.uid => Kept::Lost(StopReason::LeaseTaken),
            _ => Kept::Lost(StopReason::LeaseGone),
        }
    }

    /// A watch may be late, so what it shows only makes the owner look for itself.
    pub(crate) fn observe(&mut self, now: BootInstant, lease: Option<&ObservedLease>, me: &Nonce) {
        let mine = |l: &ObservedLease| l.uid == self.uid && l.record.holder.as_ref() == Some(me);
        if !lease.is_some_and(mine) && !self.doubt {
            self.doubt = true;
            self.due = now;
        }
    }
}
