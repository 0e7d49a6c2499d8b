//! The line of checkouts that wait for a larger promise: first come, first served; bounded in length
//! and in time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::answer::{CheckoutRequest, Ticket};
use crate::limits::Slots;
use crate::time::BootInstant;

/// Longest line of checkouts, and of borrows and returns: one ledger write answers all of it, so more would only wait for a broken store.
pub(crate) const MAX_WAITING: usize = 1024;
/// Longest wait: a ledger write takes milliseconds, and clients give up after about as long.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(10);

/// One checkout in line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Waiter<M> {
    pub(crate) ticket: Ticket,
    pub(crate) request: CheckoutRequest<M>,
    /// What it reserves; None: a retry of one that is in line already.
    pub(crate) reserves: Option<Slots>,
    pub(crate) deadline: BootInstant,
}

/// The line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Waiting<M> {
    line: VecDeque<Waiter<M>>,
}

impl<M> Waiting<M> {
    pub(crate) fn new() -> Self {
        Self { line: VecDeque::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.line.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    pub(crate) fn full(&self) -> bool {
        self.line.len() >= MAX_WAITING
    }

    /// Whether this operation waits already.
    pub(crate) fn holds(&self, request: &CheckoutRequest<M>) -> bool {
        self.line.iter().any(|waiter| waiter.request.operation == request.operation)
    }

    pub(crate) fn push(&mut self, waiter: Waiter<M>) {
        self.line.push_back(waiter);
    }

    /// Everybody, in order; the line is empty then.
    pub(crate) fn take(&mut self) -> VecDeque<Waiter<M>> {
        std::mem::take(&mut self.line)
    }

    pub(crate) fn remove(&mut self, ticket: Ticket) -> Option<Waiter<M>> {
        let at = self.line.iter().position(|waiter| waiter.ticket == ticket)?;
        self.line.remove(at)
    }

    /// The first deadline: waiters come in the order of time.
    pub(crate) fn next_deadline(&self) -> Option<BootInstant> {
        self.line.front().map(|waiter| waiter.deadline)
    }
}
