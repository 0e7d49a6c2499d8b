//! A standalone server in a directory of its own, and the processes that a test starts; all end with the test.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longest wait for what must happen; the shortest validity of a seat is 10 s.
const PATIENCE: Duration = Duration::from_secs(40);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// One seat, the shortest validity, and a grant that is over.
const MANIFEST: &str = "
apiVersion: genie-lm.io/v1alpha1
kind: LicensePool
metadata: {name: acme}
spec:
  product: acme-cad
  seats: 1
  features: [{name: render}, {name: simulate}, {name: mesh, version: \"2026.1\"}]
  tiers: [{name: pro, features: [render, mesh]}]
  session: {ttl: 10s}
---
apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {name: team}
spec: {poolRef: {name: acme}, tier: pro}
---
apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {name: trial}
spec:
  poolRef: {name: acme}
  tier: pro
  validity: {notBefore: \"2025-01-01T00:00:00Z\", notAfter: \"2025-02-01T00:00:00Z\"}
";

pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    server: Option<Running>,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench::with(MANIFEST)
    }

    pub(crate) fn with(manifest: &str) -> Bench {
        let dir = TempDir::new().expect("a directory");
        fs::create_dir(dir.path().join("manifests")).expect("a directory");
        fs::write(dir.path().join("manifests/pool.yaml"), manifest).expect("a file");
        let mut bench = Bench { dir, server: None };
        bench.serve("127.0.0.1:0");
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn binding(&self, grant: &str) -> PathBuf {
        self.path("data/bindings/default").join(grant)
    }

    pub(crate) fn address(&self) -> String {
        let uri = fs::read_to_string(self.binding("team").join("uri")).expect("a binding");
        uri.trim().trim_start_matches("https://").to_owned()
    }

    pub(crate) fn serve(&mut self, address: &str) {
        let mut command = program();
        command.arg("serve").arg("--manifests").arg(self.path("manifests"));
        command.arg("--data").arg(self.path("data")).args(["--listen", address]);
        let server = Running::start(&mut command, &self.path("server.out"));
        until("the server serves", || server.stdout().contains("serving"));
        self.server = Some(server);
    }

    /// Ends the server without a goodbye.
    pub(crate) fn kill_server(&mut self) {
        self.stop_server(Signal::KILL);
    }

    /// Ends the server in this way.
    pub(crate) fn stop_server(&mut self, signal: Signal) {
        let mut server = self.server.take().expect("a running server");
        server.signal(signal);
        server.wait();
    }

    /// `genie-lm ARGS` as the grant's user.
    pub(crate) fn client(&self, args: &[&str]) -> Command {
        let mut command = program();
        let (before, after) = match args.iter().position(|arg| *arg == "--") {
            Some(at) => args.split_at(at),
            None => (args, &[][..]),
        };
        command.args(before).arg("--binding").arg(self.binding("team")).args(after);
        command
    }

    pub(crate) fn start(&self, name: &str, args: &[&str]) -> Running {
        Running::start(&mut self.client(args), &self.path(name))
    }

    /// Whether somebody else could have a seat now: takes one and gives it back, so ask only when nobody is about to
    /// take it.
    pub(crate) fn seat_is_free(&self) -> bool {
        finish(&mut self.client(&["checkout", "--hold", "0s"])).status.code() == Some(0)
    }
}

/// The binary, with no configuration but what a test gives.
pub(crate) fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_genie-lm"));
    for name in ["SERVICE_BINDING_ROOT", "GENIE_LM_URI", "GENIE_LM_PRODUCT", "GENIE_LM_KEY"] {
        command.env_remove(name);
    }
    command.env_remove("GENIE_LM_TOKEN_FILE").env_remove("GENIE_LM_CA_FILE").stdin(Stdio::null());
    command
}

/// Runs a command to its end, with its output.
pub(crate) fn finish(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

pub(crate) fn code(command: &mut Command) -> Option<i32> {
    finish(command).status.code()
}

/// A process that goes on beside the test.
pub(crate) struct Running {
    child: Child,
    out: PathBuf,
}

impl Running {
    pub(crate) fn start(command: &mut Command, out: &Path) -> Running {
        let file = fs::File::create(out).expect("a file");
        let errors = fs::File::create(out.with_extension("err")).expect("a file");
        let child = command.stdout(file).stderr(errors).spawn().expect("the program starts");
        Running { child, out: out.to_owned() }
    }

    pub(crate) fn stdout(&self) -> String {
        read(&self.out)
    }

    pub(crate) fn stderr(&self) -> String {
        read(&self.out.with_extension("err"))
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is running");
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        until("the process ends", || {
            status = self.child.try_wait().expect("a child");
            status.is_some()
        });
        status.expect("it has ended")
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    let mut text = String::new();
    fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)).expect("a file");
    text
}

/// Waits for what must happen.
pub(crate) fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?}, but not: {what}");
        sleep(LOOK_AGAIN);
    }
}
