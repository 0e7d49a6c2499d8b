//! A real `genie-lm serve` of a test's own: on a free port, with its own directories, ended with the test.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// Longest wait for anything that should happen; only failing tests wait so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_genie-lm");

/// A pool of 3 seats with a short ttl, and grants for the things that can be wrong.
pub(crate) const MANIFESTS: &str = r"
apiVersion: genie-lm.io/v1alpha1
kind: LicensePool
metadata: {name: cad, namespace: default}
spec:
  product: acme-cad
  seats: 3
  features: [{name: draw}, {name: render}, {name: simulate, seats: 1}, {name: legacy, notAfter: '2020-01-01T00:00:00Z'}, {name: mesh, version: '2026.1'}]
  tiers: [{name: pro, features: [draw, render, simulate, legacy, mesh]}, {name: basic, features: [draw], seats: 1}, {name: all, features: [draw, simulate], seats: 2, suite: true}]
  session: {ttl: 10s}
  availability: {outageTolerance: 15s}
---
apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {name: team-a, namespace: default}
spec: {poolRef: {name: cad}, tier: pro}
---
apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {name: team-b, namespace: default}
spec: {poolRef: {name: cad}, tier: basic, seats: {max: 1}}
---
apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {name: team-c, namespace: default}
spec: {poolRef: {name: cad}, tier: all, features: [mesh, simulate]}
---
apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {name: old, namespace: default}
spec: {poolRef: {name: cad}, tier: pro, validity: {notAfter: '2020-01-01T00:00:00Z'}}
---
apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {name: early, namespace: default}
spec: {poolRef: {name: cad}, tier: pro, validity: {notBefore: '2199-01-01T00:00:00Z'}}
---
apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {name: paused, namespace: default}
spec: {poolRef: {name: cad}, tier: pro, suspend: true}
";

pub(crate) struct Server {
    pub(crate) folder: Arc<TempDir>,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
    child: Child,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_with(MANIFESTS)
    }

    pub(crate) fn start_with(manifests: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        fs::create_dir(folder.path().join("manifests")).expect("a folder for manifests");
        fs::write(folder.path().join("manifests/all.yaml"), manifests).expect("manifests");
        Self::start_in(Arc::new(folder), "127.0.0.1:0".parse().expect("an address"))
    }

    pub(crate) fn start_in(folder: Arc<TempDir>, listen: SocketAddr) -> Self {
        // Free when asked; the server takes it at once, and says so loudly if somebody was quicker.
        let metrics =
            std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port");
        let mut child = command(folder.path(), &listen.to_string())
            .args(["--http-listen", &metrics.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("genie-lm starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its stdout"))
            .read_line(&mut line)
            .expect("its first line");
        let address = line
            .split_whitespace()
            .find_map(|word| word.trim_end_matches(';').parse().ok())
            .unwrap_or_else(|| panic!("the first line names no address: {line:?}"));
        Self { folder, address, metrics, child }
    }

    /// Kills it as a power cut would, and starts it again on the same port and directories.
    pub(crate) fn kill_and_restart(mut self) -> Self {
        self.child.kill().expect("kill -9");
        self.child.wait().expect("its end");
        Self::start_in(self.folder.clone(), self.address)
    }

    /// SIGTERM, and how it ended; a server that does not is a failure.
    pub(crate) fn stop(&mut self) -> std::process::ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("SIGTERM");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("its status") {
                return status;
            }
            assert!(Instant::now() < deadline, "it did not stop");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Memory of the server process that is in RAM.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    pub(crate) fn manifests(&self) -> PathBuf {
        self.folder.path().join("manifests")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn binding(&self, grant: &str) -> PathBuf {
        self.data().join("bindings/default").join(grant)
    }

    pub(crate) fn key(&self, grant: &str) -> String {
        fs::read_to_string(self.binding(grant).join("key")).expect("the grant's key")
    }

    pub(crate) fn hang_up(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("SIGHUP");
    }

    /// The standalone server's own account of itself.
    pub(crate) fn status(&self) -> Value {
        let data = self.data();
        let output = genie(&["status", "-o", "json", "--data", data.to_str().expect("a path in UTF-8")]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("status in JSON")
    }

    pub(crate) async fn tls(&self, alpn: &str) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        let pem = fs::read(self.data().join("ca.crt")).expect("the CA");
        roots.add(CertificateDer::from_pem_slice(&pem).expect("PEM")).expect("a CA certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let tcp = TcpStream::connect(self.address).await.expect("a connection");
        let name = ServerName::try_from("genie-lm").expect("a name");
        TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("TLS")
    }

    /// One HTTP/1.1 request on a connection of its own: status, head and body.
    pub(crate) async fn http(&self, method: &str, path: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let mut tls = self.tls("http/1.1").await;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: genie-lm\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let exchange = async {
            tls.write_all(head.as_bytes()).await.expect("the head is taken");
            // A server that refuses early may close before it has read everything.
            let _ = tls.write_all(body).await;
            let mut answer = Vec::new();
            let _ = tls.read_to_end(&mut answer).await;
            answer
        };
        let answer = tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time");
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, head, answer[end + 4..].to_vec())
    }

    /// A JSON call that must be answered with HTTP 200.
    pub(crate) async fn call(&self, call: &str, body: Value) -> Value {
        let (status, _, answer) =
            self.http("POST", &format!("/v1/{call}"), body.to_string().as_bytes()).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).expect("JSON")
    }

    /// A JSON call that must not be answered with a verdict: status and problem.
    pub(crate) async fn problem(&self, call: &str, body: &str) -> (u16, Value) {
        let (status, head, answer) = self.http("POST", &format!("/v1/{call}"), body.as_bytes()).await;
        assert!(head.contains("application/problem+json"), "{head}");
        (status, serde_json::from_slice(&answer).expect("JSON"))
    }

    pub(crate) async fn checkout(&self, grant: &str, features: &[&str]) -> Value {
        let body = json!({
            "product": "acme-cad", "key": self.key(grant), "operationId": operation(), "features": features,
        });
        self.call("checkout", body).await
    }

    pub(crate) async fn renew(&self, session: &Value) -> Value {
        self.call("renew", json!({ "session": session["session"], "operationId": operation() })).await
    }

    pub(crate) async fn checkin(&self, session: &Value) -> Value {
        self.call("checkin", json!({ "session": session["session"], "operationId": operation() })).await
    }

    /// The value of a metric, by its name and labels as they are written.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        let mut tcp = TcpStream::connect(self.metrics).await.expect("the metrics port");
        tcp.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .await
            .expect("a request");
        let mut text = String::new();
        tcp.read_to_string(&mut text).await.expect("metrics");
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok()).unwrap_or(0.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `genie-lm serve` on a test's folders.
pub(crate) fn command(folder: &Path, listen: &str) -> Command {
    let mut command = Command::new(BINARY);
    command
        .arg("serve")
        .arg("--manifests")
        .arg(folder.join("manifests"))
        .arg("--data")
        .arg(folder.join("data"))
        .args(["--listen", listen])
        .stdin(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Runs the command line to its end.
pub(crate) fn genie(arguments: &[&str]) -> std::process::Output {
    Command::new(BINARY).args(arguments).stdin(Stdio::null()).output().expect("genie-lm runs")
}

pub(crate) fn operation() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Waits until `holds` gives something, with a deadline.
pub(crate) async fn eventually<T>(what: &str, mut holds: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = holds().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        tokio::task::yield_now().await;
    }
}
