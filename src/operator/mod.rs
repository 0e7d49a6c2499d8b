//! The operator: pools and grants become servers on port 1453, and their status tells how it went.
//!
//! One controller a folder (`pool`, `grant`; `ledger` is one small file), each in the steps observe → validate → build →
//! apply → status. `world` watches, `writer` writes, `election` says who acts. May use `compile`, `license` and `api`.

mod board;
mod budget;
mod ca;
mod conditions;
mod context;
mod diff;
mod election;
mod error;
pub(crate) mod generations;
mod grant;
mod http;
mod key_secrets;
mod lead;
mod ledger;
mod license_secrets;
mod metrics;
mod names;
mod out_of_service;
mod pool;
mod remember;
mod time;
mod world;
mod writer;

use std::{net::SocketAddr, sync::Arc};

use jiff::SignedDuration;
use kube::{Client, Config};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::license::document::TrustedKeys;

use self::{election::Election, generations::Generations, http::Health, metrics::Metrics};

/// As the operator was started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Only this namespace; None: all.
    pub namespace: Option<String>,
    /// The namespace of the operator itself: of its election Lease and its CA.
    pub own_namespace: String,
    /// Name of this process among its replicas.
    pub identity: String,
    /// Image of the servers, where a pool does not say another.
    pub server_image: String,
    /// Such as `cluster.local`.
    pub cluster_domain: String,
    /// How long a MAC key signs.
    pub key_rotation_interval: SignedDuration,
    /// Whose licenses count, and for which products.
    pub vendor_keys: TrustedKeys,
    /// Where /livez, /readyz and /metrics are answered.
    pub http_listen: SocketAddr,
}

/// The operator ended, and was not told to.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The port is taken, or the address is not this machine's.
    #[error("cannot listen on {address}: {source}; choose another --http-listen")]
    Listen {
        /// As it was given.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The configuration makes no client.
    #[error("cannot make a client of the API server: {0}; check the kubeconfig or the pod's ServiceAccount")]
    Client(#[source] kube::Error),
}

/// Acts whenever this process leads, until `stop`.
pub async fn run(
    mut config: Config,
    settings: Settings,
    stop: CancellationToken,
) -> Result<(), OperatorError> {
    // A reconcile that failed comes again by itself; a client that retries on its own would outlive its deadline, and the
    // election's.
    config.default_retry = false;
    let client = Client::try_from(config).map_err(OperatorError::Client)?;
    let address = settings.http_listen;
    let listen = |source| OperatorError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let (metrics, health) = (Arc::new(Metrics::default()), Arc::new(Health::default()));
    let answers = tokio::spawn(http::serve(listener, health.clone(), metrics.clone(), stop.clone()));
    let election = Election::new(client.clone(), &settings.own_namespace, settings.identity.clone());
    health.set_ready(true);
    let generations = Arc::new(Generations::default());
    let wait = async || {
        tokio::select! {
            term = election.lead(&stop) => term,
            never = remember::remember(client.clone(), settings.namespace.as_deref(), &generations) => match never {},
        }
    };
    while let Some(term) = wait().await {
        metrics.leading(true);
        // Dropped at the end of the term in the middle of whatever it does: each write stands for itself.
        tokio::select! {
            () = lead::lead(client.clone(), settings.clone(), metrics.clone(), health.clone(), generations.clone()) => {}
            () = election.hold(term, &stop) => {}
        }
        metrics.leading(false);
        health.set_ready(true);
    }
    // It ends by `stop`; an error of accept is logged by it and no reason to fail now.
    let _ = answers.await;
    Ok(())
}
