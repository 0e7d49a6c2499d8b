//! The spec of a pool, cut down to what its licenses allow. What they do not list is cut off; what the pool leaves out is
//! theirs. Overdraft and borrowing are not built yet: nobody gets them by a license.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    LicenseFinding, LicenseReason, Licensed,
    window::{both, is_empty, over, running},
};
use crate::{
    api::{LicensePoolSpec, Name, PoolFeature, PoolTier, SeatPlanSpec},
    license::document::TierTerms,
};

/// Bounds of a pool, for what comes from licenses too.
const MAX_SEATS: u32 = 1_000_000;
const MAX_FEATURES: usize = 128;
const MAX_TIERS: usize = 32;

/// See the module.
pub struct Capped {
    /// What counts of the pool's spec.
    pub spec: LicensePoolSpec,
    /// No license counts: no new seats. Features and tiers are as the pool has them.
    pub unlicensed: bool,
    /// And no renewals either.
    pub revoked: bool,
    /// Names that the pool has and no license covers.
    pub cut_features: BTreeSet<Name>,
    /// As for features.
    pub cut_tiers: BTreeSet<Name>,
}

impl Capped {
    /// A pool without licenses.
    pub fn uncapped(spec: LicensePoolSpec) -> Self {
        let (cut_features, cut_tiers) = Default::default();
        Self { spec, unlicensed: false, revoked: false, cut_features, cut_tiers }
    }

    /// What was cut off.
    pub fn finding(&self) -> Option<LicenseFinding> {
        let features = self.cut_features.iter().map(|name| format!("feature {name}"));
        let cut: Vec<String> =
            features.chain(self.cut_tiers.iter().map(|name| format!("tier {name}"))).collect();
        let reason = LicenseReason::NotCovered(cut.join(", "));
        (!cut.is_empty()).then_some(LicenseFinding { secret: None, reason })
    }
}

/// Caps `spec`. `before` is the plan in force: where nothing counts because a license was lost, sessions go on by it,
/// until the end that it knows. A license that was taken away, or counts elsewhere, leaves nothing to go on by.
pub fn cap(spec: &LicensePoolSpec, licensed: &Licensed, before: Option<&SeatPlanSpec>) -> Capped {
    let mut capped = Capped::uncapped(spec.clone());
    let own = spec.validity.clone().unwrap_or_default();
    let window = licensed.window.as_ref().map(|window| both(&own, window));
    if licensed.counts() && !window.as_ref().is_some_and(is_empty) {
        capped.spec.validity = window;
        capped.spec.seats = Some(spec.seats.unwrap_or(MAX_SEATS).min(licensed.terms.seats).min(MAX_SEATS));
        features(&mut capped, licensed);
        tiers(&mut capped, licensed);
        return capped;
    }
    capped.unlicensed = true;
    capped.spec.seats = Some(0);
    capped.spec.suspend = true;
    let lost = licensed.findings.iter().any(|finding| finding.reason.is_loss());
    let kept = before.filter(|plan| lost && !plan.revoked && running(&plan.validity, licensed.now));
    let validity =
        kept.map(|plan| both(&own, &plan.validity)).or(window).filter(|validity| !is_empty(validity));
    capped.revoked = validity.is_none();
    capped.spec.validity = validity.or(spec.validity.clone());
    capped
}

fn features(capped: &mut Capped, licensed: &Licensed) {
    let mut seats: BTreeMap<&str, u32> = BTreeMap::new();
    // No client can say its version yet, so a license up to a version covers none.
    for terms in licensed.terms.features.iter().filter(|terms| terms.version.is_none()) {
        let sum = seats.entry(&terms.name).or_default();
        *sum = sum.saturating_add(terms.seats);
    }
    if capped.spec.features.is_empty() {
        let theirs = |name: &String| PoolFeature { name: Name(name.clone()), seats: None, not_after: None };
        let names: BTreeSet<&String> = licensed.terms.features.iter().map(|terms| &terms.name).collect();
        capped.spec.features = names.into_iter().map(theirs).collect();
    }
    let all = capped.spec.seats.unwrap_or(MAX_SEATS);
    let pool_over = capped.spec.validity.as_ref().and_then(over);
    for mut feature in std::mem::take(&mut capped.spec.features) {
        let covered = seats.get(feature.name.as_str()).filter(|_| capped.spec.features.len() < MAX_FEATURES);
        let Some(covered) = covered else {
            capped.cut_features.insert(feature.name);
            continue;
        };
        feature.seats = smaller(feature.seats, *covered, all);
        let theirs = licensed.feature_ends.get(feature.name.as_str()).copied().flatten();
        let theirs = theirs.filter(|end| pool_over.is_none_or(|over| *end < over)).map(Time);
        feature.not_after = [feature.not_after, theirs].into_iter().flatten().min_by_key(|time| time.0);
        capped.spec.features.push(feature);
    }
}

fn tiers(capped: &mut Capped, licensed: &Licensed) {
    let theirs: BTreeMap<&str, &TierTerms> =
        licensed.terms.tiers.iter().map(|terms| (terms.name.as_str(), terms)).collect();
    if capped.spec.tiers.is_empty() {
        let tier = |terms: &TierTerms| PoolTier {
            name: Name(terms.name.clone()),
            features: terms.features.iter().cloned().map(Name).collect(),
            seats: None,
        };
        capped.spec.tiers = licensed.terms.tiers.iter().map(tier).collect();
    }
    let all = capped.spec.seats.unwrap_or(MAX_SEATS);
    for mut tier in std::mem::take(&mut capped.spec.tiers) {
        let covered = theirs.get(tier.name.as_str()).filter(|_| capped.spec.tiers.len() < MAX_TIERS);
        let Some(covered) = covered else {
            capped.cut_tiers.insert(tier.name);
            continue;
        };
        tier.seats = smaller(tier.seats, covered.seats, all);
        let features = &capped.spec.features;
        tier.features.retain(|name| {
            covered.features.contains(name.as_str()) && features.iter().any(|feature| feature.name == *name)
        });
        capped.spec.tiers.push(tier);
    }
}

/// Seats of a part; None: as many as the pool's.
fn smaller(own: Option<u32>, theirs: u32, all: u32) -> Option<u32> {
    match own {
        Some(own) => Some(own.min(theirs)),
        None => Some(theirs).filter(|theirs| *theirs < all),
    }
}
