//! What the cluster holds, as far as the operator reads it: one watch and one cache a kind, shared by all controllers,
//! and the triggers that a change pulls. Reconciles read these caches and nothing else (but for brought keys).
//!
//! kube's `Controller` runs a watch of its own for each kind that it owns; here two controllers need the same kinds and
//! their contents, so the watches stand apart and feed `applier`, the part below `Controller`.

mod seen;
mod triggers;
mod watch;

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    core::v1::{ConfigMap, Namespace, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{Role, RoleBinding},
};
use kube::{
    Client, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::reflector::{ObjectRef, Store},
};
use tokio::task::JoinSet;

pub use triggers::{Queue, Triggers, queue};
use watch::Watches;
pub use watch::within;

use super::{metrics::Metrics, names, out_of_service::NodeState};
use crate::{
    api::{LicenseGrant, LicensePool, SeatLedger, SeatPlan},
    compile::ObjectName,
};

/// The caches.
pub struct World {
    /// The pools.
    pub pools: Store<LicensePool>,
    /// The grants.
    pub grants: Store<LicenseGrant>,
    /// The plans.
    pub plans: Store<SeatPlan>,
    /// The ledgers.
    pub ledgers: Store<SeatLedger>,
    /// The servers; this and the next ones hold only what the operator made, by label.
    pub deployments: Store<Deployment>,
    /// The pools' Services.
    pub services: Store<Service>,
    /// The products of each server.
    pub config_maps: Store<ConfigMap>,
    /// One for each server.
    pub disruption_budgets: Store<PodDisruptionBudget>,
    /// One for each server.
    pub network_policies: Store<NetworkPolicy>,
    /// One for each server.
    pub service_accounts: Store<ServiceAccount>,
    /// One for each server.
    pub roles: Store<Role>,
    /// One for each server.
    pub role_bindings: Store<RoleBinding>,
    /// Certificates, MAC keys and grants' Secrets; never others' Secrets.
    pub secrets: Store<Secret>,
    /// The pools' Leases; that they are there is all that is known of them.
    pub leases: Store<PartialObjectMeta<Lease>>,
    /// Labels, and whether a namespace is being deleted.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
    /// Whether they are in service.
    pub nodes: Store<NodeState>,
    /// All Secrets but Helm's and tokens, without their contents: a grant may name any of them.
    pub any_secrets: Store<PartialObjectMeta<Secret>>,
    /// The operator's CA.
    pub ca: Store<Secret>,
}

/// Which part of the cluster.
pub struct Scope<'a> {
    /// None: all namespaces.
    pub namespace: Option<&'a str>,
    /// Where the operator itself is, and its CA.
    pub own_namespace: &'a str,
}

impl World {
    /// Begins all watches, in tasks of `tasks`, and waits until every cache is filled.
    pub async fn watch(
        client: Client,
        scope: Scope<'_>,
        triggers: Triggers,
        metrics: Arc<Metrics>,
        tasks: &mut JoinSet<()>,
    ) -> Arc<World> {
        let mut watches = Watches::new(client, scope.namespace, metrics);
        let world = Arc::new(World {
            pools: watches.all(),
            grants: watches.all(),
            plans: watches.all(),
            ledgers: watches.all(),
            deployments: watches.managed(),
            services: watches.managed(),
            config_maps: watches.managed(),
            disruption_budgets: watches.managed(),
            network_policies: watches.managed(),
            service_accounts: watches.managed(),
            roles: watches.managed(),
            role_bindings: watches.managed(),
            secrets: watches.managed(),
            leases: watches.managed(),
            namespaces: watches.namespaces(),
            nodes: watches.nodes(),
            any_secrets: watches.names_of_secrets(),
            ca: watches.one_secret(scope.own_namespace, names::CA_SECRET),
        });
        watches.start(&world, &triggers, tasks).await;
        world
    }

    /// The pools of a namespace.
    pub fn pools_in(&self, namespace: &str) -> Vec<Arc<LicensePool>> {
        self.pools.state_filter(|pool| pool.namespace().as_deref() == Some(namespace))
    }

    /// The grants that refer to a pool.
    pub fn grants_of(&self, pool: &ObjectName) -> Vec<Arc<LicenseGrant>> {
        self.grants.state_filter(|grant| ObjectName::of_pool_of(grant) == *pool)
    }

    /// Whether a namespace is being deleted.
    pub fn is_terminating(&self, namespace: &str) -> bool {
        let found = self.namespaces.get(&ObjectRef::new(namespace));
        found.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some())
    }
}

/// An object of a cache.
pub fn get<K>(store: &Store<K>, namespace: &str, name: &str) -> Option<Arc<K>>
where
    K: Resource<DynamicType = ()> + Clone,
{
    store.get(&ObjectRef::new(name).within(namespace))
}
