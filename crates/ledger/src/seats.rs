//! Who sits where: the sessions of an owner, counted on its limits. Every decision about a seat is
//! here (R1, R4, R5, Q, R8, R10); when it may be made, and for how long, is the owner's to say.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::answer::{Answer, CheckoutRequest, Denial};
use crate::canonical::Tally;
use crate::handover::HandedSession;
use crate::limits::{Limits, Slots};
use crate::meter::{Fit, Meter};
use crate::mutant::{Mutant, mutated};
use crate::sessions::{Session, Sessions};
use crate::tenure::LEASE_RENEW;
use crate::time::{BootInstant, shrink, stretch};
use crate::types::{Claim, Generation, Issuer, LimitId, LimitSet, OperationId, SessionId};

/// Most sessions of one ledger, ended ones that recovery remembers included: about 400 MB.
const MAX_SESSIONS: usize = 2_000_000;
/// When to come back to a full table: sessions end all the time.
const FULL_TABLE_RETRY: Duration = Duration::from_secs(5);

/// Sessions and what they are counted on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Seats<M> {
    generation: Generation,
    /// This owner, as its tokens name it.
    pub(crate) issuer: Issuer,
    pub(crate) limits: Limits,
    pub(crate) sessions: Sessions<M>,
    /// Sessions of earlier owners that ended in this recovery: not to be adopted again (R5).
    ended: BTreeSet<SessionId>,
    granted: Tally,
}

/// When this owner's clock may say that a token of `d` from `now` has run out (Q).
fn expiry(now: BootInstant, d: Duration) -> BootInstant {
    now + if mutated(Mutant::ExpiryUnstretched) { d } else { stretch(d) }
}

/// What became of a checkout.
pub(crate) enum Checked<M> {
    /// It has its answer.
    Answered(Answer),
    /// There are too few units for it now.
    Short(CheckoutRequest<M>, Denial),
    /// A larger promise must be known to be written first.
    NeedsPromise(CheckoutRequest<M>, Slots),
}

impl<M> Seats<M> {
    pub(crate) fn new(generation: Generation, issuer: Issuer, limits: Limits) -> Self {
        Self {
            generation,
            issuer,
            limits,
            sessions: Sessions::new(),
            ended: BTreeSet::new(),
            granted: Tally(SessionId::first_of(issuer)),
        }
    }

    /// Ends what has run out by `now`.
    pub(crate) fn expire(&mut self, now: BootInstant) {
        while let Some((id, session)) = self.sessions.pop_expired(now) {
            if self.counts_as_old(&session) {
                self.ended.insert(id);
                self.limits.each(&session.slots, session.count, Meter::spend);
            } else {
                self.limits.each(&session.slots, session.count, Meter::run_out);
            }
        }
    }

    fn counts_as_old(&self, session: &Session<M>) -> bool {
        session.adopted && self.limits.recovering()
    }

    fn table_full(&self) -> bool {
        self.sessions.len() + self.ended.len() >= MAX_SESSIONS
    }

    /// R8: the first answer again, with what is left of it.
    pub(crate) fn retried_checkout(&self, now: BootInstant, operation: OperationId) -> Option<Answer> {
        let id = self.sessions.opened_by(operation)?;
        self.token(now, id, false)
    }

    /// A checkout of units for `d` from now.
    pub(crate) fn checkout(
        &mut self,
        now: BootInstant,
        d: Duration,
        request: CheckoutRequest<M>,
        recovery_ends: Option<BootInstant>,
    ) -> Checked<M> {
        match self.room(now, &request.limits, request.count, recovery_ends) {
            Err(denial @ Denial::NoUnits { .. }) => Checked::Short(request, denial),
            Err(denial) => Checked::Answered(Answer::denied(denial)),
            Ok((slots, true)) => Checked::Answered(self.open(now, d, request, slots)),
            Ok((slots, false)) => Checked::NeedsPromise(request, slots),
        }
    }

    /// The meters of `limits` if each has room for `count` more units, and whether a promise covers them.
    pub(crate) fn room(
        &self,
        now: BootInstant,
        limits: &LimitSet,
        count: NonZeroU32,
        recovery_ends: Option<BootInstant>,
    ) -> Result<(Slots, bool), Denial> {
        let slots = self.limits.planned(limits).map_err(|limit| Denial::UnknownLimit { limit })?;
        match self.limits.fit(&slots, count) {
            (Fit::Full, Some(limit)) => Err(self.no_units(now, limit, recovery_ends)),
            (fit, _) => Ok((slots, fit == Fit::Fits)),
        }
    }

    /// This limit has too few units.
    pub(crate) fn no_units(
        &self,
        now: BootInstant,
        limit: LimitId,
        recovery_ends: Option<BootInstant>,
    ) -> Denial {
        let soon = self.limits.frees_soon(limit).then_some(LEASE_RENEW);
        let retry_after = soon.or(recovery_ends.map(|end| end.since(now)));
        Denial::NoUnits { limit, in_recovery: self.limits.recovering(), retry_after }
    }

    fn open(&mut self, now: BootInstant, d: Duration, request: CheckoutRequest<M>, slots: Slots) -> Answer {
        let next = SessionId::new(self.generation, self.granted.0);
        let Some(id) = next.filter(|_| !self.table_full()) else {
            return Answer::Unavailable { retry_after: FULL_TABLE_RETRY };
        };
        self.granted.0 += 1;
        self.limits.each(&slots, request.count, Meter::open);
        let session = Session {
            grant: request.grant,
            count: request.count,
            slots,
            opened: Some(request.operation),
            last: request.operation,
            counter: 0,
            adopted: false,
            revoked: false,
            until: now + d,
            expires: expiry(now, d),
            meta: request.meta,
        };
        self.sessions.insert(id, session);
        self.token(now, id, false).unwrap_or_else(|| Answer::denied(Denial::SessionExpired))
    }

    /// R8: a renewal that was answered before gets that answer again; a session that is over here is
    /// never renewed. None: decide.
    pub(crate) fn settled_renewal(
        &mut self,
        now: BootInstant,
        claim: &Claim,
        operation: OperationId,
    ) -> Option<Answer> {
        match self.sessions.get(claim.session) {
            Some(session) if session.revoked => Some(Answer::denied(Denial::SessionRevoked)),
            Some(session) if session.last == operation => {
                Some(self.token(now, claim.session, false).unwrap_or(Answer::denied(Denial::SessionExpired)))
            }
            Some(session) if claim.counter < session.counter && !mutated(Mutant::ClonesRenewed) => {
                let clone = claim.counter + 1 == session.counter;
                if clone {
                    self.limits.clones += 1;
                    self.limits.changed = true;
                }
                let reason = if clone { Denial::CloneDetected } else { Denial::SessionExpired };
                Some(Answer::denied(reason))
            }
            Some(_) => None,
            None if claim.generation == self.generation || self.ended.contains(&claim.session) => {
                Some(Answer::denied(Denial::SessionExpired))
            }
            None if !self.limits.recovering() => Some(Answer::denied(Denial::SessionUnknown)),
            None => None,
        }
    }

    /// A renewal for `d` from now, by adoption where the session is an earlier owner's (R5).
    pub(crate) fn renew(
        &mut self,
        now: BootInstant,
        d: Duration,
        claim: &Claim,
        operation: OperationId,
        meta: impl FnOnce() -> M,
    ) -> Answer {
        let adopted = match self.sessions.get_mut(claim.session) {
            Some(session) => {
                session.last = operation;
                session.counter = session.counter.max(claim.counter).saturating_add(1);
                session.until = now + d;
                session.expires = session.expires.max(expiry(now, d));
                false
            }
            None => match self.adopt(now, d, claim, operation, meta) {
                Ok(()) => true,
                Err(answer) => return answer,
            },
        };
        self.token(now, claim.session, adopted).unwrap_or_else(|| Answer::denied(Denial::SessionExpired))
    }

    fn adopt(
        &mut self,
        now: BootInstant,
        d: Duration,
        claim: &Claim,
        operation: OperationId,
        meta: impl FnOnce() -> M,
    ) -> Result<(), Answer> {
        let full = Answer::Unavailable { retry_after: FULL_TABLE_RETRY };
        if self.table_full() {
            return Err(full);
        }
        let slots = self.limits.adopted(&claim.limits).ok_or(full)?;
        self.limits.adoptable(&slots, claim.count).map_err(|limit| {
            Answer::denied(Denial::NoUnits { limit, in_recovery: true, retry_after: None })
        })?;
        self.limits.each(&slots, claim.count, Meter::adopt);
        let session = Session {
            grant: claim.grant,
            count: claim.count,
            slots,
            opened: None,
            last: operation,
            counter: claim.counter.saturating_add(1),
            adopted: true,
            revoked: false,
            until: now + d,
            expires: expiry(now, d),
            meta: meta(),
        };
        self.sessions.insert(claim.session, session);
        Ok(())
    }

    /// The client is done with the session: it has forgotten it before it said so (R7).
    pub(crate) fn checkin(&mut self, claim: &Claim) {
        match self.sessions.remove(claim.session) {
            Some(session) if self.counts_as_old(&session) => {
                self.ended.insert(claim.session);
                self.limits.each(&session.slots, session.count, Meter::spend);
            }
            Some(session) => self.limits.each(&session.slots, session.count, Meter::give_back),
            None => self.checkin_unadopted(claim),
        }
    }

    /// Keeps an earlier owner's session from being adopted after its check-in.
    fn checkin_unadopted(&mut self, claim: &Claim) {
        if claim.generation < self.generation && self.limits.recovering() && !self.table_full() {
            self.ended.insert(claim.session);
        }
    }

    pub(crate) fn revoke(&mut self, now: BootInstant, id: SessionId) -> bool {
        self.expire(now);
        let found = self.sessions.get_mut(id).map(|session| session.revoked = true).is_some();
        if mutated(Mutant::RevokedFreesAtOnce)
            && let Some(session) = self.sessions.remove(id)
        {
            self.limits.each(&session.slots, session.count, Meter::give_back);
        }
        found
    }

    /// A checkout waits for a larger promise, or no longer does.
    pub(crate) fn reserve(&mut self, slots: &Slots, count: NonZeroU32) {
        self.limits.each(slots, count, Meter::reserve);
    }

    pub(crate) fn unreserve(&mut self, slots: &Slots, count: NonZeroU32) {
        self.limits.each(slots, count, Meter::unreserve);
    }

    /// R6a: what this owner's successor needs, by one that has stopped for good. What ran out before is
    /// free: the seal proves that nobody else decided until then.
    pub(crate) fn hand_over(&mut self, now: BootInstant) -> Vec<HandedSession<M>> {
        self.expire(now);
        let sessions = self.sessions.take();
        let handed = sessions.map(|(id, session)| HandedSession {
            session: id,
            grant: session.grant,
            count: session.count,
            limits: self.limits.ids(&session.slots),
            opened: session.opened,
            last: session.last,
            counter: session.counter,
            revoked: session.revoked,
            left: session.until.since(now),
            counted: session.expires.since(now),
            meta: session.meta,
        });
        handed.collect()
    }

    /// R6a: goes on with the sessions of a sealed owner, received at `received`.
    pub(crate) fn take_over(&mut self, received: BootInstant, handed: Vec<HandedSession<M>>) {
        for session in handed {
            let slots = self.limits.handed(&session.limits, session.count);
            let taken = Session {
                grant: session.grant,
                count: session.count,
                slots,
                opened: session.opened,
                last: session.last,
                counter: session.counter,
                adopted: false,
                revoked: session.revoked,
                until: received + session.left,
                expires: received
                    + if mutated(Mutant::HandedUnstretched) { session.left } else { session.counted },
                meta: session.meta,
            };
            self.sessions.insert(session.session, taken);
        }
    }

    pub(crate) fn end_recovery(&mut self) {
        self.limits.end_recovery();
        self.ended.clear();
    }

    /// The session's token with what is left of it; None when nothing is.
    fn token(&self, now: BootInstant, id: SessionId, adopted: bool) -> Option<Answer> {
        let session = self.sessions.get(id)?;
        let left = session.until.since(now);
        let claim = Claim {
            generation: self.generation,
            issuer: self.issuer,
            session: id,
            counter: session.counter,
            count: session.count,
            grant: session.grant,
            limits: self.limits.ids(&session.slots),
        };
        let (valid_for, renew_after) = (shrink(left), left / 3);
        (!valid_for.is_zero()).then_some(Answer::Granted { claim, valid_for, renew_after, adopted })
    }
}
