//! Real server processes against the API server, as the Deployment would start them.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Secret;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{DEADLINE, Place};

/// The Deployment's name, which is its pods' instance.
pub const SERVER: &str = "cad-license-server";

/// Where a server is reached by clients, by other replicas, and by its kubelet.
#[derive(Clone, Copy)]
pub struct Ports {
    pub clients: u16,
    pub peers: u16,
    pub probes: u16,
}

impl Ports {
    pub const ANY: Self = Self { clients: 0, peers: 0, probes: 0 };

    /// Such that are free on all addresses of this machine.
    pub fn free() -> Self {
        let listeners = [(); 3].map(|()| TcpListener::bind("0.0.0.0:0").unwrap());
        let [clients, peers, probes] = listeners.map(|listener| listener.local_addr().unwrap().port());
        Self { clients, peers, probes }
    }
}

/// A server; killed at the end.
pub struct Server {
    process: Child,
    probes: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Server {
    /// Waits until a kubelet would take it for ready.
    pub async fn ready(&self) {
        let is_ready = async {
            while !get(self.probes, "/readyz").await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(DEADLINE, is_ready).await.expect("it is ready in time");
    }

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

async fn get(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await?;
    Ok(answer)
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
    let address = |port: u16| SocketAddr::new(IpAddr::V4(who.ip), port);
    let process = Command::new(env!("CARGO_BIN_EXE_genie-lm"))
        .args(["serve", "--kubernetes"])
        .arg(format!("--listen={}", address(ports.clients)))
        .arg(format!("--peer-listen={}", address(ports.peers)))
        .arg(format!("--http-listen={}", address(ports.probes)))
        .arg("--config")
        .arg(folder.path())
        .env("KUBECONFIG", std::env::var_os("GENIE_LM_CONTROLPLANE_KUBECONFIG").unwrap())
        .envs([("POD_NAME", who.pod), ("POD_UID", who.uid), ("POD_NAMESPACE", &place.namespace)])
        .envs([("NODE_NAME", "other"), ("POD_IP", &who.ip.to_string()), ("POD_INSTANCE", SERVER)])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Server { process, probes: address(ports.probes), _folder: folder }
}
