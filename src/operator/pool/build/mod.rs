//! Step 3 of a pool: pure. A validated pool → every object that is to be, one file a kind. Cannot fail.

mod config_map;
mod deployment;
mod lease;
mod ledger;
mod network_policy;
mod pdb;
mod plan;
mod rbac;
mod secrets;
mod service;

use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        coordination::v1::Lease,
        core::v1::{ConfigMap, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
        rbac::v1::{Role, RoleBinding},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

pub use secrets::{
    Material, certificate_secret, keys_change, keys_data, keys_secret, renewal, text, unfilled,
};

use super::validate::{Server, Validated};
use crate::{
    api::{SeatLedger, SeatPlan},
    operator::{Settings, names},
};

/// The objects of a pool.
pub struct Wanted {
    /// What its servers may give.
    pub plan: SeatPlan,
    /// Where they write what they gave.
    pub ledger: SeatLedger,
    /// Who of them decides.
    pub lease: Lease,
    /// How clients reach them.
    pub service: Service,
    /// The server, where this pool makes it.
    pub server: Option<WantedServer>,
}

/// The objects of a server; its Secrets are apart, because making them takes random numbers.
pub struct WantedServer {
    /// The pods.
    pub deployment: Deployment,
    /// The products.
    pub config_map: ConfigMap,
    /// How many pods may go at once.
    pub disruption_budget: PodDisruptionBudget,
    /// Who may connect.
    pub network_policy: NetworkPolicy,
    /// Who the pods are.
    pub service_account: ServiceAccount,
    /// What they may do.
    pub role: Role,
    /// That they may.
    pub role_binding: RoleBinding,
    /// DNS names of the certificate.
    pub tls_names: Vec<String>,
}

/// See the module.
pub fn build(validated: &Validated, settings: &Settings) -> Wanted {
    let server = validated.makes.as_ref().map(|server| WantedServer {
        deployment: deployment::deployment(validated, server, settings),
        config_map: config_map::config_map(validated, server),
        disruption_budget: pdb::disruption_budget(validated, server),
        network_policy: network_policy::network_policy(validated, server),
        service_account: rbac::service_account(validated, server),
        role: rbac::role(validated, server),
        role_binding: rbac::role_binding(validated, server),
        tls_names: server.tls_names(&settings.cluster_domain),
    });
    Wanted {
        plan: plan::plan(validated),
        ledger: ledger::ledger(validated),
        lease: lease::lease(validated),
        service: service::service(validated),
        server,
    }
}

/// Metadata of an object of a pool: it goes with the pool.
fn pool_meta(validated: &Validated, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(validated.namespace.clone()),
        labels: Some(names::pool_labels(&validated.pool)),
        owner_references: Some(names::owner(&*validated.pool).into_iter().collect()),
        ..ObjectMeta::default()
    }
}

/// Metadata of an object of a server: it goes with the last of its pools.
fn server_meta(validated: &Validated, server: &Server, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(validated.namespace.clone()),
        labels: Some(names::server_labels(&validated.pool)),
        owner_references: Some(server.pools.iter().filter_map(|pool| names::owner(&**pool)).collect()),
        ..ObjectMeta::default()
    }
}
