//! A client that follows R7: it counts from its first send, never revives a session, and forgets a
//! session before it checks it in. It notes when it believed to hold what, for the judge. Some clients
//! borrow instead: each works with its document until its own wall clock shows the end.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use genie_ledger::*;

use super::rng::Rng;
use crate::support::{Call, FEATURE, POOL};

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

struct Document {
    id: Arc<str>,
    generation: Generation,
    return_at: Option<True>,
    belief: usize,
}

/// How many seconds wall clocks go on in one second, so that documents end within a world. No boot clock
/// knows of it.
pub const WALL_PACE: u32 = 10;
/// The longest borrow, by wall clocks.
pub const LONGEST: Duration = Duration::from_secs(1_500);
const WALL_EPOCH: u64 = 1_800_000_000;

/// A wall clock that is this far from the middle of all wall clocks.
#[derive(Clone, Copy)]
pub struct Wall(pub i64);

impl Wall {
    /// So far that no two of them differ by more than the margin.
    pub fn any(rng: &mut Rng) -> Self {
        let most = BORROW_SKEW.as_secs() / 2;
        Self(rng.below(2 * most + 1) as i64 - most as i64)
    }

    pub fn shows(self, now: True) -> UnixSeconds {
        UnixSeconds((WALL_EPOCH + (now * WALL_PACE).as_secs()).saturating_add_signed(self.0))
    }

    /// When it shows `wall`.
    fn truly(self, wall: UnixSeconds) -> True {
        Duration::from_secs(wall.0.saturating_add_signed(-self.0).saturating_sub(WALL_EPOCH)) / WALL_PACE
    }
}

pub struct Client {
    /// None: it works with sessions.
    borrows: Option<Wall>,
    document: Option<Document>,
    /// How long a second of this client's clock truly takes, in percent.
    pace: u32,
    operations: u128,
    open: Option<Open>,
    session: Option<Session>,
    leave_at: Option<True>,
    pub beliefs: Vec<Belief>,
    pub adoptions: u32,
    pub lost: u32,
    pub documents: u32,
}

impl Client {
    pub fn new(index: u128, pace: u32, borrows: Option<Wall>) -> Self {
        Self {
            borrows,
            document: None,
            pace,
            operations: index << 64,
            open: None,
            session: None,
            leave_at: None,
            beliefs: Vec::new(),
            adoptions: 0,
            lost: 0,
            documents: 0,
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
        if let Some(wall) = self.borrows {
            return self.act_on_document(now, wall, rng);
        }
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
                    Call::Checkout(CheckoutRequest {
                        operation,
                        grant: GrantId(1),
                        limits,
                        count,
                        meta: (),
                        wait: None,
                    })
                })
            }
            None => None,
        }
    }

    fn act_on_document(&mut self, now: True, wall: Wall, rng: &mut Rng) -> Option<Call> {
        if let Some(document) = self.document.take_if(|d| d.return_at.is_some_and(|at| at <= now)) {
            self.beliefs[document.belief].to = now;
            return self.open(now, |operation| Call::Return(document.id, document.generation, operation));
        }
        if let Some(open) = self.open.take_if(|open| now <= open.first_send + Duration::from_secs(30)) {
            self.open = Some(open.clone());
            return Some(open.call);
        }
        self.open = None;
        if self.document.is_some() || !rng.chance(15) {
            return None;
        }
        let limits = if rng.chance(50) { vec![POOL] } else { vec![POOL, FEATURE] };
        let limits = LimitSet::new(limits).expect("two limits");
        let until = wall.shows(now).plus(Duration::from_secs(60 + rng.below(1_200)));
        let (grant, count) = (GrantId(1), NonZeroU32::MIN);
        self.open(now, |operation| Call::Borrow(BorrowRequest { operation, grant, limits, count, until }))
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
        self.document.take_if(|document| self.beliefs[document.belief].to <= now);
    }

    /// An answer to the call with this operation id has arrived.
    pub fn hear(&mut self, now: True, operation: OperationId, answer: &Answer, rng: &mut Rng) {
        self.end_what_ran_out(now);
        let Some(open) = self.open.clone().filter(|open| open.operation == operation) else { return };
        match (&open.call, answer) {
            (_, Answer::NotOwner { .. } | Answer::Unavailable { .. } | Answer::Queued { .. }) => {}
            (Call::Checkin(..) | Call::Return(..), _) => self.open = None,
            (Call::Borrow(_), Answer::Lent { borrowed, generation }) => {
                self.open = None;
                self.believe(now, borrowed, *generation, rng);
            }
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
            (Call::Checkout(_) | Call::Borrow(_), _) => self.open = None,
        }
    }

    fn believe(&mut self, now: True, borrowed: &Borrowed, generation: Generation, rng: &mut Rng) {
        let ends = self.borrows.map(|wall| wall.truly(borrowed.until()));
        let Some(to) = ends.filter(|ends| *ends > now) else { return };
        let id_of = |name: &Arc<str>| if **name == *"pool" { POOL } else { FEATURE };
        let limits = borrowed.limits.iter().map(id_of).collect();
        let return_at = rng.chance(60).then(|| now + rng.millis(1_000..40_000));
        self.document =
            Some(Document { id: borrowed.id.clone(), generation, return_at, belief: self.beliefs.len() });
        self.beliefs.push(Belief { from: now, to, count: borrowed.count.get(), limits });
        self.documents += 1;
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
