//! `genie-lm check`: what it says of manifests, and how it ends.

use std::fs;

use tempfile::TempDir;

use crate::harness::{finish, program};

const POOL: &str = "
apiVersion: genie-lm.io/v1alpha1
kind: LicensePool
metadata: {name: acme}
spec: {product: acme-cad, seats: 3}
";

const LOST: &str = "
apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {name: lost}
spec: {poolRef: {name: nowhere}}
";

#[test]
fn long_problems_do_not_spread_the_columns_of_what_is_good() {
    let dir = TempDir::new().expect("a directory");
    fs::write(dir.path().join("pool.yaml"), POOL).expect("a file");
    fs::write(dir.path().join("lost.yaml"), LOST).expect("a file");
    let output = finish(program().arg("check").arg(dir.path()));
    assert_eq!(output.status.code(), Some(1));
    let answer = String::from_utf8(output.stdout).expect("text");
    assert!(answer.contains("lost.yaml:5: there is no LicensePool default/nowhere"), "{answer}");
    assert!(
        answer.contains("\n\nKIND         NAMESPACE  NAME  FROM      SEATS  TIER  EXPIRES\n"),
        "{answer}"
    );
}

#[test]
fn a_path_that_is_not_there_is_6_and_files_without_an_object_are_a_problem() {
    let output = finish(program().args(["check", "/no/such/path"]));
    assert_eq!(output.status.code(), Some(6));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/such/path"));
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("empty.yaml");
    fs::write(&file, "").expect("a file");
    let output = finish(program().arg("check").arg(&file));
    assert_eq!(output.status.code(), Some(1));
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(answer.contains("empty.yaml: there is no object here"), "{answer}");
}
