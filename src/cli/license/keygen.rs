//! `genie-lm license keygen`: a vendor's key.

use std::path::PathBuf;

use super::files;
use crate::cli::{Exit, Failure, Output};

const NAME: &str = "vendor-key.pem";

/// Make a vendor's key: the private one, which signs licenses, and the public one, which customers get.
#[derive(clap::Args)]
pub(super) struct Args {
    /// File of the private key, or a directory for vendor-key.pem. The public key is written beside it.
    #[arg(long, value_name = "FILE|DIR", default_value = ".")]
    out: PathBuf,
}

pub(super) fn run(args: Args, output: Output) -> Result<Exit, Failure> {
    let path = if args.out.is_dir() { args.out.join(NAME) } else { args.out };
    let (key, [private, pem, jwk]) = files::new_key(path)?;
    let [private, pem, jwk] = [private, pem, jwk].map(|path| path.display().to_string());
    let kid = key.public().kid();
    let document =
        serde_json::json!({ "kid": kid, "privateKey": private, "publicKeyPem": pem, "publicKeyJwk": jwk });
    let table = [
        ["KEY", "FILE", "FOR"],
        ["private", &private, "you alone: it signs licenses"],
        ["public (PEM)", &pem, "customers"],
        ["public (JWK)", &jwk, "customers"],
        ["kid", &kid, "the name of the key in its licenses"],
    ];
    output.write(&document, &table.map(|row| row.map(str::to_owned).to_vec()))?;
    Ok(Exit::Success)
}
