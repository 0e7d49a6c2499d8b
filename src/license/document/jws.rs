//! Signed text: a JWS in compact form (RFC 7515), with one algorithm and three header fields, and nothing else.
//!
//! What may vary in a JWS is what has made others accept forgeries, so nothing varies here: the algorithm is EdDSA,
//! the type is the one that the caller expects, the key is found by its thumbprint, and a field that is not known
//! (`crit`, `jwk`, `b64`, …) is refused.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::key::{KeyError, PublicKey, SigningKey};

/// Longest document in bytes; one with 128 features in 8 tiers has about 40,000.
pub const MAX_DOCUMENT: usize = 64 * 1024;

const ALGORITHM: &str = "EdDSA";
/// How much of a stranger's text is repeated in an error.
const SHOWN: usize = 120;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// Why a text is not the signed text that was expected.
#[derive(Debug, thiserror::Error)]
pub enum JwsError {
    /// More than a document can have.
    #[error("it has more than {MAX_DOCUMENT} bytes, the most that is read")]
    TooLong,
    /// Not three parts of base64url.
    #[error("it is not three parts in base64url with dots between (JWS compact): it may have been cut off")]
    Form,
    /// The header is not what it must be.
    #[error("its header is not one of alg, typ and kid alone: {0}")]
    Header(String),
    /// Another algorithm.
    #[error("its alg is {0}, and only EdDSA is accepted")]
    Algorithm(String),
    /// Another kind of document.
    #[error("its typ is {found}, not {wanted}: this is another kind of document")]
    Type {
        /// What it says.
        found: String,
        /// What was expected.
        wanted: &'static str,
    },
    /// The key that it names is none of those that are trusted.
    #[error("it is signed with the key {0}, which is none of those given: ask the vendor for its public key")]
    UnknownKey(String),
    /// The signature is wrong.
    #[error(
        "its signature is wrong: it was changed after it was signed, or not signed with the key it names"
    )]
    Signature,
    /// The payload cannot be read.
    #[error("it says what this version does not understand: {0}; get a version that does")]
    Payload(String),
    /// Signing failed.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Signed text, taken apart. Nothing in it is true until [`Jws::verify`] says so.
pub(super) struct Jws<'a> {
    pub kid: String,
    payload: Vec<u8>,
    message: &'a str,
    signature: Vec<u8>,
}

/// Signs `payload` as a document of type `typ`.
pub(super) fn sign(key: &SigningKey, typ: &str, payload: &impl Serialize) -> Result<String, JwsError> {
    let header = Header { alg: ALGORITHM.into(), typ: typ.into(), kid: key.public().kid() };
    let mut text = format!("{}.{}", part(&header)?, part(payload)?);
    let signature = key.sign(text.as_bytes())?;
    text.push('.');
    BASE64.encode_string(signature, &mut text);
    if text.len() > MAX_DOCUMENT { Err(JwsError::TooLong) } else { Ok(text) }
}

impl<'a> Jws<'a> {
    /// Takes `text` apart, as a document of type `typ`.
    pub fn parse(text: &'a str, typ: &'static str) -> Result<Self, JwsError> {
        if text.len() > MAX_DOCUMENT {
            return Err(JwsError::TooLong);
        }
        let (message, signature) = text.rsplit_once('.').ok_or(JwsError::Form)?;
        let (header, payload) = message.split_once('.').ok_or(JwsError::Form)?;
        let decode = |part: &str| BASE64.decode(part).map_err(|_| JwsError::Form);
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|error| JwsError::Header(shown(error)))?;
        if header.alg != ALGORITHM {
            return Err(JwsError::Algorithm(shown(header.alg)));
        }
        if header.typ != typ {
            return Err(JwsError::Type { found: shown(header.typ), wanted: typ });
        }
        Ok(Self { kid: shown(header.kid), payload: decode(payload)?, message, signature: decode(signature)? })
    }

    /// What it says, true or not.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, JwsError> {
        serde_json::from_slice(&self.payload).map_err(|error| JwsError::Payload(shown(error)))
    }

    /// Whether one of `keys` signed it: the one that it names.
    pub fn verify(&self, keys: &[PublicKey]) -> Result<(), JwsError> {
        let key = keys.iter().find(|key| key.kid() == self.kid);
        let key = key.ok_or_else(|| JwsError::UnknownKey(self.kid.clone()))?;
        let good = key.verifies(self.message.as_bytes(), &self.signature);
        if good { Ok(()) } else { Err(JwsError::Signature) }
    }
}

fn part(value: &impl Serialize) -> Result<String, JwsError> {
    let json = serde_json::to_vec(value).map_err(|error| JwsError::Payload(shown(error)))?;
    Ok(BASE64.encode(json))
}

/// A stranger's text for an error or a terminal: short, and without control characters.
pub(super) fn shown(text: impl ToString) -> String {
    text.to_string().chars().map(|c| if c.is_control() { '?' } else { c }).take(SHOWN).collect()
}
