//! `genie-lm keys`: activation keys, made here and nowhere stored.

use genie_client::ActivationKey;

use super::{Exit, Failure, Output};

/// Make activation keys.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Print a new activation key, for the Secret that a grant names in spec.subjects[].keySecretRef.
    New,
}

pub(crate) fn run(args: Args, output: Output) -> Result<Exit, Failure> {
    let Command::New = args.command;
    let key = ActivationKey::generate()
        .map_err(|error| Failure::unexpected(format!("cannot read random bits from the system: {error}")))?;
    output.write(&serde_json::json!({ "key": key.as_str() }), &[vec![key.as_str().to_owned()]])?;
    Ok(Exit::Success)
}
