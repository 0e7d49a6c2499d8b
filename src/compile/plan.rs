//! One pool and the grants that refer to it → what its servers may give. A broken grant stops nobody else, and takes
//! no seat from those who have one: it stays in the plan, suspended, for as long as it can be repaired.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    AcceptedGrant, Compiled, CompiledGrant, GrantInput, GrantReason, ObjectName, PoolInput, PoolReason,
    Reasons,
    conflicts::age,
    expiry::earliest_end,
    licenses::{Capped, cap},
    rules,
};
use crate::api::{
    LicenseGrantSpec, LicensePoolSpec, MAX_GRANTS, Name, PlanFeature, PlanGrant, PlanInput, PlanTier,
    PoolTier, SeatPlanSpec, Validity,
};

/// Hexadecimal digits of a key's hash that tell keys apart in a status.
const KEY_ID_DIGITS: usize = 16;

/// Bytes of all grants of a plan as JSON; etcd takes 1.5 MiB for the whole object.
const MAX_GRANT_BYTES: usize = 1_000_000;

/// Compiles `pool` and the grants that refer to it.
pub fn compile(pool: &PoolInput<'_>, grants: &[GrantInput<'_>]) -> Compiled {
    let mut reasons: Vec<PoolReason> = pool.conflicts.refused.iter().cloned().collect();
    reasons.extend(rules::pool(pool.pool));
    let capped = match &pool.licensed {
        Some(licensed) => cap(&pool.pool.spec, licensed, pool.before),
        None => Capped::uncapped(pool.pool.spec.clone()),
    };
    let mut licensed = pool.licensed.clone();
    if let Some(licensed) = &mut licensed {
        licensed.findings.extend(capped.findings());
    }
    let pool = &Pool { input: pool, capped };
    let refused = Reasons::new(reasons);
    let mut oldest_first: Vec<&GrantInput<'_>> = grants.iter().collect();
    oldest_first.sort_by_cached_key(|input| age(input.grant));
    let mut judged = Judged::default();
    for input in oldest_first {
        judged.take(pool, refused.is_some(), input);
    }
    judged.suspend_refused(pool);
    Compiled {
        plan: refused.map_or_else(|| Ok(assemble(pool, judged.planned)), Err),
        warnings: pool.input.conflicts.warnings.clone(),
        licensed,
        grants: judged.outcomes.into_iter().map(|(name, outcome)| CompiledGrant { name, outcome }).collect(),
    }
}

/// A pool, and what counts of its spec.
struct Pool<'a> {
    input: &'a PoolInput<'a>,
    capped: Capped,
}

impl Pool<'_> {
    fn name(&self) -> ObjectName {
        ObjectName::of(self.input.pool)
    }

    fn spec(&self) -> &LicensePoolSpec {
        &self.capped.spec
    }
}

/// Grants judged so far, the oldest first: who came first keeps its key and its place.
#[derive(Default)]
struct Judged {
    outcomes: BTreeMap<ObjectName, Result<AcceptedGrant, Reasons<GrantReason>>>,
    planned: BTreeMap<ObjectName, Planned>,
    refused_for_now: Vec<Planned>,
    key_holders: BTreeMap<String, ObjectName>,
    bytes: usize,
}

impl Judged {
    fn take(&mut self, pool: &Pool<'_>, refused: bool, input: &GrantInput<'_>) {
        let name = ObjectName::of(input.grant);
        let mut reasons = alone(pool, refused, input);
        let mut planned = planned(pool, input);
        if reasons.is_empty() {
            reasons.extend(self.beside_others(pool, &name, &planned));
        }
        if !reasons.is_empty() && reasons.iter().all(GrantReason::is_for_now) {
            planned.0.suspended = true;
            self.refused_for_now.push(planned.clone());
        }
        let outcome =
            Reasons::new(reasons).map_or_else(|| Ok(self.accept(pool, &input.grant.spec, planned)), Err);
        self.outcomes.insert(name, outcome);
    }

    /// Puts those that can be repaired into the plan too, where the accepted ones leave room, and never with another
    /// grant's key: their sessions go on, and nobody gets a new one.
    fn suspend_refused(&mut self, pool: &Pool<'_>) {
        for mut planned in std::mem::take(&mut self.refused_for_now) {
            planned.0.keys.retain(|key| !self.key_holders.contains_key(&key.sha256));
            if self.no_room(pool, &planned).is_none() {
                self.put(planned);
            }
        }
    }

    fn no_room(&self, pool: &Pool<'_>, planned: &Planned) -> Option<GrantReason> {
        if self.planned.len() >= MAX_GRANTS {
            return Some(GrantReason::TooManyGrants(pool.name()));
        }
        let fits = self.bytes + size(planned) <= MAX_GRANT_BYTES;
        (!fits).then(|| GrantReason::PlanTooLarge(pool.name()))
    }

    /// What the grants before it leave no room for.
    fn beside_others(&mut self, pool: &Pool<'_>, name: &ObjectName, planned: &Planned) -> Vec<GrantReason> {
        if let Some(reason) = self.no_room(pool, planned) {
            return vec![reason];
        }
        let holders = planned.0.keys.iter().filter_map(|key| self.key_holders.get(&key.sha256));
        let holders: BTreeSet<ObjectName> = holders.cloned().collect();
        for holder in &holders {
            if let Some(Ok(accepted)) = self.outcomes.get_mut(holder) {
                accepted.warnings.push(GrantReason::KeyConflict { other: name.clone(), serves: true });
            }
        }
        holders.into_iter().map(|other| GrantReason::KeyConflict { other, serves: false }).collect()
    }

    fn accept(&mut self, pool: &Pool<'_>, spec: &LicenseGrantSpec, planned: Planned) -> AcceptedGrant {
        let grant = &planned.0;
        let accepted = AcceptedGrant {
            expires: earliest_end([pool.spec().validity.as_ref(), Some(&grant.validity)]),
            key_id: grant.keys.first().map(|key| key.sha256.chars().take(KEY_ID_DIGITS).collect()),
            warnings: not_licensed(pool, spec),
        };
        self.put(planned);
        accepted
    }

    fn put(&mut self, planned: Planned) {
        let grant = &planned.0;
        let name = ObjectName { namespace: grant.namespace.clone(), name: grant.name.clone() };
        for key in &grant.keys {
            self.key_holders.insert(key.sha256.clone(), name.clone());
        }
        self.bytes += size(&planned);
        self.planned.insert(name, planned);
    }
}

/// A grant as the plan has it, and where it comes from.
type Planned = (PlanGrant, PlanInput);

/// With what the pool has of all that the grant names, and without a validity that means nothing.
fn planned(pool: &Pool<'_>, input: &GrantInput<'_>) -> Planned {
    let (name, spec) = (ObjectName::of(input.grant), &input.grant.spec);
    let of_pool = pool.spec();
    let validity = spec.validity.clone().filter(|_| rules::grant(input.grant).is_empty());
    let source = source("LicenseGrant", &name, input.grant.metadata.generation);
    let grant = PlanGrant {
        namespace: name.namespace,
        name: name.name,
        max: spec.seats.max,
        tier: spec.tier.clone().filter(|name| of_pool.tiers.iter().any(|tier| tier.name == *name)),
        features: features(of_pool, spec),
        validity: validity.unwrap_or_default(),
        keys: input.keys.clone().unwrap_or_default(),
        priority: spec.priority,
        suspended: spec.suspend,
    };
    (grant, source)
}

/// Bytes as JSON.
fn size(planned: &Planned) -> usize {
    serde_json::to_vec(planned).map_or(MAX_GRANT_BYTES, |json| json.len())
}

/// What is wrong with a grant, whatever other grants there are. A namespace that the pool does not want learns
/// nothing about the pool.
fn alone(pool: &Pool<'_>, refused: bool, input: &GrantInput<'_>) -> Vec<GrantReason> {
    let name = pool.name();
    let mut reasons = Vec::new();
    if !input.allowed {
        let namespace = ObjectName::of(input.grant).namespace;
        reasons.push(GrantReason::NotAllowedByPool { pool: name, namespace });
    } else if refused {
        reasons.push(GrantReason::PoolNotAccepted(name));
    } else {
        reasons.extend(unknown_names(pool, &input.grant.spec));
        reasons.extend(input.keys.as_ref().err().cloned());
    }
    reasons.extend(rules::grant(input.grant));
    reasons
}

/// Where no license counts, nobody can say what they would list: the pool tells it.
fn unknown_names(pool: &Pool<'_>, grant: &LicenseGrantSpec) -> Vec<GrantReason> {
    if pool.capped.unlicensed {
        return Vec::new();
    }
    let names = |all: &[&Name]| all.iter().map(|name| name.to_string()).collect::<Vec<_>>();
    let (spec, capped) = (pool.spec(), &pool.capped);
    let tiers = names(&spec.tiers.iter().map(|tier| &tier.name).collect::<Vec<_>>());
    let features = names(&spec.features.iter().map(|feature| &feature.name).collect::<Vec<_>>());
    let unknown = grant.tier.iter().filter(|tier| !tiers.contains(&tier.0)).map(|tier| {
        let cut = capped.cut_tiers.contains(tier);
        let tier = tier.to_string();
        if cut {
            GrantReason::TierNotLicensed(tier)
        } else {
            GrantReason::TierNotFound { tier, known: tiers.clone() }
        }
    });
    let mut reasons: Vec<GrantReason> = unknown.collect();
    for (index, feature) in grant.features.iter().enumerate() {
        if !features.contains(&feature.0) && !capped.cut_features.contains(feature) {
            let (feature, known) = (feature.to_string(), features.clone());
            reasons.push(GrantReason::FeatureNotInPool { feature, index, known });
        }
    }
    reasons
}

/// Features that the grant names and no license covers; it goes on without them.
fn not_licensed(pool: &Pool<'_>, grant: &LicenseGrantSpec) -> Vec<GrantReason> {
    let cut = grant.features.iter().enumerate().filter(|(_, name)| pool.capped.cut_features.contains(name));
    cut.map(|(index, name)| GrantReason::FeatureNotLicensed { feature: name.to_string(), index }).collect()
}

/// The tier's and the grant's own, those that the pool has; with neither tier nor features, all of the pool's.
fn features(pool: &LicensePoolSpec, grant: &LicenseGrantSpec) -> Vec<Name> {
    let of_tier = pool.tiers.iter().filter(|tier| Some(&tier.name) == grant.tier.as_ref());
    let mut names: BTreeSet<Name> = of_tier.flat_map(|tier| tier.features.iter().cloned()).collect();
    names.extend(grant.features.iter().cloned());
    if grant.tier.is_none() && grant.features.is_empty() {
        names.extend(pool.features.iter().map(|feature| feature.name.clone()));
    }
    names.retain(|name| pool.features.iter().any(|feature| feature.name == *name));
    names.into_iter().collect()
}

fn assemble(pool: &Pool<'_>, planned: BTreeMap<ObjectName, Planned>) -> SeatPlanSpec {
    let (input, name, spec) = (pool.input, pool.name(), pool.spec());
    let (grants, sources): (Vec<_>, Vec<_>) = planned.into_values().unzip();
    let mut inputs = vec![source("LicensePool", &name, input.pool.metadata.generation)];
    inputs.extend(sources);
    SeatPlanSpec {
        pool: name.name,
        product: spec.product.clone(),
        seats: spec.seats.unwrap_or_default(),
        suspended: spec.suspend,
        draining: input.draining,
        revoked: input.revoked || pool.capped.revoked,
        ttl: spec.session.ttl,
        outage_tolerance: spec.availability.outage_tolerance,
        queue: Some(spec.queue.clone()),
        validity: spec.validity.clone().unwrap_or_default(),
        features: plan_features(&pool.capped),
        tiers: spec.tiers.iter().map(plan_tier).collect(),
        grants,
        min_generation: input.min_generation,
        longest_outage_tolerance: input.longest_horizon,
        ended: Vec::new(),
        inputs,
    }
}

fn plan_features(capped: &Capped) -> Vec<PlanFeature> {
    let feature = |feature: &crate::api::PoolFeature| PlanFeature {
        name: feature.name.clone(),
        seats: feature.seats,
        version: feature.version.clone(),
        steps: capped.steps.get(&feature.name).cloned().unwrap_or_default(),
        validity: Validity {
            not_before: feature.not_before.clone(),
            not_after: feature.not_after.clone(),
            ..Validity::default()
        },
    };
    capped.spec.features.iter().map(feature).collect()
}

fn plan_tier(tier: &PoolTier) -> PlanTier {
    let covers = if tier.suite { tier.features.clone() } else { Vec::new() };
    PlanTier { name: tier.name.clone(), seats: tier.seats, covers }
}

fn source(kind: &str, name: &ObjectName, generation: Option<i64>) -> PlanInput {
    PlanInput {
        kind: kind.to_owned(),
        namespace: name.namespace.clone(),
        name: name.name.clone(),
        generation: generation.unwrap_or(0),
    }
}
