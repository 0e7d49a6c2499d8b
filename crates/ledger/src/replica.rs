//! One process's part in one ledger: follower, candidate, owner, and in the end stopped for good.
//! Takes events and calls with the time they happened at; gives store requests, answers and wake-ups.

use std::time::Duration;

use crate::answer::{Answer, CheckoutRequest, Outcome, Ticket};
use crate::canonical::{Seq, Tally};
use crate::fence::Known;
use crate::handover::Handover;
use crate::latest::Wall;
use crate::leaving::Leaving;
use crate::mutant::{Mutant, mutated};
use crate::owner::{Completions, Context, Owner};
use crate::record::{LeaseRecord, ObservedLease, ObservedLedger, Record, Sealed, UnixSeconds};
use crate::settings::Settings;
use crate::status::StopReason;
use crate::store::{RequestId, StoreReply, StoreRequest};
use crate::takeover::Seeking;
use crate::time::BootInstant;
use crate::types::{Claim, Generation, Holder, Nonce, OperationId, SessionId};

/// One process's part in one ledger. `M` is what the caller remembers of each session.
///
/// After every call the driver sends all that [`take_request`](Self::take_request) gives, hands out
/// all that [`take_completion`](Self::take_completion) gives, and sees to it that
/// [`tick`](Self::tick) is called at [`next_tick`](Self::next_tick). Times must not run backward.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Replica<M> {
    pub(crate) me: Holder,
    pub(crate) settings: Settings,
    pub(crate) phase: Phase<M>,
    /// The newest owner that this replica knows of.
    pub(crate) owner: Option<(Generation, Holder)>,
    /// The largest seq that this replica saw of that owner's records: a ledger below it was set back (R11).
    seq: Seq,
    /// The longest horizon recorded of what may be out, as this replica saw it: a ledger that was set back may say less
    /// (R11).
    horizon: Duration,
    /// The newest generation that a token showed, and the next one where it had two owners: a ledger below it was set
    /// back (R5, R11).
    pub(crate) shown: Generation,
    /// The wall clock as it was told.
    pub(crate) wall: Wall,
    /// The latest time of the newest record that this replica saw of other owners.
    time: UnixSeconds,
    /// The session table of a sealed owner, and when it was received (R6a).
    handed: Option<(BootInstant, Handover<M>)>,
    done: Completions,
    requests: Tally,
    pub(crate) tickets: Tally,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase<M> {
    Seeking(Box<Seeking>),
    Owner(Box<Owner<M>>),
    Leaving(Leaving),
    Stopped(StopReason),
}

impl<M> Replica<M> {
    /// A follower. The holder's nonce must be fresh.
    pub fn new(me: Holder, settings: Settings, now: BootInstant) -> Self {
        let phase = Phase::Seeking(Box::new(Seeking::new(now)));
        Self {
            me,
            settings,
            phase,
            owner: None,
            seq: Seq::default(),
            horizon: Duration::ZERO,
            shown: Generation(0),
            wall: Wall::default(),
            time: UnixSeconds::default(),
            handed: None,
            done: Completions::new(),
            requests: Tally::default(),
            tickets: Tally::default(),
        }
    }

    /// This process, under the name that it has in this ledger.
    pub fn me(&self) -> &Holder {
        &self.me
    }

    /// A follower of the same ledger under a fresh name, after this one has stopped: what it knows of
    /// generations goes along (R11).
    pub fn anew(&self, me: Holder, now: BootInstant) -> Self {
        let Self { owner, seq, horizon, shown, wall, .. } = self;
        let (owner, seq, horizon, shown, wall) = (owner.clone(), *seq, *horizon, *shown, *wall);
        let time = self.latest_time();
        Self { owner, seq, horizon, shown, wall, time, ..Self::new(me, self.settings.clone(), now) }
    }

    /// The plan has changed. Caps, X and ttl that shrink are obeyed at once. An owner of a generation
    /// below the plan's least stops: a ledger that was set back may look like its own. The least never
    /// shrinks, nor does the longest horizon, nor what may have been lent: a plan may be set back with its ledger (R11).
    pub fn configure(&mut self, now: BootInstant, settings: Settings) {
        let least = self.settings.min_generation().max(settings.min_generation());
        let longest = self.settings.longest_horizon().max(settings.longest_horizon());
        let settings = settings.with_min_generation(least).with_longest_horizon(longest);
        let settings = settings.with_may_have_lent(self.settings.may_have_lent());
        let old = std::mem::replace(&mut self.settings, settings);
        let cx = Context { now, settings: &self.settings, me: &self.me.nonce, wall: self.wall };
        let Phase::Owner(owner) = &mut self.phase else { return };
        if owner.generation() < cx.settings.min_generation() && !mutated(Mutant::OldOwnerStays) {
            return self.go_on_or_stop(Err(StopReason::Fenced));
        }
        owner.configure(cx, &old, &mut self.done);
    }

    /// It is known that the process of exactly this nonce has ended (R6b). A deleted Pod object is no
    /// such evidence.
    pub fn previous_ended(&mut self, now: BootInstant, nonce: Nonce) {
        match &mut self.phase {
            Phase::Seeking(seeking) => seeking.previous_ended(now, nonce),
            Phase::Owner(owner) => owner.previous_ended(now, &nonce),
            Phase::Leaving(_) | Phase::Stopped(_) => {}
        }
    }

    /// Another owner's session table (R6a), kept until this replica takes over; gives the nonce to seal
    /// for. None: this replica cannot take it.
    pub fn accept_handover(&mut self, now: BootInstant, handover: Handover<M>) -> Option<Nonce> {
        let Phase::Seeking(seeking) = &self.phase else { return None };
        // A takeover that rests on a table must find it at its end.
        let bound = seeking.is_candidate() && self.handed.is_some();
        let known = self.generation().unwrap_or(Generation(0));
        if bound || handover.sealed.generation < known || !handover.fits() {
            return None;
        }
        self.handed = Some((now, handover));
        Some(self.me.nonce.clone())
    }

    /// The Lease as a watch showed it, possibly late; None: deleted.
    pub fn observe_lease(&mut self, now: BootInstant, lease: Option<ObservedLease>) {
        let cx = Context { now, settings: &self.settings, me: &self.me.nonce, wall: self.wall };
        match &mut self.phase {
            Phase::Seeking(seeking) => seeking.observe_lease(now, lease),
            Phase::Owner(owner) => owner.observe_lease(cx, lease.as_ref()),
            Phase::Leaving(_) | Phase::Stopped(_) => {}
        }
    }

    /// The watch of the Lease broke, and is begun anew: where nobody reached the store, nobody could renew the Lease, so a
    /// follower does not take it right when the store is back.
    pub fn lose_sight_of_lease(&mut self, now: BootInstant) {
        if let Phase::Seeking(seeking) = &mut self.phase {
            seeking.lose_sight(now, &self.me.nonce);
        }
    }

    /// The ledger as a watch showed it, possibly late; None: deleted.
    pub fn observe_ledger(&mut self, now: BootInstant, ledger: Option<ObservedLedger>) {
        self.note_owner(ledger.as_ref());
        let cx = Context { now, settings: &self.settings, me: &self.me.nonce, wall: self.wall };
        match &mut self.phase {
            Phase::Seeking(seeking) if ledger.is_some() => seeking.observe_ledger(now),
            Phase::Owner(owner) => {
                let seen = owner.observe_ledger(cx, ledger.as_ref());
                self.go_on_or_stop(seen);
            }
            _ => {}
        }
    }

    fn note_owner(&mut self, ledger: Option<&ObservedLedger>) {
        if let Some(record) = ledger.and_then(|ledger| ledger.record.as_ref()) {
            self.note_record(record);
        }
    }

    fn note_record(&mut self, record: &Record) {
        if self.owner.as_ref().is_none_or(|(generation, _)| record.generation >= *generation) {
            let same = self.owner.as_ref().is_some_and(|(generation, _)| *generation == record.generation);
            if same && self.owner.as_ref().is_some_and(|(_, holder)| holder.nonce != record.holder.nonce) {
                self.note_rivals(record.generation);
            }
            // A smaller one is recorded once nothing is out for longer: by the owner, and not in recovery.
            let later = same && Seq(record.seq) >= self.seq && !record.recovering;
            if !same || Seq(record.seq) >= self.seq {
                self.time = record.latest_time;
            }
            self.horizon = if later { record.horizon() } else { self.horizon.max(record.horizon()) };
            self.seq = if same { self.seq.max(Seq(record.seq)) } else { Seq(record.seq) };
            self.owner = Some((record.generation, record.holder.clone()));
            // A table of an earlier generation than the ledger's is good for nothing any more.
            let seeking = matches!(&self.phase, Phase::Seeking(seeking) if !seeking.is_candidate());
            self.handed.take_if(|(_, table)| seeking && table.sealed.generation < record.generation);
        }
    }

    /// The latest wall-clock time that the ledger has seen, as far as this replica knows; 0: none. A wall clock that is
    /// far behind it was set back.
    pub fn latest_time(&self) -> UnixSeconds {
        match &self.phase {
            Phase::Owner(owner) => owner.book.record().latest_time,
            _ => self.time,
        }
    }

    fn known(&self) -> Known {
        let owner = self.owner.as_ref().map(|(generation, _)| (*generation, self.seq));
        let told = self.shown.max(self.settings.min_generation());
        let (generation, seq) = owner.unwrap_or_default().max((told, Seq::default()));
        Known { generation, seq, horizon: self.horizon.max(self.settings.longest_horizon()) }
    }

    /// The next request for the store. `now` is read right before the send: it is R2's s.
    pub fn take_request(&mut self, now: BootInstant) -> Option<(RequestId, StoreRequest)> {
        let id = RequestId(self.requests.0);
        let cx = Context { now, settings: &self.settings, me: &self.me.nonce, wall: self.wall };
        let request = match &mut self.phase {
            Phase::Seeking(seeking) => seeking.request(cx, id),
            Phase::Owner(owner) => owner.request(cx, id),
            Phase::Leaving(leaving) => leaving.request(cx, id),
            Phase::Stopped(_) => None,
        }?;
        self.requests.0 += 1;
        Some((id, request))
    }

    /// The answer to a request, exactly one for each.
    pub fn reply(&mut self, now: BootInstant, request: RequestId, reply: StoreReply) {
        if let StoreReply::Ledger(ledger) = &reply {
            self.note_owner(ledger.as_ref());
        }
        let cx = Context { now, settings: &self.settings, me: &self.me.nonce, wall: self.wall };
        let known = self.known();
        match &mut self.phase {
            Phase::Seeking(seeking) => {
                let table = self.handed.as_ref().map(|(_, handover)| &handover.sealed);
                let became = seeking.reply(cx, &self.me, &known, table, (request, reply));
                if let Some((mut owner, table)) = became {
                    if let Some((received, handover)) = self.handed.take().filter(|_| table.is_some()) {
                        owner.seats.take_over(received, handover.sessions);
                    }
                    self.owner = Some((owner.generation(), self.me.clone()));
                    self.seq = Seq(owner.book.record().seq);
                    self.horizon = self.horizon.max(owner.book.record().horizon());
                    self.phase = Phase::Owner(Box::new(owner));
                }
            }
            Phase::Owner(owner) => {
                let kept = owner.reply(cx, request, reply, &mut self.done);
                self.go_on_or_stop(kept);
            }
            Phase::Leaving(leaving) => {
                leaving.reply(cx, request, reply);
                if leaving.done() {
                    self.phase = Phase::Stopped(StopReason::Released);
                }
            }
            Phase::Stopped(_) => {}
        }
    }

    pub(crate) fn go_on_or_stop(&mut self, event: Result<(), StopReason>) {
        if let Err(reason) = event {
            if let Phase::Owner(owner) = &mut self.phase {
                owner.turn_away(&mut self.done);
                // Its last writes, which no watch may have shown it: the ledger may be set back to before them (R11).
                let written = owner.book.record().clone();
                self.note_record(&written);
            }
            self.phase = Phase::Stopped(reason);
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: BootInstant) {
        let cx = Context { now, settings: &self.settings, me: &self.me.nonce, wall: self.wall };
        if let Phase::Owner(owner) = &mut self.phase {
            owner.tick(cx, &mut self.done);
        }
    }

    /// When the next [`tick`](Self::tick) is due, at once if that has passed; None: not before the next
    /// event.
    pub fn next_tick(&self) -> Option<BootInstant> {
        match &self.phase {
            Phase::Seeking(seeking) => seeking.next_due(&self.me.nonce),
            Phase::Owner(owner) => owner.next_tick(&self.settings),
            Phase::Leaving(leaving) => leaving.next_due(&self.settings),
            Phase::Stopped(_) => None,
        }
    }

    /// A client asks for a session.
    pub fn checkout(&mut self, now: BootInstant, request: CheckoutRequest<M>) -> Outcome {
        if let Some(place) = request.wait.as_ref().and_then(|wait| wait.place)
            && !self.note_place(place)
        {
            return self.not_owner();
        }
        let cx = Context { now, settings: &self.settings, me: &self.me.nonce, wall: self.wall };
        match &mut self.phase {
            Phase::Owner(owner) => owner.checkout(cx, request, &mut self.tickets.0, &mut self.done),
            _ => self.not_owner(),
        }
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
        self.note_token(claim);
        let cx = Context { now, settings: &self.settings, me: &self.me.nonce, wall: self.wall };
        match &mut self.phase {
            Phase::Owner(owner) => {
                let answer = owner.renew(cx, claim, operation, meta);
                self.answer_or_stop(answer)
            }
            _ => self.not_owner(),
        }
    }

    /// A client gives back the session of a verified token. The answer to a retry is the same under any
    /// operation id, since a session ends once (R8).
    pub fn checkin(&mut self, now: BootInstant, claim: &Claim, _operation: OperationId) -> Outcome {
        self.note_token(claim);
        let cx = Context { now, settings: &self.settings, me: &self.me.nonce, wall: self.wall };
        match &mut self.phase {
            Phase::Owner(owner) => {
                let answer = owner.checkin(cx, claim, &mut self.done);
                self.answer_or_stop(answer)
            }
            _ => self.not_owner(),
        }
    }

    /// A verified token was shown to this replica: what it says of generations is remembered, also by one that does not
    /// decide (R5, R11).
    pub fn note_token(&mut self, claim: &Claim) {
        self.shown = self.shown.max(claim.generation);
        let rivals = self.owner.as_ref().is_some_and(|(generation, holder)| {
            *generation == claim.generation && holder.nonce.issuer() != claim.issuer
        });
        if rivals {
            self.note_rivals(claim.generation);
        }
    }

    /// This generation had two owners: a ledger that says no more than that was set back (R11).
    fn note_rivals(&mut self, generation: Generation) {
        self.shown = self.shown.max(Generation(generation.0.saturating_add(1)));
    }

    fn answer_or_stop(&mut self, answer: Result<Answer, StopReason>) -> Outcome {
        match answer {
            Ok(answer) => Outcome::Answer(answer),
            Err(reason) => {
                self.go_on_or_stop(Err(reason));
                self.not_owner()
            }
        }
    }

    pub(crate) fn not_owner(&self) -> Outcome {
        let address = self.known_owner().map(|holder| holder.address.clone());
        Outcome::Answer(Answer::NotOwner { address })
    }

    /// The owner to send clients to: another process, and one that still has the Lease as far as
    /// this replica saw.
    pub fn known_owner(&self) -> Option<&Holder> {
        let (_, holder) = self.owner.as_ref()?;
        let has_lease = match &self.phase {
            Phase::Seeking(seeking) => seeking.lease_holder() == Some(&holder.nonce),
            _ => true,
        };
        (has_lease && holder.nonce != self.me.nonce).then_some(holder)
    }

    /// Ends a session: its next renewal is denied, and its units come back when its last token has
    /// run out, or at the client's check-in (R10). False if there is no such session.
    pub fn revoke(&mut self, now: BootInstant, session: SessionId) -> bool {
        match &mut self.phase {
            Phase::Owner(owner) => owner.seats.revoke(now, session),
            _ => false,
        }
    }

    /// Changes what the caller remembers of a live session; nothing where there is none.
    pub fn describe(&mut self, session: SessionId, change: impl FnOnce(&mut M)) {
        if let Phase::Owner(owner) = &mut self.phase
            && let Some(session) = owner.seats.sessions.get_mut(session)
        {
            change(&mut session.meta);
        }
    }

    /// The next call that waited and has its answer now.
    pub fn take_completion(&mut self) -> Option<(Ticket, Answer)> {
        self.done.pop_front()
    }

    /// Nobody waits for this ticket any more. A seat that it got in the meantime runs out; a document that it
    /// asked for is lent, or given back, all the same.
    pub fn cancel(&mut self, now: BootInstant, ticket: Ticket) {
        let cx = Context { now, settings: &self.settings, me: &self.me.nonce, wall: self.wall };
        if let Phase::Owner(owner) = &mut self.phase {
            owner.cancel(cx, ticket, &mut self.done);
        }
    }

    /// Told to stop, with nobody to hand over to: as [`hand_over`](Self::hand_over).
    pub fn release(&mut self, now: BootInstant) {
        if self.hand_over(now).is_some() {
            self.handed_over(now, None);
        }
    }

    /// Told to stop: serves no more, and gives up the Lease so that a successor need not wait for it.
    /// Done when the role is [`Role::Stopped`](crate::Role::Stopped). An owner gives its session table,
    /// and goes on when it is told who has it (R6a); one that is still recovering has none to give.
    pub fn hand_over(&mut self, now: BootInstant) -> Option<Handover<M>> {
        let stopped = Phase::Stopped(StopReason::Released);
        let (leaving, handover) = match std::mem::replace(&mut self.phase, stopped) {
            Phase::Seeking(seeking) => {
                let (lease, under_way) = seeking.held()?;
                (Leaving::new(now, lease, under_way), None)
            }
            Phase::Owner(owner) => self.leave(now, *owner),
            before => {
                self.phase = before;
                return None;
            }
        };
        self.phase = Phase::Leaving(leaving);
        handover
    }

    fn leave(&mut self, now: BootInstant, mut owner: Owner<M>) -> (Leaving, Option<Handover<M>>) {
        owner.turn_away(&mut self.done);
        let Owner { tenure, book, mut seats, recovery_ends, .. } = owner;
        let record = LeaseRecord { holder: Some(self.me.nonce.clone()), transitions: tenure.transitions };
        let lease =
            ObservedLease { uid: tenure.uid.clone(), version: tenure.version.clone(), record, stale: false };
        let leaving = Leaving::new(now, lease, tenure.writing());
        if recovery_ends.is_some() {
            return (leaving, None);
        }
        let sealed = Sealed { generation: book.record().generation, nonce: self.me.nonce.clone() };
        let handover = Handover { sealed, sessions: seats.hand_over(now) };
        (leaving.sealing(book, seats.limits), Some(handover))
    }

    /// The table that [`hand_over`](Self::hand_over) gave is with this process now, which gets the Lease;
    /// None: with nobody.
    pub fn handed_over(&mut self, now: BootInstant, successor: Option<Nonce>) {
        if let Phase::Leaving(leaving) = &mut self.phase {
            leaving.handed_over(now, successor);
        }
    }
}
