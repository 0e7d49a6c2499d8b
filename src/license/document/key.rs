//! Ed25519 keys of vendors and servers: PEM, JWK, and the thumbprint that names them. A private key is in
//! [`SigningKey`] only, whose Debug shows none of it.

use std::fmt;

use aws_lc_rs::{
    digest,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject};
use serde::{Deserialize, Serialize, de::IgnoredAny};

/// Longest PEM or JWK text that is read.
pub const MAX_KEY: usize = 4 * 1024;

/// What stands before the 32 bytes in a SubjectPublicKeyInfo of Ed25519 (RFC 8410).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a text is not a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No private key of the kind.
    #[error("this is no Ed25519 private key in PEM (PKCS#8): `genie-lm license keygen` makes one")]
    NotPrivate,
    /// No public key of the kind.
    #[error(
        "this is no Ed25519 public key in PEM or JWK: give the .pub.pem or the .pub.jwk that keygen made"
    )]
    NotPublic,
    /// A private key where a public one belongs.
    #[error("this is a private key, which nobody but its owner should have: give the .pub.pem beside it")]
    PrivateGiven,
    /// The crypto library refused.
    #[error("the crypto library cannot make a key or a signature")]
    Crypto,
}

/// A private key that signs.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// Makes a key.
    pub fn generate() -> Result<Self, KeyError> {
        Ed25519KeyPair::generate().map(Self).map_err(|_| KeyError::Crypto)
    }

    /// Reads PKCS#8 in PEM, as keygen or `openssl genpkey -algorithm ed25519` write it.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let der = Some(text).filter(|text| text.len() <= MAX_KEY);
        let der = der.and_then(|text| PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).ok());
        let pair = der.and_then(|der| Ed25519KeyPair::from_pkcs8(der.secret_pkcs8_der()).ok());
        pair.map(Self).ok_or(KeyError::NotPrivate)
    }

    /// PKCS#8 in PEM. Version 1, which every tool reads.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let der = self.0.to_pkcs8v1().map_err(|_| KeyError::Crypto)?;
        Ok(pem("PRIVATE KEY", der.as_ref()))
    }

    /// The other half.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(bytes)
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        self.0.try_sign(message).map(|signature| signature.as_ref().to_vec()).map_err(|_| KeyError::Crypto)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.public())
    }
}

/// A public key; as JSON, a JWK (RFC 8037).
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Jwk", into = "Jwk")]
pub struct PublicKey([u8; 32]);

#[derive(Serialize, Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    x: String,
    /// There in a private key only.
    #[serde(default, skip_serializing)]
    d: Option<IgnoredAny>,
}

impl PublicKey {
    /// Reads a PEM (SubjectPublicKeyInfo) or a JWK.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        if text.len() > MAX_KEY {
            return Err(KeyError::NotPublic);
        }
        if text.trim_start().starts_with('{') {
            return serde_json::from_str::<Jwk>(text).map_err(|_| KeyError::NotPublic)?.try_into();
        }
        if text.contains("PRIVATE KEY") {
            return Err(KeyError::PrivateGiven);
        }
        let der =
            SubjectPublicKeyInfoDer::from_pem_slice(text.as_bytes()).map_err(|_| KeyError::NotPublic)?;
        let bytes = der.as_ref().strip_prefix(&SPKI).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(KeyError::NotPublic)
    }

    /// SubjectPublicKeyInfo in PEM.
    pub fn to_pem(self) -> String {
        pem("PUBLIC KEY", &[&SPKI[..], &self.0].concat())
    }

    /// The thumbprint of RFC 7638: what `kid` says.
    pub fn kid(self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.0);
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, canonical.as_bytes()))
    }

    pub(super) fn verifies(self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.kid())
    }
}

impl TryFrom<Jwk> for PublicKey {
    type Error = KeyError;

    fn try_from(jwk: Jwk) -> Result<Self, Self::Error> {
        if jwk.d.is_some() {
            return Err(KeyError::PrivateGiven);
        }
        if jwk.kty != "OKP" || jwk.crv != "Ed25519" {
            return Err(KeyError::NotPublic);
        }
        let bytes = URL_SAFE_NO_PAD.decode(jwk.x).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or(KeyError::NotPublic)
    }
}

impl From<PublicKey> for Jwk {
    fn from(key: PublicKey) -> Self {
        Jwk { kty: "OKP".into(), crv: "Ed25519".into(), x: URL_SAFE_NO_PAD.encode(key.0), d: None }
    }
}

/// PEM in lines of 64 characters (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for (i, c) in STANDARD.encode(der).chars().enumerate() {
        if i > 0 && i % 64 == 0 {
            text.push('\n');
        }
        text.push(c);
    }
    text + &format!("\n-----END {label}-----\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 8037, appendix A.
    const JWK: &str =
        r#"{"kty":"OKP","crv":"Ed25519","kid":"ignored","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    #[test]
    fn thumbprint_and_signature_are_those_of_rfc_8037() {
        let key = PublicKey::from_text(JWK).unwrap();
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let signed = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature =
            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        assert!(key.verifies(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()));
    }

    #[test]
    fn a_key_survives_the_way_through_its_files() {
        let key = SigningKey::generate().unwrap();
        let again = SigningKey::from_pem(&key.to_pem().unwrap()).unwrap();
        let public = key.public();
        assert_eq!(again.public(), public);
        assert_eq!(PublicKey::from_text(&public.to_pem()).unwrap(), public);
        assert_eq!(PublicKey::from_text(&serde_json::to_string(&public).unwrap()).unwrap(), public);
    }

    #[test]
    fn a_private_key_is_never_taken_for_a_public_one() {
        let pem = SigningKey::generate().unwrap().to_pem().unwrap();
        let jwk = JWK.replace("\"kid\"", "\"d\"");
        for text in [pem, jwk] {
            let error = PublicKey::from_text(&text).unwrap_err().to_string();
            assert!(error.contains("private key") && error.contains(".pub.pem"), "{error}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_with_what_to_give() {
        let short = JWK.replace("URo", "");
        let other = JWK.replace("Ed25519", "X25519");
        let long = " ".repeat(MAX_KEY) + JWK;
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for text in ["", "{", &short, &other, &long, certificate] {
            assert!(matches!(PublicKey::from_text(text), Err(KeyError::NotPublic)), "{text}");
        }
        let public = SigningKey::generate().unwrap().public().to_pem();
        assert!(matches!(SigningKey::from_pem(&public), Err(KeyError::NotPrivate)));
    }
}
