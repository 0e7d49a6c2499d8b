//! Hands on the nodes: a privileged pod each, that sees all processes of its node and enters their networks. What it does
//! is what a kernel, a network or a person does to a server.

use crate::judge::Millis;
use crate::kit::{self, Namespace, SYSTEM, get, kubectl, shell_image};

/// Says when, in seconds of uptime; what follows in the script happens right after.
const NOW: &str = "cut -d' ' -f1 /proc/uptime";

/// See the module; gone with it. In the operator's namespace, which does not forbid them.
pub(crate) struct Hands {
    nodes: Vec<String>,
}

/// A server's process, as its node sees it.
pub(crate) struct Process {
    node: String,
    pod_uid: String,
}

impl Hands {
    pub(crate) fn new() -> Self {
        let nodes = get(&["nodes"]);
        let nodes: Vec<String> = nodes["items"].as_array().unwrap().iter().map(name).collect();
        let image = shell_image();
        let pods: String = nodes
            .iter()
            .map(|node| {
                format!(
                    r"
apiVersion: v1
kind: Pod
metadata: {{name: hand-{node}, labels: {{app: hand}}}}
spec:
  nodeName: {node}
  hostPID: true
  terminationGracePeriodSeconds: 1
  tolerations: [{{operator: Exists}}]
  containers:
  - name: hand
    image: {image}
    imagePullPolicy: IfNotPresent
    command: [sleep, '100000']
    securityContext: {{privileged: true}}
    volumeMounts: [{{name: host, mountPath: /host}}]
  volumes: [{{name: host, hostPath: {{path: /}}}}]
---
"
                )
            })
            .collect();
        let hands = Self { nodes };
        kit::apply(SYSTEM, &pods);
        kubectl(&["-n", SYSTEM, "wait", "pod", "-l", "app=hand", "--for=condition=Ready", "--timeout=60s"]);
        hands
    }

    fn exec(&self, node: &str, script: &str) -> String {
        kubectl(&["-n", SYSTEM, "exec", &format!("hand-{node}"), "--", "sh", "-c", script])
    }

    /// This moment, on the clock of the nodes.
    pub(crate) fn now(&self) -> Millis {
        moment(&self.exec(&self.nodes[0], NOW))
    }

    /// Runs `script` with the owner's process id as $p; gives the moment at which it began. The script may enter the
    /// network of the process with `net COMMAND`, which is a command of the node.
    pub(crate) fn act(&self, on: &Process, script: &str) -> Millis {
        let pattern = on.pod_uid.replace('-', "[-_]");
        let script = format!(
            "p=''; for d in /proc/[0-9]*; do if grep -q 'pod{pattern}' $d/cgroup 2>/dev/null && \
             tr '\\0' ' ' <$d/cmdline | grep -q 'genie-lm serve'; then p=${{d#/proc/}}; fi; done\n\
             [ -n \"$p\" ] || {{ echo 'the process was not found' >&2; exit 1; }}\n\
             net() {{ chroot /host /usr/bin/env PATH=/usr/sbin:/usr/bin:/sbin:/bin nsenter --net=/proc/$p/ns/net \"$@\"; }}\n\
             {NOW}\n{script}"
        );
        moment(&self.exec(&on.node, &script))
    }
}

impl Process {
    /// Of the pod that owns the product's ledger.
    pub(crate) fn of_owner(world: &Namespace, product: &str) -> Self {
        let pod = world.get(&["pod", &world.owner(product)]);
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        Self { node: text(&pod["spec"]["nodeName"]), pod_uid: text(&pod["metadata"]["uid"]) }
    }
}

impl Drop for Hands {
    fn drop(&mut self) {
        kit::attempt("kubectl", &["-n", SYSTEM, "delete", "pod", "-l", "app=hand", "--wait=false"]);
    }
}

fn name(node: &serde_json::Value) -> String {
    node["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}

/// The first line, in seconds with two decimals.
fn moment(said: &str) -> Millis {
    let digits = said.lines().next().unwrap_or_default().replace('.', "");
    digits.parse::<Millis>().unwrap_or_else(|error| panic!("{said:?} is no moment: {error}")) * 10
}
