//! A machine's clock and its process's life: a clock that runs at its own rate whatever happens, and a process that may
//! stand still or have ended. All that a process is woken by waits here until it runs.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;
use genie_ledger::BootInstant;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep_until};

use super::super::clock::Clock;
use super::world::lock;

/// The wall clock where true time begins, in seconds since 1970.
const BEGAN: i64 = 1_900_000_000;

/// The clock of one machine: what it counts in 100 true seconds, and what it showed when true time began.
#[derive(Clone, Copy)]
pub(crate) struct Host {
    pub(crate) rate: u32,
    pub(crate) boot: Duration,
}

/// One process on its machine. A process that ended stands still for good: nothing ever wakes it.
#[derive(Clone)]
pub(crate) struct Machine(Arc<Inner>);

struct Inner {
    began: Instant,
    host: Host,
    state: Mutex<State>,
}

struct State {
    still_until: Instant,
    ended: bool,
    /// How far the wall clock was set from true time, in seconds.
    wall: i64,
}

impl Machine {
    /// A process that runs. `began`: when true time did.
    pub(crate) fn new(began: Instant, host: Host) -> Self {
        let state = Mutex::new(State { still_until: began, ended: false, wall: 0 });
        Self(Arc::new(Inner { began, host, state }))
    }

    /// Time since the machine's boot.
    pub(crate) fn shows(&self) -> Duration {
        self.0.host.boot + self.0.began.elapsed() * self.0.host.rate / 100
    }

    /// When, in true time, this machine's clock shows `at`.
    pub(crate) fn truly(&self, at: Duration) -> Duration {
        at.saturating_sub(self.0.host.boot) * 100 / self.0.host.rate
    }

    /// Stands still until then, or for longer where it already does.
    pub(crate) fn freeze(&self, by: Duration) {
        let mut state = lock(&self.0.state);
        state.still_until = state.still_until.max(Instant::now() + by);
    }

    /// kill -9.
    pub(crate) fn end(&self) {
        lock(&self.0.state).ended = true;
    }

    pub(crate) fn ended(&self) -> bool {
        lock(&self.0.state).ended
    }

    /// Whether it answers nobody now.
    pub(crate) fn still(&self) -> bool {
        let state = lock(&self.0.state);
        state.ended || state.still_until > Instant::now()
    }

    /// Lets a frozen process go on, and sets a wall clock right.
    pub(crate) fn mend(&self) {
        let mut state = lock(&self.0.state);
        state.still_until = state.still_until.min(Instant::now());
        state.wall = 0;
    }

    /// Sets the wall clock wrong.
    pub(crate) fn step_wall(&self, by: i64) {
        lock(&self.0.state).wall = by;
    }

    /// Resolves as soon as the process runs: at once, or when it goes on; never, where it has ended.
    pub(crate) async fn awake(&self) {
        loop {
            let until = {
                let state = lock(&self.0.state);
                (!state.ended).then_some(state.still_until)
            };
            match until {
                None => std::future::pending().await,
                Some(until) if until > Instant::now() => sleep_until(until).await,
                Some(_) => return,
            }
        }
    }

    /// Resolves when the clock shows `at` and the process runs.
    pub(crate) async fn sleep_until(&self, at: Duration) {
        while self.shows() < at {
            sleep_until(self.0.began + self.truly(at) + Duration::from_nanos(1)).await;
        }
        self.awake().await;
    }
}

impl Clock for Machine {
    fn boot(&self) -> BootInstant {
        BootInstant::from_boot(self.shows())
    }

    fn wall(&self) -> Timestamp {
        let truly = SignedDuration::try_from(self.0.began.elapsed()).expect("an hour or two");
        let set = SignedDuration::from_secs(BEGAN + lock(&self.0.state).wall);
        Timestamp::UNIX_EPOCH.checked_add(set + truly).expect("a year of this century")
    }

    fn sleep_until(&self, when: BootInstant) -> BoxFuture<'static, ()> {
        let machine = self.clone();
        Box::pin(async move { machine.sleep_until(when.since_boot()).await })
    }
}

impl genie_client::seams::Clock for Machine {
    fn now(&self) -> genie_client::BootInstant {
        genie_client::BootInstant::from_boot(self.shows())
    }

    fn sleep_until(&self, at: genie_client::BootInstant) -> genie_client::seams::Sleep<'_> {
        let at = at.since(genie_client::BootInstant::from_boot(Duration::ZERO));
        Box::pin(self.sleep_until(at))
    }
}
