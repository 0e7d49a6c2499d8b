//! The spec of a pool, cut down to what its licenses allow. What they do not list is cut off; what the pool leaves out is
//! theirs. Overdraft, borrowing and suites are not built yet: nobody gets them by a license.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    LicenseFinding, LicenseReason, Licensed,
    window::{both, is_empty, over, running},
};
use crate::{
    api::{LicensePoolSpec, MAX_STEPS, Name, PlanStep, PoolFeature, PoolTier, SeatPlanSpec, Version},
    license::document::{FeatureTerms, TierTerms},
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
    /// Tiers that the pool has as suites, which no license says.
    cut_suites: BTreeSet<Name>,
    /// Of features of which licenses have seats up to different versions.
    pub steps: BTreeMap<Name, Vec<PlanStep>>,
    /// Features with more versions than can be counted: those between these two are not told apart.
    merged: BTreeMap<Name, (Version, Version)>,
}

impl Capped {
    /// A pool without licenses.
    pub fn uncapped(spec: LicensePoolSpec) -> Self {
        Self {
            spec,
            unlicensed: false,
            revoked: false,
            cut_features: BTreeSet::new(),
            cut_tiers: BTreeSet::new(),
            cut_suites: BTreeSet::new(),
            steps: BTreeMap::new(),
            merged: BTreeMap::new(),
        }
    }

    /// What is not in force as the pool or its licenses say it.
    pub fn findings(&self) -> impl Iterator<Item = LicenseFinding> {
        let merged = self.merged.iter().map(|(name, (least, most))| LicenseReason::TooManyVersions {
            feature: name.to_string(),
            least: least.clone(),
            most: most.clone(),
        });
        self.cut_off().into_iter().chain(merged).map(|reason| LicenseFinding { secret: None, reason })
    }

    fn cut_off(&self) -> Option<LicenseReason> {
        let features = self.cut_features.iter().map(|name| format!("feature {name}"));
        let tiers = self.cut_tiers.iter().map(|name| format!("tier {name}"));
        let suites = self.cut_suites.iter().map(|name| format!("tier {name} as a suite"));
        let cut: Vec<String> = features.chain(tiers).chain(suites).collect();
        (!cut.is_empty()).then(|| LicenseReason::NotCovered(cut.join(", ")))
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
    let of_one = licensed.terms.features.chunk_by(|one, next| one.name == next.name);
    let theirs: BTreeMap<&str, Covered> =
        of_one.filter_map(|entries| Some((entries.first()?.name.as_str(), Covered::by(entries)))).collect();
    if capped.spec.features.is_empty() {
        let named = |name: &&str| PoolFeature {
            name: Name((*name).to_owned()),
            seats: None,
            version: None,
            not_before: None,
            not_after: None,
        };
        capped.spec.features = theirs.keys().map(named).collect();
    }
    let all = capped.spec.seats.unwrap_or(MAX_SEATS);
    let pool_over = capped.spec.validity.as_ref().and_then(over);
    for mut feature in std::mem::take(&mut capped.spec.features) {
        let covered = theirs.get(feature.name.as_str()).filter(|_| capped.spec.features.len() < MAX_FEATURES);
        let Some(covered) = covered else {
            capped.cut_features.insert(feature.name);
            continue;
        };
        feature.seats = smaller(feature.seats, covered.seats, all);
        feature.version = feature.version.into_iter().chain(covered.version.clone()).min();
        let (steps, merged) = covered.steps_below(feature.version.as_ref());
        capped.merged.extend(merged.map(|versions| (feature.name.clone(), versions)));
        capped.steps.insert(feature.name.clone(), steps);
        let theirs = licensed.feature_ends.get(feature.name.as_str()).copied().flatten();
        let theirs = theirs.filter(|end| pool_over.is_none_or(|over| *end < over)).map(Time);
        feature.not_after = [feature.not_after, theirs].into_iter().flatten().min_by_key(|time| time.0);
        capped.spec.features.push(feature);
    }
}

/// What licenses give of one feature.
struct Covered {
    seats: u32,
    /// The highest; None: all.
    version: Option<Version>,
    /// The oldest first.
    steps: Vec<PlanStep>,
}

impl Covered {
    /// By `entries`, the widest first. Of newer versions than an entry's there are the seats of those before it.
    fn by(entries: &[FeatureTerms]) -> Self {
        let (mut seats, mut steps) = (0_u32, Vec::new());
        for entry in entries {
            let above = entry.version.clone().filter(|_| seats > 0);
            steps.extend(above.map(|above| PlanStep { above, seats }));
            seats = seats.saturating_add(entry.seats);
        }
        steps.reverse();
        Self { seats, version: entries.first().and_then(|entry| entry.version.clone()), steps }
    }

    /// Those that a session up to version `highest` can pass. Of too many, the oldest become one: a seat up to any of their
    /// versions is then good up to the first, so there is never one too many.
    fn steps_below(&self, highest: Option<&Version>) -> (Vec<PlanStep>, Option<(Version, Version)>) {
        let below = |step: &&PlanStep| highest.is_none_or(|highest| step.above < *highest);
        let mut steps: Vec<PlanStep> = self.steps.iter().filter(below).cloned().collect();
        let over = steps.len().saturating_sub(MAX_STEPS);
        if over == 0 {
            return (steps, None);
        }
        let last = steps.drain(1..=over).next_back();
        let merged = steps.first_mut().zip(last).map(|(first, last)| {
            first.seats = last.seats;
            (first.above.clone(), last.above)
        });
        (steps, merged)
    }
}

fn tiers(capped: &mut Capped, licensed: &Licensed) {
    let theirs: BTreeMap<&str, &TierTerms> =
        licensed.terms.tiers.iter().map(|terms| (terms.name.as_str(), terms)).collect();
    if capped.spec.tiers.is_empty() {
        let tier = |terms: &TierTerms| PoolTier {
            name: Name(terms.name.clone()),
            features: terms.features.iter().cloned().map(Name).collect(),
            ..PoolTier::default()
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
        if std::mem::take(&mut tier.suite) {
            capped.cut_suites.insert(tier.name.clone());
        }
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
