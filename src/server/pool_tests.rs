//! Evidence that the owner before has ended (R6b), as a server keeps it.

use std::time::Duration;

use genie_ledger::{Generation, Holder, Nonce, Record, Role};

use super::super::memory::{TTL, World};

fn owned_by(nonce: &str, generation: u64) -> Record {
    let holder = Holder {
        nonce: Nonce(nonce.into()),
        pod_uid: nonce.into(),
        pod_name: nonce.into(),
        node: "node".into(),
        address: nonce.into(),
        started: Default::default(),
    };
    Record {
        generation: Generation(generation),
        holder,
        seq: 1_000 * generation,
        recovering: false,
        sealed: None,
        promises: Default::default(),
        horizon_ms: 600_000,
        ttl_ms: 90_000,
        borrowed: Vec::new(),
        usage: Default::default(),
        clones: 0,
        queued: 0,
        latest_time: Default::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn the_owner_before_is_known_though_no_watch_ever_showed_it() {
    let world = World::new(1);
    world.ledgers[0].put(owned_by("old", 4));
    world.ledgers[0].fall_silent();
    let node = world.start("a", &[]);
    node.becomes(Role::Owner).await;
    assert!(world.recovery_left(&node.served[0]) > Duration::from_secs(600));
    let pool = &node.served[0].pool;
    let (generation, before) = pool.before().borrow().clone().expect("it read the ledger");
    assert_eq!((generation.0, &*before.nonce.0), (4, "old"), "and not itself");
    pool.previous_ended(before.nonce);
    assert!(world.recovery_left(&node.served[0]) <= TTL * 11 / 9);
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_an_end_outlives_the_name_of_who_knows_it() {
    let world = World::new(1);
    let node = world.start("a", &[]);
    node.becomes(Role::Owner).await;
    node.served[0].pool.previous_ended(Nonce("other".into()));
    world.ledgers[0].put(owned_by("other", 2));
    node.until("beginning anew", |served| served.pool.role() != Role::Owner).await;
    node.becomes(Role::Owner).await;
    assert_eq!(&*world.ledgers[0].record().holder.nonce.0, "a-2");
    assert!(world.recovery_left(&node.served[0]) <= TTL * 11 / 9);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_lags_does_not_bring_back_an_older_owner() {
    let world = World::new(1);
    let node = world.start("a", &[]);
    node.becomes(Role::Owner).await;
    let pool = &node.served[0].pool;
    let mut before = pool.before();
    pool.observe(world.ledgers[0].shows(owned_by("second", 2)));
    pool.observe(world.ledgers[0].shows(owned_by("first", 1)));
    let last = before.borrow_and_update().clone().expect("it saw one");
    assert_eq!(&*last.1.nonce.0, "second");
    pool.configure(pool.view());
    assert!(before.has_changed().unwrap(), "a plan may speak of its end");
}
