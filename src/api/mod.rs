//! The custom resources as Rust types; `crds/` is generated from them (`genie-lm crds`).
//!
//! Owns names, schemas, CEL rules, defaults and printer columns. What the fields *do* is in `compile`.

mod crds;
mod duration;
mod grant;
mod ledger;
mod plan;
mod pool;
pub mod sentences;
mod types;
mod version;

pub use crds::crds;
pub use duration::ApiDuration;
pub use grant::{
    GrantBinding, GrantSeats, GrantSeatsStatus, GrantStatus, KeySecretRef, LicenseGrant, LicenseGrantSpec,
    PoolRef, Subject, SubjectKind,
};
pub use ledger::{SeatLedger, SeatLedgerSpec, SeatLedgerStatus};
pub use plan::{
    MAX_GRANTS, MAX_STEPS, PlanFeature, PlanGrant, PlanInput, PlanKey, PlanStep, PlanTier, SeatPlan,
    SeatPlanSpec,
};
pub use pool::{
    AllowedNamespaces, Availability, CountStatus, DeletionPolicy, LedgerReclaimPolicy, LicensePool,
    LicensePoolSpec, LicenseSecretRef, NamespacesFrom, PoolFeature, PoolLedgerStatus, PoolLicense,
    PoolSeatsStatus, PoolStatus, PoolTier, PullSecret, QueueOrder, QueuePolicy, ServerSpec, ServiceSpec,
    SessionPolicy,
};
pub use types::{Name, Validity};
pub use version::Version;

/// API group of every resource here.
pub const GROUP: &str = "genie-lm.io";
/// The one served version.
pub const VERSION: &str = "v1alpha1";

/// Name of the container that is the server, in the pods that the operator makes; by it, servers know each other's end.
pub const SERVER_CONTAINER: &str = "server";
