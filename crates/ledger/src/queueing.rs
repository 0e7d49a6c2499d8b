//! How an owner keeps its queue: who comes in, who is served, and who leaves.
//!
//! Units go to those who wait in their order. One who cannot have units now blocks the limits that are full for it, so
//! that nobody who comes later takes what comes free there; who touches none of them passes by.

use std::collections::BTreeSet;

use crate::answer::{Answer, CheckoutRequest, Denial, Outcome, Place, Ticket, Wait};
use crate::owner::{Completions, Context, Owner, unavailable};
use crate::queue::{Caller, Key, PLACE_KEPT, Queued};
use crate::replica::{Phase, Replica};
use crate::seats::Checked;
use crate::time::BootInstant;
use crate::waiting::{MAX_WAIT, Waiter};

impl<M> Replica<M> {
    /// The call that waits under `ticket` has to be answered now. [`Answer::Queued`]: it waits for units, and keeps its
    /// place, and units that come free for it, for 5 s more. None: it does not wait for units.
    pub fn postpone(&mut self, now: BootInstant, ticket: Ticket) -> Option<Answer> {
        let cx = Context { now, settings: &self.settings, me: &self.me.nonce, wall: self.wall };
        match &mut self.phase {
            Phase::Owner(owner) => owner.postpone(cx, ticket),
            _ => None,
        }
    }

    /// A place was shown: one that a later owner gave proves that there is one (R5). False: this one decides no more.
    pub(crate) fn note_place(&mut self, place: Place) -> bool {
        self.shown = self.shown.max(place.generation);
        if let Phase::Owner(owner) = &self.phase {
            let newer = owner.refuse_newer(place.generation);
            if newer.is_err() {
                self.go_on_or_stop(newer);
                return false;
            }
        }
        true
    }
}

impl<M> Owner<M> {
    /// A checkout that there are too few units for.
    pub(crate) fn enqueue(
        &mut self,
        cx: Context<'_>,
        mut request: CheckoutRequest<M>,
        denial: Denial,
        tickets: &mut u64,
        done: &mut Completions,
    ) -> Outcome {
        let possible = self.seats.limits.possible(&request.limits, request.count);
        let Some(wait) = self.may_wait(cx, &mut request).filter(|_| possible) else {
            return Outcome::Answer(Answer::denied(denial));
        };
        let ticket = Ticket::draw(tickets);
        self.queue_up(cx, request, wait, ticket);
        self.serve(cx, done);
        Outcome::Wait(ticket)
    }

    /// How a checkout waits, taken out of it, where it may.
    fn may_wait(&self, cx: Context<'_>, request: &mut CheckoutRequest<M>) -> Option<Wait> {
        let full = self.queue.full(&cx.settings.queueing());
        request.wait.take().filter(|wait| wait.until > cx.now && !full)
    }

    fn queue_up(&mut self, cx: Context<'_>, request: CheckoutRequest<M>, wait: Wait, ticket: Ticket) {
        let key = self.queue.key(cx.settings.queueing().order, &wait);
        self.queue.insert(key, Queued { request, wait, caller: Caller::Here(ticket), holds: None });
    }

    /// Who waited for a larger promise finds the units gone: a lower cap, or somebody before it.
    pub(crate) fn back_in_queue(
        &mut self,
        cx: Context<'_>,
        ticket: Ticket,
        mut request: CheckoutRequest<M>,
        denial: Denial,
        done: &mut Completions,
    ) {
        match (self.may_wait(cx, &mut request), self.queue.find(request.operation)) {
            (Some(wait), Some(key)) => self.change_caller(key, ticket, wait.until, done),
            (Some(wait), None) => self.queue_up(cx, request, wait, ticket),
            (None, _) => done.push_back((ticket, Answer::denied(denial))),
        }
    }

    /// Another call for a checkout that is in the queue already.
    pub(crate) fn attend(
        &mut self,
        cx: Context<'_>,
        key: Key,
        request: CheckoutRequest<M>,
        tickets: &mut u64,
        done: &mut Completions,
    ) -> Outcome {
        let ticket = Ticket::draw(tickets);
        self.change_caller(key, ticket, request.wait.map_or(cx.now, |wait| wait.until), done);
        self.serve(cx, done);
        Outcome::Wait(ticket)
    }

    fn change_caller(&mut self, key: Key, ticket: Ticket, until: BootInstant, done: &mut Completions) {
        self.queue.change(key, |queued| {
            if let Caller::Here(before) = queued.caller {
                done.push_back((before, unavailable()));
            }
            (queued.caller, queued.wait.until) = (Caller::Here(ticket), until);
        });
    }

    fn postpone(&mut self, cx: Context<'_>, ticket: Ticket) -> Option<Answer> {
        let key = self.queue.of_ticket(ticket)?;
        self.queue.change(key, |queued| queued.caller = Caller::Away(cx.now + PLACE_KEPT));
        let position = self.queue.position(key, cx.settings.queueing().order, |l| self.seats.limits.used(l));
        Some(Answer::Queued { place: key.1, position })
    }

    /// Its caller has gone.
    pub(crate) fn leave_queue(&mut self, cx: Context<'_>, ticket: Ticket, done: &mut Completions) {
        if let Some(key) = self.queue.of_ticket(ticket) {
            self.queue.remove(key);
            self.serve(cx, done);
        }
    }

    /// Everybody in the queue is told the same.
    pub(crate) fn answer_all_queued(&mut self, answer: &Answer, done: &mut Completions) {
        self.put_back_what_is_kept();
        while let Some(queued) = self.queue.any().and_then(|key| self.queue.remove(key)) {
            if let Caller::Here(ticket) = queued.caller {
                done.push_back((ticket, answer.clone()));
            }
        }
    }

    /// Gives out what can be had now, in order.
    pub(crate) fn serve(&mut self, cx: Context<'_>, done: &mut Completions) {
        if !self.queue.is_empty() {
            self.seats.expire(cx.now);
            self.put_back_what_is_kept();
            self.end_waits(cx, done);
            match self.lifetime(cx) {
                _ if !cx.settings.accepting() => {
                    self.answer_all_queued(&Answer::denied(Denial::NotAccepting), done);
                }
                Ok(_) => self.serve_in_order(cx, done),
                // Past the horizon nobody gets anything; who waits does so for the next Lease renewal, too.
                Err(_) => {}
            }
        }
        let queued = self.queue.len() as u64;
        let limits = &mut self.seats.limits;
        limits.changed |= limits.queued != queued;
        limits.queued = queued;
    }

    fn put_back_what_is_kept(&mut self) {
        while let Some(key) = self.queue.first_holding() {
            let seats = &mut self.seats;
            self.queue.change(key, |queued| {
                if let Some(slots) = queued.holds.take() {
                    seats.unreserve(&slots, queued.request.count);
                }
            });
        }
    }

    fn end_waits(&mut self, cx: Context<'_>, done: &mut Completions) {
        while let Some(key) = self.queue.ended(cx.now) {
            let Some(queued) = self.queue.remove(key) else { break };
            if let Caller::Here(ticket) = queued.caller {
                done.push_back((ticket, Answer::denied(self.why_not(cx.now, &queued.request))));
            }
        }
    }

    /// Why a checkout waited in vain: what it lacks, or what those before it are waiting for.
    fn why_not(&self, now: BootInstant, request: &CheckoutRequest<M>) -> Denial {
        let room = self.seats.room(now, &request.limits, request.count, self.recovery_ends);
        match (room, self.queue.blocks(&request.limits)) {
            (Err(denial), _) => denial,
            (Ok(_), Some(limit)) => self.seats.no_units(now, limit, self.recovery_ends),
            (Ok(_), None) => Denial::NotAccepting,
        }
    }

    fn serve_in_order(&mut self, cx: Context<'_>, done: &mut Completions) {
        let order = cx.settings.queueing().order;
        let (mut last, mut passed) = (None, BTreeSet::new());
        self.queue.unblock();
        while !self.queue.blocked_for_all()
            && let Some(key) = self.queue.next(order, last, &passed, |limit| self.seats.limits.used(limit))
        {
            last = Some(key);
            passed.insert(key);
            self.serve_one(cx, key, done);
        }
    }

    fn serve_one(&mut self, cx: Context<'_>, key: Key, done: &mut Completions) {
        let Some(queued) = self.queue.get(key) else { return };
        let (limits, count) = (queued.request.limits.clone(), queued.request.count);
        if self.queue.blocks(&limits).is_some() {
            return self.block_what_is_full(key);
        }
        match (self.seats.room(cx.now, &limits, count, self.recovery_ends), queued.caller) {
            (Err(Denial::NoUnits { .. }), _) => self.block_what_is_full(key),
            (Ok((slots, _)), Caller::Away(_)) => {
                self.seats.reserve(&slots, count);
                self.queue.change(key, |queued| queued.holds = Some(slots));
            }
            (Ok(_) | Err(_), _) => {
                let Some(queued) = self.queue.remove(key) else { return };
                let Caller::Here(ticket) = queued.caller else { return };
                // Should the promise that it waits for next be in vain, it has its place still.
                let wait = Some(Wait { place: Some(key.1), ..queued.wait });
                match self.try_checkout(cx, CheckoutRequest { wait, ..queued.request }) {
                    Checked::Answered(answer) => done.push_back((ticket, answer)),
                    Checked::Short(_, denial) => done.push_back((ticket, Answer::denied(denial))),
                    Checked::NeedsPromise(request, slots) => {
                        let deadline = cx.now + MAX_WAIT;
                        self.line_up(Waiter { ticket, request, reserves: None, deadline }, slots);
                    }
                }
            }
        }
    }

    fn block_what_is_full(&mut self, key: Key) {
        let Some(queued) = self.queue.get(key) else { return };
        if let Ok(slots) = self.seats.limits.planned(&queued.request.limits) {
            let full: Vec<_> = self.seats.limits.full(&slots, queued.request.count).collect();
            self.queue.block(full);
        }
    }
}
