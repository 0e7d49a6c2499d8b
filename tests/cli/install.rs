//! `genie-lm install`.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use tempfile::TempDir;

use crate::harness::{code, finish, program};

#[test]
fn the_installed_binary_is_this_one_and_runs() {
    let dir = TempDir::new().expect("a directory");
    fs::write(dir.path().join("genie-lm"), "an older one").expect("a file");
    assert_eq!(code(program().arg("install").arg(dir.path())), Some(0));
    let installed = dir.path().join("genie-lm");
    let mode = fs::metadata(&installed).expect("installed").permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
    let version = finish(Command::new(&installed).arg("version"));
    assert_eq!(version.stdout, finish(program().arg("version")).stdout);
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 1, "nothing else is left there");
}

#[test]
fn a_directory_that_is_not_there_is_6_and_is_named() {
    let output = finish(program().args(["install", "/no/such/directory"]));
    assert_eq!(output.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/directory"));
}
