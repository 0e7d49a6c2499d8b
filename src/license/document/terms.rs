//! What several licenses of a product allow in sum at one moment. They add up, and end one by one.
//!
//! A seat is good for what its own license says: what has limits of its own (a feature up to a version, a borrow up to
//! a time) is listed by those limits, never added up across them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    License, Place, State, Verified, Version,
    standing::{replaced_at, states},
};
use crate::api::ApiDuration;

/// Most licenses that are added up.
pub const MAX_LICENSES: usize = 64;

/// What may be given at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// Sessions at one time.
    pub seats: u32,
    /// Seats over the limit.
    pub overdraft: u32,
    /// By name; of each the widest first.
    pub features: Vec<FeatureTerms>,
    /// By name.
    pub tiers: Vec<TierTerms>,
    /// The longest first.
    pub borrow: Vec<BorrowTerms>,
    /// When they will be others, soonest first.
    pub changes: Vec<Change>,
}

/// Seats of a feature up to a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FeatureTerms {
    /// What clients ask for.
    pub name: String,
    /// The highest version; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Sessions that may have it by this entry. A session with a lower version may use any.
    pub seats: u32,
}

/// Seats of a tier.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TierTerms {
    /// What grants refer to.
    pub name: String,
    /// What it has; of each no more than the feature's seats.
    pub features: BTreeSet<String>,
    /// Sessions of it at one time.
    pub seats: u32,
}

/// Seats that may be away for a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BorrowTerms {
    /// The longest time.
    pub max_duration: ApiDuration,
    /// Seats by this entry. A shorter borrow may use any.
    pub max_seats: u32,
}

/// What will change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Change {
    /// When.
    pub at: Timestamp,
    /// Id of the license.
    pub license: String,
    /// What.
    pub event: Event,
}

/// What happens to a license.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Event {
    /// It begins to count.
    Begins,
    /// It ends, and still counts in its grace period.
    GraceBegins,
    /// It counts no more.
    Ends,
    /// A newer one of its id begins.
    Replaced,
    /// A feature of it ends.
    FeatureEnds(String),
}

/// What the licenses of `product` among `licenses` allow in sum.
pub fn terms(product: &str, licenses: &[Verified], now: Timestamp, place: Place<'_>) -> Terms {
    let states = states(licenses, now, place);
    let of_product: Vec<(&License, State)> = licenses
        .iter()
        .map(Verified::license)
        .zip(states)
        .filter(|(license, _)| license.product == product)
        .collect();
    let in_force: Vec<&License> =
        of_product.iter().filter(|(_, state)| state.counts()).map(|(license, _)| *license).collect();
    let change = |(license, state): &(&License, State)| {
        changes(license, *state, now, replaced_at(license, licenses, now))
    };
    let mut changes: Vec<Change> = of_product.iter().flat_map(change).collect();
    changes.sort_unstable();
    Terms {
        seats: sum(in_force.iter().map(|license| license.seats)),
        overdraft: sum(in_force.iter().filter_map(|l| l.overdraft.map(|overdraft| overdraft.of(l.seats)))),
        features: features(&in_force, now),
        tiers: tiers(&in_force, now),
        borrow: borrow(&in_force),
        changes,
    }
}

impl Terms {
    /// Sessions that may have `feature` in `version` at one time; without a version: in any.
    pub fn feature_seats(&self, feature: &str, version: Option<&Version>) -> u32 {
        let covers = |terms: &&FeatureTerms| {
            terms.name == feature
                && terms.version.as_ref().is_none_or(|highest| version.is_none_or(|v| v <= highest))
        };
        sum(self.features.iter().filter(covers).map(|terms| terms.seats))
    }
}

fn features(in_force: &[&License], now: Timestamp) -> Vec<FeatureTerms> {
    let mut seats: BTreeMap<_, u32> = BTreeMap::new();
    for license in in_force {
        for feature in license.features.iter().filter(|feature| lasts(feature.not_after, now)) {
            let own = feature.seats.unwrap_or(license.seats).min(license.seats);
            let entry = seats.entry((&feature.name, feature.version.as_ref().map(Reverse))).or_default();
            *entry = entry.saturating_add(own);
        }
    }
    let terms = |((name, version), seats): ((&String, Option<Reverse<&Version>>), u32)| FeatureTerms {
        name: name.clone(),
        version: version.map(|Reverse(version)| version.clone()),
        seats,
    };
    seats.into_iter().map(terms).collect()
}

fn tiers(in_force: &[&License], now: Timestamp) -> Vec<TierTerms> {
    let mut found: BTreeMap<&String, TierTerms> = BTreeMap::new();
    for license in in_force {
        let ended: BTreeSet<&String> =
            license.features.iter().filter(|f| !lasts(f.not_after, now)).map(|f| &f.name).collect();
        for tier in &license.tiers {
            let none = || TierTerms { name: tier.name.clone(), features: BTreeSet::new(), seats: 0 };
            let terms = found.entry(&tier.name).or_insert_with(none);
            terms.features.extend(tier.features.iter().filter(|name| !ended.contains(name)).cloned());
            let own = tier.seats.unwrap_or(license.seats).min(license.seats);
            terms.seats = terms.seats.saturating_add(own);
        }
    }
    found.into_values().collect()
}

fn borrow(in_force: &[&License]) -> Vec<BorrowTerms> {
    let mut seats: BTreeMap<Reverse<ApiDuration>, u32> = BTreeMap::new();
    for borrow in in_force.iter().filter_map(|license| license.borrow.as_ref()) {
        let entry = seats.entry(Reverse(borrow.max_duration)).or_default();
        *entry = entry.saturating_add(borrow.max_seats);
    }
    let terms = |(Reverse(max_duration), max_seats): (Reverse<ApiDuration>, u32)| BorrowTerms {
        max_duration,
        max_seats,
    };
    seats.into_iter().map(terms).collect()
}

fn changes(license: &License, state: State, now: Timestamp, replaced: Option<Timestamp>) -> Vec<Change> {
    let mut events = Vec::new();
    if state == State::NotYetValid {
        events.push((Some(license.not_before), Event::Begins));
    }
    if state.counts() {
        let over = license.over_at();
        events.push((replaced, Event::Replaced));
        events.push((over, Event::Ends));
        events.push((license.not_after.filter(|_| license.not_after != over), Event::GraceBegins));
        for feature in &license.features {
            let sooner = |end: &Timestamp| over.is_none_or(|over| *end < over);
            let end = feature.not_after.filter(sooner);
            events.push((end, Event::FeatureEnds(feature.name.clone())));
        }
    }
    let coming = |at: &Timestamp| *at > now && replaced.is_none_or(|replaced| *at <= replaced);
    let coming = events.into_iter().filter_map(|(at, event)| Some((at.filter(coming)?, event)));
    coming.map(|(at, event)| Change { at, license: license.id.clone(), event }).collect()
}

fn lasts(end: Option<Timestamp>, now: Timestamp) -> bool {
    end.is_none_or(|end| now < end)
}

fn sum(seats: impl Iterator<Item = u32>) -> u32 {
    seats.fold(0, u32::saturating_add)
}
