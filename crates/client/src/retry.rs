//! When to try again: exponential, jittered, and never before the server's own wish.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(250);
/// A retry each five seconds is still several within the validity of any seat.
const LONGEST: Duration = Duration::from_secs(5);

/// A random fraction, so that clients that failed together do not come back together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Jitter(f64);

impl Jitter {
    pub(crate) fn random() -> Jitter {
        // Without a random source clients are merely less spread.
        Jitter(getrandom::u32().map_or(0.5, |bits| f64::from(bits) / f64::from(u32::MAX)))
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
        assert_eq!(pause(u32::MAX, None, most), Duration::from_secs(5));
    }

    #[test]
    fn the_wish_of_the_server_is_never_undercut() {
        let wish = Duration::from_secs(8);
        assert!(pause(0, Some(wish), Jitter::fixed(0.0)) >= wish);
        assert_eq!(pause(9, Some(wish), Jitter::fixed(1.0)), Duration::from_secs(10));
        assert_eq!(pause(0, Some(Duration::MAX), Jitter::fixed(1.0)), Duration::MAX);
    }
}
