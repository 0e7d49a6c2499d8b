//! The operator with the rights that deploy/ gives it and no others: all its work, in several namespaces. And who lets a
//! namespace in: the pool allows, never the grant.

use genie_client::ActivationKey;
use genie_lm::api::{LicenseGrant, LicensePool, SeatLedger, SeatPlan};
use k8s_openapi::api::{
    apps::v1::Deployment,
    authentication::v1::TokenRequest,
    core::v1::{Namespace, Secret, ServiceAccount},
    events::v1::Event,
    rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams},
    core::ClusterResourceScope,
};
use serde_json::{Value, json};

use crate::{
    support::{Place, another_namespace, because, conditions_of, is, text, until},
    vendor::{Vendor, put},
};

const DEPLOY: &str = include_str!("../../deploy/operator.yaml");

/// The objects of one kind in deploy/, with the operator's namespace in the place of theirs.
fn deployed(kind: &str, namespace: &str) -> Vec<Value> {
    let documents: Vec<Value> = DEPLOY
        .split("\n---")
        .map(|text| serde_saphyr::from_str(text).expect("deploy/operator.yaml is YAML"))
        .filter(|document: &Value| document["kind"] == json!(kind))
        .collect();
    assert!(!documents.is_empty(), "deploy/operator.yaml has no {kind}");
    let here = |mut document: Value| {
        if document["metadata"]["namespace"].is_string() {
            document["metadata"]["namespace"] = json!(namespace);
        }
        for subject in document.get_mut("subjects").and_then(Value::as_array_mut).into_iter().flatten() {
            subject["namespace"] = json!(namespace);
        }
        document
    };
    documents.into_iter().map(here).collect()
}

async fn apply<K>(api: Api<K>, objects: Vec<Value>)
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    for object in objects {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        api.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&object)).await.unwrap();
    }
}

fn everywhere<K: kube::Resource<DynamicType = (), Scope = ClusterResourceScope>>(place: &Place) -> Api<K> {
    Api::all(place.client.clone())
}

/// Gives the rights of deploy/ to a ServiceAccount, and its token.
pub async fn token_of_the_deployed_account(place: &Place) -> String {
    let here = &place.namespace;
    apply(place.api::<ServiceAccount>(), deployed("ServiceAccount", here)).await;
    apply(everywhere::<ClusterRole>(place), deployed("ClusterRole", here)).await;
    apply(everywhere::<ClusterRoleBinding>(place), deployed("ClusterRoleBinding", here)).await;
    apply(place.api::<Role>(), deployed("Role", here)).await;
    apply(place.api::<RoleBinding>(), deployed("RoleBinding", here)).await;
    let accounts = place.api::<ServiceAccount>();
    let made =
        accounts.create_token_request("genie-lm", &PostParams::default(), &TokenRequest::default()).await;
    made.unwrap().status.unwrap().token
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deployed_rights_are_enough_for_everything() {
    let mut place = Place::alone("rights").await;
    let token = token_of_the_deployed_account(&place).await;
    let vendor = Vendor::new();
    place.trust = vendor.trust();
    place.start_everywhere(&token);
    let namespaces = everywhere::<Namespace>(&place);
    let here = namespaces.get("kube-system").await.unwrap().metadata.uid.unwrap();
    put(&place, "bought", &vendor.issue(&format!("seats: 3, binding: {{cluster: {here}}}"))).await;
    let licenses = json!([{ "secretRef": { "name": "bought" } }]);
    let deletion = json!({ "ledgerReclaimPolicy": "Delete" });
    let availability = json!({ "outageTolerance": "15s" });
    let spec =
        json!({ "product": "cad", "licenses": licenses, "availability": availability, "deletion": deletion });
    place.pool("cad", spec).await;
    let team = another_namespace(&place.client, "team", json!({})).await;
    let grants: Api<LicenseGrant> = Api::namespaced(place.client.clone(), &team);
    let grant = serde_json::from_value(json!({
        "apiVersion": "genie-lm.io/v1alpha1", "kind": "LicenseGrant", "metadata": { "name": "designers" },
        "spec": { "poolRef": { "name": "cad", "namespace": place.namespace } },
    }));
    grants.create(&PostParams::default(), &grant.unwrap()).await.unwrap();
    let refused =
        |grant: &LicenseGrant| because(conditions_of(grant), "Accepted", "False", "NotAllowedByPool");
    until(grants.clone(), "designers", "is not allowed", refused).await;

    let selector = json!({ "from": "Selector", "selector": { "matchLabels": { "cad": "yes" } } });
    place.patch::<LicensePool>("cad", json!({ "spec": { "allowedNamespaces": selector } })).await.unwrap();
    let namespaces = everywhere::<Namespace>(&place);
    let label = Patch::Merge(json!({ "metadata": { "labels": { "cad": "yes" } } }));
    namespaces.patch(&team, &PatchParams::default(), &label).await.unwrap();
    let ready = |grant: &LicenseGrant| is(conditions_of(grant), "Ready", "True");
    until(grants.clone(), "designers", "is Ready", ready).await;
    let secrets: Api<Secret> = Api::namespaced(place.client.clone(), &team);
    let secret = secrets.get("designers-license").await.unwrap();
    assert_eq!(text(&secret, "host"), format!("cad-license.{}.svc.cluster.local", place.namespace));

    let none = Patch::Merge(json!({ "metadata": { "labels": { "cad": null } } }));
    namespaces.patch(&team, &PatchParams::default(), &none).await.unwrap();
    until(grants, "designers", "is not allowed any more", refused).await;

    let key = ActivationKey::generate().unwrap();
    place
        .create::<Secret>(json!({ "metadata": { "name": "mine" }, "stringData": { "key": key.as_str() } }))
        .await;
    let subjects = json!([{ "kind": "ActivationKey", "keySecretRef": { "name": "mine" } }]);
    place.grant("brings-its-key", json!({ "poolRef": { "name": "cad" }, "subjects": subjects })).await;
    assert_eq!(place.ready_grant("brings-its-key").await, key.as_str());

    let ask = json!({ "genie-lm.io/rotate-keys": jiff::Timestamp::now().to_string() });
    place.patch::<LicensePool>("cad", json!({ "metadata": { "annotations": ask } })).await.unwrap();
    let rotates = |keys: &Secret| keys.data.as_ref().is_some_and(|data| data.contains_key("1"));
    place.until::<Secret>("cad-license-server-keys", "has another key", rotates).await;

    place.own("cad", 1, 0).await.unwrap();
    place.delete::<LicensePool>("cad").await;
    place.gone::<LicensePool>("cad").await;
    place.gone::<SeatLedger>("cad").await;
    place.gone::<SeatPlan>("cad").await;
    place.gone::<Deployment>("cad-license-server").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_a_change_once() {
    let place = Place::new("events").await;
    place.grant("team", json!({ "poolRef": { "name": "cad" } })).await;
    let refused = |grant: &LicenseGrant| because(conditions_of(grant), "Accepted", "False", "PoolNotFound");
    place.until::<LicenseGrant>("team", "waits", refused).await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let key = place.ready_grant("team").await;
    place.until_audited("the last event", |write| write.starts_with("create events team.")).await;
    let told = || async {
        let events = place.api::<Event>().list(&ListParams::default()).await.unwrap();
        let about =
            |event: &Event| event.regarding.as_ref().is_some_and(|it| it.name.as_deref() == Some("team"));
        events.items.into_iter().filter(about).collect::<Vec<_>>()
    };
    let ready = |events: &[Event]| events.iter().any(|event| event.reason.as_deref() == Some("Ready"));
    let deadline = tokio::time::Instant::now() + crate::support::DEADLINE;
    let mut events = told().await;
    while !ready(&events) {
        assert!(tokio::time::Instant::now() < deadline, "no event says Ready: {events:#?}");
        events = told().await;
    }
    let waits = events.iter().filter(|event| {
        event.reason.as_deref() == Some("PoolNotFound") && event.action.as_deref() == Some("Accepted")
    });
    let waits: Vec<_> = waits.collect();
    assert_eq!(waits.len(), 1, "{waits:#?}");
    assert!(waits[0].series.is_none(), "it was told once");
    assert!(events.iter().all(|event| !format!("{event:?}").contains(&key)), "an event never shows a key");
}
