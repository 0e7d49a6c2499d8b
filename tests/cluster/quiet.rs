//! A settled world is silent: seats held and renewed, and no API write beyond Leases.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kit::{self, Namespace, SYSTEM, eventually, setting};

const SILENCE: Duration = Duration::from_secs(60);

#[test]
fn a_settled_world_writes_nothing_but_leases_for_a_minute() {
    let audit = setting("GENIE_LM_CLUSTER_AUDIT");
    kit::installed();
    // What other tests have left is still being deleted, and that is written down.
    eventually("no namespace is being deleted", kit::PATIENCE, || {
        let all = kit::get(&["namespaces"]);
        let going = |one: &Value| one["status"]["phase"] == "Terminating";
        (!all["items"].as_array()?.iter().any(going)).then_some(())
    });
    let world = Namespace::new("quiet");
    world.apply(&kit::pool("cad", "acme-cad", 3, ""));
    world.wait("lpool/cad", "Ready");
    world.wait("lgrant/cad-team", "Ready");
    let script = kit::beating(100_000);
    for name in ["one", "two"] {
        world.apply(&kit::app(name, "cad-team", "--feature render", &script));
    }
    eventually("two seats are used, and seen", kit::PATIENCE, || {
        (world.get(&["lpool", "cad"])["status"]["seats"]["inUse"] == 2).then_some(())
    });
    let mut from = 0;
    eventually("what was still to be written is written", kit::PATIENCE, || {
        let lines = read(&audit);
        let quiet = Instant::now();
        let mut seen = lines.len();
        while quiet.elapsed() < Duration::from_secs(10) {
            std::thread::park_timeout(Duration::from_millis(500));
            let now = read(&audit);
            if now[seen..].iter().any(|line| ours(&world, line)) {
                return None;
            }
            seen = now.len();
        }
        from = seen;
        Some(())
    });
    kit::pass(SILENCE);
    let lines = read(&audit);
    let writes: Vec<String> =
        lines[from..].iter().filter(|line| ours(&world, line)).map(ToString::to_string).collect();
    assert!(writes.is_empty(), "{} writes in a settled minute: {writes:#?}", writes.len());
    let leases =
        lines[from..].iter().filter(|line| by_us(&world, line) && resource(line) == "leases").count();
    assert!(leases >= 10, "the audit log sees these users' writes: {leases} Lease renewals in a minute");
    assert_eq!(
        world.get(&["lpool", "cad"])["status"]["seats"]["inUse"],
        2,
        "the seats were held all the while"
    );
}

fn read(path: &str) -> Vec<Value> {
    let text = fs::read_to_string(path).expect("the audit log");
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn resource(line: &Value) -> &str {
    line["objectRef"]["resource"].as_str().unwrap_or_default()
}

/// Written by the operator, or by a server of this world.
fn by_us(world: &Namespace, line: &Value) -> bool {
    let user = line["user"]["username"].as_str().unwrap_or_default();
    user.starts_with(&format!("system:serviceaccount:{SYSTEM}:"))
        || user.starts_with(&format!("system:serviceaccount:{}:cad-license", world.0))
}

fn ours(world: &Namespace, line: &Value) -> bool {
    by_us(world, line) && resource(line) != "leases"
}
