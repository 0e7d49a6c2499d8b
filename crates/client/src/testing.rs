//! A license server with scripted answers, over real TLS and gRPC, for the tests of this crate.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use genie_proto::v1::{
    self,
    licensing_server::{Licensing, LicensingServer},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    version::TLS13,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
};
use tokio_rustls::TlsAcceptor;
use tonic::{Request, Response, Status, service::Routes};

use crate::config::{Ca, Config, Credential, Server};

/// Longest wait of a test for what must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

type Issuer = CertifiedIssuer<'static, KeyPair>;

static CA: LazyLock<Issuer> = LazyLock::new(authority);

fn authority() -> Issuer {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA")
}

/// The CA that test servers have their certificate from.
pub(crate) fn ca_pem() -> &'static str {
    static PEM: LazyLock<String> = LazyLock::new(|| CA.pem());
    &PEM
}

/// The CA of somebody else.
pub(crate) fn other_ca_pem() -> String {
    authority().pem()
}

/// What a client asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    Validate(v1::ValidateRequest),
    Checkout(v1::CheckoutRequest),
    Renew(v1::RenewRequest),
    Checkin(v1::CheckinRequest),
}

/// What the script answers.
pub(crate) enum Reply {
    Validate(v1::ValidateResponse),
    Checkout(v1::CheckoutResponse),
    Renew(v1::RenewResponse),
    Checkin(v1::CheckinResponse),
    Status(Status),
    Silence,
}

type Script = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

/// A running server; what it was asked comes out of `asked`.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    asked: mpsc::UnboundedReceiver<Asked>,
    task: tokio::task::JoinHandle<()>,
}

impl TestServer {
    /// Starts one whose certificate is for `genie-lm`.
    pub(crate) async fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> TestServer {
        TestServer::named("genie-lm", script).await
    }

    pub(crate) async fn named(
        name: &str,
        script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> TestServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (report, asked) = mpsc::unbounded_channel();
        let service = LicensingServer::new(Scripted::new(script, report));
        let routes = Routes::new(service).prepare();
        let acceptor = acceptor(name);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, service) = (acceptor.clone(), TowerToHyperService::new(routes.clone()));
                connections.spawn(async move {
                    if let Ok(tls) = acceptor.accept(tcp).await {
                        let server = auto::Builder::new(TokioExecutor::new());
                        let _ = server.serve_connection(TokioIo::new(tls), service).await;
                    }
                });
            }
        });
        TestServer { address, asked, task }
    }

    pub(crate) fn config(&self) -> Config {
        config_for(&self.address.to_string())
    }

    /// The next question, which must come.
    pub(crate) async fn asked(&mut self) -> Asked {
        let asked = tokio::time::timeout(PATIENCE, self.asked.recv()).await;
        asked.expect("the client asks in time").expect("the server runs")
    }

    /// Whether nothing more was asked so far.
    pub(crate) fn is_idle(&mut self) -> bool {
        self.asked.try_recv().is_err()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn config_for(address: &str) -> Config {
    Config {
        server: Server::parse(&format!("https://{address}"), "a test").expect("an address"),
        product: "acme-cad".into(),
        credential: Credential::Text("a-token".into()),
        ca: Ca::Pem(ca_pem().into()),
    }
}

/// The network before a server: passes on what it carries, and can fall silent as a machine does that is gone.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    connections: mpsc::UnboundedReceiver<Connection>,
    task: tokio::task::JoinHandle<()>,
}

/// One connection through a [`Proxy`].
pub(crate) struct Connection {
    silent: Arc<AtomicBool>,
    closed: oneshot::Receiver<()>,
}

impl Proxy {
    /// `silent` says of each connection, counted from 0, whether it carries nothing from its beginning.
    pub(crate) async fn start(target: SocketAddr, silent: impl Fn(u32) -> bool + Send + 'static) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (report, connections) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut carried = tokio::task::JoinSet::new();
            for number in 0.. {
                let Ok((client, _)) = listener.accept().await else { return };
                let silent = Arc::new(AtomicBool::new(silent(number)));
                let (close, closed) = oneshot::channel();
                let _ = report.send(Connection { silent: Arc::clone(&silent), closed });
                carried.spawn(async move {
                    let server = TcpStream::connect(target).await.expect("the server listens");
                    let ((mut from, mut to), (mut back, mut forth)) =
                        (client.into_split(), server.into_split());
                    let answers = tokio::spawn({
                        let silent = Arc::clone(&silent);
                        async move { carry(&mut back, &mut to, &silent).await }
                    });
                    carry(&mut from, &mut forth, &silent).await;
                    answers.abort();
                    let _ = close.send(());
                });
            }
        });
        Proxy { address, connections, task }
    }

    pub(crate) async fn connection(&mut self) -> Connection {
        let connection = tokio::time::timeout(PATIENCE, self.connections.recv()).await;
        connection.expect("a connection in time").expect("the proxy runs")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    /// From now on nothing that is sent arrives, either way.
    pub(crate) fn fall_silent(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// Waits until the client closes it.
    pub(crate) async fn closed(self) {
        let closed = tokio::time::timeout(PATIENCE, self.closed).await;
        closed.expect("it is closed in time").expect("the proxy runs");
    }
}

/// Until the end of what comes.
async fn carry(from: &mut OwnedReadHalf, to: &mut OwnedWriteHalf, silent: &AtomicBool) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if !silent.load(Ordering::Relaxed) && to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

fn acceptor(name: &str) -> TlsAcceptor {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new([name.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &CA).expect("a certificate");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], key)
        .expect("a certificate with its key");
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

pub(crate) struct Scripted {
    script: Script,
    report: mpsc::UnboundedSender<Asked>,
}

impl Scripted {
    pub(crate) fn new(
        script: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
        report: mpsc::UnboundedSender<Asked>,
    ) -> Scripted {
        Scripted { script: Arc::new(script), report }
    }

    async fn reply(&self, asked: Asked) -> Reply {
        let reply = (self.script)(&asked);
        let _ = self.report.send(asked);
        match reply {
            Reply::Silence => std::future::pending().await,
            reply => reply,
        }
    }
}

macro_rules! answer {
    ($self:ident, $request:ident, $kind:ident) => {
        match $self.reply(Asked::$kind($request.into_inner())).await {
            Reply::$kind(answer) => Ok(Response::new(answer)),
            Reply::Status(status) => Err(status),
            _ => Err(Status::internal("the script answers another question")),
        }
    };
}

type Stream<T> = Pin<Box<tokio_stream::Empty<Result<T, Status>>>>;

#[tonic::async_trait]
impl Licensing for Scripted {
    async fn activate(
        &self,
        _: Request<v1::ActivateRequest>,
    ) -> Result<Response<v1::ActivateResponse>, Status> {
        Err(Status::unimplemented("activate"))
    }

    async fn validate(
        &self,
        request: Request<v1::ValidateRequest>,
    ) -> Result<Response<v1::ValidateResponse>, Status> {
        answer!(self, request, Validate)
    }

    async fn checkout(
        &self,
        request: Request<v1::CheckoutRequest>,
    ) -> Result<Response<v1::CheckoutResponse>, Status> {
        answer!(self, request, Checkout)
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        answer!(self, request, Renew)
    }

    async fn checkin(
        &self,
        request: Request<v1::CheckinRequest>,
    ) -> Result<Response<v1::CheckinResponse>, Status> {
        answer!(self, request, Checkin)
    }

    async fn borrow(&self, _: Request<v1::BorrowRequest>) -> Result<Response<v1::BorrowResponse>, Status> {
        Err(Status::unimplemented("borrow"))
    }

    async fn r#return(&self, _: Request<v1::ReturnRequest>) -> Result<Response<v1::ReturnResponse>, Status> {
        Err(Status::unimplemented("return"))
    }

    type SessionStream = Stream<v1::SessionResponse>;

    async fn session(
        &self,
        _: Request<tonic::Streaming<v1::SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        Err(Status::unimplemented("session"))
    }

    type WatchStream = Stream<v1::WatchResponse>;

    async fn watch(&self, _: Request<v1::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("watch"))
    }
}
