//! A real server process against the API server: how soon it ends a recovery, by what is known of the owner before (R6b).

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use genie_lm::api::SeatLedger;
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{Pod, ServiceAccount},
    },
    jiff::Timestamp,
};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
    runtime::wait::await_condition,
};
use serde_json::{Value, json};

use crate::{
    servers::{self, Identity, Ports, SERVER, Server},
    support::{Place, record},
};

async fn serve(place: &Place, uid: &str) -> Server {
    let who = Identity { pod: "next", uid, ip: Ipv4Addr::LOCALHOST };
    servers::serve(place, who, Ports::ANY).await
}

/// A pod of the server, whose container ran from 100 s to 50 s ago and was then evicted; gives its UID.
async fn evicted(place: &Place, reason: &str) -> String {
    // Until then no pod is accepted.
    place.there::<ServiceAccount>("default").await;
    let labels = json!({ "app.kubernetes.io/name": "genie-lm", "app.kubernetes.io/instance": SERVER });
    let spec = json!({ "containers": [{ "name": "server", "image": "genie-lm:test" }] });
    let pod: Pod =
        place.create(json!({ "metadata": { "name": "lost", "labels": labels }, "spec": spec })).await;
    let ended = json!({
        "containerID": "containerd://1", "reason": reason, "exitCode": 137,
        "startedAt": at(100), "finishedAt": at(50),
    });
    let container = json!({
        "name": "server", "image": "genie-lm:test", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "terminated": ended },
    });
    let status = Patch::Merge(json!({ "status": { "phase": "Failed", "containerStatuses": [container] } }));
    place.api::<Pod>().patch_status("lost", &PatchParams::default(), &status).await.unwrap();
    pod.uid().unwrap()
}

fn second(ago: i64) -> i64 {
    Timestamp::now().as_second() - ago
}

fn at(ago: i64) -> String {
    Timestamp::from_second(second(ago)).unwrap().to_string()
}

fn held_by(uid: &str, started: i64) -> Value {
    let mut record = record("lost", 1, 2);
    record["holder"]["podUid"] = json!(uid);
    record["holder"]["started"] = json!(started);
    record["ttlMs"] = json!(10_000);
    record
}

/// Plays the owner that is lost: the Lease and the ledger are its own.
async fn take(place: &Place, record: Value) {
    place.there::<Lease>("genie-lm.cad").await;
    place.patch::<Lease>("genie-lm.cad", json!({ "spec": { "holderIdentity": "lost" } })).await.unwrap();
    place.write_record("cad", record).await.unwrap();
}

/// Those that measure how soon something happens run while no other test does.
async fn place(alone: bool) -> Place {
    let place = match alone {
        true => {
            let mut place = Place::alone("evidence").await;
            place.start("operator-0").await;
            place
        }
        false => Place::new("evidence").await,
    };
    place.pool("cad", json!({ "product": "cad", "seats": 3, "session": { "ttl": "10s" } })).await;
    place
}

fn owned(recovering: bool) -> impl Fn(&SeatLedger) -> bool {
    move |ledger| {
        ledger.record().is_some_and(|record| record.generation.0 == 2 && record.recovering == recovering)
    }
}

/// Ten seconds of ttl are recovered from in 12.2 s; without evidence the horizon of 600 s counts.
async fn recovers_soon(place: &Place) {
    place.until::<SeatLedger>("cad", "is taken over, in recovery", owned(true)).await;
    let begun = Instant::now();
    place.until::<SeatLedger>("cad", "has recovered", owned(false)).await;
    assert!(begun.elapsed() > Duration::from_secs(5), "the tokens of the owner before had not run out");
}

async fn does_not_recover_soon(place: &Place) {
    place.until::<SeatLedger>("cad", "is taken over, in recovery", owned(true)).await;
    let recovered = await_condition(place.api::<SeatLedger>(), "cad", |ledger: Option<&SeatLedger>| {
        ledger.is_none_or(owned(false))
    });
    let early = tokio::time::timeout(Duration::from_secs(20), recovered).await;
    assert!(early.is_err(), "the recovery ended without evidence: {early:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_whose_kubelet_reported_its_end_is_recovered_from_within_a_ttl() {
    let place = place(true).await;
    let uid = evicted(&place, "Error").await;
    take(&place, held_by(&uid, second(99))).await;
    let _server = serve(&place, "next").await;
    recovers_soon(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_before_in_the_same_pod_is_recovered_from_within_a_ttl() {
    let place = place(true).await;
    take(&place, held_by("same", second(99))).await;
    let _server = serve(&place, "same").await;
    recovers_soon(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_was_only_inferred_is_no_evidence() {
    let place = place(false).await;
    let uid = evicted(&place, "ContainerStatusUnknown").await;
    take(&place, held_by(&uid, second(99))).await;
    let _server = serve(&place, "next").await;
    does_not_recover_soon(&place).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_run_before_is_no_evidence_for_the_process_after_it() {
    let place = place(false).await;
    let uid = evicted(&place, "Error").await;
    take(&place, held_by(&uid, second(40))).await;
    let _server = serve(&place, "next").await;
    does_not_recover_soon(&place).await;
}
