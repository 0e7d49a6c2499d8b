//! Step 1 of a pool: all reads, from the caches (and the contents of brought keys). Gives one snapshot; decides nothing.

use std::sync::Arc;

use genie_client::ActivationKey;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
    rbac::v1::{Role, RoleBinding},
};
use kube::{ResourceExt, runtime::reflector::ObjectRef};

use crate::{
    api::{LicenseGrant, LicensePool, PlanKey, SeatLedger, SeatPlan},
    compile::{self, GrantReason, Licensed, Licensing, ObjectName, ReadLicense},
    license::document::{Binding, Place},
    operator::{
        context::Context,
        error::ApiError,
        generations::{Least, Told},
        grant::binding,
        names,
        world::{World, get},
    },
};

/// After what another pool's Secrets hold could not be read.
const LOOK_AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// A pool and everything that it depends on, at one moment.
pub struct Observed {
    /// The pool.
    pub pool: Arc<LicensePool>,
    /// All pools of its namespace, itself included.
    pub neighbors: Vec<Arc<LicensePool>>,
    /// The grants that refer to it.
    pub grants: Vec<ObservedGrant>,
    /// Its namespace is being deleted.
    pub terminating: bool,
    /// The operator's CA.
    pub ca: Option<Arc<Secret>>,
    /// What the operator made before.
    pub live: Live,
    /// Lowest generation that its ledger can have: by what this process saw, as the status says, or as the plan does.
    pub least: Least,
    /// The owner, where it is known to have ended with its node.
    pub ended: Vec<String>,
    /// What its licenses say; None: it needs none.
    pub licensed: Option<Licensed>,
    /// When this was read.
    pub now: Timestamp,
}

/// A grant, and what is known about it besides its spec.
pub struct ObservedGrant {
    /// The grant.
    pub grant: Arc<LicenseGrant>,
    /// Its key's hash; empty: the key is still to be made.
    pub keys: Result<Vec<PlanKey>, GrantReason>,
    /// Whether the pool allows its namespace.
    pub allowed: bool,
}

/// The objects of a pool and of its server, as the caches have them.
#[derive(Default)]
pub struct Live {
    /// The pool's.
    pub plan: Option<Arc<SeatPlan>>,
    /// The product's.
    pub ledger: Option<Arc<SeatLedger>>,
    /// The product's Lease is there.
    pub lease: bool,
    /// The pool's.
    pub service: Option<Arc<Service>>,
    /// The server's.
    pub deployment: Option<Arc<Deployment>>,
    /// The server's.
    pub config_map: Option<Arc<ConfigMap>>,
    /// The server's.
    pub disruption_budget: Option<Arc<PodDisruptionBudget>>,
    /// The server's.
    pub network_policy: Option<Arc<NetworkPolicy>>,
    /// The server's.
    pub service_account: Option<Arc<ServiceAccount>>,
    /// The server's.
    pub role: Option<Arc<Role>>,
    /// The server's.
    pub role_binding: Option<Arc<RoleBinding>>,
    /// The server's certificate.
    pub tls: Option<Arc<Secret>>,
    /// The peers' certificate.
    pub peer: Option<Arc<Secret>>,
    /// The MAC keys.
    pub keys: Option<Arc<Secret>>,
}

/// Reads everything about `pool`.
pub async fn observe(ctx: &Context, pool: Arc<LicensePool>) -> Result<Observed, ApiError> {
    let world = &ctx.world;
    let name = ObjectName::of(&*pool);
    let mut grants = Vec::new();
    // A grant that is being deleted is gone for servers, however long somebody's finalizer holds it.
    let lasting = |grant: &Arc<LicenseGrant>| grant.metadata.deletion_timestamp.is_none();
    for grant in world.grants_of(&name).into_iter().filter(lasting) {
        let keys = keys(ctx, &grant).await?;
        let allowed = allowed(world, &pool, &grant);
        grants.push(ObservedGrant { grant, keys, allowed });
    }
    let terminating = world.is_terminating(&name.namespace);
    let (live, now) = (live(world, &pool, &name), Timestamp::now());
    // Before anything is waited for: another look at the same ledger would come in between.
    let least = least(ctx, &pool, &live, terminating, now);
    let licensed = licensed(ctx, &pool, now).await?;
    Ok(Observed {
        least,
        ended: ctx.out_of_service.ended(world, live.plan.as_deref(), live.ledger.as_deref()).await?,
        neighbors: world.pools_in(&name.namespace),
        grants,
        terminating,
        ca: get(&world.ca, &ctx.settings.own_namespace, names::CA_SECRET),
        live,
        licensed,
        now,
        pool,
    })
}

fn least(ctx: &Context, pool: &LicensePool, live: &Live, terminating: bool, now: Timestamp) -> Least {
    let status = pool.status.as_ref().and_then(|status| status.ledger.as_ref());
    let plan = live.plan.as_ref().map(|plan| &plan.spec);
    let recorded = live.ledger.as_ref().and_then(|ledger| ledger.record());
    let told = Told {
        generation: status
            .map_or(0, |status| status.generation)
            .max(plan.map_or(0, |plan| plan.min_generation)),
        longest_horizon: plan.and_then(|plan| plan.longest_outage_tolerance),
    };
    // What goes with its namespace is not remembered: the next of that name is new.
    if terminating {
        return told.alone(recorded.map_or(0, |record| record.generation.0));
    }
    ctx.generations.saw(ledger_name(pool), told, recorded, now)
}

/// The licenses of a pool, beside those of all pools that may list them, too.
async fn licensed(ctx: &Context, pool: &LicensePool, now: Timestamp) -> Result<Option<Licensed>, ApiError> {
    let (secrets, product) = (&ctx.license_secrets, &pool.spec.product);
    let (mut rivals, mut unread) = (Vec::new(), false);
    let is_rival = |other: &LicensePool| {
        other.spec.product == *product
            && !other.spec.licenses.is_empty()
            && ObjectName::of(other) != ObjectName::of(pool)
    };
    for other in ctx.world.pools.state_filter(is_rival) {
        // An error is the other pool's to tell; what is known of it counts for now.
        let read = secrets.of(&ctx.world, &other).await;
        unread |= read.is_err();
        let read = read.unwrap_or_else(|_| secrets.last_of(&other));
        rivals.push((other, read));
    }
    let own = secrets.of(&ctx.world, pool).await?;
    let listed = || rivals.iter().map(|(pool, read)| (&**pool, &**read)).chain([(pool, &*own)]);
    let is_bound = |read: &ReadLicense| {
        read.as_ref().is_ok_and(|one| matches!(one.license().binding, Some(Binding::Cluster(_))))
    };
    let bound = listed().any(|(_, read)| read.iter().any(is_bound));
    let cluster = if bound { secrets.cluster(&ctx.world).await? } else { None };
    let place = Place::Here { cluster: cluster.as_deref(), host: None };
    let licensing =
        Licensing { trust: secrets.trust(), place, now, cluster_unknown: bound && cluster.is_none() };
    let holders = compile::holders(listed(), &licensing);
    let mut licensed = compile::licensed(pool, &own, &holders, &licensing);
    if let Some(licensed) = licensed.as_mut().filter(|_| unread) {
        licensed.look_again(now + LOOK_AGAIN);
    }
    Ok(licensed)
}

fn ledger_name(pool: &LicensePool) -> ObjectName {
    ObjectName { namespace: pool.namespace().unwrap_or_default(), name: pool.spec.product.clone() }
}

async fn keys(ctx: &Context, grant: &LicenseGrant) -> Result<Result<Vec<PlanKey>, GrantReason>, ApiError> {
    if let Some(brought) = ctx.key_secrets.brought(&ctx.world, grant).await? {
        return Ok(brought.map(|key| vec![compile::hash(&key)]));
    }
    Ok(made_key(&ctx.world, grant).map(|key| key.iter().map(compile::hash).collect()))
}

/// The key that was made for a grant: its Secret is where it is kept.
fn made_key(world: &World, grant: &LicenseGrant) -> Result<Option<ActivationKey>, GrantReason> {
    let name = ObjectName::of(grant);
    let secret = get(&world.secrets, &name.namespace, &names::binding(&name.name));
    secret.as_deref().and_then(|secret| binding::key_of(grant, secret)).transpose()
}

fn allowed(world: &World, pool: &LicensePool, grant: &LicenseGrant) -> bool {
    let namespace = grant.namespace().unwrap_or_default();
    let found = world.namespaces.get(&ObjectRef::new(&namespace));
    let labels = found.map(|namespace| namespace.labels().clone()).unwrap_or_default();
    compile::allows(pool, &namespace, &labels)
}

fn live(world: &World, pool: &LicensePool, name: &ObjectName) -> Live {
    let (namespace, product, server) = (&name.namespace, &pool.spec.product, names::server(pool));
    Live {
        plan: get(&world.plans, namespace, product),
        ledger: get(&world.ledgers, namespace, product),
        lease: world.leases.get(&ObjectRef::new(&names::lease(product)).within(namespace)).is_some(),
        service: get(&world.services, namespace, &names::service(&name.name)),
        deployment: get(&world.deployments, namespace, &server),
        config_map: get(&world.config_maps, namespace, &server),
        disruption_budget: get(&world.disruption_budgets, namespace, &server),
        network_policy: get(&world.network_policies, namespace, &server),
        service_account: get(&world.service_accounts, namespace, &server),
        role: get(&world.roles, namespace, &server),
        role_binding: get(&world.role_bindings, namespace, &server),
        tls: get(&world.secrets, namespace, &names::tls_secret(&server)),
        peer: get(&world.secrets, namespace, &names::peer_secret(&server)),
        keys: get(&world.secrets, namespace, &names::keys_secret(&server)),
    }
}
