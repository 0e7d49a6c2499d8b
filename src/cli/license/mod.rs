//! `genie-lm license`: signed license documents, for vendors who issue them and customers who have them. Offline.

mod files;
mod inspect;
mod issue;
mod keygen;
mod request;
mod rows;
mod verify;

use std::path::PathBuf;

use super::{Exit, Failure, Output};

/// Signed license documents: make keys, issue, look at, verify and request them. Asks no server.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Keygen(keygen::Args),
    Issue(Box<issue::Args>),
    Inspect(inspect::Args),
    Verify(verify::Args),
    Request(request::Args),
}

pub(crate) fn run(args: Args, output: Output) -> Result<Exit, Failure> {
    match args.command {
        Command::Keygen(args) => keygen::run(args, output),
        Command::Issue(args) => issue::run(*args, output),
        Command::Inspect(args) => inspect::run(args, output),
        Command::Verify(args) => verify::run(args, output),
        Command::Request(args) => request::run(args, output),
    }
}

/// The fingerprint that `--host` gives; without a value, that of this machine.
fn host(given: String) -> Result<String, Failure> {
    if given.is_empty() { files::this_machine() } else { Ok(given) }
}

/// Where a document goes: a new file, or stdout where none is given.
fn give(document: &str, out: Option<PathBuf>, what: &str, output: Output) -> Result<Exit, Failure> {
    let text = format!("{}\n", document.trim_end());
    match out {
        None => output.text(&text)?,
        Some(path) => {
            files::write_new(&[files::New { path: path.clone(), text, mode: 0o644 }])?;
            let written = path.display().to_string();
            output.write(
                &serde_json::json!({ "written": written }),
                &[vec![format!("wrote {what} to {written}")]],
            )?;
        }
    }
    Ok(Exit::Success)
}
