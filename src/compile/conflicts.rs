//! Pools of one namespace that want the same product, or that shape the servers of one group differently.
//! The older one goes on, the newer one is refused (product) or warned (group); both are told.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::ResourceExt;

use super::{ObjectName, PoolReason};
use crate::api::{LicensePool, ServerSpec};

/// What other pools mean for one pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflicts {
    /// Why it cannot be served.
    pub refused: Option<PoolReason>,
    /// What its user should know.
    pub warnings: Vec<PoolReason>,
}

/// The conflicts of each pool that has one.
pub fn conflicts(pools: &[&LicensePool]) -> BTreeMap<ObjectName, Conflicts> {
    let mut pools = pools.to_vec();
    pools.sort_by_cached_key(|pool| age(*pool));
    let mut found = BTreeMap::new();
    products(&pools, &mut found);
    groups(&pools, &mut found);
    found
}

/// Older objects first; where no server has dated them, by name.
pub(super) fn age(object: &impl ResourceExt) -> (Option<Timestamp>, ObjectName) {
    (object.creation_timestamp().map(|time| time.0), ObjectName::of(object))
}

type Found = BTreeMap<ObjectName, Conflicts>;

fn products(oldest_first: &[&LicensePool], found: &mut Found) {
    let mut first: BTreeMap<(String, &str), ObjectName> = BTreeMap::new();
    for pool in oldest_first {
        let (name, product) = (ObjectName::of(*pool), pool.spec.product.as_str());
        let Some(older) = first.get(&(name.namespace.clone(), product)) else {
            first.insert((name.namespace.clone(), product), name);
            continue;
        };
        let reason = |other: &ObjectName, serves| PoolReason::ProductConflict {
            product: product.to_owned(),
            other: other.name.clone(),
            serves,
        };
        found.entry(older.clone()).or_default().warnings.push(reason(&name, true));
        found.entry(name).or_default().refused = Some(reason(older, false));
    }
}

fn groups(oldest_first: &[&LicensePool], found: &mut Found) {
    let mut first: BTreeMap<(String, &str), &LicensePool> = BTreeMap::new();
    for pool in oldest_first {
        let Some(group) = pool.spec.server.group.as_deref() else { continue };
        let name = ObjectName::of(*pool);
        let Some(oldest) = first.get(&(name.namespace.clone(), group)) else {
            first.insert((name.namespace, group), pool);
            continue;
        };
        let fields = differing(&oldest.spec.server, &pool.spec.server);
        if !fields.is_empty() {
            found.entry(name).or_default().warnings.push(PoolReason::GroupConflict {
                group: group.to_owned(),
                oldest: oldest.name_any(),
                fields: fields.join(", "),
            });
        }
    }
}

/// Fields that shape the shared Deployment; hostnames and the Service are each pool's own.
fn differing(a: &ServerSpec, b: &ServerSpec) -> Vec<&'static str> {
    let fields = [
        ("replicas", a.replicas != b.replicas),
        ("image", a.image != b.image),
        ("resources", a.resources != b.resources),
        ("nodeSelector", a.node_selector != b.node_selector),
        ("tolerations", a.tolerations != b.tolerations),
        ("affinity", a.affinity != b.affinity),
        ("topologySpreadConstraints", a.topology_spread_constraints != b.topology_spread_constraints),
        ("priorityClassName", a.priority_class_name != b.priority_class_name),
        ("logLevel", a.log_level != b.log_level),
    ];
    fields.into_iter().filter_map(|(field, differs)| differs.then_some(field)).collect()
}
