//! A pool's license documents → what they allow in sum, and what is to be told of each. Pure.
//!
//! Which vendors' keys count is not the pool's to say ([`TrustedKeys`]). A license counts in one pool only, that of its
//! newest document, so a copy in another namespace adds no seat.

mod cap;
#[cfg(test)]
mod holder_tests;
mod reason;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod version_tests;
mod window;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

pub(super) use cap::{Capped, cap};
pub use reason::{LicenseFinding, LicenseReason};

use super::{ObjectName, conflicts::age, keys::value};
use crate::{
    api::{LicensePool, LicenseSecretRef, Validity},
    license::document::{
        Binding, Document, DocumentError, Event, JwsError, License, Place, State, Terms, TrustedKeys,
        Verified, states, terms,
    },
};

/// Where a document is inside of a Secret when the pool does not say it.
const DEFAULT_KEY: &str = "license";

/// What a Secret of a pool holds.
pub type ReadLicense = Result<Verified, LicenseReason>;

/// What decides which licenses count, besides the documents.
#[derive(Clone, Copy, Debug)]
pub struct Licensing<'a> {
    /// Whose.
    pub trust: &'a TrustedKeys,
    /// Where.
    pub place: Place<'a>,
    /// When.
    pub now: Timestamp,
    /// The place is a cluster whose UID cannot be read.
    pub cluster_unknown: bool,
}

/// The pool in which each license counts now; see [`holders`].
#[derive(Clone, Debug, Default)]
pub struct Holders {
    pools: BTreeMap<Identity, ObjectName>,
    /// When that may be another one, by time alone.
    changes: BTreeMap<Identity, Timestamp>,
}

/// Product, vendor and id of a license. Its renewals have the same.
type Identity = (String, String, String);

/// What the licenses of a pool say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Licensed {
    /// What is to be told, the most telling first.
    pub findings: Vec<LicenseFinding>,
    /// What they allow in sum now.
    pub terms: Terms,
    /// When any of them counts, around now; else the next such time, or the last.
    pub(super) window: Option<Validity>,
    /// When the last license of a feature ends; None: never.
    pub(super) feature_ends: BTreeMap<String, Option<Timestamp>>,
    /// When one of them may count in another pool than now.
    pub(super) moves: Option<Timestamp>,
    /// When this was judged.
    pub(super) now: Timestamp,
}

impl Licensed {
    /// Whether any license counts now.
    pub fn counts(&self) -> bool {
        self.terms.seats > 0
    }

    /// The next moment at which they allow something else.
    pub fn next_change(&self) -> Option<Timestamp> {
        self.terms.changes.first().map(|change| change.at).into_iter().chain(self.moves).min()
    }

    /// What other pools list may be another then.
    pub fn look_again(&mut self, at: Timestamp) {
        self.moves = self.moves.into_iter().chain([at]).min();
    }

    /// The next moment at which one of them, or a feature of one, ends.
    pub fn next_end(&self) -> Option<Timestamp> {
        let is_end =
            |event: &Event| matches!(event, Event::GraceBegins | Event::Ends | Event::FeatureEnds(_));
        self.terms.changes.iter().find(|change| is_end(&change.event)).map(|change| change.at)
    }
}

/// The Secret that holds a license of `pool`.
pub fn license_secret(pool: &LicensePool, reference: &LicenseSecretRef) -> ObjectName {
    ObjectName { namespace: ObjectName::of(pool).namespace, name: reference.name.clone() }
}

/// The license in a Secret, if a trusted key has signed it.
///
/// # Errors
/// What is wrong with it, without its text.
pub fn read_license(
    reference: &LicenseSecretRef,
    secret: Option<&Secret>,
    trust: &TrustedKeys,
) -> ReadLicense {
    let key = reference.key.as_deref().unwrap_or(DEFAULT_KEY);
    let bytes = secret.and_then(|secret| value(secret, key));
    let bytes = bytes.ok_or_else(|| LicenseReason::Missing(key.to_owned()))?;
    let text = std::str::from_utf8(bytes).map_err(|_| LicenseReason::Malformed)?.trim();
    let document = Document::parse(text).map_err(why)?;
    let verified = document.verify(&trust.keys()).map_err(why)?;
    let product = &verified.license().product;
    if trust.allows(document.kid(), product) {
        Ok(verified)
    } else {
        Err(LicenseReason::KeyOfOtherProduct(product.clone()))
    }
}

fn why(error: DocumentError) -> LicenseReason {
    match error {
        DocumentError::Jws(JwsError::TooLong) => LicenseReason::TooLarge,
        DocumentError::Jws(JwsError::UnknownKey(_)) => LicenseReason::UntrustedKey,
        DocumentError::Jws(JwsError::Signature) => LicenseReason::WrongSignature,
        DocumentError::Jws(JwsError::Payload(_)) | DocumentError::Invalid(_) => LicenseReason::NotUnderstood,
        DocumentError::Jws(_) => LicenseReason::Malformed,
    }
}

/// Of all pools with what their Secrets hold: in which of them each license counts. That is where its newest document
/// is that has begun, if it counts at all here and now; of several such pools the oldest.
pub fn holders<'a>(
    pools: impl IntoIterator<Item = (&'a LicensePool, &'a [ReadLicense])>,
    licensing: &Licensing<'_>,
) -> Holders {
    let mut pools: Vec<_> = pools.into_iter().collect();
    pools.sort_by_cached_key(|(pool, _)| age(*pool));
    let mut of_product: BTreeMap<&str, (Vec<Verified>, Vec<&LicensePool>)> = BTreeMap::new();
    for (pool, documents) in pools {
        let product = pool.spec.product.as_str();
        for document in documents.iter().flatten().filter(|one| one.license().product == product) {
            let (documents, listed_by) = of_product.entry(product).or_default();
            documents.push(document.clone());
            listed_by.push(pool);
        }
    }
    let (now, mut holders) = (licensing.now, Holders::default());
    for (documents, listed_by) in of_product.into_values() {
        let states = states(&documents, now, licensing.place);
        for ((document, pool), state) in documents.iter().zip(listed_by).zip(states) {
            let license = document.license();
            if state.counts() {
                holders.pools.insert(identity(license), ObjectName::of(pool));
            }
            for moment in window::moments(license).filter(|moment| *moment > now) {
                let next = holders.changes.entry(identity(license)).or_insert(moment);
                *next = moment.min(*next);
            }
        }
    }
    holders
}

fn identity(license: &License) -> Identity {
    (license.product.clone(), license.vendor.clone(), license.id.clone())
}

/// What the licenses of `pool` say, with `documents` in the order of its spec; None: it needs none, and has none.
pub fn licensed(
    pool: &LicensePool,
    documents: &[ReadLicense],
    holders: &Holders,
    licensing: &Licensing<'_>,
) -> Option<Licensed> {
    let (spec, now) = (&pool.spec, licensing.now);
    if spec.licenses.is_empty() {
        let required = LicenseReason::Required(spec.product.clone());
        let findings = vec![LicenseFinding { secret: None, reason: required }];
        return licensing.trust.governs(&spec.product).then(|| Licensed {
            findings,
            now,
            ..Licensed::default()
        });
    }
    let (mut verified, mut places, mut findings) = (Vec::new(), Vec::new(), Vec::new());
    let secret = |index: usize| spec.licenses.get(index).map(|one| (index, one.secret_ref.name.clone()));
    for (index, document) in documents.iter().enumerate() {
        match document.clone().and_then(|license| usable(pool, license, holders, licensing)) {
            Ok(license) => {
                verified.push(license);
                places.push(index);
            }
            Err(reason) => findings.push(LicenseFinding { secret: secret(index), reason }),
        }
    }
    for ((index, license), state) in places.iter().zip(&verified).zip(states(&verified, now, licensing.place))
    {
        let reason = standing(license.license(), state, licensing);
        findings.extend(reason.map(|reason| LicenseFinding { secret: secret(*index), reason }));
    }
    let listed = documents.iter().flatten().map(|document| identity(document.license()));
    let moves = listed.filter_map(|license| holders.changes.get(&license).copied()).min();
    findings.sort_by_key(|finding| finding.secret.as_ref().map(|(index, _)| *index));
    Some(Licensed {
        findings,
        terms: terms(&spec.product, &verified, now, licensing.place),
        window: window::window(&verified, licensing.place, now)
            .or_else(|| window::past(&verified, licensing.place, now)),
        feature_ends: feature_ends(&verified, licensing),
        moves,
        now,
    })
}

fn usable(
    pool: &LicensePool,
    document: Verified,
    holders: &Holders,
    licensing: &Licensing<'_>,
) -> ReadLicense {
    let license = document.license();
    if license.product != pool.spec.product {
        return Err(LicenseReason::OtherProduct(license.product.clone()));
    }
    let alone = states(std::slice::from_ref(&document), licensing.now, licensing.place);
    match holders.pools.get(&identity(license)) {
        // What would not count in any pool says why by itself.
        _ if !alone.into_iter().any(State::counts) => Ok(document),
        Some(holder) if *holder == ObjectName::of(pool) => Ok(document),
        Some(holder) => Err(LicenseReason::InUse(holder.clone())),
        None => Err(LicenseReason::Replaced),
    }
}

/// What is to be told of a license that is good in itself.
fn standing(license: &License, state: State, licensing: &Licensing<'_>) -> Option<LicenseReason> {
    match (state, license.not_after, &license.binding) {
        (State::NotYetValid, ..) => Some(LicenseReason::NotYetValid(license.not_before)),
        (State::Replaced, ..) => Some(LicenseReason::Replaced),
        (State::Expired, Some(end), _) => Some(LicenseReason::Expired(end)),
        (State::Grace, Some(ended), _) => {
            let until = license.over_at().unwrap_or(ended);
            Some(LicenseReason::Grace { ended, until })
        }
        (State::Elsewhere, _, Some(Binding::Cluster(uid))) if licensing.cluster_unknown => {
            Some(LicenseReason::ClusterUnknown(uid.clone()))
        }
        (State::Elsewhere, _, Some(binding)) => Some(LicenseReason::Elsewhere(binding.to_string())),
        _ => None,
    }
}

fn feature_ends(licenses: &[Verified], licensing: &Licensing<'_>) -> BTreeMap<String, Option<Timestamp>> {
    let mut ends: BTreeMap<String, Option<Timestamp>> = BTreeMap::new();
    let states = states(licenses, licensing.now, licensing.place);
    for (license, _) in licenses.iter().zip(states).filter(|(_, state)| state.counts()) {
        let license = license.license();
        for feature in &license.features {
            let end = feature.not_after.into_iter().chain(license.over_at()).min();
            let latest = ends.entry(feature.name.clone()).or_insert(end);
            *latest = latest.zip(end).map(|(a, b)| a.max(b));
        }
    }
    ends
}
