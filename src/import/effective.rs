//! License lines → what they give today: which lines count, what packages bring, what adds up. One offer for each
//! vendor daemon, since each had its own server. The order of the rules is FlexNet's: superseded lines go first, then
//! all FEATURE lines of a name but one, then what is over or has not begun.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use jiff::civil::Date;

use super::{
    date::Ends,
    finding::{At, Findings, shown},
    model::{Component, Count, Keyword, License, Licenses, Package, Term, issued},
};
use crate::api::Version;

/// Parts of one import, after packages are taken apart.
const MAX_PARTS: usize = 100_000;

/// What the lines of one vendor daemon give.
#[derive(Debug)]
pub(super) struct Offer {
    pub vendor: String,
    pub features: Vec<Feature>,
    pub suites: Vec<Suite>,
}

/// A feature, whatever the case of its name.
#[derive(Debug)]
pub(super) struct Feature {
    pub name: String,
    pub parts: Vec<Part>,
    /// How many of its seats were upgraded to which version.
    pub upgrades: Vec<(Version, Count)>,
}

/// What one line gives of a feature or suite.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub at: At,
    pub version: String,
    pub count: Count,
    pub ends: Ends,
    /// Words of the line that nobody acts on.
    pub information: Vec<String>,
    /// It comes with a seat of a suite.
    pub in_suite: bool,
}

/// Features that come together with one seat.
#[derive(Debug)]
pub(super) struct Suite {
    pub name: String,
    pub features: BTreeSet<String>,
    pub parts: Vec<Part>,
}

/// What tells features apart: vendor and name, of any case.
type Key = (String, String);

fn key(vendor: &str, name: &str) -> Key {
    (vendor.to_lowercase(), name.to_lowercase())
}

/// The lines that count today, in their order; of the others it is told why they do not.
pub(super) fn in_force(licenses: &mut Licenses, today: Date, findings: &mut Findings) {
    superseded(licenses, findings);
    licenses.grants.retain(|license| {
        let unlimited_on_one_host = license.count == Count::Uncounted && license.is_node_locked();
        if unlimited_on_one_host {
            let name = shown(&license.feature);
            findings.lost(
                &license.at,
                format!("{name} is uncounted on one host: this version of genie-lm has no host locks yet, and without one it would be unlimited everywhere"),
                "the application can go on reading this line by itself, without a server",
            );
        }
        !unlimited_on_one_host
    });
    first_features(&mut licenses.grants, findings);
    licenses.grants.retain(|license| is_now(license, today, findings));
    let grants = &licenses.grants;
    let known: BTreeSet<Key> = grants.iter().map(|license| key(&license.vendor, &license.feature)).collect();
    licenses.upgrades.retain(|upgrade| {
        let name = shown(&upgrade.feature);
        let why = match upgrade.ends {
            Ends::After(end) if end < today => {
                format!("this upgrade of {name} ended on {end}: it does not count")
            }
            _ if !known.contains(&key(&upgrade.vendor, &upgrade.feature)) => {
                format!("there is no line of {name} that counts and that this one could upgrade")
            }
            _ => return true,
        };
        findings.note(&upgrade.at, why);
        false
    });
}

fn superseded(licenses: &mut Licenses, findings: &mut Findings) {
    let mut newest: BTreeMap<Key, (Date, At)> = BTreeMap::new();
    let grants = licenses.grants.iter().map(|line| (&line.at, &line.vendor, &line.feature, &line.terms));
    let packages = licenses.packages.iter().map(|line| (&line.at, &line.vendor, &line.name, &line.terms));
    for (at, vendor, own, terms) in grants.chain(packages) {
        for word in terms {
            let Term::Supersede(names) = &word.term else { continue };
            let Some(date) = issued(terms) else {
                findings.note(
                    at,
                    "SUPERSEDE without ISSUED: it is not known what is older, so nothing is superseded",
                );
                continue;
            };
            let own = std::slice::from_ref(own);
            for name in if names.is_empty() { own } else { names } {
                let entry = newest.entry(key(vendor, name)).or_insert_with(|| (date, at.clone()));
                if entry.0 < date {
                    *entry = (date, at.clone());
                }
            }
        }
    }
    let mut counts = |at: &At, vendor: &str, name: &str, terms: &[Keyword]| {
        let Some((date, by)) = newest.get(&key(vendor, name)) else { return true };
        let old = issued(terms).is_none_or(|issued| issued < *date);
        if old {
            findings.note(at, format!("{} is superseded by {by}: it does not count", shown(name)));
        }
        !old
    };
    licenses.grants.retain(|line| counts(&line.at, &line.vendor, &line.feature, &line.terms));
    licenses.packages.retain(|line| counts(&line.at, &line.vendor, &line.name, &line.terms));
}

/// Of the FEATURE lines of one name only the first counts, by the order in which the daemon sorts those of a file.
fn first_features(grants: &mut Vec<License>, findings: &mut Findings) {
    let mut first: BTreeMap<Key, usize> = BTreeMap::new();
    for (index, license) in grants.iter().enumerate().filter(|(_, license)| !license.adds) {
        let at = first.entry(key(&license.vendor, &license.feature)).or_insert(index);
        let best = &grants[*at];
        if best.at.file == license.at.file && rank(license) < rank(best) {
            *at = index;
        }
    }
    let counts: Vec<bool> = grants
        .iter()
        .enumerate()
        .map(|(index, license)| {
            let first = first.get(&key(&license.vendor, &license.feature)).copied();
            let counts = license.adds || first == Some(index);
            if let Some(first) = first.filter(|_| !counts) {
                let name = shown(&license.feature);
                let by = &grants[first].at;
                findings
                    .note(&license.at, format!("of the FEATURE lines of {name} only that at {by} counts"));
            }
            counts
        })
        .collect();
    let mut counts = counts.into_iter();
    grants.retain(|_| counts.next().unwrap_or(true));
}

/// Smaller comes first: sort=, then uncounted before counted, newer versions, newer issues.
fn rank(license: &License) -> (u32, bool, Reverse<Decimal>, Reverse<Option<Date>>) {
    let counted = license.count != Count::Uncounted;
    (license.sort(), counted, Reverse(Decimal::of(&license.version)), Reverse(license.issued()))
}

/// There, versions are decimal numbers: 2.9 is more than 2.10.
#[derive(PartialEq, PartialOrd)]
struct Decimal(f64);

impl Decimal {
    fn of(text: &str) -> Decimal {
        Decimal(text.parse().ok().filter(|version: &f64| version.is_finite()).unwrap_or(0.0))
    }

    fn same(a: &str, b: &str) -> bool {
        a.eq_ignore_ascii_case(b) || Decimal::of(a) == Decimal::of(b)
    }
}

fn is_now(license: &License, today: Date, findings: &mut Findings) -> bool {
    let name = shown(&license.feature);
    if let Ends::After(end) = license.ends
        && end < today
    {
        findings.note(&license.at, format!("{name} ended on {end}: it does not count"));
        return false;
    }
    if let Some(start) = license.starts().filter(|start| *start > today) {
        let message = format!(
            "{name} begins on {start}: this version of genie-lm has no features that begin later yet"
        );
        findings.lost(&license.at, message, format!("import again on {start}"));
        return false;
    }
    true
}

/// What the lines that count give; `information` is what is kept of each line besides.
pub(super) fn offers(
    licenses: &Licenses,
    information: impl Fn(&License) -> Vec<String>,
    findings: &mut Findings,
) -> Vec<Offer> {
    let mut offers = Offers::default();
    let mut packages: BTreeMap<Key, Vec<&Package>> = BTreeMap::new();
    for package in &licenses.packages {
        packages.entry(key(&package.vendor, &package.name)).or_default().push(package);
    }
    let mut enabled = BTreeSet::new();
    for license in &licenses.grants {
        let part = Part {
            at: license.at.clone(),
            version: license.version.clone(),
            count: license.count,
            ends: license.ends,
            information: information(license),
            in_suite: false,
        };
        let named = packages.get(&key(&license.vendor, &license.feature));
        match named.and_then(|named| enabled_by(license, named)) {
            None => offers.add(&license.vendor, &license.feature, part),
            Some(package) => {
                enabled.insert((&package.at.file, package.at.line));
                offers.package(license, package, &part, findings);
            }
        }
    }
    for package in &licenses.packages {
        if enabled.contains(&(&package.at.file, package.at.line)) {
            continue;
        }
        let name = shown(&package.name);
        findings.note(
            &package.at,
            format!("no line that counts enables the package {name}: by itself it gives nothing"),
        );
    }
    for upgrade in &licenses.upgrades {
        offers.upgrade(&upgrade.vendor, &upgrade.feature, &upgrade.to, upgrade.count);
    }
    offers.offers
}

/// The package that a line enables, of those of its name: the newest of its version.
fn enabled_by<'a>(license: &License, packages: &[&'a Package]) -> Option<&'a Package> {
    let version = |package: &&&Package| {
        package.version.as_ref().is_none_or(|version| Decimal::same(version, &license.version))
    };
    packages.iter().filter(version).min_by_key(|package| Reverse(issued(&package.terms))).copied()
}

#[derive(Default)]
struct Offers {
    offers: Vec<Offer>,
    /// Places in `offers`, and of features in their offer.
    vendors: BTreeMap<String, usize>,
    features: BTreeMap<Key, usize>,
    parts: usize,
}

impl Offers {
    fn of(&mut self, vendor: &str) -> &mut Offer {
        let at = *self.vendors.entry(vendor.to_lowercase()).or_insert_with(|| {
            self.offers.push(Offer { vendor: vendor.to_owned(), features: Vec::new(), suites: Vec::new() });
            self.offers.len() - 1
        });
        &mut self.offers[at]
    }

    fn add(&mut self, vendor: &str, name: &str, part: Part) {
        self.parts += 1;
        let at = self.features.get(&key(vendor, name)).copied();
        let offer = self.of(vendor);
        match at {
            Some(at) => offer.features[at].parts.push(part),
            None => {
                offer.features.push(Feature {
                    name: name.to_owned(),
                    parts: vec![part],
                    upgrades: Vec::new(),
                });
                let at = offer.features.len() - 1;
                self.features.insert(key(vendor, name), at);
            }
        }
    }

    fn upgrade(&mut self, vendor: &str, name: &str, to: &str, count: Count) {
        let (at, to) = (self.features.get(&key(vendor, name)).copied(), to.parse().ok());
        if let Some((at, to)) = at.zip(to) {
            self.of(vendor).features[at].upgrades.push((to, count));
        }
    }

    fn package(&mut self, license: &License, package: &Package, part: &Part, findings: &mut Findings) {
        if self.parts + package.components.len() > MAX_PARTS {
            let name = shown(&package.name);
            let message = format!("the package {name}: there are more than {MAX_PARTS} parts of packages");
            return findings.lost(&license.at, message, "import fewer files at a time");
        }
        let component = |component: &Component| Part {
            version: component.version.clone().unwrap_or_else(|| part.version.clone()),
            count: match component.count {
                Some(factor) if !package.suite => part.count.times(factor),
                _ => part.count,
            },
            in_suite: package.suite,
            ..part.clone()
        };
        for each in &package.components {
            self.add(&license.vendor, &each.feature, component(each));
        }
        if package.suite {
            self.suite(license, package, part.clone());
        }
    }

    fn suite(&mut self, license: &License, package: &Package, part: Part) {
        let components = package.components.iter().map(|component| component.feature.to_lowercase());
        let offer = self.of(&license.vendor);
        match offer.suites.iter_mut().find(|suite| suite.name.eq_ignore_ascii_case(&package.name)) {
            Some(suite) => {
                suite.features.extend(components);
                suite.parts.push(part);
            }
            None => offer.suites.push(Suite {
                name: package.name.clone(),
                features: components.collect(),
                parts: vec![part],
            }),
        }
    }
}
