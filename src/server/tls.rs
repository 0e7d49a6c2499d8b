//! TLS of both ports: 1.3 only, aws-lc-rs only. Certificates are read from files, and read again when they change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// The name in the replicas' own certificate.
const PEER_NAME: &str = "genie-lm-peer";
/// Largest PEM file that is read: a chain of a dozen certificates.
const MAX_PEM: u64 = 64 << 10;

/// Why a TLS identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot read {path}: {error}; it must hold PEM text of at most 64 KiB", path = path.display())]
    Read { path: PathBuf, error: io::Error },
    #[error("{path} holds no usable {what}; give PEM text", path = path.display())]
    Pem { path: PathBuf, what: &'static str },
    #[error("certificate and key in {path} do not serve: {error}", path = path.display())]
    Rustls { path: PathBuf, error: rustls::Error },
    #[error("the trusted certificates in {path} do not serve: {error}", path = path.display())]
    Verifier { path: PathBuf, error: String },
}

/// A folder with `tls.crt`, `tls.key` and `ca.crt`, as Kubernetes TLS Secrets are mounted.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    trusted: RootCertStore,
}

impl Identity {
    fn read(folder: &Path) -> Result<Self, TlsError> {
        let chain = certificates(&folder.join("tls.crt"))?;
        let path = folder.join("tls.key");
        let key = PrivateKeyDer::from_pem_slice(&bounded(&path)?)
            .map_err(|_| TlsError::Pem { path, what: "private key" })?;
        let mut trusted = RootCertStore::empty();
        trusted.add_parsable_certificates(certificates(&folder.join("ca.crt"))?);
        Ok(Self { chain, key, trusted })
    }
}

fn bounded(path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = || {
        let length = fs::metadata(path)?.len();
        if length > MAX_PEM {
            return Err(io::Error::other(format!("it has {length} bytes")));
        }
        fs::read(path)
    };
    read().map_err(|error| TlsError::Read { path: path.to_owned(), error })
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = bounded(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(TlsError::Pem { path: path.to_owned(), what: "certificate" }),
    }
}

/// The client port's TLS.
pub(crate) struct ServerTls {
    folder: PathBuf,
    acceptor: RwLock<TlsAcceptor>,
}

impl ServerTls {
    pub(crate) fn read(folder: &Path) -> Result<Self, TlsError> {
        let acceptor = RwLock::new(server_acceptor(folder)?);
        Ok(Self { folder: folder.to_owned(), acceptor })
    }

    /// Reads the folder again; what was there stays in force when that fails.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let fresh = server_acceptor(&self.folder)?;
        *self.acceptor.write().expect("no code panics while it holds this lock") = fresh;
        Ok(())
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.read().expect("no code panics while it holds this lock").clone()
    }
}

fn server_acceptor(folder: &Path) -> Result<TlsAcceptor, TlsError> {
    let identity = Identity::read(folder)?;
    let rustls_error = |error| TlsError::Rustls { path: folder.to_owned(), error };
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(rustls_error)?
        .with_no_client_auth()
        .with_single_cert(identity.chain, identity.key)
        .map_err(rustls_error)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Mutual TLS between replicas: both sides show, and trust, what only replicas of one server have.
pub(crate) struct PeerTls {
    folder: PathBuf,
    ends: RwLock<(TlsAcceptor, TlsConnector)>,
}

impl PeerTls {
    pub(crate) fn read(folder: &Path) -> Result<Self, TlsError> {
        Ok(Self { folder: folder.to_owned(), ends: RwLock::new(peer_ends(folder)?) })
    }

    /// Reads the folder again; what was there stays in force when that fails.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let fresh = peer_ends(&self.folder)?;
        *self.ends.write().expect("no code panics while it holds this lock") = fresh;
        Ok(())
    }

    pub(crate) async fn connect(&self, tcp: TcpStream) -> io::Result<client::TlsStream<TcpStream>> {
        let connector = self.ends.read().expect("no code panics while it holds this lock").1.clone();
        let name = ServerName::try_from(PEER_NAME).map_err(io::Error::other)?;
        connector.connect(name, tcp).await
    }

    pub(crate) async fn accept(&self, tcp: TcpStream) -> io::Result<server::TlsStream<TcpStream>> {
        let acceptor = self.ends.read().expect("no code panics while it holds this lock").0.clone();
        acceptor.accept(tcp).await
    }
}

fn peer_ends(folder: &Path) -> Result<(TlsAcceptor, TlsConnector), TlsError> {
    let identity = Identity::read(folder)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let rustls_error = |error| TlsError::Rustls { path: folder.to_owned(), error };
    let trusted = Arc::new(identity.trusted);
    let verifier = WebPkiClientVerifier::builder_with_provider(trusted.clone(), provider.clone())
        .build()
        .map_err(|error| TlsError::Verifier { path: folder.join("ca.crt"), error: error.to_string() })?;
    let mut server = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&TLS13])
        .map_err(rustls_error)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(rustls_error)?;
    server.alpn_protocols = vec![b"h2".to_vec()];
    let mut client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(rustls_error)?
        .with_root_certificates(trusted)
        .with_client_auth_cert(identity.chain, identity.key)
        .map_err(rustls_error)?;
    client.alpn_protocols = vec![b"h2".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(server)), TlsConnector::from(Arc::new(client))))
}
