//! How each of several licenses stands at one moment: whether it counts, and why not.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{Binding, License, Verified};

/// Where licenses are to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// Wherever they are bound to: for those who only look.
    Anywhere,
    /// Here. A license that is bound to what is not known does not count.
    Here {
        /// UID of the cluster's namespace kube-system.
        cluster: Option<&'a str>,
        /// The machine's fingerprint.
        host: Option<&'a str>,
    },
}

/// How a license stands at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It counts.
    Valid,
    /// It has ended, and still counts.
    Grace,
    /// It begins later.
    NotYetValid,
    /// It has ended.
    Expired,
    /// It is bound to another place.
    Elsewhere,
    /// The vendor issued another one of its id later.
    Replaced,
}

impl State {
    /// Whether it adds to the terms.
    pub fn counts(self) -> bool {
        matches!(self, State::Valid | State::Grace)
    }

    /// The word for it in answers.
    pub fn word(self) -> &'static str {
        match self {
            State::Valid => "VALID",
            State::Grace => "GRACE",
            State::NotYetValid => "NOT_YET_VALID",
            State::Expired => "EXPIRED",
            State::Elsewhere => "ELSEWHERE",
            State::Replaced => "REPLACED",
        }
    }
}

impl Serialize for State {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// How each of `licenses` stands, in their order.
pub fn states(licenses: &[Verified], now: Timestamp, place: Place<'_>) -> Vec<State> {
    let newest = newest(licenses, now);
    let state = |(i, Verified(license)): (usize, &Verified)| {
        if !place.fits(license.binding.as_ref()) {
            State::Elsewhere
        } else if now < license.not_before {
            State::NotYetValid
        } else if !newest.contains(&i) {
            State::Replaced
        } else if license.over_at().is_some_and(|end| now >= end) {
            State::Expired
        } else if license.not_after.is_some_and(|end| now >= end) {
            State::Grace
        } else {
            State::Valid
        }
    };
    licenses.iter().enumerate().map(state).collect()
}

/// Of all that have begun, the one of each id that its vendor issued last, even where it is over or counts elsewhere:
/// a license that was moved or shortened does not come back. So a copy counts once, too.
fn newest(licenses: &[Verified], now: Timestamp) -> BTreeSet<usize> {
    let mut newest: BTreeMap<_, usize> = BTreeMap::new();
    for (i, Verified(license)) in licenses.iter().enumerate().filter(|(_, l)| l.0.not_before <= now) {
        let kept = newest.entry((&license.vendor, &license.id)).or_insert(i);
        if age(license) > age(&licenses[*kept].0) {
            *kept = i;
        }
    }
    newest.into_values().collect()
}

/// Of two with one id the greater is the newer.
fn age(license: &License) -> (Timestamp, Timestamp, Reverse<u32>) {
    (license.issued_at, license.not_before, Reverse(license.seats))
}

/// When a newer one of its id begins.
pub(super) fn replaced_at(license: &License, licenses: &[Verified], now: Timestamp) -> Option<Timestamp> {
    let of_its_id = |other: &&License| other.vendor == license.vendor && other.id == license.id;
    let coming = licenses.iter().map(Verified::license).filter(of_its_id);
    coming.filter(|other| other.not_before > now && age(other) > age(license)).map(|l| l.not_before).min()
}

impl Place<'_> {
    fn fits(self, binding: Option<&Binding>) -> bool {
        match (self, binding) {
            (Place::Anywhere, _) | (_, None) => true,
            (Place::Here { cluster, .. }, Some(Binding::Cluster(uid))) => cluster == Some(uid),
            (Place::Here { host, .. }, Some(Binding::Hosts(hosts))) => {
                host.is_some_and(|host| hosts.iter().any(|known| known == host))
            }
        }
    }
}
