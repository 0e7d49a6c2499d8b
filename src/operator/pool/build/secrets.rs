//! Secrets of a server: its certificate, the peers' certificate, the MAC keys. What they hold is made elsewhere, or kept
//! from the live one. Whether a certificate is still good is read off annotations, so none is parsed at each reconcile.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::server_meta;
use crate::{
    license::MacKeys,
    operator::{
        names::{self, KEYS_ADDED_AT, TLS_NAMES, TLS_RENEW_AT},
        pool::{
            rotation::Rotation,
            validate::{Server, Validated},
        },
    },
    pki::Issued,
};

/// What a Secret with a certificate holds.
pub struct Material {
    certificate: String,
    key: String,
    trust: String,
    renew_at: Timestamp,
}

impl Material {
    /// A new certificate, and what those who see it shall trust.
    pub fn new(issued: Issued, trust: String) -> Self {
        Self { certificate: issued.certificate, key: issued.key, trust, renew_at: issued.renew_at }
    }

    /// The certificate of a live Secret, as long as it is good: whole, for these names, under this CA (None: under any),
    /// and not due.
    pub fn kept(live: Option<&Secret>, names: &[String], ca: Option<&str>, now: Timestamp) -> Option<Self> {
        let live = live?;
        let named = live.annotations().get(TLS_NAMES)? == &names.join(",");
        let renew_at = renewal(live)?;
        let [certificate, key, trust] = ["tls.crt", "tls.key", "ca.crt"].map(|key| text(live, key));
        let kept = Self { certificate: certificate?, key: key?, trust: trust?, renew_at };
        let trusted = ca.is_none_or(|ca| ca == kept.trust);
        (named && trusted && renew_at > now).then_some(kept)
    }
}

/// When the certificate in a Secret is to be made anew.
pub fn renewal(live: &Secret) -> Option<Timestamp> {
    live.annotations().get(TLS_RENEW_AT)?.parse().ok()
}

/// A text in a Secret.
pub fn text(secret: &Secret, key: &str) -> Option<String> {
    let bytes = secret.data.as_ref()?.get(key)?;
    String::from_utf8(bytes.0.clone()).ok().filter(|text| !text.is_empty())
}

/// `S-tls` or `S-peer`.
pub fn certificate_secret(
    validated: &Validated,
    server: &Server,
    name: String,
    names: &[String],
    holds: Material,
) -> Secret {
    let mut metadata = server_meta(validated, server, name);
    metadata.annotations = Some(BTreeMap::from([
        (TLS_NAMES.to_owned(), names.join(",")),
        (TLS_RENEW_AT.to_owned(), holds.renew_at.to_string()),
    ]));
    let data = [("tls.crt", holds.certificate), ("tls.key", holds.key), ("ca.crt", holds.trust)];
    Secret {
        metadata,
        type_: Some("kubernetes.io/tls".into()),
        data: Some(data.map(|(key, text)| (key.to_owned(), ByteString(text.into_bytes()))).into()),
        ..Secret::default()
    }
}

/// A Secret of a server: its name and whose it is, without contents.
pub fn unfilled(validated: &Validated, server: &Server, name: String) -> Secret {
    Secret { metadata: server_meta(validated, server, name), ..Secret::default() }
}

/// `S-keys`, without its keys: they are not applied, since a cache that is behind would apply old ones.
pub fn keys_secret(validated: &Validated, server: &Server) -> Secret {
    Secret {
        type_: Some("Opaque".into()),
        ..unfilled(validated, server, names::keys_secret(&validated.server))
    }
}

/// The contents of a new `S-keys`.
pub fn keys_data(keys: &MacKeys) -> BTreeMap<String, ByteString> {
    keys.entries().into_iter().map(|(name, value)| (name, ByteString(value))).collect()
}

/// The change that makes of the keys in `live` those of a rotation. What is none of ours stays.
pub fn keys_change(live: &Secret, rotation: &Rotation) -> Value {
    let gone = live.data.iter().flatten().filter(|(name, _)| MacKeys::is_entry(name));
    let mut data: BTreeMap<String, Option<ByteString>> = gone.map(|(name, _)| (name.clone(), None)).collect();
    data.extend(keys_data(&rotation.keys).into_iter().map(|(name, value)| (name, Some(value))));
    let added_at = rotation.added_at.map(|time| time.to_string());
    json!({ "metadata": { "annotations": { KEYS_ADDED_AT: added_at } }, "data": data })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(names: &str, ca: &str) -> Secret {
        let encoded = |text: &str| serde_json::to_value(ByteString(text.as_bytes().to_vec())).unwrap();
        serde_json::from_value(json!({
            "metadata": {"annotations": {TLS_NAMES: names, TLS_RENEW_AT: "2030-01-01T00:00:00Z"}},
            "data": {"tls.crt": encoded("certificate"), "tls.key": encoded("key"), "ca.crt": encoded(ca)},
        }))
        .unwrap()
    }

    #[test]
    fn a_certificate_is_kept_until_its_names_its_ca_or_the_time_say_otherwise() {
        let names = ["a".to_owned(), "b".to_owned()];
        let kept = |live: &Secret, now: &str| {
            Material::kept(Some(live), &names, Some("ca"), now.parse().unwrap()).is_some()
        };
        assert!(kept(&live("a,b", "ca"), "2029-12-31T23:59:59Z"));
        assert!(!kept(&live("a,b", "ca"), "2030-01-01T00:00:00Z"));
        assert!(!kept(&live("a", "ca"), "2029-01-01T00:00:00Z"));
        assert!(!kept(&live("a,b", "other"), "2029-01-01T00:00:00Z"));
        assert!(!kept(&live("a,b", ""), "2029-01-01T00:00:00Z"));
    }
}
