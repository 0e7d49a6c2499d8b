//! What strangers on port 1453 can do: little, for a short time, and counted.

use std::time::Instant;

use bytes::Bytes;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::harness::{PATIENCE, Server, eventually, operation};

async fn closed(stream: &mut (impl AsyncReadExt + Unpin)) {
    let mut rest = Vec::new();
    // A reset is an end, too.
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the server keeps the connection");
}

#[tokio::test]
async fn plain_text_is_answered_with_a_tls_alert_and_counted() {
    let server = Server::start();
    let mut tcp = TcpStream::connect(server.address).await.unwrap();
    tcp.write_all(b"POST /v1/validate HTTP/1.1\r\nhost: genie-lm\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.is_empty() || answer[0] == 0x15, "an alert or nothing, never HTTP: {answer:?}");
    eventually("the refusal is counted", async || {
        (server.metric("genie_lm_connections_refused_total{reason=\"tls\"}").await >= 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn garbage_in_many_connections_does_not_disturb_the_others() {
    let server = Server::start();
    for seed in 0u32..50 {
        let mut tcp = TcpStream::connect(server.address).await.unwrap();
        let bytes: Vec<u8> =
            (0..512u32).map(|i| (seed.wrapping_mul(2_654_435_761) ^ i.wrapping_mul(40_503)) as u8).collect();
        let _ = tcp.write_all(&bytes).await;
    }
    assert_eq!(server.checkout("team-a", &[]).await["verdict"], "AUTHORIZED");
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let server = Server::start();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let tcp = TcpStream::connect(server.address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("genie-lm").unwrap();
    let refused =
        tokio_rustls::TlsConnector::from(std::sync::Arc::new(config)).connect(name, tcp).await.unwrap_err();
    assert!(refused.to_string().contains("ProtocolVersion"), "{refused}");
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let server = Server::start();
    let begun = Instant::now();
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    closed(&mut silent).await;
    assert!(begun.elapsed() < PATIENCE);
    eventually("the timeout is counted", async || {
        (server.metric("genie_lm_connections_refused_total{reason=\"timeout\"}").await >= 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    let server = Server::start();
    let mut slow = server.tls("http/1.1").await;
    slow.write_all(b"POST /v1/validate HTTP/1.1\r\nhost: ").await.unwrap();
    closed(&mut slow).await;
}

#[tokio::test]
async fn an_oversized_head_or_body_is_refused() {
    let server = Server::start();
    let (status, problem) = server.problem("validate", &"x".repeat(100_000)).await;
    assert_eq!(status, 413, "{problem}");
    let mut tls = server.tls("http/1.1").await;
    let _ = tls.write_all(b"POST /v1/validate HTTP/1.1\r\nx: ").await;
    let _ = tls.write_all(&vec![b'a'; 200_000]).await;
    closed(&mut tls).await;
}

#[tokio::test]
async fn malformed_requests_say_what_to_write_instead() {
    let server = Server::start();
    let key = server.key("team-a");
    let long = "x".repeat(200);
    for (call, body, hint) in [
        ("validate", "{bad".to_owned(), "the body is malformed JSON"),
        ("validate", "{\"keey\":1}".into(), "keey"),
        ("validate", "{}".into(), "product"),
        ("validate", json!({ "product": "acme-cad" }).to_string(), "key"),
        ("checkout", json!({ "product": "acme-cad", "key": key }).to_string(), "UUID"),
        ("checkout", json!({ "product": "acme-cad", "key": key, "operationId": "1" }).to_string(), "UUID"),
        ("renew", json!({ "session": "", "operationId": operation() }).to_string(), "session"),
        (
            "checkin",
            json!({ "session": "x".repeat(5000), "operationId": operation() }).to_string(),
            "session",
        ),
        ("validate", json!({ "product": long, "key": key }).to_string(), "63"),
        (
            "validate",
            json!({ "product": "acme-cad", "key": key, "features": vec!["f"; 14] }).to_string(),
            "13",
        ),
        (
            "validate",
            json!({ "product": "acme-cad", "key": key, "client": { "user": long } }).to_string(),
            "128",
        ),
    ] {
        let (status, problem) = server.problem(call, &body).await;
        assert_eq!(status, 400, "{body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(hint), "{body}: {problem}");
    }
}

#[tokio::test]
async fn a_forged_session_is_unknown() {
    let server = Server::start();
    let seat = server.checkout("team-a", &[]).await;
    let mut forged = seat.clone();
    let token = seat["session"].as_str().unwrap();
    forged["session"] = json!(format!("{}{}", &token[..20], token[20..].chars().rev().collect::<String>()));
    assert_eq!(server.renew(&forged).await["code"], "SESSION_UNKNOWN");
    assert_eq!(server.checkin(&forged).await["code"], "SESSION_UNKNOWN");
    assert_eq!(server.renew(&seat).await["verdict"], "AUTHORIZED", "the true one is not harmed");
}

#[tokio::test]
async fn a_session_of_a_key_that_this_server_has_not_got_yet_is_for_another_to_judge() {
    let server = Server::start();
    let seat = server.checkout("team-a", &[]).await;
    // The number of the key, 0, is in the first and second character of the base64 after the prefix.
    let (start, rest) = seat["session"].as_str().unwrap().split_at("GLS1.".len());
    assert!(rest.starts_with('A') && rest.as_bytes()[1].is_ascii_uppercase(), "{rest:.2}");
    for (number, second) in [(1, "Q"), (2, "g"), (3, "w")] {
        let session = format!("{start}A{second}{}", &rest[2..]);
        let body = json!({ "session": session, "operationId": operation() }).to_string();
        for call in ["renew", "checkin"] {
            assert_eq!(server.problem(call, &body).await.0, 503, "{call} with key {number}");
        }
    }
    let retired = json!({ "session": format!("{start}_A{}", &rest[2..]), "operationId": operation() });
    assert_eq!(server.call("renew", retired).await["code"], "SESSION_UNKNOWN");
    assert_eq!(server.renew(&seat).await["verdict"], "AUTHORIZED");
}

#[tokio::test]
async fn an_unknown_path_is_a_problem_and_not_a_page() {
    let server = Server::start();
    let (status, head, _) = server.http("GET", "/", b"").await;
    assert_eq!(status, 404);
    assert!(head.contains("application/problem+json"), "{head}");
}

#[tokio::test]
async fn a_half_sent_request_on_the_metrics_port_does_not_keep_the_server_from_stopping() {
    let mut server = Server::start();
    let mut half = TcpStream::connect(server.metrics).await.unwrap();
    half.write_all(b"GET /livez HTTP/1.1\r\nHo").await.unwrap();
    assert!(server.stop().success());
}

/// Keeps `count` requests without an end open: the server drops each after a while, and another takes its place.
async fn keep_open(mut client: h2::client::SendRequest<Bytes>, count: usize) {
    let mut open = JoinSet::new();
    loop {
        while open.len() < count {
            client = client.ready().await.unwrap();
            let request = http::Request::post("https://genie-lm/v1/validate").body(()).unwrap();
            let (response, mut body) = client.send_request(request, false).unwrap();
            body.send_data(vec![b'x'; 100].into(), false).unwrap();
            open.spawn(async move {
                let _ = response.await;
                drop(body);
            });
        }
        open.join_next().await;
    }
}

#[tokio::test]
async fn requests_that_never_end_fill_a_bounded_number_of_places_and_give_them_back() {
    let server = Server::start();
    let mut open = JoinSet::new();
    for _ in 0..20 {
        let (client, connection) = h2::client::handshake(server.tls("h2").await).await.unwrap();
        tokio::spawn(connection);
        open.spawn(keep_open(client, 200));
    }
    eventually("all places are taken", async || {
        let (status, head, _) = server.http("POST", "/v1/validate", b"{}").await;
        (status == 503 && head.contains("retry-after: 1")).then_some(())
    })
    .await;
    assert!(server.resident_kib() < 128 << 10, "half of what a pod may have: {} KiB", server.resident_kib());
    drop(open);
    eventually("the places are free again", async || {
        (server.http("POST", "/v1/validate", b"{}").await.0 == 400).then_some(())
    })
    .await;
}
