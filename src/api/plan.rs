//! SeatPlan: what may be given. Written by the operator only; read by the servers of its pool.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ApiDuration, Name, QueuePolicy, Validity, Version};

/// Grants of one pool at the most; more are refused with a condition, long before etcd's object limit.
pub const MAX_GRANTS: usize = 2_000;

/// Steps of one feature at the most. A session is counted for each one below its version, besides the pool, its grant, its
/// tier and the feature: so two features of any kind can always be asked for in one call.
pub const MAX_STEPS: usize = 4;

/// What may be given: compiled from a LicensePool and its LicenseGrants. Named after the product. Not for hands.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "genie-lm.io",
    version = "v1alpha1",
    kind = "SeatPlan",
    plural = "seatplans",
    shortname = "splan",
    category = "genie",
    namespaced,
    derive = "PartialEq",
    printcolumn = r#"{"name":"POOL","type":"string","jsonPath":".spec.pool"}"#,
    printcolumn = r#"{"name":"SEATS","type":"integer","jsonPath":".spec.seats"}"#,
    printcolumn = r#"{"name":"AGE","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct SeatPlanSpec {
    /// Name of the LicensePool.
    pub pool: String,
    /// What clients ask for.
    pub product: String,
    /// Sessions at one time.
    pub seats: u32,
    /// No new session: the pool is suspended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
    /// No new session: the pool is being deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
    /// Renewals are refused too: the drain deadline has passed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoked: bool,
    /// How long a session lives without renewal.
    pub ttl: ApiDuration,
    /// The horizon X.
    pub outage_tolerance: ApiDuration,
    /// How clients wait for a seat; absent: they do not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueuePolicy>,
    /// When the pool counts.
    #[serde(default)]
    pub validity: Validity,
    /// Features of the pool.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub features: Vec<PlanFeature>,
    /// Tiers of the pool.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub tiers: Vec<PlanTier>,
    /// Grants in order of namespace and name.
    #[serde(default)]
    #[schemars(length(max = 2000))]
    pub grants: Vec<PlanGrant>,
    /// A ledger whose generation is below this one was lost or set back (rules R3, R11).
    #[serde(default)]
    pub min_generation: u64,
    /// While the ledger is below `minGeneration`: the longest `outageTolerance` that the operator saw it record of what may
    /// be out. Its recovery lasts for that at least (rule R11).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_outage_tolerance: Option<ApiDuration>,
    /// Nonces of owners that are known to have ended, with the node that they ran on (rule R6b).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub ended: Vec<String>,
    /// What this plan was compiled from.
    #[serde(default)]
    #[schemars(length(max = 2001))]
    pub inputs: Vec<PlanInput>,
}

/// A feature with its limits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanFeature {
    /// Name.
    pub name: Name,
    /// Seats of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seats: Option<u32>,
    /// The highest version that may have it; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// Where only some of its seats are for newer versions: the oldest first, with fewer and fewer seats.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MAX_STEPS))]
    pub steps: Vec<PlanStep>,
    /// When it ends.
    #[serde(default)]
    pub validity: Validity,
}

/// Seats of a feature for versions above one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanStep {
    /// The version.
    pub above: Version,
    /// Sessions of all versions above it at one time.
    pub seats: u32,
}

/// A tier with its limits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanTier {
    /// Name.
    pub name: Name,
    /// Seats of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seats: Option<u32>,
    /// Of a suite: the features of which a session takes no seat of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub covers: Vec<Name>,
}

/// One grant, with everything that a verdict needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanGrant {
    /// Namespace of the LicenseGrant.
    pub namespace: String,
    /// Name of the LicenseGrant.
    pub name: String,
    /// Its seats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// Its tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Name>,
    /// All features that it enables, the tier's included, sorted.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub features: Vec<Name>,
    /// When it counts.
    #[serde(default)]
    pub validity: Validity,
    /// Hashes of the keys that stand for it.
    #[serde(default)]
    #[schemars(length(max = 4))]
    pub keys: Vec<PlanKey>,
    /// Its place among those who wait.
    #[serde(default, skip_serializing_if = "super::grant::is_zero")]
    pub priority: u32,
    /// Grants no new session.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspended: bool,
}

/// A key, never in the clear.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanKey {
    /// SHA-256 of the normalized activation key, 64 hexadecimal digits.
    #[schemars(length(min = 64, max = 64))]
    pub sha256: String,
}

/// One object that a plan was compiled from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanInput {
    /// LicensePool or LicenseGrant.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// metadata.generation that was read (0 in standalone mode).
    pub generation: i64,
}
