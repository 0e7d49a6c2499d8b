//! `genie-lm validate`: may this run? Takes no seat.

use genie_client::Judged;

use super::{
    Exit, Failure, Output, answer, connection,
    connection::{AppVersion, Connection},
    exit::warn,
    runtime,
};

/// Ask whether an application may run, without taking a seat.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A feature to judge; may be repeated. None: all that the grant enables.
    #[arg(long = "feature", value_name = "NAME")]
    features: Vec<String>,
    #[command(flatten)]
    version: AppVersion,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(args: Args, output: Output) -> Result<Exit, Failure> {
    runtime::one_thread(async {
        let client = args.version.of(args.connection.client()?);
        let answer = client.validate(&args.features).await?;
        answer.warnings.iter().for_each(warn);
        output.write(&answer, &answer::validated(&answer))?;
        Ok(connection::exit(answer.denied().as_ref()))
    })
}
