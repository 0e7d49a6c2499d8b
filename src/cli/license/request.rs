//! `genie-lm license request`: what a customer sends to a vendor.

use std::path::PathBuf;

use jiff::Timestamp;

use super::files;
use crate::{
    cli::{Exit, Failure, Output, exit::warn},
    license::document::{Binding, Request},
};

/// Make the request that a customer sends to a vendor: the product, and where it will be used.
#[derive(clap::Args)]
pub(super) struct Args {
    /// What is wanted.
    #[arg(long, value_name = "NAME")]
    product: String,
    /// Who asks.
    #[arg(long, value_name = "NAME")]
    customer: Option<String>,
    /// UID of the namespace kube-system of the cluster where it will be used.
    #[arg(long, value_name = "UID", conflicts_with = "host")]
    cluster: Option<String>,
    /// Use it on this machine, or on the one with this fingerprint.
    #[arg(long, value_name = "FINGERPRINT", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    host: Option<String>,
    /// Private key of the license server; the request is signed with it, and the license will name it.
    #[arg(long, value_name = "FILE")]
    server_key: Option<PathBuf>,
    /// The same with a new key, made here.
    #[arg(long, value_name = "FILE", conflicts_with = "server_key")]
    new_server_key: Option<PathBuf>,
    /// Write the request to this new file [default: stdout].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: Args, output: Output) -> Result<Exit, Failure> {
    let binding = match (args.cluster, args.host) {
        (Some(uid), _) => Some(Binding::Cluster(uid)),
        (None, Some(host)) => Some(Binding::Hosts(vec![super::host(host)?])),
        (None, None) => None,
    };
    let request = Request {
        product: args.product,
        customer: args.customer,
        binding,
        made_at: Timestamp::now(),
        cnf: None,
    };
    request.check().map_err(|problem| Failure::usage(format!("no request was made, because {problem}")))?;
    let key = match (args.server_key, args.new_server_key) {
        (Some(path), _) => Some(files::signing_key(&path)?),
        (None, Some(path)) => {
            let (key, [private, ..]) = files::new_key(path)?;
            warn(format!("made the server's key: keep {} as a secret of the server", private.display()));
            Some(key)
        }
        (None, None) => None,
    };
    let text = match &key {
        Some(key) => request.signed(key),
        None => request.plain(),
    };
    super::give(&text.map_err(Failure::unexpected)?, args.out, "the request", output)
}
