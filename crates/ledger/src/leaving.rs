//! A replica that was told to stop: serves no more, seals the ledger if it owned it (R6), and gives the
//! Lease to its successor, or up.

use crate::limits::Limits;
use crate::owner::Context;
use crate::promise::{Book, Recorded};
use crate::record::{LeaseRecord, ObservedLease};
use crate::settings::Settings;
use crate::store::{RequestId, StoreReply, StoreRequest};
use crate::tenure::RETRY_PAUSE;
use crate::time::BootInstant;
use crate::types::Nonce;

/// How often to try each write: what is not sealed is recovered in full, and a Lease that is not given
/// up now is taken by a successor after its duration.
const ATTEMPTS: u32 = 3;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// A write of the time before is under way.
    Awaiting(RequestId),
    /// The Lease is to be read.
    Look,
    Looking(RequestId),
    /// The Lease is to be given up.
    Give,
    Giving(RequestId),
    Done,
}

/// The ledger in the hands of an owner that has stopped, to be sealed before the Lease is given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sealing {
    book: Book,
    limits: Limits,
    /// Whether it is known who has the table: only then is it time to seal.
    told: bool,
    attempts: u32,
}

/// A leaving replica's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leaving {
    sealing: Option<Box<Sealing>>,
    successor: Option<Nonce>,
    lease: ObservedLease,
    step: Step,
    attempts: u32,
    pause: BootInstant,
}

impl Leaving {
    /// Gives up this Lease, after the answer to the write of it that is under way, if any.
    pub(crate) fn new(now: BootInstant, lease: ObservedLease, under_way: Option<RequestId>) -> Self {
        let step = under_way.map_or(Step::Give, Step::Awaiting);
        Self { sealing: None, successor: None, lease, step, attempts: 0, pause: now }
    }

    /// As [`new`](Self::new), but first, once it is told who has the table, seals the ledger.
    pub(crate) fn sealing(self, book: Book, limits: Limits) -> Self {
        let sealing = Sealing { book, limits, told: false, attempts: 0 };
        Self { sealing: Some(Box::new(sealing)), ..self }
    }

    /// The table is with this process, or with nobody.
    pub(crate) fn handed_over(&mut self, now: BootInstant, successor: Option<Nonce>) {
        if let Some(sealing) = self.sealing.as_mut().filter(|sealing| !sealing.told) {
            sealing.told = true;
            sealing.book.seal(now);
            self.successor = successor;
        }
    }

    pub(crate) fn done(&self) -> bool {
        self.step == Step::Done
    }

    pub(crate) fn next_due(&self, settings: &Settings) -> Option<BootInstant> {
        match &self.sealing {
            Some(sealing) if sealing.told => sealing.book.next_due(&sealing.limits, settings, None),
            Some(_) => None,
            None => matches!(self.step, Step::Look | Step::Give).then_some(self.pause),
        }
    }

    pub(crate) fn request(&mut self, cx: Context<'_>, id: RequestId) -> Option<StoreRequest> {
        if let Some(sealing) = &mut self.sealing {
            let Sealing { book, limits, told, .. } = &mut **sealing;
            return told.then(|| book.request(cx, id, limits, None)).flatten();
        }
        match self.step {
            _ if cx.now < self.pause => None,
            Step::Look => {
                self.step = Step::Looking(id);
                Some(StoreRequest::ReadLease)
            }
            Step::Give => {
                self.step = Step::Giving(id);
                let holder = self.successor.clone();
                let record = LeaseRecord { holder, transitions: self.lease.record.transitions };
                Some(StoreRequest::WriteLease { expect: self.lease.version.clone(), record })
            }
            _ => None,
        }
    }

    pub(crate) fn reply(&mut self, cx: Context<'_>, id: RequestId, reply: StoreReply) {
        if let Some(sealing) = self.sealing.as_mut().filter(|sealing| sealing.book.awaits(id)) {
            let recorded = sealing.book.reply(cx.now, id, reply, &mut sealing.limits);
            sealing.attempts += u32::from(recorded == Recorded::Undecided);
            match recorded {
                // Somebody else owns the ledger, and so the Lease.
                Recorded::Lost(_) => self.step = Step::Done,
                _ if sealing.book.record().sealed.is_some() || sealing.attempts >= 2 * ATTEMPTS => {}
                _ => return,
            }
            self.pause = cx.now;
            self.sealing = None;
            return;
        }
        self.step = match (&self.step, reply) {
            (Step::Awaiting(sent_as), StoreReply::Written { version }) if *sent_as == id => {
                self.lease.version = version;
                Step::Give
            }
            (Step::Giving(sent_as), StoreReply::Written { .. }) if *sent_as == id => Step::Done,
            (Step::Looking(sent_as), StoreReply::Lease(found)) if *sent_as == id => match found {
                Some(lease) if lease.uid == self.lease.uid && lease.record.holder.as_ref() == Some(cx.me) => {
                    self.lease = lease;
                    Step::Give
                }
                _ => Step::Done,
            },
            (Step::Awaiting(sent_as) | Step::Giving(sent_as) | Step::Looking(sent_as), _)
                if *sent_as == id =>
            {
                self.pause = cx.now + RETRY_PAUSE;
                self.attempts += 1;
                if self.attempts < ATTEMPTS { Step::Look } else { Step::Done }
            }
            (step, _) => step.clone(),
        };
    }
}
