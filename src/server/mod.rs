//! The 1453 server: TLS, gRPC and JSON on one port, the ledgers behind it, and the way to other replicas.
//!
//! Two ways in: [`standalone`] (manifests and files) and [`kubernetes`] (plans and ledgers of the API server). Both
//! make a [`Service`], and keep its directory of pools up to date.

mod admin;
mod calls;
mod clock;
mod directory;
mod driver;
mod error;
mod grpc;
mod http;
mod json;
pub mod kubernetes;
mod listener;
mod metrics;
mod openapi;
mod peer_service;
mod peers;
mod pool;
mod request;
pub mod standalone;
mod store;
mod tls;
mod watch;
mod words;

use std::net::SocketAddr;
use std::sync::Arc;

use genie_ledger::Holder;
use genie_proto::peer::peer_server::PeerServer;
use genie_proto::v1::licensing_server::LicensingServer;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use calls::Licensing;
use directory::Directory;
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
}

/// A pool that this process serves: its part in the ledger, and the task that drives it.
struct Served {
    pool: Arc<Pool>,
    stop: CancellationToken,
    driver: JoinHandle<()>,
}

impl Service {
    fn new(keyring: Keyring, peers: Peers) -> Self {
        let (directory, metrics) = (Arc::new(Directory::default()), Arc::new(Metrics::new()));
        let licensing =
            Arc::new(Licensing { directory: directory.clone(), keyring, peers, metrics: metrics.clone() });
        Self { licensing, directory, metrics }
    }

    /// Serves clients until `stop`.
    async fn serve_clients(self, listener: TcpListener, tls: Arc<ServerTls>, stop: CancellationToken) {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_serving::<LicensingServer<grpc::Grpc>>().await;
        let licensing = LicensingServer::new(grpc::Grpc(self.licensing.clone()))
            .max_decoding_message_size(listener::MAX_BODY);
        let grpc = Routes::new(licensing).add_service(health).into_axum_router();
        // Of the two sets of routes, JSON's fallback is the one that speaks to people.
        let router = listener::bounded(grpc.reset_fallback().merge(json::router(self.licensing.clone())));
        let handshake = move |tcp| {
            let acceptor = tls.acceptor();
            async move { acceptor.accept(tcp).await }
        };
        listener::serve(listener, router, self.metrics.clone(), stop, handshake).await;
    }

    /// Serves other replicas until `stop`.
    async fn serve_peers(self, listener: TcpListener, tls: Arc<PeerTls>, stop: CancellationToken) {
        let router = Routes::new(PeerServer::new(PeerService(self.licensing.clone()))).into_axum_router();
        let handshake = move |tcp| {
            let tls = tls.clone();
            async move { tls.accept(tcp).await }
        };
        listener::serve(listener, router, self.metrics.clone(), stop, handshake).await;
    }
}

impl Served {
    /// Begins to serve a pool from `store`, whose watch feeds `observations`.
    fn begin<S: Store>(
        view: Arc<PlanView>,
        identity: &Holder,
        store: S,
        observations: mpsc::Receiver<Observation>,
        prepare: impl FnOnce(&Pool),
    ) -> Self {
        let me = driver::fresh(identity);
        let pool = Arc::new(Pool::new(view, me.clone()));
        prepare(&pool);
        let stop = CancellationToken::new();
        let driver =
            driver::drive(pool.clone(), Arc::new(store), observations, identity.clone(), me, stop.clone());
        let driver = tokio::spawn(driver);
        Self { pool, stop, driver }
    }

    /// Gives the ledger up, so that another may take it at once.
    async fn end(self) {
        self.stop.cancel();
        if let Err(error) = self.driver.await {
            tracing::error!(ledger = %self.pool.id, %error, "a driver ended badly");
        }
    }
}
