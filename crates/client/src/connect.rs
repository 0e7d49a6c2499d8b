//! Connections to the server: resolves its name, tries one address after the other, and speaks TLS 1.3 with nobody
//! but the holder of a certificate for `genie-lm` from the configured CA.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, crypto::aws_lc_rs, pki_types::ServerName, version::TLS13};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::Endpoint;

use crate::{
    config::{Ca, Server},
    line::{ConnectFailure, Dial, Line},
};

/// The one name that every server's certificate carries: the address is a matter of routing.
const NAME: &str = "genie-lm";
/// For a name lookup, and for TCP and TLS with one address: far more than a healthy network needs, and short enough
/// that another address is tried within one call.
const STEP_TIMEOUT: Duration = Duration::from_secs(3);
/// While a call waits, its replica is asked for a sign of life so often, and has so long for it; a line that was idle is
/// asked with its next call. So one that vanished or stands still is left within seconds, and one that waits through a
/// takeover is not. Idle clients cost nothing.
const PING: Duration = Duration::from_secs(2);
/// Most addresses of a name that are tried for one connection.
const MAX_ADDRESSES: usize = 8;

/// Makes connections, each beginning at another address than the last.
#[derive(Debug)]
pub(crate) struct Connector {
    server: Server,
    ca: Ca,
    next: AtomicUsize,
}

impl Connector {
    pub(crate) fn new(server: Server, ca: Ca) -> Connector {
        Connector { server, ca, next: AtomicUsize::new(0) }
    }

    /// A connection to the first replica that answers.
    async fn connect(&self) -> Result<TlsStream<TcpStream>, ConnectFailure> {
        let tls = self.tls()?;
        let addresses = self.resolve().await?;
        self.first_of(&tls, &addresses).await
    }

    async fn first_of(
        &self,
        tls: &TlsConnector,
        addresses: &[SocketAddr],
    ) -> Result<TlsStream<TcpStream>, ConnectFailure> {
        let mut failures = Vec::new();
        for _ in 0..addresses.len() {
            // Counted over all connections, so that the one after a failure begins elsewhere.
            let turn = self.next.fetch_add(1, Ordering::Relaxed);
            let address = addresses[turn % addresses.len()];
            match timeout(STEP_TIMEOUT, handshake(tls, address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(reason)) => failures.push(format!("{address}: {reason}")),
                Err(_) => failures.push(format!("{address}: no answer within {} s", STEP_TIMEOUT.as_secs())),
            }
        }
        Err(ConnectFailure(failures.join("; ")))
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, ConnectFailure> {
        let Server { host, port } = &self.server;
        let failed = |why: String| ConnectFailure(format!("the name {host} cannot be resolved: {why}"));
        let found = timeout(STEP_TIMEOUT, lookup_host((host.as_str(), *port))).await;
        let mut addresses: Vec<SocketAddr> = found
            .map_err(|_| failed(format!("no answer within {} s", STEP_TIMEOUT.as_secs())))?
            .map_err(|error| failed(error.to_string()))?
            .take(MAX_ADDRESSES)
            .collect();
        addresses.sort();
        addresses.dedup();
        if addresses.is_empty() { Err(failed("no address".to_owned())) } else { Ok(addresses) }
    }

    fn tls(&self) -> Result<TlsConnector, ConnectFailure> {
        let roots = self.ca.roots().map_err(|error| ConnectFailure(error.to_string()))?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| ConnectFailure(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

impl Dial for Arc<Connector> {
    fn dial(&self) -> Line {
        let connector = Arc::clone(self);
        let connect = tower::service_fn(move |_: http::Uri| {
            let connector = Arc::clone(&connector);
            async move { connector.connect().await.map(TokioIo::new) }
        });
        // TLS is the connector's own; so the endpoint is plain, and only claims its origin.
        let channel = Endpoint::from_static("http://genie-lm")
            .origin(http::Uri::from_static("https://genie-lm"))
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PING)
            .connect_with_connector_lazy(connect);
        Line::new(channel)
    }
}

async fn handshake(tls: &TlsConnector, address: SocketAddr) -> Result<TlsStream<TcpStream>, String> {
    let tcp = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    // Calls are small and wait for their answer.
    tcp.set_nodelay(true).map_err(|error| error.to_string())?;
    let name = ServerName::try_from(NAME).map_err(|error| error.to_string())?;
    tls.connect(name, tcp).await.map_err(|error| format!("TLS: {error}; is ca.crt that of this server?"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Reply, TestServer};

    fn closed() -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address")
    }

    #[tokio::test]
    async fn another_address_is_tried_when_one_does_not_answer() {
        let server = TestServer::start(|_| Reply::Silence).await;
        let config = server.config();
        let connector = Connector::new(config.server, config.ca);
        let tls = connector.tls().expect("a configuration");
        for _ in 0..2 {
            let stream = connector.first_of(&tls, &[closed(), server.address]).await.expect("connected");
            assert_eq!(stream.get_ref().0.peer_addr().expect("a peer"), server.address);
        }
    }

    #[tokio::test]
    async fn the_next_connection_begins_at_the_next_address() {
        let servers =
            [TestServer::start(|_| Reply::Silence).await, TestServer::start(|_| Reply::Silence).await];
        let config = servers[0].config();
        let connector = Connector::new(config.server, config.ca);
        let tls = connector.tls().expect("a configuration");
        let addresses = servers.each_ref().map(|server| server.address);
        for expected in addresses {
            let stream = connector.first_of(&tls, &addresses).await.expect("connected");
            assert_eq!(stream.get_ref().0.peer_addr().expect("a peer"), expected);
        }
    }

    #[tokio::test]
    async fn a_failure_names_every_address_that_was_tried() {
        let config = crate::testing::config_for("127.0.0.1:1");
        let connector = Connector::new(config.server, config.ca);
        let tls = connector.tls().expect("a configuration");
        let addresses = [closed(), closed()];
        let ConnectFailure(reason) = connector.first_of(&tls, &addresses).await.expect_err("nobody is there");
        assert!(addresses.iter().all(|address| reason.contains(&address.to_string())), "{reason}");
    }
}
