//! What becomes of a running command when its seat is lost, and when its server comes back in time.

use rustix::process::Signal;

use crate::harness::{Bench, Running, until};

/// Starts a command that says its own pid and that of a child of its own, and loses its seat with the server.
fn deserted(bench: &mut Bench, on_loss: &[&str], script: &str) -> Running {
    let mut args = vec!["run"];
    args.extend(on_loss);
    args.extend(["--", "sh", "-c", script]);
    let running = bench.start("running", &args);
    until("the command is ready", || running.stdout().contains("ready"));
    bench.kill_server();
    running
}

fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn on_loss_stop_ends_the_command_and_what_it_started_with_sigterm() {
    let mut bench = Bench::new();
    let script =
        "trap 'echo stopped; exit 0' TERM; sleep 1000 & echo child $! ready; while :; do sleep 0.05; done";
    let mut running = deserted(&mut bench, &[], script);
    let out = running.stdout();
    let child = out.split_whitespace().nth(1).expect("a pid").to_owned();
    assert!(is_alive(&child));
    assert_eq!(running.wait().code(), Some(7));
    assert!(running.stdout().contains("stopped"));
    let errors = running.stderr();
    assert!(errors.contains("not being renewed") && errors.contains("the seat ran out"), "{errors}");
    until("its child has ended", || !is_alive(&child));
}

#[test]
fn on_loss_stop_kills_a_command_that_does_not_end_within_the_grace() {
    let mut bench = Bench::new();
    let script = "trap '' TERM; echo ready; while :; do sleep 0.05; done";
    let mut running = deserted(&mut bench, &["--grace", "300ms"], script);
    assert_eq!(running.wait().code(), Some(7));
    assert!(running.stderr().contains("SIGKILL"));
}

#[test]
fn on_loss_kill_ends_the_command_without_asking() {
    let mut bench = Bench::new();
    let script = "trap 'echo stopped' TERM; echo ready; while :; do sleep 0.05; done";
    let mut running = deserted(&mut bench, &["--on-loss", "kill"], script);
    assert_eq!(running.wait().code(), Some(7));
    assert!(!running.stdout().contains("stopped"));
}

#[test]
fn on_loss_warn_lets_the_command_run_to_its_own_end() {
    let mut bench = Bench::new();
    let script = "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let mut running = deserted(&mut bench, &["--on-loss", "warn"], script);
    until("the loss is told", || running.stderr().contains("runs on without a seat"));
    assert!(running.is_running());
    running.signal(Signal::TERM);
    assert_eq!(running.wait().code(), Some(5));
}

#[test]
fn a_seat_that_is_no_longer_renewed_is_told_in_whole_sentences() {
    let bench = Bench::new();
    let mut running = bench.start("running", &["run", "--", "sh", "-c", "echo ready; exec sleep 1000"]);
    until("the command is ready", || running.stdout().contains("ready"));
    let file = bench.path("manifests/pool.yaml");
    let manifest = std::fs::read_to_string(&file).expect("a file");
    std::fs::write(&file, manifest.replace("{name: team}", "{name: other}")).expect("a file");
    assert_eq!(running.wait().code(), Some(7));
    let errors = running.stderr();
    assert!(errors.contains("(REVOKED)") && errors.contains(". Stopping the command."), "{errors}");
    assert!(!errors.contains(".."), "{errors}");
}

#[test]
fn a_checkout_that_loses_its_seat_ends_with_7() {
    let mut bench = Bench::new();
    let mut holder = bench.start("holder", &["checkout"]);
    until("it has the seat", || holder.stdout().contains("AUTHORIZED"));
    bench.kill_server();
    assert_eq!(holder.wait().code(), Some(7));
}

#[test]
fn a_server_that_comes_back_in_time_finds_everybody_in_their_seats() {
    let mut bench = Bench::new();
    let script = "echo ready; while :; do sleep 0.05; done";
    let address = bench.address();
    let mut running = deserted(&mut bench, &[], script);
    bench.serve(&address);
    until("the seat is known to be taken", || !bench.seat_is_free());
    // Longer than a seat is valid: it was renewed by the new server.
    let renewed = std::time::Instant::now() + std::time::Duration::from_secs(15);
    until("a seat's validity has passed", || std::time::Instant::now() > renewed);
    assert!(running.is_running(), "{}", running.stderr());
    assert!(!bench.seat_is_free());
    running.signal(Signal::TERM);
    assert_eq!(running.wait().code(), Some(143));
}
