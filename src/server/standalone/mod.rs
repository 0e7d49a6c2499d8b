//! Standalone mode: the same YAML, plan, ledger and protocol, with a directory in the place of the API server.
//!
//! Takes a manifest directory (read again when it changes) and a data directory; writes only the latter.

mod data;
mod keys;
mod pools;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use genie_proto::v1::admin_server::AdminServer;
use jiff::{SignedDuration, Timestamp};
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tracing::{info, warn};

use data::DataDir;
pub use data::DataError;
use pools::{Pools, Sources};

use super::admin::AdminService;
use super::store::file::FileStoreError;
use super::tls::{ServerTls, TlsError};
use super::watch::{Changes, WatchError};
use super::{ListenError, Parts, Service, listen};
use crate::vendor_keys::VendorKeysError;

/// A full disk may have been cleared by then.
const AGAIN: SignedDuration = SignedDuration::from_hours(1);

/// How a standalone server is told to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory of YAML manifests.
    pub manifests: PathBuf,
    /// Directory for keys, bindings and ledgers.
    pub data: PathBuf,
    /// File of the vendors whose licenses count; None: none do.
    pub vendor_keys: Option<PathBuf>,
    /// Client port.
    pub listen: SocketAddr,
    /// Port for /livez, /readyz and /metrics; None: not served.
    pub http_listen: Option<SocketAddr>,
}

/// Why a standalone server could not start.
#[derive(Debug, thiserror::Error)]
#[allow(private_interfaces)]
pub enum StartError {
    /// The data directory.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A ledger file.
    #[error(transparent)]
    Store(#[from] FileStoreError),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Watching the manifests.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The file of vendors' keys.
    #[error(transparent)]
    VendorKeys(#[from] VendorKeysError),
    /// A port.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A file in the place of a directory.
    #[error("{path} is a file: give --manifests the directory that holds it and the other manifests", path = path.display())]
    NotDirectory {
        /// What was given.
        path: PathBuf,
    },
    /// Nothing to serve.
    #[error("{path} has no pool that can be served{problems}", path = path.display())]
    Nothing {
        /// The manifest directory.
        path: PathBuf,
        /// What is wrong with what is there.
        problems: String,
    },
    /// The admin socket.
    #[error("cannot make the admin socket {path}: {error}", path = path.display())]
    Socket {
        /// Where.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
}

/// Runs a standalone server until `stop`; `serving` is called once, with the line to print, when it serves.
pub async fn run(
    config: Config,
    stop: CancellationToken,
    mut hangup: tokio::signal::unix::Signal,
    serving: impl FnOnce(&str),
) -> Result<(), StartError> {
    if config.manifests.is_file() {
        return Err(StartError::NotDirectory { path: config.manifests });
    }
    let data = DataDir::open(&config.data)?;
    let host = host_name();
    let mut renew_at = data.certify(config.listen, &host)?;
    let tls = Arc::new(ServerTls::read(&data.tls())?);
    let listener = listen(config.listen, "--listen").await?;
    let address = listener.local_addr().unwrap_or(config.listen);
    let (keyring, mut rotate_at) = data.keyring()?;
    let service = Service::new(Parts::of_machine(keyring, None));
    let mut changes = Changes::below(&config.manifests)?;
    let sources = Sources { manifests: config.manifests.clone(), vendor_keys: config.vendor_keys.clone() };
    let mut pools = Pools::new(sources, data, service.clone(), address, host.clone());
    pools.start()?;

    let end = CancellationToken::new();
    let mut running = JoinSet::new();
    running.spawn(service.clone().serve_clients(listener, tls.clone(), end.clone()));
    running.spawn(serve_admin(pools.admin_listener()?, pools.admin(), end.clone()));
    if let Some(address) = config.http_listen {
        let listener = listen(address, "--http-listen").await?;
        let ready = Arc::new(true.into());
        running.spawn(super::http::serve(listener, service.metrics.clone(), ready, end.clone()));
    }
    pools.settle().await;
    serving(&pools.first_line());
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = changes.next() => pools.reload(),
            Some(()) = hangup.recv() => pools.reload(),
            () = until(pools.next_change) => pools.time_passed(),
            () = until(rotate_at) => match pools.data.keyring() {
                Ok((keyring, next)) => {
                    service.licensing.keys.replace(keyring);
                    rotate_at = next;
                }
                Err(error) => {
                    warn!(%error, "the MAC key was not rotated; trying again in an hour");
                    rotate_at = Timestamp::now() + AGAIN;
                }
            },
            () = until(renew_at) => {
                match pools.data.certify(config.listen, &host) {
                    Ok(next) => renew_at = next,
                    Err(error) => {
                        warn!(%error, "the certificate was not renewed; trying again in an hour");
                        renew_at = Timestamp::now() + AGAIN;
                    }
                }
                if let Err(error) = tls.reload() {
                    warn!(%error, "the certificate stays as it was");
                }
            }
        }
    }
    info!("stopping: giving the ledgers up");
    pools.end().await;
    end.cancel();
    running.join_all().await;
    Ok(())
}

async fn until(time: Timestamp) {
    // In steps, since timers do not count suspend.
    loop {
        let left = time.duration_since(Timestamp::now());
        if left.is_negative() || left.is_zero() {
            return;
        }
        tokio::time::sleep(left.unsigned_abs().min(Duration::from_secs(60))).await;
    }
}

fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

async fn serve_admin(listener: UnixListener, admin: AdminService, stop: CancellationToken) {
    let router = Routes::new(AdminServer::new(admin)).into_axum_router();
    // Resolves when stopped; a failed accept is retried inside.
    let _ = axum::serve(listener, router).with_graceful_shutdown(async move { stop.cancelled().await }).await;
}
