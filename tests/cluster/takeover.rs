//! N seats and many more applications than N, while the owner's container is killed, its pod is deleted, and the
//! servers' image is updated: never more than N run, nobody who runs is stopped, and N run again in time.

use std::time::{Duration, Instant};

use crate::judge::{self, Run};
use crate::kit::{self, Namespace, eventually, kubectl, setting, shell_image};

const SEATS: usize = 4;
const APPS: usize = 10;
/// A seat outlives the silence after an owner's loss if what is left of it when its renewal is due is more than the
/// Lease's L(1+ρ) = 11 s and the takeover itself: 0.9·ttl − ttl/3 = 17 s, as long as X(1-ρ) does not cut the ttl.
const TTL: &str = "ttl: 30s";
const HORIZON: &str = "outageTolerance: 40s";
/// X(1+ρ) + 2·ttl.
const BACK: Duration = Duration::from_secs(44 + 60);

#[test]
fn never_one_seat_too_many_and_nobody_is_stopped_while_owners_come_and_go() {
    kit::installed();
    let world = Namespace::new("takeover");
    let pool = kit::pool("cad", "acme-cad", u32::try_from(SEATS).unwrap(), "");
    world.apply(&pool.replace("ttl: 10s", TTL).replace("outageTolerance: 15s", HORIZON));
    world.wait("lpool/cad", "Ready");
    world.wait("lgrant/cad-team", "Ready");
    for number in 0..APPS {
        // Some stay for the whole test, others come and go.
        let beats = if number < 2 { 100_000 } else { 15 + 5 * u32::try_from(number).unwrap() };
        let run = judge::script(beats);
        world.apply(&looping_app(&format!("app-{number}"), &run));
    }
    all_seats_run(&world, PATIENCE, None);

    let mut generation = generation_of(&world);
    for (name, fault) in
        [("kill -9 of the owner's container", kill_9 as fn(&Namespace)), ("deletion of its pod", delete_pod)]
    {
        let begun = fault_and_wait(&world, name, fault, &mut generation);
        println!("{name}: all {SEATS} seats run {:?} after it", begun.elapsed());
    }
    let before = server_pods(&world);
    let begun = Instant::now();
    let next = setting("GENIE_LM_IMAGE_NEXT");
    let patch = format!(r#"{{"spec":{{"server":{{"image":"{next}"}}}}}}"#);
    world.kubectl(&["patch", "lpool", "cad", "--type=merge", "-p", &patch]);
    eventually("the servers run the next image", kit::PATIENCE, || {
        let pods = server_pods(&world);
        (pods.len() == 2 && pods.iter().all(|pod| !before.contains(pod))).then_some(())
    });
    world.kubectl(&["rollout", "status", "deploy/cad-license-server", "--timeout=120s"]);
    all_seats_run(&world, BACK, Some(&mut generation));
    println!("rolling update of the image: all {SEATS} seats run {:?} after it began", begun.elapsed());

    let runs = runs(&world);
    assert!(runs.len() >= SEATS * 2, "the applications took turns: {runs:#?}");
    assert_eq!(
        judge::most_at_once(&runs),
        SEATS,
        "as many as there are seats ran, and never more: {runs:#?}"
    );
    let end = runs.iter().map(|run| run.last).max().unwrap();
    let stopped: Vec<&Run> = runs.iter().filter(|run| !run.done && run.last + 500 < end).collect();
    let told = |run: &&Run| {
        let pod = run.id.split('/').next().unwrap_or_default();
        let log = world.kubectl(&["logs", pod, "-c", "app"]);
        log.lines()
            .filter(|line| !line.contains("beat"))
            .map(|line| format!("{pod}: {line}\n"))
            .collect::<String>()
    };
    let told: String = stopped.iter().map(told).collect();
    assert!(stopped.is_empty(), "these held a seat and were stopped: {stopped:#?}\n{told}");
}

const PATIENCE: Duration = Duration::from_secs(90);

fn fault_and_wait(world: &Namespace, name: &str, fault: fn(&Namespace), generation: &mut u64) -> Instant {
    println!("{name}");
    let begun = Instant::now();
    fault(world);
    eventually("another owner", PATIENCE, || (generation_of(world) > *generation).then_some(()));
    all_seats_run(world, BACK.saturating_sub(begun.elapsed()).max(Duration::from_secs(1)), Some(generation));
    begun
}

/// Waits until all seats are used by running applications, by the applications' own records: from now on.
fn all_seats_run(world: &Namespace, patience: Duration, generation: Option<&mut u64>) {
    let now = uptime(world);
    let deadline = Instant::now() + patience;
    loop {
        let runs = runs(world);
        let end = runs.iter().map(|run| run.last).max().unwrap_or(0);
        // Whoever beat within the last second is running; a beat is a fifth of one.
        let running = judge::running_at(&runs, end.saturating_sub(100));
        if end > now + 100 && running == SEATS {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "{running} of {SEATS} seats run {patience:?} after it, at {end}: {runs:#?}"
        );
    }
    if let Some(generation) = generation {
        *generation = generation_of(world);
    }
}

fn uptime(world: &Namespace) -> u64 {
    runs(world).iter().map(|run| run.last).max().unwrap_or(0)
}

fn runs(world: &Namespace) -> Vec<Run> {
    // One by one: those that have not started yet have no log, and spoil a common request.
    let log =
        |number| kit::attempt("kubectl", &["-n", &world.0, "logs", &format!("app-{number}"), "-c", "app"]);
    let logs: Vec<u8> = (0..APPS).flat_map(|number| log(number).stdout).collect();
    judge::runs(&String::from_utf8_lossy(&logs))
}

fn generation_of(world: &Namespace) -> u64 {
    world.get(&["sledger", "acme-cad"])["status"]["record"]["generation"].as_u64().unwrap_or(0)
}

fn server_pods(world: &Namespace) -> Vec<String> {
    let pods = world.get(&["pods", "-l", "app.kubernetes.io/component=server"]);
    let names = pods["items"].as_array().unwrap().iter();
    names.map(|pod| pod["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

/// An application that comes back for another seat whenever it has ended.
fn looping_app(name: &str, script: &str) -> String {
    let run = format!(
        "while :; do /genie-lm/genie-lm run --feature render --retry-for 300s --on-loss stop -- sh -c '{script}'; done"
    );
    let pod = kit::app(name, "cad-team", "--", "");
    let command = serde_json::to_string(&run).unwrap();
    let begin = pod.find("    command: ").unwrap();
    let end = begin + pod[begin..].find('\n').unwrap();
    format!("{}    command: [sh, -c, {command}]{}", &pod[..begin], &pod[end..])
}

fn delete_pod(world: &Namespace) {
    world.kubectl(&["delete", "pod", &world.owner("acme-cad"), "--wait=false"]);
}

/// SIGKILL from the node, as the kernel's OOM killer would: by a pod that sees the node's processes.
fn kill_9(world: &Namespace) {
    let owner = world.get(&["pod", &world.owner("acme-cad")]);
    let (node, uid) =
        (owner["spec"]["nodeName"].as_str().unwrap(), owner["metadata"]["uid"].as_str().unwrap());
    let pattern = uid.replace('-', "[-_]");
    let script = format!(
        "for p in /proc/[0-9]*; do if grep -q 'pod{pattern}' $p/cgroup 2>/dev/null && \
         tr '\\0' ' ' <$p/cmdline | grep -q 'genie-lm serve'; then kill -9 ${{p#/proc/}} && echo killed; fi; done"
    );
    let image = shell_image();
    let script = serde_json::to_string(&script).unwrap();
    let killer = format!(
        r"
apiVersion: v1
kind: Pod
metadata: {{name: killer}}
spec:
  nodeName: {node}
  hostPID: true
  restartPolicy: Never
  containers:
  - {{name: killer, image: {image}, imagePullPolicy: IfNotPresent, command: [sh, -c, {script}], securityContext: {{privileged: true}}}}
"
    );
    // In the operator's namespace, which does not forbid it.
    kit::apply(kit::SYSTEM, &killer);
    kubectl(&[
        "-n",
        kit::SYSTEM,
        "wait",
        "pod/killer",
        "--for=jsonpath={.status.phase}=Succeeded",
        "--timeout=60s",
    ]);
    let said = kubectl(&["-n", kit::SYSTEM, "logs", "killer"]);
    kubectl(&["-n", kit::SYSTEM, "delete", "pod", "killer", "--wait=false"]);
    assert!(said.contains("killed"), "the owner's process was not found: {said:?}");
}
