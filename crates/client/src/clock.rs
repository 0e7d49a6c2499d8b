//! The clock that validity is measured on: monotonic, and counting suspend (CLOCK_BOOTTIME), so that a laptop that
//! slept through its seat knows it. A trait, so that tests move time by hand.

use std::{future::Future, ops::Add, pin::Pin, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// Timers stand still in suspend: after one, a seat that ran out is noticed within this time.
const NAP: Duration = Duration::from_secs(1);

/// A moment on this machine's clock, counted from boot; moments of two machines cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BootInstant(Duration);

impl BootInstant {
    /// The moment `since_boot` after the machine started.
    pub const fn from_boot(since_boot: Duration) -> BootInstant {
        BootInstant(since_boot)
    }

    /// The time from `earlier` to this moment; zero when `earlier` is the later one.
    pub const fn since(self, earlier: BootInstant) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for BootInstant {
    type Output = BootInstant;

    fn add(self, by: Duration) -> BootInstant {
        BootInstant(self.0.saturating_add(by))
    }
}

/// A wait for a moment.
pub type Sleep<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// All that a client knows of time, but for the time-outs of a real connection.
pub trait Clock: Send + Sync {
    /// This moment.
    fn now(&self) -> BootInstant;

    /// Ends at that moment, or a little later.
    fn sleep_until(&self, at: BootInstant) -> Sleep<'_>;
}

/// The clock of this machine.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> BootInstant {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        const CLOCK: ClockId = ClockId::Boottime;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        const CLOCK: ClockId = ClockId::Monotonic;
        let time = clock_gettime(CLOCK);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        let nanos = u32::try_from(time.tv_nsec).unwrap_or_default();
        BootInstant(Duration::new(seconds, nanos))
    }

    fn sleep_until(&self, at: BootInstant) -> Sleep<'_> {
        Box::pin(async move {
            loop {
                let left = at.since(self.now());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(NAP)).await;
            }
        })
    }
}

#[cfg(test)]
pub(crate) mod manual {
    //! A clock that a test moves.

    use tokio::sync::watch;

    use super::*;

    pub(crate) struct ManualClock(watch::Sender<BootInstant>);

    impl ManualClock {
        pub(crate) fn new() -> ManualClock {
            ManualClock(watch::Sender::new(BootInstant::from_boot(Duration::from_secs(1000))))
        }

        pub(crate) fn advance(&self, by: Duration) {
            self.0.send_modify(|now| *now = *now + by);
        }
    }

    impl Clock for ManualClock {
        fn now(&self) -> BootInstant {
            *self.0.borrow()
        }

        fn sleep_until(&self, at: BootInstant) -> Sleep<'_> {
            let mut time = self.0.subscribe();
            Box::pin(async move {
                let _ = time.wait_for(|now| *now >= at).await;
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_clock_of_this_machine_wakes_a_sleeper_no_earlier_than_asked() {
        let at = SystemClock.now() + Duration::from_millis(20);
        SystemClock.sleep_until(at).await;
        assert!(SystemClock.now() >= at);
    }
}
