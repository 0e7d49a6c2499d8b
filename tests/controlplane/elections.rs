//! One operator acts at a time.

use genie_lm::api::LicensePool;
use k8s_openapi::api::{apps::v1::Deployment, coordination::v1::Lease};
use serde_json::json;

use crate::support::{Place, conditions_of, is};

fn holder(lease: &Lease) -> &str {
    lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_operator_stands_by_and_takes_over_when_the_first_ends() {
    let mut place = Place::new("election").await;
    place.until::<Lease>("genie-lm-operator", "is held", |lease| holder(lease) == "operator-0").await;
    place.start("operator-1").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.there::<Deployment>("cad-license-server").await;
    assert_eq!(holder(&place.there::<Lease>("genie-lm-operator").await), "operator-0");
    place.stop_oldest().await;
    let lease = place
        .until::<Lease>("genie-lm-operator", "changed hands", |lease| holder(lease) == "operator-1")
        .await;
    assert!(lease.spec.unwrap().lease_transitions >= Some(1));
    place.pool("cam", json!({ "product": "cam", "seats": 3 })).await;
    place.there::<Deployment>("cam-license-server").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_whose_lease_was_taken_stops_acting_until_it_has_run_out() {
    let place = Place::new("election").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place
        .until::<LicensePool>("cad", "is Accepted", |pool| is(conditions_of(pool), "Accepted", "True"))
        .await;
    let taken = json!({ "spec": { "holderIdentity": "somebody", "leaseDurationSeconds": 8 } });
    place.patch::<Lease>("genie-lm-operator", taken).await.unwrap();
    place
        .until_audited("its renewal is refused", |write| write == "update leases genie-lm-operator 409")
        .await;
    let before = place.writes().len();
    place.pool("cam", json!({ "product": "cam", "seats": 3 })).await;
    place.until::<Lease>("genie-lm-operator", "is taken back", |lease| holder(lease) == "operator-0").await;
    place.there::<Deployment>("cam-license-server").await;

    let since = &place.writes()[before..];
    let taken_back =
        since.iter().position(|write| write.starts_with("update leases genie-lm-operator")).unwrap();
    assert_eq!(since[..taken_back], ["create licensepools cam 201"], "it acted while somebody else led");
}
