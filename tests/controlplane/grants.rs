//! A grant becomes a Secret that an app can mount.

use genie_client::ActivationKey;
use genie_lm::api::{LicenseGrant, LicensePool, SeatPlan};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::json;

use crate::support::{Place, because, conditions_of, is, message, text};

fn planned_keys(plan: &SeatPlan) -> Vec<String> {
    plan.spec.grants.iter().flat_map(|grant| grant.keys.iter().map(|key| key.sha256.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_becomes_a_service_binding_secret() {
    let place = Place::new("grant").await;
    place.pool("cad", json!({ "product": "autocad", "seats": 3 })).await;
    let grant = place.grant("team", json!({ "poolRef": { "name": "cad" }, "seats": { "max": 2 } })).await;
    let key = place.ready_grant("team").await;
    let secret = place.there::<Secret>("team-license").await;
    assert_eq!(secret.type_.as_deref(), Some("servicebinding.io/genie-lm"));
    assert_eq!(secret.owner_references()[0].uid, grant.uid().unwrap());
    let host = format!("cad-license.{}.svc.cluster.local", place.namespace);
    for (name, value) in [
        ("type", "genie-lm"),
        ("provider", "genie-lm"),
        ("host", host.as_str()),
        ("port", "1453"),
        ("uri", format!("https://{host}:1453").as_str()),
        ("product", "autocad"),
        ("ca.crt", text(&place.there::<Secret>("genie-lm-ca").await, "tls.crt").as_str()),
    ] {
        assert_eq!(text(&secret, name), value);
    }
    let key = ActivationKey::parse(&key).unwrap();
    let plan = place.there::<SeatPlan>("autocad").await;
    assert_eq!(planned_keys(&plan), [genie_lm::compile::hash(&key).sha256]);
    assert_eq!(plan.spec.grants[0].max, Some(2));
    assert!(!serde_json::to_string(&plan).unwrap().contains(key.as_str()), "a plan holds no key");
    let status = place.there::<LicenseGrant>("team").await.status.unwrap();
    assert_eq!(status.binding.unwrap().name, "team-license");
    assert!(planned_keys(&plan)[0].starts_with(&status.key_id.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_stays_the_same_whatever_is_changed() {
    let mut place = Place::new("grant").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.grant("team", json!({ "poolRef": { "name": "cad" } })).await;
    let key = place.ready_grant("team").await;
    place.patch::<LicenseGrant>("team", json!({ "spec": { "seats": { "max": 1 } } })).await.unwrap();
    place.until::<SeatPlan>("cad", "has the maximum", |plan| plan.spec.grants[0].max == Some(1)).await;
    place.start("operator-1").await;
    place.stop_oldest().await;
    place.patch::<LicenseGrant>("team", json!({ "spec": { "seats": { "max": 3 } } })).await.unwrap();
    place.until::<SeatPlan>("cad", "has the other maximum", |plan| plan.spec.grants[0].max == Some(3)).await;
    assert_eq!(text(&place.there::<Secret>("team-license").await, "key"), key);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_secret_comes_back_with_another_key() {
    let place = Place::new("grant").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.grant("team", json!({ "poolRef": { "name": "cad" } })).await;
    let old = place.ready_grant("team").await;
    place.delete::<Secret>("team-license").await;
    let secret =
        place.until::<Secret>("team-license", "has another key", |secret| text(secret, "key") != old).await;
    let hash = genie_lm::compile::hash(&ActivationKey::parse(&text(&secret, "key")).unwrap());
    place
        .until::<SeatPlan>("cad", "has the other key alone", |plan| {
            planned_keys(plan) == [hash.sha256.as_str()]
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_waits_for_its_pool_and_works_when_the_pool_comes() {
    let place = Place::new("grant").await;
    place.grant("team", json!({ "poolRef": { "name": "cad" } })).await;
    let grant = place
        .until::<LicenseGrant>("team", "waits", |grant| {
            because(conditions_of(grant), "Accepted", "False", "PoolNotFound")
        })
        .await;
    assert_eq!(grant.status.as_ref().unwrap().observed_generation, grant.metadata.generation);
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.ready_grant("team").await;
    place.delete::<LicensePool>("cad").await;
    place
        .until::<LicenseGrant>("team", "waits again", |grant| {
            because(conditions_of(grant), "Accepted", "False", "PoolNotFound")
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_grant_says_what_to_write_and_stops_nobody_else() {
    let place = Place::new("grant").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.grant("broken", json!({ "poolRef": { "name": "cad" }, "tier": "gold" })).await;
    place.grant("good", json!({ "poolRef": { "name": "cad" } })).await;
    place.ready_grant("good").await;
    let broken = place
        .until::<LicenseGrant>("broken", "is refused", |grant| {
            because(conditions_of(grant), "Accepted", "False", "TierNotFound")
        })
        .await;
    assert!(message(&broken, "Accepted").contains("spec.tier"), "{}", message(&broken, "Accepted"));
    let tier = json!({ "spec": { "features": [{ "name": "render" }], "tiers": [{ "name": "gold", "features": ["render"] }] } });
    place.patch::<LicensePool>("cad", tier).await.unwrap();
    place.ready_grant("broken").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_moves_to_another_pool_leaves_the_first() {
    let place = Place::new("grant").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.pool("cam", json!({ "product": "cam", "seats": 3 })).await;
    place.grant("team", json!({ "poolRef": { "name": "cad" } })).await;
    let key = place.ready_grant("team").await;
    place.patch::<LicenseGrant>("team", json!({ "spec": { "poolRef": { "name": "cam" } } })).await.unwrap();
    place.until::<SeatPlan>("cam", "has the grant", |plan| plan.spec.grants.len() == 1).await;
    place.until::<SeatPlan>("cad", "has no grant", |plan| plan.spec.grants.is_empty()).await;
    let secret = place
        .until::<Secret>("team-license", "names the other product", |it| text(it, "product") == "cam")
        .await;
    assert_eq!(text(&secret, "key"), key);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_deleted_leaves_the_plan_and_takes_its_secret_along() {
    let place = Place::new("grant").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.grant("team", json!({ "poolRef": { "name": "cad" } })).await;
    place.ready_grant("team").await;
    place.delete::<LicenseGrant>("team").await;
    place.until::<SeatPlan>("cad", "has no grant", |plan| plan.spec.grants.is_empty()).await;
    place.gone::<Secret>("team-license").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_may_bring_its_key_and_change_it() {
    let place = Place::new("grant").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let subject = json!([{ "kind": "ActivationKey", "keySecretRef": { "name": "brought" } }]);
    place.grant("team", json!({ "poolRef": { "name": "cad" }, "subjects": subject })).await;
    place
        .until::<LicenseGrant>("team", "misses its key", |grant| {
            because(conditions_of(grant), "Accepted", "False", "KeyMissing")
        })
        .await;

    let one = ActivationKey::generate().unwrap();
    place
        .create::<Secret>(json!({ "metadata": { "name": "brought" }, "stringData": { "key": one.as_str() } }))
        .await;
    assert_eq!(place.ready_grant("team").await, one.as_str());

    let other = ActivationKey::generate().unwrap();
    place.patch::<Secret>("brought", json!({ "stringData": { "key": other.as_str() } })).await.unwrap();
    place.until::<Secret>("team-license", "has the other key", |it| text(it, "key") == other.as_str()).await;
    let hash = genie_lm::compile::hash(&other).sha256;
    place.until::<SeatPlan>("cad", "has the other key", |plan| planned_keys(plan) == [hash.as_str()]).await;

    place.patch::<Secret>("brought", json!({ "stringData": { "key": "GLM1-NONSENSE" } })).await.unwrap();
    let grant = place
        .until::<LicenseGrant>("team", "has a broken key", |grant| {
            because(conditions_of(grant), "Accepted", "False", "KeyInvalid")
        })
        .await;
    assert!(!message(&grant, "Accepted").contains("NONSENSE"), "a message never shows a key");
    place.until::<SeatPlan>("cad", "has no key", |plan| planned_keys(plan).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_somebody_else_is_left_alone() {
    let place = Place::new("grant").await;
    place
        .create::<Secret>(json!({ "metadata": { "name": "team-license" }, "stringData": { "mine": "x" } }))
        .await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.grant("team", json!({ "poolRef": { "name": "cad" } })).await;
    let grant = place
        .until::<LicenseGrant>("team", "cannot make its Secret", |grant| {
            because(conditions_of(grant), "Ready", "False", "SecretRefused")
        })
        .await;
    assert!(message(&grant, "Ready").contains("team-license"), "{}", message(&grant, "Ready"));
    assert_eq!(text(&place.there::<Secret>("team-license").await, "mine"), "x");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_ends_at_its_moment_without_anybody_touching_it() {
    let place = Place::new("grant").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let end = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + 6).unwrap();
    place
        .grant("team", json!({ "poolRef": { "name": "cad" }, "validity": { "notAfter": end.to_string() } }))
        .await;
    place.ready_grant("team").await;
    let grant = place
        .until::<LicenseGrant>("team", "has ended", |grant| {
            because(conditions_of(grant), "Authorized", "False", "LicenseExpired")
        })
        .await;
    let since =
        conditions_of(&grant).iter().find(|one| one.type_ == "Authorized").unwrap().last_transition_time.0;
    assert!(
        since >= end && since.duration_since(end).as_secs() <= 2,
        "it ended at {end} and was told at {since}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_pool_or_grant_says_so() {
    let place = Place::new("grant").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.grant("team", json!({ "poolRef": { "name": "cad" } })).await;
    place.ready_grant("team").await;
    place.patch::<LicensePool>("cad", json!({ "spec": { "suspend": true } })).await.unwrap();
    place
        .until::<LicenseGrant>("team", "is suspended", |grant| {
            because(conditions_of(grant), "Authorized", "False", "Suspended")
        })
        .await;
    place.patch::<LicensePool>("cad", json!({ "spec": { "suspend": false } })).await.unwrap();
    place.until::<LicenseGrant>("team", "goes on", |grant| is(conditions_of(grant), "Ready", "True")).await;
}
