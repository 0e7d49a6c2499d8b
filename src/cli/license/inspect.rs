//! `genie-lm license inspect`: what a document says, believed or not.

use std::path::PathBuf;

use super::{files, rows};
use crate::{
    cli::{Exit, Failure, Output},
    license::document::{Document, DocumentError, JwsError, MAX_DOCUMENT, Request},
};

/// Show what a license or a request says, without trusting it: the signature is not checked.
#[derive(clap::Args)]
pub(super) struct Args {
    /// The document; - for stdin.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(args: Args, output: Output) -> Result<Exit, Failure> {
    let text = files::read(&args.file, MAX_DOCUMENT)?;
    let bad = |error: &dyn std::fmt::Display| files::bad(&args.file, error);
    match Document::parse(&text) {
        Ok(document) => {
            let license = document.unverified().map_err(|error| bad(&error))?;
            let signature = format!("not checked; it names the key {}", document.kid());
            let shown = serde_json::json!({
                "signature": "NOT_CHECKED",
                "kid": document.kid(),
                "claims": license,
            });
            output.write_tables(&shown, &rows::license(&license, &signature))?;
        }
        Err(error) if !is_request(&text, &error) => return Err(bad(&error)),
        Err(_) => {
            let request = Request::parse(&text).map_err(|error| bad(&error))?;
            let (short, long) = match request.cnf {
                Some(_) => ("OF_THE_SERVER_KEY", "good: made by the holder of the server key"),
                None => ("NONE", "none"),
            };
            let shown = serde_json::json!({ "signature": short, "request": request });
            output.write_tables(&shown, &rows::request(&request, long))?;
        }
    }
    Ok(Exit::Success)
}

/// Whether what is no license is a request, as far as its form tells.
fn is_request(text: &str, error: &DocumentError) -> bool {
    text.starts_with('{') || matches!(error, DocumentError::Jws(JwsError::Type { .. }))
}
