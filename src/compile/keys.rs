//! The activation key that a grant brings along in a Secret, and what the plan holds in its place.

use genie_client::ActivationKey;
use k8s_openapi::api::core::v1::Secret;

use super::{GrantReason, ObjectName};
use crate::api::{LicenseGrant, PlanKey};
use crate::license::KeyHash;

/// Where a key is inside of a Secret when the grant does not say it.
const DEFAULT_KEY: &str = "key";

/// The Secret that brings the grant's key; None: the key is made by whoever serves the grant.
pub fn key_secret(grant: &LicenseGrant) -> Option<ObjectName> {
    let reference = grant.spec.subjects.first()?.key_secret_ref.as_ref()?;
    Some(ObjectName { namespace: ObjectName::of(grant).namespace, name: reference.name.clone() })
}

/// The key that the grant brings, out of the Secret that [`key_secret`] names.
///
/// # Errors
/// KeyMissing or KeyInvalid, without the key's text.
pub fn brought_key(grant: &LicenseGrant, secret: Option<&Secret>) -> Result<ActivationKey, GrantReason> {
    let reference = grant.spec.subjects.first().and_then(|subject| subject.key_secret_ref.as_ref());
    let key = reference.and_then(|reference| reference.key.as_deref()).unwrap_or(DEFAULT_KEY).to_owned();
    let name = ObjectName {
        namespace: ObjectName::of(grant).namespace,
        name: reference.map(|reference| reference.name.clone()).unwrap_or_default(),
    };
    let Some(bytes) = secret.and_then(|secret| value(secret, &key)) else {
        return Err(GrantReason::KeyMissing { secret: name, key });
    };
    let invalid = |why: String| GrantReason::KeyInvalid { secret: name.clone(), key: key.clone(), why };
    let text = std::str::from_utf8(bytes).map_err(|_| invalid("it is not text".to_owned()))?;
    ActivationKey::parse(text).map_err(|error| invalid(error.to_string()))
}

/// stringData counts first, as in the API server.
pub(super) fn value<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    let text = secret.string_data.as_ref().and_then(|data| data.get(key)).map(String::as_bytes);
    text.or_else(|| secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| bytes.0.as_slice()))
}

/// What the plan holds in a key's place.
pub fn hash(key: &ActivationKey) -> PlanKey {
    PlanKey { sha256: KeyHash::of(key.as_str()).to_hex() }
}
