//! ServiceAccount, Role and RoleBinding of a server: its products' plans, ledgers and Leases by name, and nothing else.

use k8s_openapi::api::{
    core::v1::ServiceAccount,
    rbac::v1::{PolicyRule, Role, RoleBinding, RoleRef, Subject},
};

use super::server_meta;
use crate::{
    api::GROUP,
    operator::{
        names,
        pool::validate::{Server, Validated},
    },
};

pub(super) fn service_account(validated: &Validated, server: &Server) -> ServiceAccount {
    ServiceAccount {
        metadata: server_meta(validated, server, validated.server.clone()),
        // Only pods that ask for the token get it.
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}

pub(super) fn role(validated: &Validated, server: &Server) -> Role {
    let products = server.products();
    let leases: Vec<_> = products.iter().map(|product| names::lease(product)).collect();
    // list and watch by name need a metadata.name field selector, which servers use.
    let rule = |group: &str, resource: &str, names: &[String], verbs: &[&str]| PolicyRule {
        api_groups: Some(vec![group.into()]),
        resources: Some(vec![resource.into()]),
        resource_names: Some(names.to_vec()),
        verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        non_resource_urls: None,
    };
    Role {
        metadata: server_meta(validated, server, validated.server.clone()),
        rules: Some(vec![
            // get, list, watch: whether the owner's process has ended (R6b), and which other replica is to be handed the
            // sessions (R6a). By no name: a pod's name is new with each pod.
            PolicyRule { resource_names: None, ..rule("", "pods", &[], &["get", "list", "watch"]) },
            rule(GROUP, "seatplans", &products, &["get", "list", "watch"]),
            rule(GROUP, "seatledgers", &products, &["get", "list", "watch"]),
            rule(GROUP, "seatledgers/status", &products, &["update"]),
            rule("coordination.k8s.io", "leases", &leases, &["get", "list", "watch", "update"]),
        ]),
    }
}

pub(super) fn role_binding(validated: &Validated, server: &Server) -> RoleBinding {
    RoleBinding {
        metadata: server_meta(validated, server, validated.server.clone()),
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".into(),
            kind: "Role".into(),
            name: validated.server.clone(),
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name: validated.server.clone(),
            namespace: Some(validated.namespace.clone()),
            api_group: None,
        }]),
    }
}
