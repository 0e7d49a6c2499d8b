//! `genie-lm openapi`: the document that servers give at /v1/openapi.json; docs/openapi.json is made from it.

use super::{Exit, Failure, Output};

/// Write the OpenAPI document of the JSON calls.
#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: Args, output: Output) -> Result<Exit, Failure> {
    let text =
        serde_json::to_string_pretty(&crate::server::openapi_document()).map_err(Failure::unexpected)?;
    output.text(&format!("{text}\n"))?;
    Ok(Exit::Success)
}
