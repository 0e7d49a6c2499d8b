//! Finds the pool and grant that a caller means, without telling strangers what exists.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use genie_client::ActivationKey;

use super::pool::Pool;
use super::request::Caller;
use crate::license::{GrantView, KeyHash, Keyring, LedgerId, PlanView};

/// All pools that this process serves, and which keys lead to them.
#[derive(Default)]
pub(crate) struct Directory {
    index: RwLock<Arc<Index>>,
}

#[derive(Default)]
struct Index {
    pools: HashMap<[u8; 8], Arc<Pool>>,
    keys: HashMap<KeyHash, Vec<Arc<Pool>>>,
}

/// Whom a caller's key stands for.
pub(crate) struct Found {
    pub(crate) pool: Arc<Pool>,
    pub(crate) view: Arc<PlanView>,
    grant: genie_ledger::GrantId,
    pub(crate) key: [u8; 8],
}

/// How a look-up ended.
pub(crate) enum LookUp {
    /// A key of ours.
    Found(Found),
    /// A token of ours whose grant or key is no more.
    Revoked,
    /// Nothing to do with us; not said why.
    Unknown,
}

impl Found {
    /// The grant.
    pub(crate) fn grant(&self) -> &GrantView {
        self.view.grant(self.grant).expect("the look-up took the grant from this very view")
    }
}

impl Directory {
    /// Puts a changed set of pools, or changed plans of theirs, in force.
    pub(crate) fn replace(&self, pools: Vec<Arc<Pool>>) {
        let mut index = Index::default();
        for pool in pools {
            for grant in pool.view().grants() {
                for key in grant.plan.keys.iter().filter_map(|key| KeyHash::from_hex(&key.sha256)) {
                    index.keys.entry(key).or_default().push(pool.clone());
                }
            }
            index.pools.insert(pool.hash, pool);
        }
        *self.index.write().expect("no code panics while it holds this lock") = Arc::new(index);
    }

    /// All pools, in order of namespace and product.
    pub(crate) fn pools(&self) -> Vec<Arc<Pool>> {
        let mut pools: Vec<_> = self.index().pools.values().cloned().collect();
        pools.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        pools
    }

    /// The pool of a token.
    pub(crate) fn pool(&self, hash: [u8; 8]) -> Option<Arc<Pool>> {
        self.index().pools.get(&hash).cloned()
    }

    /// The pool of a ledger.
    pub(crate) fn pool_of(&self, id: &LedgerId) -> Option<Arc<Pool>> {
        self.pool(id.hash())
    }

    /// Looks a key or an activation token up. The way is the same for an unknown product, an unknown key and a
    /// known key of another product: one hash, one look-up by key.
    pub(crate) fn find(&self, keyring: &Keyring, caller: &Caller<'_>) -> LookUp {
        if let Some((ledger, claim)) = keyring.open_activation(caller.key) {
            let Some(pool) = self.pool(ledger).filter(|pool| *pool.id.product == *caller.product) else {
                return LookUp::Unknown;
            };
            let view = pool.view();
            return match view.grant(claim.grant) {
                Some(grant) if grant.has_key(claim.key) => {
                    LookUp::Found(Found { pool, view, grant: claim.grant, key: claim.key })
                }
                _ => LookUp::Revoked,
            };
        }
        // A mistyped key hashes as it was written, and so is unknown like any other.
        let hash = match ActivationKey::parse(caller.key) {
            Ok(key) => KeyHash::of(key.as_str()),
            Err(_) => KeyHash::of(caller.key),
        };
        let index = self.index();
        let candidates = index.keys.get(&hash).map_or(&[][..], Vec::as_slice);
        for pool in candidates.iter().filter(|pool| *pool.id.product == *caller.product) {
            let view = pool.view();
            if let Some(grant) = view.grant_of_key(hash).map(|grant| grant.id) {
                return LookUp::Found(Found { pool: pool.clone(), view, grant, key: hash.prefix() });
            }
        }
        LookUp::Unknown
    }

    fn index(&self) -> Arc<Index> {
        self.index.read().expect("no code panics while it holds this lock").clone()
    }
}
