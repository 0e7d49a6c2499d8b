//! The model check: an exhaustive search of small worlds of the very replicas that ship, with faults in
//! the store, the network, the processes and the clocks. In every state the clients' beliefs are within
//! the caps; and with any one rule switched off (a mutant), a search finds a world where they are not.
//!
//! `GENIE_MODEL=long` widens the bounds: `make model-check`.

#[path = "model/choices.rs"]
mod choices;
#[path = "model/client.rs"]
mod client;
#[path = "model/config.rs"]
mod config;
#[path = "model/events.rs"]
mod events;
#[path = "model/mutants.rs"]
mod mutants;
#[path = "model/rules.rs"]
mod rules;
#[path = "model/search.rs"]
mod search;
mod support;
#[path = "model/wire.rs"]
mod wire;
#[path = "model/world.rs"]
mod world;

use std::sync::Arc;

use config::Config;
use search::{Order, search};

/// Most states of one search in a plain test run, and in a long one (under 1 GB).
const MOST: (usize, usize) = (100_000, 20_000_000);

fn long() -> bool {
    std::env::var("GENIE_MODEL").is_ok_and(|set| set == "long")
}

/// The whole rules, within the bounds: no state in which clients hold too much.
fn holds(name: &str, config: Config) {
    let most = if long() { MOST.1 } else { MOST.0 };
    let report = search(&Arc::new(config), Order::Depth, most);
    let (states, depth, took) = (report.states, report.depth, report.took);
    let bound = if report.exhausted { "exhausted" } else { "stopped" };
    println!("{name}: {states} states to depth {depth} in {took:.1?}, {bound}");
    if let Some(found) = report.found {
        panic!("{name}: {}\n{}", found.why, found.trace.join("\n"));
    }
}
