//! Begins, ends, and what is told of them; and a clock that was set back.

use std::fs;
use std::sync::{Arc, Mutex};

use genie_client::{Checkout, Client, Config, Given};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::harness::{Server, eventually};

/// A pool of one seat, and a grant.
fn manifests(pool: &str, grant: &str) -> String {
    format!(
        "apiVersion: genie-lm.io/v1alpha1
kind: LicensePool
metadata: {{name: cad, namespace: default}}
spec: {{product: acme-cad, seats: 1, session: {{ttl: 10s}}, availability: {{outageTolerance: 15s}}{pool}}}
---
apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {{name: team-a, namespace: default}}
spec: {{poolRef: {{name: cad}}{grant}}}
"
    )
}

/// A whole second, so far from now.
fn in_seconds(seconds: i64) -> Timestamp {
    Timestamp::from_second((Timestamp::now() + SignedDuration::from_secs(seconds)).as_second()).unwrap()
}

async fn validate(server: &Server) -> Value {
    server.call("validate", json!({ "product": "acme-cad", "key": server.key("team-a") })).await
}

#[tokio::test]
async fn ends_that_are_near_are_told_in_every_answer_and_by_the_server_itself() {
    let (pool_end, grant_end) = (in_seconds(20 * 86_400), in_seconds(7200));
    let server = Server::start_with(&manifests(
        &format!(", validity: {{notAfter: '{pool_end}', expiryWarnings: [168h, 720h]}}"),
        &format!(", validity: {{notAfter: '{grant_end}', expiryWarnings: [3h]}}"),
    ));
    let told = json!([
        format!("The license of acme-cad ends within 30 days, on {pool_end}: renew it."),
        format!("This grant ends within 3h, on {grant_end}: ask for a renewal."),
    ]);
    assert_eq!(validate(&server).await["warnings"], told);
    let key = json!({ "product": "acme-cad", "key": server.key("team-a") });
    assert_eq!(server.call("activate", key).await["warnings"], told);
    let seat = server.checkout("team-a", &[]).await;
    assert_eq!((&seat["code"], &seat["warnings"]), (&json!("OK"), &told));
    assert_eq!(server.renew(&seat).await["warnings"], told);
    let refused = server.checkout("team-a", &[]).await;
    assert_eq!((&refused["verdict"], &refused["warnings"]), (&json!("DENIED"), &told));

    let of_server =
        json!([told[0], format!("Grant default/team-a ends within 3h, on {grant_end}: extend it.")]);
    assert_eq!(server.status()["pools"][0]["warnings"], of_server);
    let end = server
        .metric(r#"genie_lm_license_end_timestamp_seconds{namespace="default",product="acme-cad"}"#)
        .await;
    assert_eq!(end, pool_end.as_second() as f64);
}

#[tokio::test]
async fn who_wants_no_warning_gets_none_and_a_far_end_is_told_by_nobody() {
    let grant = format!(", validity: {{notAfter: '{}', expiryWarnings: []}}", in_seconds(60));
    let server = Server::start_with(&manifests(
        &format!(", validity: {{notAfter: '{}'}}", in_seconds(31 * 86_400)),
        &grant,
    ));
    assert_eq!(validate(&server).await["warnings"], json!([]));
}

#[tokio::test]
async fn a_grace_period_is_told_while_it_lasts() {
    let (ended, until) = (in_seconds(-3600), in_seconds(3600));
    let server =
        Server::start_with(&manifests(&format!(", validity: {{notAfter: '{ended}', gracePeriod: 2h}}"), ""));
    let told =
        json!([format!("The license of acme-cad ended on {ended} and works until {until}: renew it.")]);
    let seat = server.checkout("team-a", &[]).await;
    assert_eq!((&seat["verdict"], &seat["code"]), (&json!("AUTHORIZED"), &json!("GRACE")));
    assert_eq!(seat["warnings"], told);
    let renewed = server.renew(&seat).await;
    assert_eq!((&renewed["code"], &renewed["warnings"]), (&json!("GRACE"), &told));
}

#[tokio::test]
async fn an_application_hears_of_an_end_that_nears_while_it_runs_and_once() {
    let end = in_seconds(3600);
    let pool = format!(", validity: {{notAfter: '{end}', expiryWarnings: [3596s]}}");
    let server = Server::start_with(&manifests(&pool, ""));
    let given = Given { binding: Some(server.binding("team-a")), ..Given::default() };
    let client = Client::new(Config::discover_in(given, |_| None).unwrap());
    let session = client.checkout(Checkout::default()).await.unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&told);
    session.on_warning(move |warning| hears.lock().unwrap().push(warning.to_owned()));
    assert_eq!(told.lock().unwrap().len(), session.answer().warnings.len(), "nothing before its time");
    eventually("it is told", async || (!told.lock().unwrap().is_empty()).then_some(())).await;
    let renewals = r#"genie_lm_verdicts_total{call="renew",verdict="AUTHORIZED",code="OK"}"#;
    let so_far = server.metric(renewals).await;
    eventually("two more renewals", async || (server.metric(renewals).await >= so_far + 2.0).then_some(()))
        .await;
    let expected = format!("The license of acme-cad ends within 59m56s, on {end}: renew it.");
    assert_eq!(*told.lock().unwrap(), [expected]);
    session.checkin().await.unwrap();
}

#[tokio::test]
async fn what_begins_in_a_moment_works_from_that_moment_on() {
    for (of_pool, of_grant) in [(true, false), (false, true)] {
        let begin = in_seconds(4);
        let validity = format!(", validity: {{notBefore: '{begin}'}}");
        let part = |wanted: bool| if wanted { validity.as_str() } else { "" };
        let server = Server::start_with(&manifests(part(of_pool), part(of_grant)));
        let early = server.checkout("team-a", &[]).await;
        let asked = Timestamp::now();
        assert!(asked < begin, "this machine is too slow for this test");
        assert_eq!(
            (&early["verdict"], &early["code"]),
            (&json!("DENIED"), &json!("NOT_YET_VALID")),
            "{early}"
        );
        assert!(early["message"].as_str().unwrap().contains(&begin.to_string()), "{early}");
        let seat = eventually("it has begun", async || {
            let answer = server.checkout("team-a", &[]).await;
            (answer["verdict"] == "AUTHORIZED").then_some(answer)
        })
        .await;
        assert!(Timestamp::now() >= begin);
        assert_eq!(server.renew(&seat).await["verdict"], "AUTHORIZED");
    }
}

#[tokio::test]
async fn a_feature_that_begins_later_is_named_with_its_begin_and_comes_by_itself() {
    let begin = in_seconds(4);
    let features = format!(", features: [{{name: draw}}, {{name: fly, notBefore: '{begin}'}}]");
    let server = Server::start_with(&manifests(&features, ""));
    let early = server.checkout("team-a", &["fly"]).await;
    let all = validate(&server).await;
    assert!(Timestamp::now() < begin, "this machine is too slow for this test");
    assert_eq!((&early["verdict"], &early["code"]), (&json!("DENIED"), &json!("NOT_YET_VALID")), "{early}");
    let message = early["message"].as_str().unwrap();
    assert!(message.starts_with(&format!("Feature fly begins on {begin}")), "{message}");
    assert_eq!(all["features"], json!(["draw"]));
    eventually("it has begun", async || {
        (server.checkout("team-a", &["fly"]).await["verdict"] == "AUTHORIZED").then_some(())
    })
    .await;
    assert!(Timestamp::now() >= begin);
    assert_eq!(validate(&server).await["features"], json!(["draw", "fly"]));
}

fn ledger(server: &Server) -> std::path::PathBuf {
    server.data().join("ledgers/default/acme-cad.json")
}

fn read_ledger(server: &Server) -> Value {
    serde_json::from_str(&fs::read_to_string(ledger(server)).unwrap()).unwrap()
}

/// Stops the server, changes the latest time of its ledger, and starts it again: as if its clock had been another one.
fn with_latest_time(mut server: Server, latest: Option<Timestamp>) -> Server {
    assert!(server.stop().success());
    let mut record = read_ledger(&server);
    match latest {
        Some(latest) => record["latestTime"] = json!(latest.as_second()),
        None => drop(record.as_object_mut().unwrap().remove("latestTime")),
    }
    fs::write(ledger(&server), record.to_string()).unwrap();
    server.kill_and_restart()
}

#[tokio::test]
async fn a_clock_that_was_set_back_over_a_restart_is_noticed_where_something_ends() {
    let endless = "
---
apiVersion: genie-lm.io/v1alpha1
kind: LicenseGrant
metadata: {name: endless, namespace: default}
spec: {poolRef: {name: cad}}
";
    let ends = ", validity: {notAfter: '2099-01-01T00:00:00Z'}";
    let manifests = manifests("", ends).replace("seats: 1", "seats: 2") + endless;
    let server = Server::start_with(&manifests);
    let seat = server.checkout("team-a", &[]).await;
    let now = u64::try_from(Timestamp::now().as_second()).unwrap();
    let recorded = read_ledger(&server)["latestTime"].as_u64().unwrap();
    assert!(recorded.abs_diff(now) < 120, "{recorded} is the time, {now}");

    let server = with_latest_time(server, Some(in_seconds(23 * 3600)));
    assert_eq!(validate(&server).await["code"], "OK", "a day is borne with: it may be a time zone");

    let latest = in_seconds(3 * 86_400);
    let server = with_latest_time(server, Some(latest));
    let refused = validate(&server).await;
    assert_eq!((&refused["verdict"], &refused["code"]), (&json!("DENIED"), &json!("CLOCK_SET_BACK")));
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.contains(&latest.to_string()) && message.contains("Tell who runs the server"),
        "{message}"
    );
    assert_eq!(server.checkout("team-a", &[]).await["code"], "CLOCK_SET_BACK");
    let renewed = server.renew(&seat).await;
    assert_eq!(renewed["verdict"], "AUTHORIZED", "who has a seat keeps it: {renewed}");
    let body = json!({ "product": "acme-cad", "key": server.key("endless") });
    assert_eq!(server.call("validate", body).await["code"], "OK", "what never ends needs no clock");
    let grants = server.status()["pools"][0]["grants"].clone();
    let code = |name: &str| {
        grants.as_array().unwrap().iter().find(|grant| grant["name"] == name).unwrap()["code"].clone()
    };
    assert_eq!((code("team-a"), code("endless")), (json!("CLOCK_SET_BACK"), json!("OK")));
    assert_eq!(read_ledger(&server)["latestTime"], json!(latest.as_second()), "it is not forgotten");

    let server = with_latest_time(server, None);
    assert_eq!(validate(&server).await["code"], "OK", "an administrator takes a wrong time away");
    assert_eq!(server.renew(&renewed).await["verdict"], "AUTHORIZED");
    let recorded = read_ledger(&server)["latestTime"].as_u64().unwrap();
    assert!(recorded.abs_diff(now) < 120, "{recorded} is the time again, {now}");
}

#[tokio::test]
async fn a_pool_of_which_nothing_ends_records_no_time() {
    let server = Server::start_with(&manifests("", ""));
    server.checkout("team-a", &[]).await;
    assert_eq!(read_ledger(&server)["latestTime"], Value::Null);
    let server = with_latest_time(server, Some(in_seconds(3 * 86_400)));
    assert_eq!(validate(&server).await["code"], "OK");
}

#[tokio::test]
async fn the_time_is_in_the_ledger_as_soon_as_a_plan_gets_an_end() {
    let server = Server::start_with(&manifests("", ""));
    server.checkout("team-a", &[]).await;
    let ends = manifests(", validity: {notAfter: '2099-01-01T00:00:00Z'}", "");
    fs::write(server.manifests().join("all.yaml"), ends).unwrap();
    eventually("it is recorded", async || read_ledger(&server)["latestTime"].as_u64()).await;
}
