//! Why a pool or a grant cannot be served: a CamelCase reason for conditions, and a sentence that says what to write.

use std::fmt;

use super::{LicenseFinding, ObjectName};
use crate::api::MAX_GRANTS;

/// Longest message of a condition; Kubernetes takes 32,768 bytes, people read far less.
const MAX_MESSAGE: usize = 2_000;

/// Why a pool is not served, or what its user should know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolReason {
    /// The spec breaks a rule.
    #[error("{sentence}")]
    Invalid {
        /// Where, such as `spec.session.ttl`.
        path: String,
        /// The rule.
        sentence: String,
    },
    /// Another pool of the namespace has the same product.
    #[error("{}", product_conflict(product, other, *serves))]
    ProductConflict {
        /// The product of both.
        product: String,
        /// The other pool.
        other: String,
        /// Whether this one is the older, which goes on.
        serves: bool,
    },
    /// Another pool of the same server group asks for another server.
    #[error(
        "the servers of group {group} are shaped by its first LicensePool, {oldest}, and this one's {fields} differ: write the same, or leave the group"
    )]
    GroupConflict {
        /// The group.
        group: String,
        /// The pool that counts.
        oldest: String,
        /// Fields of spec.server that differ.
        fields: String,
    },
}

fn product_conflict(product: &str, other: &str, serves: bool) -> String {
    if serves {
        format!(
            "LicensePool {other} has the product {product} too; this one came first and goes on serving it: delete {other}, or give it another product"
        )
    } else {
        format!(
            "LicensePool {other} of this namespace has the product {product} already, and came first: delete one of the two, or create this one with another product"
        )
    }
}

impl PoolReason {
    /// In CamelCase, for conditions and events.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "Invalid",
            Self::ProductConflict { .. } => "ProductConflict",
            Self::GroupConflict { .. } => "GroupConflict",
        }
    }

    /// The field that it speaks of.
    pub fn path(&self) -> &str {
        match self {
            Self::Invalid { path, .. } => path,
            Self::ProductConflict { .. } => "spec.product",
            Self::GroupConflict { .. } => "spec.server.group",
        }
    }
}

/// Why a grant is not accepted, or what its user should know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantReason {
    /// The spec breaks a rule.
    #[error("{sentence}")]
    Invalid {
        /// Where, such as `spec.validity`.
        path: String,
        /// The rule.
        sentence: String,
    },
    /// The pool is not there.
    #[error("there is no LicensePool {0}: create it, or write another spec.poolRef")]
    PoolNotFound(ObjectName),
    /// The pool is there, and itself refused.
    #[error("LicensePool {0} is not accepted itself: repair it first")]
    PoolNotAccepted(ObjectName),
    /// The pool does not want grants of this namespace.
    #[error(
        "LicensePool {pool} takes no grants from namespace {namespace}: set its spec.allowedNamespaces, or move the grant"
    )]
    NotAllowedByPool {
        /// The pool.
        pool: ObjectName,
        /// The grant's namespace.
        namespace: String,
    },
    /// The pool has no such tier.
    #[error("the pool has no tier {tier}: {}", choose("spec.tier", known))]
    TierNotFound {
        /// As the grant writes it.
        tier: String,
        /// What the pool has.
        known: Vec<String>,
    },
    /// The pool has no such feature.
    #[error("the pool has no feature {feature}: {}", choose("spec.features", known))]
    FeatureNotInPool {
        /// As the grant writes it.
        feature: String,
        /// Its place in spec.features.
        index: usize,
        /// What the pool has.
        known: Vec<String>,
    },
    /// The pool's licenses have no such tier.
    #[error(
        "no license of the pool covers tier {0}: write another spec.tier, or ask for a license that has it"
    )]
    TierNotLicensed(String),
    /// The pool's licenses have no such feature.
    #[error("no license of the pool covers feature {feature}: it is cut off until one does")]
    FeatureNotLicensed {
        /// As the grant writes it.
        feature: String,
        /// Its place in spec.features.
        index: usize,
    },
    /// There is no key where the grant says it is.
    #[error(
        "there is no key \"{key}\" in a Secret {secret}: create it with `genie-lm keys new`, or leave keySecretRef out and get a key made"
    )]
    KeyMissing {
        /// Name of the Secret.
        secret: ObjectName,
        /// Key inside of it.
        key: String,
    },
    /// What is there is no activation key.
    #[error("the key \"{key}\" of Secret {secret} cannot be used: {why}")]
    KeyInvalid {
        /// Name of the Secret.
        secret: ObjectName,
        /// Key inside of it.
        key: String,
        /// What is wrong with it; never the text itself.
        why: String,
    },
    /// Another grant of the pool has the same key.
    #[error("{}", key_conflict(other, *serves))]
    KeyConflict {
        /// The other grant.
        other: ObjectName,
        /// Whether this one is the older, which goes on.
        serves: bool,
    },
    /// The pool has too many grants.
    #[error(
        "LicensePool {0} has more than {MAX_GRANTS} grants, and this is one of the newest: delete some, or make another pool"
    )]
    TooManyGrants(ObjectName),
    /// The grants of the pool are too large together.
    #[error(
        "the grants of LicensePool {0} are too large together for one SeatPlan, and this is one of the newest: have them enable fewer features, or make another pool"
    )]
    PlanTooLarge(ObjectName),
}

fn choose(field: &str, known: &[String]) -> String {
    /// More names than these are no help.
    const SHOWN: usize = 8;
    if known.is_empty() {
        return format!("it has none at all; remove {field}, or add it to the pool");
    }
    let more = if known.len() > SHOWN { ", …" } else { "" };
    let names = known.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    format!("write one of {names}{more} in {field}, or add it to the pool")
}

fn key_conflict(other: &ObjectName, serves: bool) -> String {
    if serves {
        format!(
            "LicenseGrant {other} has the same activation key; this one came first and keeps it: give {other} a key of its own (`genie-lm keys new`)"
        )
    } else {
        format!(
            "LicenseGrant {other} has the same activation key already, and came first: give this one a key of its own (`genie-lm keys new`)"
        )
    }
}

impl GrantReason {
    /// In CamelCase, for conditions and events.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Invalid { .. } => "Invalid",
            Self::PoolNotFound(_) => "PoolNotFound",
            Self::PoolNotAccepted(_) => "PoolNotAccepted",
            Self::NotAllowedByPool { .. } => "NotAllowedByPool",
            Self::TierNotFound { .. } => "TierNotFound",
            Self::FeatureNotInPool { .. } => "FeatureNotInPool",
            Self::TierNotLicensed(_) => "TierNotLicensed",
            Self::FeatureNotLicensed { .. } => "FeatureNotLicensed",
            Self::KeyMissing { .. } => "KeyMissing",
            Self::KeyInvalid { .. } => "KeyInvalid",
            Self::KeyConflict { .. } => "KeyConflict",
            Self::TooManyGrants(_) => "TooManyGrants",
            Self::PlanTooLarge(_) => "PlanTooLarge",
        }
    }

    /// Whether a slip may be behind it, that costs nobody a running session: the pool still wants the grant, and has
    /// room for it. A name that breaks a rule is none: no session can ever have begun under it.
    pub(super) fn is_for_now(&self) -> bool {
        match self {
            Self::Invalid { path, .. } => path.starts_with("spec."),
            Self::TierNotFound { .. }
            | Self::FeatureNotInPool { .. }
            | Self::TierNotLicensed(_)
            | Self::FeatureNotLicensed { .. }
            | Self::KeyMissing { .. }
            | Self::KeyInvalid { .. }
            | Self::KeyConflict { .. } => true,
            Self::PoolNotFound(_)
            | Self::PoolNotAccepted(_)
            | Self::NotAllowedByPool { .. }
            | Self::TooManyGrants(_)
            | Self::PlanTooLarge(_) => false,
        }
    }

    /// The field that it speaks of.
    pub fn path(&self) -> String {
        match self {
            Self::Invalid { path, .. } => path.clone(),
            Self::TierNotFound { .. } | Self::TierNotLicensed(_) => "spec.tier".to_owned(),
            Self::FeatureNotInPool { index, .. } | Self::FeatureNotLicensed { index, .. } => {
                format!("spec.features[{index}]")
            }
            Self::KeyMissing { .. } | Self::KeyInvalid { .. } => "spec.subjects[0].keySecretRef".to_owned(),
            Self::KeyConflict { .. } => "spec.subjects".to_owned(),
            _ => "spec.poolRef".to_owned(),
        }
    }
}

/// One reason or more, the most telling first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reasons<R>(Vec<R>);

impl<R> Reasons<R> {
    /// None where there is no reason.
    pub fn new(reasons: Vec<R>) -> Option<Self> {
        (!reasons.is_empty()).then_some(Self(reasons))
    }

    /// All of them.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &R> {
        self.0.iter()
    }

    /// The one that names the condition.
    pub fn first(&self) -> &R {
        &self.0[0]
    }
}

impl<R> From<R> for Reasons<R> {
    fn from(reason: R) -> Self {
        Self(vec![reason])
    }
}

impl Reasons<PoolReason> {
    /// In CamelCase, for a condition.
    pub fn reason(&self) -> &'static str {
        self.first().reason()
    }
}

impl Reasons<LicenseFinding> {
    /// In CamelCase, for a condition.
    pub fn reason(&self) -> &'static str {
        self.first().reason.reason()
    }
}

impl Reasons<GrantReason> {
    /// In CamelCase, for a condition.
    pub fn reason(&self) -> &'static str {
        self.first().reason()
    }
}

/// All sentences, cut off where a condition's message would get too long.
impl<R: fmt::Display> fmt::Display for Reasons<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut message = String::new();
        for (index, reason) in self.0.iter().enumerate() {
            let sentence = reason.to_string();
            if message.len() + sentence.len() > MAX_MESSAGE && index > 0 {
                message.push_str(&format!("; and {} more", self.0.len() - index));
                break;
            }
            if index > 0 {
                message.push_str("; ");
            }
            message.push_str(&sentence);
        }
        f.write_str(&message)
    }
}
