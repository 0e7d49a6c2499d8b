//! Time as the protocol sees it: instants of a monotonic clock that counts suspend, and the
//! stretching and shrinking of durations by ρ, the bound on the clock-rate error.

use std::ops::Add;
use std::time::Duration;

/// ρ: how far the rate of a machine's clock may be off, in percent.
pub const RHO_PERCENT: u32 = 10;

/// A moment on this machine's monotonic clock (CLOCK_BOOTTIME), counted from an arbitrary epoch.
/// Instants of two machines cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(not(feature = "model"), derive(Hash))]
pub struct BootInstant(Duration);

impl BootInstant {
    /// The moment `since_boot` after the clock's epoch.
    pub const fn from_boot(since_boot: Duration) -> Self {
        Self(since_boot)
    }

    /// The time from the clock's epoch to this moment.
    pub const fn since_boot(self) -> Duration {
        self.0
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

/// `d × ρ`, rounded up.
const fn error_of(d: Duration) -> Duration {
    let nanos = d.as_nanos().saturating_mul(RHO_PERCENT as u128).div_ceil(100);
    from_nanos(nanos)
}

const fn from_nanos(nanos: u128) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    let seconds = nanos / SECOND;
    if seconds > u64::MAX as u128 {
        return Duration::MAX;
    }
    Duration::new(seconds as u64, (nanos % SECOND) as u32)
}

/// `d(1+ρ)`: what this clock must count so that at least `d` has passed everywhere.
pub const fn stretch(d: Duration) -> Duration {
    d.saturating_add(error_of(d))
}

/// `d(1-ρ)`: what a clock may count so that at most `d` has passed everywhere.
pub const fn shrink(d: Duration) -> Duration {
    d.saturating_sub(error_of(d))
}

/// `d(1+ρ)/(1-ρ)`: the recovery after a process that is known to have ended (R6b).
pub(crate) const fn stretch_twice(d: Duration) -> Duration {
    let nanos = d.as_nanos().saturating_mul(100 + RHO_PERCENT as u128);
    from_nanos(nanos.div_ceil(100 - RHO_PERCENT as u128))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretching_never_falls_short_and_shrinking_never_overshoots() {
        let odd = Duration::from_nanos(1);
        assert_eq!(stretch(odd), Duration::from_nanos(2));
        assert_eq!(shrink(odd), Duration::ZERO);
        assert_eq!(stretch(Duration::from_secs(600)), Duration::from_secs(660));
        assert_eq!(shrink(Duration::from_secs(600)), Duration::from_secs(540));
        assert_eq!(stretch_twice(Duration::from_secs(90)), Duration::from_secs(110));
        assert_eq!(stretch(Duration::MAX), Duration::MAX);
    }
}
