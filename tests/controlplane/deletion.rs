//! Deleting a pool drains it; its ledger stays, unless the pool says otherwise.

use genie_lm::api::{LicensePool, SeatLedger, SeatPlan};
use k8s_openapi::api::{
    apps::v1::Deployment,
    coordination::v1::Lease,
    core::v1::{Namespace, Secret, Service},
};
use kube::{Api, ResourceExt, api::DeleteParams, runtime::wait::await_condition};
use serde_json::json;
use tokio::time::timeout;

use crate::support::{DEADLINE, Place, another_namespace, because, conditions_of};

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_whose_seats_are_out_drains_until_they_are_back() {
    let place = Place::new("deletion").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.own("cad", 1, 2).await.unwrap();
    place.until::<LicensePool>("cad", "is held by a finalizer", |pool| !pool.finalizers().is_empty()).await;
    place.delete::<LicensePool>("cad").await;
    place.until::<SeatPlan>("cad", "drains", |plan| plan.spec.draining && !plan.spec.revoked).await;
    place
        .until::<LicensePool>("cad", "says that it drains", |pool| {
            because(conditions_of(pool), "Ready", "False", "Draining")
        })
        .await;
    place.there::<Deployment>("cad-license-server").await;

    place.own("cad", 1, 0).await.unwrap();
    place.gone::<LicensePool>("cad").await;
    place.gone::<Deployment>("cad-license-server").await;
    place.gone::<Service>("cad-license").await;
    place.gone::<SeatPlan>("cad").await;
    place.gone::<Lease>("genie-lm.cad").await;
    place.gone::<Secret>("cad-license-server-keys").await;

    let ledger = place.there::<SeatLedger>("cad").await;
    assert!(ledger.metadata.deletion_timestamp.is_none(), "the ledger is retained");
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let plan = place.there::<SeatPlan>("cad").await;
    assert_eq!(plan.spec.min_generation, 1, "a pool made again goes on with the ledger that is there");
    assert_eq!(place.there::<SeatLedger>("cad").await.uid(), ledger.uid());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_that_passes_its_deadline_revokes_and_then_ends() {
    let place = Place::new("deletion").await;
    let spec = json!({
        "product": "cad", "seats": 3, "session": { "ttl": "10s" },
        "availability": { "outageTolerance": "15s" },
        "deletion": { "drainDeadline": "2s", "ledgerReclaimPolicy": "Delete" },
    });
    place.pool("cad", spec).await;
    place.own("cad", 1, 2).await.unwrap();
    place.until::<LicensePool>("cad", "is held by a finalizer", |pool| !pool.finalizers().is_empty()).await;
    place.delete::<LicensePool>("cad").await;
    place.until::<SeatPlan>("cad", "revokes", |plan| plan.spec.revoked).await;
    place.gone::<LicensePool>("cad").await;
    place.gone::<SeatLedger>("cad").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retained_ledger_can_be_deleted_when_its_pool_is_gone() {
    let place = Place::new("deletion").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.there::<SeatLedger>("cad").await;
    place.delete::<LicensePool>("cad").await;
    place.gone::<LicensePool>("cad").await;
    place.there::<SeatLedger>("cad").await;
    place.delete::<SeatLedger>("cad").await;
    place.gone::<SeatLedger>("cad").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_namespace_is_not_held_up_by_seats_that_are_out() {
    let mut place = Place::empty("deletion").await;
    place.home = another_namespace(&place.client, "operator", json!({})).await;
    place.start("operator-0").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.own("cad", 1, 2).await.unwrap();
    place.until::<LicensePool>("cad", "is held by a finalizer", |pool| !pool.finalizers().is_empty()).await;
    let namespaces: Api<Namespace> = Api::all(place.client.clone());
    namespaces.delete(&place.namespace, &DeleteParams::default()).await.unwrap();
    place.gone::<LicensePool>("cad").await;
    place.gone::<SeatLedger>("cad").await;
    let gone =
        await_condition(namespaces, &place.namespace, |namespace: Option<&Namespace>| namespace.is_none());
    timeout(DEADLINE, gone).await.expect("the namespace is gone in time").unwrap();
}
