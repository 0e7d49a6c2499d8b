//! `genie-lm run`: an application that knows nothing of licenses starts only with a seat, and ends with it. Owns the
//! order of things: seat, command, and while both live: signals, loss, end. How a process is run is in `child`.

mod child;

use std::{ffi::OsString, future::Future, time::Duration};

use clap::ValueEnum;
use genie_client::{Loss, Session, State};
use tokio::time::{Instant, sleep_until};

use self::child::Child;
use super::{
    Exit, Failure, Output,
    connection::{Connection, Wanted},
    exit::warn,
    runtime,
    signals::{Children, Signals},
};
use crate::api::ApiDuration;

/// Start a command only with a seat, keep the seat while it runs, and give it back at its end.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    wanted: Wanted,
    /// What to do when the seat is lost while the command runs.
    #[arg(long, value_enum, default_value_t)]
    on_loss: OnLoss,
    /// With --on-loss stop: time between SIGTERM and SIGKILL.
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    grace: ApiDuration,
    /// Wait so long for a seat when there is none now.
    #[arg(long, value_name = "DURATION", default_value = "0s")]
    retry_for: ApiDuration,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
    #[command(flatten)]
    connection: Connection,
}

/// What to do with the command when its seat is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum OnLoss {
    /// Say so on stderr, and let it run.
    Warn,
    /// Ask it to end with SIGTERM, and end it with SIGKILL after the grace.
    #[default]
    Stop,
    /// End it with SIGKILL at once.
    Kill,
}

pub(crate) fn run(args: Args, _: Output) -> Result<Exit, Failure> {
    runtime::one_thread(async {
        let mut signals = Signals::new()?;
        let client = args.wanted.client(args.connection)?;
        let program = args.command[0].to_string_lossy().into_owned();
        let mut told = String::new();
        let waiting = |error: &genie_client::Error| {
            let why = format!("waiting for a seat: {error}");
            if why != told {
                warn(&why);
                told = why;
            }
        };
        let seat = tokio::select! {
            seat = client.checkout_within(args.wanted.checkout(&program), args.retry_for.get(), waiting) => {
                seat.map_err(|error| no_seat(error, args.retry_for))?
            }
            signal = signals.ending() => return Ok(signal.exit()),
        };
        seat.on_warning(|warning| warn(warning));
        let outcome = supervise(&args.command, &seat, args.on_loss, args.grace.get(), &mut signals).await;
        if let Err(error) = seat.checkin().await {
            warn(format!("the seat could not be given back, and runs out by itself: {error}"));
        }
        outcome
    })
}

/// Why there is no seat, and what waiting has to do with it.
fn no_seat(error: genie_client::Error, retry_for: ApiDuration) -> Failure {
    let waited = !retry_for.get().is_zero();
    let hint = match &error {
        error if waited && error.retryable() => format!("No seat within {retry_for} (--retry-for)."),
        genie_client::Error::Denied(denied) if denied.retryable => {
            "To wait for a seat, give --retry-for.".to_owned()
        }
        _ => return error.into(),
    };
    let failure = Failure::from(error);
    Failure::new(failure.exit(), format!("{}. {hint}", failure.to_string().trim_end_matches('.')))
}

/// Starts the command, and stays until it has ended.
async fn supervise(
    command: &[OsString],
    seat: &Session,
    on_loss: OnLoss,
    grace: Duration,
    signals: &mut Signals,
) -> Result<Exit, Failure> {
    let mut children = Children::new()?;
    let mut child = Child::spawn(command)?;
    let mut state = seat.watch();
    let mut lost = false;
    let mut kill_at: Option<Instant> = None;
    loop {
        if let Some(exit) = child.reap()? {
            let ended_for_loss = lost && on_loss != OnLoss::Warn;
            if ended_for_loss {
                child.kill_rest();
            }
            return Ok(if ended_for_loss { Exit::SeatLost } else { exit });
        }
        tokio::select! {
            () = children.ended() => {}
            signal = signals.next() => child.pass_on(signal.0),
            () = at(kill_at), if kill_at.is_some() => {
                warn(format!("the command did not end within {} s of SIGTERM: SIGKILL", grace.as_secs()));
                child.kill();
                kill_at = None;
            }
            changed = state.changed(), if !lost => {
                let now = state.borrow_and_update().clone();
                match (changed, now) {
                    (_, State::Lost(loss)) => {
                        lost = true;
                        kill_at = end(&child, &loss, on_loss, grace);
                    }
                    (_, State::CutOff { why, .. }) => {
                        let left = seat.remaining().as_secs();
                        warn(format!("the seat is not being renewed, and ends in {left} s: {why}"));
                    }
                    (Ok(()), State::Valid { .. }) => {}
                    (Err(_), _) => return Err(Failure::unexpected("the task that renews the seat has ended")),
                }
            }
        }
    }
}

/// What the loss of the seat means for the command; the moment at which patience with it ends.
fn end(child: &Child, loss: &Loss, on_loss: OnLoss, grace: Duration) -> Option<Instant> {
    let loss = loss.to_string();
    let loss = loss.trim_end_matches('.');
    match on_loss {
        OnLoss::Warn => {
            warn(format!("{loss}. The command runs on without a seat (--on-loss warn)."));
            None
        }
        OnLoss::Stop => {
            warn(format!("{loss}. Stopping the command."));
            child.terminate();
            Instant::now().checked_add(grace)
        }
        OnLoss::Kill => {
            warn(format!("{loss}. Killing the command."));
            child.kill();
            None
        }
    }
}

fn at(moment: Option<Instant>) -> impl Future<Output = ()> {
    sleep_until(moment.unwrap_or_else(Instant::now))
}
