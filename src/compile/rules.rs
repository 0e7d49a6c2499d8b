//! The CEL rules of the CRDs once more, for objects that no API server has seen; with the same sentences,
//! and more said where CEL cannot.
//! Bounds, patterns and unknown fields are the schema's to check (`manifests`), as in the API server.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{GrantReason, ObjectName, PoolReason};
use crate::api::{
    AllowedNamespaces, LicenseGrant, LicensePool, LicensePoolSpec, Name, NamespacesFrom, PoolFeature,
    PoolTier, Validity, sentences,
};

const HOUR: u64 = 3600;

/// All that is wrong with a pool by itself.
pub(super) fn pool(pool: &LicensePool) -> Vec<PoolReason> {
    let name = ObjectName::of(pool).name;
    let spec = &pool.spec;
    let mut broken = vec![
        (!is_pool_name(&name), "metadata.name", sentences::POOL_NAME),
        (spec.seats.is_none() && spec.licenses.is_empty(), "spec.seats", sentences::SEATS_NEEDED),
        (!feature_times(spec).all(is_time), "spec.features", sentences::TIME),
        (spec.features.iter().any(is_reversed), "spec.features", sentences::FEATURE_ORDER),
        (!between(spec.session.ttl.get(), 10, HOUR), "spec.session.ttl", sentences::TTL),
        (
            !between(spec.availability.outage_tolerance.get(), 15, 24 * HOUR),
            "spec.availability.outageTolerance",
            sentences::OUTAGE_TOLERANCE,
        ),
        (!between(spec.queue.max_wait.get(), 1, 168 * HOUR), "spec.queue.maxWait", sentences::MAX_WAIT),
        (!selector_fits(&spec.allowed_namespaces), "spec.allowedNamespaces", sentences::SELECTOR),
        (
            !between(spec.deletion.drain_deadline.get(), 0, 168 * HOUR),
            "spec.deletion.drainDeadline",
            sentences::DRAIN_DEADLINE,
        ),
    ];
    broken.extend(spec.validity.as_ref().map(validity).into_iter().flatten());
    found(broken)
        .chain(tiers(spec))
        .chain(suites(spec))
        .map(|(path, sentence)| PoolReason::Invalid { path, sentence })
        .collect()
}

/// All that is wrong with a grant by itself.
pub(super) fn grant(grant: &LicenseGrant) -> Vec<GrantReason> {
    let mut broken = vec![(ObjectName::of(grant).name.len() > 63, "metadata.name", sentences::GRANT_NAME)];
    if let Some(limits) = &grant.spec.validity {
        broken.push((
            limits.grace_period.is_some(),
            "spec.validity.gracePeriod",
            sentences::GRANT_GRACE_PERIOD,
        ));
        broken.extend(validity(limits));
    }
    found(broken).map(|(path, sentence)| GrantReason::Invalid { path, sentence }).collect()
}

type Check = (bool, &'static str, &'static str);

fn found(checks: Vec<Check>) -> impl Iterator<Item = (String, String)> {
    let broken = checks.into_iter().filter(|(broken, ..)| *broken);
    broken.map(|(_, path, sentence)| (path.to_owned(), sentence.to_owned()))
}

fn validity(validity: &Validity) -> [Check; 4] {
    let (begin, end) = (&validity.not_before, &validity.not_after);
    let reversed = are_reversed(begin.as_ref(), end.as_ref());
    let grace = validity.grace_period.is_some_and(|grace| !between(grace.get(), 0, 8760 * HOUR));
    let warnings = validity.expiry_warnings.iter().flatten();
    let warnings = warnings.map(|before| before.get()).any(|d| d.is_zero() || !between(d, 0, 8760 * HOUR));
    let far = begin.iter().chain(end).any(|time| !is_time(time));
    [
        (far, "spec.validity", sentences::TIME),
        (reversed, "spec.validity", sentences::VALIDITY_ORDER),
        (grace, "spec.validity.gracePeriod", sentences::GRACE_PERIOD),
        (warnings, "spec.validity.expiryWarnings", sentences::EXPIRY_WARNINGS),
    ]
}

/// Strictly between the years 1 and 9999.
fn is_time(time: &Time) -> bool {
    (-62_135_596_800..253_370_764_800).contains(&time.0.as_second())
}

fn between(value: Duration, least_secs: u64, most_secs: u64) -> bool {
    value >= Duration::from_secs(least_secs) && value <= Duration::from_secs(most_secs)
}

fn is_pool_name(name: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    name.len() <= 40
        && name.bytes().all(inner)
        && name.bytes().next().is_some_and(|c| c.is_ascii_lowercase())
        && name.bytes().last().is_some_and(|c| c != b'-')
}

/// Which feature of which tier the pool lacks; the API server's sentence cannot name them.
fn tiers(spec: &LicensePoolSpec) -> impl Iterator<Item = (String, String)> {
    let lacks = |name: &Name| !spec.features.iter().any(|feature| feature.name == *name);
    let unknown = move |(index, tier): (usize, &PoolTier)| {
        let missing = tier.features.iter().filter(|name| lacks(name));
        let names = missing.map(|name| name.to_string()).collect::<Vec<_>>().join(", ");
        let sentence = format!("{}: tier {} has {names}", sentences::TIER_FEATURES, tier.name);
        (!names.is_empty()).then_some((format!("spec.tiers[{index}].features"), sentence))
    };
    spec.tiers.iter().enumerate().filter_map(unknown)
}

fn suites(spec: &LicensePoolSpec) -> impl Iterator<Item = (String, String)> {
    let endless = spec.tiers.iter().enumerate().filter(|(_, tier)| tier.suite && tier.seats.is_none());
    endless.map(|(index, _)| (format!("spec.tiers[{index}].seats"), sentences::SUITE_SEATS.to_owned()))
}

fn feature_times(spec: &LicensePoolSpec) -> impl Iterator<Item = &Time> {
    spec.features.iter().flat_map(|feature| feature.not_before.iter().chain(&feature.not_after))
}

fn is_reversed(feature: &PoolFeature) -> bool {
    are_reversed(feature.not_before.as_ref(), feature.not_after.as_ref())
}

fn are_reversed(begin: Option<&Time>, end: Option<&Time>) -> bool {
    begin.zip(end).is_some_and(|(begin, end)| begin.0 >= end.0)
}

fn selector_fits(allowed: &AllowedNamespaces) -> bool {
    (allowed.from == NamespacesFrom::Selector) == allowed.selector.is_some()
}
