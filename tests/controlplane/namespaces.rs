//! Grants of other namespaces: the pool allows, never the grant.

use genie_lm::api::{LicenseGrant, LicensePool};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::support::{Place, another_namespace, because, conditions_of, is, text, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_let_in_by_the_pool_and_by_its_labels() {
    let place = Place::alone("pools").await;
    let team = another_namespace(&place.client, "team", json!({})).await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let grants: Api<LicenseGrant> = Api::namespaced(place.client.clone(), &team);
    let grant = serde_json::from_value(json!({
        "apiVersion": "genie-lm.io/v1alpha1", "kind": "LicenseGrant", "metadata": { "name": "designers" },
        "spec": { "poolRef": { "name": "cad", "namespace": place.namespace } },
    }));
    grants.create(&PostParams::default(), &grant.unwrap()).await.unwrap();
    until(grants.clone(), "designers", "is not allowed", |grant: &LicenseGrant| {
        because(conditions_of(grant), "Accepted", "False", "NotAllowedByPool")
    })
    .await;

    let selector = json!({ "spec": { "allowedNamespaces": { "from": "Selector", "selector": { "matchLabels": { "cad": "yes" } } } } });
    place.patch::<LicensePool>("cad", selector).await.unwrap();
    let namespaces: Api<Namespace> = Api::all(place.client.clone());
    let label = Patch::Merge(json!({ "metadata": { "labels": { "cad": "yes" } } }));
    namespaces.patch(&team, &PatchParams::default(), &label).await.unwrap();
    until(grants.clone(), "designers", "is Ready", |grant: &LicenseGrant| is(conditions_of(grant), "Ready", "True")).await;
    let secrets: Api<Secret> = Api::namespaced(place.client.clone(), &team);
    let secret = secrets.get("designers-license").await.unwrap();
    assert_eq!(text(&secret, "host"), format!("cad-license.{}.svc.cluster.local", place.namespace));

    let none = Patch::Merge(json!({ "metadata": { "labels": { "cad": null } } }));
    namespaces.patch(&team, &PatchParams::default(), &none).await.unwrap();
    until(grants, "designers", "is not allowed any more", |grant: &LicenseGrant| {
        because(conditions_of(grant), "Accepted", "False", "NotAllowedByPool")
    })
    .await;
}
