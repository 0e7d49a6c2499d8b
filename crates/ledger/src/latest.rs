//! The latest wall-clock time that a ledger keeps, so that a clock that was set back is noticed over restarts and
//! owners. Decides nothing about seats.
//!
//! An owner raises it to what its own wall clock shows: when it takes the ledger, and then once an hour; each time by a
//! day at the most. So a clock that runs far ahead takes it a day an hour with it and no more, and a ledger that nobody
//! owned for long still catches up.

use std::time::Duration;

use crate::record::UnixSeconds;

/// How often an owner raises it: a write of its own where there is no other.
pub(crate) const RAISE_EVERY: Duration = Duration::from_secs(3600);
/// How far it is raised at once.
const FARTHEST: Duration = Duration::from_secs(24 * 3600);

/// The wall clock as this process was told of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Wall {
    /// What it shows.
    pub(crate) shown: Option<UnixSeconds>,
    /// The latest that it ever showed.
    pub(crate) latest: Option<UnixSeconds>,
}

impl Wall {
    pub(crate) fn show(&mut self, shown: UnixSeconds) {
        self.shown = Some(shown);
        self.latest = self.latest.max(self.shown);
    }
}

/// What to record where `recorded` is recorded (0: nothing).
pub(crate) fn raised(recorded: UnixSeconds, wall: Wall) -> UnixSeconds {
    match wall.shown {
        Some(shown) if recorded == UnixSeconds::default() => shown,
        Some(shown) => recorded.max(shown.min(recorded.plus(FARTHEST))),
        None => recorded,
    }
}
