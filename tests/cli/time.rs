//! What a user is told of an end that is near, and of a clock that was set back.

use std::fs;

use jiff::{SignedDuration, Timestamp};
use rustix::process::Signal;

use crate::harness::{Bench, finish, program};

fn in_hours(hours: i64) -> Timestamp {
    let then = Timestamp::now() + SignedDuration::from_hours(hours);
    Timestamp::from_second(then.as_second()).expect("a time")
}

fn bench(validity: &str) -> Bench {
    Bench::with(&format!(
        "
apiVersion: genie-lm.io/v1alpha1
kind: LicensePool
metadata: {{name: acme}}
spec: {{product: acme-cad, seats: 1, session: {{ttl: 10s}}, validity: {validity}}}
---
apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {{name: team}}
spec: {{poolRef: {{name: acme}}}}
"
    ))
}

#[test]
fn an_end_that_is_near_is_told_once_on_stderr_by_each_command_and_changes_no_exit_code() {
    let end = in_hours(48);
    let bench = bench(&format!("{{notAfter: '{end}', expiryWarnings: [72h]}}"));
    let told = format!("genie-lm: The license of acme-cad ends within 3 days, on {end}: renew it.\n");
    for args in [&["validate"][..], &["activate"], &["checkout", "--hold", "0s"], &["run", "--", "true"]] {
        let output = finish(&mut bench.client(args));
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), told, "{args:?}");
    }
    let output = finish(program().args(["status", "--data"]).arg(bench.path("data")));
    assert_eq!(String::from_utf8_lossy(&output.stderr), told);
}

#[test]
fn a_clock_that_was_set_back_over_a_restart_is_a_denial() {
    let mut bench = bench("{notAfter: '2099-01-01T00:00:00Z'}");
    assert_eq!(finish(&mut bench.client(&["run", "--", "true"])).status.code(), Some(0));
    bench.stop_server(Signal::TERM);
    let file = bench.path("data/ledgers/default/acme-cad.json");
    let mut record: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&file).expect("a ledger")).expect("JSON");
    assert!(record["latestTime"].is_u64(), "{record}");
    record["latestTime"] = in_hours(25).as_second().into();
    fs::write(&file, record.to_string()).expect("a file");
    bench.serve("127.0.0.1:0");
    for args in [&["validate"][..], &["checkout", "--hold", "0s"]] {
        let output = finish(&mut bench.client(args));
        assert_eq!(output.status.code(), Some(3), "{args:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("CLOCK_SET_BACK"), "{args:?}");
    }
    let output = finish(&mut bench.client(&["run", "--", "true"]));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{message}");
    assert!(message.contains("no new seats until it is right"), "{message}");
}
