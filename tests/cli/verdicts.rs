//! Verdicts, failures and wrong use, each by its documented exit code and its sentence.

use std::{fs, process::Stdio};

use rustix::process::Signal;

use crate::harness::{Bench, code, finish, program, until};

#[test]
fn a_good_key_is_authorized_with_0_and_the_answer_is_proto3_json() {
    let bench = Bench::new();
    let output = finish(&mut bench.client(&["validate", "-o", "json"]));
    assert_eq!(output.status.code(), Some(0));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(answer["verdict"], "AUTHORIZED");
    assert_eq!(answer["tier"], "pro");
    assert_eq!(answer["retryable"], false);
    let output = finish(&mut bench.client(&["validate"]));
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("VERDICT"));
}

#[test]
fn a_denial_is_3_and_an_expired_grant_is_4_both_on_stdout() {
    let bench = Bench::new();
    let denied = finish(&mut bench.client(&["validate", "--feature", "simulate", "-o", "json"]));
    assert_eq!(denied.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&denied.stdout).contains("FEATURE_NOT_LICENSED"));
    let expired = finish(program().args(["validate", "--binding"]).arg(bench.binding("trial")));
    assert_eq!(expired.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&expired.stdout).contains("LICENSE_EXPIRED"));
}

#[test]
fn the_version_of_the_application_is_judged_where_a_feature_is_licensed_up_to_one() {
    let bench = Bench::new();
    let ask = |command: &[&str], version: &[&str]| {
        let rest: &[&str] = if command[0] == "run" { &["--", "true"] } else { &[] };
        finish(&mut bench.client(&[command, &["--feature", "mesh"][..], version, rest].concat()))
    };
    for command in [&["validate"][..], &["checkout", "--hold", "0s"], &["run"]] {
        let covered = ask(command, &["--app-version", "2026.1"]);
        assert_eq!(covered.status.code(), Some(0), "{}", String::from_utf8_lossy(&covered.stderr));
        for version in [&["--app-version", "2026.2"][..], &[]] {
            let denied = ask(command, version);
            assert_eq!(denied.status.code(), Some(3), "{command:?} {version:?}");
            let told = [denied.stdout, denied.stderr].concat();
            assert!(String::from_utf8_lossy(&told).contains("VERSION_NOT_COVERED"), "{command:?}");
        }
        assert_eq!(ask(command, &["--app-version", "new"]).status.code(), Some(2), "{command:?}");
    }
}

#[test]
fn an_unknown_key_is_denied_and_a_typing_error_is_found_without_the_server() {
    let mut bench = Bench::new();
    let new = finish(program().args(["keys", "new"])).stdout;
    let key = String::from_utf8(new).expect("text");
    let file = bench.path("other.key");
    let file_name = file.to_str().expect("UTF-8").to_owned();
    fs::write(&file, &key).expect("a file");
    let output = finish(&mut bench.client(&["validate", "--key-file", &file_name]));
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stdout).contains("UNKNOWN_KEY"));

    bench.kill_server();
    let (rest, last) = key.trim().split_at(key.trim().len() - 1);
    let typo = format!("{rest}{}", if last == "0" { "1" } else { "0" });
    fs::write(&file, &typo).expect("a file");
    let output = finish(&mut bench.client(&["validate", "--key-file", &file_name]));
    assert_eq!(output.status.code(), Some(6));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.contains("mistyped"), "{message}");
    assert!(!message.contains(&typo[5..]), "a key is never repeated: {message}");
}

#[test]
fn a_key_may_come_from_stdin_or_the_environment() {
    let bench = Bench::new();
    let key = fs::File::open(bench.binding("team").join("key")).expect("a binding");
    let mut from_stdin = bench.client(&["validate", "--key-file", "-"]);
    assert_eq!(code(from_stdin.stdin(Stdio::from(key))), Some(0));

    let value = |name: &str| fs::read_to_string(bench.binding("team").join(name)).expect("a binding");
    let mut from_environment = program();
    from_environment.arg("validate").env("GENIE_LM_URI", value("uri")).env("GENIE_LM_KEY", value("key"));
    from_environment
        .env("GENIE_LM_PRODUCT", "acme-cad")
        .env("GENIE_LM_CA_FILE", bench.binding("team").join("ca.crt"));
    assert_eq!(code(&mut from_environment), Some(0));
}

#[test]
fn an_activation_token_stands_for_its_key() {
    let bench = Bench::new();
    let output = finish(&mut bench.client(&["activate", "-o", "json"]));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let token = bench.path("token");
    fs::write(&token, answer["activationToken"].as_str().expect("a token")).expect("a file");
    assert_eq!(code(&mut bench.client(&["validate", "--key-file", token.to_str().expect("UTF-8")])), Some(0));
}

#[test]
fn a_server_that_does_not_run_is_5_and_a_missing_configuration_6() {
    let mut bench = Bench::new();
    bench.kill_server();
    let output = finish(&mut bench.client(&["validate"]));
    assert_eq!(output.status.code(), Some(5));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains(&bench.address()) && message.contains("check that it runs"), "{message}");

    let output = finish(&mut bench.client(&["run", "--", "true"]));
    assert_eq!(output.status.code(), Some(5));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("--retry-for"), "waiting is not advised");

    let output = finish(program().arg("validate"));
    assert_eq!(output.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Give --binding DIR"));
}

#[test]
fn a_question_that_the_server_refuses_is_2_and_a_product_that_it_does_not_know_6() {
    let bench = Bench::new();
    let output = finish(&mut bench.client(&["validate", "--feature", ""]));
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("refused the request: ") && !message.contains("InvalidArgument"), "{message}");

    let output = finish(program().args(["status", "--product", "nope", "--data"]).arg(bench.path("data")));
    assert_eq!(output.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nope"));
}

#[test]
fn no_seat_at_all_cannot_be_asked_for_and_an_operator_outside_a_pod_says_what_it_lacks() {
    let output = finish(program().args(["checkout", "--count", "0"]));
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("write a whole number from 1 to 4294967295"), "{message}");

    let mut operator = program();
    operator
        .args(["operator", "--server-image", "genie-lm"])
        .env_remove("POD_NAME")
        .env_remove("POD_NAMESPACE");
    let output = finish(&mut operator);
    assert_eq!(output.status.code(), Some(6));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        message.contains("POD_NAME and POD_NAMESPACE") && message.contains("metadata.namespace"),
        "{message}"
    );
}

#[test]
fn a_wrong_word_is_2_and_answered_with_the_right_one() {
    let output = finish(program().arg("validat"));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("validate"));
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_failure() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = program();
    command.args(["completions", "bash"]).stdout(writer).stderr(Stdio::piped());
    let output = command.spawn().expect("the program starts").wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());
}

#[test]
fn a_checkout_holds_its_seat_until_it_is_interrupted_and_gives_it_back() {
    let bench = Bench::new();
    for signal in [Signal::INT, Signal::TERM] {
        let mut holder = bench.start("holder", &["checkout", "-o", "json"]);
        until("it has the seat", || holder.stdout().contains("AUTHORIZED"));
        let denied = finish(&mut bench.client(&["checkout"]));
        assert_eq!(denied.status.code(), Some(3));
        assert!(String::from_utf8_lossy(&denied.stdout).contains("NO_SEATS"));
        holder.signal(signal);
        assert_eq!(holder.wait().code(), Some(0));
        assert!(bench.seat_is_free());
    }
}
