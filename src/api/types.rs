//! Small types that several resources share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ApiDuration, sentences};

/// A lower-case name of at most 63 characters, as DNS labels are: features, tiers.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Name(
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))] pub String,
);

impl Name {
    /// The bare text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What every program here can read: beyond, a time is no number any more for some.
pub(super) const TIME_RULE: &str =
    "self > timestamp('0001-01-01T00:00:00Z') && self < timestamp('9999-01-01T00:00:00Z')";

/// From when until when something counts. Both ends are wall-clock times; a missing end is open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.notBefore) || !has(self.notAfter) || self.notBefore < self.notAfter")
    .message(sentences::VALIDITY_ORDER))]
pub struct Validity {
    /// First moment at which it counts; before it the answer is NOT_YET_VALID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(TIME_RULE).message(sentences::TIME))]
    pub not_before: Option<Time>,
    /// Moment at which it ends; from it on the answer is EXPIRED, LICENSE_EXPIRED (or GRACE).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(TIME_RULE).message(sentences::TIME))]
    pub not_after: Option<Time>,
    /// How long it still works after `notAfter`, with code GRACE. At most 8760h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('8760h')").message(sentences::GRACE_PERIOD))]
    pub grace_period: Option<ApiDuration>,
    /// How long before `notAfter` it is told that it ends, in any order: in every answer, as a condition, and once at
    /// each of these times as an event. Absent: 720h, 168h and 24h, or those of the pool for a grant; empty: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    #[x_kube(validation = Rule::new("self.all(d, duration(d) > duration('0s') && duration(d) <= duration('8760h'))")
        .message(sentences::EXPIRY_WARNINGS))]
    pub expiry_warnings: Option<Vec<ApiDuration>>,
}
