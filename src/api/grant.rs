//! LicenseGrant: who may use how much of a pool.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Name, Validity, sentences};

/// Who may use how much of a pool.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "genie-lm.io",
    version = "v1alpha1",
    kind = "LicenseGrant",
    plural = "licensegrants",
    shortname = "lgrant",
    category = "genie",
    namespaced,
    status = "GrantStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"POOL","type":"string","jsonPath":".spec.poolRef.name"}"#,
    printcolumn = r#"{"name":"TIER","type":"string","jsonPath":".spec.tier"}"#,
    printcolumn = r#"{"name":"MAX","type":"integer","jsonPath":".spec.seats.max"}"#,
    printcolumn = r#"{"name":"IN-USE","type":"integer","jsonPath":".status.seats.inUse"}"#,
    printcolumn = r#"{"name":"READY","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"REASON","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"SECRET","type":"string","priority":1,"jsonPath":".status.binding.name"}"#,
    printcolumn = r#"{"name":"EXPIRES","type":"string","jsonPath":".status.expires"}"#,
    printcolumn = r#"{"name":"AGE","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    validation = Rule::new("self.metadata.name.size() <= 63")
        .message(sentences::GRANT_NAME)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.validity) || !has(self.validity.gracePeriod)")
    .message(sentences::GRANT_GRACE_PERIOD))]
pub struct LicenseGrantSpec {
    /// The pool that the seats come from.
    pub pool_ref: PoolRef,
    /// How many seats.
    #[serde(default)]
    pub seats: GrantSeats,
    /// The pool's tier that a session of this grant has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Name>,
    /// Features of the pool besides those of the tier. With neither tier nor features, all of the pool's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub features: Vec<Name>,
    /// When the grant counts; the pool's own validity limits it further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validity: Option<Validity>,
    /// Who may present it; absent: whoever has the activation key that the operator makes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1))]
    pub subjects: Vec<Subject>,
    /// Where the pool's `queue.order` is Priority: of those who wait, the higher is served first. 0 to 1000.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(max = 1_000))]
    pub priority: u32,
    /// Grants no new session while true; renewals go on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
}

pub(super) fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The pool of a grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolRef {
    /// Name of the LicensePool.
    #[schemars(length(min = 1, max = 40))]
    pub name: String,
    /// Its namespace; absent: the grant's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
}

/// How many seats a grant has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantSeats {
    /// Sessions at one time; absent: as many as the pool has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max: Option<u32>,
}

/// Who may present a grant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Subject {
    /// ActivationKey: whoever has the key.
    pub kind: SubjectKind,
    /// A Secret of the grant's namespace that brings the key; absent: the operator makes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_secret_ref: Option<KeySecretRef>,
}

/// See [`Subject`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SubjectKind {
    /// Whoever has the activation key.
    ActivationKey,
}

/// Where an activation key is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeySecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its key; absent: `key`. It holds a GLM1- activation key (`genie-lm keys new`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// What the operator last saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantStatus {
    /// Accepted, Authorized, Ready; Expiring.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Seats of this grant. A view, at most 5 s old while servers run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seats: Option<GrantSeatsStatus>,
    /// The Secret with the key, the address and the CA (Service Binding).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<GrantBinding>,
    /// First characters of the key's hash, to tell keys apart; not the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// When the grant ends; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// Seats of a grant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GrantSeatsStatus {
    /// Seats held.
    pub in_use: u32,
}

/// The Secret of a grant, in the form of the Service Binding specification's provisioned service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantBinding {
    /// Name of the Secret, in the grant's namespace.
    pub name: String,
}
