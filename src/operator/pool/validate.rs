//! Step 2 of a pool: pure. What was observed, compiled → what is to be, as types that cannot be wrong, or the reasons.

use std::sync::Arc;

use genie_ledger::Record;
use jiff::Timestamp;
use kube::ResourceExt;

use super::{
    drain::{Stage, stage},
    observe::{Live, Observed},
    rotation::misunderstood,
};
use crate::{
    api::{LicensePool, SeatPlanSpec},
    compile::{self, Compiled, GrantInput, ObjectName, PoolInput},
    operator::names,
};

/// What follows from what was observed.
pub struct Verdict {
    /// What became of the pool and each of its grants.
    pub compiled: Compiled,
    /// How far its deletion is.
    pub stage: Stage,
    /// Highest generation of its ledger that was ever seen.
    pub generation: u64,
    /// What is to be; None: the pool is refused, and what there is stays as it is.
    pub validated: Option<Validated>,
}

/// A pool that can be built.
pub struct Validated {
    /// The pool; its spec has passed every rule.
    pub pool: Arc<LicensePool>,
    /// Namespace of everything.
    pub namespace: String,
    /// Name of its server.
    pub server: String,
    /// What its servers may give.
    pub plan: SeatPlanSpec,
    /// The server, where this pool is the one that makes it: the oldest of its group, or alone.
    pub makes: Option<Server>,
}

/// A server: one Deployment for one pool, or for a group.
pub struct Server {
    /// Its pools, the oldest first; that one shapes it.
    pub pools: Vec<Arc<LicensePool>>,
}

impl Server {
    /// Their products, sorted.
    pub fn products(&self) -> Vec<String> {
        let mut products: Vec<_> = self.pools.iter().map(|pool| pool.spec.product.clone()).collect();
        products.sort();
        products
    }

    /// The names by which clients reach it, sorted.
    pub fn tls_names(&self, cluster_domain: &str) -> Vec<String> {
        let mut all = vec!["genie-lm".to_owned()];
        for pool in &self.pools {
            let namespace = pool.namespace().unwrap_or_default();
            let service = names::service(&pool.name_any());
            all.push(format!("{service}.{namespace}"));
            all.push(format!("{service}.{namespace}.svc"));
            all.push(format!("{service}.{namespace}.svc.{cluster_domain}"));
            all.push(service);
            all.extend(pool.spec.server.hostnames.iter().cloned());
        }
        all.sort();
        all.dedup();
        all
    }
}

/// See the module.
pub fn validate(observed: &Observed) -> Verdict {
    let pool = &*observed.pool;
    let record = record(&observed.live);
    let stage = stage(pool, record, observed.terminating, observed.now);
    let neighbors: Vec<&LicensePool> = observed.neighbors.iter().map(|pool| &**pool).collect();
    let mut conflicts = compile::conflicts(&neighbors);
    let input = PoolInput {
        conflicts: conflicts.remove(&ObjectName::of(pool)).unwrap_or_default(),
        draining: stage != Stage::Serving,
        revoked: matches!(stage, Stage::Revoked(_)),
        // As high as it ever was (R3, R11): so a ledger that is missing or was set back is known by its generation, and
        // the plan that says so is applied before an empty one is made. A takeover costs one write of the plan.
        min_generation: observed.least.generation,
        longest_horizon: observed.least.longest_horizon,
        licensed: observed.licensed.clone(),
        before: observed.live.plan.as_ref().map(|plan| &plan.spec),
        pool,
    };
    let grants: Vec<GrantInput<'_>> = observed
        .grants
        .iter()
        .map(|one| GrantInput { grant: &one.grant, keys: one.keys.clone(), allowed: one.allowed })
        .collect();
    let mut compiled = compile::compile(&input, &grants);
    // A refused pool has no servers of its own to wait for (the ledger of its product may be another pool's).
    let stage = if compiled.plan.is_err() && stage != Stage::Serving { Stage::Gone } else { stage };
    if let Ok(plan) = &mut compiled.plan {
        plan.ended.clone_from(&observed.ended);
    }
    compiled.warnings.extend(misunderstood(pool));
    let validated = compiled.plan.as_ref().ok().map(|plan| Validated {
        namespace: pool.namespace().unwrap_or_default(),
        server: names::server(pool),
        makes: server(observed, &conflicts),
        plan: plan.clone(),
        pool: observed.pool.clone(),
    });
    Verdict { compiled, stage, generation: observed.least.generation, validated }
}

/// What the owner wrote last.
pub fn record(live: &Live) -> Option<&Record> {
    live.ledger.as_ref()?.record()
}

/// The server that this pool makes, if it is the one that makes it.
fn server(
    observed: &Observed,
    conflicts: &std::collections::BTreeMap<ObjectName, compile::Conflicts>,
) -> Option<Server> {
    let pool = &observed.pool;
    if pool.spec.server.group.is_none() {
        return Some(Server { pools: vec![pool.clone()] });
    }
    let accepted = |other: &&Arc<LicensePool>| {
        if ObjectName::of(&***other) == ObjectName::of(&**pool) {
            return true;
        }
        let conflicts = conflicts.get(&ObjectName::of(&***other)).cloned().unwrap_or_default();
        let input = PoolInput { conflicts, ..PoolInput::new(other) };
        other.spec.server.group == pool.spec.server.group && compile::compile(&input, &[]).plan.is_ok()
    };
    let mut pools: Vec<_> = observed.neighbors.iter().filter(accepted).cloned().collect();
    pools.sort_by_key(|pool| (age(pool), pool.name_any()));
    let oldest = pools.first()?.uid();
    (oldest == pool.uid()).then_some(Server { pools })
}

fn age(pool: &LicensePool) -> Option<Timestamp> {
    pool.creation_timestamp().map(|time| time.0)
}
