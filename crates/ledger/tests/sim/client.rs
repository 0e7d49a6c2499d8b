//! A client that follows R7: it counts from its first send, never revives a session, and forgets a
//! session before it checks it in. It notes when it believed to hold what, for the judge.

use std::num::NonZeroU32;
use std::time::Duration;

use genie_ledger::*;

use super::rng::Rng;
use crate::support::{FEATURE, POOL};

/// True time: what a perfect clock shows.
pub type True = Duration;

/// One client's belief to hold `count` units of each of `limits`.
#[derive(Clone, Debug)]
pub struct Belief {
    pub from: True,
    pub to: True,
    pub count: u32,
    pub limits: Vec<LimitId>,
}

#[derive(Clone, Debug)]
pub enum Call {
    Checkout(CheckoutRequest<()>),
    Renew(Claim, OperationId),
    Checkin(Claim, OperationId),
}

/// A call that the client has not given up.
#[derive(Clone)]
struct Open {
    operation: OperationId,
    first_send: True,
    call: Call,
}

struct Session {
    claim: Claim,
    until: True,
    renew_at: True,
    belief: usize,
}

pub struct Client {
    /// How long a second of this client's clock truly takes, in percent.
    pace: u32,
    operations: u128,
    open: Option<Open>,
    session: Option<Session>,
    leave_at: Option<True>,
    pub beliefs: Vec<Belief>,
    pub adoptions: u32,
    pub lost: u32,
}

impl Client {
    pub fn new(index: u128, pace: u32) -> Self {
        Self {
            pace,
            operations: index << 64,
            open: None,
            session: None,
            leave_at: None,
            beliefs: Vec::new(),
            adoptions: 0,
            lost: 0,
        }
    }

    fn truly(&self, by_clock: Duration) -> Duration {
        by_clock * self.pace / 100
    }

    fn open(&mut self, now: True, call: impl FnOnce(OperationId) -> Call) -> Option<Call> {
        self.operations += 1;
        let operation = OperationId(self.operations);
        let call = call(operation);
        self.open = Some(Open { operation, first_send: now, call: call.clone() });
        Some(call)
    }

    /// What to send now, if anything; asked again and again.
    pub fn act(&mut self, now: True, rng: &mut Rng) -> Option<Call> {
        self.end_what_ran_out(now);
        if self.session.is_some() && self.leave_at.is_some_and(|at| at <= now) {
            return self.check_in(now);
        }
        if let Some(open) = &self.open {
            let given_up = now > open.first_send + Duration::from_secs(15);
            let checkin = matches!(open.call, Call::Checkin(..));
            if given_up && (checkin || self.session.is_none()) {
                self.open = None;
            }
            return self.open.as_ref().map(|open| open.call.clone());
        }
        match &self.session {
            Some(session) if session.renew_at <= now => {
                let claim = session.claim.clone();
                self.open(now, |operation| Call::Renew(claim, operation))
            }
            Some(_) => None,
            None if rng.chance(30) => {
                let limits = if rng.chance(50) { vec![POOL] } else { vec![POOL, FEATURE] };
                let count = NonZeroU32::new(1 + rng.chance(20) as u32).expect("one or two");
                self.leave_at = rng.chance(60).then(|| now + rng.millis(1_000..60_000));
                self.open(now, |operation| {
                    let limits = LimitSet::new(limits).expect("two limits");
                    Call::Checkout(CheckoutRequest { operation, grant: GrantId(1), limits, count, meta: () })
                })
            }
            None => None,
        }
    }

    /// R7: it forgets before it sends.
    fn check_in(&mut self, now: True) -> Option<Call> {
        let session = self.session.take()?;
        self.beliefs[session.belief].to = now;
        self.leave_at = None;
        self.open(now, |operation| Call::Checkin(session.claim, operation))
    }

    fn end_what_ran_out(&mut self, now: True) {
        if self.session.as_ref().is_some_and(|session| session.until <= now) {
            self.session = None;
            self.open = None;
            self.lost += 1;
        }
    }

    /// An answer to the call with this operation id has arrived.
    pub fn hear(&mut self, now: True, operation: OperationId, answer: &Answer) {
        self.end_what_ran_out(now);
        let Some(open) = self.open.clone().filter(|open| open.operation == operation) else { return };
        match (&open.call, answer) {
            (_, Answer::NotOwner { .. } | Answer::Unavailable { .. }) => {}
            (Call::Checkin(..), _) => self.open = None,
            (_, Answer::Granted { claim, valid_for, renew_after, adopted }) => {
                self.open = None;
                let until = open.first_send + self.truly(*valid_for);
                let renew_at = open.first_send + self.truly(*renew_after);
                self.adoptions += u32::from(*adopted);
                self.hold(now, claim, until, renew_at);
            }
            (Call::Renew(..), _) => {
                // Denied: the token is still good until it runs out; asking again changes nothing.
                if let Some(session) = &mut self.session {
                    session.renew_at = session.until;
                }
                self.open = None;
            }
            (Call::Checkout(_), _) => self.open = None,
        }
    }

    fn hold(&mut self, now: True, claim: &Claim, until: True, renew_at: True) {
        match &mut self.session {
            Some(session) => {
                session.claim = claim.clone();
                session.until = session.until.max(until);
                session.renew_at = renew_at;
                self.beliefs[session.belief].to = session.until;
            }
            None if until > now => {
                let belief = self.beliefs.len();
                let (count, limits) = (claim.count.get(), claim.limits.iter().collect());
                self.beliefs.push(Belief { from: now, to: until, count, limits });
                self.session = Some(Session { claim: claim.clone(), until, renew_at, belief });
            }
            None => {}
        }
    }
}
