//! A server in a cluster: serves the products that its configuration lists, each as its SeatPlan says.
//!
//! Takes the mounted folder (pools/, tls/, peer/, keys/) and the API server; writes nothing but ledgers and Leases.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::TryStreamExt;
use futures::future::join_all;
use genie_ledger::{Holder, Nonce};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::directory::Directory;
use super::peers::Peers;
use super::store::kubernetes::{KubernetesStore, watch};
use super::tls::{PeerTls, ServerTls, TlsError};
use super::watch::{Changes, WatchError};
use super::{ListenError, MAX_OBSERVATIONS, Served, Service, listen};
use crate::api::{SeatPlan, SeatPlanSpec};
use crate::license::{Keyring, KeyringError, PlanView};

/// Products of one server; a group of two hundred is the design's example.
const MAX_PRODUCTS: usize = 1_000;
/// Largest configuration file: a thousand products of 63 characters.
const MAX_FILE: u64 = 64 << 10;
const API_CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// Plans that wait to be put in force.
const MAX_PLANS: usize = 64;

/// How a server in a cluster is told to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Folder with pools/products, tls/, peer/ and keys/.
    pub folder: PathBuf,
    /// Client port.
    pub listen: SocketAddr,
    /// Port for other replicas.
    pub peer_listen: SocketAddr,
    /// Port for probes and metrics.
    pub http_listen: SocketAddr,
    /// Namespace of this pod, and of its pools.
    pub namespace: String,
    /// Name, UID, node and IP of this pod.
    pub pod_name: String,
    /// See `pod_name`.
    pub pod_uid: String,
    /// See `pod_name`.
    pub node: String,
    /// See `pod_name`.
    pub pod_ip: String,
}

/// Why a server in a cluster could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A configuration file.
    #[error("cannot read {path}: {error}; it is mounted by the Deployment that the operator makes", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A MAC key.
    #[error("{path} is not a MAC key: {what}", path = path.display())]
    Key {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// The MAC keys together.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// Certificates.
    #[error(transparent)]
    #[allow(private_interfaces)]
    Tls(#[from] TlsError),
    /// Watching the folder.
    #[error(transparent)]
    #[allow(private_interfaces)]
    Watch(#[from] WatchError),
    /// A port.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The API server's configuration.
    #[error("cannot make a client of the API server: {0}")]
    Client(String),
}

/// Runs a server until `stop`; gives its ledgers up before it returns.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), StartError> {
    let tls = Arc::new(ServerTls::read(&config.folder.join("tls"))?);
    let peer_tls = Arc::new(PeerTls::read(&config.folder.join("peer"))?);
    let keyring = read_keyring(&config.folder.join("keys"))?;
    let mut changes = Changes::below(&[&config.folder])?;
    let clients = listen(config.listen, "--listen").await?;
    let peers = listen(config.peer_listen, "--peer-listen").await?;
    let probes = listen(config.http_listen, "--http-listen").await?;
    let service = Service::new(keyring, Peers::new(peer_tls.clone()));
    let (mut pools, mut plans) = Pools::new(&config, client().await?, service.directory.clone());

    let end = CancellationToken::new();
    let mut serving = JoinSet::new();
    serving.spawn(service.clone().serve_clients(clients, tls.clone(), end.clone()));
    serving.spawn(service.clone().serve_peers(peers, peer_tls.clone(), end.clone()));
    serving.spawn(super::http::serve(probes, service.metrics.clone(), pools.ready.clone(), end.clone()));
    info!(listen = %config.listen, namespace = %config.namespace, "serving");
    pools.follow(read_products(&config.folder)?);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = changes.next() => {
                reload(&tls, &peer_tls);
                match read_products(&config.folder) {
                    Ok(products) => pools.follow(products),
                    Err(error) => warn!(%error, "the products stay as they were"),
                }
            }
            Some((product, plan)) = plans.recv() => pools.apply(&product, plan).await,
        }
    }
    info!("stopping: giving the ledgers up");
    pools.end().await;
    end.cancel();
    serving.join_all().await;
    Ok(())
}

fn reload(tls: &ServerTls, peer_tls: &PeerTls) {
    for result in [tls.reload(), peer_tls.reload()] {
        if let Err(error) = result {
            warn!(%error, "the certificate stays as it was");
        }
    }
}

/// A client that never retries: for a Lease, a retry after a time-out is a lie about when it was sent.
async fn client() -> Result<Client, StartError> {
    let mut config = kube::Config::infer().await.map_err(|error| StartError::Client(error.to_string()))?;
    config.default_retry = false;
    config.connect_timeout = Some(API_CONNECT_DEADLINE);
    Client::try_from(config).map_err(|error| StartError::Client(error.to_string()))
}

fn read(path: &Path) -> Result<Vec<u8>, StartError> {
    let bounded = || {
        let length = fs::metadata(path)?.len();
        if length > MAX_FILE {
            Err(io::Error::other(format!("it has {length} bytes")))
        } else {
            fs::read(path)
        }
    };
    bounded().map_err(|error| StartError::Read { path: path.to_owned(), error })
}

fn read_products(folder: &Path) -> Result<BTreeSet<String>, StartError> {
    let text = read(&folder.join("pools").join("products"))?;
    let text = String::from_utf8_lossy(&text);
    Ok(text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take(MAX_PRODUCTS)
        .map(str::to_owned)
        .collect())
}

fn read_keyring(folder: &Path) -> Result<Keyring, StartError> {
    let key_error = |path: &Path, what| StartError::Key { path: path.to_owned(), what };
    let path = folder.join("primary");
    let primary = String::from_utf8_lossy(&read(&path)?)
        .trim()
        .parse()
        .map_err(|_| key_error(&path, "it must hold the number of the signing key"))?;
    let entries =
        fs::read_dir(folder).map_err(|error| StartError::Read { path: folder.to_owned(), error })?;
    let mut keys = BTreeMap::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let Some(number) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
        let key = read(&path)?.try_into().map_err(|_| key_error(&path, "it must hold 32 bytes"))?;
        keys.insert(number, key);
    }
    Ok(Keyring::new(primary, keys)?)
}

type PlanChange = (String, Option<SeatPlanSpec>);

/// The pools of this server: those it follows, and those whose plan it has.
struct Pools {
    namespace: String,
    client: Client,
    identity: Holder,
    directory: Arc<Directory>,
    sender: mpsc::Sender<PlanChange>,
    followed: BTreeMap<String, CancellationToken>,
    served: BTreeMap<String, Served>,
    /// Every followed product has its plan.
    ready: Arc<AtomicBool>,
}

impl Pools {
    fn new(config: &Config, client: Client, directory: Arc<Directory>) -> (Self, mpsc::Receiver<PlanChange>) {
        let (sender, receiver) = mpsc::channel(MAX_PLANS);
        let identity = Holder {
            nonce: Nonce("".into()),
            pod_uid: config.pod_uid.as_str().into(),
            pod_name: config.pod_name.as_str().into(),
            node: config.node.as_str().into(),
            address: address(&config.pod_ip, config.peer_listen.port()).into(),
        };
        let pools = Self {
            namespace: config.namespace.clone(),
            client,
            identity,
            directory,
            sender,
            followed: BTreeMap::new(),
            served: BTreeMap::new(),
            ready: Arc::new(AtomicBool::new(false)),
        };
        (pools, receiver)
    }

    /// Follows the plans of exactly these products.
    fn follow(&mut self, products: BTreeSet<String>) {
        let gone: Vec<String> =
            self.followed.keys().filter(|product| !products.contains(*product)).cloned().collect();
        for product in gone {
            if let Some(stop) = self.followed.remove(&product) {
                info!(product, "no longer followed");
                stop.cancel();
                self.discard(&product);
            }
        }
        for product in products {
            if !self.followed.contains_key(&product) {
                let stop = CancellationToken::new();
                let api = Api::namespaced(self.client.clone(), &self.namespace);
                tokio::spawn(follow_plan(api, product.clone(), self.sender.clone(), stop.clone()));
                self.followed.insert(product, stop);
            }
        }
        self.tell_ready();
    }

    /// Puts a plan in force. A plan that is gone changes nothing: whoever deleted it by mistake gets it back from
    /// the operator, and a deleted pool leaves the list of products.
    async fn apply(&mut self, product: &str, plan: Option<SeatPlanSpec>) {
        let Some(plan) = plan.filter(|_| self.followed.contains_key(product)) else { return };
        let view = match PlanView::new(&self.namespace, plan) {
            Ok(view) => Arc::new(view),
            Err(error) => return warn!(product, %error, "the plan in force stays"),
        };
        match self.served.get(product) {
            Some(served) => served.pool.configure(view),
            None => {
                info!(product, "serving");
                let (sender, observations) = mpsc::channel(MAX_OBSERVATIONS);
                watch(self.client.clone(), &view.ledger, sender);
                let store = KubernetesStore::new(self.client.clone(), &view.ledger);
                let served = Served::begin(view, &self.identity, store, observations, |_| {});
                self.served.insert(product.to_owned(), served);
            }
        }
        self.publish();
    }

    fn discard(&mut self, product: &str) {
        if let Some(served) = self.served.remove(product) {
            tokio::spawn(served.end());
            self.publish();
        }
    }

    fn publish(&self) {
        self.directory.replace(self.served.values().map(|served| served.pool.clone()).collect());
        self.tell_ready();
    }

    fn tell_ready(&self) {
        let ready = self.followed.keys().all(|product| self.served.contains_key(product));
        self.ready.store(ready, Ordering::Relaxed);
    }

    async fn end(mut self) {
        self.ready.store(false, Ordering::Relaxed);
        self.followed.values().for_each(CancellationToken::cancel);
        join_all(std::mem::take(&mut self.served).into_values().map(Served::end)).await;
    }
}

fn address(ip: &str, port: u16) -> String {
    if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
}

/// Sends on what the watch of one plan shows, until `stop`.
async fn follow_plan(
    api: Api<SeatPlan>,
    product: String,
    plans: mpsc::Sender<PlanChange>,
    stop: CancellationToken,
) {
    let config = watcher::Config::default().fields(&format!("metadata.name={product}"));
    let mut events = std::pin::pin!(watcher(api, config).default_backoff());
    loop {
        let event = tokio::select! {
            event = events.try_next() => event,
            () = stop.cancelled() => return,
        };
        let plan = match event {
            Ok(Some(Event::Apply(plan) | Event::InitApply(plan))) => Some(plan.spec),
            Ok(Some(Event::Delete(_))) => None,
            Ok(Some(Event::Init | Event::InitDone)) => continue,
            Ok(None) => return,
            Err(error) => {
                tracing::debug!(product, %error, "the watch of a plan was interrupted");
                continue;
            }
        };
        if plans.send((product.clone(), plan)).await.is_err() {
            return;
        }
    }
}
