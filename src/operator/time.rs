//! The one thing that is not watched: time. The next moment that matters → when to look again.

use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::controller::Action;

/// The scheduler cannot wait for years, and its clock is not the wall clock: a moment far away is looked at again daily,
/// which costs no request.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Looks again at `moment`, and not before.
pub fn requeue(now: Timestamp, moment: Option<Timestamp>) -> Action {
    match moment {
        Some(moment) => Action::requeue(until(now, moment)),
        None => Action::await_change(),
    }
}

fn until(now: Timestamp, moment: Timestamp) -> Duration {
    // A millisecond more, because at the moment itself the change must be there.
    let wait = moment.duration_since(now).max(jiff::SignedDuration::ZERO).unsigned_abs();
    (wait + Duration::from_millis(1)).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_moment_is_met_exactly_and_a_far_one_is_looked_at_again_in_a_day() {
        let now: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(until(now, "2030-01-01T00:00:10Z".parse().unwrap()), Duration::from_millis(10_001));
        assert_eq!(until(now, "2040-01-01T00:00:00Z".parse().unwrap()), LONGEST);
        assert_eq!(until(now, "2029-01-01T00:00:00Z".parse().unwrap()), Duration::from_millis(1));
    }
}
