//! The highest generation of each ledger that this process ever saw. The plan and the pool's status remember it, too; but
//! an etcd that is restored sets them back together with the ledger, and only a process that ran before notices (R11).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::compile::ObjectName;

/// Far above any real number of ledgers; of more, the plan and the status alone remember.
const MOST: usize = 10_000;

/// See the module. Outlives the terms of a leader.
#[derive(Default)]
pub struct Generations(Mutex<HashMap<ObjectName, u64>>);

impl Generations {
    /// A generation of this ledger was seen; gives the highest that ever was.
    pub fn saw(&self, ledger: ObjectName, generation: u64) -> u64 {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST && !all.contains_key(&ledger) {
            return generation;
        }
        let highest = all.entry(ledger).or_default();
        *highest = generation.max(*highest);
        *highest
    }

    /// The ledger is let go, and with it what was given: another of its name is new.
    pub fn forget(&self, ledger: &ObjectName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(ledger);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_once_stays_until_the_ledger_is_let_go() {
        let (all, ledger) =
            (Generations::default(), ObjectName { namespace: "a".into(), name: "cad".into() });
        assert_eq!(all.saw(ledger.clone(), 7), 7);
        assert_eq!(all.saw(ledger.clone(), 3), 7);
        all.forget(&ledger);
        assert_eq!(all.saw(ledger, 1), 1);
    }
}
