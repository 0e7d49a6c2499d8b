//! A replica that was told to stop: serves no more, and gives up the Lease if it holds it.

use crate::owner::Context;
use crate::record::{LeaseRecord, ObservedLease};
use crate::store::{RequestId, StoreReply, StoreRequest};
use crate::tenure::RETRY_PAUSE;
use crate::time::BootInstant;

/// How often to try: what is not given up now is taken by a successor after the Lease's duration.
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

/// A leaving replica's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Leaving {
    lease: ObservedLease,
    step: Step,
    attempts: u32,
    pause: BootInstant,
}

impl Leaving {
    /// Gives up this Lease, after the answer to the write of it that is under way, if any.
    pub(crate) fn new(now: BootInstant, lease: ObservedLease, under_way: Option<RequestId>) -> Self {
        let step = under_way.map_or(Step::Give, Step::Awaiting);
        Self { lease, step, attempts: 0, pause: now }
    }

    pub(crate) fn done(&self) -> bool {
        self.step == Step::Done
    }

    pub(crate) fn next_due(&self) -> Option<BootInstant> {
        matches!(self.step, Step::Look | Step::Give).then_some(self.pause)
    }

    pub(crate) fn request(&mut self, cx: Context<'_>, id: RequestId) -> Option<StoreRequest> {
        match self.step {
            _ if cx.now < self.pause => None,
            Step::Look => {
                self.step = Step::Looking(id);
                Some(StoreRequest::ReadLease)
            }
            Step::Give => {
                self.step = Step::Giving(id);
                let record = LeaseRecord { holder: None, transitions: self.lease.record.transitions };
                Some(StoreRequest::WriteLease { expect: self.lease.version.clone(), record })
            }
            _ => None,
        }
    }

    pub(crate) fn reply(&mut self, cx: Context<'_>, id: RequestId, reply: StoreReply) {
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
