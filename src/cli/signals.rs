//! The signals that a command hears: those that end it, those that `run` only passes on, and that a child ended.

use rustix::process::Signal;
use tokio::{
    signal::unix::{Signal as Stream, SignalKind, signal},
    sync::mpsc,
};

use super::{Exit, Failure};

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caught(pub(super) Signal);

/// Handlers for everything below, from the moment of their making: as PID 1 there are no default ones.
pub(super) struct Signals {
    caught: mpsc::Receiver<Caught>,
}

/// SIGCHLD.
pub(super) struct Children(Stream);

impl Children {
    /// Begins to listen; within a runtime, and before the first child is started.
    pub(super) fn new() -> Result<Children, Failure> {
        Ok(Children(listen(Signal::CHILD)?))
    }

    /// A child ended, perhaps several.
    pub(super) async fn ended(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

/// Those after which a command ends.
const ENDING: [Signal; 4] = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT];
/// Those that mean something to the command that `run` runs.
const PASSED_ON: [Signal; 3] = [Signal::USR1, Signal::USR2, Signal::WINCH];
/// Signals that wait to be handled; more of them at once mean no more.
const WAITING: usize = 16;

impl Caught {
    /// 128+n, as a shell has it.
    pub(super) fn exit(self) -> Exit {
        Exit::Command(u8::try_from(128 + self.0.as_raw()).unwrap_or(u8::MAX))
    }
}

impl Signals {
    /// Begins to listen; within a runtime.
    pub(super) fn new() -> Result<Signals, Failure> {
        let (sender, caught) = mpsc::channel(WAITING);
        for number in ENDING.into_iter().chain(PASSED_ON) {
            let mut stream = listen(number)?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    let _ = sender.try_send(Caught(number));
                }
            });
        }
        Ok(Signals { caught })
    }

    /// The next signal.
    pub(super) async fn next(&mut self) -> Caught {
        match self.caught.recv().await {
            Some(caught) => caught,
            // The senders live as long as the runtime.
            None => std::future::pending().await,
        }
    }

    /// The next signal that ends a command.
    pub(super) async fn ending(&mut self) -> Caught {
        loop {
            let caught = self.next().await;
            if ENDING.contains(&caught.0) {
                return caught;
            }
        }
    }
}

fn listen(number: Signal) -> Result<Stream, Failure> {
    signal(SignalKind::from_raw(number.as_raw()))
        .map_err(|e| Failure::unexpected(format!("cannot listen to signal {}: {e}", number.as_raw())))
}
