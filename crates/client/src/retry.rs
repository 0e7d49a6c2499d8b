//! When to try again: exponential, jittered, and never before the server's own wish.

use std::time::Duration;

use crate::chance::Chance;

const FIRST: Duration = Duration::from_millis(250);
/// What a server that is back may wait for its clients: little beside the 12 s of a takeover.
const LONGEST: Duration = Duration::from_secs(2);
/// For one attempt: another replica is asked after it; a server that waits through a takeover is asked again.
const LONGEST_ATTEMPT: Duration = Duration::from_secs(5);
/// A connection and an answer over a slow network.
const SHORTEST_ATTEMPT: Duration = Duration::from_secs(1);

/// A random fraction, so that clients that failed together do not come back together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Jitter(f64);

impl Jitter {
    pub(crate) fn drawn(chance: &dyn Chance) -> Jitter {
        Jitter(chance.fraction().clamp(0.0, 1.0))
    }

    #[cfg(test)]
    pub(crate) const fn fixed(fraction: f64) -> Jitter {
        Jitter(fraction)
    }

    /// Between `low` times the duration and all of it.
    pub(crate) fn shorten(self, duration: Duration, low: f64) -> Duration {
        duration.mul_f64(low + (1.0 - low) * self.0)
    }
}

/// How long one attempt may take of the time that is left: never so much that a replica that hangs is the last one
/// that is asked, while there is time for two.
pub(crate) fn attempt_limit(left: Duration) -> Duration {
    (left / 2).clamp(SHORTEST_ATTEMPT, LONGEST_ATTEMPT).min(left)
}

/// The wait before retry `attempt`, counted from 0.
pub(crate) fn pause(attempt: u32, server_says: Option<Duration>, jitter: Jitter) -> Duration {
    let backoff = FIRST.saturating_mul(1 << attempt.min(10)).min(LONGEST);
    let backoff = jitter.shorten(backoff, 0.5);
    match server_says {
        // Spread after the wished moment, never before it.
        Some(wish) => wish.saturating_add(backoff.min(wish / 4)),
        None => backoff,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_bound_and_are_jittered() {
        let (least, most) = (Jitter::fixed(0.0), Jitter::fixed(1.0));
        assert_eq!(pause(0, None, most), Duration::from_millis(250));
        assert_eq!(pause(0, None, least), Duration::from_millis(125));
        assert_eq!(pause(3, None, most), Duration::from_secs(2));
        assert_eq!(pause(u32::MAX, None, most), Duration::from_secs(2));
    }

    #[test]
    fn an_attempt_leaves_time_for_another() {
        let s = Duration::from_secs;
        assert_eq!(attempt_limit(s(40)), s(5));
        assert_eq!(attempt_limit(s(6)), s(3));
        assert_eq!(attempt_limit(Duration::from_millis(1500)), s(1));
        assert_eq!(attempt_limit(Duration::from_millis(700)), Duration::from_millis(700));
        assert_eq!(attempt_limit(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn the_wish_of_the_server_is_never_undercut() {
        let wish = Duration::from_secs(8);
        assert!(pause(0, Some(wish), Jitter::fixed(0.0)) >= wish);
        assert_eq!(pause(9, Some(wish), Jitter::fixed(1.0)), Duration::from_secs(10));
        assert_eq!(pause(0, Some(Duration::MAX), Jitter::fixed(1.0)), Duration::MAX);
    }
}
