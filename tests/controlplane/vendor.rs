//! A vendor that signs licenses, and Secrets that hold them.

use genie_lm::license::document::{SigningKey, Spec, TrustedKeys, sign};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::support::Place;

pub struct Vendor(SigningKey);

impl Vendor {
    pub fn new() -> Self {
        Self(SigningKey::generate().unwrap())
    }

    /// Its key, for product cad.
    pub fn trust(&self) -> TrustedKeys {
        let jwk = serde_json::to_string(&self.0.public()).unwrap();
        TrustedKeys::parse(&format!("vendorKeys: [{{products: [cad], key: '{jwk}'}}]")).unwrap()
    }

    /// A license for product cad.
    pub fn issue(&self, spec: &str) -> String {
        let spec =
            Spec::parse(&format!("{{vendor: Acme, customer: Initech, product: cad, {spec}}}")).unwrap();
        sign(&spec.license(Timestamp::now(), || "new".into()).unwrap(), &self.0).unwrap()
    }
}

/// Puts a document into a Secret, as kubectl apply does.
pub async fn put(place: &Place, name: &str, document: &str) {
    let api: Api<Secret> = place.api();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name },
        "data": { "license": k8s_openapi::ByteString(document.as_bytes().to_vec()) },
    });
    api.patch(name, &PatchParams::apply("user").force(), &Patch::Apply(&secret)).await.unwrap();
}
