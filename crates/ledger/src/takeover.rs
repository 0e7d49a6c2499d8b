//! A replica that is not the owner: watches the Lease, and takes over in the order of R3 (read the
//! ledger, take the Lease, fence the ledger with the version read first) when nobody holds it.

use std::collections::BTreeMap;

use crate::fence::{Basis, Fence, Known, fence};
use crate::limits::Limits;
use crate::mutant::{Mutant, mutated};
use crate::owner::{Context, Owner};
use crate::promise::Book;
use crate::queue::Queue;
use crate::record::{LeaseRecord, ObservedLease, ObservedLedger, Sealed};
use crate::seats::Seats;
use crate::store::{RequestId, StoreReply, StoreRequest};
use crate::tenure::{LEASE_DURATION, LEASE_RENEW, RETRY_PAUSE, Tenure};
use crate::time::{BootInstant, stretch};
use crate::types::{Holder, Nonce, Version};
use crate::waiting::Waiting;

/// Most processes known to have ended: a ledger has a handful of replicas. Without the evidence a
/// recovery is merely longer.
const MAX_EVIDENCE: usize = 64;

/// A state of the Lease, and when this process first saw it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Seen {
    lease: ObservedLease,
    at: BootInstant,
}

/// The Lease in this replica's hands, before the fence.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Taken {
    lease: ObservedLease,
    /// When the write that took it was sent: R2's s.
    sent: BootInstant,
}

/// How far the takeover has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// Not begun.
    Watching,
    /// The Lease is being read, to see who has it.
    Looking(RequestId),
    /// (1) The ledger is being read.
    Reading(RequestId),
    /// (1) is done, (2) is to be sent.
    Read(ObservedLedger),
    /// (2) The Lease is being written, over the state `replaces`.
    Taking { id: RequestId, found: ObservedLedger, replaces: Seen, taken: Taken },
    /// (2) is done, (3) is to be sent.
    Taken { found: ObservedLedger, fence: Box<Fence>, taken: Taken },
    /// The mutant's (1), after (2).
    Reread { id: Option<RequestId>, since: BootInstant, taken: Taken },
    /// (3) The ledger is being fenced.
    Fencing { id: RequestId, sent: BootInstant, fence: Box<Fence>, taken: Taken },
}

/// A follower's or candidate's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seeking {
    seen: Option<Seen>,
    step: Step,
    /// What is known of the Lease is doubtful: read it.
    look: bool,
    /// No request before this.
    pause: BootInstant,
    /// The store was out of sight while the Lease was watched, and has not been seen since.
    blind: bool,
    /// After that, the Lease is not taken by time alone before this.
    back_at: Option<BootInstant>,
    /// When the ledger was last read.
    read_at: BootInstant,
    /// Processes known to have ended, and since when this process knows it.
    evidence: BTreeMap<Nonce, BootInstant>,
}

impl Seeking {
    pub(crate) fn new(now: BootInstant) -> Self {
        Self {
            seen: None,
            step: Step::Watching,
            look: true,
            pause: now,
            blind: false,
            back_at: None,
            read_at: now,
            evidence: BTreeMap::new(),
        }
    }

    pub(crate) fn is_candidate(&self) -> bool {
        !matches!(self.step, Step::Watching | Step::Looking(_))
    }

    /// Who holds the Lease, as far as this replica saw.
    pub(crate) fn lease_holder(&self) -> Option<&Nonce> {
        self.seen.as_ref().and_then(|seen| seen.lease.record.holder.as_ref())
    }

    pub(crate) fn previous_ended(&mut self, now: BootInstant, nonce: Nonce) {
        if self.evidence.len() < MAX_EVIDENCE {
            self.evidence.entry(nonce).or_insert(now);
        }
    }

    pub(crate) fn observe_lease(&mut self, now: BootInstant, lease: Option<ObservedLease>) {
        match lease {
            Some(lease) => {
                self.look = false;
                self.pause = self.pause.min(now);
                self.saw(now, lease);
            }
            None => self.lease_missing(now),
        }
    }

    fn saw(&mut self, now: BootInstant, lease: ObservedLease) {
        let known = self.seen.as_ref().is_some_and(|seen| seen.lease.is(&lease));
        if !known {
            (self.blind, self.back_at) = (false, None);
            let first = self.seen.as_ref().map(|seen| seen.at);
            let at = first.filter(|_| mutated(Mutant::RecoveryFromFirstSight)).unwrap_or(now);
            self.seen = Some(Seen { lease, at });
        } else if self.blind {
            self.back(now);
        }
    }

    /// The watch of the Lease broke: what becomes of it is not seen. That counts until the Lease would be free, or else for
    /// once: a watch that breaks all the time keeps no ledger from its next owner.
    pub(crate) fn lose_sight(&mut self, now: BootInstant, me: &Nonce) {
        let waiting = |seen: &Seen| {
            !self.free(seen, me) && (self.back_at.is_none() || now < seen.at + stretch(LEASE_DURATION))
        };
        self.blind |= self.seen.as_ref().is_some_and(waiting);
    }

    /// A replica that could not reach the store has not seen the Lease left alone: its owner may have been cut off as
    /// well. It gets the time of a renewal to come back first.
    fn back(&mut self, now: BootInstant) {
        self.blind = false;
        self.back_at = Some(now + stretch(LEASE_RENEW));
    }

    fn lease_missing(&mut self, now: BootInstant) {
        self.seen = None;
        self.look = true;
        self.pause = now + LEASE_DURATION;
    }

    pub(crate) fn observe_ledger(&mut self, now: BootInstant) {
        self.pause = self.pause.min(now);
    }

    /// When the Lease may be taken, as far as is known.
    fn free_at(&self, me: &Nonce) -> Option<BootInstant> {
        let seen = self.seen.as_ref()?;
        if self.free(seen, me) {
            return Some(seen.at);
        }
        let left_alone = seen.at + stretch(LEASE_DURATION);
        Some(self.back_at.map_or(left_alone, |back| back.max(left_alone)))
    }

    /// Whether nobody is waited for. Whose Lease it was may have ended; where it is one of the past, somebody may know
    /// of later owners, and gets the time to say so (R11).
    fn free(&self, seen: &Seen, me: &Nonce) -> bool {
        let free = match &seen.lease.record.holder {
            None => !seen.lease.stale,
            Some(holder) => holder == me || !seen.lease.stale && self.evidence.contains_key(holder),
        };
        free || mutated(Mutant::LeaseTakenAtAnyTime)
    }

    pub(crate) fn next_due(&self, me: &Nonce) -> Option<BootInstant> {
        match self.step {
            Step::Watching if self.look => Some(self.pause),
            Step::Watching => self.free_at(me).map(|at| at.max(self.pause)),
            Step::Read(_) | Step::Taken { .. } | Step::Reread { id: None, .. } => Some(self.pause),
            _ => None,
        }
    }

    pub(crate) fn request(&mut self, cx: Context<'_>, id: RequestId) -> Option<StoreRequest> {
        if self.next_due(cx.me).is_none_or(|due| due > cx.now) {
            return None;
        }
        match std::mem::replace(&mut self.step, Step::Watching) {
            Step::Watching if self.look => {
                self.step = Step::Looking(id);
                Some(StoreRequest::ReadLease)
            }
            Step::Watching => {
                self.step = Step::Reading(id);
                Some(StoreRequest::ReadLedger)
            }
            Step::Read(found) => self.take(cx, id, found),
            Step::Taken { found, fence, taken } => {
                let record = fence.record.clone();
                self.step = Step::Fencing { id, sent: cx.now, fence, taken };
                Some(StoreRequest::WriteLedger { expect: found.version, record })
            }
            Step::Reread { since, taken, .. } => {
                self.step = Step::Reread { id: Some(id), since, taken };
                Some(StoreRequest::ReadLedger)
            }
            under_way => {
                self.step = under_way;
                None
            }
        }
    }

    /// (2), unless the Lease turned out to be held since (1).
    fn take(&mut self, cx: Context<'_>, id: RequestId, found: ObservedLedger) -> Option<StoreRequest> {
        let free = self.free_at(cx.me).is_some_and(|at| at <= cx.now);
        let replaces = self.seen.clone().filter(|_| free && !self.look)?;
        let expect = replaces.lease.version.clone();
        let changes_hands = replaces.lease.record.holder.as_ref() != Some(cx.me);
        let transitions = replaces.lease.record.transitions.saturating_add(changes_hands.into());
        let record = LeaseRecord { holder: Some(cx.me.clone()), transitions };
        let lease = ObservedLease { record: record.clone(), stale: false, ..replaces.lease.clone() };
        self.step = Step::Taking { id, found, replaces, taken: Taken { lease, sent: cx.now } };
        Some(StoreRequest::WriteLease { expect, record })
    }

    fn basis<'a>(
        &'a self,
        cx: Context<'_>,
        replaced_seen: BootInstant,
        table: Option<&'a Sealed>,
    ) -> Basis<'a> {
        Basis { replaced_seen, read_at: self.read_at, wall: cx.wall, evidence: &self.evidence, table }
    }

    /// The answer to a request; gives the owner that this replica has become by it, and whose session
    /// table it begins with. `table` says whose table this replica holds.
    pub(crate) fn reply<M>(
        &mut self,
        cx: Context<'_>,
        me: &Holder,
        known: &Known,
        table: Option<&Sealed>,
        (id, reply): (RequestId, StoreReply),
    ) -> Option<(Owner<M>, Option<Sealed>)> {
        match std::mem::replace(&mut self.step, Step::Watching) {
            Step::Looking(sent_as) if sent_as == id => self.looked(cx.now, reply),
            Step::Reading(sent_as) if sent_as == id => self.read(cx, reply),
            Step::Taking { id: sent_as, found, replaces, taken } if sent_as == id => {
                let basis = self.basis(cx, replaces.at, table);
                let fence = fence(found.record.as_ref(), me, cx.settings, known, &basis);
                if mutated(Mutant::ServeBeforeFence) && matches!(reply, StoreReply::Written { .. }) {
                    return Some(own(cx, found.version, fence, taken, cx.now));
                }
                self.took(cx.now, reply, found, fence, taken);
                if mutated(Mutant::LedgerReadAfterLease)
                    && let Step::Taken { taken, .. } = &self.step
                {
                    self.step = Step::Reread { id: None, since: replaces.at, taken: taken.clone() };
                }
            }
            Step::Reread { id: Some(sent_as), since, taken } if sent_as == id => {
                self.pause = cx.now + RETRY_PAUSE;
                if let StoreReply::Ledger(Some(found)) = reply {
                    self.pause = cx.now;
                    let basis = self.basis(cx, since, table);
                    let fence = fence(found.record.as_ref(), me, cx.settings, known, &basis);
                    self.step = Step::Taken { found, fence: Box::new(fence), taken };
                }
            }
            Step::Fencing { id: sent_as, sent, fence, taken } if sent_as == id => match reply {
                StoreReply::Written { version } => {
                    return Some(own(cx, version, *fence, taken, sent));
                }
                StoreReply::Conflict => self.pause = cx.now,
                _ => self.pause = cx.now + RETRY_PAUSE,
            },
            other => self.step = other,
        }
        None
    }

    fn looked(&mut self, now: BootInstant, reply: StoreReply) {
        match reply {
            StoreReply::Lease(Some(lease)) => {
                self.look = false;
                self.pause = now;
                self.saw(now, lease);
            }
            StoreReply::Lease(None) => self.lease_missing(now),
            _ => self.pause = now + RETRY_PAUSE,
        }
    }

    fn read(&mut self, cx: Context<'_>, reply: StoreReply) {
        let now = cx.now;
        match reply {
            StoreReply::Ledger(Some(_)) if self.blind => self.back(now),
            StoreReply::Ledger(Some(found)) => {
                self.read_at = now;
                self.step = Step::Read(found);
            }
            StoreReply::Ledger(None) => self.pause = now + LEASE_DURATION,
            _ => {
                self.blind = self.seen.as_ref().is_some_and(|seen| !self.free(seen, cx.me));
                self.pause = now + RETRY_PAUSE;
            }
        }
    }

    fn took(
        &mut self,
        now: BootInstant,
        reply: StoreReply,
        found: ObservedLedger,
        fence: Fence,
        mut taken: Taken,
    ) {
        match reply {
            StoreReply::Written { version } => {
                taken.lease.version = version;
                self.saw(now, taken.lease.clone());
                self.pause = now;
                self.step = Step::Taken { found, fence: Box::new(fence), taken };
            }
            StoreReply::Conflict => {
                self.look = true;
                self.pause = now;
            }
            _ => {
                self.look = true;
                self.pause = now + RETRY_PAUSE;
            }
        }
    }

    /// The Lease that this replica holds, or may get by the write under way, if any.
    pub(crate) fn held(self) -> Option<(ObservedLease, Option<RequestId>)> {
        match self.step {
            Step::Taking { id, replaces, taken, .. } => {
                Some((ObservedLease { version: replaces.lease.version, ..taken.lease }, Some(id)))
            }
            Step::Taken { taken, .. } | Step::Fencing { taken, .. } => Some((taken.lease, None)),
            _ => None,
        }
    }
}

/// (3) is known to be written: this replica decides from now on.
fn own<M>(
    cx: Context<'_>,
    version: Version,
    fence: Fence,
    taken: Taken,
    sent: BootInstant,
) -> (Owner<M>, Option<Sealed>) {
    let Taken { lease, sent: since } = taken;
    let limits = Limits::fenced(&fence.record, cx.settings.limits());
    let queue = Queue::new(fence.record.generation);
    let owner = Owner {
        tenure: Tenure::new(lease.uid, lease.version, lease.record.transitions, since),
        seats: Seats::new(fence.record.generation, cx.me.issuer(), limits),
        book: Book::new(version, fence.record, sent, cx.settings),
        waiting: Waiting::new(),
        queue,
        recovery_ends: fence.recovery_ends,
        shortened_by: fence.shortened_by,
    };
    (owner, fence.table)
}
