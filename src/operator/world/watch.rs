//! Watches: each fills one cache, and pulls the triggers of its kind after the cache has changed.

use std::{fmt::Debug, pin::Pin, sync::Arc};

use futures::{StreamExt, pin_mut};
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{Namespace, Secret},
};
use kube::{
    Api, Client, Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{
        WatchStreamExt,
        reflector::{Store, store, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::task::JoinSet;
use tracing::warn;

use super::{Triggers, World, triggers::Pulls};
use crate::{
    operator::{metrics::Metrics, names, out_of_service::NodeState},
    rewatch::Again,
};

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;
type Start = Box<dyn FnOnce(Arc<World>, Triggers) -> (Task, Ready) + Send>;
type Ready = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A kind in a namespace; None: in all.
pub fn within<K>(client: Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    }
}

/// Watches that are wanted and not begun.
pub(super) struct Watches {
    client: Client,
    namespace: Option<String>,
    metrics: Arc<Metrics>,
    starts: Vec<Start>,
}

impl Watches {
    pub(super) fn new(client: Client, namespace: Option<&str>, metrics: Arc<Metrics>) -> Self {
        Self { client, namespace: namespace.map(str::to_owned), metrics, starts: Vec::new() }
    }

    /// Every object of a kind.
    pub(super) fn all<K: Watched>(&mut self) -> Store<K> {
        self.add(self.api(), watcher::Config::default())
    }

    /// What the operator made, by its label.
    pub(super) fn managed<K: Watched>(&mut self) -> Store<K> {
        let config = watcher::Config::default().labels(&names::managed_selector());
        self.add(self.api(), config)
    }

    /// All namespaces, or the one.
    pub(super) fn namespaces(&mut self) -> Store<PartialObjectMeta<Namespace>> {
        let config = match &self.namespace {
            Some(name) => watcher::Config::default().fields(&format!("metadata.name={name}")),
            None => watcher::Config::default(),
        };
        let api = Api::all(self.client.clone());
        self.add(api, config)
    }

    /// All nodes; where this one namespace is, does not say on which of them its servers run.
    pub(super) fn nodes(&mut self) -> Store<NodeState> {
        let api = Api::all(self.client.clone());
        self.add(api, watcher::Config::default())
    }

    /// The names and versions of all Secrets, but of two types that are many and hold no activation key.
    pub(super) fn names_of_secrets(&mut self) -> Store<PartialObjectMeta<Secret>> {
        let fields = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token";
        let config = watcher::Config::default().fields(fields);
        self.add(self.api(), config)
    }

    /// One Secret.
    pub(super) fn one_secret(&mut self, namespace: &str, name: &str) -> Store<Secret> {
        let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        self.add(api, config)
    }

    /// Begins them all and waits until all caches are filled.
    pub(super) async fn start(self, world: &Arc<World>, triggers: &Triggers, tasks: &mut JoinSet<()>) {
        let mut filled = Vec::new();
        for start in self.starts {
            let (task, ready) = start(world.clone(), triggers.clone());
            tasks.spawn(task);
            filled.push(ready);
        }
        futures::future::join_all(filled).await;
    }

    fn api<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        within(self.client.clone(), self.namespace.as_deref())
    }

    fn add<K: Watchable>(&mut self, api: Api<K>, config: watcher::Config) -> Store<K> {
        let (reader, writer) = store();
        let (filled, metrics) = (reader.clone(), self.metrics.clone());
        self.starts.push(Box::new(move |world, triggers| {
            let task = run(watcher(api, config), writer, world, triggers, metrics);
            let ready = async move {
                // An error says that the watch has ended, and then the whole term is about to.
                let _ = filled.wait_until_ready().await;
            };
            (Box::pin(task), Box::pin(ready))
        }));
        reader
    }
}

/// A kind that can be kept in a cache, and whose changes mean something.
pub(super) trait Watchable:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + Pulls + 'static
{
}

impl<K> Watchable for K where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + Pulls + 'static
{
}

/// One that stands in a namespace.
pub(super) trait Watched: Watchable + Resource<Scope = NamespaceResourceScope> {}

impl<K: Watchable + Resource<Scope = NamespaceResourceScope>> Watched for K {}

/// Takes off what nobody here reads; kubectl's annotation would hold the contents of a Secret that was applied.
fn forget(object: &mut impl ResourceExt) {
    object.managed_fields_mut().clear();
    object.annotations_mut().remove("kubectl.kubernetes.io/last-applied-configuration");
}

async fn run<K: Watchable>(
    stream: impl futures::Stream<Item = watcher::Result<Event<K>>> + Send,
    writer: Writer<K>,
    world: Arc<World>,
    triggers: Triggers,
    metrics: Arc<Metrics>,
) {
    let kind = <K as Resource>::kind(&());
    let events = stream.backoff(Again).modify(forget).reflect(writer);
    pin_mut!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Apply(object)) => object.changed(&world, &triggers).await,
            Ok(Event::Delete(object)) => object.deleted(&world, &triggers).await,
            // What was deleted while no watch stood leaves no event: after a list, everything is looked at.
            Ok(Event::InitDone) => triggers.everything(&world).await,
            Ok(Event::Init | Event::InitApply(_)) => {}
            Err(error) => {
                metrics.watch_failed(&kind);
                warn!(%kind, %error, "a watch broke; it is begun again");
            }
        }
    }
}
