//! What the store holds: the ledger's record (SeatLedger.status, or the ledger file) and the Lease.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::borrowing::BORROW_SKEW;
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
    /// Checkouts that waited in the queue when this was written. A view, written with the usage.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub queued: u64,
    /// The latest wall-clock time that owners saw, for plans of which something ends; 0 where none is kept. No seat
    /// depends on it. Whoever removes it by hand, with a larger seq, makes the owner begin anew with its own clock.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub latest_time: UnixSeconds,
}

impl Record {
    /// X: what it speaks of may be out for so long.
    pub fn horizon(&self) -> Duration {
        Duration::from_millis(self.horizon_ms)
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_unknown(time: &UnixSeconds) -> bool {
    *time == UnixSeconds::default()
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(not(feature = "model"), derive(Hash))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct UnixSeconds(pub u64);

impl UnixSeconds {
    /// The last second of the year 9999: no end is known.
    pub const NEVER: UnixSeconds = UnixSeconds(253_402_300_799);

    /// This moment and whole seconds of `by`; never beyond [`NEVER`](Self::NEVER).
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by.as_secs()).min(Self::NEVER.0))
    }

    /// This moment less whole seconds of `by`.
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(by.as_secs()))
    }
}

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

/// How the id of what stands for lost entries begins (R11); no document's id does.
const LOST: &str = "lost-";

impl Borrowed {
    /// R11: what stands for entries that were lost before this generation. It touches every limit.
    pub(crate) fn lost(generation: Generation, count: NonZeroU32, ends: UnixSeconds) -> Self {
        let id = format!("{LOST}{}", generation.0).into();
        Self { id, grant: GrantId(0), count, limits: Vec::new(), ends }
    }

    /// Whether this stands for entries that were lost (R11), and is no document.
    pub fn is_lost(&self) -> bool {
        self.id.starts_with(LOST)
    }

    /// Whether it takes units of this limit.
    pub fn touches(&self, limit: &str) -> bool {
        self.is_lost() || self.limits.iter().any(|name| **name == *limit)
    }

    /// The end that the document states.
    pub fn until(&self) -> UnixSeconds {
        self.ends.minus(BORROW_SKEW)
    }
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
    /// By the wall clocks of its writer and its reader it was left alone long ago when it was seen first: it may be one
    /// of the past, with a ledger that says nothing of later owners (R11). Makes a replica wait, and decides nothing else.
    pub stale: bool,
}

impl ObservedLease {
    /// Whether it is the same state of the same object.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.uid == other.uid && self.version == other.version
    }
}

/// A ledger object as it was read or watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObservedLedger {
    /// Its version.
    pub version: Version,
    /// What it says; None: the object is there and nobody has written its record yet.
    pub record: Option<Record>,
}
