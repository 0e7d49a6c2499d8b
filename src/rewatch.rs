//! When a watch of the API server that broke is begun again: soon, since a replica that does not see who owns a ledger
//! cannot pass calls on, and an operator that does not see ledgers cannot tell that they were set back (R11). Not all at
//! once, since an API server that is back has enough to do. (kube's own pause grows to a minute.)

use std::time::Duration;

use kube::runtime::utils::Backoff;

/// Between one and two of these.
const PAUSE: Duration = Duration::from_secs(1);

/// The pauses of one watch.
pub(crate) struct Again;

impl Iterator for Again {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let chance = getrandom::u32().map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX));
        Some(PAUSE.mul_f64(1.0 + chance))
    }
}

impl Backoff for Again {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_is_begun_again_within_two_seconds_however_often_it_broke() {
        let pauses: Vec<Duration> = Again.take(100).collect();
        assert!(pauses.iter().all(|pause| (PAUSE..=PAUSE * 2).contains(pause)), "{pauses:?}");
        assert!(pauses.iter().any(|pause| *pause != pauses[0]), "not all at once: {pauses:?}");
    }
}
