//! What the store holds: the ledger's record (SeatLedger.status, or the ledger file) and the Lease.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::types::{Generation, GrantId, Holder, Nonce, Version};

/// The durable state of one ledger. Written by its owner alone, always whole and with the version
/// that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(not(feature = "model"), derive(Hash))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Number of ownerships so far.
    pub generation: Generation,
    /// The owner of this generation.
    pub holder: Holder,
    /// Number of writes so far; makes every write differ from the one before.
    pub seq: u64,
    /// Whether what earlier owners promised may still be out (R4).
    pub recovering: bool,
    /// The owner that has ended its work for good and says so (R6a).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealed: Option<Sealed>,
    /// `W` by limit name: the most units that may be out (R1). A limit that is missing here counts as
    /// its cap.
    #[serde(default)]
    pub promises: BTreeMap<Arc<str>, u32>,
    /// The largest X under which a token may be out, in milliseconds.
    pub horizon_ms: u64,
    /// The largest ttl under which a token may be out, in milliseconds.
    pub ttl_ms: u64,
    /// Borrowed seats (R9).
    #[serde(default)]
    pub borrowed: Vec<Borrowed>,
    /// Units in use by limit name when this was written; none where a limit is missing. A view, not
    /// a promise.
    #[serde(default)]
    pub usage: BTreeMap<Arc<str>, u32>,
    /// How often a renewal was refused because another program had renewed the same session (R12). A
    /// view, written with the usage.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub clones: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The owner that sealed the ledger: it serves no more, and its session table is whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Sealed {
    /// Its generation.
    pub generation: Generation,
    /// Its nonce.
    pub nonce: Nonce,
}

/// A wall-clock time in seconds since 1970 (UTC). Only borrowed documents end by the wall clock; seats never do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct UnixSeconds(pub u64);

/// Units lent by a signed document that works without a server until its end.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Borrowed {
    /// The document's id.
    pub id: Arc<str>,
    /// The grant it was borrowed under.
    pub grant: GrantId,
    /// Units it takes of each of its limits.
    pub count: NonZeroU32,
    /// Names of the limits that it touches.
    pub limits: Vec<Arc<str>>,
    /// When the document ends, margin for clock skew included.
    pub ends: UnixSeconds,
}

/// The part of a Lease that the protocol decides on. The driver adds what its store wants besides
/// (renewTime, leaseDurationSeconds); each write must give the Lease a new version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseRecord {
    /// Who holds it; None: given up, or never taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Nonce>,
    /// How often it changed hands.
    #[serde(default)]
    pub transitions: u32,
}

/// A Lease as it was read or watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObservedLease {
    /// Which Lease object: a deleted and recreated one differs.
    pub uid: Arc<str>,
    /// Its version.
    pub version: Version,
    /// What it says.
    pub record: LeaseRecord,
}

/// A ledger object as it was read or watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObservedLedger {
    /// Its version.
    pub version: Version,
    /// What it says; None: the object is there and nobody has written its record yet.
    pub record: Option<Record>,
}
