//! Which pools, grants and ledgers are to be looked at when something changed. The queues take an object once, however
//! often it is put in (the schedulers behind them see to that), and what waits for a queue waits without loss.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc};

use futures::Stream;
use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    core::v1::{ConfigMap, Namespace, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{Role, RoleBinding},
};
use kube::{Resource, ResourceExt, core::PartialObjectMeta, runtime::reflector::ObjectRef};
use tokio::sync::mpsc;

use super::{World, seen::Seen};
use crate::{
    api::{LicenseGrant, LicensePool, SeatLedger, SeatPlan},
    compile::{self, ObjectName},
    operator::{
        board::Board,
        names,
        out_of_service::{NodeState, holder},
    },
};

/// The schedulers take out all the time; what does not fit for a moment makes a watch wait.
const QUEUE: usize = 1024;

/// The receiving end of a queue.
pub type Queue<K> = mpsc::Receiver<ObjectRef<K>>;

/// A queue as `applier` reads it.
pub fn queue<K>(queue: Queue<K>) -> impl Stream<Item = Result<ObjectRef<K>, Infallible>>
where
    K: Resource<DynamicType = ()> + 'static,
{
    futures::stream::unfold(queue, async |mut queue| Some((Ok(queue.recv().await?), queue)))
}

/// The sending ends of the queues.
#[derive(Clone)]
pub struct Triggers {
    pools: mpsc::Sender<ObjectRef<LicensePool>>,
    grants: mpsc::Sender<ObjectRef<LicenseGrant>>,
    ledgers: mpsc::Sender<ObjectRef<SeatLedger>>,
    board: Arc<Board>,
    seen: Arc<Seen>,
}

impl Triggers {
    /// The three queues.
    pub fn new(board: Arc<Board>) -> (Self, Queue<LicensePool>, Queue<LicenseGrant>, Queue<SeatLedger>) {
        let (pools, pool_queue) = mpsc::channel(QUEUE);
        let (grants, grant_queue) = mpsc::channel(QUEUE);
        let (ledgers, ledger_queue) = mpsc::channel(QUEUE);
        (Self { pools, grants, ledgers, board, seen: Arc::default() }, pool_queue, grant_queue, ledger_queue)
    }

    /// A pool is to be looked at.
    pub async fn pool(&self, pool: &ObjectName) {
        put(&self.pools, pool).await;
    }

    /// A grant is to be looked at.
    pub async fn grant(&self, grant: &ObjectName) {
        put(&self.grants, grant).await;
    }

    async fn pool_named(&self, namespace: Option<String>, name: &str) {
        self.pool(&ObjectName { namespace: namespace.unwrap_or_default(), name: name.to_owned() }).await;
    }

    async fn ledger(&self, namespace: &str, product: &str) {
        put(&self.ledgers, &ObjectName { namespace: namespace.to_owned(), name: product.to_owned() }).await;
    }

    pub(super) async fn everything(&self, world: &World) {
        for pool in world.pools.state() {
            self.seen.is_news(&pool);
            self.pool(&ObjectName::of(&*pool)).await;
        }
        for grant in world.grants.state() {
            self.grant(&ObjectName::of(&*grant)).await;
        }
        for ledger in world.ledgers.state() {
            put(&self.ledgers, &ObjectName::of(&*ledger)).await;
        }
    }

    async fn pools_where(&self, world: &World, which: impl Fn(&LicensePool) -> bool) {
        for pool in world.pools.state_filter(which) {
            self.pool(&ObjectName::of(&*pool)).await;
        }
    }

    /// Names of plans, ledgers and Leases are those of products, which may have changed pools.
    async fn pools_of_product(&self, world: &World, namespace: Option<String>, product: &str) {
        self.pools_where(world, |pool| pool.namespace() == namespace && pool.spec.product == product).await;
    }

    /// The pool, and those that share its product or its servers.
    async fn near(&self, world: &World, pool: &LicensePool) {
        self.pool(&ObjectName::of(pool)).await;
        let group = &pool.spec.server.group;
        let related = |other: &LicensePool| {
            other.namespace() == pool.namespace()
                && (other.spec.product == pool.spec.product
                    || (group.is_some() && other.spec.server.group == *group))
        };
        self.pools_where(world, related).await;
    }

    /// A license counts in one pool, so what one of them lists may matter to each.
    async fn pools_licensed_for(&self, world: &World, product: &str) {
        self.pools_where(world, |pool| pool.spec.product == product && !pool.spec.licenses.is_empty()).await;
    }

    /// The pools that an object belongs to, as its labels say.
    async fn owners(&self, world: &World, object: &impl ResourceExt) {
        let namespace = object.namespace();
        if let Some(pool) = object.labels().get(names::POOL_LABEL) {
            self.pool_named(namespace.clone(), pool).await;
        }
        if let Some(group) = object.labels().get(names::GROUP_LABEL) {
            let of_group = |pool: &LicensePool| {
                pool.namespace() == namespace && pool.spec.server.group.as_ref() == Some(group)
            };
            self.pools_where(world, of_group).await;
        }
    }
}

async fn put<K: Resource<DynamicType = ()>>(sender: &mpsc::Sender<ObjectRef<K>>, name: &ObjectName) {
    // A closed queue belongs to a controller that has stopped; so do the watches in a moment.
    let _ = sender.send(ObjectRef::new(&name.name).within(&name.namespace)).await;
}

/// What a change of an object of this kind means.
pub(super) trait Pulls: Sized + Sync {
    /// The object is new, or differs.
    fn changed(&self, world: &World, triggers: &Triggers) -> impl Future<Output = ()> + Send;

    /// The object is gone.
    fn deleted(&self, world: &World, triggers: &Triggers) -> impl Future<Output = ()> + Send {
        self.changed(world, triggers)
    }
}

impl Pulls for LicensePool {
    /// What is near, and in other namespaces the pools that may list its licenses: to them only its spec matters.
    async fn changed(&self, world: &World, triggers: &Triggers) {
        triggers.near(world, self).await;
        if triggers.seen.is_news(self) {
            triggers.pools_licensed_for(world, &self.spec.product).await;
        }
    }

    async fn deleted(&self, world: &World, triggers: &Triggers) {
        let name = ObjectName::of(self);
        let mut grants: BTreeSet<ObjectName> = triggers.board.remove(&name);
        grants.extend(world.grants_of(&name).iter().map(|grant| ObjectName::of(&**grant)));
        for grant in &grants {
            triggers.grant(grant).await;
        }
        triggers.ledger(&name.namespace, &self.spec.product).await;
        triggers.near(world, self).await;
        triggers.seen.forget(&name);
        triggers.pools_licensed_for(world, &self.spec.product).await;
    }
}

impl Pulls for LicenseGrant {
    /// The grant, its pool, and the pool that it referred to before.
    async fn changed(&self, _: &World, triggers: &Triggers) {
        let name = ObjectName::of(self);
        triggers.grant(&name).await;
        triggers.pool(&ObjectName::of_pool_of(self)).await;
        for pool in triggers.board.pools_of(&name) {
            triggers.pool(&pool).await;
        }
    }
}

impl Pulls for SeatPlan {
    async fn changed(&self, world: &World, triggers: &Triggers) {
        triggers.pools_of_product(world, self.namespace(), &self.spec.product).await;
    }
}

impl Pulls for SeatLedger {
    async fn changed(&self, world: &World, triggers: &Triggers) {
        let name = ObjectName::of(self);
        triggers.ledger(&name.namespace, &name.name).await;
        triggers.pools_of_product(world, self.namespace(), &self.spec.product).await;
    }
}

impl Pulls for Secret {
    /// A server's Secret, a grant's, or the CA, on which all depend.
    async fn changed(&self, world: &World, triggers: &Triggers) {
        triggers.owners(world, self).await;
        if let Some(grant) = self.labels().get(names::GRANT_LABEL) {
            let name = ObjectName { namespace: self.namespace().unwrap_or_default(), name: grant.clone() };
            triggers.grant(&name).await;
            for pool in triggers.board.pools_of(&name) {
                triggers.pool(&pool).await;
            }
        }
        if self.name_any() == names::CA_SECRET {
            triggers.everything(world).await;
        }
    }
}

impl Pulls for PartialObjectMeta<Secret> {
    /// The grants that bring their key in it, and the pools that bring a license.
    async fn changed(&self, world: &World, triggers: &Triggers) {
        let name = ObjectName::of(self);
        for grant in world.grants.state_filter(|grant| compile::key_secret(grant).as_ref() == Some(&name)) {
            triggers.grant(&ObjectName::of(&*grant)).await;
            triggers.pool(&ObjectName::of_pool_of(&grant)).await;
        }
        let named = |pool: &LicensePool| {
            let mut references = pool.spec.licenses.iter().map(|license| &license.secret_ref);
            references.any(|reference| compile::license_secret(pool, reference) == name)
        };
        let pools = world.pools.state_filter(named);
        let products: BTreeSet<&str> = pools.iter().map(|pool| pool.spec.product.as_str()).collect();
        for product in products {
            triggers.pools_licensed_for(world, product).await;
        }
    }
}

impl Pulls for PartialObjectMeta<Namespace> {
    /// Pools that choose namespaces by label, and what is in it when it is being deleted.
    async fn changed(&self, world: &World, triggers: &Triggers) {
        let name = self.name_any();
        let touched = |pool: &LicensePool| {
            pool.spec.allowed_namespaces.selector.is_some() || pool.namespace().as_deref() == Some(&name)
        };
        triggers.pools_where(world, touched).await;
        for ledger in world.ledgers.state_filter(|ledger| ledger.namespace().as_deref() == Some(&name)) {
            triggers.ledger(&name, &ledger.name_any()).await;
        }
    }
}

impl Pulls for NodeState {
    /// The pools whose owner was on a node that is off.
    async fn changed(&self, world: &World, triggers: &Triggers) {
        if !self.is_out() {
            return;
        }
        let name = self.name_any();
        let here = |ledger: &SeatLedger| holder(ledger).is_some_and(|holder| *holder.node == *name);
        for ledger in world.ledgers.state_filter(here) {
            triggers.pools_of_product(world, ledger.namespace(), &ledger.spec.product).await;
        }
    }

    /// That it is gone says nothing of what ran on it.
    async fn deleted(&self, _: &World, _: &Triggers) {}
}

impl Pulls for PartialObjectMeta<Lease> {
    /// Renewals say nothing to the operator.
    async fn changed(&self, _: &World, _: &Triggers) {}

    async fn deleted(&self, world: &World, triggers: &Triggers) {
        if let Some(product) = names::product_of_lease(&self.name_any()) {
            triggers.pools_of_product(world, self.namespace(), product).await;
        }
    }
}

macro_rules! owned {
    ($($kind:ty),*) => {$(
        impl Pulls for $kind {
            async fn changed(&self, world: &World, triggers: &Triggers) {
                triggers.owners(world, self).await;
            }
        }
    )*};
}

owned!(Deployment, Service, ConfigMap, PodDisruptionBudget, NetworkPolicy, ServiceAccount, Role, RoleBinding);
