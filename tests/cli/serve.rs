//! `genie-lm serve`: what it says before it serves.

use std::fs;

use tempfile::TempDir;

use crate::harness::{Bench, Running, finish, program, until};

#[test]
fn without_arguments_it_names_all_that_could_be_given() {
    let output = finish(program().arg("serve"));
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    for name in ["--manifests", "--data", "--kubernetes"] {
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn a_directory_without_a_pool_is_6_and_each_problem_is_told_once() {
    let dir = TempDir::new().expect("a directory");
    let manifests = dir.path().join("manifests");
    fs::create_dir(&manifests).expect("a directory");
    fs::write(manifests.join("pool.yaml"), "kind: LicensePool\n").expect("a file");
    let mut serve = program();
    serve.arg("serve").arg("--manifests").arg(&manifests).arg("--data").arg(dir.path().join("data"));
    let output = finish(serve.args(["--listen", "127.0.0.1:0"]));
    assert_eq!(output.status.code(), Some(6));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(message.matches("pool.yaml").count(), 1, "{message}");
}

#[test]
fn a_directory_that_is_not_there_is_6_and_told_in_one_sentence() {
    let dir = TempDir::new().expect("a directory");
    let mut serve = program();
    serve.args(["serve", "--manifests", "/no/such/directory", "--data"]).arg(dir.path().join("data"));
    let output = finish(serve.args(["--listen", "127.0.0.1:0"]));
    assert_eq!(output.status.code(), Some(6));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("/no/such/directory") && !message.contains(".;"), "{message}");
}

#[test]
fn a_file_in_the_place_of_the_directory_is_6_so_that_what_lies_beside_it_is_not_left_out() {
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("pool.yaml");
    fs::write(&file, "").expect("a file");
    let mut serve = program();
    serve.arg("serve").arg("--manifests").arg(&file).arg("--data").arg(dir.path().join("data"));
    let output = finish(serve.args(["--listen", "127.0.0.1:0"]));
    assert_eq!(output.status.code(), Some(6));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("pool.yaml is a file: give --manifests the directory"), "{message}");
}

#[test]
fn a_log_level_that_is_none_is_told_and_one_pool_is_a_pool() {
    let bench = Bench::new();
    let mut serve = program();
    serve.arg("serve").arg("--manifests").arg(bench.path("manifests")).arg("--data").arg(bench.path("other"));
    serve.args(["--listen", "127.0.0.1:0"]).env("GENIE_LM_LOG", "bogus");
    let server = Running::start(&mut serve, &bench.path("other.out"));
    until("the server serves", || server.stdout().contains("serving"));
    assert!(server.stdout().starts_with("serving 1 pool on 127.0.0.1:"), "{}", server.stdout());
    assert_eq!(server.stderr().matches("error, warn, info, debug, trace").count(), 1, "{}", server.stderr());
}
