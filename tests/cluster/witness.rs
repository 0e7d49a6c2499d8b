//! Pods of the witness (app/main.rs), and what they have written down.

use std::fs;
use std::path::Path;

use crate::judge::{self, Millis, Record};
use crate::kit::{self, Namespace, eventually, setting};

/// When its renewal is due, 0.9·ttl − ttl/3 = 17 s of a seat are left: more than a takeover takes.
pub(crate) const TTL: Millis = 30_000;
/// Of the feature `render` there are fewer than are wanted at any time: 3 keep one, 8 come and go. Of the pool 12 + 6 + 3
/// are in use: what lies above the promise is enough for those that measure.
const SEATS: &str = "seats: 36\n  features: [{name: draw}, {name: render, seats: 6}]";
const CROWDS: &str = "holder:draw:12 holder:render:3 comer:render:8 meter:draw:3";
const HOLDERS: usize = 15;

/// A pool, and a grant of the same name with `-team` behind it.
pub(crate) fn pool(name: &str, replicas: u32, horizon: Millis) -> String {
    let replaced = [
        (
            "tiers: [{name: pro, features: [render]}]",
            "tiers: [{name: pro, features: [draw, render]}]".to_owned(),
        ),
        ("seats: 1\n  features: [{name: render}]", SEATS.to_owned()),
        ("ttl: 10s", format!("ttl: {}s", TTL / 1_000)),
        ("outageTolerance: 15s", format!("outageTolerance: {}s", horizon / 1_000)),
    ];
    let pool = kit::pool(name, name, 1, &format!("  server: {{replicas: {replicas}}}"));
    replaced.iter().fold(pool, |pool, (old, new)| {
        assert!(pool.contains(old), "{old:?} is not in {pool}");
        pool.replace(old, new)
    })
}

/// Waits for the servers of a pool, and lets its witness take seats.
pub(crate) fn begin(world: &Namespace, name: &str) {
    world.wait(&format!("lpool/{name}"), "Ready");
    world.wait(&format!("lgrant/{name}-team"), "Ready");
    world.kubectl(&["rollout", "status", &format!("deploy/{name}-license-server"), "--timeout=120s"]);
    world.apply(&pod(&format!("witness-{name}"), name, CROWDS));
}

/// Waits until the witness of a pool has its seats, and there are no more of those that are wanted most.
pub(crate) fn settled(world: &Namespace, name: &str) {
    let limits = judge::limits(&world.get(&["lpool", name]));
    world.wait(&format!("pod/witness-{name}"), "Ready");
    eventually(&format!("the seats of {name} are in use"), kit::PATIENCE, || {
        let beliefs = judge::beliefs(&records(world, &format!("witness-{name}")));
        let held = beliefs.iter().filter(|belief| belief.worker.starts_with("holder")).count();
        let mut scarce = limits.iter().filter(|limit| limit.feature.is_some());
        (held == HOLDERS && scarce.all(|limit| limit.most(&beliefs) == limit.cap)).then_some(())
    });
}

/// A pod of crowds (app/main.rs says what they are) that take seats of a pool.
pub(crate) fn pod(name: &str, pool: &str, crowds: &str) -> String {
    let image = setting("GENIE_LM_WITNESS_IMAGE");
    let crowds = crowds.replace(' ', "', '");
    format!(
        r"
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: witness}}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
  - name: witness
    image: {image}
    imagePullPolicy: IfNotPresent
    args: ['{crowds}']
    env: [{{name: SERVICE_BINDING_ROOT, value: /bindings}}]
    securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
    volumeMounts: [{{name: license, mountPath: /bindings/license, readOnly: true}}]
  volumes: [{{name: license, secret: {{secretName: {pool}-team-license}}}}]
---
"
    )
}

/// All that a witness has written down until now.
pub(crate) fn records(world: &Namespace, pod: &str) -> Vec<Record> {
    judge::records(&world.kubectl(&["logs", pod]))
}

/// All of it at the end, also left in a file for whoever looks into a failure.
pub(crate) fn testimony(world: &Namespace, pod: &str) -> Vec<Record> {
    let log = world.kubectl(&["logs", pod]);
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{pod}.jsonl")), &log).unwrap();
    judge::records(&log)
}
