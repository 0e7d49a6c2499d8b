//! `genie-lm version`: which build this is.

use serde::Serialize;

use super::{Exit, Failure, Output};

/// Say which version this is.
#[derive(clap::Args)]
pub(crate) struct Args {}

#[derive(Serialize)]
struct Version {
    version: &'static str,
}

pub(crate) fn run(_: Args, output: Output) -> Result<Exit, Failure> {
    let version = Version { version: env!("CARGO_PKG_VERSION") };
    output.write(&version, &[vec![format!("genie-lm {}", version.version)]])?;
    Ok(Exit::Success)
}
