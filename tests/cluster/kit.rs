//! kubectl and helm as a user types them, waits with a deadline, and a namespace for each test.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Where the operator is installed.
pub(crate) const SYSTEM: &str = "genie-lm";
/// Longest wait for something that takes seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/genie-lm");

/// What the environment must say; says what to run where it does not.
pub(crate) fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run these tests with `make e2e`"))
}

/// An image with a shell, for applications.
pub(crate) fn shell_image() -> String {
    std::env::var("GENIE_LM_SHELL_IMAGE").unwrap_or_else(|_| "example.test/busybox:1".into())
}

fn command(program: &str, arguments: &[&str]) -> Command {
    setting("KUBECONFIG");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command
}

pub(crate) fn attempt(program: &str, arguments: &[&str]) -> Output {
    command(program, arguments).output().unwrap_or_else(|error| panic!("{program} does not start: {error}"))
}

fn must(program: &str, arguments: &[&str], output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {}: {err}\n{out}", arguments.join(" "));
    out.into_owned()
}

pub(crate) fn kubectl(arguments: &[&str]) -> String {
    must("kubectl", arguments, &attempt("kubectl", arguments))
}

pub(crate) fn helm(arguments: &[&str]) -> String {
    must("helm", arguments, &attempt("helm", arguments))
}

pub(crate) fn get(arguments: &[&str]) -> Value {
    let all = [&["get", "-o", "json"], arguments].concat();
    serde_json::from_str(&kubectl(&all)).expect("JSON from kubectl")
}

/// `kubectl apply` of a text.
pub(crate) fn apply(namespace: &str, manifest: &str) -> String {
    let arguments = ["apply", "-n", namespace, "-f", "-"];
    let mut child = command("kubectl", &arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    child.stdin.take().unwrap().write_all(manifest.as_bytes()).unwrap();
    must("kubectl", &arguments, &child.wait_with_output().unwrap())
}

/// Waits until `holds` gives something, with a deadline.
pub(crate) fn eventually<T>(what: &str, patience: Duration, mut holds: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = holds() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {patience:?} in vain for: {what}");
        // Each look is a process of kubectl's; this only keeps it from taking a whole core.
        std::thread::park_timeout(Duration::from_millis(200));
    }
}

/// Lets time pass, where what is watched is a time.
pub(crate) fn pass(time: Duration) {
    let end = Instant::now() + time;
    while Instant::now() < end {
        std::thread::park_timeout(end.saturating_duration_since(Instant::now()));
    }
}

/// The flags of every installation: the image of this version.
pub(crate) fn image_flags(image: &str) -> Vec<String> {
    let (repository, tag) = image.rsplit_once(':').expect("GENIE_LM_IMAGE has a tag");
    vec!["--set".into(), format!("image.repository={repository},image.tag={tag}")]
}

/// Installs the operator as a user does, or finds it installed.
pub(crate) fn installed() {
    let flags = image_flags(&setting("GENIE_LM_IMAGE"));
    let mut arguments = vec!["upgrade", "--install", "genie-lm", CHART, "-n", SYSTEM, "--create-namespace"];
    arguments.extend(["--wait", "--timeout", "120s"]);
    arguments.extend(flags.iter().map(String::as_str));
    helm(&arguments);
}

pub(crate) fn chart() -> &'static str {
    CHART
}

/// A namespace for one test, gone with it. Pods in it must be as the restricted standard wants them.
pub(crate) struct Namespace(pub(crate) String);

impl Namespace {
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        kubectl(&["create", "namespace", &name]);
        kubectl(&["label", "namespace", &name, "pod-security.kubernetes.io/enforce=restricted"]);
        Self(name)
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        kubectl(&[&["-n", &self.0], arguments].concat())
    }

    pub(crate) fn get(&self, arguments: &[&str]) -> Value {
        get(&[&["-n", &self.0], arguments].concat())
    }

    pub(crate) fn apply(&self, manifest: &str) {
        apply(&self.0, manifest);
    }

    /// Waits for a condition of an object.
    pub(crate) fn wait(&self, object: &str, condition: &str) {
        self.kubectl(&["wait", object, &format!("--for=condition={condition}"), "--timeout=120s"]);
    }

    /// Name of the pod that decides for a product.
    pub(crate) fn owner(&self, product: &str) -> String {
        let ledger = self.get(&["sledger", product]);
        ledger["status"]["record"]["holder"]["podName"].as_str().unwrap_or_default().to_owned()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for what in [
                &["get", "lpool,lgrant,splan,sledger,lease,pods", "-o", "wide"][..],
                &["describe", "lpool,lgrant,pods"],
                &[
                    "logs",
                    "--all-pods=true",
                    "--prefix",
                    "--tail=30",
                    "-l",
                    "app.kubernetes.io/name=genie-lm",
                ],
            ] {
                let output = attempt("kubectl", &[&["-n", &self.0], what].concat());
                eprintln!("{}", String::from_utf8_lossy(&output.stdout));
            }
            let output = attempt("kubectl", &["-n", SYSTEM, "logs", "deploy/genie-lm", "--tail=60"]);
            eprintln!("{}", String::from_utf8_lossy(&output.stdout));
        }
        attempt("kubectl", &["delete", "namespace", &self.0, "--wait=false"]);
    }
}

/// A pod that holds what `run_flags` say while `script` runs; the binary comes by an init container.
pub(crate) fn app(name: &str, grant: &str, run_flags: &str, script: &str) -> String {
    let (image, shell) = (setting("GENIE_LM_IMAGE"), shell_image());
    let flags: Vec<String> = run_flags.split_whitespace().map(|flag| format!("\"{flag}\"")).collect();
    let flags = flags.join(", ");
    let script = serde_json::to_string(script).unwrap();
    format!(
        r"
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: seat-user}}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 5
  securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}
  initContainers:
  - name: genie-lm
    image: {image}
    imagePullPolicy: IfNotPresent
    args: [install, /genie-lm]
    securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
    volumeMounts: [{{name: genie-lm, mountPath: /genie-lm}}]
  containers:
  - name: app
    image: {shell}
    imagePullPolicy: IfNotPresent
    command: [/genie-lm/genie-lm, run, {flags}, --, sh, -c, {script}]
    env: [{{name: SERVICE_BINDING_ROOT, value: /bindings}}]
    securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
    volumeMounts:
    - {{name: genie-lm, mountPath: /genie-lm, readOnly: true}}
    - {{name: license, mountPath: /bindings/license, readOnly: true}}
  volumes:
  - {{name: genie-lm, emptyDir: {{}}}}
  - {{name: license, secret: {{secretName: {grant}-license}}}}
---
"
    )
}

/// What an application says while it runs: `RUN begin`, and `RUN beat` five times a second, `beats` times.
pub(crate) fn beating(beats: u32) -> String {
    format!("echo RUN begin; i=0; while [ $i -lt {beats} ]; do sleep 0.2; echo RUN beat; i=$((i+1)); done")
}

/// A pool, and a grant of the same name with `-team` behind it.
pub(crate) fn pool(name: &str, product: &str, seats: u32, more: &str) -> String {
    format!(
        r"
apiVersion: genie-lm.io/v1alpha1
kind: LicensePool
metadata: {{name: {name}}}
spec:
  product: {product}
  seats: {seats}
  features: [{{name: render}}]
  tiers: [{{name: pro, features: [render]}}]
  session: {{ttl: 10s}}
  availability: {{outageTolerance: 15s}}
{more}
---
apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {{name: {name}-team}}
spec: {{poolRef: {{name: {name}}}, tier: pro}}
"
    )
}
