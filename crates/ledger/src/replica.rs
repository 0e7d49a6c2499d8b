//! One process's part in one ledger: follower, candidate, owner, and in the end stopped for good.
//! Takes events and calls with the time they happened at; gives store requests, answers and wake-ups.

use crate::answer::{Answer, CheckoutRequest, Outcome, Ticket};
use crate::record::{ObservedLease, ObservedLedger};
use crate::settings::Settings;
use crate::status::{SessionView, Status};
use crate::store::{RequestId, StoreReply, StoreRequest};
use crate::time::BootInstant;
use crate::types::{Claim, Holder, Nonce, OperationId, SessionId};

/// One process's part in one ledger. `M` is what the caller remembers of each session.
///
/// After every call the driver sends all that [`take_request`](Self::take_request) gives, hands out
/// all that [`take_completion`](Self::take_completion) gives, and sees to it that
/// [`tick`](Self::tick) is called at [`next_tick`](Self::next_tick). Times must not run backwards.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica<M> {
    m: std::marker::PhantomData<M>,
}

#[allow(unused_variables, clippy::todo)]
impl<M: Clone> Replica<M> {
    /// A follower. The holder's nonce must be fresh.
    pub fn new(me: Holder, settings: Settings, now: BootInstant) -> Self {
        todo!()
    }

    /// The plan has changed. Caps, X and ttl that shrink are obeyed at once.
    pub fn configure(&mut self, now: BootInstant, settings: Settings) {
        todo!()
    }

    /// It is known that the process of exactly this nonce has ended (R6b). A deleted Pod object is no
    /// such evidence.
    pub fn previous_ended(&mut self, now: BootInstant, nonce: Nonce) {
        todo!()
    }

    /// The Lease as a watch showed it, possibly late; None: deleted.
    pub fn observe_lease(&mut self, now: BootInstant, lease: Option<ObservedLease>) {
        todo!()
    }

    /// The ledger as a watch showed it, possibly late; None: deleted.
    pub fn observe_ledger(&mut self, now: BootInstant, ledger: Option<ObservedLedger>) {
        todo!()
    }

    /// The next request for the store. `now` is read right before the send: it is R2's s.
    pub fn take_request(&mut self, now: BootInstant) -> Option<(RequestId, StoreRequest)> {
        todo!()
    }

    /// The answer to a request, exactly one for each.
    pub fn reply(&mut self, now: BootInstant, request: RequestId, reply: StoreReply) {
        todo!()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: BootInstant) {
        todo!()
    }

    /// When the next [`tick`](Self::tick) is due; None: not before the next event.
    pub fn next_tick(&self) -> Option<BootInstant> {
        todo!()
    }

    /// A client asks for a session.
    pub fn checkout(&mut self, now: BootInstant, request: CheckoutRequest<M>) -> Outcome {
        todo!()
    }

    /// A client renews the session of a verified token. `meta` is called if the session is taken
    /// over from an earlier owner (R5).
    pub fn renew(
        &mut self,
        now: BootInstant,
        claim: &Claim,
        operation: OperationId,
        meta: impl FnOnce() -> M,
    ) -> Outcome {
        todo!()
    }

    /// A client gives back the session of a verified token.
    pub fn checkin(&mut self, now: BootInstant, claim: &Claim, operation: OperationId) -> Outcome {
        todo!()
    }

    /// Ends a session: its next renewal is denied, and its units come back when its last token has
    /// run out, or at the client's check-in (R10). False if there is no such session.
    pub fn revoke(&mut self, now: BootInstant, session: SessionId) -> bool {
        todo!()
    }

    /// The next checkout that waited and has its answer now.
    pub fn take_completion(&mut self) -> Option<(Ticket, Answer)> {
        todo!()
    }

    /// Nobody waits for this ticket any more.
    pub fn cancel(&mut self, ticket: Ticket) {
        todo!()
    }

    /// Told to stop: serves no more, and gives up the Lease so that a successor need not wait for it.
    /// Done when the role is [`Role::Stopped`](crate::Role::Stopped).
    pub fn release(&mut self, now: BootInstant) {
        todo!()
    }

    /// What this replica knows.
    pub fn status(&self, now: BootInstant) -> Status {
        todo!()
    }

    /// The owner's live sessions; none elsewhere.
    pub fn sessions(&self) -> impl Iterator<Item = SessionView<'_, M>> {
        std::iter::empty()
    }
}
