//! Two replicas in memory: how a call that one of them gets is decided by the other, or after a takeover, or not.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use genie_ledger::{BootInstant, Role};
use genie_proto::v1::{CheckinRequest, CheckoutRequest, CheckoutResponse, Code, RenewRequest, Verdict};
use tokio::time::{Instant, sleep};

use super::super::sim::machine::Host;
use super::super::sim::network::{Fate, Party};
use super::super::sim::node::Process;
use super::super::sim::world::{World, lock};
use super::super::sim::{key, quiet};
use super::*;

/// Longest wait for a takeover, and then some.
const PATIENCE: Duration = Duration::from_secs(30);

/// The owner, and another replica that knows it.
async fn pair(seats: u32) -> (World, Arc<Process>, Arc<Process>) {
    let world = quiet(seats);
    let exact = Host { rate: 100, boot: Duration::ZERO };
    let (one, other) = (world.start(0, exact).await, world.start(1, exact).await);
    let knows = |process: &Arc<Process>| matches!(process.pool.owner().0, Owner::At(_));
    let (owner, other) = until(|| match (one.pool.role(), other.pool.role()) {
        (Role::Owner, _) if knows(&other) => Some((one.clone(), other.clone())),
        (_, Role::Owner) if knows(&one) => Some((other.clone(), one.clone())),
        _ => None,
    })
    .await;
    (world, owner, other)
}

/// Lets time pass until `holds` gives something.
async fn until<T>(holds: impl Fn() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = holds() {
            return found;
        }
        assert!(Instant::now() < end, "it did not come to that");
        sleep(Duration::from_millis(10)).await;
    }
}

fn request(number: u128, count: u32) -> CheckoutRequest {
    CheckoutRequest {
        product: "cad".into(),
        key: key().into(),
        operation_id: uuid::Uuid::from_u128(number).to_string(),
        count,
        ..CheckoutRequest::default()
    }
}

fn within(process: &Process, patience: Duration) -> BootInstant {
    process.service.licensing.clock.boot() + patience
}

async fn checkout(
    at: &Process,
    number: u128,
    count: u32,
    patience: Duration,
) -> Result<CheckoutResponse, CallError> {
    at.service.licensing.checkout(request(number, count), within(at, patience)).await
}

fn granted(answer: &Result<CheckoutResponse, CallError>) -> &CheckoutResponse {
    let answer = answer.as_ref().expect("an answer");
    assert_eq!(answer.verdict(), Verdict::Authorized, "{answer:?}");
    answer
}

fn sessions(process: &Process) -> usize {
    process.pool.sessions(None, usize::MAX - 1).len()
}

fn messages(world: &World) -> u64 {
    lock(&world.roads).forwarded
}

#[tokio::test(start_paused = true)]
async fn every_seat_operation_at_another_replica_is_decided_by_the_owner() {
    let (world, owner, other) = pair(1).await;
    let answer = checkout(&other, 1, 1, PATIENCE).await;
    let session = granted(&answer).session.clone();
    assert_eq!((sessions(&owner), sessions(&other)), (1, 0));
    let operation_id = uuid::Uuid::from_u128(2).to_string();
    let renew = RenewRequest { session, operation_id: operation_id.clone(), client: None };
    let renewed = other.service.licensing.renew(renew, within(&other, PATIENCE)).await.expect("an answer");
    assert_eq!(renewed.code(), Code::Ok);
    let checkin = CheckinRequest { session: renewed.session, operation_id };
    let returned = other.service.licensing.checkin(checkin, within(&other, PATIENCE)).await;
    assert_eq!(returned.expect("an answer").code(), Code::Ok);
    assert_eq!((sessions(&owner), messages(&world)), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_while_nobody_decides_is_answered_after_the_takeover() {
    let (world, owner, other) = pair(1).await;
    world.kill(&owner);
    let asked = Instant::now();
    let answer = checkout(&other, 1, 1, PATIENCE).await;
    granted(&answer);
    assert_eq!(other.pool.role(), Role::Owner);
    assert!(asked.elapsed() > Duration::from_secs(5), "it waited for the end of the Lease");
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_lost_the_pool_and_does_not_reach_the_store_passes_calls_on_to_who_may_know() {
    let (world, owner, other) = pair(1).await;
    let answer = checkout(&owner, 1, 1, PATIENCE).await;
    let session = granted(&answer).session.clone();
    world.cut(Party::Pod(owner.pod), Party::Api, PATIENCE * 2);
    until(|| (other.pool.role() == Role::Owner).then_some(())).await;
    let renew = |session: &str, number| RenewRequest {
        session: session.to_owned(),
        operation_id: uuid::Uuid::from_u128(number).to_string(),
        client: None,
    };
    let renewed = other.service.licensing.renew(renew(&session, 2), within(&other, PATIENCE)).await;
    let newer = renewed.expect("an answer").session;
    let asked = Instant::now();
    let renewed = owner.service.licensing.renew(renew(&newer, 3), within(&owner, PATIENCE)).await;
    let newest = renewed.expect("the other one decides").session;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());

    // Where nobody answers, its caller hears so soon.
    world.kill(&other);
    let asked = Instant::now();
    let answer = owner.service.licensing.renew(renew(&newest, 4), within(&owner, PATIENCE)).await;
    assert_eq!(answer.expect_err("nobody decides here").retry_after(), Some(words::TAKEOVER_RETRY));
    assert!(asked.elapsed() <= Duration::from_secs(2), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_deadline_passes_is_told_when_to_try_again() {
    let (world, owner, other) = pair(1).await;
    world.kill(&owner);
    let asked = Instant::now();
    let answer = checkout(&other, 1, 1, Duration::from_secs(2)).await;
    let retry_after = answer.expect_err("nobody decides").retry_after();
    assert_eq!(retry_after, Some(words::TAKEOVER_RETRY));
    assert_eq!(asked.elapsed().as_secs(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_vanishes_in_mid_call_is_asked_again_and_gives_one_seat() {
    let (world, owner, other) = pair(2).await;
    lock(&world.roads).fates = vec![Fate::AnswerLost];
    let asked = Instant::now();
    let answer = checkout(&other, 1, 1, PATIENCE).await;
    granted(&answer);
    assert_eq!((sessions(&owner), messages(&world)), (1, 2));
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_gives_no_answer_is_waited_for_until_another_takes_over() {
    let (world, owner, other) = pair(1).await;
    owner.machine.freeze(Duration::from_secs(3_600));
    let asked = Instant::now();
    let answer = checkout(&other, 1, 1, PATIENCE).await;
    granted(&answer);
    assert_eq!((sessions(&other), other.pool.role()), (1, Role::Owner));
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    assert!(messages(&world) < 10, "it is not asked all the time: {}", messages(&world));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_finds_no_place_to_wait_is_answered_after_its_first_try() {
    let (world, owner, other) = pair(1).await;
    world.kill(&owner);
    let patience = Duration::from_secs(5);
    let wait = (0..MAX_WAITING).map(|i| checkout(&other, 1 + i as u128, 1, patience));
    let one_more = async {
        sleep(Duration::from_secs(1)).await;
        let asked = Instant::now();
        let answer = checkout(&other, u128::MAX, 1, patience).await;
        assert!(answer.is_err_and(|error| error.retry_after().is_some()));
        assert!(asked.elapsed() < RETRY_PAUSE, "{:?}", asked.elapsed());
    };
    let began = Instant::now();
    let (waited, ()) = tokio::join!(join_all(wait), one_more);
    assert!(waited.iter().all(Result::is_err));
    assert_eq!(began.elapsed().as_secs(), 5);
    // Their places are free again.
    let asked = Instant::now();
    assert!(checkout(&other, u128::MAX, 1, patience).await.is_err());
    assert_eq!(asked.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn calls_that_come_at_once_go_in_few_messages_and_each_gets_its_own_answer() {
    let (world, _, other) = pair(100_000).await;
    let counts = 1..=300;
    let calls = counts.clone().map(|count| checkout(&other, count.into(), count, PATIENCE));
    let answers = join_all(calls).await;
    let keyring = other.service.licensing.keys.get();
    for (count, answer) in counts.zip(&answers) {
        let (_, claim) = keyring.open_session(&granted(answer).session).expect("a session of ours");
        assert_eq!(claim.count, NonZeroU32::new(count).expect("from 1"));
    }
    assert!(messages(&world) <= 3, "{} messages", messages(&world));
}

/// The same checkout, which waits for a seat for a minute.
async fn wait(at: &Process, number: u128, ticket: &str, patience: Duration) -> CheckoutResponse {
    let request = CheckoutRequest {
        max_wait: Some(Duration::from_secs(60).into()),
        queue_ticket: ticket.into(),
        ..request(number, 1)
    };
    at.service.licensing.checkout(request, within(at, patience)).await.expect("an answer")
}

#[tokio::test(start_paused = true)]
async fn a_seat_that_comes_back_wakes_the_first_in_the_queue_at_another_replica() {
    let (_world, owner, other) = pair(1).await;
    let held = checkout(&owner, 1, 1, PATIENCE).await;
    let checkin = async {
        sleep(Duration::from_secs(2)).await;
        let operation_id = uuid::Uuid::from_u128(9).to_string();
        let checkin = CheckinRequest { session: granted(&held).session.clone(), operation_id };
        owner.service.licensing.checkin(checkin, within(&owner, PATIENCE)).await.expect("an answer");
        Instant::now()
    };
    let waiting = async {
        let answer = wait(&other, 2, "", PATIENCE).await;
        assert_eq!(answer.code(), Code::Ok, "{answer:?}");
        Instant::now()
    };
    let (returned, woken) = futures::future::join(checkin, waiting).await;
    assert!(woken - returned < Duration::from_millis(100), "{:?}", woken - returned);
}

#[tokio::test(start_paused = true)]
async fn who_is_told_its_place_keeps_it_at_the_next_owner() {
    let (world, owner, other) = pair(1).await;
    granted(&checkout(&owner, 1, 1, PATIENCE).await);
    let first = wait(&other, 2, "", Duration::from_secs(1)).await;
    assert_eq!((first.code(), first.queue_position), (Code::Queued, 1));
    let second = wait(&owner, 3, "", Duration::from_secs(1)).await;
    assert_eq!((second.code(), second.queue_position), (Code::Queued, 2));
    world.kill(&owner);

    let patience = Duration::from_secs(20);
    let second = wait(&other, 3, &second.queue_ticket, patience).await;
    assert_eq!((second.code(), second.queue_position), (Code::Queued, 1), "the first is not back");
    let second = wait(&other, 3, &second.queue_ticket, Duration::from_secs(1));
    let first = wait(&other, 2, &first.queue_ticket, Duration::from_secs(2));
    let (second, first) = futures::future::join(second, first).await;
    assert_eq!((first.queue_position, second.queue_position), (1, 2), "{first:?} {second:?}");
}

#[tokio::test(start_paused = true)]
async fn a_ticket_counts_for_its_own_operation_alone() {
    let (_world, owner, _other) = pair(1).await;
    granted(&checkout(&owner, 1, 1, PATIENCE).await);
    let first = wait(&owner, 2, "", Duration::from_secs(1)).await;
    let stolen = CheckoutRequest {
        max_wait: Some(Duration::from_secs(60).into()),
        queue_ticket: first.queue_ticket,
        ..request(3, 1)
    };
    let answer = owner.service.licensing.checkout(stolen, within(&owner, PATIENCE)).await;
    assert!(matches!(answer, Err(CallError::Invalid(_))), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_does_not_stand_behind_those_who_wait_for_a_seat() {
    let (_world, owner, other) = pair(1).await;
    let held = checkout(&other, 1, 1, PATIENCE).await;
    let waiting = async {
        // More messages than may be under way at one time.
        let waits = (0..40_u8).map(async |number| {
            sleep(Duration::from_millis(60) * u32::from(number)).await;
            wait(&other, 100 + u128::from(number), "", Duration::from_secs(20)).await
        });
        join_all(waits).await
    };
    let renewal = async {
        sleep(Duration::from_secs(4)).await;
        let asked = Instant::now();
        let operation_id = uuid::Uuid::from_u128(2).to_string();
        let renew = RenewRequest { session: granted(&held).session.clone(), operation_id, client: None };
        let renewed =
            other.service.licensing.renew(renew, within(&other, PATIENCE)).await.expect("an answer");
        assert_eq!(renewed.code(), Code::Ok);
        asked.elapsed()
    };
    let (waited, took) = futures::future::join(waiting, renewal).await;
    assert!(took < Duration::from_millis(200), "{took:?}");
    assert!(waited.iter().all(|answer| answer.code() == Code::Queued), "{waited:?}");
    assert_eq!(owner.pool.status().queued, 40);
}
