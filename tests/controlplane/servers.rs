//! Real server processes against the API server, as the Deployment would start them.

use std::{
    net::{IpAddr, Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Secret;
use rustix::process::{Pid, Signal, kill_process};

use crate::support::Place;

/// The Deployment's name, which is its pods' instance.
pub const SERVER: &str = "cad-license-server";

/// Where a server is reached by clients and by other replicas.
#[derive(Clone, Copy)]
pub struct Ports {
    pub clients: u16,
    pub peers: u16,
}

impl Ports {
    pub const ANY: Self = Self { clients: 0, peers: 0 };

    /// Two that are free on all addresses of this machine.
    pub fn free() -> Self {
        let [clients, peers] = [(); 2].map(|()| TcpListener::bind("0.0.0.0:0").unwrap());
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        Self { clients: port(&clients), peers: port(&peers) }
    }
}

/// A server; killed at the end.
pub struct Server {
    process: Child,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Tells it to stop, as a kubelet does.
    pub fn terminate(&self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self, deadline: Duration) -> ExitStatus {
        let end = Instant::now() + deadline;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < end, "it still runs after {deadline:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Who a server is told that it is.
pub struct Identity<'a> {
    pub pod: &'a str,
    pub uid: &'a str,
    pub ip: Ipv4Addr,
}

async fn mount(place: &Place, secret: &str, folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for (name, bytes) in place.there::<Secret>(secret).await.data.unwrap() {
        std::fs::write(folder.join(name), bytes.0).unwrap();
    }
}

pub async fn serve(place: &Place, who: Identity<'_>, ports: Ports) -> Server {
    let folder = tempfile::tempdir().unwrap();
    for name in ["tls", "peer", "keys"] {
        mount(place, &format!("{SERVER}-{name}"), &folder.path().join(name)).await;
    }
    std::fs::create_dir(folder.path().join("pools")).unwrap();
    std::fs::write(folder.path().join("pools/products"), "cad\n").unwrap();
    let address = |port: u16| std::net::SocketAddr::new(IpAddr::V4(who.ip), port).to_string();
    let process = Command::new(env!("CARGO_BIN_EXE_genie-lm"))
        .args(["serve", "--kubernetes", "--http-listen=127.0.0.1:0"])
        .arg(format!("--listen={}", address(ports.clients)))
        .arg(format!("--peer-listen={}", address(ports.peers)))
        .arg("--config")
        .arg(folder.path())
        .env("KUBECONFIG", std::env::var_os("GENIE_LM_CONTROLPLANE_KUBECONFIG").unwrap())
        .envs([("POD_NAME", who.pod), ("POD_UID", who.uid), ("POD_NAMESPACE", &place.namespace)])
        .envs([("NODE_NAME", "other"), ("POD_IP", &who.ip.to_string()), ("POD_INSTANCE", SERVER)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Server { process, _folder: folder }
}
