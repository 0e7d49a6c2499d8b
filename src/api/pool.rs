//! LicensePool: what was bought.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Affinity, ResourceRequirements, Toleration, TopologySpreadConstraint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ApiDuration, Name, Validity, Version, sentences, types::TIME_RULE};

/// What was bought: seats of a product, its features and tiers, and how the servers that hand them out run.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "genie-lm.io",
    version = "v1alpha1",
    kind = "LicensePool",
    plural = "licensepools",
    shortname = "lpool",
    category = "genie",
    namespaced,
    status = "PoolStatus",
    derive = "Default",
    derive = "PartialEq",
    printcolumn = r#"{"name":"PRODUCT","type":"string","jsonPath":".spec.product"}"#,
    printcolumn = r#"{"name":"SEATS","type":"integer","jsonPath":".status.seats.total"}"#,
    printcolumn = r#"{"name":"IN-USE","type":"integer","jsonPath":".status.seats.inUse"}"#,
    printcolumn = r#"{"name":"QUEUED","type":"integer","jsonPath":".status.seats.queued"}"#,
    printcolumn = r#"{"name":"READY","type":"string","jsonPath":".status.conditions[?(@.type==\"Ready\")].status"}"#,
    printcolumn = r#"{"name":"REASON","type":"string","priority":1,"jsonPath":".status.conditions[?(@.type==\"Ready\")].reason"}"#,
    printcolumn = r#"{"name":"OWNER","type":"string","priority":1,"jsonPath":".status.ledger.owner"}"#,
    printcolumn = r#"{"name":"ENDPOINT","type":"string","priority":1,"jsonPath":".status.endpoint"}"#,
    printcolumn = r#"{"name":"EXPIRES","type":"string","jsonPath":".status.nextExpiry"}"#,
    printcolumn = r#"{"name":"AGE","type":"date","jsonPath":".metadata.creationTimestamp"}"#,
    validation = Rule::new("self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message(sentences::POOL_NAME)
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.tiers) || self.tiers.all(t, sets.contains(has(self.features) ? self.features.map(p, p.name) : [], t.features))")
    .message(sentences::TIER_FEATURES))]
#[x_kube(validation = Rule::new("has(self.seats) || (has(self.licenses) && size(self.licenses) > 0)")
    .message(sentences::SEATS_NEEDED))]
pub struct LicensePoolSpec {
    /// What clients ask for; one pool per product in a namespace. Immutable: make a new pool for another product.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message(sentences::PRODUCT_IMMUTABLE))]
    pub product: String,
    /// Sessions at one time. Left out: as many as `licenses` allow; with both, the smaller number counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub seats: Option<u32>,
    /// License documents that vendors signed. They cap all that the pool says; several add up, and end one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub licenses: Vec<PoolLicense>,
    /// What sessions can ask for. Left out: what `licenses` list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub features: Vec<PoolFeature>,
    /// Named sets of features, which grants refer to. Left out: those that `licenses` list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub tiers: Vec<PoolTier>,
    /// When the pool counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validity: Option<Validity>,
    /// How sessions live.
    #[serde(default)]
    pub session: SessionPolicy,
    /// How clients wait for a seat.
    #[serde(default)]
    pub queue: QueuePolicy,
    /// What an outage may cost.
    #[serde(default)]
    pub availability: Availability,
    /// From which namespaces grants may refer to this pool.
    #[serde(default)]
    pub allowed_namespaces: AllowedNamespaces,
    /// How its servers run.
    #[serde(default)]
    pub server: ServerSpec,
    /// Grants no new session while true; renewals go on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// What happens when the pool is deleted.
    #[serde(default)]
    pub deletion: DeletionPolicy,
}

/// A license document that a vendor signed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolLicense {
    /// The Secret of the pool's namespace that holds it.
    pub secret_ref: LicenseSecretRef,
}

/// Where a license document is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LicenseSecretRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its key; absent: `license`. It holds the document as `genie-lm license issue` wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub key: Option<String>,
}

/// Something a session can ask for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.notBefore) || !has(self.notAfter) || self.notBefore < self.notAfter")
    .message(sentences::FEATURE_ORDER))]
pub struct PoolFeature {
    /// What clients ask for.
    pub name: Name,
    /// Sessions that may have it at one time; absent: as many as the pool's seats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub seats: Option<u32>,
    /// The highest version of an application that may have it, such as "2026.1"; absent: all. An application that does not
    /// say its version counts as the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.matches('^[0-9]{1,9}([.][0-9]{1,9}){0,3}$')").message(sentences::VERSION))]
    pub version: Option<Version>,
    /// First moment at which the feature counts; absent: with the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(TIME_RULE).message(sentences::TIME))]
    pub not_before: Option<Time>,
    /// Moment at which the feature ends; absent: with the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new(TIME_RULE).message(sentences::TIME))]
    pub not_after: Option<Time>,
}

/// A named set of features.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.suite) || !self.suite || has(self.seats)").message(sentences::SUITE_SEATS))]
pub struct PoolTier {
    /// What grants refer to, and what clients are told.
    pub name: Name,
    /// Names of `spec.features`.
    #[schemars(length(max = 128))]
    pub features: Vec<Name>,
    /// Sessions of this tier at one time; absent: as many as the pool's seats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub seats: Option<u32>,
    /// A seat of the tier covers its features: a session takes none of the features' own. Needs `seats`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suite: bool,
}

/// How sessions live.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionPolicy {
    /// How long a seat is kept without a renewal; clients renew at a third of it. 10s to 1h. Below 30s a client
    /// may lose its seat when the owner is lost without a trace, since it takes 11 s to be sure of that.
    #[serde(default = "default_ttl")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10s') && duration(self) <= duration('1h')")
        .message(sentences::TTL))]
    pub ttl: ApiDuration,
}

/// How clients wait for a seat that ask to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueuePolicy {
    /// Clients that wait at one time; 0: none, all are denied at once.
    #[serde(default = "default_queue_length")]
    #[schemars(range(max = 10_000))]
    pub max_length: u32,
    /// How long one may wait. 1s to 168h.
    #[serde(default = "default_max_wait")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('168h')")
        .message(sentences::MAX_WAIT))]
    pub max_wait: ApiDuration,
    /// Who is next.
    #[serde(default)]
    pub order: QueueOrder,
}

/// Who of those who wait gets the next seat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum QueueOrder {
    /// Who came first.
    #[default]
    Fifo,
    /// Who has the grant with the highest `priority`; of these, who came first.
    Priority,
    /// Who has the grant that uses the fewest seats; of these, who came first.
    FairShare,
}

/// What an outage may cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Availability {
    /// The horizon X: how long an owner may work without the API server. Longer rides out a longer outage;
    /// shorter gives back sooner the seats of clients that were lost together with their server. 15s to 24h. A seat is never
    /// valid beyond it: below 40s a client may lose its seat when the owner is lost without a trace.
    #[serde(default = "default_outage_tolerance")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('15s') && duration(self) <= duration('24h')")
        .message(sentences::OUTAGE_TOLERANCE))]
    pub outage_tolerance: ApiDuration,
}

/// From which namespaces grants may refer to a pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(self.from == 'Selector') == has(self.selector)")
    .message(sentences::SELECTOR))]
pub struct AllowedNamespaces {
    /// Same (default), All, or Selector.
    #[serde(default)]
    pub from: NamespacesFrom,
    /// Labels of the namespaces, with `from: Selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// See [`AllowedNamespaces`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NamespacesFrom {
    /// The pool's own namespace.
    #[default]
    Same,
    /// Every namespace.
    All,
    /// The namespaces that the selector matches.
    Selector,
}

/// How the servers of a pool run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.group) == has(oldSelf.group) && (!has(self.group) || self.group == oldSelf.group)")
    .message(sentences::GROUP_IMMUTABLE))]
pub struct ServerSpec {
    /// Server pods. Every one answers; one owns the pool.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 9))]
    pub replicas: i32,
    /// Pools of this namespace with the same group share one Deployment (shaped by the oldest of them).
    /// Immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 40), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub group: Option<String>,
    /// Container image; absent: the operator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Secrets of this namespace with which the image is pulled, besides those of the namespace's own accounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub image_pull_secrets: Vec<PullSecret>,
    /// Requests and limits of the server container; absent: 20m CPU and 32Mi, at most 256Mi.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Names by which clients outside the cluster reach it; they go into the certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 253)))]
    pub hostnames: Vec<String>,
    /// The Service on port 1453.
    #[serde(default)]
    pub service: ServiceSpec,
    /// Nodes that may run the servers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that the servers tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Affinity; absent: replicas prefer different nodes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// How replicas spread.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    pub topology_spread_constraints: Vec<TopologySpreadConstraint>,
    /// Priority class of the server pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
    /// error, warn, info (default) or debug.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(error|warn|info|debug)$"))]
    pub log_level: Option<String>,
}

/// A Secret that a registry asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PullSecret {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// The Service of a pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// ClusterIP (default), NodePort or LoadBalancer.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(ClusterIP|NodePort|LoadBalancer)$"))]
    pub type_: Option<String>,
    /// Annotations, for load balancers and DNS.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
}

/// What happens when a pool is deleted: it drains (no new seats), then it is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletionPolicy {
    /// How long sessions may go on; then they are cut off. At most 168h.
    #[serde(default = "default_drain_deadline")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('168h')").message(sentences::DRAIN_DEADLINE))]
    pub drain_deadline: ApiDuration,
    /// Retain (default): the SeatLedger stays, so that a pool made again cannot double its seats; Delete.
    #[serde(default)]
    pub ledger_reclaim_policy: LedgerReclaimPolicy,
}

/// See [`DeletionPolicy`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LedgerReclaimPolicy {
    /// Keep the SeatLedger when the pool goes.
    #[default]
    Retain,
    /// Delete the SeatLedger with the pool.
    Delete,
}

/// What the operator last saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolStatus {
    /// Accepted, LicenseValid, LedgerReady, Available, Ready; Recovering, Expiring while they hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub conditions: Vec<Condition>,
    /// Generation of the spec that this status speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Seats in sum. A view, at most 5 s old while servers run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seats: Option<PoolSeatsStatus>,
    /// Features in use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    pub features: Vec<CountStatus>,
    /// Grants that the pool has accepted.
    #[serde(default)]
    pub grants: u32,
    /// HOST:PORT inside the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Who decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger: Option<PoolLedgerStatus>,
    /// The next moment at which something of the pool or its grants ends; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_expiry: Option<String>,
}

/// Seats of a pool in sum.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolSeatsStatus {
    /// Seats that may be given.
    pub total: u32,
    /// max(total, what the ledger still promises): what clients may hold at this moment at the most.
    pub in_force: u32,
    /// Seats held.
    pub in_use: u32,
    /// Clients that wait for one.
    #[serde(default)]
    pub queued: u32,
}

/// One counted name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CountStatus {
    /// Feature.
    pub name: String,
    /// Its own seats, where it has some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u32>,
    /// Sessions that hold it.
    pub in_use: u32,
}

/// Who decides for a pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PoolLedgerStatus {
    /// Name of the owner's pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Highest generation that the operator has seen; never shrinks.
    pub generation: u64,
    /// Renewals that were refused because another program had renewed the same session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clones: Option<u64>,
}

fn default_ttl() -> ApiDuration {
    ApiDuration::from_secs(60)
}

fn default_queue_length() -> u32 {
    1_000
}

fn default_max_wait() -> ApiDuration {
    ApiDuration::from_secs(3_600)
}

fn default_outage_tolerance() -> ApiDuration {
    ApiDuration::from_secs(600)
}

fn default_replicas() -> i32 {
    2
}

fn default_drain_deadline() -> ApiDuration {
    ApiDuration::from_secs(3600)
}

impl Default for SessionPolicy {
    fn default() -> Self {
        Self { ttl: default_ttl() }
    }
}

impl Default for QueuePolicy {
    fn default() -> Self {
        Self {
            max_length: default_queue_length(),
            max_wait: default_max_wait(),
            order: QueueOrder::default(),
        }
    }
}

impl Default for Availability {
    fn default() -> Self {
        Self { outage_tolerance: default_outage_tolerance() }
    }
}

impl Default for DeletionPolicy {
    fn default() -> Self {
        Self {
            drain_deadline: default_drain_deadline(),
            ledger_reclaim_policy: LedgerReclaimPolicy::default(),
        }
    }
}

impl Default for ServerSpec {
    fn default() -> Self {
        Self {
            replicas: default_replicas(),
            group: None,
            image: None,
            image_pull_secrets: Vec::new(),
            resources: None,
            hostnames: Vec::new(),
            service: ServiceSpec::default(),
            node_selector: BTreeMap::new(),
            tolerations: Vec::new(),
            affinity: None,
            topology_spread_constraints: Vec::new(),
            priority_class_name: None,
            log_level: None,
        }
    }
}
