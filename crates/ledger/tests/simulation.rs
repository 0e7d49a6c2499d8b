//! Seeded worlds of three replicas and a few clients, judged by what the clients believed: at no
//! moment do they hold more units of a limit than its cap.
//!
//! `GENIE_SEEDS=100000` runs more of them, `GENIE_SEED=17` one.

#[path = "sim/client.rs"]
mod client;
#[path = "sim/rng.rs"]
mod rng;
mod support;
#[path = "sim/world.rs"]
mod world;

use std::time::Duration;

use client::{Belief, Client};
use genie_ledger::{LimitId, Role};
use support::{FEATURE, POOL};
use world::{REPLICAS, World};

/// How many worlds a plain test run looks at: some seconds without optimization.
const SEEDS: u64 = 300;

/// The most units of `limit` that clients believed to hold at one moment.
fn most_held(clients: &[Client], limit: LimitId) -> u32 {
    let beliefs = clients.iter().flat_map(|c| &c.beliefs).filter(|b| b.limits.contains(&limit));
    let mut edges: Vec<(Duration, bool, u32)> = beliefs
        .filter(|b| b.from < b.to)
        .flat_map(|&Belief { from, to, count, .. }| [(from, true, count), (to, false, count)])
        .collect();
    edges.sort();
    let (mut held, mut most) = (0, 0);
    for (_, starts, count) in edges {
        held = if starts { held + count } else { held - count };
        most = most.max(held);
    }
    most
}

#[derive(Default, Debug)]
struct Seen {
    sessions: u64,
    adoptions: u64,
    documents: u64,
    ownerships: u64,
    full: u64,
    held: Duration,
    possible: Duration,
}

fn judge(seed: u64, world: &World, seen: &mut Seen) {
    for (limit, most) in [(POOL, world.most[0]), (FEATURE, world.most[1])] {
        let held = most_held(&world.clients, limit);
        assert!(held <= most, "GENIE_SEED={seed}: {held} units of {limit:?} were held, the cap is {most}");
        seen.full += u64::from(held == most);
    }
    let owners: Vec<_> = (0..REPLICAS)
        .map(|n| world.nodes[n].replica.status(genie_ledger::BootInstant::from_boot(Duration::ZERO)))
        .filter(|status| status.role == Role::Owner)
        .collect();
    assert_eq!(owners.len(), 1, "GENIE_SEED={seed}: one owner after the storm");
    assert_eq!(owners[0].recovery_ends, None, "GENIE_SEED={seed}: recovery ends after the storm");
    for client in &world.clients {
        seen.sessions += client.beliefs.len() as u64 - u64::from(client.documents);
        seen.adoptions += u64::from(client.adoptions);
        seen.documents += u64::from(client.documents);
        let held = client.beliefs.iter().map(|b| b.to.saturating_sub(b.from) * b.count);
        seen.held += held.sum::<Duration>();
    }
    seen.ownerships += u64::from(world.ownerships);
    seen.possible += world.now * world.most[0];
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn clients_never_believe_to_hold_more_than_the_cap_whatever_happens() {
    let seeds = match number("GENIE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("GENIE_SEEDS").unwrap_or(SEEDS),
    };
    let worlds = seeds.end - seeds.start;
    let mut seen = Seen::default();
    for seed in seeds {
        let mut world = World::new(seed);
        world.run();
        judge(seed, &world, &mut seen);
    }
    println!("{worlds} worlds: {seen:?}");
    assert!(worlds == 1 || seen.sessions > 5 * worlds, "clients get sessions: {seen:?}");
    assert!(worlds == 1 || seen.ownerships > 3 * worlds, "the ledger changes hands: {seen:?}");
    assert!(worlds == 1 || seen.adoptions > worlds, "sessions outlive their owner: {seen:?}");
    assert!(worlds == 1 || seen.documents > 2 * worlds, "clients borrow: {seen:?}");
    assert!(worlds == 1 || seen.full > worlds, "the caps are reached: {seen:?}");
}
