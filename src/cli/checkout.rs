//! `genie-lm checkout`: takes a seat, says so, and holds it until it is interrupted, the time is up, or it is lost.

use std::{
    io::{IsTerminal, stderr},
    time::Duration,
};

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
        let client = args.wanted.client(args.connection)?;
        let seat = tokio::select! {
            seat = client.checkout(args.wanted.checkout("genie-lm checkout")) => seat,
            signal = signals.ending() => return Ok(signal.exit()),
        };
        match seat {
            Ok(seat) => {
                seat.on_warning(|warning| warn(warning));
                output.write(seat.answer(), &answer::checked_out(seat.answer()))?;
                let time = args.hold.map_or(FOREVER, |hold| hold.get().min(FOREVER));
                let told = output.is_table() && stderr().is_terminal() && !time.is_zero();
                hold(seat, time, signals, told).await
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

/// Keeps the seat for a time, and gives it back; somebody at a terminal is `told`.
async fn hold(seat: Session, time: Duration, mut signals: Signals, told: bool) -> Result<Exit, Failure> {
    if told {
        warn("holding the seat; Ctrl-C gives it back");
    }
    tokio::select! {
        loss = seat.lost() => return Err(Failure::new(Exit::SeatLost, loss)),
        _ = signals.ending() => {}
        () = sleep(time) => {}
    }
    match seat.checkin().await {
        Ok(()) if told => warn("the seat has been given back"),
        Ok(()) => {}
        Err(error) => warn(format!("the seat could not be given back, and runs out by itself: {error}")),
    }
    Ok(Exit::Success)
}
