//! A server in a cluster: serves the products that its configuration lists, each as its SeatPlan says.
//!
//! Takes the mounted folder (pools/, tls/, peer/, keys/) and the API server; writes nothing but ledgers and Leases.

mod folder;
mod pods;
mod pools;
mod witness;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use genie_ledger::{Holder, Nonce, UnixSeconds};
use jiff::Timestamp;
use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use folder::{read_keyring, read_products, reload_keys};
use pods::address;
use pools::Pools;
use witness::Witness;

use super::connect::{Connect, PeerChannel};
use super::tls::{PeerTls, ServerTls, TlsError};
use super::watch::{Changes, WatchError};
use super::{ListenError, Parts, Service, listen};
use crate::license::MacKeysError;

const API_CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// How long a server that was told to stop still takes new connections, and passes their calls on: it takes about that
/// long until no node sends clients to it any more. With the time that open calls then have, it is well below the
/// Deployment's terminationGracePeriodSeconds.
const LINGER: Duration = Duration::from_secs(5);

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
    /// The value of the label app.kubernetes.io/instance of this pod, by which it knows the others of its Deployment;
    /// None: it knows nothing of them.
    pub instance: Option<String>,
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
    /// The MAC keys.
    #[error("cannot use the MAC keys in {path}: {error}", path = path.display())]
    Keys {
        /// The folder.
        path: PathBuf,
        /// Which entry, and what is wrong with it.
        error: MacKeysError,
    },
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

/// The other replicas of this server.
struct Others {
    tls: Arc<PeerTls>,
    witness: Witness,
}

impl Connect for Others {
    fn connect(&self, address: &str) -> PeerChannel {
        self.tls.connect(address)
    }

    fn successors(&self) -> Vec<String> {
        self.witness.successors()
    }
}

/// Runs a server until `stop`. Then it hands its ledgers over, passes calls on to who owns them now, and ends when it is
/// asked no more, or at a deadline.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), StartError> {
    let tls = Arc::new(ServerTls::read(&config.folder.join("tls"))?);
    let peer_tls = Arc::new(PeerTls::read(&config.folder.join("peer"))?);
    let keyring = read_keyring(&config.folder.join("keys"))?;
    let mut changes = Changes::below(&config.folder)?;
    let clients = listen(config.listen, "--listen").await?;
    let peers = listen(config.peer_listen, "--peer-listen").await?;
    let probes = listen(config.http_listen, "--http-listen").await?;
    let (client, me) = (client().await?, identity(&config));
    let witness = Witness::begin(client.clone(), &config, me.clone());
    let others = Others { tls: peer_tls.clone(), witness: witness.clone() };
    let service = Service::new(Parts::of_machine(keyring, Some(Arc::new(others))));
    let (mut pools, mut plans) = Pools::new(&config.namespace, client, me, witness, service.clone());

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
                reload_keys(&config.folder.join("keys"), &service.licensing.keys);
                match read_products(&config.folder) {
                    Ok(products) => pools.follow(products),
                    Err(error) => warn!(%error, "the products stay as they were"),
                }
            }
            Some((product, plan)) = plans.recv() => pools.apply(&product, plan).await,
        }
    }
    info!("stopping: handing the ledgers over");
    tokio::join!(pools.leave(), tokio::time::sleep(LINGER));
    end.cancel();
    serving.join_all().await;
    pools.end().await;
    Ok(())
}

/// This process, but for its nonces.
fn identity(config: &Config) -> Holder {
    Holder {
        nonce: Nonce("".into()),
        pod_uid: config.pod_uid.as_str().into(),
        pod_name: config.pod_name.as_str().into(),
        node: config.node.as_str().into(),
        address: address(&config.pod_ip, config.peer_listen.port()).into(),
        started: now_or_later(),
    }
}

/// Rounded up, so that a container that ended in the second of its start is not taken for this process's (R6b).
fn now_or_later() -> UnixSeconds {
    UnixSeconds(u64::try_from(Timestamp::now().as_second()).map_or(0, |seconds| seconds + 1))
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
