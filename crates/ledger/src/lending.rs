//! R9 as clients and administrators see it: who gets a document, and when it is over. The entries are
//! kept in `borrowing`, and counted in `limits`.

use std::sync::Arc;

use crate::answer::{Answer, Denial, Outcome, Ticket};
use crate::borrowing::{BORROW_SKEW, BorrowRequest};
use crate::owner::{Context, Owner, unavailable};
use crate::record::{Borrowed, UnixSeconds};
use crate::replica::{Phase, Replica};
use crate::settings::Borrowing;
use crate::status::StopReason;
use crate::time::BootInstant;
use crate::types::Generation;

impl<M> Replica<M> {
    /// The wall clock shows `wall`. It ends borrowed documents, is kept in the ledger as the latest time where the
    /// settings want it, and decides nothing else; until it is told, no document is lent and none ends. Told every
    /// minute or so it is precise enough, and before the first request it lets a fence date what was lost (R11). For
    /// documents a clock that was set back counts as stopped.
    pub fn set_wall_clock(&mut self, now: BootInstant, wall: UnixSeconds) {
        self.wall.show(wall);
        let cx = Context { now, settings: &self.settings, me: &self.me.nonce, wall: self.wall };
        if let Phase::Owner(owner) = &mut self.phase {
            owner.tell_wall(cx);
        }
    }

    /// A client asks for a document (R9). [`Answer::Lent`] comes when its entry is known to be in the ledger;
    /// a retry, at any owner, gets the same end again until the document has ended or was given back. Whose
    /// retry it is, is the caller's to check, by the grant of the answer. [`Answer::Returned`] says that the
    /// document is over, or that a lowered cap left no room for it before it was issued.
    /// Denied with [`Denial::BorrowingOff`](crate::Denial::BorrowingOff),
    /// [`BorrowPeriod`](crate::Denial::BorrowPeriod), [`BorrowLimit`](crate::Denial::BorrowLimit), or like a
    /// checkout; unavailable past the horizon and without a wall clock.
    pub fn borrow(&mut self, now: BootInstant, request: &BorrowRequest) -> Outcome {
        let cx = Context { now, settings: &self.settings, me: &self.me.nonce, wall: self.wall };
        match &mut self.phase {
            Phase::Owner(owner) => owner.borrow(cx, request, &mut self.tickets.0),
            _ => self.not_owner(),
        }
    }

    /// A client gives back the document `id`, which was issued under `generation`: it has forgotten it
    /// before it said so (R7). [`Answer::Returned`] comes when the entry is known to be gone; then its units
    /// may be used again. An administrator ends a document, or what stands for lost ones (R11), in the same
    /// way, with generation 0, and answers for it that nobody works with it any more.
    pub fn give_back_borrowed(&mut self, now: BootInstant, id: &str, generation: Generation) -> Outcome {
        self.shown = self.shown.max(generation);
        let cx = Context { now, settings: &self.settings, me: &self.me.nonce, wall: self.wall };
        match &mut self.phase {
            Phase::Owner(owner) => {
                let outcome = owner.give_back_borrowed(cx, id, generation, &mut self.tickets.0);
                outcome.unwrap_or_else(|reason| {
                    self.go_on_or_stop(Err(reason));
                    self.not_owner()
                })
            }
            _ => self.not_owner(),
        }
    }
}

impl<M> Owner<M> {
    /// R9: the document is issued once its entry is known to be written. One that is lent already is issued
    /// again, by any owner, since its end is the same (R8).
    pub(crate) fn borrow(&mut self, cx: Context<'_>, request: &BorrowRequest, tickets: &mut u64) -> Outcome {
        self.seats.expire(cx.now);
        if self.horizon_ends(cx.settings) <= cx.now || self.book.loans.line_full() {
            return Outcome::Answer(unavailable());
        }
        let (id, generation) = (request.id(), self.generation());
        if self.book.loans.over(&id) {
            return Outcome::Answer(Answer::Returned);
        }
        if !self.book.loans.holds(&id) {
            match self.to_lend(cx, request, id.clone()) {
                Ok(entry) => self.book.loans.ask(entry, &mut self.seats.limits),
                Err(answer) => return Outcome::Answer(answer),
            }
        }
        if let Some(answer) = self.book.loans.answer(&id, generation) {
            return Outcome::Answer(answer);
        }
        self.wait_for_loan(cx, id, tickets)
    }

    fn to_lend(&self, cx: Context<'_>, request: &BorrowRequest, id: Arc<str>) -> Result<Borrowed, Answer> {
        let BorrowRequest { grant, ref limits, count, until, .. } = *request;
        if !cx.settings.accepting() {
            return Err(Answer::denied(Denial::NotAccepting));
        }
        let Some(Borrowing { max_units, longest }) = cx.settings.borrowing() else {
            return Err(Answer::denied(Denial::BorrowingOff));
        };
        let wall = cx.wall.latest.ok_or_else(unavailable)?;
        if until <= wall || until > wall.plus(longest) {
            return Err(Answer::denied(Denial::BorrowPeriod { longest }));
        }
        let (slots, _) =
            self.seats.room(cx.now, limits, count, self.recovery_ends).map_err(Answer::denied)?;
        let limits = self.seats.limits.names(&slots);
        let entry = Borrowed { id, grant, count, limits, ends: until.plus(BORROW_SKEW) };
        if !self.book.loans.room(&entry, max_units.get()) {
            return Err(Answer::denied(Denial::BorrowLimit));
        }
        Ok(entry)
    }

    fn wait_for_loan(&mut self, cx: Context<'_>, id: Arc<str>, tickets: &mut u64) -> Outcome {
        let ticket = Ticket::draw(tickets);
        self.book.loans.wait(cx.now, ticket, id);
        Outcome::Wait(ticket)
    }

    /// R9: answered once the entry is known to be gone.
    pub(crate) fn give_back_borrowed(
        &mut self,
        cx: Context<'_>,
        id: &str,
        generation: Generation,
        tickets: &mut u64,
    ) -> Result<Outcome, StopReason> {
        self.refuse_newer(generation)?;
        if self.book.loans.line_full() {
            return Ok(Outcome::Answer(unavailable()));
        }
        if !self.book.loans.end(id, &mut self.seats.limits) {
            return Ok(Outcome::Answer(Answer::Returned));
        }
        Ok(self.wait_for_loan(cx, id.into(), tickets))
    }

    /// The wall clock was told anew.
    pub(crate) fn tell_wall(&mut self, cx: Context<'_>) {
        let Some(wall) = cx.wall.latest else { return };
        let lost_end = cx.settings.may_have_lent().map(|b| wall.plus(b.longest).plus(BORROW_SKEW));
        self.book.loans.tell_wall(wall, lost_end, &mut self.seats.limits);
    }
}
