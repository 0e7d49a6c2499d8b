//! Which namespaces' grants a pool takes: the pool decides, never the grant.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

use super::ObjectName;
use crate::api::{LicensePool, NamespacesFrom};

/// Set by the API server on each namespace; known here without reading it.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// Whether `pool` takes grants of a namespace with these labels. Its own namespace always counts.
pub fn allows(pool: &LicensePool, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
    let allowed = &pool.spec.allowed_namespaces;
    if ObjectName::of(pool).namespace == namespace {
        return true;
    }
    match allowed.from {
        NamespacesFrom::Same => false,
        NamespacesFrom::All => true,
        NamespacesFrom::Selector => {
            allowed.selector.as_ref().is_some_and(|selector| selects(selector, namespace, labels))
        }
    }
}

fn selects(selector: &LabelSelector, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
    let label = |key: &str| match key {
        NAME_LABEL => Some(namespace),
        _ => labels.get(key).map(String::as_str),
    };
    let equal = selector.match_labels.iter().flatten().all(|(key, value)| label(key) == Some(value));
    equal && selector.match_expressions.iter().flatten().all(|one| holds(one, label(&one.key)))
}

/// An operator that nobody knows selects nothing.
fn holds(requirement: &LabelSelectorRequirement, value: Option<&str>) -> bool {
    let listed = |value: &str| requirement.values.iter().flatten().any(|one| one == value);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}
