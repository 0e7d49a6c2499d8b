//! A settled world is silent: whatever is looked at again, nothing is written that does not change something.

use genie_lm::api::{LicensePool, SeatPlan};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;

use crate::{
    support::{Place, conditions_of, is},
    vendor::{Vendor, put},
};

/// Writes that are not Leases (renewed for life) and not about the marker.
fn about_others(writes: &[String]) -> Vec<&String> {
    writes.iter().filter(|write| !write.contains(" leases ") && !write.contains("marker")).collect()
}

/// Makes the operator look at everything again, and knows that it has.
async fn look_again(place: &mut Place, round: usize) {
    place.start(&format!("operator-{round}")).await;
    place.stop_oldest().await;
    let (pool, product) = (format!("marker-{round}"), format!("marker-{round}"));
    place.pool(&pool, json!({ "product": product, "seats": 1 })).await;
    place.grant(&pool, json!({ "poolRef": { "name": pool } })).await;
    place.ready_grant(&pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_that_looks_at_everything_writes_nothing() {
    let mut place = Place::empty("silence").await;
    let vendor = Vendor::new();
    place.trust = vendor.trust();
    place.start("operator-0").await;
    put(&place, "bought", &vendor.issue("seats: 3, features: [{name: render}], overdraft: 1")).await;
    put(&place, "broken", "none").await;
    place
        .pool(
            "cad",
            json!({
                "product": "cad", "seats": 3, "features": [{ "name": "render", "seats": 1 }],
                "licenses": [{ "secretRef": { "name": "bought" } }, { "secretRef": { "name": "broken" } }],
                "validity": { "notAfter": "2099-12-31T00:00:00Z" },
                "server": {
                    "resources": { "requests": { "cpu": "1000m", "memory": "0.5Gi" } },
                    "tolerations": [{ "key": "gpu", "operator": "Exists" }],
                    "topologySpreadConstraints": [{ "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway" }],
                    "service": { "annotations": { "example.com/name": "license" } },
                },
            }),
        )
        .await;
    place.pool("one", json!({ "product": "one", "seats": 3, "server": { "group": "shared" } })).await;
    place.pool("two", json!({ "product": "two", "seats": 3, "server": { "group": "shared" } })).await;
    for grant in ["team", "other"] {
        place.grant(grant, json!({ "poolRef": { "name": "cad" } })).await;
        place.ready_grant(grant).await;
    }
    place.own("cad", 1, 2).await.unwrap();
    for pool in ["cad", "one", "two"] {
        place
            .until::<LicensePool>(pool, "is Accepted", |pool| is(conditions_of(pool), "Accepted", "True"))
            .await;
    }
    place.there::<Deployment>("shared-license-group").await;
    place.until::<SeatPlan>("cad", "has seen the owner", |plan| plan.spec.min_generation == 1).await;
    look_again(&mut place, 1).await;
    let settled = place.writes().len();
    look_again(&mut place, 2).await;
    look_again(&mut place, 3).await;
    let writes = place.writes();
    assert_eq!(about_others(&writes[settled..]), Vec::<&String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_pool_writes_its_usage_at_most_once_in_five_seconds() {
    let place = Place::new("silence").await;
    place.pool("cad", json!({ "product": "cad", "seats": 100 })).await;
    place.own("cad", 1, 0).await.unwrap();
    place
        .until::<LicensePool>("cad", "has an owner", |pool| is(conditions_of(pool), "LedgerReady", "True"))
        .await;
    let revision = |plan: &SeatPlan| plan.metadata.generation;
    let seen = |plan: &SeatPlan| plan.spec.min_generation == 1;
    let plan = revision(&place.until::<SeatPlan>("cad", "has seen the owner", seen).await);
    let before = place.writes().len();
    let start = std::time::Instant::now();
    for in_use in 1..=60 {
        place.own("cad", 1, in_use).await.unwrap();
    }
    place
        .until::<LicensePool>("cad", "shows the last number", |pool| {
            let status = pool.status.clone().unwrap_or_default();
            status.seats.is_some_and(|seats| seats.in_use == 60)
        })
        .await;
    let allowed = 2 + start.elapsed().as_secs() as usize / 5;
    let written =
        place.writes()[before..].iter().filter(|write| **write == "patch licensepools cad 200").count();
    assert!((1..=allowed).contains(&written), "{written} writes of usage, {allowed} at the most");
    assert_eq!(revision(&place.there::<SeatPlan>("cad").await), plan, "usage does not write the plan");
}
