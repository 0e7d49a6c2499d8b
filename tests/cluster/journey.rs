//! What a user does from installation to removal.

use std::time::Duration;

use crate::kit::{self, Namespace, attempt, eventually, helm, kubectl, setting};

#[test]
fn the_chart_is_clean_and_the_api_server_takes_all_of_it() {
    kit::installed();
    helm(&["lint", "--strict", kit::chart()]);
    let rendered = helm(&["template", "genie-lm", kit::chart(), "-n", kit::SYSTEM]);
    assert!(rendered.contains("kind: CustomResourceDefinition"));
    helm(&["upgrade", "genie-lm", kit::chart(), "-n", kit::SYSTEM, "--reuse-values", "--dry-run=server"]);
    let bad = attempt("helm", &["template", "genie-lm", kit::chart(), "--set", "replicaz=2"]);
    assert!(!bad.status.success(), "a value that does not exist is refused");
    kubectl(&[
        "apply",
        "--dry-run=server",
        "-n",
        kit::SYSTEM,
        "-k",
        concat!(env!("CARGO_MANIFEST_DIR"), "/deploy"),
    ]);
    helm(&["test", "genie-lm", "-n", kit::SYSTEM, "--timeout", "60s"]);
}

#[test]
fn a_pool_and_a_grant_become_a_server_and_a_secret_that_an_app_runs_with() {
    kit::installed();
    let world = Namespace::new("journey");
    world.apply(&kit::pool("cad", "acme-cad", 1, ""));
    world.wait("lpool/cad", "Ready");
    world.wait("lgrant/cad-team", "Ready");
    for object in [
        "deploy/cad-license-server",
        "svc/cad-license",
        "pdb/cad-license-server",
        "netpol/cad-license-server",
        "sa/cad-license-server",
        "role/cad-license-server",
        "splan/acme-cad",
        "sledger/acme-cad",
        "lease/genie-lm.acme-cad",
        "secret/cad-license-server-tls",
        "secret/cad-team-license",
    ] {
        world.kubectl(&["get", object]);
    }
    assert_eq!(world.get(&["secret", "cad-team-license"])["type"], "servicebinding.io/genie-lm");

    world.apply(&kit::app("holder", "cad-team", "--feature render", &kit::beating(100_000)));
    world.wait("pod/holder", "Ready");
    eventually("the holder runs", kit::PATIENCE, || log(&world, "holder").contains("RUN beat").then_some(()));
    eventually("kubectl shows the seat in use", kit::PATIENCE, || {
        (world.get(&["lpool", "cad"])["status"]["seats"]["inUse"] == 1).then_some(())
    });
    let table = world.kubectl(&["get", "lpool,lgrant"]);
    for word in ["PRODUCT", "IN-USE", "READY", "EXPIRES", "acme-cad", "True"] {
        assert!(table.contains(word), "{table}");
    }

    world.apply(&kit::app("late", "cad-team", "--feature render", "echo RAN"));
    eventually("the second app is refused", kit::PATIENCE, || {
        (exit_code(&world, "late") == Some(3)).then_some(())
    });
    assert!(!log(&world, "late").contains("RAN"), "no seat, no run");

    world.kubectl(&["delete", "pod", "holder"]);
    world.apply(&kit::app("next", "cad-team", "--feature render --retry-for 60s", "echo RAN; exit 7"));
    eventually("its seat came back, and the next app ends as it wants", kit::PATIENCE, || {
        (exit_code(&world, "next") == Some(7)).then_some(())
    });
    assert!(log(&world, "next").contains("RAN"));
}

#[test]
fn loss_of_the_seat_does_what_the_app_was_told() {
    kit::installed();
    let world = Namespace::new("loss");
    world.apply(&kit::pool("cad", "acme-cad", 2, ""));
    world.wait("lpool/cad", "Ready");
    world.wait("lgrant/cad-team", "Ready");
    let forever = "trap 'echo TOLD; exit 9' TERM; while :; do sleep 0.2; done";
    world.apply(&kit::app("stops", "cad-team", "--on-loss stop", forever));
    world.apply(&kit::app(
        "warns",
        "cad-team",
        "--on-loss warn",
        "i=0; while [ $i -lt 400 ]; do sleep 0.2; i=$((i+1)); done",
    ));
    eventually("both hold a seat", kit::PATIENCE, || {
        (world.get(&["lpool", "cad"])["status"]["seats"]["inUse"] == 2).then_some(())
    });
    world.kubectl(&["delete", "lgrant", "cad-team"]);
    eventually("the one is stopped", kit::PATIENCE, || exit_code(&world, "stops"));
    assert!(log(&world, "stops").contains("TOLD"), "it was asked to end first");
    eventually("the other is warned", kit::PATIENCE, || {
        log(&world, "warns").contains("genie-lm:").then_some(())
    });
    assert_eq!(exit_code(&world, "warns"), None, "and runs on");
}

#[test]
fn pools_of_one_group_share_their_servers() {
    kit::installed();
    let world = Namespace::new("group");
    world.apply(&kit::pool("cad", "acme-cad", 1, "  server: {group: shared}"));
    world.wait("lpool/cad", "Ready");
    world.apply(&kit::pool("sim", "acme-sim", 1, "  server: {group: shared}"));
    // The list of products reaches the pods when the kubelet next looks at it, within a minute and a half.
    world.wait("lpool/sim", "Ready");
    let deployments = world.get(&["deploy"]);
    assert_eq!(deployments["items"].as_array().unwrap().len(), 1, "{deployments}");
    world.wait("lgrant/sim-team", "Ready");
    world.apply(&kit::app("sim", "sim-team", "--feature render", "echo RAN"));
    eventually("the second pool gives a seat", kit::PATIENCE, || {
        (exit_code(&world, "sim") == Some(0)).then_some(())
    });
}

#[test]
fn upgrade_keeps_seats_and_uninstall_keeps_what_was_bought() {
    kit::installed();
    let world = Namespace::new("upgrade");
    world.apply(&kit::pool("cad", "acme-cad", 1, ""));
    world.wait("lpool/cad", "Ready");
    world.wait("lgrant/cad-team", "Ready");
    world.apply(&kit::app("holder", "cad-team", "--feature render", &kit::beating(100_000)));
    eventually("the holder runs", kit::PATIENCE, || log(&world, "holder").contains("RUN beat").then_some(()));

    let flags = kit::image_flags(&setting("GENIE_LM_IMAGE_NEXT"));
    let mut upgrade = vec!["upgrade", "genie-lm", kit::chart(), "-n", kit::SYSTEM, "--reuse-values"];
    upgrade.extend(["--wait", "--timeout", "120s"]);
    upgrade.extend(flags.iter().map(String::as_str));
    helm(&upgrade);
    world.kubectl(&["rollout", "status", "deploy/cad-license-server", "--timeout=120s"]);
    eventually("an owner of the new version", kit::PATIENCE, || {
        let pod = attempt("kubectl", &["-n", &world.0, "get", "pod", &world.owner("acme-cad")]);
        pod.status.success().then_some(())
    });

    helm(&["uninstall", "genie-lm", "-n", kit::SYSTEM, "--wait"]);
    world.kubectl(&["get", "lpool/cad", "lgrant/cad-team", "sledger/acme-cad"]);
    let before = log(&world, "holder").lines().count();
    // More than a ttl and a horizon without an operator.
    eventually("the holder runs on", Duration::from_secs(60), || {
        (log(&world, "holder").lines().count() > before + 150).then_some(())
    });
    kit::installed();
    world.wait("lpool/cad", "Ready");
    let holder = world.get(&["pod", "holder"]);
    assert_eq!(holder["status"]["phase"], "Running", "the seat was kept all the time: {holder}");
}

fn log(world: &Namespace, pod: &str) -> String {
    let output = attempt("kubectl", &["-n", &world.0, "logs", pod, "-c", "app"]);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn exit_code(world: &Namespace, pod: &str) -> Option<i64> {
    let pod = world.get(&["pod", pod]);
    pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"].as_i64()
}
