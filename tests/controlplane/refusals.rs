//! `kubectl apply` refuses nonsense, with a sentence of ours that says what to write instead.

use genie_lm::api::{LicenseGrant, LicensePool, sentences};
use serde_json::{Value, json};

use crate::support::Place;

async fn refused_pool(place: &Place, name: &str, more: Value, sentence: &str) {
    let mut spec = json!({ "product": "cad", "seats": 3 });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let refusal = place
        .try_create::<LicensePool>(json!({ "metadata": { "name": name }, "spec": spec }))
        .await
        .expect_err(&format!("{spec} was accepted"));
    assert!(refusal.contains(sentence), "{spec} was refused with another sentence: {refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rule_of_a_pool_refuses_with_its_sentence() {
    let place = Place::empty("refusals").await;
    let a63 = "a".repeat(41);
    for (name, more, sentence) in [
        (a63.as_str(), json!({}), sentences::POOL_NAME),
        ("1cad", json!({}), sentences::POOL_NAME),
        ("cad", json!({ "tiers": [{ "name": "gold", "features": ["render"] }] }), sentences::TIER_FEATURES),
        ("cad", json!({ "session": { "ttl": "5s" } }), sentences::TTL),
        ("cad", json!({ "availability": { "outageTolerance": "25h" } }), sentences::OUTAGE_TOLERANCE),
        ("cad", json!({ "queue": { "maxWait": "169h" } }), sentences::MAX_WAIT),
        ("cad", json!({ "queue": { "maxLength": 10_001 } }), "less than or equal to 10000"),
        ("cad", json!({ "queue": { "order": "Lifo" } }), "Fifo"),
        ("cad", json!({ "allowedNamespaces": { "from": "Selector" } }), sentences::SELECTOR),
        ("cad", json!({ "allowedNamespaces": { "from": "All", "selector": {} } }), sentences::SELECTOR),
        ("cad", json!({ "deletion": { "drainDeadline": "169h" } }), sentences::DRAIN_DEADLINE),
        (
            "cad",
            json!({ "validity": { "notBefore": "2031-01-01T00:00:00Z", "notAfter": "2030-01-01T00:00:00Z" } }),
            sentences::VALIDITY_ORDER,
        ),
        ("cad", json!({ "validity": { "gracePeriod": "9000h" } }), sentences::GRACE_PERIOD),
        (
            "cad",
            json!({ "features": [{
                "name": "x", "notBefore": "2031-01-01T00:00:00Z", "notAfter": "2030-01-01T00:00:00Z",
            }] }),
            sentences::FEATURE_ORDER,
        ),
        ("cad", json!({ "validity": { "expiryWarnings": ["24h", "9000h"] } }), sentences::EXPIRY_WARNINGS),
        ("cad", json!({ "validity": { "expiryWarnings": ["0s"] } }), sentences::EXPIRY_WARNINGS),
        (
            "cad",
            json!({ "validity": { "expiryWarnings": ["1h", "2h", "3h", "4h", "5h", "6h", "7h", "8h", "9h"] } }),
            "8",
        ),
    ] {
        refused_pool(&place, name, more, sentence).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_numbers_and_unknown_words_are_refused_by_the_schema() {
    let place = Place::empty("refusals").await;
    for (more, word) in [
        (json!({ "seats": 0 }), "greater than or equal to 1"),
        (json!({ "seats": 2_000_000 }), "less than or equal to 1000000"),
        (json!({ "product": "CAD!" }), "spec.product"),
        (json!({ "session": { "ttl": "a minute" } }), "spec.session.ttl"),
        (json!({ "server": { "replicas": 10 } }), "spec.server.replicas"),
        (json!({ "server": { "logLevel": "loud" } }), "spec.server.logLevel"),
        (json!({ "server": { "service": { "type": "ExternalName" } } }), "spec.server.service.type"),
    ] {
        refused_pool(&place, "cad", more, word).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_changed_says_what_to_do_instead() {
    let place = Place::empty("refusals").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3, "server": { "group": "shared" } })).await;
    for (patch, sentence) in [
        (json!({ "spec": { "product": "cam" } }), sentences::PRODUCT_IMMUTABLE),
        (json!({ "spec": { "server": { "group": "other" } } }), sentences::GROUP_IMMUTABLE),
        (json!({ "spec": { "server": { "group": null } } }), sentences::GROUP_IMMUTABLE),
    ] {
        let refusal = place
            .patch::<LicensePool>("cad", patch.clone())
            .await
            .expect_err(&format!("{patch} was accepted"));
        assert!(refusal.contains(sentence), "{patch} was refused with another sentence: {refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rule_of_a_grant_refuses_with_its_sentence() {
    let place = Place::empty("refusals").await;
    let long = "g".repeat(64);
    for (name, spec, sentence) in [
        (long.as_str(), json!({ "poolRef": { "name": "cad" } }), sentences::GRANT_NAME),
        (
            "team",
            json!({ "poolRef": { "name": "cad" }, "validity": { "gracePeriod": "1h" } }),
            sentences::GRANT_GRACE_PERIOD,
        ),
        (
            "team",
            json!({ "poolRef": { "name": "cad" }, "validity": { "expiryWarnings": ["8761h"] } }),
            sentences::EXPIRY_WARNINGS,
        ),
        (
            "team",
            json!({ "poolRef": { "name": "cad" }, "seats": { "max": 0 } }),
            "greater than or equal to 1",
        ),
        ("team", json!({}), "spec.poolRef"),
    ] {
        let refusal = place
            .try_create::<LicenseGrant>(json!({ "metadata": { "name": name }, "spec": spec }))
            .await
            .expect_err(&format!("{spec} was accepted"));
        assert!(refusal.contains(sentence), "{spec} was refused with another sentence: {refusal}");
    }
}
