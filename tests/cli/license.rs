//! `genie-lm license`, as a vendor and a customer use it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::harness::{finish, program};

const CLUSTER: &str = "0b3c7a52-9a1e-4c0e-8f3e-0d5a5c0f7b11";
const OTHER: &str = "11111111-2222-4333-8444-555555555555";
const SPEC: &str = r#"
vendor: Acme Software
customer: Initech
id: 2026-0042
product: acme-cad
seats: 10
features:
  - {name: render, version: "2026.1", seats: 4}
  - {name: draw}
tiers: [{name: pro, features: [render, draw]}]
validity: {notBefore: "2025-01-01T00:00:00Z", notAfter: "2098-01-01T00:00:00Z", gracePeriod: 720h}
overdraft: 10%
borrow: {maxDuration: 72h, maxSeats: 3}
"#;

/// A directory in which a vendor and a customer work; the vendor has a key.
struct Desk(TempDir);

impl Desk {
    fn new() -> Desk {
        let desk = Desk(TempDir::new().expect("a directory"));
        desk.good(&["keygen", "--out", "vendor-key.pem"]);
        desk.write("spec.yaml", SPEC);
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("a file")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = program();
        command.arg("license").args(args).current_dir(self.0.path());
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        finish(&mut self.command(args))
    }

    /// Runs what must succeed, and gives its stdout.
    fn good(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
        stdout(&output)
    }

    /// Runs what must fail with `code`, and gives its stderr.
    fn bad(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}{}", stdout(&output), stderr(&output));
        stderr(&output)
    }

    fn issue(&self, out: &str, more: &[&str]) {
        self.good(&[&["issue", "--key", "vendor-key.pem", "--out", out], more].concat());
    }

    /// `verify` with the vendor's key, as JSON, with its exit code.
    fn verify(&self, args: &[&str]) -> (Option<i32>, serde_json::Value) {
        let fixed = ["verify", "-o", "json", "--vendor-key", "vendor-key.pub.pem"];
        let output = self.run(&[&fixed, args].concat());
        let report = serde_json::from_slice(&output.stdout).expect("JSON");
        (output.status.code(), report)
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("UTF-8")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o7777
}

#[test]
fn a_vendors_private_key_is_for_its_owner_alone_never_shown_and_never_overwritten() {
    let desk = Desk::new();
    assert_eq!(mode(&desk.path("vendor-key.pem")), 0o600);
    let private = desk.read("vendor-key.pem");
    let secret = private.lines().nth(1).expect("a line of the key");
    let error = desk.bad(6, &["keygen", "--out", "."]);
    assert!(error.contains("vendor-key.pem") && error.contains("not overwritten"), "{error}");
    assert_eq!(desk.read("vendor-key.pem"), private);

    let shown = desk.good(&["keygen", "--out", "other"]);
    assert!(shown.contains("other.pub.pem") && shown.contains("other.pub.jwk"), "{shown}");
    assert!(!shown.contains(desk.read("other").lines().nth(1).expect("a line of the key")));
    let error = desk.bad(6, &["verify", "--vendor-key", "vendor-key.pem", "spec.yaml"]);
    assert!(error.contains("private key") && !error.contains(secret), "{error}");
    for (option, told) in [("--spec", "this is a private key"), ("--request", "JWS compact")] {
        let error = desk.bad(6, &["issue", "--key", "vendor-key.pem", option, "vendor-key.pem"]);
        assert!(error.contains(told) && !error.contains(secret), "{error}");
    }
}

#[test]
fn a_public_key_that_is_there_already_leaves_no_half_made_key() {
    let desk = Desk::new();
    desk.write("new.pub.jwk", "kept");
    let error = desk.bad(6, &["keygen", "--out", "new.pem"]);
    assert!(error.contains("new.pub.jwk"), "{error}");
    assert_eq!(desk.read("new.pub.jwk"), "kept");
    assert!(!desk.path("new.pem").exists() && !desk.path("new.pub.pem").exists());
}

#[test]
fn what_was_issued_is_inspected_without_trust_and_verified_with_the_vendors_key() {
    let desk = Desk::new();
    desk.issue("acme.jws", &["--spec", "spec.yaml"]);
    let shown = desk.good(&["inspect", "acme.jws"]);
    assert!(
        shown.contains("not checked") && shown.contains("Initech") && shown.contains("2026.1"),
        "{shown}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&desk.good(&["inspect", "acme.jws", "-o", "json"])).expect("JSON");
    assert_eq!((&json["signature"], &json["claims"]["sub"]), (&"NOT_CHECKED".into(), &"Initech".into()));

    let (code, report) = desk.verify(&["acme.jws"]);
    assert_eq!((code, &report["files"][0]["state"]), (Some(0), &"VALID".into()));
    let terms = &report["products"][0]["terms"];
    assert_eq!((&terms["seats"], &terms["overdraft"]), (&10.into(), &1.into()));
    let jwk = desk.good(&["verify", "--vendor-key", "vendor-key.pub.jwk", "acme.jws"]);
    assert!(jwk.contains("VALID") && jwk.contains("3 for 72h") && jwk.contains("2098-01-01"), "{jwk}");
}

#[test]
fn a_document_may_come_from_stdin_and_go_to_stdout() {
    let desk = Desk::new();
    desk.write("acme.jws", &desk.good(&["issue", "--key", "vendor-key.pem", "--spec", "spec.yaml"]));
    let mut command = desk.command(&["verify", "--vendor-key", "vendor-key.pub.pem", "-"]);
    command.stdin(fs::File::open(desk.path("acme.jws")).expect("a file"));
    assert_eq!(finish(&mut command).status.code(), Some(0));
}

#[test]
fn a_changed_license_or_one_of_another_vendor_is_3_and_said_why() {
    let desk = Desk::new();
    desk.issue("acme.jws", &["--spec", "spec.yaml"]);
    desk.good(&["keygen", "--out", "stranger.pem"]);
    desk.good(&["issue", "--key", "stranger.pem", "--spec", "spec.yaml", "--out", "forged.jws"]);
    let good = desk.read("acme.jws");
    let [header, payload, signature] = good.trim().split('.').collect::<Vec<_>>()[..] else {
        panic!("three parts: {good}")
    };
    let other = desk.read("forged.jws");
    desk.write(
        "mixed.jws",
        &format!("{header}.{payload}.{}", other.trim().rsplit('.').next().expect("a part")),
    );
    desk.write("changed.jws", &format!("{header}.{}.{signature}", payload.replacen('I', "J", 1)));
    desk.write("none.jws", "no license");
    for (file, told) in [
        ("forged.jws", "none of those given"),
        ("mixed.jws", "signature is wrong"),
        ("changed.jws", "signature is wrong"),
        ("none.jws", "JWS compact"),
    ] {
        let (code, report) = desk.verify(&["acme.jws", file]);
        assert_eq!(code, Some(3), "{file}");
        let message = report["files"][1]["message"].as_str().expect("a message");
        assert!(message.contains(told), "{file}: {message}");
        assert_eq!(report["products"][0]["terms"]["seats"], 10, "and adds nothing");
    }
    assert!(desk.bad(6, &["verify", "--vendor-key", "vendor-key.pub.pem", "gone.jws"]).contains("gone.jws"));
}

#[test]
fn licenses_of_a_product_add_up_and_end_one_by_one() {
    let desk = Desk::new();
    desk.issue("one.jws", &["--spec", "spec.yaml"]);
    let few =
        ["--spec", "spec.yaml", "--id", "2026-0043", "--seats", "5", "--not-after", "2097-01-01T00:00:00Z"];
    desk.issue("two.jws", &few);
    let seats = |at: &str| {
        let (code, report) = desk.verify(&["--at", at, "one.jws", "two.jws", "one.jws"]);
        (code, report["products"][0]["terms"]["seats"].as_u64().expect("a number"))
    };
    assert_eq!(seats("2024-12-31T23:59:59Z"), (Some(3), 0));
    assert_eq!(seats("2025-01-01T00:00:00Z"), (Some(0), 15));
    assert_eq!(seats("2097-01-30T23:59:59Z"), (Some(0), 15), "the grace period counts");
    assert_eq!(seats("2097-01-31T00:00:00Z"), (Some(0), 10));
    assert_eq!(seats("2098-01-31T00:00:00Z"), (Some(4), 0));
    let table = desk.good(&["verify", "--vendor-key", "vendor-key.pub.pem", "one.jws", "two.jws"]);
    let ends = table.find("2097-01-31T00:00:00Z").expect("the first end");
    assert!(ends < table.find("2098-01-31T00:00:00Z").expect("the last end"), "{table}");
}

#[test]
fn a_bound_license_counts_in_its_place_only() {
    let desk = Desk::new();
    desk.issue("cluster.jws", &["--spec", "spec.yaml", "--cluster", CLUSTER]);
    desk.issue("host.jws", &["--spec", "spec.yaml", "--host", "host1-0123456789abcdef"]);
    let code = |args: &[&str]| desk.verify(args).0;
    assert_eq!(code(&["cluster.jws"]), Some(0), "no place was asked for");
    assert_eq!(code(&["--cluster", CLUSTER, "cluster.jws"]), Some(0));
    assert_eq!(code(&["--cluster", OTHER, "cluster.jws"]), Some(3));
    assert_eq!(code(&["--host=host1-0123456789abcdef", "host.jws"]), Some(0));
    assert_eq!(code(&["--host=host1-fedcba9876543210", "host.jws"]), Some(3));
    assert_eq!(code(&["--cluster", CLUSTER, "host.jws"]), Some(3));
}

#[test]
fn a_request_proves_the_servers_key_and_the_license_names_it() {
    let desk = Desk::new();
    let request = ["request", "--product", "acme-cad", "--customer", "Initech", "--cluster", CLUSTER];
    desk.good(&[&request[..], &["--new-server-key", "server.pem", "--out", "request.jws"]].concat());
    assert_eq!(mode(&desk.path("server.pem")), 0o600);
    assert!(desk.good(&["inspect", "request.jws"]).contains("holder of the server key"));

    let vendor = ["--vendor", "Acme Software", "--seats", "3", "--feature", "render"];
    desk.issue("acme.jws", &[&["--request", "request.jws"], &vendor[..]].concat());
    let (code, report) = desk.verify(&["--cluster", CLUSTER, "acme.jws"]);
    assert_eq!(code, Some(0));
    let key: serde_json::Value = serde_json::from_str(&desk.read("server.pub.jwk")).expect("JSON");
    let claims = &report["files"][0]["claims"];
    assert_eq!((&claims["cnf"]["jwk"], &claims["product"]), (&key, &"acme-cad".into()));

    // The same key again, and without one.
    desk.good(&[&request[..], &["--server-key", "server.pem", "--out", "again.jws"]].concat());
    desk.good(&[&request[..], &["--out", "plain.json"]].concat());
    assert!(desk.good(&["inspect", "plain.json"]).contains("none"));
    desk.issue("plain.jws", &[&["--request", "plain.json"], &vendor[..]].concat());

    // A key that somebody wrote into a request.
    let plain = desk.read("plain.json").replacen('{', &format!(r#"{{"cnf": {{"jwk": {key}}},"#), 1);
    desk.write("stolen.json", &plain);
    let args = ["issue", "--key", "vendor-key.pem", "--request", "stolen.json"];
    assert!(desk.bad(6, &args).contains("not signed with it"));
}

#[test]
fn a_license_that_cannot_be_is_not_signed_and_all_reasons_are_told() {
    let desk = Desk::new();
    let issue = ["issue", "--key", "vendor-key.pem", "--out", "acme.jws"];
    let error = desk.bad(6, &[&issue[..], &["--product", "Acme CAD", "--seats", "0"]].concat());
    for told in ["vendor is missing", "customer is missing", "such as acme-cad", "between 1 and 1000000"] {
        assert!(error.contains(told), "{told}: {error}");
    }
    desk.write("typo.yaml", &SPEC.replace("seats: 10", "seat: 10"));
    let error = desk.bad(6, &[&issue[..], &["--spec", "typo.yaml"]].concat());
    assert!(error.contains("typo.yaml") && error.contains("seat"), "{error}");
    let error = desk.bad(2, &[&issue[..], &["--not-after", "2027"]].concat());
    assert!(error.contains("2027-12-31T00:00:00Z"), "{error}");
    let error =
        desk.bad(6, &[&issue[..], &["--spec", "spec.yaml", "--not-after", "2025-06-01T00:00:00Z"]].concat());
    assert!(error.contains("already over"), "{error}");
    let error = desk.bad(2, &["request", "--product", "acme-cad", "--cluster", "kind"]);
    assert!(error.contains("kubectl get namespace kube-system"), "{error}");
    assert!(!desk.path("acme.jws").exists());
}

#[test]
fn a_license_is_never_written_over_another() {
    let desk = Desk::new();
    desk.issue("acme.jws", &["--spec", "spec.yaml"]);
    let first = desk.read("acme.jws");
    let again = ["issue", "--key", "vendor-key.pem", "--spec", "spec.yaml", "--out", "acme.jws"];
    assert!(desk.bad(6, &again).contains("not overwritten"));
    assert_eq!(desk.read("acme.jws"), first);
}
