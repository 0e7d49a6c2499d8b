//! R6a between whole servers in memory: who gets the sessions of one that stops, how soon, and what becomes of calls.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use genie_ledger::{
    Generation, GrantId, HandedSession, LimitId, LimitSet, Nonce, OperationId, Role, Sealed, SessionId,
    StopReason,
};
use genie_proto::peer::{self, HandOverRequest, peer_client::PeerClient};
use genie_proto::v1::Client;
use jiff::Timestamp;
use tokio::time::Instant;

use super::super::memory::{Node, TTL, World};
use super::super::peers::HANDOVER_DEADLINE;
use super::*;

#[tokio::test(start_paused = true)]
async fn all_sessions_go_on_at_the_successor_as_they_were() {
    let world = World::new(1);
    let (owner, follower) = world.pair(&["b"]).await;
    let mut tokens = Vec::new();
    for number in 1..=600 {
        tokens.push(owner.checkout(number).await.session);
    }
    tokio::time::advance(Duration::from_secs(10)).await;
    let renewed = owner.renew(&tokens[0], 1_000).await;
    let before = owner.listed();
    assert_eq!(before.len(), 600);
    let begun = Instant::now();
    owner.leave().await;
    follower.becomes(Role::Owner).await;
    assert!(begun.elapsed() < Duration::from_millis(10), "nothing is waited for: {:?}", begun.elapsed());
    let record = world.ledgers[0].record();
    assert_eq!((record.generation.0, record.recovering, &*record.holder.nonce.0), (2, false, "b-1"));
    assert_eq!(follower.listed(), before);
    // A retry of the last renewal gets its answer; the others go on.
    assert_eq!(follower.renew(&tokens[0], 1_000).await.valid_for, renewed.valid_for);
    for (token, number) in tokens[1..].iter().zip(2_000..) {
        assert!(!follower.renew(token, number).await.want_client);
    }
    assert_eq!(follower.listed(), before, "nobody was adopted, nobody began anew");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_left_passes_calls_on_until_it_ends() {
    let world = World::new(2);
    let (owner, follower) = world.pair(&["b"]).await;
    let token = owner.checkout(1).await.session;
    owner.leave().await;
    assert_eq!(owner.served[0].pool.role(), Role::Stopped(StopReason::Released));
    owner.checkout(2).await;
    owner.renew(&token, 3).await;
    assert_eq!(follower.listed().len(), 2);
    // Also after yet another takeover.
    let third = world.start("c", &[]);
    third.knows("b").await;
    follower.leave().await;
    third.becomes(Role::Owner).await;
    owner.checkout(4).await;
    assert_eq!(*owner.nonces.lock().unwrap(), 2, "it wants no ledger any more");
    for served in owner.served {
        served.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_while_nobody_has_the_sessions_is_answered_by_who_gets_them() {
    let world = World::new(1);
    let (owner, follower) = world.pair(&["nobody", "b"]).await;
    let answered = async {
        owner.until("leaving", |served| served.pool.role() == Role::Leaving).await;
        let begun = Instant::now();
        owner.checkout(1).await;
        begun.elapsed()
    };
    let ((), waited) = tokio::join!(owner.leave(), answered);
    assert!(waited > Duration::from_millis(900), "it came too late: {waited:?}");
    assert!(waited < Duration::from_millis(1_300), "{waited:?}");
    assert_eq!(follower.listed().len(), 1);
    assert!(!world.ledgers[0].record().recovering);
}

/// Hands over where nobody can take it; gives how long that took.
async fn left_to_nobody(world: &World, owner: &Node, follower: &Node) -> Duration {
    let token = owner.checkout(1).await.session;
    let begun = Instant::now();
    owner.leave().await;
    let took = begun.elapsed();
    follower.becomes(Role::Owner).await;
    for served in &follower.served {
        let left = world.recovery_left(served);
        assert!(left <= TTL * 11 / 9, "as from a sealed ledger: {left:?}");
    }
    follower.renew(&token, 2).await;
    took
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_is_gone_without_a_trace_holds_two_pools_up_for_two_seconds_at_most() {
    let world = World::new(2);
    let (owner, follower) = world.pair(&["nobody", "nobody-else"]).await;
    let took = left_to_nobody(&world, &owner, &follower).await;
    assert!(took >= HANDOVER_DEADLINE && took < HANDOVER_DEADLINE + Duration::from_millis(100), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_successor_the_ledger_is_sealed_at_once() {
    let world = World::new(1);
    let (owner, follower) = world.pair(&[]).await;
    assert_eq!(left_to_nobody(&world, &owner, &follower).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn one_that_stops_itself_takes_no_sessions() {
    let world = World::new(1);
    let (owner, follower) = world.pair(&["c"]).await;
    let other = world.start("c", &[]);
    other.knows("a").await;
    other.leave().await;
    assert_eq!(left_to_nobody(&world, &owner, &follower).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_successor_that_dies_with_the_lease_is_followed_as_any_other() {
    let world = World::new(1);
    let (owner, follower) = world.pair(&["b"]).await;
    let third = world.start("c", &[]);
    third.knows("a").await;
    let token = owner.checkout(1).await.session;
    for served in &follower.served {
        served.driver.abort();
    }
    owner.leave().await;
    assert_eq!(world.ledgers[0].lease_holder(), Some(Nonce("b-1".into())));
    third.becomes(Role::Owner).await;
    let left = world.recovery_left(&third.served[0]);
    assert!(left <= TTL * 11 / 9, "{left:?}");
    third.renew(&token, 2).await;
}

fn table() -> Table {
    let session = |number: u32| HandedSession {
        session: SessionId(u64::from(number)),
        grant: GrantId(u64::MAX),
        count: NonZeroU32::new(number).unwrap(),
        limits: LimitSet::new((0..=u64::from(number % 3)).map(LimitId)).unwrap(),
        opened: (!number.is_multiple_of(5)).then_some(OperationId(u128::from(number))),
        last: OperationId(u128::MAX - u128::from(number)),
        counter: number * 7,
        revoked: number.is_multiple_of(3),
        left: Duration::from_nanos(u64::from(number)),
        counted: Duration::from_nanos(10_000_000_001),
        meta: Arc::new(Meta {
            client: (!number.is_multiple_of(7)).then(|| Client {
                pid: number,
                user: "u".into(),
                ..Client::default()
            }),
            features: (0..number % 4).map(|feature| format!("feature-{feature}")).collect(),
            started: Timestamp::from_nanosecond(-1_500_000_000 + i128::from(number)).unwrap(),
            adopted: number.is_multiple_of(2),
        }),
    };
    let sealed = Sealed { generation: Generation(3), nonce: Nonce("old".into()) };
    Table { sealed, sessions: (1..=600).map(session).collect() }
}

async fn received(messages: Vec<HandOverRequest>) -> Result<Table, Status> {
    let mut messages = stream::iter(messages.into_iter().map(Ok));
    let header = super::header(&mut messages).await?;
    super::table(header, &mut messages).await
}

async fn sent() -> Vec<HandOverRequest> {
    let ledger = LedgerId { namespace: "default".into(), product: "cad-0".into() };
    messages(&ledger, Arc::new(table())).collect().await
}

#[tokio::test]
async fn every_field_of_every_session_arrives() {
    let messages = sent().await;
    assert_eq!(messages.len(), 4, "one, and three of at most 256 sessions");
    let received = received(messages).await.unwrap();
    assert_eq!(format!("{received:?}"), format!("{:?}", table()));
}

type Damage = fn(&mut Vec<HandOverRequest>);

fn first(messages: &mut [HandOverRequest]) -> &mut peer::HandedSession {
    &mut messages[1].sessions[0]
}

fn header_of(messages: &mut [HandOverRequest]) -> &mut peer::SessionTable {
    messages[0].table.as_mut().unwrap()
}

const DAMAGES: [(&str, Damage); 21] = [
    ("there is no message", |all| all.clear()),
    ("does not say what it is", |all| all[0].table = None),
    ("the first message has sessions", |all| all[0].sessions = all[1].sessions.clone()),
    ("a second message says", |all| all[2].table = all[0].table.clone()),
    ("generation is 0", |all| header_of(all).generation = 0),
    ("nonce must have", |all| header_of(all).nonce.clear()),
    ("nonce must have", |all| header_of(all).nonce = "x".repeat(65)),
    ("more than 100,000 sessions", |all| header_of(all).sessions = 100_001),
    ("599 of 600 sessions came", |all| drop(all[3].sessions.pop())),
    ("344 of 600 sessions came", |all| drop(all.remove(2))),
    ("more than announced", |all| header_of(all).sessions = 599),
    ("a message has more than 256", |all| {
        let last = all.remove(3);
        all[2].sessions.extend(last.sessions);
    }),
    ("session 0-2 is in it twice", |all| first(all).session = 2),
    ("the count 0", |all| first(all).count = 0),
    ("a session touches 17 limits", |all| first(all).limits = (0..17).collect()),
    ("touches no limit", |all| first(all).limits.clear()),
    ("an operation id has 15 bytes", |all| first(all).last.truncate(15)),
    ("is counted for", |all| first(all).left_ns = u64::MAX),
    ("does not say when it started", |all| first(all).started = None),
    ("at most 128 bytes", |all| first(all).client.as_mut().unwrap().host = "x".repeat(129)),
    ("more than 128 features", |all| first(all).features = vec!["x".into(); 129]),
];

#[tokio::test]
async fn a_table_that_is_damaged_is_refused_with_what_is_wrong() {
    for (what, damage) in DAMAGES {
        let mut messages = sent().await;
        damage(&mut messages);
        let refused = received(messages).await.map(|table| table.sessions.len()).expect_err(what);
        assert_eq!(refused.code(), tonic::Code::InvalidArgument, "{refused:?}");
        assert!(refused.message().contains(what), "{what}: {refused:?}");
    }
}

#[tokio::test]
async fn a_table_is_refused_that_takes_too_many_bytes() {
    let mut messages = sent().await;
    let mut session = messages[1].sessions[1].clone();
    session.features = vec!["x".repeat(63); 128];
    let sessions = (0..).map(|id| peer::HandedSession { session: id, ..session.clone() });
    header_of(&mut messages).sessions = 100_000;
    messages.truncate(1);
    let sessions: Vec<_> = sessions.take(10_240).collect();
    messages
        .extend(sessions.chunks(256).map(|some| HandOverRequest { table: None, sessions: some.to_vec() }));
    let refused = received(messages).await.unwrap_err();
    assert!(refused.message().contains("larger than 64 MiB"), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_table_changes_nothing() {
    let world = World::new(1);
    let (owner, follower) = world.pair(&["b"]).await;
    let mut client = PeerClient::new(world.client("b"));
    let mut messages = sent().await;
    first(&mut messages).count = 0;
    let refused = client.hand_over(stream::iter(messages)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    let mut messages = sent().await;
    header_of(&mut messages).ledger = "default/other".into();
    let refused = client.hand_over(stream::iter(messages)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::NotFound);
    let endless = stream::iter(sent().await.into_iter().take(2)).chain(stream::pending());
    let begun = Instant::now();
    let refused = client.hand_over(endless).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::DeadlineExceeded);
    assert_eq!(begun.elapsed(), HANDOVER_DEADLINE + Duration::from_secs(1));
    owner.checkout(1).await;
    owner.leave().await;
    follower.becomes(Role::Owner).await;
    assert!(!world.ledgers[0].record().recovering);
    assert_eq!(follower.listed().len(), 1);
}
