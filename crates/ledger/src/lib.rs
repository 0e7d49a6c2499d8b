//! The seat protocol as a pure state machine: time and events in, effects out.
//!
//! A [`Replica`] is one process's part in one ledger. Its driver tells it what time it is, what the
//! store answered and what clients ask; it says which store request to send next, what to answer,
//! and when it wants to be woken. It does no I/O, reads no clock, and the same inputs give the same
//! outputs. The rule numbers in the docs (R1, Q, …) are those of the seat protocol.

mod answer;
mod borrowing;
#[cfg(feature = "model")]
pub mod canonical;
#[cfg(not(feature = "model"))]
mod canonical;
mod fence;
mod handover;
mod latest;
mod leaving;
mod lending;
mod limits;
mod meter;
mod mutant;
mod owner;
mod promise;
mod queue;
mod queueing;
mod record;
mod replica;
mod seats;
mod sessions;
mod settings;
mod status;
mod store;
mod takeover;
mod tenure;
mod time;
mod types;
mod waiting;

pub use answer::{Answer, CheckoutRequest, Denial, Outcome, Place, Ticket, Wait};
pub use borrowing::{BORROW_SKEW, BorrowRequest, MAX_BORROWED};
pub use handover::{HandedSession, Handover};
#[cfg(feature = "model")]
pub use mutant::{Mutant, mutate};
pub use record::{Borrowed, LeaseRecord, ObservedLease, ObservedLedger, Record, Sealed, UnixSeconds};
pub use replica::Replica;
pub use settings::{
    Borrowing, Limit, MAX_BORROW, MAX_LIMIT_NAME, MAX_SETTING_DURATION, MAX_SETTINGS_LIMITS, Order, Queueing,
    Settings, SettingsError,
};
pub use status::{LimitStatus, Role, SessionView, Status, StopReason};
pub use store::{RequestId, StoreReply, StoreRequest};
pub use tenure::{LEASE_DURATION, LEASE_RENEW};
pub use time::{BootInstant, RHO_PERCENT, shrink, stretch};
pub use types::{
    Claim, Generation, GrantId, Holder, Issuer, LimitId, LimitSet, MAX_LIMITS, Nonce, OperationId, SessionId,
    TooManyLimits, Version,
};
