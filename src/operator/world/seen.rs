//! Which generation of each pool was told to others, so that a status is no news to them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use kube::ResourceExt;

use crate::{api::LicensePool, compile::ObjectName};

/// See the module. Holds one entry for each pool.
#[derive(Default)]
pub(super) struct Seen(Mutex<HashMap<ObjectName, Generation>>);

/// Of one object; another one of its name has another UID.
type Generation = (Option<String>, Option<i64>);

impl Seen {
    /// Whether this is another spec than that of the last look, or a new pool's.
    pub(super) fn is_news(&self, pool: &LicensePool) -> bool {
        let generation = (pool.uid(), pool.metadata.generation);
        let before = self.lock().insert(ObjectName::of(pool), generation.clone());
        before != Some(generation)
    }

    /// The pool is gone.
    pub(super) fn forget(&self, pool: &ObjectName) {
        self.lock().remove(pool);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectName, Generation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_no_news_and_a_spec_or_a_pool_made_again_is() {
        let (seen, mut pool) = (Seen::default(), LicensePool::new("cad", Default::default()));
        pool.metadata.uid = Some("one".into());
        pool.metadata.generation = Some(1);
        assert!(seen.is_news(&pool));
        pool.status = Some(Default::default());
        assert!(!seen.is_news(&pool));
        pool.metadata.generation = Some(2);
        assert!(seen.is_news(&pool));
        assert!(!seen.is_news(&pool));
        pool.metadata.uid = Some("another".into());
        assert!(seen.is_news(&pool));
        seen.forget(&ObjectName::of(&pool));
        assert!(seen.is_news(&pool));
    }
}
