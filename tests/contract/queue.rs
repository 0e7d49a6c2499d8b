//! The queue over the wire: a place, a ticket, and the seat that comes back.

use serde_json::{Value, json};

use crate::harness::{Server, operation};

/// A checkout that waits, as any HTTP client sends it.
fn waits(server: &Server, operation: &str, ticket: &str, max_wait: &str) -> Value {
    json!({
        "product": "acme-cad", "key": server.key("team-a"), "operationId": operation,
        "maxWait": max_wait, "queueTicket": ticket,
    })
}

async fn fill(server: &Server) -> Vec<Value> {
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(server.checkout("team-a", &[]).await);
    }
    held
}

#[tokio::test]
async fn a_client_that_waits_gets_the_seat_that_comes_back() {
    let server = Server::start();
    let held = fill(&server).await;
    let operation = operation();
    let (seat, ()) = tokio::join!(server.call("checkout", waits(&server, &operation, "", "30s")), async {
        crate::harness::eventually("it is in the queue", async || {
            let queued = server.status()["pools"][0]["queued"] == 1;
            queued.then_some(())
        })
        .await;
        server.checkin(&held[0]).await;
    });
    assert_eq!(seat["verdict"], "AUTHORIZED", "{seat}");
    assert_eq!(seat["queuePosition"], 0);
}

#[tokio::test]
async fn a_wait_ends_with_the_reason_that_there_is_no_seat() {
    let server = Server::start();
    fill(&server).await;
    let answer = server.call("checkout", waits(&server, &operation(), "", "0.200s")).await;
    assert_eq!((&answer["code"], &answer["retryable"]), (&json!("NO_SEATS"), &json!(true)), "{answer}");
}

#[tokio::test]
async fn a_wait_longer_than_a_call_gets_a_place_and_a_ticket_for_the_next_call() {
    let server = Server::start();
    let held = fill(&server).await;
    let operation = operation();
    let place = server.call("checkout", waits(&server, &operation, "", "60s")).await;
    assert_eq!((&place["code"], &place["queuePosition"]), (&json!("QUEUED"), &json!(1)), "{place}");
    assert_eq!((&place["retryable"], &place["retryAfter"]), (&json!(true), &json!("0s")));
    let ticket = place["queueTicket"].as_str().unwrap();
    assert!(ticket.starts_with("GLQ1."), "{ticket}");

    // What comes free in between is kept for it.
    server.checkin(&held[0]).await;
    assert_eq!(server.checkout("team-a", &[]).await["code"], "NO_SEATS");
    let seat = server.call("checkout", waits(&server, &operation, ticket, "60s")).await;
    assert_eq!(seat["verdict"], "AUTHORIZED", "{seat}");
}

#[tokio::test]
async fn what_is_no_wait_or_no_ticket_is_told() {
    let server = Server::start();
    for (ticket, max_wait, told) in
        [("", "-1s", "maxWait"), ("GLQ1.AAAA", "1s", "queueTicket"), ("x", "1s", "queueTicket")]
    {
        let body = waits(&server, &operation(), ticket, max_wait).to_string();
        let (status, problem) = server.problem("checkout", &body).await;
        assert_eq!(status, 400, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(told), "{problem}");
    }
}
