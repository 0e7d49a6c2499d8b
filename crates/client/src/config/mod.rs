//! Whom to ask, as whom, and whom to trust. A value is taken from the first of: what the caller gave, the Service
//! Binding, the environment. Every failure says what was looked for and where.

mod binding;
mod discover;
mod error;
mod file;

use std::{fmt, path::PathBuf};

use http::Uri;
use rustls::{RootCertStore, pki_types::CertificateDer};
use rustls_pki_types::pem::PemObject;

use crate::key::ActivationKey;

pub use discover::Given;
pub use error::{ConfigError, Value};

/// IANA's port of genie-lm.
pub const DEFAULT_PORT: u16 = 1453;
/// An activation key has 49 characters; activation tokens and ServiceAccount tokens have a few KiB.
pub const MAX_CREDENTIAL: u64 = 16 * 1024;
/// Most replicas that a URI names: more than a server has.
const MAX_ENDPOINTS: usize = 8;
/// A CA certificate has 1 to 2 KiB; this holds a bundle for its rotation.
const MAX_CA: u64 = 256 * 1024;

/// All that a [`Client`](crate::Client) needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the server is.
    pub server: Server,
    /// What the application wants to run.
    pub product: String,
    /// Who asks.
    pub credential: Credential,
    /// Whom to trust.
    pub ca: Ca,
}

/// Where the server is: a host and port, or several that are replicas of one server. Its name in TLS is always
/// `genie-lm`, so that an observer does not learn the product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    pub(crate) endpoints: Vec<(String, u16)>,
}

impl Server {
    /// Reads `https://HOST[:PORT]`, or several of them with commas between.
    ///
    /// # Errors
    /// The text is not of that form; `origin` says in the error where it came from.
    pub fn parse(text: &str, origin: &str) -> Result<Server, ConfigError> {
        let endpoints: Option<Vec<_>> = text.split(',').map(endpoint).collect();
        match endpoints.filter(|endpoints| endpoints.len() <= MAX_ENDPOINTS) {
            Some(endpoints) => Ok(Server { endpoints }),
            None => Err(ConfigError::Uri { origin: origin.to_owned(), uri: file::excerpt(text) }),
        }
    }
}

/// Host and port of one `https://HOST[:PORT]`.
fn endpoint(text: &str) -> Option<(String, u16)> {
    let uri: Uri = text.trim().parse().ok()?;
    let plain = uri.scheme_str() == Some("https") && uri.path() == "/" && uri.query().is_none();
    let authority = uri.authority().filter(|a| plain && !a.as_str().contains('@'))?;
    let port = match (authority.port_u16(), authority.as_str().rsplit_once(']')) {
        (Some(port), _) => port,
        (None, Some((_, ""))) => DEFAULT_PORT,
        (None, None) if !authority.as_str().contains(':') => DEFAULT_PORT,
        _ => return None,
    };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (host, port)) in self.endpoints.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            match host.contains(':') {
                true => write!(f, "{comma}https://[{host}]:{port}")?,
                false => write!(f, "{comma}https://{host}:{port}")?,
            }
        }
        Ok(())
    }
}

/// An activation key, an activation token, or a file that holds one or a ServiceAccount token. A file is read at each
/// call, because Kubernetes renews tokens and rotates keys in place.
#[derive(Clone)]
pub enum Credential {
    /// The text itself.
    Text(String),
    /// The file that holds it.
    File(PathBuf),
}

impl Credential {
    /// The text to send; an activation key in canonical form.
    ///
    /// # Errors
    /// The file cannot be read or is too large, the text is empty, or the activation key is mistyped.
    pub fn read(&self) -> Result<String, ConfigError> {
        let (text, origin) = match self {
            Credential::Text(text) => (text.clone(), "the given key".to_owned()),
            Credential::File(path) => {
                (file::text(path, "the activation key or token", MAX_CREDENTIAL)?, path.display().to_string())
            }
        };
        let text = text.trim();
        if text.is_empty() || text.len() as u64 > MAX_CREDENTIAL {
            return Err(ConfigError::CredentialSize { origin });
        }
        if !ActivationKey::looks_like(text) {
            return Ok(text.to_owned());
        }
        match ActivationKey::parse(text) {
            Ok(key) => Ok(key.to_string()),
            Err(problem) => Err(ConfigError::Key { origin, problem }),
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Text(_) => f.write_str("Text(…)"),
            Credential::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

/// The one authority whose servers are trusted, in PEM. A file is read at each connection, because CAs rotate.
#[derive(Clone, Debug)]
pub enum Ca {
    /// The certificates themselves.
    Pem(Vec<u8>),
    /// The file that holds them.
    File(PathBuf),
}

impl Ca {
    /// The certificates to trust.
    ///
    /// # Errors
    /// The file cannot be read, is too large, or holds no certificate.
    pub(crate) fn roots(&self) -> Result<RootCertStore, ConfigError> {
        let (pem, origin) = match self {
            Ca::Pem(pem) => (pem.clone(), "the given CA".to_owned()),
            Ca::File(path) => {
                (file::text(path, "the CA certificate", MAX_CA)?.into_bytes(), path.display().to_string())
            }
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let added = certificate.ok().map(|certificate| roots.add(certificate));
            if !matches!(added, Some(Ok(()))) {
                return Err(ConfigError::Ca { origin });
            }
        }
        if roots.is_empty() { Err(ConfigError::Ca { origin }) } else { Ok(roots) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_https_and_a_host_and_perhaps_a_port() {
        for (text, host, port) in [
            ("https://127.0.0.1:1453", "127.0.0.1", 1453),
            ("https://acme.licenses.svc", "acme.licenses.svc", 1453),
            ("https://[::1]:9000/", "::1", 9000),
            (" https://[::1]\n", "::1", 1453),
        ] {
            let server = Server::parse(text, "a test").expect(text);
            assert_eq!(server.endpoints, [(host.to_owned(), port)]);
        }
    }

    #[test]
    fn several_replicas_are_named_with_commas_between() {
        let server = Server::parse("https://a, https://[::1]:9000\n", "a test").expect("two addresses");
        assert_eq!(server.to_string(), "https://a:1453,https://[::1]:9000");
        for text in ["https://a,", "https://a,b", &["https://a"; 9].join(",")] {
            assert!(Server::parse(text, "a test").is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_such_a_uri_is_refused() {
        for text in [
            "",
            "127.0.0.1:1453",
            "http://a:1453",
            "https://a/b",
            "https://a?b",
            "https://user:pw@a:1453",
            "https://a:port",
            "https://a:99999",
            "https://",
        ] {
            assert!(Server::parse(text, "a test").is_err(), "{text}");
        }
    }

    #[test]
    fn a_mistyped_key_is_found_before_anything_is_sent() {
        let key = ActivationKey::generate().expect("a random source").to_string();
        assert_eq!(Credential::Text(key.to_lowercase()).read().expect("a key"), key);
        let last = if key.ends_with('0') { "1" } else { "0" };
        let wrong = format!("{}{last}", &key[..key.len() - 1]);
        let error = Credential::Text(wrong.clone()).read().expect_err("a wrong key");
        assert!(error.to_string().contains("mistyped"), "{error}");
        assert!(!error.to_string().contains(&wrong[5..]), "{error}");
    }

    #[test]
    fn a_token_is_sent_as_it_is() {
        assert_eq!(
            Credential::Text(" eyJhbGciOi.e30.x\n".into()).read().expect("a token"),
            "eyJhbGciOi.e30.x"
        );
        assert!(Credential::Text(" ".into()).read().is_err());
        assert!(Credential::Text("x".repeat(20_000)).read().is_err());
    }

    #[test]
    fn a_ca_without_a_certificate_is_refused() {
        for pem in ["", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(Ca::Pem(pem.into()).roots().is_err(), "{pem}");
        }
    }
}
