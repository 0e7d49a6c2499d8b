//! Verdicts, gRPC beside JSON, health, and the published document.

use std::time::Duration;

use genie_client::{Checkout, Client, Config, Given};
use serde_json::json;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::harness::{Server, operation};

async fn validate(server: &Server, product: &str, key: &str, features: &[&str]) -> serde_json::Value {
    server.call("validate", json!({ "product": product, "key": key, "features": features })).await
}

#[tokio::test]
async fn a_good_key_learns_its_features_tier_and_end() {
    let server = Server::start();
    let answer = validate(&server, "acme-cad", &server.key("team-a"), &[]).await;
    assert_eq!((&answer["verdict"], &answer["code"]), (&json!("AUTHORIZED"), &json!("OK")));
    assert_eq!(answer["features"], json!(["draw", "render", "simulate"]), "what has ended is not among them");
    assert_eq!(answer["tier"], "pro");
    assert_eq!(answer["retryable"], false);
    let old = validate(&server, "acme-cad", &server.key("old"), &[]).await;
    assert_eq!(old["expireTime"], "2020-01-01T00:00:00Z");
}

#[tokio::test]
async fn each_reason_has_its_verdict_and_code() {
    let server = Server::start();
    for (grant, features, verdict, code) in [
        ("old", &[][..], "EXPIRED", "LICENSE_EXPIRED"),
        ("early", &[], "DENIED", "NOT_YET_VALID"),
        ("paused", &[], "DENIED", "SUSPENDED"),
        ("team-b", &["render"], "DENIED", "FEATURE_NOT_LICENSED"),
        ("team-a", &["legacy"], "EXPIRED", "LICENSE_EXPIRED"),
        ("team-a", &["no-such"], "DENIED", "FEATURE_NOT_LICENSED"),
    ] {
        let answer = validate(&server, "acme-cad", &server.key(grant), features).await;
        assert_eq!(
            (&answer["verdict"], &answer["code"]),
            (&json!(verdict), &json!(code)),
            "{grant} {answer}"
        );
        let checkout = server.checkout(grant, features).await;
        assert_eq!(checkout["code"], code, "checkout says the same as validate");
    }
}

#[tokio::test]
async fn a_feature_is_for_versions_up_to_its_highest_and_who_does_not_say_one_has_the_newest() {
    let server = Server::start();
    let key = server.key("team-a");
    let ask = async |call: &str, version: &str, features: &[&str]| {
        let mut body = json!({ "product": "acme-cad", "key": key, "version": version, "features": features });
        if call == "checkout" {
            body["operationId"] = json!(operation());
        }
        server.call(call, body).await
    };
    for version in ["2026.1", "2026.1.0", "2025.12", "7"] {
        assert_eq!(ask("validate", version, &["mesh"]).await["code"], "OK", "{version}");
    }
    for (version, words) in [
        ("2026.1.1", "this is version 2026.1.1"),
        ("2026.10", "this is version 2026.10"),
        ("", "does not say its version"),
    ] {
        for call in ["validate", "checkout"] {
            let answer = ask(call, version, &["mesh"]).await;
            let code = (&answer["verdict"], &answer["code"], &answer["retryable"]);
            assert_eq!(code, (&json!("DENIED"), &json!("VERSION_NOT_COVERED"), &json!(false)));
            let message = answer["message"].as_str().unwrap();
            assert!(
                message.contains("mesh is licensed up to version 2026.1, ") && message.contains(words),
                "{message}"
            );
        }
    }
    for (version, features) in
        [("2027", json!(["draw", "render"])), ("2026", json!(["draw", "mesh", "render"]))]
    {
        let seat = ask("checkout", version, &[]).await;
        assert_eq!(seat["features"], features, "a seat without wishes has what its version may have");
        server.checkin(&seat).await;
    }
    let seat = ask("checkout", "2026.1", &["mesh"]).await;
    assert_eq!(server.renew(&seat).await["verdict"], "AUTHORIZED", "a renewal says no version");
    assert_eq!(server.status()["sessions"][0]["features"], json!(["mesh"]));

    for wrong in ["v2026", "2026.1-rc1", "1.2.3.4.5", " 1"] {
        let body = json!({ "product": "acme-cad", "key": key, "version": wrong });
        let (status, problem) = server.problem("validate", &body.to_string()).await;
        assert_eq!(status, 400, "{problem}");
        assert!(
            problem["detail"].as_str().unwrap().contains("version must be one to four numbers"),
            "{problem}"
        );
    }
}

#[tokio::test]
async fn an_unknown_key_and_an_unknown_product_look_the_same() {
    let server = Server::start();
    let other = genie_client::ActivationKey::generate().unwrap();
    let unknown_key = validate(&server, "acme-cad", other.as_str(), &[]).await;
    let unknown_product = validate(&server, "no-such", &server.key("team-a"), &[]).await;
    let neither = validate(&server, "no-such", "GLM1-TYPO", &[]).await;
    assert_eq!(unknown_key["code"], "UNKNOWN_KEY");
    assert_eq!(unknown_key, unknown_product);
    assert_eq!(unknown_key, neither);
}

#[tokio::test]
async fn an_activation_token_stands_for_its_key() {
    let server = Server::start();
    let body = json!({ "product": "acme-cad", "key": server.key("team-a") });
    let activated = server.call("activate", body).await;
    let token = activated["activationToken"].as_str().unwrap();
    assert!(token.starts_with("GLA1."), "{activated}");
    let answer = validate(&server, "acme-cad", token, &[]).await;
    assert_eq!(answer["verdict"], "AUTHORIZED");
    let foreign = validate(&server, "other", token, &[]).await;
    assert_eq!(foreign["code"], "UNKNOWN_KEY");
}

#[tokio::test]
async fn the_rust_client_takes_renews_and_returns_a_seat_over_grpc() {
    let server = Server::start();
    let given = Given { binding: Some(server.binding("team-a")), ..Given::default() };
    let client = Client::new(Config::discover_in(given, |_| None).unwrap());
    assert_eq!(client.validate(&[]).await.unwrap().tier, "pro");
    let seat =
        client.checkout(Checkout { features: vec!["render".into()], ..Checkout::default() }).await.unwrap();
    assert!(seat.remaining() > Duration::from_secs(5));
    assert_eq!(server.status()["sessions"][0]["features"], json!(["render"]));
    seat.checkin().await.unwrap();
    assert_eq!(server.status()["sessions"], json!([]));
}

#[tokio::test]
async fn what_is_not_there_yet_says_so() {
    let server = Server::start();
    for call in ["borrow", "return"] {
        assert_eq!(server.problem(call, "{}").await.0, 501);
    }
    let key = server.key("team-a");
    for (field, value) in [("fingerprint", json!("x"))] {
        let mut body = json!({ "product": "acme-cad", "key": key, "operationId": operation() });
        body[field] = value;
        let (status, problem) = server.problem("checkout", &body.to_string()).await;
        assert_eq!(status, 400);
        assert!(problem["detail"].as_str().unwrap().contains(field), "{problem}");
    }
    let channel = grpc(&server).await;
    let mut client = genie_proto::v1::licensing_client::LicensingClient::new(channel);
    let borrow = client.borrow(genie_proto::v1::BorrowRequest::default()).await.unwrap_err();
    let watch = client.watch(genie_proto::v1::WatchRequest::default()).await.unwrap_err();
    assert_eq!((borrow.code(), watch.code()), (Code::Unimplemented, Code::Unimplemented));
}

#[tokio::test]
async fn health_is_served_on_the_same_port() {
    let server = Server::start();
    let mut health = tonic_health::pb::health_client::HealthClient::new(grpc(&server).await);
    for service in ["", "genie.v1.Licensing"] {
        let request = tonic_health::pb::HealthCheckRequest { service: service.into() };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
}

#[tokio::test]
async fn the_published_document_is_the_committed_one() {
    let server = Server::start();
    let (status, _, body) = server.http("GET", "/v1/openapi.json", b"").await;
    assert_eq!(status, 200);
    let served: serde_json::Value = serde_json::from_slice(&body).unwrap();
    let committed = include_str!("../../docs/openapi.json");
    let committed: serde_json::Value = serde_json::from_str(committed).unwrap();
    assert_eq!(served, committed, "run `make generate`");
    for call in ["activate", "validate", "checkout", "renew", "checkin", "borrow", "return"] {
        assert!(served["paths"][format!("/v1/{call}")].is_object(), "{call}");
    }
}

/// A plain tonic channel over a TLS stream of our own.
async fn grpc(server: &Server) -> tonic::transport::Channel {
    let stream = std::sync::Mutex::new(Some(hyper_util::rt::TokioIo::new(server.tls("h2").await)));
    tonic::transport::Endpoint::from_static("http://genie-lm")
        .connect_with_connector(tower::service_fn(move |_| {
            let stream = stream.lock().unwrap().take().ok_or_else(|| std::io::Error::other("used up"));
            async move { stream }
        }))
        .await
        .unwrap()
}
