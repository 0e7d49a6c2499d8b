//! A client that follows R7: it counts from its first send, never revives a session, and forgets a
//! session before it checks it in; or breaks one of these on purpose.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use genie_ledger::*;

use super::config::{Asks, wall};
use crate::support::Call;

/// True time: what a perfect clock shows.
pub type True = Duration;

/// A rule of R7 that the clients do not keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientMutant {
    /// A session that ran out is revived by a late answer.
    LateRevival,
    /// A session that ran out is renewed.
    RunOutRenewed,
    /// A session lives on until its check-in is answered.
    AliveAfterCheckin,
    /// Validity counts from the answer.
    CountsFromAnswer,
}

/// What a client can do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    Checkout,
    Renew,
    Retry,
    Checkin,
    Borrow,
    Return,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Session {
    claim: Claim,
    until: True,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Document {
    borrowed: Borrowed,
    generation: Generation,
}

impl Document {
    /// Its holder's wall clock is behind by the margin, so it works with it until then.
    fn works(&self, now: True) -> bool {
        wall(now) < self.borrowed.ends
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    index: usize,
    asks: Asks,
    session: Option<Session>,
    document: Option<Document>,
    open: Option<(True, Call)>,
    pub operations: u32,
}

impl Client {
    pub fn new(index: usize, asks: Asks) -> Self {
        Self { index, asks, session: None, document: None, open: None, operations: 0 }
    }

    /// Units of `limit` that the client believes to hold.
    pub fn holds(&self, now: True, limit: LimitId, name: &str) -> u32 {
        if let Some(Document { borrowed, .. }) = self.document.as_ref().filter(|d| d.works(now)) {
            return if borrowed.touches(name) { borrowed.count.get() } else { 0 };
        }
        match self.session.as_ref().filter(|session| session.until > now) {
            Some(session) if session.claim.limits.iter().any(|id| id == limit) => session.claim.count.get(),
            _ => 0,
        }
    }

    /// Whether it works with a document, or would.
    pub fn borrows(&self) -> bool {
        self.asks.borrows.is_some()
    }

    pub fn session(&self) -> Option<SessionId> {
        self.session.as_ref().map(|session| session.claim.session)
    }

    /// Whether this answer can still mean anything.
    pub fn listens(&self, operation: OperationId) -> bool {
        self.open.as_ref().is_some_and(|(_, call)| call.operation() == operation)
    }

    pub fn acts(&self, now: True, mutant: Option<ClientMutant>) -> Vec<Act> {
        let live = self.session.as_ref().is_some_and(|s| s.until > now);
        let renewable = live || self.session.is_some() && mutant == Some(ClientMutant::RunOutRenewed);
        let mut acts = Vec::new();
        if self.borrows() {
            acts.extend(self.open.is_some().then_some(Act::Retry));
            acts.push(if self.document.is_some() { Act::Return } else { Act::Borrow });
            return acts;
        }
        match &self.open {
            Some((_, Call::Checkin(..))) => {}
            Some(_) => acts.push(Act::Retry),
            None => {}
        }
        if renewable {
            acts.push(Act::Renew);
        }
        acts.push(if live { Act::Checkin } else { Act::Checkout });
        acts
    }

    pub fn act(&mut self, now: True, act: Act, mutant: Option<ClientMutant>) -> Call {
        if act == Act::Retry {
            return self.open.as_ref().map(|(_, call)| call.clone()).expect("there is something to retry");
        }
        self.operations += 1;
        let operation = OperationId((self.index as u128 + 1) << 64 | u128::from(self.operations));
        let claim = self.session.as_ref().map(|session| session.claim.clone());
        let call = match (act, claim) {
            (Act::Borrow, _) => {
                let until = wall(now).plus(self.asks.borrows.unwrap_or_default());
                let (limits, count) = (self.asks.limits.clone(), self.asks.units());
                Call::Borrow(BorrowRequest { operation, grant: GrantId(1), limits, count, until })
            }
            (Act::Return, _) => {
                let Document { borrowed, generation } = self.document.take().expect("it has a document");
                self.open = None;
                return Call::Return(borrowed.id, generation, operation);
            }
            (Act::Renew, Some(claim)) => Call::Renew(claim, operation),
            (Act::Checkin, Some(claim)) => {
                if mutant != Some(ClientMutant::AliveAfterCheckin) {
                    self.session = None;
                }
                Call::Checkin(claim, operation)
            }
            _ => {
                self.session = None;
                Call::Checkout(CheckoutRequest {
                    operation,
                    grant: GrantId(1),
                    limits: self.asks.limits.clone(),
                    count: self.asks.units(),
                    meta: (),
                    wait: None,
                })
            }
        };
        self.open = Some((now, call.clone()));
        if matches!(call, Call::Checkin(..)) && mutant != Some(ClientMutant::AliveAfterCheckin) {
            self.open = None;
        }
        call
    }

    /// Time has passed.
    pub fn end_what_ran_out(&mut self, now: True, mutant: Option<ClientMutant>) {
        self.document.take_if(|document| !document.works(now));
        if self.session.as_ref().is_none_or(|session| session.until > now) {
            return;
        }
        match mutant {
            Some(ClientMutant::RunOutRenewed) => self.open = None,
            Some(ClientMutant::LateRevival) => self.session = None,
            _ => (self.session, self.open) = (None, None),
        }
    }

    /// An answer to the call with this operation id has arrived.
    pub fn hear(&mut self, now: True, operation: OperationId, answer: &Answer, mutant: Option<ClientMutant>) {
        let Some((first_send, call)) = self.open.clone().filter(|_| self.listens(operation)) else { return };
        match (&call, answer) {
            (_, Answer::NotOwner { .. } | Answer::Unavailable { .. }) => {}
            (Call::Checkin(..), _) => (self.session, self.open) = (None, None),
            (Call::Borrow(_), Answer::Lent { borrowed, generation }) => {
                let document = Document { borrowed: borrowed.clone(), generation: *generation };
                (self.open, self.document) = (None, Some(document).filter(|d| d.works(now)));
            }
            (_, Answer::Granted { claim, valid_for, .. }) => {
                self.open = None;
                let from = if mutant == Some(ClientMutant::CountsFromAnswer) { now } else { first_send };
                let until = from + *valid_for * 100 / self.asks.rate;
                let before = self.session.as_ref().map_or(Duration::ZERO, |session| session.until);
                if until.max(before) > now {
                    self.session = Some(Session { claim: claim.clone(), until: until.max(before) });
                }
            }
            _ => self.open = None,
        }
    }

    /// As the state of a search: times by their distance from now.
    pub fn hash<H: Hasher>(&self, now: True, far: Duration, state: &mut H) {
        self.session.is_some().hash(state);
        if let Some(Session { claim, until }) = &self.session {
            (claim, until.saturating_sub(now)).hash(state);
        }
        self.open.is_some().hash(state);
        if let Some((first_send, call)) = &self.open {
            (now.saturating_sub(*first_send).min(far), call).hash(state);
        }
        self.document.is_some().hash(state);
        if let Some(Document { borrowed, generation }) = &self.document {
            (borrowed, generation).hash(state);
        }
        (self.operations > 0).hash(state);
    }
}
