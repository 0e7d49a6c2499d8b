//! What a replica asks of its store, and what the store may answer.

use crate::record::{LeaseRecord, ObservedLease, ObservedLedger, Record};
use crate::types::Version;

/// Pairs a [`StoreReply`] with its [`StoreRequest`]; unique within a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(feature = "model"), derive(Hash))]
pub struct RequestId(pub u64);

/// One request for the store. The driver sends it once, with a deadline and no retry of its own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::large_enum_variant, reason = "one is made every few seconds, and sent away")]
pub enum StoreRequest {
    /// A linearizable read of the Lease.
    ReadLease,
    /// A linearizable read of the ledger.
    ReadLedger,
    /// Replace the Lease (PUT) if it still has the version `expect`.
    WriteLease {
        /// The version that this write replaces.
        expect: Version,
        /// The new Lease.
        record: LeaseRecord,
    },
    /// Replace the ledger's record (PUT) if the ledger still has the version `expect`.
    WriteLedger {
        /// The version that this write replaces.
        expect: Version,
        /// The new record.
        record: Record,
    },
}

/// The answer to one [`StoreRequest`]; every request gets exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StoreReply {
    /// The Lease as a linearizable read found it; None: there is none.
    Lease(Option<ObservedLease>),
    /// The ledger as a linearizable read found it; None: there is no such object.
    Ledger(Option<ObservedLedger>),
    /// The write was made, and the object now has this version.
    Written {
        /// The object's new version.
        version: Version,
    },
    /// The write was refused because the object has another version, or is gone.
    Conflict,
    /// A time-out, or any error after which nobody can say whether the request took effect.
    Unknown,
}
