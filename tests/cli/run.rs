//! `genie-lm run`: the command, its exit code, its signals, and its seat.

use std::{fs, process::Command};

use rustix::process::Signal;

use crate::harness::{Bench, Running, code, finish, until};

#[test]
fn the_exit_code_is_that_of_the_command() {
    let bench = Bench::new();
    assert_eq!(code(&mut bench.client(&["run", "--", "true"])), Some(0));
    assert_eq!(code(&mut bench.client(&["run", "--", "sh", "-c", "exit 42"])), Some(42));
    assert_eq!(code(&mut bench.client(&["run", "--", "sh", "-c", "kill -TERM $$"])), Some(143));
    assert!(bench.seat_is_free());
}

#[test]
fn a_command_that_cannot_start_is_127_or_126_and_its_seat_is_given_back() {
    let bench = Bench::new();
    assert_eq!(code(&mut bench.client(&["run", "--", "/no/such/command"])), Some(127));
    let file = bench.path("not-executable");
    fs::write(&file, "").expect("a file");
    assert_eq!(code(&mut bench.client(&["run", "--", file.to_str().expect("UTF-8")])), Some(126));
    assert!(bench.seat_is_free());
}

#[test]
fn without_a_seat_the_command_does_not_start() {
    let bench = Bench::new();
    let mut holder = bench.start("holder", &["run", "--", "sh", "-c", "echo ready; exec sleep 1000"]);
    until("it has the seat", || holder.stdout().contains("ready"));
    let output = finish(&mut bench.client(&["run", "--", "echo", "started"]));
    assert_eq!(output.status.code(), Some(3));
    assert!(output.stdout.is_empty());
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        errors.ends_with(". To wait for a seat, give --retry-for.\n") && !errors.contains(".."),
        "{errors}"
    );
    let output = finish(&mut bench.client(&["run", "--retry-for", "500ms", "--", "echo", "started"]));
    assert_eq!(output.status.code(), Some(3));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        errors.ends_with(". No seat within 500ms (--retry-for).\n") && !errors.contains("give"),
        "{errors}"
    );
    let unlicensed = finish(&mut bench.client(&["run", "--feature", "simulate", "--", "echo", "started"]));
    assert_eq!(unlicensed.status.code(), Some(3));
    assert!(!String::from_utf8_lossy(&unlicensed.stderr).contains("--retry-for"));
    holder.signal(Signal::TERM);
    assert_eq!(holder.wait().code(), Some(143));
    assert!(bench.seat_is_free());
}

#[test]
fn with_retry_for_it_waits_for_a_seat_and_a_signal_ends_the_wait() {
    let bench = Bench::new();
    let mut holder = bench.start("holder", &["checkout"]);
    until("it has the seat", || holder.stdout().contains("AUTHORIZED"));
    let args = ["run", "--retry-for", "30s", "--", "echo", "started"];
    let (mut patient, mut interrupted) = (bench.start("patient", &args), bench.start("interrupted", &args));
    until("both wait", || [&patient, &interrupted].iter().all(|p| p.stderr().contains("waiting for a seat")));
    interrupted.signal(Signal::TERM);
    assert_eq!(interrupted.wait().code(), Some(143));
    assert!(patient.is_running());
    assert_eq!(patient.stdout(), "");
    holder.signal(Signal::TERM);
    assert_eq!(holder.wait().code(), Some(0));
    assert_eq!(patient.wait().code(), Some(0));
    assert_eq!(patient.stdout(), "started\n");
}

#[test]
fn signals_are_passed_on_to_the_command() {
    let bench = Bench::new();
    for (name, signal) in
        [("TERM", Signal::TERM), ("INT", Signal::INT), ("HUP", Signal::HUP), ("USR1", Signal::USR1)]
    {
        let script =
            format!("trap 'echo got {name}; exit 5' {name}; echo ready; while :; do sleep 0.05; done");
        let mut running = bench.start("running", &["run", "--", "sh", "-c", &script]);
        until("the command is ready", || running.stdout().contains("ready"));
        running.signal(signal);
        assert_eq!(running.wait().code(), Some(5), "{name}");
        assert!(running.stdout().contains(&format!("got {name}")));
    }
    assert!(bench.seat_is_free());
}

#[test]
fn the_seat_is_kept_while_the_command_runs_for_longer_than_a_seat_is_valid() {
    let bench = Bench::new();
    let mut running = bench.start("running", &["run", "--", "sh", "-c", "echo ready; sleep 25; echo done"]);
    until("the command is ready", || running.stdout().contains("ready"));
    until("the command is done", || {
        let free = bench.seat_is_free();
        let done = running.stdout().contains("done");
        assert!(done || !free, "its seat was given to another");
        done
    });
    assert_eq!(running.wait().code(), Some(0));
}

/// As PID 1 of a container: in a PID namespace of its own.
#[test]
fn as_pid_1_it_reaps_orphans_and_hears_signals() {
    let bench = Bench::new();
    let mut inside = Command::new("unshare");
    inside.args(["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    let script = "sh -c 'sh -c \"sleep 0.2\" & echo $! > orphan'; sleep 0.5; echo ready; \
        while [ -e /proc/$(cat orphan) ]; do sleep 0.05; done; echo reaped; trap 'exit 9' TERM; \
        kill -TERM 1; while :; do sleep 0.05; done";
    let run = bench.client(&["run", "--", "sh", "-c", script]);
    inside.arg(run.get_program()).args(run.get_args()).current_dir(bench.dir.path());
    let mut running = Running::start(&mut inside, &bench.path("inside"));
    let status = running.wait();
    assert_eq!(running.stdout(), "ready\nreaped\n", "{}", running.stderr());
    assert_eq!(status.code(), Some(9), "{}", running.stderr());
    assert!(bench.seat_is_free());
}
