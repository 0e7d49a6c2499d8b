//! `genie-lm serve`: answers on port 1453, from a directory of manifests or from a cluster's plans.

use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::exit::warn;
use super::{Exit, Failure, Output, logging, runtime};
use crate::server::{kubernetes, standalone};

/// Serve seats on port 1453.
///
/// Standalone: `serve --manifests DIR --data DIR` reads LicensePool and LicenseGrant objects from YAML files (again
/// when they change, or on SIGHUP), and keeps keys, bindings and ledgers in the data directory. In a pod that the
/// operator made: `serve --kubernetes`. SIGTERM and SIGINT end it in order: sessions stay in force, and the next server
/// renews them.
#[derive(clap::Args)]
#[command(after_long_help = logging::HELP)]
pub(crate) struct Args {
    /// Directory of YAML manifests: LicensePool, LicenseGrant, Secret.
    #[arg(long, value_name = "DIR", requires = "data")]
    manifests: Option<PathBuf>,
    /// Directory for keys, bindings and ledgers; made where it is missing.
    #[arg(long, value_name = "DIR", requires = "manifests")]
    data: Option<PathBuf>,
    /// File of the vendors' public keys whose licenses count, each with its products (docs/licenses.md); read again with
    /// the manifests.
    #[arg(long, value_name = "FILE", requires = "manifests")]
    vendor_keys: Option<PathBuf>,
    /// Serve the SeatPlans of this pod's namespace.
    #[arg(long, conflicts_with_all = ["manifests", "data"])]
    kubernetes: bool,
    /// Folder that the operator's Deployment mounts: pools/, tls/, peer/, keys/.
    #[arg(long, value_name = "DIR", default_value = "/etc/genie-lm", requires = "kubernetes")]
    config: PathBuf,
    /// Where clients are answered [default: 127.0.0.1:1453; with --kubernetes 0.0.0.0:1453].
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// Where other replicas are answered.
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:1454", requires = "kubernetes")]
    peer_listen: SocketAddr,
    /// Where /livez, /readyz and /metrics are [default with --kubernetes: 0.0.0.0:9453].
    #[arg(long, value_name = "ADDR:PORT")]
    http_listen: Option<SocketAddr>,
}

pub(crate) fn run(args: Args, output: Output) -> Result<Exit, Failure> {
    if args.manifests.is_none() && !args.kubernetes {
        return Err(Failure::usage(
            "nothing to serve: give --manifests DIR and --data DIR, or --kubernetes in a pod that the operator made",
        ));
    }
    logging::start();
    runtime::many_threads(async {
        let stop = stop_on_signals()?;
        match (args.manifests, args.data) {
            (Some(manifests), Some(data)) => {
                let listen = args.listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 1453)));
                let (vendor_keys, http_listen) = (args.vendor_keys, args.http_listen);
                let config = standalone::Config { manifests, data, vendor_keys, listen, http_listen };
                let hangup = signal(SignalKind::hangup()).map_err(Failure::unexpected)?;
                let serving = |line: &str| {
                    if let Err(failure) = output.text(line) {
                        warn(failure);
                    }
                };
                standalone::run(config, stop, hangup, serving).await.map_err(Failure::configuration)?;
            }
            _ => {
                let config = kubernetes::Config {
                    folder: args.config,
                    listen: args.listen.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 1453))),
                    peer_listen: args.peer_listen,
                    http_listen: args.http_listen.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 9453))),
                    namespace: pod("POD_NAMESPACE")?,
                    pod_name: pod("POD_NAME")?,
                    pod_uid: pod("POD_UID")?,
                    node: pod("NODE_NAME")?,
                    pod_ip: pod("POD_IP")?,
                    instance: std::env::var("POD_INSTANCE").ok(),
                };
                kubernetes::run(config, stop).await.map_err(Failure::configuration)?;
            }
        }
        Ok(Exit::Success)
    })
}

fn pod(name: &str) -> Result<String, Failure> {
    std::env::var(name).map_err(|_| {
        Failure::configuration(format!(
            "{name} is not set: `serve --kubernetes` runs in a pod that the operator made; outside use --manifests and --data"
        ))
    })
}

/// A token that SIGTERM and SIGINT cancel.
fn stop_on_signals() -> Result<CancellationToken, Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::unexpected)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::unexpected)?;
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancel.cancel();
    });
    Ok(stop)
}
