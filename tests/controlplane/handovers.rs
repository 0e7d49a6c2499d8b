//! Two real server processes: the owner is told to stop, and clients notice nothing (R6a).

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use futures::StreamExt;
use genie_client::{
    BootInstant, Ca, Checkout, Client, Config, Credential, Error, Server as At, Session, State,
};
use genie_lm::api::SeatLedger;
use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use kube::{
    ResourceExt,
    api::{Patch, PatchParams, WatchEvent, WatchParams},
};
use serde_json::json;
use tokio::{sync::watch, task::JoinHandle, time::timeout};

use crate::{
    servers::{Identity, Ports, SERVER, Server, serve},
    support::{DEADLINE, Place, text},
};

/// Between the server's parts there are a few writes to the API server.
const SOON: Duration = Duration::from_secs(1);
/// A server lingers for 5 s, and lets open calls end.
const ENDED: Duration = Duration::from_secs(18);

/// A pod that is ready, and the server that would run in it.
async fn start(place: &Place, pod: &str, ip: Ipv4Addr, ports: Ports) -> Server {
    let labels = json!({ "app.kubernetes.io/name": "genie-lm", "app.kubernetes.io/instance": SERVER });
    let spec = json!({ "containers": [{ "name": "server", "image": "genie-lm:test" }] });
    let made: Pod =
        place.create(json!({ "metadata": { "name": pod, "labels": labels }, "spec": spec })).await;
    let status = json!({ "status": {
        "phase": "Running", "podIP": ip, "podIPs": [{ "ip": ip }],
        "conditions": [{ "type": "Ready", "status": "True" }],
    } });
    place.api::<Pod>().patch_status(pod, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let server = serve(place, Identity { pod, uid: &made.uid().unwrap(), ip }, ports).await;
    server.ready().await;
    server
}

async fn client(place: &Place, addresses: &[Ipv4Addr], port: u16) -> Client {
    let binding = place.there::<Secret>("team-license").await;
    let uris: Vec<String> = addresses.iter().map(|address| format!("https://{address}:{port}")).collect();
    Client::new(Config {
        server: At::parse(&uris.join(","), "the test").unwrap(),
        product: "cad".into(),
        credential: Credential::Text(text(&binding, "key")),
        ca: Ca::Pem(text(&binding, "ca.crt").into_bytes()),
    })
}

/// A seat is had from the server at this address, whoever decides.
async fn answers(place: &Place, address: Ipv4Addr, port: u16) {
    let client = client(place, &[address], port).await;
    let session = client.checkout_within(Checkout::default(), DEADLINE, |_| {}).await.expect("a seat");
    session.checkin().await.expect("it is taken back");
}

/// Takes a seat and gives it back, again and again; gives when each was granted.
fn come_and_go(client: Client, mut stop: watch::Receiver<bool>) -> JoinHandle<Vec<Instant>> {
    tokio::spawn(async move {
        let mut grants = Vec::new();
        while !*stop.borrow_and_update() {
            let session = client.checkout(Checkout::default()).await.expect("a seat");
            grants.push(Instant::now());
            session.checkin().await.expect("it is taken back");
        }
        grants
    })
}

/// The first record of a later generation than 1, and when it was seen.
async fn next_owner(place: &Place) -> JoinHandle<(Instant, SeatLedger)> {
    let api = place.api::<SeatLedger>();
    let from = place.there::<SeatLedger>("cad").await.resource_version().unwrap();
    let params = WatchParams::default().fields("metadata.name=cad");
    // Not through a list that is made anew: each version counts.
    let mut events = api.watch(&params, &from).await.unwrap().boxed();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let WatchEvent::Modified(ledger) = event.unwrap()
                && ledger.record().is_some_and(|record| record.generation.0 > 1)
            {
                return (Instant::now(), ledger);
            }
        }
        panic!("the watch ended");
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_told_to_stop_is_followed_within_a_second_and_no_client_notices() {
    let mut place = Place::alone("handover").await;
    place.start("operator-0").await;
    let session = json!({ "ttl": "10s" });
    place.pool("cad", json!({ "product": "cad", "seats": 3, "session": session })).await;
    place.grant("team", json!({ "poolRef": { "name": "cad" } })).await;
    place.ready_grant("team").await;
    // Until then no pod is accepted.
    place.there::<ServiceAccount>("default").await;
    let (ports, one, two) = (Ports::free(), Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(127, 0, 0, 2));
    let mut first = start(&place, "first", one, ports).await;
    answers(&place, one, ports.clients).await;
    let _second = start(&place, "second", two, ports).await;
    answers(&place, two, ports.clients).await;

    let holder = client(&place, &[one, two], ports.clients).await;
    let held = holder.checkout(Checkout::default()).await.expect("a seat");
    let (stop, stopped) = watch::channel(false);
    let others = come_and_go(client(&place, &[one, two], ports.clients).await, stopped);
    let next = next_owner(&place).await;
    let (told, until) = (Instant::now(), valid_until(&held));
    first.terminate();
    let (seen, ledger) = timeout(DEADLINE, next).await.expect("another owner in time").unwrap();
    // Nodes that have not heard of it yet still send clients to it.
    answers(&place, one, ports.clients).await;
    assert!(first.ended(ENDED).await.success());
    stop.send_replace(true);
    let grants = others.await.expect("no client had an error");

    let record = ledger.record().unwrap();
    assert_eq!((record.generation.0, record.recovering), (2, false), "{record:?}");
    assert_eq!(&*record.holder.pod_name, "second");
    let first_grant = grants.iter().find(|granted| **granted >= seen).expect("seats were granted after it");
    let silence = first_grant.duration_since(told);
    println!("from SIGTERM to the first grant by the new owner: {silence:?}");
    assert!(silence < SOON, "{silence:?}");
    assert!(valid_until(&held) > until, "the seat goes on");
    let _second = holder.checkout(Checkout::default()).await.expect("a seat");
    let _third = holder.checkout(Checkout::default()).await.expect("the last seat");
    let fourth = holder.checkout(Checkout::default()).await;
    assert!(matches!(fourth, Err(Error::Denied(_))), "{fourth:?}");
}

fn valid_until(session: &Session) -> BootInstant {
    match session.state() {
        State::Valid { until } => until,
        other => panic!("it is not held: {other:?}"),
    }
}
