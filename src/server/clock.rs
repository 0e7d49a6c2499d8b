//! The two clocks of a server: one that seats are counted by, one that licenses end by.

use std::time::Duration;

use genie_ledger::BootInstant;
use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// Monotonic time that counts suspend (CLOCK_BOOTTIME).
pub(crate) fn boot_now() -> BootInstant {
    let now = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    BootInstant::from_boot(Duration::new(seconds, nanos))
}

/// Wall-clock time, for expiry dates only.
pub(crate) fn wall_now() -> Timestamp {
    Timestamp::now()
}
