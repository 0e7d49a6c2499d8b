//! What a leader does: fills the caches, then runs the controllers. Dropped, it stops at once.

use std::sync::Arc;

use futures::StreamExt;
use kube::{
    Client, Resource,
    runtime::{
        controller::{Action, Config, applier},
        events::{Recorder, Reporter},
        reflector::Store,
    },
};
use tokio::task::JoinSet;

use super::{
    Settings,
    board::Board,
    context::Context,
    generations::Generations,
    grant,
    http::Health,
    key_secrets::KeySecrets,
    ledger,
    license_secrets::LicenseSecrets,
    metrics::Metrics,
    names::FIELD_MANAGER,
    out_of_service::OutOfService,
    pool,
    world::{Queue, Scope, Triggers, World, queue},
    writer::Writer,
};

/// Objects of one kind that are reconciled at the same time: they wait for the API server, not for the processor.
const CONCURRENCY: u16 = 16;
/// Several events of one change (a rollout, our own writes) become one reconcile.
const DEBOUNCE: std::time::Duration = std::time::Duration::from_millis(100);

/// Acts until it is dropped.
pub async fn lead(
    client: Client,
    settings: Settings,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    generations: Arc<Generations>,
) {
    health.set_ready(false);
    let board = Arc::new(Board::default());
    let (triggers, pools, grants, ledgers) = Triggers::new(board.clone());
    let scope = Scope { namespace: settings.namespace.as_deref(), own_namespace: &settings.own_namespace };
    let mut watches = JoinSet::new();
    let world = World::watch(client.clone(), scope, triggers.clone(), metrics.clone(), &mut watches).await;
    health.set_ready(true);
    let reporter = Reporter { controller: FIELD_MANAGER.into(), instance: Some(settings.identity.clone()) };
    let ctx = Arc::new(Context {
        writer: Writer::new(client.clone(), metrics.clone()),
        recorder: Recorder::new(client.clone(), reporter),
        key_secrets: KeySecrets::new(client.clone()),
        license_secrets: LicenseSecrets::new(client.clone(), settings.vendor_keys.clone()),
        out_of_service: OutOfService::new(client),
        generations,
        usage: Default::default(),
        failures: Default::default(),
        world: world.clone(),
        board,
        triggers,
        metrics,
        settings,
    });
    tokio::join!(
        control(world.pools.clone(), pools, ctx.clone(), pool::reconcile, pool::retry),
        control(world.grants.clone(), grants, ctx.clone(), grant::reconcile, grant::retry),
        control(world.ledgers.clone(), ledgers, ctx, ledger::reconcile, ledger::retry),
    );
}

/// Runs one controller.
async fn control<K, F, E>(
    store: Store<K>,
    triggers: Queue<K>,
    ctx: Arc<Context>,
    reconcile: fn(Arc<K>, Arc<Context>) -> F,
    retry: fn(Arc<K>, &E, Arc<Context>) -> Action,
) where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Action, E>> + Send + 'static,
    E: std::error::Error + Send + 'static,
{
    let config = Config::default().debounce(DEBOUNCE).concurrency(CONCURRENCY);
    let reconcile = move |object, ctx| Box::pin(reconcile(object, ctx));
    applier(reconcile, retry, ctx, store, queue(triggers).boxed(), config)
        // Failures are logged where their category is known; an object that is gone needs nothing.
        .for_each(|_| std::future::ready(()))
        .await;
}
