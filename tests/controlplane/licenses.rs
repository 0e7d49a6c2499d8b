//! A pool that lists licenses has what its vendor signed, and says so.

use genie_lm::api::{LicenseGrant, LicensePool, SeatPlan};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use serde_json::{Value, json};

use crate::{
    permissions::token_of_the_deployed_account,
    support::{Place, another_namespace, because, conditions_of, message},
    vendor::{Vendor, put},
};

async fn place(vendor: &Vendor) -> Place {
    let mut place = Place::empty("licenses").await;
    place.trust = vendor.trust();
    place.start("operator-0").await;
    place
}

fn listing(names: &[&str]) -> Value {
    let licenses: Vec<Value> = names.iter().map(|name| json!({ "secretRef": { "name": name } })).collect();
    json!({ "product": "cad", "licenses": licenses })
}

async fn until_seats(place: &Place, seats: u32) -> SeatPlan {
    place.until::<SeatPlan>("cad", &format!("has {seats} seats"), |plan| plan.spec.seats == seats).await
}

/// Waits until the pool says this of its licenses, and the same number of seats in its status.
async fn until_told(place: &Place, status: &str, reason: &str, total: u32) -> LicensePool {
    place
        .until::<LicensePool>("cad", &format!("says {status} {reason} with {total} seats"), |pool| {
            let counted = pool.status.as_ref().and_then(|status| status.seats.as_ref());
            because(conditions_of(pool), "LicenseValid", status, reason)
                && counted.is_some_and(|counted| counted.total == total)
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_secret_counts_at_once_and_what_is_not_the_vendors_counts_nothing() {
    let vendor = Vendor::new();
    let place = place(&vendor).await;
    place.pool("cad", listing(&["one"])).await;
    let pool = until_told(&place, "False", "LicenseMissing", 0).await;
    assert!(
        message(&pool, "LicenseValid").starts_with("Secret one: it is not there, or has no key \"license\"")
    );

    let good = vendor.issue("seats: 3, features: [{name: draw}], tiers: [{name: pro, features: [draw]}]");
    put(&place, "one", &good).await;
    let pool = until_told(&place, "True", "Valid", 3).await;
    assert_eq!(message(&pool, "LicenseValid"), "the pool counts, and so does each of its licenses");
    let plan = until_seats(&place, 3).await;
    assert_eq!((plan.spec.features.len(), plan.spec.tiers.len(), plan.spec.suspended), (1, 1, false));
    place.until_event("Valid", "Normal").await;

    put(&place, "one", &vendor.issue("seats: 5")).await;
    until_told(&place, "True", "Valid", 5).await;
    place.patch::<LicensePool>("cad", json!({ "spec": { "seats": 1000 } })).await.unwrap();
    let raised = |pool: &LicensePool| {
        pool.status.as_ref().is_some_and(|status| status.observed_generation == pool.metadata.generation)
    };
    place.until::<LicensePool>("cad", "has been looked at", raised).await;
    assert_eq!(until_seats(&place, 5).await.spec.seats, 5, "the pool cannot raise it");

    let (message_part, _) = good.rsplit_once('.').unwrap();
    let other = vendor.issue("seats: 1000");
    let (_, signature) = other.rsplit_once('.').unwrap();
    for (document, reason) in [
        (format!("{message_part}.{signature}"), "WrongSignature"),
        (Vendor::new().issue("seats: 1000"), "UntrustedKey"),
        ("hunter2".to_owned(), "Malformed"),
    ] {
        put(&place, "one", &document).await;
        let pool = until_told(&place, "False", reason, 0).await;
        assert!(!serde_json::to_string(&pool.status).unwrap().contains("hunter2"));
        let plan = until_seats(&place, 0).await;
        assert_eq!((plan.spec.suspended, plan.spec.revoked), (true, false), "sessions go on");
    }
    put(&place, "one", &good).await;
    until_told(&place, "True", "Valid", 3).await;
    assert!(!until_seats(&place, 3).await.spec.suspended);

    place.patch::<LicensePool>("cad", json!({ "spec": { "licenses": null } })).await.unwrap();
    until_told(&place, "False", "LicenseRequired", 0).await;
    assert!(until_seats(&place, 0).await.spec.revoked, "what was taken away is not lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn licenses_add_up_and_one_ends_by_itself() {
    let vendor = Vendor::new();
    let place = place(&vendor).await;
    let end = Timestamp::from_second((Timestamp::now() + SignedDuration::from_secs(20)).as_second()).unwrap();
    put(&place, "one", &vendor.issue("id: one, seats: 3, validity: {notAfter: '2098-01-01T00:00:00Z'}"))
        .await;
    put(&place, "two", &vendor.issue(&format!("id: two, seats: 2, validity: {{notAfter: '{end}'}}"))).await;
    place.pool("cad", listing(&["one", "two"])).await;
    let pool = until_told(&place, "True", "Valid", 5).await;
    let told = format!("it, or a license of it, ends within a day, on {end}: list a renewed license");
    assert_eq!(message(&pool, "Expiring"), told);
    assert_eq!(pool.status.unwrap().next_expiry, Some(end.to_string()));
    let pool = until_told(&place, "True", "Expired", 3).await;
    assert!(Timestamp::now() >= end);
    assert_eq!(message(&pool, "LicenseValid").matches("Secret ").count(), 1);
    assert_eq!(pool.status.unwrap().next_expiry.as_deref(), Some("2098-01-01T00:00:00Z"));
    let plan = until_seats(&place, 3).await;
    assert_eq!(plan.spec.validity.not_after.unwrap().0.to_string(), "2098-01-01T00:00:00Z");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_license_of_this_cluster_counts_and_one_of_another_does_not() {
    let vendor = Vendor::new();
    let place = place(&vendor).await;
    let namespaces: Api<Namespace> = Api::all(place.client.clone());
    let here = namespaces.get("kube-system").await.unwrap().metadata.uid.unwrap();
    let there = "11111111-2222-4333-8444-555555555555";
    put(&place, "one", &vendor.issue(&format!("id: one, seats: 3, binding: {{cluster: {here}}}"))).await;
    put(&place, "two", &vendor.issue(&format!("id: two, seats: 2, binding: {{cluster: {there}}}"))).await;
    place.pool("cad", listing(&["one", "two"])).await;
    let pool = until_told(&place, "True", "Elsewhere", 3).await;
    assert!(message(&pool, "LicenseValid").starts_with("Secret two: "));
    place.delete::<Secret>("one").await;
    let pool = until_told(&place, "False", "LicenseMissing", 0).await;
    assert_eq!(message(&pool, "LicenseValid").matches("Secret ").count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_license_goes_where_it_is_listed_and_pools_of_other_namespaces_are_told() {
    let vendor = Vendor::new();
    let mut place = Place::alone("moves").await;
    let token = token_of_the_deployed_account(&place).await;
    place.trust = vendor.trust();
    place.start_everywhere(&token);
    let document = vendor.issue("id: one, seats: 3");
    put(&place, "one", &document).await;
    place.pool("cad", listing(&["one"])).await;
    until_told(&place, "True", "Valid", 3).await;

    let mut other = another_namespace(&place.client, "other", json!({})).await;
    std::mem::swap(&mut place.namespace, &mut other);
    put(&place, "one", &document).await;
    place.pool("cad", listing(&["one"])).await;
    until_told(&place, "False", "InUse", 0).await;

    std::mem::swap(&mut place.namespace, &mut other);
    let none = json!({ "spec": { "licenses": null, "seats": 3 } });
    place.patch::<LicensePool>("cad", none).await.unwrap();
    until_told(&place, "False", "LicenseRequired", 0).await;
    let plan = place.until::<SeatPlan>("cad", "lets nobody go on", |plan| plan.spec.revoked).await;
    assert_eq!(plan.spec.seats, 0);
    std::mem::swap(&mut place.namespace, &mut other);
    until_told(&place, "True", "Valid", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tier_that_no_license_covers_is_told_on_pool_and_grant() {
    let vendor = Vendor::new();
    let place = place(&vendor).await;
    put(&place, "one", &vendor.issue("seats: 3, features: [{name: draw}]")).await;
    let mut spec = listing(&["one"]);
    spec["features"] = json!([{ "name": "draw" }, { "name": "fly" }]);
    spec["tiers"] = json!([{ "name": "pro", "features": ["draw"] }]);
    place.pool("cad", spec).await;
    let pool = until_told(&place, "True", "NotCovered", 3).await;
    assert!(message(&pool, "LicenseValid").contains("feature fly, tier pro"));
    place.grant("team", json!({ "poolRef": { "name": "cad" }, "tier": "pro" })).await;
    let refused =
        |grant: &LicenseGrant| because(conditions_of(grant), "Accepted", "False", "TierNotLicensed");
    place.until::<LicenseGrant>("team", "is refused", refused).await;
    put(
        &place,
        "one",
        &vendor.issue("seats: 3, features: [{name: draw}], tiers: [{name: pro, features: [draw]}]"),
    )
    .await;
    place.ready_grant("team").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_seats_nor_licenses_is_refused_at_once() {
    let place = Place::empty("licenses").await;
    for spec in [json!({ "product": "cad" }), json!({ "product": "cad", "licenses": [] })] {
        let object = json!({ "metadata": { "name": "cad" }, "spec": spec });
        let refused = place.try_create::<LicensePool>(object).await.unwrap_err();
        assert!(refused.contains("spec.seats must be given where spec.licenses is empty"), "{refused}");
    }
}
