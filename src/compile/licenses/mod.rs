//! A pool's license documents → what they allow in sum, and what is to be told of each. Pure.
//!
//! Which vendors' keys count is not the pool's to say ([`TrustedKeys`]). A license counts in one pool only, the oldest
//! that lists it, so a copy in another namespace adds no seat.

mod cap;
mod reason;
#[cfg(test)]
mod tests;
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
        Document, DocumentError, Event, JwsError, License, Place, State, Terms, TrustedKeys, Verified,
        states, terms,
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
}

/// The pool in which each license counts, by vendor and id; see [`holders`].
pub type Holders = BTreeMap<(String, String), ObjectName>;

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
        self.terms.changes.first().map(|change| change.at)
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

/// Of all pools with what their Secrets hold: in which of them each license counts. The oldest has it.
pub fn holders<'a>(pools: impl IntoIterator<Item = (&'a LicensePool, &'a [ReadLicense])>) -> Holders {
    let mut pools: Vec<_> = pools.into_iter().collect();
    pools.sort_by_cached_key(|(pool, _)| age(*pool));
    let mut holders = Holders::new();
    for (pool, documents) in pools {
        let licenses = documents.iter().flatten().map(Verified::license);
        for license in licenses.filter(|license| license.product == pool.spec.product) {
            holders.entry(identity(license)).or_insert_with(|| ObjectName::of(pool));
        }
    }
    holders
}

fn identity(license: &License) -> (String, String) {
    (license.vendor.clone(), license.id.clone())
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
        match document.clone().and_then(|license| usable(pool, license, holders)) {
            Ok(license) => {
                verified.push(license);
                places.push(index);
            }
            Err(reason) => findings.push(LicenseFinding { secret: secret(index), reason }),
        }
    }
    for ((index, license), state) in places.iter().zip(&verified).zip(states(&verified, now, licensing.place))
    {
        let reason = standing(license.license(), state);
        findings.extend(reason.map(|reason| LicenseFinding { secret: secret(*index), reason }));
    }
    findings.sort_by_key(|finding| finding.secret.as_ref().map(|(index, _)| *index));
    Some(Licensed {
        findings,
        terms: terms(&spec.product, &verified, now, licensing.place),
        window: window::window(&verified, licensing.place, now)
            .or_else(|| window::past(&verified, licensing.place, now)),
        feature_ends: feature_ends(&verified, licensing),
        now,
    })
}

fn usable(pool: &LicensePool, license: Verified, holders: &Holders) -> ReadLicense {
    let product = &license.license().product;
    if *product != pool.spec.product {
        return Err(LicenseReason::OtherProduct(product.clone()));
    }
    match holders.get(&identity(license.license())) {
        Some(holder) if *holder != ObjectName::of(pool) => Err(LicenseReason::InUse(holder.clone())),
        _ => Ok(license),
    }
}

/// What is to be told of a license that is good in itself.
fn standing(license: &License, state: State) -> Option<LicenseReason> {
    match (state, license.not_after, &license.binding) {
        (State::NotYetValid, ..) => Some(LicenseReason::NotYetValid(license.not_before)),
        (State::Replaced, ..) => Some(LicenseReason::Replaced),
        (State::Expired, Some(end), _) => Some(LicenseReason::Expired(end)),
        (State::Grace, Some(ended), _) => {
            let until = license.over_at().unwrap_or(ended);
            Some(LicenseReason::Grace { ended, until })
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
        for feature in license.features.iter().filter(|feature| feature.version.is_none()) {
            let end = feature.not_after.into_iter().chain(license.over_at()).min();
            let latest = ends.entry(feature.name.clone()).or_insert(end);
            *latest = latest.zip(end).map(|(a, b)| a.max(b));
        }
    }
    ends
}
