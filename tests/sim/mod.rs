//! Seeded worlds of whole servers: the code that ships, on an API server, a network and clocks in memory, with
//! applications that hold seats by the SDK that ships; judged by what the applications believed. One seed is one
//! history, and is the same each time.
//!
//! `make sim SEEDS=100000` runs more of them, `make sim SEED=17` one, with its log.

mod api;
mod client;
mod history;
mod judge;
pub(crate) mod machine;
pub(crate) mod network;
pub(crate) mod node;
mod operator;
mod restore;
#[path = "../../crates/ledger/tests/sim/rng.rs"]
mod rng;
mod trouble;
mod unkept;
pub(crate) mod world;

use std::cell::Cell;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once};
use std::time::Duration;

use api::{Api, GRANTS, Plan};
use judge::Tally;
use world::{Broken, World, lock};

/// How many worlds a plain test run looks at.
const SEEDS: u64 = 2_000;
/// Worlds that broke something once. 4405: a ledger that was set back to an earlier generation under an owner that recovered
/// was noticed only at the end of the recovery, and a second one followed. 17603: a seat that was given back to two owners, and
/// given out again by the first, was not adopted by the second.
const REGRESSIONS: [u64; 2] = [4405, 17603];

/// After how many worlds a long search says that it goes on.
const PROGRESS: u64 = 5_000;

const REPLICAS: usize = 3;

/// A world without chance and trouble, for the tests of parts of a server.
pub(crate) fn quiet(seats: u32) -> World {
    let horizon = Duration::from_secs(60);
    let plan = Plan {
        caps: [seats, 1, 1],
        horizon,
        ttl: Duration::from_secs(20),
        min_generation: 0,
        longest_horizon: None,
    };
    World::new(0, false, None, Api::new(plan))
}

/// A key of its pool.
pub(crate) fn key() -> &'static str {
    GRANTS[0].1
}

/// What a history came to, and its log.
struct Outcome {
    verdict: Result<Tally, String>,
    log: Vec<String>,
}

thread_local! {
    static PANICKED: Cell<bool> = const { Cell::new(false) };
}

/// A panic in a task ends nothing but the task; the world has failed all the same.
fn watch_for_panics() {
    static WATCHING: Once = Once::new();
    WATCHING.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICKED.set(true);
            before(panic);
        }));
    });
}

fn run(seed: u64, logs: bool, broken: Option<Broken>) -> Outcome {
    watch_for_panics();
    PANICKED.set(false);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let mut outcome = runtime.expect("a runtime").block_on(history::history(seed, logs, broken));
    if PANICKED.get() {
        outcome.verdict = Err("something panicked".into());
    }
    outcome
}

/// Does `work` on all cores for the numbers from `first` on, until it says that it is done.
fn on_all_cores(first: u64, work: impl Fn(u64) -> bool + Sync) {
    let next = AtomicU64::new(first);
    let worker = || while work(next.fetch_add(1, Ordering::Relaxed)) {};
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        (0..cores).for_each(|_| drop(scope.spawn(worker)));
    });
}

/// Runs seeds; gives what they came to together, or what the first that failed found.
fn search(seeds: Range<u64>) -> Result<Tally, String> {
    let (failure, total) = (Mutex::new(None), Mutex::new(Tally::default()));
    on_all_cores(seeds.start, |seed| {
        if seed >= seeds.end || lock(&failure).is_some() {
            return false;
        }
        if seed > seeds.start && seed.is_multiple_of(PROGRESS) {
            eprintln!("{seed} worlds");
        }
        match run(seed, false, None).verdict {
            Ok(tally) => lock(&total).add(tally),
            Err(found) => *lock(&failure) = Some(format!("make sim SEED={seed}\n{found}")),
        }
        true
    });
    let failure = lock(&failure).take();
    failure.map_or_else(|| Ok(*lock(&total)), Err)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|value| value.parse().expect("a number"))
}

#[test]
fn clients_never_hold_more_than_is_in_force_whatever_happens() {
    if let Some(seed) = number("GENIE_SIM_SEED") {
        let outcome = run(seed, true, None);
        println!("{}", outcome.log.join("\n"));
        return assert!(outcome.verdict.is_ok(), "{:?}", outcome.verdict);
    }
    for seed in REGRESSIONS {
        let verdict = run(seed, false, None).verdict;
        assert!(verdict.is_ok(), "make sim SEED={seed}: {verdict:?}");
    }
    let seeds = number("GENIE_SIM_SEEDS").unwrap_or(SEEDS);
    let began = std::time::Instant::now();
    let tally = search(0..seeds).unwrap_or_else(|found| panic!("{found}"));
    println!("{seeds} worlds in {:?}: {tally:?}", began.elapsed());
    assert!(tally.sessions > 5 * seeds, "clients get seats: {tally:?}");
    assert!(tally.ownerships > 3 * seeds, "the ledger changes hands: {tally:?}");
    assert!(tally.full > 3 * seeds, "the caps are reached: {tally:?}");
}

#[test]
fn a_seed_is_the_same_history_each_time() {
    for seed in 0..8 {
        let (first, second) = (run(seed, true, None).log, run(seed, true, None).log);
        let differs = first.iter().zip(&second).position(|(a, b)| a != b);
        assert_eq!(differs.map(|i| (&first[i], &second[i])), None, "seed {seed}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}
