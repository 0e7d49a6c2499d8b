//! The 1453 server: TLS, gRPC and JSON on one port, the ledgers behind it, and the way to other replicas.
//!
//! Two ways in: [`standalone`] (manifests and files) and [`kubernetes`] (plans and ledgers of the API server). Both
//! make a [`Service`], and keep its directory of pools up to date.

mod admin;
mod calls;
mod clock;
mod connect;
mod decide;
mod directory;
mod driver;
mod error;
mod grpc;
mod handover;
mod http;
mod json;
mod keys;
pub mod kubernetes;
mod listener;
#[cfg(test)]
mod memory;
mod metrics;
mod openapi;
mod peer_service;
mod peers;
mod pool;
mod request;
#[cfg(test)]
#[path = "../../tests/sim/mod.rs"]
mod sim;
pub mod standalone;
mod store;
mod tls;
mod watch;
mod words;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use genie_ledger::Holder;
use genie_proto::peer::peer_server::PeerServer;
use genie_proto::v1::licensing_server::LicensingServer;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use calls::Licensing;
use clock::{SharedClock, SystemClock};
use connect::Connect;
use decide::Patience;
use directory::Directory;
use driver::{Identity, Nonces};
use keys::Keys;
use metrics::Metrics;
pub use openapi::document as openapi_document;
use peer_service::PeerService;
use peers::Peers;
use pool::Pool;
use store::{Observation, Store};
use tls::{PeerTls, ServerTls};

use crate::license::{Keyring, PlanView};

/// Observations that wait for a driver; a watch that outruns it is slowed down.
const MAX_OBSERVATIONS: usize = 64;

/// A listener could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}; free the address, or choose another with {flag}")]
pub struct ListenError {
    address: SocketAddr,
    flag: &'static str,
    error: std::io::Error,
}

async fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, ListenError> {
    TcpListener::bind(address).await.map_err(|error| ListenError { address, flag, error })
}

/// What both ways in share: the calls, and who answers them.
#[derive(Clone)]
struct Service {
    licensing: Arc<Licensing>,
    directory: Arc<Directory>,
    metrics: Arc<Metrics>,
    nonces: Nonces,
}

/// What a [`Service`] rests on.
struct Parts {
    clock: SharedClock,
    nonces: Nonces,
    keyring: Keyring,
    /// The way to other replicas; None: there are none.
    connect: Option<Arc<dyn Connect>>,
}

impl Parts {
    /// Of a real machine.
    fn of_machine(keyring: Keyring, connect: Option<Arc<dyn Connect>>) -> Self {
        Self { clock: Arc::new(SystemClock), nonces: driver::random_nonces(), keyring, connect }
    }
}

/// A pool that this process serves: its part in the ledger, and the task that drives it.
struct Served {
    pool: Arc<Pool>,
    stop: CancellationToken,
    /// The ledger is given up, as far as it could be.
    left: CancellationToken,
    driver: JoinHandle<()>,
}

impl Service {
    fn new(parts: Parts) -> Self {
        let Parts { clock, nonces, keyring, connect } = parts;
        let directory = Arc::new(Directory::default());
        let metrics = Arc::new(Metrics::new(directory.clone()));
        let licensing = Arc::new(Licensing {
            clock: clock.clone(),
            directory: directory.clone(),
            keys: Keys::new(keyring),
            peers: Arc::new(Peers::new(clock, connect)),
            patience: Patience::default(),
            metrics: metrics.clone(),
        });
        Self { licensing, directory, metrics, nonces }
    }

    /// The calls of clients, in gRPC and JSON.
    async fn client_routes(&self) -> Router {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<LicensingServer<grpc::Grpc>>().await;
        let licensing = LicensingServer::new(grpc::Grpc(self.licensing.clone()))
            .max_decoding_message_size(listener::MAX_BODY);
        let grpc = Routes::new(licensing).add_service(health).into_axum_router();
        // Of the two sets of routes, JSON's fallback is the one that speaks to people.
        grpc.reset_fallback().merge(json::router(self.licensing.clone()))
    }

    /// The calls of other replicas.
    fn peer_routes(&self) -> Router {
        Routes::new(PeerServer::new(PeerService::new(self.licensing.clone()))).into_axum_router()
    }

    /// Serves clients until `stop`.
    async fn serve_clients(self, listener: TcpListener, tls: Arc<ServerTls>, stop: CancellationToken) {
        let router = listener::bounded(self.client_routes().await);
        let handshake = move |tcp| {
            let acceptor = tls.acceptor();
            async move { acceptor.accept(tcp).await }
        };
        listener::serve(listener, router, Some(self.metrics.clone()), stop, handshake).await;
    }

    /// Serves other replicas until `stop`.
    async fn serve_peers(self, listener: TcpListener, tls: Arc<PeerTls>, stop: CancellationToken) {
        let handshake = move |tcp| {
            let tls = tls.clone();
            async move { tls.accept(tcp).await }
        };
        listener::serve(listener, self.peer_routes(), Some(self.metrics.clone()), stop, handshake).await;
    }

    /// Begins to serve a pool from `store`, whose watch feeds `observations`, as a replica at `place`.
    fn begin<S: Store>(
        &self,
        view: Arc<PlanView>,
        place: &Holder,
        store: S,
        observations: mpsc::Receiver<Observation>,
        prepare: impl FnOnce(&Pool),
    ) -> Served {
        let identity = Identity { place: place.clone(), nonces: self.nonces.clone() };
        let pool = Arc::new(Pool::new(self.licensing.clock.clone(), view, identity.fresh()));
        prepare(&pool);
        let (stop, left) = (CancellationToken::new(), CancellationToken::new());
        let driver = {
            let (pool, peers, stop) = (pool.clone(), self.licensing.peers.clone(), stop.clone());
            let (store, leaves, mut observations) =
                (Arc::new(store), left.clone().drop_guard(), observations);
            async move {
                driver::drive(pool.clone(), peers, store, &mut observations, identity, stop).await;
                drop(leaves);
                // Calls that still come are passed on to whoever owns the ledger now.
                while let Some(observation) = observations.recv().await {
                    pool.observe(observation);
                }
            }
        };
        Served { pool, stop, left, driver: tokio::spawn(driver) }
    }
}

impl Served {
    /// Hands the sessions over and gives the ledger up, within a deadline. From then on, until [`end`](Self::end), this
    /// process knows who owns it.
    async fn leave(&self) {
        self.stop.cancel();
        self.left.cancelled().await;
    }

    /// Leaves, and ends.
    async fn end(self) {
        self.leave().await;
        self.driver.abort();
        if let Err(error) = self.driver.await
            && error.is_panic()
        {
            tracing::error!(ledger = %self.pool.id, %error, "a driver ended badly");
        }
    }
}
