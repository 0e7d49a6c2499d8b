//! What a license may say: the bounds of LicensePool, and that its parts agree. The same for the vendor who signs
//! one and for the reader who has one.

use std::{collections::BTreeSet, fmt, time::Duration};

use jiff::Timestamp;

use super::{Binding, Borrow, Feature, License, Overdraft, Tier};

/// Most seats of anything.
pub const MAX_SEATS: u32 = 1_000_000;
/// Most features.
pub const MAX_FEATURES: usize = 128;
/// Most tiers.
pub const MAX_TIERS: usize = 32;
/// Most fingerprints.
pub const MAX_HOSTS: usize = 64;
/// Longest grace period, and longest borrow.
pub const MAX_PERIOD: Duration = Duration::from_secs(8760 * 3600);

const MAX_NAME: usize = 63;
const MAX_PARTY: usize = 200;
const MAX_ID: usize = 128;
/// Between the years 1 and 9999, as everywhere.
const TIMES: std::ops::Range<i64> = -62_135_596_800..253_370_764_800;

pub(super) const NAME: &str =
    "must be 1 to 63 of a-z, 0-9 and -, with a letter or digit at both ends, such as acme-cad";
pub(super) const PARTY: &str = "must be a name of 1 to 200 characters on one line, such as \"Acme Software\"";
const ID: &str = "must be 1 to 128 of A-Z, a-z, 0-9, - . _ and :, such as 2026-0042";
const SEATS: &str = "must be between 1 and 1000000";
const TIME: &str = "must lie between the years 1 and 9999: leave it out for no end";

/// Something that is wrong with a license: the field as a spec has it, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub field: String,
    /// What to write.
    pub sentence: String,
}

impl Problem {
    pub(super) fn new(field: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { field: field.into(), sentence: sentence.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field, self.sentence)
    }
}

/// All that is wrong with `license`.
pub(super) fn check(license: &License) -> Vec<Problem> {
    let mut found = Found(Vec::new());
    found.unless(is_party(&license.vendor), "vendor", PARTY);
    found.unless(is_party(&license.customer), "customer", PARTY);
    found.unless(is_id(&license.id), "id", ID);
    found.unless(is_name(&license.product), "product", NAME);
    found.unless(seats(license.seats), "seats", SEATS);
    validity(license, &mut found);
    features(&license.features, &mut found);
    tiers(license, &mut found);
    if let Some(overdraft) = license.overdraft {
        let fits = !matches!(overdraft, Overdraft::Seats(number) if number > MAX_SEATS);
        found.unless(fits, "overdraft", "must be at most 1000000, or a share of the seats, such as \"10%\"");
    }
    if let Some(borrow) = &license.borrow {
        borrowing(borrow, license.seats, &mut found);
    }
    if let Some(binding) = &license.binding {
        found.extend(binding_problem(binding));
    }
    found.0
}

struct Found(Vec<Problem>);

impl Found {
    fn unless(&mut self, good: bool, field: impl Into<String>, sentence: impl Into<String>) {
        if !good {
            self.0.push(Problem::new(field, sentence));
        }
    }

    fn extend(&mut self, problem: Option<Problem>) {
        self.0.extend(problem);
    }
}

fn validity(license: &License, found: &mut Found) {
    found.unless(is_time(license.not_before), "validity.notBefore", TIME);
    if let Some(end) = license.not_after {
        found.unless(is_time(end), "validity.notAfter", TIME);
        found.unless(license.not_before < end, "validity.notAfter", "must be later than validity.notBefore");
    }
    if let Some(grace) = license.grace_period {
        found.unless(grace.get() <= MAX_PERIOD, "validity.gracePeriod", "must be at most 8760h");
        let ends = license.not_after.is_some();
        found.unless(ends, "validity.gracePeriod", "goes with validity.notAfter: give an end, or no grace");
    }
}

fn features(features: &[Feature], found: &mut Found) {
    found.unless(features.len() <= MAX_FEATURES, "features", "must be at most 128");
    let mut names = BTreeSet::new();
    for (i, feature) in features.iter().enumerate() {
        let field = |name: &str| format!("features[{i}].{name}");
        found.unless(is_name(&feature.name), field("name"), NAME);
        let twice = "is there twice: write a feature once, or give the other one in a license of its own";
        found.unless(names.insert(&feature.name), field("name"), twice);
        found.unless(feature.seats.is_none_or(seats), field("seats"), SEATS);
        found.unless(feature.not_after.is_none_or(is_time), field("notAfter"), TIME);
    }
}

fn tiers(license: &License, found: &mut Found) {
    found.unless(license.tiers.len() <= MAX_TIERS, "tiers", "must be at most 32");
    let known: BTreeSet<&String> = license.features.iter().map(|feature| &feature.name).collect();
    let mut names = BTreeSet::new();
    for (i, Tier { name, features, seats: own }) in license.tiers.iter().enumerate() {
        let field = |name: &str| format!("tiers[{i}].{name}");
        found.unless(is_name(name), field("name"), NAME);
        found.unless(names.insert(name), field("name"), "is there twice: write a tier once");
        found.unless(features.len() <= MAX_FEATURES, field("features"), "must be at most 128");
        let listed = features.iter().all(|name| known.contains(name));
        found.unless(listed, field("features"), "must all be listed in features");
        found.unless(own.is_none_or(seats), field("seats"), SEATS);
    }
}

fn borrowing(borrow: &Borrow, all: u32, found: &mut Found) {
    let duration = borrow.max_duration.get();
    let fits = !duration.is_zero() && duration <= MAX_PERIOD;
    found.unless(fits, "borrow.maxDuration", "must be more than 0s and at most 8760h, such as 72h");
    let fits = (1..=all).contains(&borrow.max_seats);
    found.unless(fits, "borrow.maxSeats", "must be between 1 and seats: leave borrow out for none");
}

/// What is wrong with a binding.
pub(super) fn binding_problem(binding: &Binding) -> Option<Problem> {
    match binding {
        Binding::Cluster(uid) => (!is_uid(uid)).then(|| {
            Problem::new(
                "binding.cluster",
                "must be the UID of the namespace kube-system: kubectl get namespace kube-system -o \
                 jsonpath={.metadata.uid}",
            )
        }),
        Binding::Hosts(hosts) => {
            let fits =
                (1..=MAX_HOSTS).contains(&hosts.len()) && hosts.iter().all(|host| is_fingerprint(host));
            (!fits).then(|| {
                Problem::new(
                    "binding.hosts",
                    "must be 1 to 64 fingerprints, as `genie-lm license request --host` gives them",
                )
            })
        }
    }
}

/// A name as the custom resources have them.
pub(super) fn is_name(name: &str) -> bool {
    let ends = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = name.as_bytes();
    (1..=MAX_NAME).contains(&name.len())
        && bytes.iter().all(|&c| ends(c) || c == b'-')
        && bytes.first().is_some_and(|&c| ends(c))
        && bytes.last().is_some_and(|&c| ends(c))
}

/// A vendor or a customer. Shown on terminals, so it has no control characters.
pub(super) fn is_party(name: &str) -> bool {
    let length = name.chars().take(MAX_PARTY + 1).count();
    (1..=MAX_PARTY).contains(&length) && name.trim() == name && !name.chars().any(is_hidden)
}

/// What would let a name look like another one on a terminal: controls, and marks that turn the direction of text.
fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len()) && id.bytes().all(is_token)
}

fn is_fingerprint(fingerprint: &str) -> bool {
    (8..=MAX_ID).contains(&fingerprint.len()) && fingerprint.bytes().all(is_token)
}

fn is_token(c: u8) -> bool {
    c.is_ascii_alphanumeric() || b"-._:".contains(&c)
}

fn is_uid(uid: &str) -> bool {
    uuid::Uuid::try_parse(uid).is_ok_and(|parsed| parsed.hyphenated().to_string() == uid)
}

fn is_time(time: Timestamp) -> bool {
    TIMES.contains(&time.as_second())
}

fn seats(number: u32) -> bool {
    (1..=MAX_SEATS).contains(&number)
}
