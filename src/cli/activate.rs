//! `genie-lm activate`: an activation key becomes an activation token.

use genie_client::Judged;

use super::{Exit, Failure, Output, answer, connection, connection::Connection, exit::warn, runtime};

/// Exchange an activation key for a token that stands for it from then on.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(args: Args, output: Output) -> Result<Exit, Failure> {
    runtime::one_thread(async {
        let answer = args.connection.client()?.activate().await?;
        answer.warnings.iter().for_each(warn);
        output.write(&answer, &answer::activated(&answer))?;
        Ok(connection::exit(answer.denied().as_ref()))
    })
}
