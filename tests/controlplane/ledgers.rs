//! The ledger: what the API server refuses, and what the operator tells servers about one that was lost (R3, R11).

use genie_lm::api::{LicensePool, SeatLedger, SeatPlan};
use kube::ResourceExt;
use serde_json::json;

use crate::support::{Place, record};

#[tokio::test(flavor = "multi_thread")]
async fn a_smaller_generation_is_refused() {
    let place = Place::new("ledger").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.own("cad", 5, 0).await.unwrap();
    let refusal = place.own("cad", 4, 0).await.expect_err("a smaller generation was written");
    assert!(refusal.contains("the generation of a SeatLedger never shrinks"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_holder_needs_a_larger_generation() {
    let place = Place::new("ledger").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.write_record("cad", record("one", 5, 0)).await.unwrap();
    place.write_record("cad", record("one", 5, 1)).await.expect("its own holder writes on");
    let refusal = place
        .write_record("cad", record("other", 5, 1))
        .await
        .expect_err("another holder took over without a fence");
    assert!(refusal.contains("a SeatLedger changes its holder only with a larger generation"), "{refusal}");
    place.write_record("cad", record("other", 6, 1)).await.expect("a fenced takeover");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_cannot_be_removed() {
    let place = Place::new("ledger").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let mut ledger = place.own("cad", 1, 0).await.unwrap();
    ledger.status = None;
    let api = place.api::<SeatLedger>();
    let refusal =
        api.replace_status("cad", &Default::default(), &ledger).await.expect_err("the record was removed");
    assert!(refusal.to_string().contains("the record of a SeatLedger cannot be removed"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_deleted_in_passing_stays() {
    let place = Place::new("ledger").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let ledger = place.own("cad", 1, 0).await.unwrap();
    place.delete::<SeatLedger>("cad").await;
    place
        .until::<LicensePool>("cad", "says that the ledger is kept", |pool| {
            let conditions = pool.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
            conditions.iter().any(|one| one.reason == "KeptFromDeletion")
        })
        .await;
    assert_eq!(place.there::<SeatLedger>("cad").await.uid(), ledger.uid());
    place.own("cad", 2, 0).await.expect("its owner writes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_writes_no_plan_and_a_lost_ledger_is_announced_before_an_empty_one_is_made() {
    let place = Place::new("ledger").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.there::<SeatPlan>("cad").await;
    for generation in 1..=4 {
        place.own("cad", generation, 0).await.unwrap();
    }
    place
        .until::<LicensePool>("cad", "has seen generation 4", |pool| {
            let status = pool.status.clone().unwrap_or_default();
            status.ledger.is_some_and(|ledger| ledger.generation == 4)
        })
        .await;
    let plan = place.there::<SeatPlan>("cad").await;
    assert_eq!(plan.metadata.generation, Some(1), "takeovers do not write the plan");

    let lost = place.there::<SeatLedger>("cad").await.uid();
    place.patch::<SeatLedger>("cad", json!({ "metadata": { "finalizers": null } })).await.unwrap();
    place.delete::<SeatLedger>("cad").await;
    let empty = place.until::<SeatLedger>("cad", "is another", |ledger| ledger.uid() != lost).await;
    assert!(empty.status.is_none_or(|status| status.record.is_none()));
    let plan = place.there::<SeatPlan>("cad").await;
    assert_eq!(plan.spec.min_generation, 4, "the plan says it when the empty ledger is there, not later");

    place.own("cad", 5, 0).await.unwrap();
    place.patch::<LicensePool>("cad", json!({ "spec": { "seats": 4 } })).await.unwrap();
    place.until::<SeatPlan>("cad", "has the highest generation", |plan| plan.spec.min_generation == 5).await;
}
