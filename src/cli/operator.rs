//! `genie-lm operator`: the controllers, in a pod.

use std::{net::SocketAddr, path::PathBuf};

use jiff::SignedDuration;
use kube::Config;
use tokio_util::sync::CancellationToken;

use super::{Exit, Failure, Output, logging, runtime, signals::Signals};
use crate::{
    api::ApiDuration,
    operator::{self, Settings},
    vendor_keys,
};

/// Run the operator: LicensePools and LicenseGrants become servers and Secrets.
#[derive(clap::Args)]
#[command(after_long_help = logging::HELP)]
pub(crate) struct Args {
    /// Watch this namespace only (default: all).
    #[arg(long, value_name = "NAME")]
    namespace: Option<String>,
    /// Image of the servers, where a pool does not say another.
    #[arg(long, value_name = "IMAGE")]
    server_image: String,
    /// Domain of the cluster's Services.
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    cluster_domain: String,
    /// How long a MAC key signs tokens, before the next one does: 1h to 87600h.
    #[arg(long, value_name = "DURATION", default_value = "2160h", value_parser = rotation_interval)]
    key_rotation_interval: SignedDuration,
    /// File of the vendors' public keys whose licenses count, each with its products (docs/licenses.md). Read at the start.
    #[arg(long, value_name = "FILE")]
    vendor_keys: Option<PathBuf>,
    /// Where /livez, /readyz and /metrics are answered.
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:9453")]
    http_listen: SocketAddr,
}

pub(crate) fn run(args: Args, _: Output) -> Result<Exit, Failure> {
    let (identity, own_namespace) = pod()?;
    let vendor_keys = vendor_keys::read(args.vendor_keys.as_deref()).map_err(Failure::configuration)?;
    logging::start();
    runtime::many_threads(async {
        let config = Config::infer().await.map_err(|error| {
            Failure::configuration(format!(
                "cannot find the API server: {error}; run in a pod, or set KUBECONFIG"
            ))
        })?;
        let settings = Settings {
            namespace: args.namespace,
            own_namespace,
            identity,
            server_image: args.server_image,
            cluster_domain: args.cluster_domain,
            key_rotation_interval: args.key_rotation_interval,
            vendor_keys,
            http_listen: args.http_listen,
        };
        operator::run(config, settings, stop()?).await.map_err(Failure::unexpected)?;
        Ok(Exit::Success)
    })
}

/// Name and namespace of this pod.
fn pod() -> Result<(String, String), Failure> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    variable("POD_NAME").zip(variable("POD_NAMESPACE")).ok_or_else(|| {
        Failure::configuration(
            "POD_NAME and POD_NAMESPACE must be set: the chart's Deployment takes them from the pod's own \
             metadata.name and metadata.namespace; outside a pod, set a name and a namespace for the operator's Lease",
        )
    })
}

/// Shorter than an hour, and a rotation is hardly over before the next; longer than ten years, and it is a typing error.
fn rotation_interval(text: &str) -> Result<SignedDuration, String> {
    let (shortest, longest) = (SignedDuration::from_hours(1), SignedDuration::from_hours(87_600));
    let given = text.parse::<ApiDuration>().map_err(|error| error.to_string())?.get();
    let given = SignedDuration::try_from(given).map_err(|error| error.to_string())?;
    if (shortest..=longest).contains(&given) { Ok(given) } else { Err("it must be 1h to 87600h".into()) }
}

/// Canceled by SIGTERM, as the kubelet sends it, or another signal that ends.
fn stop() -> Result<CancellationToken, Failure> {
    let mut signals = Signals::new()?;
    let token = CancellationToken::new();
    let told = token.clone();
    tokio::spawn(async move {
        signals.ending().await;
        told.cancel();
    });
    Ok(token)
}
