//! Every name, label and annotation that the operator gives. Takes a pool or a grant, gives text; in no other place is
//! a name put together.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};

use crate::api::{LicenseGrant, LicensePool};

/// Field manager of every write.
pub const FIELD_MANAGER: &str = "genie-lm-operator";
/// Name of the operator's own election Lease.
pub const ELECTION_LEASE: &str = "genie-lm-operator";
/// Secret with the operator's CA.
pub const CA_SECRET: &str = "genie-lm-ca";
/// Keeps a pool until its seats are back.
pub const DRAIN_FINALIZER: &str = "genie-lm.io/drain";
/// Keeps a SeatLedger from being deleted in passing.
pub const LEDGER_FINALIZER: &str = "genie-lm.io/ledger";

/// Label: what made the object.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label: name of the pool, on objects of one pool alone.
pub const POOL_LABEL: &str = "genie-lm.io/pool";
/// Label: name of the group, on objects that the pools of a group share.
pub const GROUP_LABEL: &str = "genie-lm.io/group";
/// Label: name of the grant (it has at most 63 characters, by the CRD).
pub const GRANT_LABEL: &str = "genie-lm.io/grant";
/// Annotation: hash of what was applied, so that a field that is wanted no more is noticed.
pub const APPLIED: &str = "genie-lm.io/applied";
/// Annotation: the DNS names in a certificate, sorted, separated by commas.
pub const TLS_NAMES: &str = "genie-lm.io/tls-names";
/// Annotation: when a certificate is made anew; RFC 3339.
pub const TLS_RENEW_AT: &str = "genie-lm.io/tls-renew-at";

/// Annotation: when the last MAC key was added to a server's; RFC 3339.
pub const KEYS_ADDED_AT: &str = "genie-lm.io/keys-added-at";
/// Annotation of a pool, from its user: MAC keys that were added before this time shall sign no more; RFC 3339.
pub const ROTATE_KEYS: &str = "genie-lm.io/rotate-keys";

/// Selector of everything that the operator made.
pub fn managed_selector() -> String {
    format!("{MANAGED_BY}={FIELD_MANAGER}")
}

/// Name of the server of a pool: of its Deployment, ServiceAccount, Role, RoleBinding, PodDisruptionBudget,
/// NetworkPolicy and ConfigMap.
pub fn server(pool: &LicensePool) -> String {
    match &pool.spec.server.group {
        Some(group) => format!("{group}-license-group"),
        None => format!("{}-license-server", pool.name_any()),
    }
}

/// Name of the Secret with a server's certificate.
pub fn tls_secret(server: &str) -> String {
    format!("{server}-tls")
}

/// Name of the Secret with the peers' certificate.
pub fn peer_secret(server: &str) -> String {
    format!("{server}-peer")
}

/// Name of the Secret with the MAC keys.
pub fn keys_secret(server: &str) -> String {
    format!("{server}-keys")
}

/// Name of a pool's Service.
pub fn service(pool: &str) -> String {
    format!("{pool}-license")
}

/// Name of a product's Lease.
pub fn lease(product: &str) -> String {
    format!("genie-lm.{product}")
}

/// The product of a Lease of this name.
pub fn product_of_lease(lease: &str) -> Option<&str> {
    lease.strip_prefix("genie-lm.")
}

/// Name of a grant's Secret.
pub fn binding(grant: &str) -> String {
    format!("{grant}-license")
}

/// DNS name of a pool's Service, as clients write it.
pub fn host(pool: &str, namespace: &str, cluster_domain: &str) -> String {
    format!("{}.{namespace}.svc.{cluster_domain}", service(pool))
}

/// Labels that select the pods of a server.
pub fn selector(server: &str) -> BTreeMap<String, String> {
    labels([("app.kubernetes.io/name", "genie-lm"), ("app.kubernetes.io/instance", server)])
}

/// Labels of the objects of a server: those of its group, or of its one pool.
pub fn server_labels(pool: &LicensePool) -> BTreeMap<String, String> {
    let mut all = component_labels(&server(pool));
    match &pool.spec.server.group {
        Some(group) => all.insert(GROUP_LABEL.into(), group.clone()),
        None => all.insert(POOL_LABEL.into(), pool.name_any()),
    };
    all
}

/// Labels of the objects of one pool, whoever serves it.
pub fn pool_labels(pool: &LicensePool) -> BTreeMap<String, String> {
    let mut all = component_labels(&server(pool));
    all.insert(POOL_LABEL.into(), pool.name_any());
    all
}

/// Labels of a grant's Secret.
pub fn grant_labels(grant: &LicenseGrant) -> BTreeMap<String, String> {
    let name = grant.name_any();
    labels([
        ("app.kubernetes.io/name", "genie-lm"),
        (MANAGED_BY, FIELD_MANAGER),
        (GRANT_LABEL, name.as_str()),
    ])
}

fn component_labels(server: &str) -> BTreeMap<String, String> {
    let mut all = selector(server);
    all.insert("app.kubernetes.io/component".into(), "server".into());
    all.insert(MANAGED_BY.into(), FIELD_MANAGER.into());
    all
}

fn labels<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// An owner that is not a controller, so that the pools of a group can own one object together; the garbage collector
/// takes the object when the last of them is gone.
pub fn owner<K: Resource<DynamicType = ()>>(object: &K) -> Option<OwnerReference> {
    Some(OwnerReference { controller: None, block_owner_deletion: None, ..object.owner_ref(&())? })
}
