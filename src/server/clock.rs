//! Time as a server sees it: one clock that seats are counted by, one that licenses end by, and sleep.
//!
//! All that is decided by time takes a [`SharedClock`], so that a simulation can bend, stop and skip it. The bounds
//! that the edges put on strangers and on I/O (listeners, TLS, files) run on the runtime's own timers.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{BoxFuture, Either, select};
use genie_ledger::BootInstant;
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Longest sleep at a time: the runtime's timers do not count suspend, so a wake-up may be late by this much after
/// a resume.
const STEP: Duration = Duration::from_secs(1);

/// See the module. One for a process.
pub(crate) trait Clock: Send + Sync + 'static {
    /// Monotonic time that counts suspend.
    fn boot(&self) -> BootInstant;

    /// Wall-clock time, for expiry dates only.
    fn wall(&self) -> Timestamp;

    /// Resolves when [`boot`](Self::boot) has reached `when`.
    fn sleep_until(&self, when: BootInstant) -> BoxFuture<'static, ()>;
}

/// The clock as parts of a server share it.
pub(crate) type SharedClock = Arc<dyn Clock>;

impl dyn Clock {
    /// Resolves after `duration`.
    pub(crate) fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.sleep_until(self.boot() + duration)
    }

    /// What `future` gives, unless `deadline` comes first.
    pub(crate) async fn by<F: Future>(&self, deadline: BootInstant, future: F) -> Option<F::Output> {
        match select(pin!(future), self.sleep_until(deadline)).await {
            Either::Left((output, _)) => Some(output),
            Either::Right(_) => None,
        }
    }
}

/// The machine's own clocks.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn boot(&self) -> BootInstant {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
        BootInstant::from_boot(Duration::new(seconds, nanos))
    }

    fn wall(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep_until(&self, when: BootInstant) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            loop {
                let left = when.since(SystemClock.boot());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(STEP)).await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_sleep_ends_when_its_moment_has_come_and_no_sooner() {
        let clock: SharedClock = Arc::new(SystemClock);
        let begun = clock.boot();
        let moment = begun + Duration::from_millis(30);
        clock.sleep_until(moment).await;
        assert!(clock.boot() >= moment);
        clock.sleep_until(begun).await;
        assert_eq!(clock.by(clock.boot(), std::future::pending::<()>()).await, None);
        assert_eq!(clock.by(clock.boot() + Duration::from_secs(60), async { 7 }).await, Some(7));
    }
}
