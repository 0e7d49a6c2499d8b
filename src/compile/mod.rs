//! LicensePool + its LicenseGrants → SeatPlan, or every reason why not. Pure, but for `manifests`, which reads files.
//!
//! Used by the operator, by the standalone server and by `genie-lm check`, so that all three give the same answer in
//! the same words. May use `api` and `license`; knows nothing of Kubernetes clients or servers.

mod conflicts;
mod expiry;
mod keys;
mod licenses;
pub mod manifests;
mod namespaces;
mod plan;
mod reason;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

pub use conflicts::{Conflicts, conflicts};
pub use expiry::{expires, next_expiry};
pub use keys::{brought_key, hash, key_secret};
pub use licenses::{
    Holders, LicenseFinding, LicenseReason, Licensed, Licensing, ReadLicense, holders, license_secret,
    licensed, read_license,
};
pub use namespaces::allows;
pub use plan::compile;
pub use reason::{GrantReason, PoolReason, Reasons};

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::{ApiDuration, LicenseGrant, LicensePool, PlanGrant, PlanKey, SeatPlanSpec};

/// Namespace and name of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectName {
    /// metadata.namespace; `default` where it is absent.
    pub namespace: String,
    /// metadata.name.
    pub name: String,
}

impl ObjectName {
    /// The name of an object.
    pub fn of(object: &impl ResourceExt) -> Self {
        let namespace = object.namespace().unwrap_or_else(|| "default".to_owned());
        Self { namespace, name: object.name_any() }
    }

    /// The pool that a grant refers to.
    pub fn of_pool_of(grant: &LicenseGrant) -> Self {
        let reference = &grant.spec.pool_ref;
        let namespace = reference.namespace.clone().unwrap_or_else(|| Self::of(grant).namespace);
        Self { namespace, name: reference.name.clone() }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A pool, and what is known about it besides its spec.
#[derive(Clone, Debug)]
pub struct PoolInput<'a> {
    /// The pool.
    pub pool: &'a LicensePool,
    /// What [`conflicts`] says of it.
    pub conflicts: Conflicts,
    /// Lowest generation that its ledger can have (rules R3, R11).
    pub min_generation: u64,
    /// The longest horizon that its ledger was seen to record, where that may be lost (rule R11).
    pub longest_horizon: Option<ApiDuration>,
    /// It is being deleted.
    pub draining: bool,
    /// It is being deleted, and the drain deadline has passed.
    pub revoked: bool,
    /// What [`licensed`] says of it; None: it needs no license.
    pub licensed: Option<Licensed>,
    /// The plan in force.
    pub before: Option<&'a SeatPlanSpec>,
}

impl<'a> PoolInput<'a> {
    /// A pool that stands alone: no conflict, no license, no ledger yet, not deleted.
    pub fn new(pool: &'a LicensePool) -> Self {
        Self {
            pool,
            conflicts: Conflicts::default(),
            min_generation: 0,
            longest_horizon: None,
            draining: false,
            revoked: false,
            licensed: None,
            before: None,
        }
    }
}

/// A grant that refers to the pool, and what is known about it besides its spec.
#[derive(Clone, Debug)]
pub struct GrantInput<'a> {
    /// The grant.
    pub grant: &'a LicenseGrant,
    /// Hashes of its keys, or why there are none. Empty: the key is still to be made.
    pub keys: Result<Vec<PlanKey>, GrantReason>,
    /// Whether the pool allows the grant's namespace; see [`allows`].
    pub allowed: bool,
}

/// What became of a pool and its grants.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    /// What may be given, or every reason why the pool cannot be served.
    pub plan: Result<SeatPlanSpec, Reasons<PoolReason>>,
    /// What the pool's user should know although it is served.
    pub warnings: Vec<PoolReason>,
    /// What its licenses allow, and what is to be told of them; None: it needs none.
    pub licensed: Option<Licensed>,
    /// Each grant, in order of namespace and name.
    pub grants: Vec<CompiledGrant>,
}

impl Compiled {
    /// The next moment after `now` at which time alone changes the plan or a verdict.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let of_plan = self.plan.as_ref().ok().and_then(|plan| next_expiry(plan, now));
        of_plan.into_iter().chain(self.licensed.as_ref().and_then(Licensed::next_change)).min()
    }

    /// The next moment after `now` at which the pool, a license, a feature or a grant ends.
    pub fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        let of_plan = self.plan.as_ref().ok().and_then(|plan| expires(plan, now));
        let coming = self.licensed.as_ref().and_then(Licensed::next_end);
        match of_plan.filter(|end| *end > now || coming.is_none()) {
            Some(end) => Some(coming.map_or(end, |coming| end.min(coming))),
            None => coming,
        }
    }

    /// When the pool, or the first of its licenses, ends; after that, when it ended.
    pub fn pool_end(&self) -> Option<Timestamp> {
        let of_plan = self.plan.as_ref().ok().and_then(|plan| plan.validity.not_after.as_ref());
        let coming = self.licensed.as_ref().and_then(Licensed::next_end);
        of_plan.map(|end| end.0).into_iter().chain(coming).min()
    }

    /// The accepted grants as the plan has them. The plan holds more: those that are refused for the moment,
    /// suspended.
    pub fn accepted(&self) -> impl Iterator<Item = (&PlanGrant, &AcceptedGrant)> {
        let outcomes: BTreeMap<(&str, &str), &AcceptedGrant> = self
            .grants
            .iter()
            .filter_map(|grant| {
                Some(((&*grant.name.namespace, &*grant.name.name), grant.outcome.as_ref().ok()?))
            })
            .collect();
        let planned = self.plan.iter().flat_map(|plan| &plan.grants);
        planned.filter_map(move |grant| Some((grant, *outcomes.get(&(&*grant.namespace, &*grant.name))?)))
    }
}

/// What became of one grant.
#[derive(Clone, Debug, PartialEq)]
pub struct CompiledGrant {
    /// Which.
    pub name: ObjectName,
    /// What it may use, or every reason why nothing.
    pub outcome: Result<AcceptedGrant, Reasons<GrantReason>>,
}

/// A grant that is part of the plan, under the same namespace and name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AcceptedGrant {
    /// When it ends, by itself or with its pool.
    pub expires: Option<jiff::Timestamp>,
    /// First characters of its first key's hash, for status.keyId.
    pub key_id: Option<String>,
    /// What its user should know although it is accepted.
    pub warnings: Vec<GrantReason>,
}
