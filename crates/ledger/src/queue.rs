//! The queue: checkouts that wait for units, in the order that the pool says. Bounded in length and in time.
//!
//! Takes requests and gives who is next; whether there are units for it is asked of the seats. No rule of the seat
//! protocol rests on it: a checkout in the queue is one that was not made yet.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use crate::answer::{CheckoutRequest, Place, Ticket, Wait};
use crate::canonical::Tally;
use crate::limits::Slots;
use crate::settings::{Order, Queueing};
use crate::time::BootInstant;
use crate::types::{Generation, LimitId, LimitSet, OperationId};

/// How long the place of a client is kept that was told to call again, and the units that have come free for it.
pub(crate) const PLACE_KEPT: Duration = Duration::from_secs(5);

/// Where an entry stands: the higher priority first, then the earlier place.
pub(crate) type Key = (Reverse<u32>, Place);

/// Whom to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    /// A call waits under this ticket.
    Here(Ticket),
    /// It was told to call again, and is waited for until then.
    Away(BootInstant),
}

/// One checkout in the queue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Queued<M> {
    /// Its `wait` is taken out.
    pub(crate) request: CheckoutRequest<M>,
    pub(crate) wait: Wait,
    pub(crate) caller: Caller,
    /// The units that are kept for a caller who is away.
    pub(crate) holds: Option<Slots>,
}

impl<M> Queued<M> {
    fn ends(&self) -> BootInstant {
        match self.caller {
            Caller::Here(_) => self.wait.until,
            Caller::Away(until) => until.min(self.wait.until),
        }
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Queue<M> {
    generation: Generation,
    entries: BTreeMap<Key, Queued<M>>,
    operations: BTreeMap<OperationId, Key>,
    tickets: BTreeMap<Ticket, Key>,
    ends: BTreeSet<(BootInstant, Key)>,
    holding: BTreeSet<Key>,
    /// How many entries touch each limit.
    touching: BTreeMap<LimitId, usize>,
    /// Limits whose next units are somebody's in the queue: nobody who comes later takes one.
    blocked: BTreeSet<LimitId>,
    places: Tally,
}

impl<M> Queue<M> {
    pub(crate) fn new(generation: Generation) -> Self {
        Self {
            generation,
            entries: BTreeMap::new(),
            operations: BTreeMap::new(),
            tickets: BTreeMap::new(),
            ends: BTreeSet::new(),
            holding: BTreeSet::new(),
            touching: BTreeMap::new(),
            blocked: BTreeSet::new(),
            places: Tally(0),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn find(&self, operation: OperationId) -> Option<Key> {
        self.operations.get(&operation).copied()
    }

    pub(crate) fn of_ticket(&self, ticket: Ticket) -> Option<Key> {
        self.tickets.get(&ticket).copied()
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Queued<M>> {
        self.entries.get(&key)
    }

    /// The key of a checkout that comes in: its earlier place, or one behind all others.
    pub(crate) fn key(&mut self, order: Order, wait: &Wait) -> Key {
        let rank = if order == Order::Priority { wait.priority } else { 0 };
        let mut key = wait.place.map(|place| (Reverse(rank), place));
        // Another owner of this generation (R11) may have given the same places.
        loop {
            match key.filter(|key| !self.entries.contains_key(key)) {
                Some(free) => return free,
                None => self.places.0 += 1,
            }
            key = Some((Reverse(rank), Place { generation: self.generation, number: self.places.0 }));
        }
    }

    pub(crate) fn insert(&mut self, key: Key, queued: Queued<M>) {
        self.operations.insert(queued.request.operation, key);
        if let Caller::Here(ticket) = queued.caller {
            self.tickets.insert(ticket, key);
        }
        self.ends.insert((queued.ends(), key));
        if queued.holds.is_some() {
            self.holding.insert(key);
        }
        for limit in queued.request.limits.iter() {
            *self.touching.entry(limit).or_default() += 1;
        }
        self.entries.insert(key, queued);
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Queued<M>> {
        let queued = self.entries.remove(&key)?;
        self.operations.remove(&queued.request.operation);
        if let Caller::Here(ticket) = queued.caller {
            self.tickets.remove(&ticket);
        }
        self.ends.remove(&(queued.ends(), key));
        self.holding.remove(&key);
        for limit in queued.request.limits.iter() {
            match self.touching.get_mut(&limit) {
                Some(entries) if *entries > 1 => *entries -= 1,
                _ => drop(self.touching.remove(&limit)),
            }
        }
        if self.entries.is_empty() {
            self.blocked.clear();
        }
        Some(queued)
    }

    /// Changes an entry, and what is known of it by other names.
    pub(crate) fn change(&mut self, key: Key, change: impl FnOnce(&mut Queued<M>)) {
        if let Some(mut queued) = self.remove(key) {
            change(&mut queued);
            self.insert(key, queued);
        }
    }

    /// An entry for which units are kept.
    pub(crate) fn first_holding(&self) -> Option<Key> {
        self.holding.first().copied()
    }

    pub(crate) fn next_end(&self) -> Option<BootInstant> {
        self.ends.first().map(|(at, _)| *at)
    }

    /// An entry whose time is over.
    pub(crate) fn ended(&self, now: BootInstant) -> Option<Key> {
        self.ends.first().filter(|(at, _)| *at <= now).map(|(_, key)| *key)
    }

    /// Any entry.
    pub(crate) fn any(&self) -> Option<Key> {
        self.entries.first_key_value().map(|(key, _)| *key)
    }

    /// Puts all entries into another order.
    pub(crate) fn reorder(&mut self, order: Order) {
        let places: Vec<Key> = self.entries.keys().copied().collect();
        let entries: Vec<_> = places.into_iter().filter_map(|key| Some((key.1, self.remove(key)?))).collect();
        for (place, mut queued) in entries {
            queued.wait.place = Some(place);
            let key = self.key(order, &queued.wait);
            self.insert(key, queued);
        }
    }

    /// The entry after `last` in the order; of those under FairShare, the one of the grant that uses the fewest, but none of
    /// `passed`.
    pub(crate) fn next(
        &self,
        order: Order,
        last: Option<Key>,
        passed: &BTreeSet<Key>,
        used: impl Fn(LimitId) -> u64,
    ) -> Option<Key> {
        if order == Order::FairShare {
            let left = self.entries.iter().filter(|(key, _)| !passed.contains(key));
            return left.min_by_key(|(key, queued)| (used(queued.wait.share), **key)).map(|(key, _)| *key);
        }
        let from = last.map_or(Bound::Unbounded, Bound::Excluded);
        self.entries.range((from, Bound::Unbounded)).next().map(|(key, _)| *key)
    }

    /// How many come before it, and one.
    pub(crate) fn position(&self, key: Key, order: Order, used: impl Fn(LimitId) -> u64) -> u32 {
        let before = match (order, self.entries.get(&key)) {
            (Order::FairShare, Some(queued)) => {
                let mine = (used(queued.wait.share), key);
                self.entries.iter().filter(|(key, queued)| (used(queued.wait.share), **key) < mine).count()
            }
            _ => self.entries.range(..key).count(),
        };
        u32::try_from(before + 1).unwrap_or(u32::MAX)
    }

    pub(crate) fn unblock(&mut self) {
        self.blocked.clear();
    }

    /// The next units of these limits are for one that comes earlier.
    pub(crate) fn block(&mut self, limits: impl IntoIterator<Item = LimitId>) {
        self.blocked.extend(limits);
    }

    /// The first of these limits whose next units are somebody's in the queue.
    pub(crate) fn blocks(&self, limits: &LimitSet) -> Option<LimitId> {
        if self.blocked.is_empty() {
            return None;
        }
        limits.iter().find(|limit| self.blocked.contains(limit))
    }

    /// Whether nobody in the queue can have any units now.
    pub(crate) fn blocked_for_all(&self) -> bool {
        self.blocked.iter().any(|limit| self.touching.get(limit) == Some(&self.entries.len()))
    }

    pub(crate) fn full(&self, queueing: &Queueing) -> bool {
        self.entries.len() >= queueing.max_length as usize
    }
}
