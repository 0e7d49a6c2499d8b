//! Where a ledger and its Lease are kept: the Kubernetes API, or files.
//!
//! A store sends one request once, within its deadline, and says honestly when the outcome is unknown.

pub(crate) mod file;
pub(crate) mod kubernetes;

use std::future::Future;

use genie_ledger::{ObservedLease, ObservedLedger, StoreReply, StoreRequest};

/// What a store saw without being asked.
#[derive(Debug)]
pub(crate) enum Observation {
    /// The Lease changed, or is gone.
    Lease(Option<ObservedLease>),
    /// The Lease is out of sight: its watch broke, and is begun anew.
    LeaseUnseen,
    /// The ledger changed, or is gone.
    Ledger(Option<ObservedLedger>),
}

/// See the module.
pub(crate) trait Store: Send + Sync + 'static {
    /// Sends one request; no retry.
    fn send(&self, request: StoreRequest) -> impl Future<Output = StoreReply> + Send;
}
