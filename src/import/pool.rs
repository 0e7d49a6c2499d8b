//! What a vendor daemon gave → a LicensePool and its LicenseGrants. The pool has the sum of its features' seats: no
//! client that the old server would have served is refused for want of a seat of the pool.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    carry,
    date::Ends,
    effective::{Feature, Offer, Part, Suite},
    finding::{At, Findings, shown},
    model::Count,
    names::{LABEL, Names, label},
    tell,
};
use crate::api::{
    LicenseGrant, LicenseGrantSpec, LicensePool, LicensePoolSpec, Name, PoolFeature, PoolRef, PoolTier,
    Validity, Version,
};

/// Bounds of the CRD.
const MAX_SEATS: u32 = 1_000_000;
const MAX_FEATURES: usize = 128;
const MAX_TIERS: usize = 32;
/// Lines of comment above a pool.
const MAX_COMMENTS: usize = 200;

/// A pool with its grants.
#[derive(Debug)]
pub(super) struct Imported {
    /// What is written above the pool.
    pub comments: Vec<String>,
    pub pool: LicensePool,
    pub grants: Vec<LicenseGrant>,
}

/// The manifests of one offer.
pub(super) fn imported(offer: &Offer, name: String, product: String, findings: &mut Findings) -> Imported {
    let mut building = Building { findings, names: BTreeMap::new(), comments: Vec::new() };
    let features = building.features(offer);
    building.say_versions(offer, &features);
    let (tiers, tier_grants) = building.tiers(&offer.suites, &name);
    let seats = building.seats(offer);
    let alone = building.alone(offer);
    let comments = building.comments;
    let mut grants = Vec::new();
    if tier_grants.is_empty() || !alone.is_empty() {
        let features = if tier_grants.is_empty() { Vec::new() } else { alone };
        let spec = LicenseGrantSpec { pool_ref: pool_ref(&name), features, ..Default::default() };
        grants.push(LicenseGrant::new(&name, spec));
    }
    grants.extend(tier_grants);
    let pool = LicensePool::new(
        &name,
        LicensePoolSpec { product, seats: Some(seats), features, tiers, ..Default::default() },
    );
    Imported { comments, pool, grants }
}

fn pool_ref(name: &str) -> PoolRef {
    PoolRef { name: name.to_owned(), namespace: None }
}

struct Building<'a> {
    findings: &'a mut Findings,
    /// Names of features in the files, in lower case, and here.
    names: BTreeMap<String, Name>,
    comments: Vec<String>,
}

impl Building<'_> {
    fn features(&mut self, offer: &Offer) -> Vec<PoolFeature> {
        let mut names = Names::default();
        let mut features = Vec::new();
        for feature in &offer.features {
            let Some(first) = feature.parts.first() else { continue };
            let given = shown(&feature.name);
            if features.len() >= MAX_FEATURES {
                self.findings.lost(
                    &first.at,
                    format!("{given}: a pool has at most {MAX_FEATURES} features"),
                    "import its lines from a file of their own, with --product and --name",
                );
                continue;
            }
            let name = names.give(label(&feature.name, LABEL), LABEL);
            if name != feature.name {
                self.findings
                    .note(&first.at, format!("{given} is called {name} here: clients must ask for that"));
            }
            let ends = self.earliest(&feature.parts, &given);
            let alone = feature.parts.iter().filter(|part| !part.in_suite);
            let seats = self.bounded(total(alone), &first.at, &given).filter(|seats| *seats > 0);
            let version = self.newest(feature, &given);
            self.comment(&name, feature);
            self.names.insert(feature.name.to_lowercase(), Name(name.clone()));
            features.push(PoolFeature {
                name: Name(name),
                seats,
                version,
                not_before: None,
                not_after: ends.and_then(end_of),
            });
        }
        features
    }

    /// A feature has one highest version: that of its newest line. None where a line has none that can be compared.
    fn newest(&mut self, feature: &Feature, name: &str) -> Option<Version> {
        let mut versions = Vec::new();
        for part in &feature.parts {
            match carry::version(name, &part.version) {
                Ok(version) => versions.push((part, version)),
                Err(fate) => tell(&part.at, fate, self.findings),
            }
        }
        let upgrades = feature.upgrades.iter();
        let all = versions.iter().map(|(_, version)| version).chain(upgrades.map(|(to, _)| to));
        let newest = all.max().filter(|_| versions.len() == feature.parts.len())?.clone();
        let upgraded = feature.upgrades.iter().filter(|(to, _)| *to == newest);
        let upgraded = upgraded.fold(Count::Seats(0), |sum, (_, count)| sum.plus(*count));
        let older = versions.into_iter().filter(|(_, version)| *version < newest);
        for (part, version) in older.filter(|_| !upgraded.reaches(total(feature.parts.iter()))) {
            let message = format!(
                "{name} is up to version {version} by this line: a feature has one highest version, so these seats serve versions up to {newest}"
            );
            let meanwhile = "let the application check its own, or ask the vendor for signed licenses, which tell seats apart by version";
            self.findings.lost(&part.at, message, meanwhile);
        }
        Some(newest)
    }

    /// What clients must do that they may not have done.
    fn say_versions(&mut self, offer: &Offer, features: &[PoolFeature]) {
        let first = offer.features.first().and_then(|feature| feature.parts.first());
        let versioned = features.iter().any(|feature| feature.version.is_some());
        if let Some(first) = first.filter(|_| versioned) {
            let message = "clients must say their version: one that says none counts as the newest, and the features here are for versions up to their highest";
            self.findings.note(&first.at, message);
        }
    }

    /// A feature has one end: that of the line that ends first.
    fn earliest(&mut self, parts: &[Part], name: &str) -> Option<Ends> {
        let first = parts.iter().min_by_key(|part| part.ends)?;
        let Ends::After(end) = first.ends else { return None };
        for later in parts.iter().filter(|part| part.ends > first.ends) {
            let message = format!(
                "{name} goes on after {end} by this line, but {} ends then, and a feature has one end: all its seats end with {end}",
                first.at
            );
            self.findings.lost(
                &later.at,
                message,
                format!("import again after {end}, or leave the shorter line out"),
            );
        }
        Some(first.ends)
    }

    /// Seats that a pool can have; None for uncounted ones.
    fn bounded(&mut self, count: Count, at: &At, name: &str) -> Option<u32> {
        let Count::Seats(seats) = count else { return None };
        let bounded = u32::try_from(seats).unwrap_or(u32::MAX).min(MAX_SEATS);
        if u64::from(bounded) < seats {
            self.findings.lost(at, format!("{name} has {seats} seats: a pool has at most {MAX_SEATS}"), "");
        }
        Some(bounded)
    }

    /// The sum of what is sold: a suite's seat stands for those of its features.
    fn seats(&mut self, offer: &Offer) -> u32 {
        let alone = offer.features.iter().flat_map(|feature| &feature.parts).filter(|part| !part.in_suite);
        let suites = offer.suites.iter().flat_map(|suite| &suite.parts);
        match total(alone.chain(suites)) {
            Count::Seats(seats) => u32::try_from(seats).unwrap_or(u32::MAX).clamp(1, MAX_SEATS),
            Count::Uncounted => MAX_SEATS,
        }
    }

    fn tiers(&mut self, suites: &[Suite], pool: &str) -> (Vec<PoolTier>, Vec<LicenseGrant>) {
        let (mut tiers, mut grants) = (Vec::new(), Vec::new());
        let (mut names, mut grant_names) = (Names::default(), Names::default());
        grant_names.give(pool.to_owned(), LABEL);
        for suite in suites {
            let Some(first) = suite.parts.first() else { continue };
            let given = shown(&suite.name);
            let mut features: Vec<Name> =
                suite.features.iter().filter_map(|name| self.names.get(name).cloned()).collect();
            features.sort();
            if features.is_empty() || tiers.len() >= MAX_TIERS {
                let message = format!(
                    "the suite {given}: a pool has at most {MAX_TIERS} tiers, with features of its own"
                );
                self.findings.lost(
                    &first.at,
                    message,
                    "import its lines from a file of their own, with --product",
                );
                continue;
            }
            let name = names.give(label(&suite.name, LABEL), LABEL);
            let ends = self.earliest(&suite.parts, &given);
            let seats = self.bounded(total(suite.parts.iter()), &first.at, &given).or(Some(MAX_SEATS));
            let grant = grant_names.give(label(&format!("{pool}-{name}"), LABEL), LABEL);
            self.findings.note(
                &first.at,
                format!("the suite {given} is the tier {name} here, for whom the grant {grant} is"),
            );
            let validity =
                ends.and_then(end_of).map(|end| Validity { not_after: Some(end), ..Default::default() });
            let tier = Some(Name(name.clone()));
            let spec = LicenseGrantSpec { pool_ref: pool_ref(pool), tier, validity, ..Default::default() };
            grants.push(LicenseGrant::new(&grant, spec));
            tiers.push(PoolTier { name: Name(name), features, seats, suite: true });
        }
        (tiers, grants)
    }

    /// Features that are sold outside suites too.
    fn alone(&self, offer: &Offer) -> Vec<Name> {
        let mut alone = Vec::new();
        for feature in &offer.features {
            if feature.parts.iter().any(|part| !part.in_suite) {
                alone.extend(self.names.get(&feature.name.to_lowercase()).cloned());
            }
        }
        alone
    }

    fn comment(&mut self, name: &str, feature: &Feature) {
        for part in &feature.parts {
            if self.comments.len() > MAX_COMMENTS {
                return;
            }
            if self.comments.len() == MAX_COMMENTS {
                self.comments.push("and more".to_owned());
                return;
            }
            let ends = match part.ends {
                Ends::After(end) => format!("until {end}"),
                Ends::Never => "permanent".to_owned(),
            };
            let (version, given) = (shown(&part.version), shown(&feature.name));
            let at = format!("{}:{}", shown(&part.at.file), part.at.line);
            let mut line = format!("{name}: {} {ends}, {given} {version} of {at}", part.count);
            if !part.information.is_empty() {
                line.push_str("; ");
                line.push_str(&shown(&part.information.join("; ")));
            }
            self.comments.push(line);
        }
    }
}

fn total<'a>(parts: impl Iterator<Item = &'a Part>) -> Count {
    parts.fold(Count::Seats(0), |sum, part| sum.plus(part.count))
}

/// The first moment after a day, in UTC.
fn end_of(ends: Ends) -> Option<Time> {
    let Ends::After(day) = ends else { return None };
    Some(Time(day.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp()))
}
