//! What the pools' reconciles found out about each grant, for the grants' reconciles. A pool is compiled once for all of
//! its grants; a grant is told only when something changed for it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    api::{PlanGrant, SeatPlanSpec},
    compile::{AcceptedGrant, GrantReason, ObjectName, Reasons},
};

/// What a pool says to its grants.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolView {
    /// The plan without its grants; None: the pool itself is refused.
    pub plan: Option<Arc<SeatPlanSpec>>,
    /// Its grants.
    pub grants: BTreeMap<ObjectName, GrantView>,
}

/// What a pool says to one grant.
#[derive(Clone, Debug, PartialEq)]
pub struct GrantView {
    /// Accepted, or why not.
    pub outcome: Result<AcceptedGrant, Reasons<GrantReason>>,
    /// As it is in the plan that servers read; None: not there.
    pub planned: Option<PlanGrant>,
    /// Seats held, as the ledger says.
    pub in_use: u32,
}

/// See the module. Holds one view for each pool that exists.
#[derive(Default)]
pub struct Board(Mutex<HashMap<ObjectName, Arc<PoolView>>>);

impl Board {
    /// Puts up what a pool found out; gives the grants for which that is news.
    pub fn publish(&self, pool: ObjectName, view: PoolView) -> BTreeSet<ObjectName> {
        let view = Arc::new(view);
        let old = self.lock().insert(pool, view.clone());
        let Some(old) = old else { return view.grants.keys().cloned().collect() };
        if old.plan != view.plan {
            return old.grants.keys().chain(view.grants.keys()).cloned().collect();
        }
        let changed = |name: &&ObjectName| old.grants.get(name) != view.grants.get(name);
        old.grants.keys().chain(view.grants.keys()).filter(changed).cloned().collect()
    }

    /// Takes a pool down; gives the grants that it spoke to.
    pub fn remove(&self, pool: &ObjectName) -> BTreeSet<ObjectName> {
        let old = self.lock().remove(pool);
        old.map(|view| view.grants.keys().cloned().collect()).unwrap_or_default()
    }

    /// What a pool says.
    pub fn pool(&self, pool: &ObjectName) -> Option<Arc<PoolView>> {
        self.lock().get(pool).cloned()
    }

    /// The pools that speak to a grant; more than one only while its poolRef changes.
    pub fn pools_of(&self, grant: &ObjectName) -> Vec<ObjectName> {
        let views = self.lock();
        views
            .iter()
            .filter(|(_, view)| view.grants.contains_key(grant))
            .map(|(pool, _)| pool.clone())
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectName, Arc<PoolView>>> {
        // A view is put up whole or not at all, so a panic elsewhere leaves no half.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(grants: &[(&str, u32)]) -> PoolView {
        let grants = grants.iter().map(|(name, in_use)| {
            let outcome = Ok(AcceptedGrant::default());
            (named(name), GrantView { outcome, planned: None, in_use: *in_use })
        });
        PoolView { plan: None, grants: grants.collect() }
    }

    fn named(name: &str) -> ObjectName {
        ObjectName { namespace: "team".into(), name: name.into() }
    }

    #[test]
    fn only_grants_with_news_are_told() {
        let board = Board::default();
        assert_eq!(board.publish(named("pool"), view(&[("a", 0), ("b", 0), ("c", 0)])).len(), 3);
        let told = board.publish(named("pool"), view(&[("a", 0), ("b", 1), ("d", 0)]));
        assert_eq!(told, BTreeSet::from([named("b"), named("c"), named("d")]));
        assert_eq!(board.pools_of(&named("b")), [named("pool")]);
        assert_eq!(board.remove(&named("pool")).len(), 3);
    }
}
