//! How a command ends: the exit codes (documented in docs/cli.md) and the sentence on stderr that goes with them.

use std::{
    fmt::{self, Display},
    io::Write,
    process::ExitCode,
};

pub(super) const HELP: &str = "Exit codes: 0 done, or AUTHORIZED; 1 unexpected failure; 2 wrong usage; 3 DENIED; \
4 EXPIRED; 5 the server cannot be reached or cannot answer now; 6 configuration not found or invalid; 7 the seat \
was lost. `run` ends with the exit code of its command once that has started.";

/// The way a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; for a question of license: AUTHORIZED.
    Success,
    /// Something that should not happen.
    Unexpected,
    /// The command line is wrong.
    Usage,
    /// The verdict is DENIED.
    Denied,
    /// The verdict is EXPIRED.
    Expired,
    /// The server cannot be reached, or cannot answer now.
    Unavailable,
    /// What the command needs was not found, or is invalid.
    Configuration,
    /// The seat was lost while it was held.
    SeatLost,
    /// The exit code of the command that `run` ran.
    Command(u8),
}

impl Exit {
    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Unexpected => 1,
            Exit::Usage => 2,
            Exit::Denied => 3,
            Exit::Expired => 4,
            Exit::Unavailable => 5,
            Exit::Configuration => 6,
            Exit::SeatLost => 7,
            Exit::Command(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

/// Why a command failed: the exit code, and one or two sentences that say what to do next.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// A failure with an exit code of its own.
    pub fn new(exit: Exit, message: impl Display) -> Failure {
        Failure { exit, message: message.to_string() }
    }

    /// Something that should not happen: exit code 1.
    pub fn unexpected(message: impl Display) -> Failure {
        Failure::new(Exit::Unexpected, message)
    }

    /// The command line asks for something that cannot be: exit code 2.
    pub fn usage(message: impl Display) -> Failure {
        Failure::new(Exit::Usage, message)
    }

    /// What the command needs was not found, or is invalid: exit code 6.
    pub fn configuration(message: impl Display) -> Failure {
        Failure::new(Exit::Configuration, message)
    }

    /// How the command ends.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Writes the sentence to stderr.
    pub(super) fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            warn(&self.message);
        }
        self.exit.into()
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// A line on stderr; a closed stderr is nobody's failure.
pub(crate) fn warn(message: impl Display) {
    let _ = writeln!(std::io::stderr(), "genie-lm: {message}");
}

/// Writes what clap has to say: help and version go to stdout with 0, a wrong command line to stderr with 2.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() { Exit::Usage.into() } else { Exit::Success.into() }
}
