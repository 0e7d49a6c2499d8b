//! What is to be told of a pool's licenses: a CamelCase reason for the condition `LicenseValid`, and a sentence that says
//! what to do. None of it repeats what is in a Secret, but for claims that a trusted key has signed.

use std::fmt;

use jiff::Timestamp;

use crate::{
    api::{MAX_STEPS, Version},
    compile::ObjectName,
};

/// Something to be told, and of which Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LicenseFinding {
    /// Index in `spec.licenses`, and name of the Secret; None: it is about all of them.
    pub secret: Option<(usize, String)>,
    /// What.
    pub reason: LicenseReason,
}

/// Why a license does not count, or not as it is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LicenseReason {
    /// There is none, and vendors license the product.
    #[error("{0} is licensed by its vendor here: list the Secrets with its licenses in spec.licenses")]
    Required(String),
    /// No Secret, or nothing under that key.
    #[error(
        "it is not there, or has no key \"{0}\": create it with that key from the file that the vendor sent"
    )]
    Missing(String),
    /// More than a document has.
    #[error("what it holds is too large for a license: put the vendor's file into it as it is")]
    TooLarge,
    /// Not such a document.
    #[error("what it holds is no license, or was cut off: put the vendor's file into it as it is")]
    Malformed,
    /// A document of a later version.
    #[error("its license says what this version does not understand: get a version that does")]
    NotUnderstood,
    /// Nobody said that this key counts.
    #[error(
        "its license is signed with a key that is not trusted here: if it is the vendor's, whoever runs genie-lm adds that key to vendorKeys"
    )]
    UntrustedKey,
    /// The key counts for other products.
    #[error(
        "the key that signed its license may not license {0} here: if it should, whoever runs genie-lm adds the product to that key in vendorKeys"
    )]
    KeyOfOtherProduct(String),
    /// It was changed, or never signed by that key.
    #[error("the signature is wrong: the license was changed after it was signed; ask for it again")]
    WrongSignature,
    /// For another pool.
    #[error("its license is for {0}: list it in the pool of that product")]
    OtherProduct(String),
    /// For another cluster or machine.
    #[error(
        "its license is bound to {0}, which is not here: ask the vendor for one that is bound to this place"
    )]
    Elsewhere(String),
    /// For a cluster, and this one may be it.
    #[error(
        "its license is bound to cluster {0}, and the UID of this cluster cannot be read: let the operator get the namespace kube-system"
    )]
    ClusterUnknown(String),
    /// Another pool has it.
    #[error("its license counts in LicensePool {0}: give this pool a license of its own")]
    InUse(ObjectName),
    /// It begins later.
    #[error(
        "its license begins on {0}: keep the one that counts until then in another Secret, and list both"
    )]
    NotYetValid(Timestamp),
    /// It has ended.
    #[error("its license ended on {0}: ask for a renewal, and put it into this Secret")]
    Expired(Timestamp),
    /// There is a newer one.
    #[error("its license is a copy, or was replaced by a newer one of its id, which is here too: remove it")]
    Replaced,
    /// It has ended and still counts.
    #[error(
        "its license ended on {ended}, and counts until {until}: ask for a renewal, and put it into this Secret"
    )]
    Grace {
        /// When.
        ended: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// The pool says more than they allow.
    #[error("no license covers {0}: cut off until one does")]
    NotCovered(String),
    /// They have seats of a feature up to more versions than a plan counts.
    #[error(
        "the licenses of feature {feature} have seats up to more than {} versions: those for versions above {least} and up to {most} are good up to {least} only; ask the vendor for fewer licenses of it",
        MAX_STEPS + 1
    )]
    TooManyVersions {
        /// Which.
        feature: String,
        /// The version up to which seats are good.
        least: Version,
        /// Up to which they would have been, at the most.
        most: Version,
    },
}

impl LicenseReason {
    /// Whether it says that a license may be good still, but cannot be read or judged.
    pub(super) fn is_loss(&self) -> bool {
        matches!(
            self,
            Self::Missing(_)
                | Self::TooLarge
                | Self::Malformed
                | Self::NotUnderstood
                | Self::UntrustedKey
                | Self::KeyOfOtherProduct(_)
                | Self::WrongSignature
                | Self::ClusterUnknown(_)
        )
    }

    /// In CamelCase, for the condition and its event.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Required(_) => "LicenseRequired",
            Self::Missing(_) => "LicenseMissing",
            Self::TooLarge => "TooLarge",
            Self::Malformed => "Malformed",
            Self::NotUnderstood => "NotUnderstood",
            Self::UntrustedKey => "UntrustedKey",
            Self::KeyOfOtherProduct(_) => "KeyOfOtherProduct",
            Self::WrongSignature => "WrongSignature",
            Self::OtherProduct(_) => "OtherProduct",
            Self::Elsewhere(_) => "Elsewhere",
            Self::ClusterUnknown(_) => "ClusterUnknown",
            Self::InUse(_) => "InUse",
            Self::NotYetValid(_) => "NotYetValid",
            Self::Expired(_) => "Expired",
            Self::Replaced => "Replaced",
            Self::Grace { .. } => "Grace",
            Self::NotCovered(_) => "NotCovered",
            Self::TooManyVersions { .. } => "TooManyVersions",
        }
    }
}

impl LicenseFinding {
    /// The field that it speaks of.
    pub fn path(&self) -> String {
        match &self.secret {
            Some((index, _)) => format!("spec.licenses[{index}].secretRef"),
            None if matches!(self.reason, LicenseReason::Required(_)) => "spec.product".to_owned(),
            None => "spec.licenses".to_owned(),
        }
    }
}

impl fmt::Display for LicenseFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.secret {
            Some((_, name)) => write!(f, "Secret {name}: {}", self.reason),
            None => write!(f, "{}", self.reason),
        }
    }
}
