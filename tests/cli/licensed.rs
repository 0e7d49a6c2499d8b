//! A standalone server whose pool is licensed by a document.

use std::{fs, path::PathBuf, process::Command};

use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::{Running, code, finish, program, until};

const MANIFEST: &str = "
apiVersion: genie-lm.io/v1alpha1
kind: LicensePool
metadata: {name: acme}
spec:
  product: acme-cad
  seats: 1000
  licenses: [{secretRef: {name: one}}, {secretRef: {name: two}}]
  session: {ttl: 10s}
---
apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {name: team}
spec: {poolRef: {name: acme}}
";

/// A vendor, a customer that trusts its key, and the customer's server.
struct Site {
    dir: TempDir,
    server: Option<Running>,
}

impl Site {
    fn new() -> Site {
        let site = Site { dir: TempDir::new().expect("a directory"), server: None };
        fs::create_dir(site.path("manifests")).expect("a directory");
        fs::write(site.path("manifests/pool.yaml"), MANIFEST).expect("a file");
        site.good(&["license", "keygen", "--out", "vendor-key.pem"]);
        let pem = fs::read_to_string(site.path("vendor-key.pub.pem")).expect("a key");
        let indented: String = pem.lines().map(|line| format!("    {line}\n")).collect();
        let keys = format!("vendorKeys:\n- products: [acme-cad]\n  key: |\n{indented}");
        fs::write(site.path("keys.yaml"), keys).expect("a file");
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn good(&self, args: &[&str]) {
        let output = finish(program().args(args).current_dir(self.dir.path()));
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn issue(&self, id: &str, seats: &str, more: &[&str]) -> String {
        let out = format!("{id}-{seats}.jws");
        let parties = ["--vendor", "Acme", "--customer", "Initech", "--product", "acme-cad"];
        let numbers = ["--id", id, "--seats", seats, "--out", &out];
        self.good(&[&["license", "issue", "--key", "vendor-key.pem"], &parties[..], &numbers, more].concat());
        fs::read_to_string(self.path(&out)).expect("a license").trim().to_owned()
    }

    fn put(&self, secret: &str, document: &str) {
        let yaml = format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: {secret}}}\nstringData: {{license: '{document}'}}\n"
        );
        fs::write(self.path("manifests").join(format!("{secret}.yaml")), yaml).expect("a file");
    }

    fn serve(&mut self) {
        let mut command = program();
        command.args(["serve", "--manifests", "manifests", "--data", "data", "--vendor-keys", "keys.yaml"]);
        command.args(["--listen", "127.0.0.1:0"]).current_dir(self.dir.path());
        let server = Running::start(&mut command, &self.path("server.out"));
        until("the server serves", || server.stdout().contains("serving"));
        self.server = Some(server);
    }

    fn checkout(&self, hold: &str) -> Command {
        let mut command = program();
        command.args(["checkout", "--hold", hold, "--binding"]).arg(self.path("data/bindings/default/team"));
        command
    }

    /// Takes a seat and keeps it.
    fn hold(&self, name: &str) -> Running {
        let held = Running::start(&mut self.checkout("600s"), &self.path(name));
        until("a seat is held", || !held.stdout().is_empty());
        held
    }

    /// Exit code of one more checkout.
    fn one_more(&self) -> Option<i32> {
        code(&mut self.checkout("0s"))
    }

    fn log(&self) -> String {
        self.server.as_ref().expect("a server").stderr()
    }
}

#[test]
fn the_licensed_number_is_the_most_and_a_replaced_license_counts_without_a_restart() {
    let mut site = Site::new();
    site.put("one", &site.issue("one", "1", &[]));
    site.put("two", "hunter2");
    site.serve();
    let mut first = site.hold("first.out");
    assert_eq!(site.one_more(), Some(3), "{}", site.log());
    let log = site.log();
    assert!(log.contains("Secret two: what it holds is no license") && !log.contains("hunter2"), "{log}");

    site.put("two", &site.issue("two", "1", &[]));
    until("licenses add up", || site.one_more() == Some(0));
    let mut second = site.hold("second.out");
    assert_eq!(site.one_more(), Some(3));

    site.put("one", &site.issue("one", "2", &[]));
    until("the new one counts", || site.one_more() == Some(0));
    let document = site.issue("one", "500", &[]);
    let (message, _) = document.rsplit_once('.').expect("a signature");
    let (_, signature) = site
        .issue("one", "501", &[])
        .rsplit_once('.')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .expect("a signature");
    site.put("one", &format!("{message}.{signature}"));
    until("a forged one counts nothing", || site.one_more() == Some(3));
    assert!(site.log().contains("Secret one: the signature is wrong"), "{}", site.log());
    assert!(first.is_running() && second.is_running(), "nobody lost a seat");
    first.signal(Signal::TERM);
    second.signal(Signal::TERM);
    first.wait();
    second.wait();
}

#[test]
fn a_license_ends_by_itself_even_while_a_manifest_is_broken() {
    let mut site = Site::new();
    let end = Timestamp::now() + SignedDuration::from_secs(20);
    site.put("one", &site.issue("one", "1", &[]));
    site.put("two", &site.issue("two", "1", &["--not-after", &end.to_string()]));
    site.serve();
    let _first = site.hold("first.out");
    assert_eq!(site.one_more(), Some(0), "{}", site.log());
    fs::write(site.path("manifests/pool.yaml"), "kind: [").expect("a file");
    until("the broken file is told", || site.log().contains("not in force"));
    until("the second license has ended", || site.one_more() == Some(3));
    assert!(Timestamp::now() >= Timestamp::from_second(end.as_second()).expect("a time"));
    assert!(site.log().contains("Secret two: its license ended on"), "{}", site.log());
}

#[test]
fn seats_up_to_different_versions_are_counted_by_version_and_told() {
    let mut site = Site::new();
    let spec = |version: &str| {
        let spec = format!("features: [{{name: render, version: '{version}'}}]\n");
        let name = format!("{version}.yaml");
        fs::write(site.path(&name), spec).expect("a file");
        name
    };
    site.put("one", &site.issue("one", "1", &["--spec", &spec("2025.1")]));
    site.put("two", &site.issue("two", "1", &["--spec", &spec("2026.1")]));
    site.serve();
    let ask = |hold: &str, version: &str| {
        let mut command = site.checkout(hold);
        command.args(["--feature", "render", "--app-version", version]);
        command
    };
    let denied = |version: &str| {
        let output = finish(&mut ask("0s", version));
        assert_eq!(output.status.code(), Some(3), "{}", site.log());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mut newest = Running::start(&mut ask("600s", "2026.1"), &site.path("newest.out"));
    until("a seat is held", || !newest.stdout().is_empty());
    let told = denied("2025.2");
    assert!(told.contains("FEATURE_LIMIT"), "{told}");
    assert!(told.contains("the 1 seats of feature render for versions above 2025.1"), "{told}");
    assert!(denied("2026.2").contains("VERSION_NOT_COVERED"));
    let mut old = Running::start(&mut ask("600s", "2025.1"), &site.path("old.out"));
    until("the other seat is held", || !old.stdout().is_empty());
    assert!(denied("2025.1").contains("NO_SEATS"));
    for holder in [&mut newest, &mut old] {
        holder.signal(Signal::TERM);
        holder.wait();
    }
}

#[test]
fn a_license_that_begins_later_counts_from_its_moment_on() {
    let mut site = Site::new();
    let begin = Timestamp::now() + SignedDuration::from_secs(8);
    site.put("one", &site.issue("one", "1", &["--not-before", &begin.to_string()]));
    site.put("two", "hunter2");
    site.serve();
    let early = finish(&mut site.checkout("0s"));
    assert!(Timestamp::now() < begin, "this machine is too slow for this test");
    assert_eq!(early.status.code(), Some(3), "{}", site.log());
    assert!(String::from_utf8_lossy(&early.stdout).contains("NOT_YET_VALID"), "{early:?}");
    until("it has begun", || site.one_more() == Some(0));
    assert!(Timestamp::now() >= Timestamp::from_second(begin.as_second()).expect("a time"));
}

#[test]
fn check_tells_what_is_wrong_with_licenses_at_their_line() {
    let site = Site::new();
    site.put("one", &site.issue("one", "1", &[]));
    let check = |more: &[&str]| {
        let output = finish(program().args(["check", "manifests"]).args(more).current_dir(site.dir.path()));
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, told) = check(&["--vendor-keys", "keys.yaml"]);
    assert_eq!(code, Some(1));
    assert!(
        told.contains("manifests/pool.yaml:8: Secret two: it is not there, or has no key \"license\""),
        "{told}"
    );
    assert!(!told.contains("Secret one"), "{told}");
    assert!(check(&[]).1.contains("Secret one: its license is signed with a key that is not trusted here"));
}
