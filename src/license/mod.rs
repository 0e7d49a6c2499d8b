//! Keys, tokens, features, tiers and expiry: pure functions over a compiled plan.
//!
//! Takes a [`SeatPlanSpec`](crate::api::SeatPlanSpec) and a wall-clock time; gives verdicts and tokens.

pub mod document;
mod judge;
mod keys;
mod mac_keys;
mod token;
mod view;
mod warning;

pub use judge::{Asked, Judgment, Use};
pub use keys::KeyHash;
pub use mac_keys::{MAC_KEY, MacKeys, MacKeysError};
pub use token::{ActivationClaim, Keyring, MAX_TOKEN, QueueClaim};
pub use view::{GrantView, LedgerId, PlanView, ViewError, grant_limit};
pub use warning::{Nearing, warning_moments, warning_times};
