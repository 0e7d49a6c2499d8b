//! What everything in the world of one seed shares: true time, chance, what is wrong now, the log, and who is where.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Deref, Range};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use genie_ledger::Role;
use tokio::sync::broadcast;
use tokio::time::Instant;

use super::api::Api;
use super::judge::{Judge, LIMITS};
use super::machine::{Host, Machine};
use super::network::Roads;
use super::node::Process;
use super::rng::Rng;
use crate::operator::generations::Generations;

/// True time: what a perfect clock shows since the world began.
pub(crate) type True = Duration;

/// How often what goes wrong, of 1,000.
#[derive(Clone, Copy, Default)]
pub(crate) struct Weather {
    /// A message between machines does not arrive.
    pub(crate) lost: u64,
    /// A message takes seconds.
    pub(crate) slow: u64,
    /// A request arrives twice.
    pub(crate) doubled: u64,
    /// The API server does what it was asked, and the answer does not arrive.
    pub(crate) unanswered: u64,
    /// The API server does what it was asked long after its caller gave up.
    pub(crate) late: u64,
    /// A watch is seconds behind.
    pub(crate) behind: u64,
    /// A process stands still between the reading of its clock and its request to the API server.
    pub(crate) stalls: u64,
}

impl Weather {
    pub(crate) const STORM: Self =
        Self { lost: 30, slow: 30, doubled: 30, unanswered: 40, late: 40, behind: 50, stalls: 3 };
    /// In which no protocol may lose a seat: what is lost is rare, and nothing is late.
    pub(crate) const FAIR: Self =
        Self { lost: 3, slow: 0, doubled: 10, unanswered: 10, late: 0, behind: 10, stalls: 0 };
}

/// What clocks count in 100 true seconds, all within what the protocol allows.
#[derive(Clone, Copy)]
pub(crate) struct Rates {
    pub(crate) servers: &'static [u32],
    pub(crate) clients: &'static [u32],
}

/// Any clocks; those in which a seat ends the latest at its client and the earliest at its server; and servers that are
/// as far apart as can be.
const RATES: [Rates; 3] = [
    Rates { servers: &[90, 100, 110], clients: &[90, 100, 110] },
    Rates { servers: &[110], clients: &[90] },
    Rates { servers: &[90, 110], clients: &[90] },
];

/// A rule that somebody outside the ledger does not keep, to see that the judge notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// R7: clients count from the answer.
    CountsFromAnswer,
    /// R7: a client uses its seat for as long as the server counts it, with ρ not subtracted.
    CountsInFull,
    /// R3: the API server takes any write of the Lease, whatever was there.
    LeaseUnversioned,
    /// R3: it takes any write of the ledger.
    LedgerUnversioned,
    /// R6: a process that stands still is said to have ended.
    StillCalledEnded,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct World(Arc<Shared>);

impl Deref for World {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

pub(crate) struct Shared {
    pub(crate) began: Instant,
    pub(crate) rates: Rates,
    rng: Mutex<Rng>,
    log: Mutex<Option<Vec<String>>>,
    weather: Mutex<Weather>,
    pub(crate) broken: Option<Broken>,
    pub(crate) api: Mutex<Api>,
    /// What the operator remembers.
    pub(crate) generations: Generations,
    pub(crate) roads: Mutex<Roads>,
    /// Which process runs in each pod, by the pod's number.
    pub(crate) processes: Mutex<BTreeMap<usize, Arc<Process>>>,
    pub(crate) judge: Mutex<Judge>,
    /// How many processes were ever started.
    pub(crate) pids: AtomicU64,
    /// How many pods there ever were.
    pub(crate) pods: AtomicUsize,
    /// Processes whose end is known.
    pub(crate) ended: Mutex<BTreeSet<u64>>,
    /// Wakes those who look at them, in the order in which they came.
    pub(crate) ends: broadcast::Sender<()>,
    /// The machines of the clients.
    pub(crate) clients: Mutex<BTreeMap<usize, Machine>>,
}

impl World {
    pub(crate) fn new(seed: u64, logs: bool, broken: Option<Broken>, api: Api) -> Self {
        let mut rng = Rng::new(seed);
        let rates = rng.pick(&RATES);
        Self(Arc::new(Shared {
            began: Instant::now(),
            rates,
            rng: Mutex::new(rng),
            log: Mutex::new(logs.then(Vec::new)),
            weather: Mutex::default(),
            broken,
            api: Mutex::new(api),
            generations: Generations::default(),
            roads: Mutex::default(),
            processes: Mutex::default(),
            judge: Mutex::default(),
            pids: AtomicU64::new(0),
            pods: AtomicUsize::new(0),
            ended: Mutex::default(),
            ends: broadcast::Sender::new(1),
            clients: Mutex::default(),
        }))
    }

    pub(crate) fn now(&self) -> True {
        self.began.elapsed()
    }

    /// Writes a line of the log, where there is one.
    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        if let Some(log) = &mut *lock(&self.log) {
            log.push(format!("{:9.3} {}", self.now().as_secs_f64(), line()));
        }
    }

    pub(crate) fn take_log(&self) -> Vec<String> {
        lock(&self.log).take().unwrap_or_default()
    }

    pub(crate) fn weather(&self) -> Weather {
        *lock(&self.weather)
    }

    pub(crate) fn set_weather(&self, weather: Weather) {
        *lock(&self.weather) = weather;
    }

    pub(crate) fn below(&self, n: u64) -> u64 {
        lock(&self.rng).below(n)
    }

    /// As likely as not.
    pub(crate) fn even(&self) -> bool {
        lock(&self.rng).chance(50)
    }

    /// Whether what happens so often of 1,000 happens now.
    pub(crate) fn happens(&self, of_thousand: u64) -> bool {
        self.below(1_000) < of_thousand
    }

    pub(crate) fn millis(&self, range: Range<u64>) -> Duration {
        lock(&self.rng).millis(range)
    }

    pub(crate) fn pick<T: Clone>(&self, of: &[T]) -> T {
        lock(&self.rng).pick(of)
    }

    /// It becomes known that a process has ended.
    pub(crate) fn tell_end(&self, pid: u64) {
        lock(&self.ended).insert(pid);
        // Nobody may be looking.
        let _ = self.ends.send(());
    }

    /// A machine with a clock of its own.
    pub(crate) fn host(&self, rates: &[u32]) -> Host {
        Host { rate: self.pick(rates), boot: self.millis(0..1_000_000) }
    }

    pub(crate) fn process(&self, pod: usize) -> Option<Arc<Process>> {
        lock(&self.processes).get(&pod).cloned()
    }

    /// Notes for the judge what may be out now: after each write, change of a plan, and end of a process. An owner that
    /// has not heard of a lowered cap goes by the old one.
    pub(crate) fn reckon(&self) {
        let (mut caps, promised, holder) = {
            let api = lock(&self.api);
            (api.caps(self.now()), LIMITS.map(|name| api.promised(name)), api.holder())
        };
        for process in lock(&self.processes).values() {
            if process.pool.role() == Role::Owner || holder == Some(process.pid) {
                for (cap, old) in caps.iter_mut().zip(process.caps()) {
                    *cap = old.max(*cap);
                }
            }
        }
        lock(&self.judge).allow(self.now(), caps, promised);
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
