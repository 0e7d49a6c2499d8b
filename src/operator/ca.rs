//! The operator's CA: a Secret in its own namespace, made once and kept. Whoever needs it and does not find it makes it;
//! of two who do, the API server takes one.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{ResourceExt, core::ObjectMeta};

use super::{
    error::ApiError,
    names::{CA_SECRET, FIELD_MANAGER, MANAGED_BY, TLS_RENEW_AT},
    writer::Writer,
};
use crate::pki::{Ca, Issued, PkiError};

/// Its common name.
const NAME: &str = "genie-lm operator CA";

/// The CA in a Secret.
pub fn read(secret: &Secret) -> Result<Ca, PkiError> {
    Ok(Ca::new(text(secret, "tls.crt")?, text(secret, "tls.key")?))
}

/// The CA's certificate in a Secret.
pub fn certificate(secret: &Secret) -> Result<String, PkiError> {
    text(secret, "tls.crt")
}

/// Makes the CA where there is none, or where two thirds of its life have passed; true when it did, and the new one is
/// about to come by the watch.
pub async fn ensure(
    writer: &Writer,
    live: Option<&Secret>,
    namespace: &str,
    now: Timestamp,
) -> Result<bool, EnsureError> {
    match live {
        None => writer.create(&secret(namespace, &Ca::generate(NAME, now)?)).await?,
        Some(live) if due(live, now) => {
            writer.update(&secret(namespace, &Ca::generate(NAME, now)?), live).await?;
        }
        Some(_) => return Ok(false),
    }
    Ok(true)
}

/// The CA could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EnsureError {
    /// Not made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Not written.
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// A CA that somebody else put there (without our annotation) is theirs to renew.
fn due(live: &Secret, now: Timestamp) -> bool {
    let at = live.annotations().get(TLS_RENEW_AT).and_then(|text| text.parse::<Timestamp>().ok());
    at.is_some_and(|at| at <= now)
}

fn secret(namespace: &str, issued: &Issued) -> Secret {
    let data = [("tls.crt", &issued.certificate), ("tls.key", &issued.key)];
    Secret {
        metadata: ObjectMeta {
            name: Some(CA_SECRET.into()),
            namespace: Some(namespace.into()),
            labels: Some(BTreeMap::from([(MANAGED_BY.to_owned(), FIELD_MANAGER.to_owned())])),
            annotations: Some(BTreeMap::from([(TLS_RENEW_AT.to_owned(), issued.renew_at.to_string())])),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".into()),
        data: Some(
            data.into_iter()
                .map(|(key, text)| (key.to_owned(), ByteString(text.clone().into_bytes())))
                .collect(),
        ),
        ..Secret::default()
    }
}

fn text(secret: &Secret, key: &'static str) -> Result<String, PkiError> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key)).ok_or(PkiError::Missing(key))?;
    String::from_utf8(bytes.0.clone()).map_err(|_| PkiError::Missing(key))
}
