//! `genie-lm completions`: the script that completes this command line in a shell.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Exit, Failure, Output};

/// Write the completion script for a shell.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The shell that will read it.
    shell: Shell,
}

pub(crate) fn run(args: Args, output: Output) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "genie-lm", &mut script);
    output.text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Success)
}
