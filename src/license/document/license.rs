//! What a license document says: the claims of a JWT (RFC 7519), with its names where it has them.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{PublicKey, Version};
use crate::api::ApiDuration;

/// A license, true or not. An unknown claim is refused: it may be a limit that this version does not know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct License {
    /// Who sells.
    #[serde(rename = "iss")]
    pub vendor: String,
    /// Who bought.
    #[serde(rename = "sub")]
    pub customer: String,
    /// Names this license among those of its vendor. The one issued last replaces the others of its id.
    #[serde(rename = "jti")]
    pub id: String,
    /// When it was signed.
    #[serde(rename = "iat", with = "jiff::fmt::serde::timestamp::second::required")]
    pub issued_at: Timestamp,
    /// First moment at which it counts.
    #[serde(rename = "nbf", with = "jiff::fmt::serde::timestamp::second::required")]
    pub not_before: Timestamp,
    /// Moment at which it ends; absent: never.
    #[serde(
        rename = "exp",
        default,
        with = "jiff::fmt::serde::timestamp::second::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub not_after: Option<Timestamp>,
    /// How long it still works after its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_period: Option<ApiDuration>,
    /// What clients ask for.
    pub product: String,
    /// Sessions at one time.
    pub seats: u32,
    /// What sessions can ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<Feature>,
    /// Named sets of features.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tiers: Vec<Tier>,
    /// Seats over the limit that may be granted and are flagged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overdraft: Option<Overdraft>,
    /// The right to take seats offline; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub borrow: Option<Borrow>,
    /// Where it counts; absent: everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// The key of the customer's server, with which it may sign answers (RFC 7800).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
}

/// A feature of a license.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Feature {
    /// What clients ask for.
    pub name: String,
    /// The highest version that it covers; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Sessions that may have it at one time; absent: as many as the license's seats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seats: Option<u32>,
    /// Moment at which it ends, without grace; absent: with the license.
    #[serde(default, with = "super::moment", skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Timestamp>,
}

/// A named set of features.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tier {
    /// What grants refer to.
    pub name: String,
    /// Names of features of the same license.
    pub features: Vec<String>,
    /// Sessions of this tier at one time; absent: as many as the license's seats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seats: Option<u32>,
}

/// The right to take seats offline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Borrow {
    /// The longest time.
    pub max_duration: ApiDuration,
    /// Seats that may be away at one time.
    pub max_seats: u32,
}

/// Where a license counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Binding {
    /// In the cluster whose namespace kube-system has this UID.
    Cluster(String),
    /// On the machines with these fingerprints.
    Hosts(Vec<String>),
}

/// The claim `cnf`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// The public key.
    pub jwk: PublicKey,
}

/// Seats over the limit: a number, or a share of the license's seats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written", into = "Written")]
pub enum Overdraft {
    /// So many.
    Seats(u32),
    /// So many of a hundred, rounded down.
    Percent(u8),
}

/// Why a text is not an overdraft.
#[derive(Debug, thiserror::Error)]
#[error(
    "an overdraft must be a number of seats, such as 5, or a share of them from 0% to 100%, such as \"10%\""
)]
pub struct ParseOverdraftError;

#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "a number of seats, such as 5, or a share of them, such as \"10%\"")]
enum Written {
    Number(u32),
    Text(String),
}

impl Overdraft {
    /// In seats, for a license of `seats`.
    pub fn of(self, seats: u32) -> u32 {
        match self {
            Overdraft::Seats(number) => number,
            Overdraft::Percent(share) => {
                u32::try_from(u64::from(seats) * u64::from(share) / 100).unwrap_or(u32::MAX)
            }
        }
    }
}

impl FromStr for Overdraft {
    type Err = ParseOverdraftError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_suffix('%').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|c| c.is_ascii_digit()) {
            return Err(ParseOverdraftError);
        }
        let number: u32 = digits.parse().map_err(|_| ParseOverdraftError)?;
        if digits.len() == text.len() {
            return Ok(Overdraft::Seats(number));
        }
        let share = u8::try_from(number).ok().filter(|&share| share <= 100);
        share.map(Overdraft::Percent).ok_or(ParseOverdraftError)
    }
}

impl TryFrom<Written> for Overdraft {
    type Error = ParseOverdraftError;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        match written {
            Written::Number(number) => Ok(Overdraft::Seats(number)),
            Written::Text(text) => text.parse(),
        }
    }
}

impl From<Overdraft> for Written {
    fn from(overdraft: Overdraft) -> Self {
        match overdraft {
            Overdraft::Seats(number) => Written::Number(number),
            Overdraft::Percent(_) => Written::Text(overdraft.to_string()),
        }
    }
}

impl fmt::Display for Overdraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Overdraft::Seats(number) => write!(f, "{number}"),
            Overdraft::Percent(share) => write!(f, "{share}%"),
        }
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Binding::Cluster(uid) => write!(f, "cluster {uid}"),
            Binding::Hosts(hosts) => write!(f, "hosts {}", hosts.join(", ")),
        }
    }
}

impl License {
    /// The moment from which on it counts no more, with its grace period; absent: never.
    pub fn over_at(&self) -> Option<Timestamp> {
        let grace = self.grace_period.map_or(std::time::Duration::ZERO, ApiDuration::get);
        self.not_after.map(|end| end.checked_add(grace).unwrap_or(Timestamp::MAX))
    }
}
