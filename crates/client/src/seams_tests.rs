//! The client in a made world: a line without a socket, a clock that runs through waits at once, and draws from a
//! seed. Everything is as with a server, and the same each time.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use genie_proto::v1::{self, Code, Verdict, licensing_server::LicensingServer};

use crate::{
    BootInstant, Checkout, Client, Error, Loss, State, Transport,
    seams::{Chance, Clock, ConnectFailure, Dial, Line, Seams, Sleep},
    testing::{Asked, Reply, Scripted, config_for},
};

/// The paused clock of the runtime.
struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn now(&self) -> BootInstant {
        BootInstant::from_boot(self.0.elapsed())
    }

    fn sleep_until(&self, at: BootInstant) -> Sleep<'_> {
        Box::pin(tokio::time::sleep(at.since(self.now())))
    }
}

/// The same draws each time.
#[derive(Default)]
struct Seeded(AtomicU64);

impl Chance for Seeded {
    fn fraction(&self) -> f64 {
        1.0
    }

    fn operation(&self) -> String {
        format!("{:036}", self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// What becomes of a call on a line.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Answered(Duration),
    /// Nothing comes back.
    Lost,
    /// The server did it, and nothing comes back.
    AnswerLost,
    NoConnection,
}

/// All calls, with the line each was on, and what becomes of them.
struct World {
    began: tokio::time::Instant,
    lines: AtomicU64,
    fates: Mutex<VecDeque<Fate>>,
    calls: Mutex<Vec<(u64, Duration, Asked)>>,
    /// How long each call says that it waits, as gRPC writes it.
    patience: Mutex<Vec<String>>,
    /// A seat, and what it said of itself while the server handled a check-in.
    seat: Mutex<Option<tokio::sync::watch::Receiver<State>>>,
    at_checkin: Mutex<Option<State>>,
}

impl Dial for Arc<World> {
    fn dial(&self) -> Line {
        let (world, number) = (Arc::clone(self), self.lines.fetch_add(1, Ordering::Relaxed));
        Line::new(tower::service_fn(move |request: http::Request<tonic::body::Body>| {
            let world = Arc::clone(&world);
            Box::pin(async move { world.carry(number, request).await })
                as Pin<Box<dyn Future<Output = Result<_, ConnectFailure>> + Send>>
        }))
    }
}

impl World {
    async fn carry(
        self: Arc<Self>,
        line: u64,
        request: http::Request<tonic::body::Body>,
    ) -> Result<http::Response<tonic::body::Body>, ConnectFailure> {
        let patience = request.headers()["grpc-timeout"].to_str().expect("ASCII").to_owned();
        self.patience.lock().expect("unpoisoned").push(patience);
        let fate = self.fates.lock().expect("unpoisoned").pop_front();
        let fate = fate.unwrap_or(Fate::Answered(Duration::ZERO));
        if fate == Fate::NoConnection {
            return Err(ConnectFailure("refused".into()));
        }
        if fate == Fate::Lost {
            return std::future::pending().await;
        }
        let world = Arc::clone(&self);
        let (report, _asked) = tokio::sync::mpsc::unbounded_channel();
        let script = move |asked: &Asked| {
            let at = world.began.elapsed();
            world.calls.lock().expect("unpoisoned").push((line, at, asked.clone()));
            if matches!(asked, Asked::Checkin(_)) {
                let seat = world.seat.lock().expect("unpoisoned");
                let said = seat.as_ref().map(|seat| seat.borrow().clone());
                *world.at_checkin.lock().expect("unpoisoned") = said;
            }
            answer(asked)
        };
        let service = LicensingServer::new(Scripted::new(script, report));
        let answer = tower::ServiceExt::oneshot(service, request).await.expect("infallible");
        match fate {
            Fate::Answered(after) => tokio::time::sleep(after).await,
            _ => std::future::pending().await,
        }
        Ok(answer)
    }

    /// From now on.
    fn fates(&self, fates: &[Fate]) {
        *self.fates.lock().expect("unpoisoned") = fates.iter().copied().collect();
    }

    fn calls(&self) -> Vec<(u64, Duration, Asked)> {
        std::mem::take(&mut self.calls.lock().expect("unpoisoned"))
    }
}

fn wire(seconds: i64) -> Option<pbjson_types::Duration> {
    Some(pbjson_types::Duration { seconds, nanos: 0 })
}

fn answer(asked: &Asked) -> Reply {
    let (verdict, code) = (Verdict::Authorized.into(), Code::Ok.into());
    let (valid_for, renew_after) = (wire(60), wire(20));
    match asked {
        Asked::Validate(_) => Reply::Validate(v1::ValidateResponse { verdict, code, ..Default::default() }),
        Asked::Checkout(_) => {
            let session = "token-0".into();
            Reply::Checkout(v1::CheckoutResponse {
                verdict,
                code,
                session,
                valid_for,
                renew_after,
                ..Default::default()
            })
        }
        Asked::Renew(_) => {
            let session = "token-1".into();
            Reply::Renew(v1::RenewResponse {
                verdict,
                code,
                session,
                valid_for,
                renew_after,
                ..Default::default()
            })
        }
        Asked::Checkin(_) => Reply::Checkin(v1::CheckinResponse { verdict, code, ..Default::default() }),
    }
}

fn world() -> (Arc<World>, Client) {
    let began = tokio::time::Instant::now();
    let world = Arc::new(World {
        began,
        lines: AtomicU64::new(0),
        fates: Mutex::default(),
        calls: Mutex::default(),
        patience: Mutex::default(),
        seat: Mutex::default(),
        at_checkin: Mutex::default(),
    });
    let seams = Seams {
        dial: Box::new(Arc::clone(&world)),
        clock: Arc::new(PausedClock(began)),
        chance: Box::<Seeded>::default(),
    };
    (world, Client::with_seams(config_for("192.0.2.1:1453"), seams))
}

fn at(seconds: u64) -> BootInstant {
    BootInstant::from_boot(Duration::from_secs(seconds))
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_hangs_is_left_for_another_with_the_same_operation() {
    let (world, client) = world();
    let seat = client.checkout(Checkout::default()).await.expect("a seat");
    world.calls();
    world.fates(&[Fate::AnswerLost, Fate::Lost]);
    let mut state = seat.watch();
    let valid = state.wait_for(|state| *state == State::Valid { until: at(80) }).await;
    assert!(valid.is_ok());
    drop(valid);
    let calls = world.calls();
    let lines: Vec<u64> = calls.iter().map(|(line, ..)| *line).collect();
    assert_eq!(lines, [0, 2], "each failure takes the next line: {calls:?}");
    assert_eq!(calls[0].2, calls[1].2, "the same operation with the same token");
    assert!(
        calls[1].1 < Duration::from_secs(20 + 5 + 5 + 1),
        "two attempts of 5 s and two pauses: {calls:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_seat_whose_server_is_gone_is_valid_to_its_end_and_asked_for_many_times() {
    let (world, client) = world();
    let seat = client.checkout(Checkout::default()).await.expect("a seat");
    world.fates(&[Fate::NoConnection; 1000]);
    let mut state = seat.watch();
    state.wait_for(|state| matches!(state, State::CutOff { .. })).await.expect("cut off");
    assert_eq!(seat.remaining(), Duration::from_secs(40));
    seat.lost().await;
    assert_eq!(world.began.elapsed().as_secs(), 60);
    let left = world.fates.lock().expect("unpoisoned").len();
    assert!((20..60).contains(&(1000 - left)), "a retry about each two seconds: {}", 1000 - left);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_when_the_seat_has_run_out_is_not_heard() {
    let (world, client) = world();
    let seat = client.checkout(Checkout::default()).await.expect("a seat");
    world.fates(&[Fate::Answered(Duration::from_secs(300)); 100]);
    seat.lost().await;
    assert_eq!(world.began.elapsed().as_secs(), 60);
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert!(matches!(seat.state(), State::Lost(_)));
}

#[tokio::test(start_paused = true)]
async fn the_application_knows_that_the_seat_is_lost_before_the_server_hears_of_its_check_in() {
    let (world, client) = world();
    let seat = client.checkout(Checkout::default()).await.expect("a seat");
    *world.seat.lock().expect("unpoisoned") = Some(seat.watch());
    seat.checkin().await.expect("given back");
    let said = world.at_checkin.lock().expect("unpoisoned").take();
    assert_eq!(said, Some(State::Lost(Loss::GivenBack)));
}

#[tokio::test(start_paused = true)]
async fn nothing_of_the_session_is_sent_after_its_check_in() {
    let (world, client) = world();
    let seat = client.checkout(Checkout::default()).await.expect("a seat");
    world.fates(&[Fate::Lost, Fate::AnswerLost, Fate::Lost]);
    tokio::time::sleep(Duration::from_secs(21)).await;
    world.calls();
    let state = seat.watch();
    seat.checkin().await.expect("told at the third attempt");
    assert!(matches!(*state.borrow(), State::Lost(crate::Loss::GivenBack)));
    tokio::time::sleep(Duration::from_secs(1000)).await;
    let calls = world.calls();
    assert_eq!(calls.len(), 2, "told again until answered: {calls:?}");
    assert!(calls.iter().all(|(.., asked)| matches!(asked, Asked::Checkin(_))), "{calls:?}");
    assert!(calls.windows(2).all(|pair| pair[0].2 == pair[1].2), "one operation: {calls:?}");
}

#[tokio::test(start_paused = true)]
async fn a_checkout_waits_out_a_takeover_and_a_question_does_not() {
    let (world, client) = world();
    // 14 s of a server that answers nothing.
    world.fates(&[Fate::Lost, Fate::Lost, Fate::Lost]);
    let seat = client.checkout(Checkout::default()).await.expect("a seat within the deadline");
    assert!(world.began.elapsed() < Duration::from_secs(17));
    assert!(seat.remaining() < Duration::from_secs(60), "valid from the first send");
    drop(seat);
    world.fates(&[Fate::Lost; 100]);
    let asked = world.began.elapsed();
    let error = client.validate(&[]).await.expect_err("nobody answers");
    let waited = world.began.elapsed() - asked;
    let told = matches!(&error, Error::Transport(Transport::NoAnswer { after, .. }) if *after == waited);
    assert!(told && waited <= Duration::from_secs(10), "{error} {waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_line_is_told_by_its_reason() {
    let (world, client) = world();
    world.fates(&[Fate::NoConnection; 100]);
    let error = client.validate(&[]).await.expect_err("no connection");
    assert!(
        matches!(&error, Error::Transport(Transport::Connect { reason, .. }) if reason == "refused"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_server_is_told_how_long_each_attempt_waits() {
    let (world, client) = world();
    world.fates(&[Fate::Lost]);
    client.validate(&[]).await.expect("an answer to the second attempt");
    // 5 s of 10 s; then half of what remains after a pause of 250 ms.
    assert_eq!(*world.patience.lock().expect("unpoisoned"), ["5000000u", "2375000u"]);
}
