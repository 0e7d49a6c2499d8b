//! How often a view of usage may be written: at most once in five seconds for an object, twenty times a second in all.
//! Pure: asked with a time, it answers yes, or when; who waits longest goes first, because it was given the first slot.

use std::{collections::HashMap, hash::Hash, time::Duration};

use tokio::time::Instant;

/// People look at a status; programs ask the server.
pub const PER_OBJECT: Duration = Duration::from_secs(5);
/// Twenty a second: less than a percent of what an API server takes, for any number of pools.
const IN_ALL: Duration = Duration::from_millis(50);

/// See the module. Holds one entry for each object that wrote or waited within [`PER_OBJECT`].
pub struct UsageBudget<K> {
    /// The next free slot of all.
    next: Option<Instant>,
    slots: HashMap<K, Slot>,
}

#[derive(Clone, Copy)]
enum Slot {
    Wrote(Instant),
    Waits(Instant),
}

impl<K> Default for UsageBudget<K> {
    fn default() -> Self {
        Self { next: None, slots: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash> UsageBudget<K> {
    /// Ok: write now. Err: ask again then, and it will be granted.
    pub fn ask(&mut self, object: &K, now: Instant) -> Result<(), Instant> {
        let earliest = match self.slots.get(object) {
            Some(Slot::Waits(slot)) if *slot > now => return Err(*slot),
            Some(Slot::Waits(_)) => {
                self.slots.insert(object.clone(), Slot::Wrote(now));
                return Ok(());
            }
            Some(Slot::Wrote(at)) => (*at + PER_OBJECT).max(now),
            None => now,
        };
        let slot = self.next.map_or(earliest, |next| next.max(earliest));
        if slot > now {
            // Only slots that are due count for all: one object that waits for itself holds nobody up.
            if earliest <= now {
                self.next = Some(slot + IN_ALL);
            }
            self.slots.insert(object.clone(), Slot::Waits(slot));
            return Err(slot);
        }
        self.next = Some(now + IN_ALL);
        self.forget(now);
        self.slots.insert(object.clone(), Slot::Wrote(now));
        Ok(())
    }

    fn forget(&mut self, now: Instant) {
        self.slots.retain(|_, slot| match slot {
            Slot::Wrote(at) => *at + PER_OBJECT > now,
            Slot::Waits(at) => *at + 2 * PER_OBJECT > now,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_writes_once_in_five_seconds() {
        let (mut budget, start) = (UsageBudget::default(), Instant::now());
        assert_eq!(budget.ask(&"a", start), Ok(()));
        assert_eq!(budget.ask(&"a", start + Duration::from_secs(1)), Err(start + PER_OBJECT));
        assert_eq!(budget.ask(&"a", start + PER_OBJECT), Ok(()));
    }

    #[test]
    fn a_thousand_objects_share_twenty_writes_a_second_in_the_order_they_came() {
        let (mut budget, start) = (UsageBudget::default(), Instant::now());
        let slots: Vec<_> =
            (0..1000).map(|object| budget.ask(&object, start).err().unwrap_or(start)).collect();
        assert!(slots.is_sorted());
        for second in 0..40 {
            let from = start + Duration::from_secs(second);
            let within =
                slots.iter().filter(|slot| (from..from + Duration::from_secs(1)).contains(slot)).count();
            assert!(within <= 20, "{within} writes in second {second}");
        }
        assert_eq!(budget.ask(&999, slots[999]), Ok(()), "who comes at its slot is let through");
    }
}
