//! Step 3 of a grant: pure. Its Secret, in the form of the Service Binding specification: what an app needs, and the one
//! place where the activation key is kept.

use genie_client::ActivationKey;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{ResourceExt, core::ObjectMeta};

use super::validate::Validated;
use crate::{
    api::LicenseGrant,
    compile::{GrantReason, ObjectName},
    operator::names,
};

/// Where the key is.
const KEY: &str = "key";

/// The Secret of a grant.
pub fn build(grant: &LicenseGrant, validated: &Validated, key: &ActivationKey) -> Secret {
    let data = [
        ("type", "genie-lm"),
        ("provider", "genie-lm"),
        ("host", validated.host.as_str()),
        ("port", "1453"),
        ("uri", &format!("https://{}:1453", validated.host)),
        ("product", validated.product.as_str()),
        (KEY, key.as_str()),
        ("ca.crt", validated.ca.as_str()),
    ];
    Secret {
        metadata: ObjectMeta {
            name: Some(names::binding(&grant.name_any())),
            namespace: grant.namespace(),
            labels: Some(names::grant_labels(grant)),
            owner_references: Some(names::owner(grant).into_iter().collect()),
            ..ObjectMeta::default()
        },
        type_: Some("servicebinding.io/genie-lm".into()),
        data: Some(data.map(|(key, text)| (key.to_owned(), ByteString(text.as_bytes().to_vec()))).into()),
        ..Secret::default()
    }
}

/// The key in a grant's Secret; None: the Secret is that of an earlier grant of this name, about to be collected.
pub fn key_of(grant: &LicenseGrant, secret: &Secret) -> Option<Result<ActivationKey, GrantReason>> {
    let own = secret.owner_references().iter().any(|owner| Some(&owner.uid) == grant.metadata.uid.as_ref());
    let bytes = secret.data.as_ref().and_then(|data| data.get(KEY)).map_or(&[][..], |bytes| &bytes.0);
    let invalid = |why: String| GrantReason::KeyInvalid {
        secret: ObjectName::of(secret),
        key: KEY.into(),
        why: format!("{why}; delete the Secret to have a new key made"),
    };
    let parse = || {
        let text = std::str::from_utf8(bytes).map_err(|_| invalid("it is not text".into()))?;
        ActivationKey::parse(text).map_err(|error| invalid(error.to_string()))
    };
    own.then(parse)
}
