//! The client and its sessions against a scripted server, over real TLS and gRPC.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use genie_proto::v1::{Code, Verdict};
use tokio_stream::StreamExt;

use super::*;
use crate::{
    clock::manual::ManualClock,
    config::Ca,
    seat::{Loss, State},
    testing::{Asked, PATIENCE, Proxy, Reply, TestServer, config_for, other_ca_pem},
};

fn wire(seconds: i64) -> Option<pbjson_types::Duration> {
    Some(pbjson_types::Duration { seconds, nanos: 0 })
}

fn granted() -> Reply {
    Reply::Checkout(CheckoutResponse {
        verdict: Verdict::Authorized.into(),
        code: Code::Ok.into(),
        session: "token-0".into(),
        valid_for: wire(60),
        renew_after: wire(20),
        ..CheckoutResponse::default()
    })
}

fn renewed(token: &str) -> Reply {
    Reply::Renew(RenewResponse {
        verdict: Verdict::Authorized.into(),
        code: Code::Ok.into(),
        session: token.into(),
        valid_for: wire(60),
        renew_after: wire(20),
        ..RenewResponse::default()
    })
}

fn good(asked: &Asked) -> Reply {
    let (verdict, code) = (Verdict::Authorized.into(), Code::Ok.into());
    match asked {
        Asked::Validate(_) => Reply::Validate(ValidateResponse { verdict, code, ..Default::default() }),
        Asked::Checkout(_) => granted(),
        Asked::Renew(_) => renewed("token-1"),
        Asked::Checkin(_) => Reply::Checkin(CheckinResponse { verdict, code, ..Default::default() }),
    }
}

struct Bench {
    server: TestServer,
    clock: Arc<ManualClock>,
    client: Client,
}

fn client_with(server: &TestServer, clock: Arc<dyn Clock>) -> Client {
    let config = server.config();
    let seams = Seams { clock, ..Seams::of_this_machine(&config) };
    Client::with_seams(config, seams)
}

/// A server, and a client whose time stands still until it is moved.
async fn bench(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Bench {
    let server = TestServer::start(script).await;
    let clock = Arc::new(ManualClock::new());
    let client = client_with(&server, Arc::clone(&clock) as Arc<dyn Clock>);
    Bench { server, clock, client }
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it happens in time")
}

#[tokio::test]
async fn a_question_carries_product_key_and_features() {
    let mut bench = bench(good).await;
    let answer = bench.client.validate(&["render".into()]).await.expect("an answer");
    assert!(answer.authorized().is_ok());
    let Asked::Validate(request) = bench.server.asked().await else { panic!("no validate") };
    assert_eq!((request.product.as_str(), request.key.as_str()), ("acme-cad", "a-token"));
    assert_eq!(request.features, ["render"]);
    assert_eq!(request.version, "", "nothing is said that was not given");
}

#[tokio::test]
async fn a_version_goes_along_with_every_question_that_it_counts_for() {
    let mut bench = bench(good).await;
    let client = bench.client.clone().with_version("2026.1");
    client.validate(&[]).await.expect("an answer");
    let Asked::Validate(request) = bench.server.asked().await else { panic!("no validate") };
    assert_eq!(request.version, "2026.1");
    let _seat = client.checkout(Checkout::default()).await.expect("a seat");
    let Asked::Checkout(request) = bench.server.asked().await else { panic!("no checkout") };
    assert_eq!(request.version, "2026.1");
}

#[tokio::test]
async fn a_denial_is_told_apart_from_a_failure() {
    let bench = bench(|_| {
        Reply::Checkout(CheckoutResponse {
            verdict: Verdict::Denied.into(),
            code: Code::NoSeats.into(),
            message: "All 3 seats are in use.".into(),
            retryable: true,
            retry_after: wire(5),
            ..CheckoutResponse::default()
        })
    })
    .await;
    let error = bench.client.checkout(Checkout::default()).await.expect_err("a denial");
    assert!(error.retryable());
    assert_eq!(error.retry_after(), Some(Duration::from_secs(5)));
    let Error::Denied(denied) = error else { panic!("{error}") };
    assert_eq!((denied.verdict, denied.code), (Verdict::Denied, Code::NoSeats));
}

#[tokio::test]
async fn a_session_renews_itself_with_the_newest_token() {
    let mut bench = bench(good).await;
    let session = bench.client.checkout(Checkout::default()).await.expect("a seat");
    assert!(matches!(bench.server.asked().await, Asked::Checkout(_)));
    assert_eq!(session.remaining(), Duration::from_secs(60));
    assert!(session.answer().session.is_empty());
    for token in ["token-0", "token-1", "token-1"] {
        bench.clock.advance(Duration::from_secs(20));
        let Asked::Renew(request) = bench.server.asked().await else { panic!("no renewal") };
        assert_eq!(request.session, token);
        let mut watch = session.watch();
        let end = bench.clock.now() + Duration::from_secs(60);
        in_time(watch.wait_for(|state| *state == State::Valid { until: end })).await.expect("renewed");
    }
}

#[tokio::test]
async fn a_check_in_forgets_the_seat_before_it_is_sent_and_sends_the_newest_token() {
    let mut bench = bench(good).await;
    let session = bench.client.checkout(Checkout::default()).await.expect("a seat");
    assert!(matches!(bench.server.asked().await, Asked::Checkout(_)));
    let state = session.watch();
    in_time(session.checkin()).await.expect("checked in");
    assert_eq!(*state.borrow(), State::Lost(Loss::GivenBack));
    let Asked::Checkin(request) = bench.server.asked().await else { panic!("no check-in") };
    assert_eq!(request.session, "token-0");
    bench.clock.advance(Duration::from_secs(30));
    assert!(bench.server.is_idle(), "a seat that was given back is not renewed");
}

#[tokio::test]
async fn a_dropped_session_is_given_back_in_the_background() {
    let mut bench = bench(good).await;
    let session = bench.client.checkout(Checkout::default()).await.expect("a seat");
    assert!(matches!(bench.server.asked().await, Asked::Checkout(_)));
    drop(session);
    assert!(matches!(bench.server.asked().await, Asked::Checkin(_)));
}

#[tokio::test]
async fn a_check_in_does_not_wait_for_a_renewal_on_its_way() {
    let mut bench = bench(|asked| match asked {
        Asked::Renew(_) => Reply::Silence,
        other => good(other),
    })
    .await;
    let session = bench.client.checkout(Checkout::default()).await.expect("a seat");
    assert!(matches!(bench.server.asked().await, Asked::Checkout(_)));
    bench.clock.advance(Duration::from_secs(20));
    assert!(matches!(bench.server.asked().await, Asked::Renew(_)));
    in_time(session.checkin()).await.expect("checked in");
    assert!(matches!(bench.server.asked().await, Asked::Checkin(_)));
}

#[tokio::test]
async fn a_seat_whose_renewal_is_never_answered_is_lost_at_its_end() {
    let mut bench = bench(|asked| match asked {
        Asked::Renew(_) => Reply::Silence,
        other => good(other),
    })
    .await;
    let session = bench.client.checkout(Checkout::default()).await.expect("a seat");
    assert!(matches!(bench.server.asked().await, Asked::Checkout(_)));
    bench.clock.advance(Duration::from_secs(20));
    assert!(matches!(bench.server.asked().await, Asked::Renew(_)));
    bench.clock.advance(Duration::from_secs(40));
    assert!(matches!(session.state(), State::Lost(_)), "the clock alone says so");
    assert!(matches!(in_time(session.lost()).await, Loss::RanOut { .. }));
    assert_eq!(session.remaining(), Duration::ZERO);
    in_time(session.checkin()).await.expect("there is nothing to give back");
    assert!(bench.server.is_idle(), "nothing was sent for a lost seat");
}

#[tokio::test]
async fn a_renewal_is_retried_as_the_same_operation() {
    let failures = AtomicU32::new(0);
    let mut bench = bench(move |asked| match asked {
        Asked::Renew(_) if failures.fetch_add(1, Ordering::Relaxed) == 0 => {
            Reply::Status(Status::unavailable("taking over"))
        }
        other => good(other),
    })
    .await;
    let session = bench.client.checkout(Checkout::default()).await.expect("a seat");
    assert!(matches!(bench.server.asked().await, Asked::Checkout(_)));
    bench.clock.advance(Duration::from_secs(20));
    let Asked::Renew(first) = bench.server.asked().await else { panic!("no renewal") };
    let mut watch = session.watch();
    let cut_off = in_time(watch.wait_for(|state| matches!(state, State::CutOff { .. }))).await;
    assert!(cut_off.is_ok());
    drop(cut_off);
    bench.clock.advance(Duration::from_secs(1));
    let Asked::Renew(second) = bench.server.asked().await else { panic!("no retry") };
    assert_eq!(second, first);
    in_time(watch.wait_for(|state| matches!(state, State::Valid { .. }))).await.expect("valid again");
}

#[tokio::test]
async fn a_call_is_retried_while_the_server_is_unavailable_and_not_when_it_is_malformed() {
    let failures = AtomicU32::new(0);
    let mut server = TestServer::start(move |asked| match asked {
        Asked::Checkout(_) => Reply::Status(Status::invalid_argument("count is too large")),
        other if failures.fetch_add(1, Ordering::Relaxed) > 0 => good(other),
        _ => Reply::Status(Status::unavailable("no owner yet")),
    })
    .await;
    let client = Client::new(server.config());
    in_time(client.validate(&[])).await.expect("an answer to the second attempt");
    let (first, second) = (server.asked().await, server.asked().await);
    assert_eq!(first, second);
    let error = in_time(client.checkout(Checkout::default())).await.expect_err("malformed");
    assert!(!error.retryable() && error.to_string().contains("count is too large"), "{error}");
    assert!(matches!(server.asked().await, Asked::Checkout(_)));
    assert!(server.is_idle());
}

#[tokio::test]
async fn a_seat_that_ran_out_before_its_answer_came_is_given_back_and_not_used() {
    let clock = Arc::new(ManualClock::new());
    let late = Arc::clone(&clock);
    let mut server = TestServer::start(move |asked| match (asked, granted()) {
        (Asked::Checkout(_), Reply::Checkout(granted)) => {
            late.advance(Duration::from_secs(4));
            Reply::Checkout(CheckoutResponse { valid_for: wire(3), ..granted })
        }
        _ => good(asked),
    })
    .await;
    let client = client_with(&server, clock);
    let error = in_time(client.checkout(Checkout::default())).await.expect_err("too late");
    assert!(matches!(error, Error::Transport(Transport::TooLate { .. })), "{error}");
    assert!(matches!(server.asked().await, Asked::Checkout(_)));
    assert!(matches!(server.asked().await, Asked::Checkin(_)));
}

fn no_seats() -> Reply {
    Reply::Checkout(CheckoutResponse {
        verdict: Verdict::Denied.into(),
        code: Code::NoSeats.into(),
        retryable: true,
        ..CheckoutResponse::default()
    })
}

fn queued(place: u32) -> Reply {
    Reply::Checkout(CheckoutResponse {
        verdict: Verdict::Denied.into(),
        code: Code::Queued.into(),
        message: format!("place {place}"),
        retryable: true,
        retry_after: Some(pbjson_types::Duration::default()),
        queue_position: place,
        queue_ticket: format!("ticket {place}"),
        ..CheckoutResponse::default()
    })
}

/// A seat, and each reason to wait for it.
async fn waited_for(server: &TestServer) -> (Session, Vec<String>) {
    let client = Client::new(server.config());
    let mut reasons = Vec::new();
    let seat = client.checkout_within(Checkout::default(), PATIENCE, |error| reasons.push(error.to_string()));
    let seat = in_time(seat).await.expect("a seat");
    (seat, reasons)
}

#[tokio::test]
async fn who_waits_for_a_seat_asks_again_as_a_new_operation() {
    let denials = AtomicU32::new(0);
    let mut server = TestServer::start(move |asked| match denials.fetch_add(1, Ordering::Relaxed) {
        0 => no_seats(),
        _ => good(asked),
    })
    .await;
    let (seat, reasons) = waited_for(&server).await;
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].contains("NO_SEATS"), "{reasons:?}");
    let (Asked::Checkout(first), Asked::Checkout(second)) = (server.asked().await, server.asked().await)
    else {
        panic!("no checkouts")
    };
    assert_ne!(first.operation_id, second.operation_id);
    in_time(seat.checkin()).await.expect("checked in");
}

#[tokio::test]
async fn who_waits_in_a_queue_keeps_its_operation_and_shows_the_last_ticket() {
    let calls = AtomicU32::new(0);
    let mut server = TestServer::start(move |asked| match calls.fetch_add(1, Ordering::Relaxed) {
        0 => queued(2),
        1 => queued(1),
        _ => good(asked),
    })
    .await;
    let (seat, reasons) = waited_for(&server).await;
    assert_eq!(reasons, ["DENIED (QUEUED): place 2", "DENIED (QUEUED): place 1"]);
    let (mut operations, mut tickets) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let Asked::Checkout(request) = server.asked().await else { panic!("no checkout") };
        assert!(request.max_wait.is_some_and(|wait| wait.seconds > 0));
        operations.push(request.operation_id);
        tickets.push(request.queue_ticket);
    }
    assert_eq!(tickets, ["", "ticket 2", "ticket 1"]);
    assert!(operations.iter().all(|operation| *operation == operations[0]), "{operations:?}");
    in_time(seat.checkin()).await.expect("checked in");
}

#[tokio::test]
async fn who_does_not_wait_for_a_seat_is_denied_at_once() {
    let bench = bench(|_| no_seats()).await;
    let attempt =
        bench.client.checkout_within(Checkout::default(), Duration::ZERO, |_| panic!("does not wait"));
    assert!(matches!(in_time(attempt).await, Err(Error::Denied(_))));
}

#[tokio::test]
async fn the_servers_wish_for_a_pause_is_read_from_its_status() {
    let server = TestServer::start(|_| {
        let mut status = Status::unavailable("taking over");
        status.metadata_mut().insert("retry-after-ms", 1500.into());
        Reply::Status(status)
    })
    .await;
    let request = ValidateRequest::default();
    let client = Client::new(server.config());
    let failure = client.attempt(&request, client.clock().now() + PATIENCE).await.expect_err("unavailable");
    assert_eq!(failure.retry_after(), Some(Duration::from_millis(1500)));
}

async fn refusal(client: &Client) -> String {
    let request = ValidateRequest::default();
    let attempt = client.attempt(&request, client.clock().now() + PATIENCE);
    in_time(attempt).await.expect_err("no connection").to_string()
}

#[tokio::test]
async fn a_server_of_another_ca_is_not_trusted() {
    let server = TestServer::start(good).await;
    let config = Config { ca: Ca::Pem(other_ca_pem().into()), ..server.config() };
    let message = refusal(&Client::new(config)).await;
    assert!(message.contains("invalid peer certificate") && message.contains("ca.crt"), "{message}");
}

#[tokio::test]
async fn a_server_with_a_certificate_for_another_name_is_not_trusted() {
    let server = TestServer::named("elsewhere", good).await;
    let message = refusal(&Client::new(server.config())).await;
    assert!(message.contains("genie-lm"), "{message}");
}

#[tokio::test]
async fn a_closed_port_is_reported_with_its_address() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let message = refusal(&Client::new(config_for(&address))).await;
    assert!(message.contains(&address) && message.contains("refused"), "{message}");
}

#[tokio::test]
async fn a_server_that_stands_still_is_noticed_within_seconds_and_its_connection_is_dropped() {
    let server = TestServer::start(good).await;
    let mut network = Proxy::start(server.address, |_| false).await;
    let client = Client::new(config_for(&network.address.to_string()));
    in_time(client.validate(&[])).await.expect("an answer");
    let first = network.connection().await;
    first.fall_silent();
    let began = tokio::time::Instant::now();
    in_time(client.validate(&[])).await.expect("an answer by another connection");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    first.closed().await;
    let _second = network.connection().await;
}

#[tokio::test]
async fn a_replica_that_hears_and_does_not_answer_is_left_and_its_connection_is_dropped() {
    let hung = AtomicU32::new(0);
    let mut server = TestServer::start(move |asked| match hung.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::Silence,
        _ => good(asked),
    })
    .await;
    let mut network = Proxy::start(server.address, |_| false).await;
    let clock = Arc::new(ManualClock::new());
    let config = config_for(&network.address.to_string());
    let seams = Seams { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Seams::of_this_machine(&config) };
    let client = Client::with_seams(config, seams);
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.validate(&[]).await }
    });
    let asked = server.asked().await;
    let first = network.connection().await;
    clock.advance(Duration::from_secs(5));
    first.closed().await;
    clock.advance(Duration::from_secs(1));
    assert_eq!(server.asked().await, asked, "the same question");
    in_time(call).await.expect("no panic").expect("an answer");
    let _second = network.connection().await;
}

#[tokio::test]
async fn an_application_hears_by_stream_and_callback_that_it_is_cut_off_and_that_it_lost_its_seat() {
    let mut bench = bench(|asked| match asked {
        Asked::Renew(_) => Reply::Status(Status::unavailable("no owner")),
        other => good(other),
    })
    .await;
    let session = bench.client.checkout(Checkout::default()).await.expect("a seat");
    assert!(matches!(bench.server.asked().await, Asked::Checkout(_)));
    let mut states = session.states();
    let (report, mut changes) = tokio::sync::mpsc::unbounded_channel();
    session.on_change(move |state| report.send(state).expect("the test listens"));
    let (report, loss) = tokio::sync::oneshot::channel();
    session.on_loss(move |loss| report.send(loss).expect("the test listens"));
    assert!(matches!(in_time(states.next()).await, Some(State::Valid { .. })));
    bench.clock.advance(Duration::from_secs(20));
    let cut_off = in_time(states.next()).await.expect("a state");
    assert!(matches!(cut_off, State::CutOff { until, .. } if until.since(bench.clock.now()).as_secs() == 40));
    assert_eq!(in_time(changes.recv()).await, Some(cut_off));
    bench.clock.advance(Duration::from_secs(40));
    let lost = in_time(states.next()).await.expect("a state");
    assert!(matches!(&lost, State::Lost(Loss::RanOut { why }) if why.contains("no owner")), "{lost:?}");
    assert_eq!(in_time(states.next()).await, None, "nothing comes after a loss");
    assert_eq!(in_time(changes.recv()).await, Some(lost));
    assert!(matches!(in_time(loss).await.expect("told"), Loss::RanOut { .. }));
}

#[tokio::test]
async fn giving_a_seat_back_is_a_change_and_no_loss() {
    let bench = bench(good).await;
    let session = bench.client.checkout(Checkout::default()).await.expect("a seat");
    let (report, mut changes) = tokio::sync::mpsc::unbounded_channel();
    session.on_change(move |state| report.send(state).expect("the test listens"));
    let (report, loss) = tokio::sync::oneshot::channel::<Loss>();
    session.on_loss(move |loss| report.send(loss).expect("the test listens"));
    in_time(session.checkin()).await.expect("checked in");
    assert_eq!(in_time(changes.recv()).await, Some(State::Lost(Loss::GivenBack)));
    assert!(in_time(loss).await.is_err(), "the callback is dropped, and was not called");
}
