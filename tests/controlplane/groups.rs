//! Pools of a group share one server.

use genie_lm::api::{LicensePool, SeatPlan};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Secret, Service},
    rbac::v1::Role,
};
use kube::ResourceExt;
use serde_json::json;

use crate::support::{Place, because, conditions_of};

const SERVER: &str = "shared-license-group";

fn products(config: &ConfigMap) -> &str {
    config.data.as_ref().and_then(|data| data.get("products")).map_or("", String::as_str)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_joins_and_leaves_a_group_and_the_server_follows() {
    let place = Place::new("group").await;
    place
        .pool(
            "alpha",
            json!({ "product": "one", "seats": 3, "server": { "group": "shared", "replicas": 3 } }),
        )
        .await;
    place.until::<ConfigMap>(SERVER, "serves one product", |config| products(config) == "one\n").await;
    let before = place.there::<Deployment>(SERVER).await;

    place.pool("beta", json!({ "product": "two", "seats": 5, "server": { "group": "shared" } })).await;
    let config =
        place.until::<ConfigMap>(SERVER, "serves both", |config| products(config) == "one\ntwo\n").await;
    assert_eq!(config.owner_references().len(), 2);
    place.there::<SeatPlan>("two").await;
    place
        .until::<Role>(SERVER, "speaks of both", |role| {
            role.rules
                .iter()
                .flatten()
                // A pod's name is new with each pod.
                .filter(|rule| rule.resources.as_deref() != Some(&["pods".to_owned()]))
                .all(|rule| rule.resource_names.as_ref().is_some_and(|names| names.len() == 2))
        })
        .await;
    place
        .until::<Secret>(&format!("{SERVER}-tls"), "names both", |secret| {
            let names = &secret.annotations()["genie-lm.io/tls-names"];
            names.contains("alpha-license.") && names.contains("beta-license.")
        })
        .await;
    let beta = place.there::<Service>("beta-license").await;
    assert_eq!(beta.spec.unwrap().selector.unwrap()["app.kubernetes.io/instance"], SERVER);
    place
        .until::<LicensePool>("beta", "is told that the oldest shapes the server", |pool| {
            because(conditions_of(pool), "Accepted", "True", "GroupConflict")
        })
        .await;
    let after = place.there::<Deployment>(SERVER).await;
    assert_eq!(before.spec.unwrap().template, after.spec.unwrap().template, "joining restarts no pod");

    place.delete::<LicensePool>("alpha").await;
    place.gone::<LicensePool>("alpha").await;
    place.until::<ConfigMap>(SERVER, "serves the other", |config| products(config) == "two\n").await;
    let deployment = place
        .until::<Deployment>(SERVER, "is shaped by the other", |it| {
            it.spec.as_ref().is_some_and(|spec| spec.replicas == Some(2))
        })
        .await;
    assert_eq!(deployment.metadata.uid, after.metadata.uid, "it is the same Deployment");
    place.gone::<Service>("alpha-license").await;

    place.delete::<LicensePool>("beta").await;
    place.gone::<Deployment>(SERVER).await;
}
