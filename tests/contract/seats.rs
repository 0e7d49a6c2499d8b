//! Seats over the wire: never one too many, and none lost.

use serde_json::json;

use crate::harness::{Server, operation};

#[tokio::test]
async fn three_seats_are_given_and_the_fourth_is_denied_until_one_comes_back() {
    let server = Server::start();
    let mut held = Vec::new();
    for _ in 0..3 {
        let seat = server.checkout("team-a", &[]).await;
        assert_eq!(seat["verdict"], "AUTHORIZED", "{seat}");
        held.push(seat);
    }
    let denied = server.checkout("team-a", &[]).await;
    assert_eq!((&denied["verdict"], &denied["code"]), (&json!("DENIED"), &json!("NO_SEATS")));
    assert_eq!(denied["retryable"], true);
    assert!(denied["retryAfter"].as_str().unwrap().ends_with('s'), "{denied}");
    assert_eq!(denied["session"], "");

    let back = server.checkin(&held.pop().unwrap()).await;
    assert_eq!(back["code"], "OK", "{back}");
    let again = server.checkout("team-a", &[]).await;
    assert_eq!(again["verdict"], "AUTHORIZED", "{again}");
}

#[tokio::test]
async fn a_retry_with_the_same_operation_id_gets_the_same_seat() {
    let server = Server::start();
    let body = json!({ "product": "acme-cad", "key": server.key("team-a"), "operationId": operation() });
    let first = server.call("checkout", body.clone()).await;
    let retry = server.call("checkout", body).await;
    assert_eq!(first["session"], retry["session"]);
    assert_eq!(server.status()["sessions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn several_seats_come_all_or_not_at_all() {
    let server = Server::start();
    let take = async |count: u32| {
        let body = json!({
            "product": "acme-cad", "key": server.key("team-a"), "operationId": operation(), "count": count,
        });
        server.call("checkout", body).await
    };
    assert_eq!(take(2).await["verdict"], "AUTHORIZED");
    assert_eq!(take(2).await["code"], "NO_SEATS");
    assert_eq!(take(1).await["verdict"], "AUTHORIZED");
}

#[tokio::test]
async fn a_feature_a_tier_and_a_grant_have_seats_of_their_own() {
    let server = Server::start();
    assert_eq!(server.checkout("team-a", &["simulate"]).await["verdict"], "AUTHORIZED");
    assert_eq!(server.checkout("team-a", &["simulate"]).await["code"], "FEATURE_LIMIT");
    let plain = server.checkout("team-a", &[]).await;
    assert_eq!(
        plain["features"],
        json!(["draw", "render"]),
        "a scarce feature is only given to who asks for it"
    );
    assert_eq!(server.checkout("team-b", &[]).await["verdict"], "AUTHORIZED");
    let full = server.checkout("team-b", &[]).await;
    assert_eq!(full["verdict"], "DENIED");
    assert!(["GRANT_LIMIT", "TIER_LIMIT", "NO_SEATS"].contains(&full["code"].as_str().unwrap()), "{full}");
}

#[tokio::test]
async fn a_seat_of_a_suite_covers_its_features_and_takes_none_of_theirs() {
    let server = Server::start();
    let plain = server.checkout("team-c", &[]).await;
    assert_eq!(plain["features"], json!(["draw", "simulate"]), "also the scarce one: its seat is not taken");
    let second = server.checkout("team-c", &["simulate", "draw"]).await;
    assert_eq!(second["verdict"], "AUTHORIZED", "{second}");
    assert_eq!(server.checkout("team-c", &["simulate"]).await["code"], "TIER_LIMIT");
    assert_eq!(
        server.checkout("team-a", &["simulate"]).await["verdict"],
        "AUTHORIZED",
        "its own seat is free"
    );
    let status = server.status();
    let used = |name: &str| {
        let limits = status["pools"][0]["limits"].as_array().unwrap();
        limits.iter().find(|limit| limit["name"] == name).unwrap()["inUse"].clone()
    };
    assert_eq!((used("tier/all"), used("feature/simulate"), used("seats")), (json!(2), json!(1), json!(3)));
}

#[tokio::test]
async fn a_renewal_gives_the_next_token_and_a_returned_seat_is_not_renewed() {
    let server = Server::start();
    let seat = server.checkout("team-a", &[]).await;
    let renewed = server.renew(&seat).await;
    assert_eq!(renewed["verdict"], "AUTHORIZED", "{renewed}");
    assert_ne!(renewed["session"], seat["session"]);
    server.checkin(&renewed).await;
    let late = server.renew(&renewed).await;
    assert_ne!(late["verdict"], "AUTHORIZED", "{late}");
    assert_eq!(server.checkin(&renewed).await["code"], "OK", "a check-in may be repeated");
}

#[tokio::test]
async fn a_seat_that_is_not_renewed_runs_out_and_is_given_again() {
    let server = Server::start();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(server.checkout("team-a", &[]).await);
    }
    let again = crate::harness::eventually("a seat that ran out is free", async || {
        let answer = server.checkout("team-a", &[]).await;
        (answer["verdict"] == "AUTHORIZED").then_some(answer)
    })
    .await;
    assert_eq!(again["code"], "OK");
    let late = server.renew(&held[0]).await;
    assert_eq!(late["verdict"], "EXPIRED", "{late}");
    assert_eq!(late["code"], "SESSION_EXPIRED", "{late}");
}

#[tokio::test]
async fn after_kill_9_every_session_is_renewed_and_no_seat_is_given_twice() {
    let server = Server::start();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(server.checkout("team-a", &["draw"]).await);
    }
    let server = server.kill_and_restart();
    let denied = server.checkout("team-a", &[]).await;
    assert_eq!(denied["verdict"], "DENIED", "{denied}");
    assert_eq!(denied["code"], "RECOVERING", "{denied}");
    for seat in &held {
        let renewed = server.renew(seat).await;
        assert_eq!(renewed["verdict"], "AUTHORIZED", "{renewed}");
        assert_eq!(renewed["wantClient"], true);
    }
    let status = server.status();
    let sessions = status["sessions"].as_array().unwrap();
    assert_eq!(sessions.len(), 3);
    assert!(sessions.iter().all(|session| session["adopted"] == true), "{sessions:?}");
    assert!(sessions.iter().all(|session| session["features"] == json!(["draw"])), "{sessions:?}");
    assert_eq!(server.checkout("team-a", &[]).await["verdict"], "DENIED");
}

#[tokio::test]
async fn whoever_holds_an_adopted_session_is_known_again_after_its_next_renewal() {
    let server = Server::start();
    let seat = server.checkout("team-a", &[]).await;
    let server = server.kill_and_restart();
    let adopted = server.renew(&seat).await;
    assert_eq!(adopted["wantClient"], true);
    let body = json!({
        "session": adopted["session"], "operationId": operation(), "client": { "user": "ann", "host": "h1", "pid": 5 },
    });
    let told = server.call("renew", body).await;
    assert_eq!((&told["verdict"], &told["wantClient"]), (&json!("AUTHORIZED"), &json!(false)));
    assert_eq!(server.status()["sessions"][0]["client"]["user"], "ann");
}

#[tokio::test]
async fn a_ledger_that_was_moved_away_or_set_back_gives_no_seat_twice() {
    let server = Server::start();
    let ledger = server.data().join("ledgers/default/acme-cad.json");
    let early = std::fs::read(&ledger).unwrap();
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(server.checkout("team-a", &[]).await);
    }
    std::fs::remove_file(&ledger).unwrap();
    let server = server.kill_and_restart();
    assert_eq!(
        server.checkout("team-a", &[]).await["code"],
        "RECOVERING",
        "a missing ledger is not a new one"
    );
    for seat in &mut held {
        *seat = server.renew(seat).await;
        assert_eq!(seat["verdict"], "AUTHORIZED", "{seat}");
    }
    std::fs::write(&ledger, early).unwrap();
    let server = server.kill_and_restart();
    assert_eq!(
        server.checkout("team-a", &[]).await["code"],
        "RECOVERING",
        "nor is an old copy the present one"
    );
    assert_eq!(server.renew(&held[0]).await["verdict"], "AUTHORIZED");
}

#[tokio::test]
async fn more_seats_than_there_are_is_not_worth_a_retry() {
    let server = Server::start();
    let body = json!({
        "product": "acme-cad", "key": server.key("team-a"), "operationId": operation(), "count": 100,
    });
    let denied = server.call("checkout", body).await;
    assert_eq!((&denied["code"], &denied["retryable"]), (&json!("NO_SEATS"), &json!(false)), "{denied}");
}
