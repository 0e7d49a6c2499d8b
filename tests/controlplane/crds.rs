//! What the API server takes, the types here can read: an object that they cannot read would stop the watch of all.

use genie_lm::{
    api::{LicensePool, sentences},
    compile::{
        Licensing,
        manifests::{compile_all, load},
    },
    license::document::{self, TrustedKeys},
};
use serde_json::{Value, json};

use crate::support::Place;

async fn created(place: &Place, name: &str, more: Value) -> Result<LicensePool, String> {
    let mut spec = json!({ "product": "cad", "seats": 3 });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    place.try_create(json!({ "metadata": { "name": name }, "spec": spec })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_types_cannot_read_is_refused() {
    let place = Place::empty("crds").await;
    for (more, words) in [
        (json!({ "validity": { "notAfter": "9999-12-31T00:00:00Z" } }), sentences::TIME),
        (json!({ "validity": { "notBefore": "0000-12-31T00:00:00Z" } }), sentences::TIME),
        (json!({ "features": [{ "name": "x", "notAfter": "9999-12-31T23:59:59Z" }] }), sentences::TIME),
        (json!({ "validity": { "notAfter": "2030-01-01T00:00:00+99:00" } }), "date-time"),
        (json!({ "validity": { "notAfter": "2030-01-01T00:00:00.12345678901234567890Z" } }), "35"),
        (json!({ "features": [{ "name": "x", "version": "2026-1" }] }), sentences::VERSION),
        (json!({ "features": [{ "name": "x", "version": "1.2.3.4.5" }] }), sentences::VERSION),
        (json!({ "tiers": [{ "name": "x", "features": [], "suite": true }] }), sentences::SUITE_SEATS),
        (json!({ "session": { "ttl": "999999999h999999999h999999999h" } }), sentences::TTL),
        (json!({ "server": { "resources": { "limits": { "cpu": "lots" } } } }), "cpu"),
        (json!({ "server": { "tolerations": [null] } }), "tolerations[0]"),
    ] {
        let refusal = created(&place, "cad", more.clone()).await.expect_err(&format!("{more} was accepted"));
        assert!(refusal.contains(words), "{more} was refused with other words: {refusal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unusual_and_right_is_accepted_and_read() {
    let place = Place::empty("crds").await;
    for (index, more) in [
        json!({ "validity": { "notBefore": "0001-01-02T00:00:00Z", "notAfter": "9998-12-31T23:59:59.999999999+14:00" } }),
        json!({ "session": { "ttl": "59m59s1000ms" }, "availability": { "outageTolerance": "86400s" } }),
        json!({ "server": { "resources": { "limits": { "cpu": 1, "memory": "1.5Gi", "example.com/gpu": "2e3" } } } }),
        json!({ "features": [{ "name": "x", "version": "000000001.999999999.0.0" }] }),
        json!({ "features": [{ "name": "x" }], "tiers": [{ "name": "empty", "features": [] }] }),
        json!({ "session": null, "server": { "service": null, "nodeSelector": { "disk": null } } }),
    ]
    .into_iter()
    .enumerate()
    {
        created(&place, &format!("cad-{index}"), more.clone()).await.unwrap_or_else(|error| panic!("{more}: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_pool_has_its_defaults_written_out() {
    let place = Place::empty("crds").await;
    let pool = created(&place, "cad", json!({})).await.unwrap();
    let from_types: LicensePool = serde_json::from_value(json!({
        "metadata": {}, "spec": { "product": "cad", "seats": 3 },
    }))
    .unwrap();
    assert_eq!(pool.spec, from_types.spec, "the API server and the types have the same defaults");
    insta::assert_yaml_snapshot!(pool.spec);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quickstart_is_accepted_as_it_is() {
    let place = Place::empty("crds").await;
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/quickstart");
    let loaded = load(&[root]);
    let trust = TrustedKeys::default();
    let licensing = Licensing {
        trust: &trust,
        place: document::Place::Anywhere,
        now: jiff::Timestamp::now(),
        cluster_unknown: false,
    };
    assert_eq!(compile_all(&loaded, &licensing, |_| None, |_| None).problems, []);
    for mut pool in loaded.pools.into_iter().map(|pool| pool.object) {
        pool.metadata.namespace = Some(place.namespace.clone());
        place.api::<LicensePool>().create(&Default::default(), &pool).await.expect("it is accepted");
    }
    for mut grant in loaded.grants.into_iter().map(|grant| grant.object) {
        grant.metadata.namespace = Some(place.namespace.clone());
        place.api().create(&Default::default(), &grant).await.expect("it is accepted");
    }
}
