//! All pools that were read, compiled with their grants; and what is wrong with them, at its file and line.

use std::collections::{BTreeMap, BTreeSet};

use super::{Loaded, Located, Problem, arrange};
use crate::{
    api::{LicenseGrant, LicensePool, PlanKey, SeatPlanSpec},
    compile::{
        Compiled, CompiledGrant, GrantInput, GrantReason, Licensing, ObjectName, PoolInput, ReadLicense,
        allows, brought_key, compile, conflicts, hash, holders, key_secret, license_secret, licensed,
        read_license,
    },
};

/// One pool of a directory.
#[derive(Clone, Debug)]
pub struct CompiledPool {
    /// Which.
    pub name: ObjectName,
    /// Its plan, and what became of its grants.
    pub compiled: Compiled,
}

/// All that a directory says.
#[derive(Clone, Debug, Default)]
pub struct CompiledManifests {
    /// Pools, in order of namespace and name.
    pub pools: Vec<CompiledPool>,
    /// Grants of pools that are not there.
    pub orphans: Vec<CompiledGrant>,
    /// Everything that is wrong, [`Loaded::problems`] included, in order of file and line.
    pub problems: Vec<Problem>,
    /// What is to be told of licenses. No reason to leave a change out: some of it comes by time alone.
    pub findings: Vec<Problem>,
}

/// Compiles everything. `made` gives the key of a grant that brings none (None: still to be made), `before` the plan in force
/// of a pool.
pub fn compile_all<'a>(
    loaded: &Loaded,
    licensing: &Licensing<'_>,
    made: impl Fn(&ObjectName) -> Option<PlanKey>,
    before: impl Fn(&LicensePool) -> Option<&'a SeatPlanSpec>,
) -> CompiledManifests {
    let pools: BTreeMap<ObjectName, &Located<LicensePool>> =
        loaded.pools.iter().map(|pool| (ObjectName::of(&pool.object), pool)).collect();
    let grants: BTreeMap<ObjectName, &Located<LicenseGrant>> =
        loaded.grants.iter().map(|grant| (ObjectName::of(&grant.object), grant)).collect();
    let mut conflicts = conflicts(&pools.values().map(|pool| &pool.object).collect::<Vec<_>>());
    let mut by_pool = BTreeMap::<ObjectName, Vec<&LicenseGrant>>::new();
    for grant in grants.values() {
        by_pool.entry(ObjectName::of_pool_of(&grant.object)).or_default().push(&grant.object);
    }
    let documents: BTreeMap<&ObjectName, Vec<ReadLicense>> =
        pools.iter().map(|(name, pool)| (name, documents(loaded, &pool.object, licensing))).collect();
    let listings = pools.iter().map(|(name, pool)| (&pool.object, &*documents[name]));
    let holders = holders(listings, licensing);
    let mut all = CompiledManifests { problems: loaded.problems.clone(), ..CompiledManifests::default() };
    for (name, pool) in &pools {
        let input = PoolInput {
            conflicts: conflicts.remove(name).unwrap_or_default(),
            licensed: licensed(&pool.object, &documents[name], &holders, licensing),
            before: before(&pool.object),
            ..PoolInput::new(&pool.object)
        };
        let inputs: Vec<GrantInput<'_>> = by_pool
            .remove(name)
            .into_iter()
            .flatten()
            .map(|grant| grant_input(loaded, &pool.object, grant, &made))
            .collect();
        let compiled = compile(&input, &inputs);
        all.problems.extend(pool_problems(pool, &compiled));
        all.findings.extend(license_findings(pool, &compiled));
        all.problems.extend(grant_problems(&grants, &compiled.grants));
        all.pools.push(CompiledPool { name: name.clone(), compiled });
    }
    all.orphans =
        by_pool.into_iter().flat_map(|(pool, grants)| orphans(&loaded.broken_pools, pool, grants)).collect();
    all.problems.extend(grant_problems(&grants, &all.orphans));
    arrange(&mut all.problems);
    arrange(&mut all.findings);
    all
}

fn documents(loaded: &Loaded, pool: &LicensePool, licensing: &Licensing<'_>) -> Vec<ReadLicense> {
    let references = pool.spec.licenses.iter().map(|license| &license.secret_ref);
    let secret = |reference| loaded.secret(&license_secret(pool, reference));
    references.map(|reference| read_license(reference, secret(reference), licensing.trust)).collect()
}

fn license_findings<'a>(
    pool: &'a Located<LicensePool>,
    compiled: &'a Compiled,
) -> impl Iterator<Item = Problem> + 'a {
    let findings = compiled.licensed.iter().flat_map(|licensed| &licensed.findings);
    findings.map(|finding| pool.problem(&finding.path(), finding))
}

fn grant_input<'a>(
    loaded: &Loaded,
    pool: &LicensePool,
    grant: &'a LicenseGrant,
    made: impl Fn(&ObjectName) -> Option<PlanKey>,
) -> GrantInput<'a> {
    let name = ObjectName::of(grant);
    let no_labels = BTreeMap::new();
    let labels = loaded.namespaces.get(&name.namespace).unwrap_or(&no_labels);
    let keys = match key_secret(grant) {
        Some(secret) => brought_key(grant, loaded.secret(&secret)).map(|key| vec![hash(&key)]),
        None => Ok(made(&name).into_iter().collect()),
    };
    GrantInput { grant, keys, allowed: allows(pool, &name.namespace, labels) }
}

fn orphans(
    broken: &BTreeSet<ObjectName>,
    pool: ObjectName,
    grants: Vec<&LicenseGrant>,
) -> Vec<CompiledGrant> {
    let reason = if broken.contains(&pool) {
        GrantReason::PoolNotAccepted(pool)
    } else {
        GrantReason::PoolNotFound(pool)
    };
    let orphan = |grant| CompiledGrant { name: ObjectName::of(grant), outcome: Err(reason.clone().into()) };
    grants.into_iter().map(orphan).collect()
}

fn pool_problems<'a>(
    pool: &'a Located<LicensePool>,
    compiled: &'a Compiled,
) -> impl Iterator<Item = Problem> + 'a {
    let refused = compiled.plan.as_ref().err().into_iter().flat_map(|reasons| reasons.iter());
    refused.chain(&compiled.warnings).map(|reason| pool.problem(reason.path(), reason))
}

fn grant_problems(
    grants: &BTreeMap<ObjectName, &Located<LicenseGrant>>,
    compiled: &[CompiledGrant],
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for CompiledGrant { name, outcome } in compiled {
        let reasons: Vec<&GrantReason> = match outcome {
            Ok(accepted) => accepted.warnings.iter().collect(),
            Err(reasons) => reasons.iter().collect(),
        };
        let grant = grants.get(name).into_iter();
        problems.extend(
            grant.flat_map(|grant| reasons.iter().map(|reason| grant.problem(&reason.path(), reason))),
        );
    }
    problems
}

/// Without licenses, as tests of everything else want it.
#[cfg(test)]
pub(crate) fn compile_unlicensed(
    loaded: &Loaded,
    made: impl Fn(&ObjectName) -> Option<PlanKey>,
) -> CompiledManifests {
    use crate::license::document::{Place, TrustedKeys};

    let (trust, place) = (TrustedKeys::default(), Place::Anywhere);
    let licensing = Licensing { trust: &trust, place, now: jiff::Timestamp::now(), cluster_unknown: false };
    compile_all(loaded, &licensing, made, |_| None)
}
