//! The one replica that decides: answers clients as far as horizon and promises allow, and keeps its
//! Lease and its ledger. Each event may end the ownership; then it gives the reason.

use std::collections::VecDeque;
use std::time::Duration;

use crate::answer::{Answer, CheckoutRequest, Denial, Outcome, Ticket};
use crate::latest::Wall;
use crate::limits::Slots;
use crate::mutant::{Mutant, mutated};
use crate::promise::{Book, Recorded};
use crate::queue::Queue;
use crate::record::{ObservedLease, ObservedLedger};
use crate::seats::{Checked, Seats};
use crate::settings::Settings;
use crate::status::StopReason;
use crate::store::{RequestId, StoreReply, StoreRequest};
use crate::tenure::{Kept, Tenure};
use crate::time::{BootInstant, shrink, stretch_twice};
use crate::types::{Claim, Generation, Nonce, OperationId};
use crate::waiting::{MAX_WAIT, Waiter, Waiting};

/// A token shorter than this is of no use to a client that must renew in time over a network.
const MIN_VALIDITY: Duration = Duration::from_secs(2);
/// When to come back to an owner that lacks a Lease renewal, a promise, or a place in line.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(1);

/// What an event needs to know besides the owner itself.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) now: BootInstant,
    pub(crate) settings: &'a Settings,
    pub(crate) me: &'a Nonce,
    /// The wall clock as it was told; decides on borrowed documents alone.
    pub(crate) wall: Wall,
}

/// Answers for those who waited.
pub(crate) type Completions = VecDeque<(Ticket, Answer)>;

/// An owner's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Owner<M> {
    pub(crate) tenure: Tenure,
    pub(crate) book: Book,
    pub(crate) seats: Seats<M>,
    pub(crate) waiting: Waiting<M>,
    pub(crate) queue: Queue<M>,
    /// The earliest moment at which recovery may end by a write; None: no recovery is on.
    pub(crate) recovery_ends: Option<BootInstant>,
    /// Whose end, if it becomes known, shortens the recovery (R6b).
    pub(crate) shortened_by: Option<Nonce>,
}

impl<M> Owner<M> {
    pub(crate) fn generation(&self) -> Generation {
        self.book.record().generation
    }

    /// R2: no token is valid beyond this.
    pub(crate) fn horizon_ends(&self, settings: &Settings) -> BootInstant {
        self.tenure.since + shrink(self.book.horizon(settings))
    }

    /// How long a token issued now may last, ρ not yet subtracted; None: not long enough.
    pub(crate) fn lifetime(&self, cx: Context<'_>) -> Result<Duration, Answer> {
        let ttl = self.book.ttl(cx.settings);
        let mut d = ttl.min(self.horizon_ends(cx.settings).since(cx.now));
        if mutated(Mutant::NoHorizon) {
            d = ttl;
        }
        if d < MIN_VALIDITY.min(ttl) { Err(unavailable()) } else { Ok(d) }
    }

    pub(crate) fn checkout(
        &mut self,
        cx: Context<'_>,
        request: CheckoutRequest<M>,
        tickets: &mut u64,
        done: &mut Completions,
    ) -> Outcome {
        self.seats.expire(cx.now);
        if let Some(mut answer) = self.seats.retried_checkout(cx.now, request.operation) {
            if let Answer::Granted { valid_for, .. } = &mut answer
                && mutated(Mutant::RetryGetsFullDuration)
            {
                *valid_for = shrink(self.book.ttl(cx.settings));
            }
            return Outcome::Answer(answer);
        }
        if let Some(key) = self.queue.find(request.operation) {
            return self.attend(cx, key, request, tickets, done);
        }
        let checked = match self.queue.blocks(&request.limits) {
            Some(limit) if cx.settings.accepting() && !self.waiting.holds(&request) => {
                let denial = self.seats.no_units(cx.now, limit, self.recovery_ends);
                Checked::Short(request, denial)
            }
            _ => self.try_checkout(cx, request),
        };
        match checked {
            Checked::Answered(answer) => Outcome::Answer(answer),
            Checked::Short(request, denial) => self.enqueue(cx, request, denial, tickets, done),
            Checked::NeedsPromise(request, slots) => self.wait(cx.now, request, slots, tickets),
        }
    }

    pub(crate) fn try_checkout(&mut self, cx: Context<'_>, request: CheckoutRequest<M>) -> Checked<M> {
        self.end_recovery_by_clock(cx.now);
        if !cx.settings.accepting() {
            return Checked::Answered(Answer::denied(Denial::NotAccepting));
        }
        // A retry of a checkout in line must not count against the units that the first reserves.
        if !self.waiting.is_empty() && self.waiting.holds(&request) {
            return Checked::NeedsPromise(request, Slots::new());
        }
        match self.lifetime(cx) {
            Ok(d) => self.seats.checkout(cx.now, d, request, self.recovery_ends),
            Err(answer) => Checked::Answered(answer),
        }
    }

    fn wait(
        &mut self,
        now: BootInstant,
        request: CheckoutRequest<M>,
        slots: Slots,
        tickets: &mut u64,
    ) -> Outcome {
        if self.waiting.full() {
            return Outcome::Answer(unavailable());
        }
        let ticket = Ticket::draw(tickets);
        let waiter = Waiter { ticket, request, reserves: None, deadline: now + MAX_WAIT };
        self.line_up(waiter, slots);
        Outcome::Wait(ticket)
    }

    pub(crate) fn line_up(&mut self, waiter: Waiter<M>, slots: Slots) {
        self.seats.reserve(&slots, waiter.request.count);
        self.waiting.push(Waiter { reserves: (!slots.is_empty()).then_some(slots), ..waiter });
    }

    fn step_out(&mut self, waiter: &Waiter<M>) {
        if let Some(slots) = &waiter.reserves {
            self.seats.unreserve(slots, waiter.request.count);
        }
    }

    /// Answers everybody in line who can be answered now, in order.
    pub(crate) fn settle(&mut self, cx: Context<'_>, done: &mut Completions) {
        self.book.loans.settle(cx.now, self.generation(), done);
        if !self.waiting.is_empty() {
            self.seats.expire(cx.now);
            self.settle_line(cx, done);
        }
        self.serve(cx, done);
    }

    fn settle_line(&mut self, cx: Context<'_>, done: &mut Completions) {
        let line = self.waiting.take();
        line.iter().for_each(|waiter| self.step_out(waiter));
        for waiter in line {
            let Waiter { ticket, request, deadline, .. } = waiter;
            if let Some(answer) = self.seats.retried_checkout(cx.now, request.operation) {
                done.push_back((ticket, answer));
                continue;
            }
            match self.try_checkout(cx, request) {
                Checked::Answered(answer) => done.push_back((ticket, answer)),
                Checked::Short(request, denial) => self.back_in_queue(cx, ticket, request, denial, done),
                Checked::NeedsPromise(..) if deadline <= cx.now => done.push_back((ticket, unavailable())),
                Checked::NeedsPromise(request, slots) => {
                    self.line_up(Waiter { ticket, request, reserves: None, deadline }, slots);
                }
            }
        }
    }

    pub(crate) fn cancel(&mut self, cx: Context<'_>, ticket: Ticket, done: &mut Completions) {
        self.book.loans.cancel(ticket);
        self.leave_queue(cx, ticket, done);
        if let Some(waiter) = self.waiting.remove(ticket) {
            self.step_out(&waiter);
            // A retry of the same checkout that stays in line has nothing reserved: it is looked at
            // again with the next acknowledged write, like everybody else.
            self.serve(cx, done);
        }
    }

    pub(crate) fn renew(
        &mut self,
        cx: Context<'_>,
        claim: &Claim,
        operation: OperationId,
        meta: impl FnOnce() -> M,
    ) -> Result<Answer, StopReason> {
        self.refuse_rival(claim)?;
        self.seats.expire(cx.now);
        if let Some(answer) = self.seats.settled_renewal(cx.now, claim, operation) {
            return Ok(answer);
        }
        Ok(match self.lifetime(cx) {
            Ok(d) => self.seats.renew(cx.now, d, claim, operation, meta),
            Err(answer) => answer,
        })
    }

    pub(crate) fn checkin(
        &mut self,
        cx: Context<'_>,
        claim: &Claim,
        done: &mut Completions,
    ) -> Result<Answer, StopReason> {
        self.refuse_rival(claim)?;
        self.seats.expire(cx.now);
        self.seats.checkin(claim);
        self.settle(cx, done);
        Ok(Answer::Returned)
    }

    /// R11: a token of this generation that this owner did not issue proves that the ledger was set back, and that
    /// sessions are out of which it says nothing.
    fn refuse_rival(&self, claim: &Claim) -> Result<(), StopReason> {
        self.refuse_newer(claim.generation)?;
        let rival = claim.generation == self.generation() && claim.issuer != self.seats.issuer;
        if rival { Err(StopReason::RivalToken) } else { Ok(()) }
    }

    /// R5: a newer token proves that this owner is no longer it.
    pub(crate) fn refuse_newer(&self, generation: Generation) -> Result<(), StopReason> {
        if generation > self.generation() && !mutated(Mutant::NewerTokenServed) {
            Err(StopReason::NewerToken)
        } else {
            Ok(())
        }
    }

    pub(crate) fn request(&mut self, cx: Context<'_>, id: RequestId) -> Option<StoreRequest> {
        self.seats.expire(cx.now);
        self.end_recovery_by_clock(cx.now);
        if let Some(request) = self.tenure.request(cx.now, id, cx.me) {
            if self.tenure.writing() == Some(id) {
                self.seats.limits.lease_sent();
            }
            return Some(request);
        }
        self.book.request(cx, id, &mut self.seats.limits, self.recovery_ends)
    }

    pub(crate) fn reply(
        &mut self,
        cx: Context<'_>,
        id: RequestId,
        reply: StoreReply,
        done: &mut Completions,
    ) -> Result<(), StopReason> {
        match self.tenure.reply(cx.now, id, &reply, cx.me) {
            Kept::Lost(reason) => return Err(reason),
            Kept::Renewed => self.seats.limits.lease_acknowledged(),
            Kept::Undecided => {}
        }
        match self.book.reply(cx.now, id, reply, &mut self.seats.limits) {
            Recorded::Lost(reason) => return Err(reason),
            Recorded::Acknowledged => self.end_recovery_if_recorded(),
            Recorded::Undecided => {}
        }
        self.settle(cx, done);
        Ok(())
    }

    /// What the mutant does.
    fn end_recovery_by_clock(&mut self, now: BootInstant) {
        if mutated(Mutant::RecoveryEndsByClock) && self.recovery_ends.is_some_and(|end| end <= now) {
            self.recovery_ends = None;
            self.seats.end_recovery();
        }
    }

    fn end_recovery_if_recorded(&mut self) {
        if self.recovery_ends.is_some() && !self.book.record().recovering {
            self.recovery_ends = None;
            self.seats.end_recovery();
        }
    }

    /// R6b, also where the proof comes after the takeover.
    pub(crate) fn previous_ended(&mut self, now: BootInstant, nonce: &Nonce) {
        if self.shortened_by.as_ref() == Some(nonce) {
            let ttl = Duration::from_millis(self.book.record().ttl_ms);
            self.recovery_ends = self.recovery_ends.map(|ends| ends.min(now + stretch_twice(ttl)));
        }
    }

    pub(crate) fn configure(&mut self, cx: Context<'_>, old: &Settings, done: &mut Completions) {
        self.book.configure(cx.now, old, cx.settings);
        self.seats.limits.configure(cx.settings.limits(), self.book.loans.counted());
        if !mutated(Mutant::AskedDocumentKept) {
            self.book.loans.withdraw(&mut self.seats.limits);
        }
        if old.queueing().order != cx.settings.queueing().order {
            self.queue.reorder(cx.settings.queueing().order);
        }
        self.settle(cx, done);
    }

    pub(crate) fn observe_lease(&mut self, cx: Context<'_>, lease: Option<&ObservedLease>) {
        self.tenure.observe(cx.now, lease, cx.me);
    }

    pub(crate) fn observe_ledger(
        &mut self,
        cx: Context<'_>,
        ledger: Option<&ObservedLedger>,
    ) -> Result<(), StopReason> {
        match self.book.observe(cx.now, ledger) {
            Recorded::Lost(reason) => Err(reason),
            _ => Ok(()),
        }
    }

    pub(crate) fn tick(&mut self, cx: Context<'_>, done: &mut Completions) {
        self.seats.expire(cx.now);
        if self.next_deadline().is_some_and(|deadline| deadline <= cx.now) {
            self.settle(cx, done);
        }
    }

    /// When somebody in line has waited too long.
    fn next_deadline(&self) -> Option<BootInstant> {
        let ends = [self.waiting.next_deadline(), self.book.loans.next_deadline(), self.queue.next_end()];
        ends.into_iter().flatten().min()
    }

    pub(crate) fn next_tick(&self, settings: &Settings) -> Option<BootInstant> {
        let ledger = self.book.next_due(&self.seats.limits, settings, self.recovery_ends);
        let times = [self.tenure.next_due(), ledger, self.seats.sessions.next_expiry(), self.next_deadline()];
        times.into_iter().flatten().min()
    }

    /// Everybody in line must ask the next owner.
    pub(crate) fn turn_away(&mut self, done: &mut Completions) {
        self.answer_all_queued(&Answer::NotOwner { address: None }, done);
        let line = self.waiting.take();
        let tickets = line.into_iter().map(|waiter| waiter.ticket).chain(self.book.loans.leave());
        done.extend(tickets.map(|ticket| (ticket, Answer::NotOwner { address: None })));
    }
}

pub(crate) fn unavailable() -> Answer {
    Answer::Unavailable { retry_after: UNAVAILABLE_RETRY }
}
