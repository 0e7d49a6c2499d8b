//! Connections to the server: resolves its names, tries one address after the other, does not wait for one that is slow,
//! and speaks TLS 1.3 with nobody but the holder of a certificate for `genie-lm` from the configured CA.

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
    task::JoinSet,
    time::{sleep, timeout},
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
/// While a call waits, its replica is asked for a sign of life so often; a line that was idle is asked with its next
/// call. So a replica that vanished or stands still is left within 3 s, and one that waits through a takeover is not.
/// Idle clients cost nothing.
const PING: Duration = Duration::from_secs(1);
/// For that sign of life: a server that is only busy gives it sooner.
const PONG: Duration = Duration::from_secs(2);
/// Most addresses of a name that are tried for one connection.
const MAX_ADDRESSES: usize = 8;

/// So long an address is tried alone; then the next one is tried beside it. Longer than a server needs that is only
/// busy, so that it is not made busier.
const STAGGER: Duration = Duration::from_secs(1);
/// Addresses that are tried for one connection at least: behind one address of a Service there are several replicas,
/// and another try may reach another one.
const MIN_TRIES: usize = 3;

type Tries = JoinSet<Result<TlsStream<TcpStream>, String>>;

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

    /// The first connection that is made: the next address is tried when one fails, or is slow.
    async fn first_of(
        &self,
        tls: &TlsConnector,
        addresses: &[SocketAddr],
    ) -> Result<TlsStream<TcpStream>, ConnectFailure> {
        let mut tries = JoinSet::new();
        let mut failures = Vec::new();
        let mut begun = 0;
        loop {
            if begun < addresses.len() && begun == failures.len() {
                self.try_next(&mut tries, tls, addresses);
                begun += 1;
            }
            tokio::select! {
                done = tries.join_next() => match done {
                    Some(Ok(Ok(stream))) => return Ok(stream),
                    Some(Ok(Err(failure))) => failures.push(failure),
                    Some(Err(error)) => failures.push(error.to_string()),
                    None => return Err(ConnectFailure(failures.join("; "))),
                },
                () = sleep(STAGGER), if begun < addresses.len().max(MIN_TRIES) && begun > failures.len() => {
                    self.try_next(&mut tries, tls, addresses);
                    begun += 1;
                }
            }
        }
    }

    fn try_next(&self, tries: &mut Tries, tls: &TlsConnector, addresses: &[SocketAddr]) {
        // Counted over all connections, so that the one after a failure begins elsewhere.
        let address = addresses[self.next.fetch_add(1, Ordering::Relaxed) % addresses.len()];
        let tls = tls.clone();
        tries.spawn(async move {
            match timeout(STEP_TIMEOUT, handshake(&tls, address)).await {
                Ok(Ok(stream)) => Ok(stream),
                Ok(Err(reason)) => Err(format!("{address}: {reason}")),
                Err(_) => Err(format!("{address}: no answer within {} s", STEP_TIMEOUT.as_secs())),
            }
        });
    }

    /// The addresses of all endpoints; one name that cannot be resolved does not keep the others back.
    async fn resolve(&self) -> Result<Vec<SocketAddr>, ConnectFailure> {
        let mut lookups = JoinSet::new();
        for (host, port) in self.server.endpoints.clone() {
            lookups.spawn(lookup(host, port));
        }
        let mut addresses = Vec::new();
        let mut failures = Vec::new();
        for found in lookups.join_all().await {
            match found {
                Ok(found) => addresses.extend(found),
                Err(failure) => failures.push(failure),
            }
        }
        addresses.sort();
        addresses.dedup();
        if addresses.is_empty() { Err(ConnectFailure(failures.join("; "))) } else { Ok(addresses) }
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
            .keep_alive_timeout(PONG)
            .connect_with_connector_lazy(connect);
        Line::new(channel)
    }
}

async fn lookup(host: String, port: u16) -> Result<Vec<SocketAddr>, String> {
    let failed = |why: String| format!("the name {host} cannot be resolved: {why}");
    let found = timeout(STEP_TIMEOUT, lookup_host((host.as_str(), port))).await;
    let addresses: Vec<SocketAddr> = found
        .map_err(|_| failed(format!("no answer within {} s", STEP_TIMEOUT.as_secs())))?
        .map_err(|error| failed(error.to_string()))?
        .take(MAX_ADDRESSES)
        .collect();
    if addresses.is_empty() { Err(failed("no address".to_owned())) } else { Ok(addresses) }
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
    use crate::testing::{Proxy, Reply, TestServer};

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
    async fn an_address_that_hangs_is_not_waited_for() {
        // The system takes the connection, and nobody speaks on it.
        let hung = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let server = TestServer::start(|_| Reply::Silence).await;
        let config = server.config();
        let connector = Connector::new(config.server, config.ca);
        let tls = connector.tls().expect("a configuration");
        let addresses = [hung.local_addr().expect("an address"), server.address];
        let began = tokio::time::Instant::now();
        let stream = connector.first_of(&tls, &addresses).await.expect("connected");
        assert_eq!(stream.get_ref().0.peer_addr().expect("a peer"), server.address);
        assert!(began.elapsed() < STEP_TIMEOUT);
    }

    #[tokio::test]
    async fn behind_one_address_another_try_reaches_another_replica() {
        let server = TestServer::start(|_| Reply::Silence).await;
        let service = Proxy::start(server.address, |number| number == 0).await;
        let config = crate::testing::config_for(&service.address.to_string());
        let connector = Connector::new(config.server, config.ca);
        let began = tokio::time::Instant::now();
        connector.connect().await.expect("connected at the second try");
        assert!(began.elapsed() < STEP_TIMEOUT);
    }

    #[tokio::test]
    async fn all_replicas_of_the_uri_are_tried() {
        let server = TestServer::start(|_| Reply::Silence).await;
        let config = server.config();
        let uri = format!("https://nowhere.invalid,https://{},https://{}", closed(), server.address);
        let connector = Connector::new(Server::parse(&uri, "a test").expect("a server"), config.ca);
        for _ in 0..3 {
            let stream = connector.connect().await.expect("connected");
            assert_eq!(stream.get_ref().0.peer_addr().expect("a peer"), server.address);
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
