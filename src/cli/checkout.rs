//! `genie-lm checkout`: takes a seat, says so, and holds it until it is interrupted, the time is up, or it is lost.

use std::time::Duration;

use genie_client::{Error, Session};
use tokio::time::sleep;

use super::{
    Exit, Failure, Output, answer, connection,
    connection::{Connection, Wanted},
    exit::warn,
    runtime,
    signals::Signals,
};
use crate::api::ApiDuration;

/// Longest hold with a timer; without one it is held until interrupted.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Take a seat and hold it until interrupted (SIGINT, SIGTERM); then give it back.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// Give the seat back after this time.
    #[arg(long, value_name = "DURATION")]
    hold: Option<ApiDuration>,
    #[command(flatten)]
    connection: Connection,
}

pub(crate) fn run(args: Args, output: Output) -> Result<Exit, Failure> {
    runtime::one_thread(async {
        let mut signals = Signals::new()?;
        let client = args.connection.client()?;
        let seat = tokio::select! {
            seat = client.checkout(args.wanted.checkout("genie-lm checkout")) => seat,
            signal = signals.ending() => return Ok(signal.exit()),
        };
        match seat {
            Ok(seat) => {
                output.write(seat.answer(), &answer::checked_out(seat.answer()))?;
                hold(seat, args.hold.map_or(FOREVER, |hold| hold.get().min(FOREVER)), signals).await
            }
            Err(Error::Denied(denied)) => {
                let refusal = answer::refused(&denied);
                output.write(&refusal, &answer::checked_out(&refusal))?;
                Ok(connection::exit(Some(&denied)))
            }
            Err(error) => Err(error.into()),
        }
    })
}

async fn hold(seat: Session, time: Duration, mut signals: Signals) -> Result<Exit, Failure> {
    tokio::select! {
        loss = seat.lost() => return Err(Failure::new(Exit::SeatLost, loss)),
        _ = signals.ending() => {}
        () = sleep(time) => {}
    }
    if let Err(error) = seat.checkin().await {
        warn(format!("the seat could not be given back, and runs out by itself: {error}"));
    }
    Ok(Exit::Success)
}
