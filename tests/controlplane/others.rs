//! What belongs to others stays theirs: the pool says so, and its plan goes on.

use genie_lm::api::{LicenseGrant, LicensePool, SeatPlan};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use crate::support::{Kind, Place, because, conditions_of, is, message, text};

/// Waits until the pool says that a name is taken, and that it still tells its servers what changes.
async fn is_told_as_taken(place: &Place, kind: &str, name: &str) {
    let pool = place
        .until::<LicensePool>("cad", "says what is taken", |pool| {
            because(conditions_of(pool), "Accepted", "False", "Taken")
        })
        .await;
    let said = message(&pool, "Accepted");
    assert!(said.contains(&format!("{kind} {name} already")) && said.contains("delete"), "{said}");
    let change = json!({ "spec": { "seats": 1, "suspend": true } });
    place.patch::<LicensePool>("cad", change).await.unwrap();
    place.until::<SeatPlan>("cad", "has the cap", |plan| plan.spec.seats == 1 && plan.spec.suspended).await;
}

async fn stays_theirs<K>(name: &str, object: Value)
where
    K: Kind + serde::Serialize + PartialEq,
{
    let place = Place::empty("others").await;
    let mut theirs = object;
    theirs["metadata"] = json!({ "name": name, "annotations": { "example.com/owner": "somebody" } });
    let before: K = place.create(theirs).await;
    let mut place = place;
    place.start("operator-0").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    is_told_as_taken(&place, &K::kind(&()), name).await;
    let after = place.there::<K>(name).await;
    assert_eq!(after.resource_version(), before.resource_version(), "{name} was written");

    place.delete::<K>(name).await;
    place
        .until::<K>(name, "is made when the name is free", |made| {
            made.owner_references().iter().any(|owner| owner.kind == LicensePool::kind(&()))
        })
        .await;
    place
        .until::<LicensePool>("cad", "is Accepted", |pool| is(conditions_of(pool), "Accepted", "True"))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_somebody_else_is_left_alone() {
    stays_theirs::<Service>("cad-license", json!({ "spec": { "ports": [{ "port": 80 }] } })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_map_of_somebody_else_is_left_alone() {
    stays_theirs::<ConfigMap>("cad-license-server", json!({ "data": { "mine": "x" } })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_of_somebody_else_is_left_alone() {
    let labels = json!({ "app": "theirs" });
    let containers = json!([{ "name": "theirs", "image": "theirs:1" }]);
    let template = json!({ "metadata": { "labels": labels }, "spec": { "containers": containers } });
    let spec = json!({ "replicas": 0, "selector": { "matchLabels": labels }, "template": template });
    let place = Place::new("others").await;
    let made = json!({ "metadata": { "name": "cad-license-server" }, "spec": spec });
    let before: Deployment = place.create(made).await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    is_told_as_taken(&place, "Deployment", "cad-license-server").await;
    let after = place.there::<Deployment>("cad-license-server").await;
    assert_eq!((after.uid(), after.spec), (before.uid(), before.spec));
    assert!(after.metadata.owner_references.is_none() && after.metadata.labels.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_somebody_else_is_left_alone() {
    stays_theirs::<Secret>("cad-license-server-tls", json!({ "stringData": { "mine": "x" } })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mac_keys_of_somebody_else_are_left_alone_and_keep_no_plan_back() {
    stays_theirs::<Secret>("cad-license-server-keys", json!({ "stringData": { "mine": "x" } })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lost_its_label_to_another_tool_is_known_by_its_owner() {
    let place = Place::new("others").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.there::<Deployment>("cad-license-server").await;
    let label = "app.kubernetes.io/managed-by";
    let other = json!({ "metadata": { "labels": { label: "another-tool" } } });
    let ours = |labels: &std::collections::BTreeMap<String, String>| {
        labels.get(label).is_some_and(|by| by == "genie-lm-operator")
    };
    place.patch::<Service>("cad-license", other.clone()).await.unwrap();
    for name in ["cad-license-server-keys", "cad-license-server-tls", "cad-license-server-peer"] {
        let before = place.there::<Secret>(name).await;
        place.patch::<Secret>(name, other.clone()).await.unwrap();
        let again = place.until::<Secret>(name, "is labeled again", |secret| ours(secret.labels())).await;
        assert_eq!((again.uid(), again.data), (before.uid(), before.data), "{name} holds the same");
    }
    place.until::<Service>("cad-license", "is labeled again", |service| ours(service.labels())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_grant_that_somebody_holds_is_out_of_the_plan() {
    let place = Place::new("others").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let held = json!({ "name": "team", "finalizers": ["example.com/held"] });
    let spec = json!({ "poolRef": { "name": "cad" } });
    place.create::<LicenseGrant>(json!({ "metadata": held, "spec": spec })).await;
    let key = place.ready_grant("team").await;
    place.delete::<LicenseGrant>("team").await;
    place.until::<SeatPlan>("cad", "has no grant", |plan| plan.spec.grants.is_empty()).await;
    let grant = place.there::<LicenseGrant>("team").await;
    assert!(grant.metadata.deletion_timestamp.is_some(), "it is still held");
    assert_eq!(text(&place.there::<Secret>("team-license").await, "key"), key);
    place.patch::<LicenseGrant>("team", json!({ "metadata": { "finalizers": null } })).await.unwrap();
    place.gone::<LicenseGrant>("team").await;
}
