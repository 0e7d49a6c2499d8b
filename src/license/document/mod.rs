//! License documents: what a vendor signs, what a customer's cluster trusts, and what several of them allow in sum.
//!
//! Pure: takes texts, keys and a wall-clock time; gives licenses, terms, or the reason why not.

mod host;
mod jws;
mod key;
mod license;
mod moment;
mod request;
mod rules;
mod spec;
mod standing;
mod terms;
#[cfg(test)]
mod terms_tests;
#[cfg(test)]
mod tests;
mod trust;

use std::sync::Arc;

pub use host::fingerprint;
pub use jws::{JwsError, MAX_DOCUMENT};
pub use key::{KeyError, MAX_KEY, PublicKey, SigningKey};
pub use license::{Binding, Borrow, Confirmation, Feature, License, Overdraft, Tier};
pub use moment::{ParseMomentError, moment};
pub use request::{Request, RequestError};
pub use rules::{MAX_HOSTS, Problem};
pub use spec::{MAX_SPEC, Spec, SpecError, SpecValidity};
pub use standing::{Place, State, states};
pub use terms::{BorrowTerms, Change, Event, FeatureTerms, MAX_LICENSES, Terms, TierTerms, terms};
pub use trust::{MAX_VENDOR_KEYS, MAX_VENDOR_KEYS_FILE, TrustError, TrustedKeys};

pub use crate::api::Version;
use jws::Jws;

const TYPE: &str = "genie-lm-license+jwt";

/// A license document that nobody has checked.
pub struct Document<'a>(Jws<'a>);

/// A license that one of the trusted keys has signed. A clone shares it.
#[derive(Clone, Debug, PartialEq)]
pub struct Verified(Arc<License>);

/// Why a document is refused.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Not signed as it should be.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// It says what cannot be.
    #[error("it says what no license may say: {}", join(.0))]
    Invalid(Vec<Problem>),
}

impl<'a> Document<'a> {
    /// Takes a document apart.
    pub fn parse(text: &'a str) -> Result<Self, DocumentError> {
        Ok(Self(Jws::parse(text, TYPE)?))
    }

    /// The thumbprint of the key that should have signed it.
    pub fn kid(&self) -> &str {
        &self.0.kid
    }

    /// What it says, true or not.
    pub fn unverified(&self) -> Result<License, DocumentError> {
        let license: License = self.0.payload()?;
        let problems = rules::check(&license);
        if problems.is_empty() { Ok(license) } else { Err(DocumentError::Invalid(problems)) }
    }

    /// What it says, if one of `keys` has signed it.
    pub fn verify(&self, keys: &[PublicKey]) -> Result<Verified, DocumentError> {
        self.0.verify(keys)?;
        self.unverified().map(|license| Verified(Arc::new(license)))
    }
}

impl Verified {
    /// What it says.
    pub fn license(&self) -> &License {
        &self.0
    }
}

/// The document of `license`, signed with `key`.
pub fn sign(license: &License, key: &SigningKey) -> Result<String, DocumentError> {
    let problems = rules::check(license);
    if !problems.is_empty() {
        return Err(DocumentError::Invalid(problems));
    }
    Ok(jws::sign(key, TYPE, license)?)
}

fn join(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
