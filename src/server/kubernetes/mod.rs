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

use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use folder::{read_keyring, read_products, reload_keys};
use pools::Pools;

use super::tls::{PeerTls, ServerTls, TlsError};
use super::watch::{Changes, WatchError};
use super::{ListenError, Parts, Service, listen};
use crate::license::MacKeysError;

const API_CONNECT_DEADLINE: Duration = Duration::from_secs(2);

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

/// Runs a server until `stop`; gives its ledgers up before it returns.
pub async fn run(config: Config, stop: CancellationToken) -> Result<(), StartError> {
    let tls = Arc::new(ServerTls::read(&config.folder.join("tls"))?);
    let peer_tls = Arc::new(PeerTls::read(&config.folder.join("peer"))?);
    let keyring = read_keyring(&config.folder.join("keys"))?;
    let mut changes = Changes::below(&[&config.folder])?;
    let clients = listen(config.listen, "--listen").await?;
    let peers = listen(config.peer_listen, "--peer-listen").await?;
    let probes = listen(config.http_listen, "--http-listen").await?;
    let service = Service::new(Parts::of_machine(keyring, Some(Arc::new(peer_tls.clone()))));
    let (mut pools, mut plans) = Pools::new(&config, client().await?, service.clone());

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
