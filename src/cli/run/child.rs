//! The command as a process: started in a process group of its own (unless a terminal has the group), signaled, and
//! reaped together with every orphan that falls to this process as PID 1 of a container.

use std::{
    ffi::OsString,
    io::{self, ErrorKind, IsTerminal},
    os::unix::process::CommandExt,
    process::Command,
};

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, kill_process_group, wait};

use crate::cli::{Exit, Failure};

/// What a shell says of a command that it does not find.
const NOT_FOUND: Exit = Exit::Command(127);
/// What a shell says of a command that it may not run.
const NOT_EXECUTABLE: Exit = Exit::Command(126);

/// A running command.
pub(super) struct Child {
    pid: Pid,
    /// False where it shares ours, because a terminal reads and signals by group.
    own_group: bool,
}

impl Child {
    pub(super) fn spawn(command: &[OsString]) -> Result<Child, Failure> {
        let own_group = !io::stdin().is_terminal();
        let mut builder = Command::new(&command[0]);
        builder.args(&command[1..]);
        if own_group {
            builder.process_group(0);
        }
        match builder.spawn() {
            Ok(child) => Ok(Child { pid: Pid::from_child(&child), own_group }),
            Err(error) => {
                let exit = if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE };
                let program = command[0].to_string_lossy();
                Err(Failure::new(
                    exit,
                    format!("cannot start {program}: {error}; check its path and its mode"),
                ))
            }
        }
    }

    /// Takes every process that ended off the kernel's table; says how the command ended, once it has.
    pub(super) fn reap(&mut self) -> Result<Option<Exit>, Failure> {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid == self.pid => return Ok(Some(exit(status))),
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(error) => {
                    return Err(Failure::unexpected(format!("cannot wait for the command: {error}")));
                }
            }
        }
    }

    /// Passes on a signal that came to us. What a terminal sends, it has sent to the command too.
    pub(super) fn pass_on(&self, signal: Signal) {
        let from_terminal = [Signal::INT, Signal::QUIT, Signal::WINCH].contains(&signal);
        if self.own_group || !from_terminal {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Asks the command, with what it started, to end.
    pub(super) fn terminate(&self) {
        self.signal_all(Signal::TERM);
    }

    /// Ends the command, with what it started.
    pub(super) fn kill(&self) {
        self.signal_all(Signal::KILL);
    }

    /// Ends what the command left behind when it ended.
    pub(super) fn kill_rest(&self) {
        if self.own_group {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }

    /// To a process that has just ended a signal cannot be sent; then the next `reap` tells.
    fn signal_all(&self, signal: Signal) {
        let _ = match self.own_group {
            true => kill_process_group(self.pid, signal),
            false => kill_process(self.pid, signal),
        };
    }
}

/// The exit code of the command, or 128+n where signal n ended it.
fn exit(status: WaitStatus) -> Exit {
    let signal = status.terminating_signal().map(|signal| 128 + signal);
    let code = status.exit_status().or(signal).and_then(|code| u8::try_from(code).ok());
    Exit::Command(code.unwrap_or(u8::MAX))
}
