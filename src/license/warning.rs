//! What is told of an end before it comes, and while a grace period lasts. Pure.
//!
//! A text changes only at the configured times, so whoever tells each new text tells it once at each of them.

use std::fmt;

use jiff::Timestamp;

use crate::api::{ApiDuration, Validity};

/// Where nothing is said: time to buy, to ask again, and the last day.
const DEFAULT_TIMES: [ApiDuration; 3] = [
    ApiDuration::from_secs(720 * 3600),
    ApiDuration::from_secs(168 * 3600),
    ApiDuration::from_secs(24 * 3600),
];

/// An end that is near, or has come and leaves a grace period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nearing {
    /// It comes.
    Ends {
        /// When.
        end: Timestamp,
        /// The shortest of the warning times that have come.
        within: ApiDuration,
    },
    /// It has come, and what ended still works.
    Grace {
        /// When it came.
        ended: Timestamp,
        /// Until when it works.
        until: Timestamp,
    },
}

impl Nearing {
    /// What is to be told of `validity` at `now`, with these warning times.
    fn of(validity: &Validity, times: &[ApiDuration], now: Timestamp) -> Option<Self> {
        let ended = validity.not_after.as_ref()?.0;
        if now < ended {
            return Self::of_end(ended, times, now);
        }
        let until = ended.checked_add(validity.grace_period?.get()).ok()?;
        (now < until).then_some(Nearing::Grace { ended, until })
    }

    /// What is to be told of the end of a grant.
    pub fn of_grant(grant: &Validity, pool: &Validity, now: Timestamp) -> Option<Self> {
        Self::of(grant, warning_times(Some(grant), pool), now)
    }

    /// What is to be told of the end of a pool.
    pub fn of_pool(pool: &Validity, now: Timestamp) -> Option<Self> {
        Self::of(pool, warning_times(None, pool), now)
    }

    /// What is to be told of a bare end.
    pub fn of_end(end: Timestamp, times: &[ApiDuration], now: Timestamp) -> Option<Self> {
        let begun =
            |before: &&ApiDuration| now < end && begin(end, **before).is_some_and(|begin| begin <= now);
        times.iter().filter(begun).min().map(|within| Nearing::Ends { end, within: *within })
    }
}

impl fmt::Display for Nearing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Nearing::Ends { end, within } => write!(f, "ends within {}, on {end}", Days(*within)),
            Nearing::Grace { ended, until } => write!(f, "ended on {ended} and works until {until}"),
        }
    }
}

/// The warning times of a grant, or of a pool by itself (`of_grant` is empty then).
pub fn warning_times<'a>(of_grant: Option<&'a Validity>, of_pool: &'a Validity) -> &'a [ApiDuration] {
    let own = of_grant.and_then(|validity| validity.expiry_warnings.as_deref());
    own.or(of_pool.expiry_warnings.as_deref()).unwrap_or(&DEFAULT_TIMES)
}

/// When what is told of `end` changes before it.
pub fn warning_moments(end: Timestamp, times: &[ApiDuration]) -> impl Iterator<Item = Timestamp> {
    times.iter().filter_map(move |before| begin(end, *before))
}

fn begin(end: Timestamp, before: ApiDuration) -> Option<Timestamp> {
    end.checked_sub(before.get()).ok()
}

/// Whole days as days, anything else as it is written.
struct Days(ApiDuration);

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAY_MILLIS: u128 = 86_400_000;
        let millis = self.0.get().as_millis();
        match (millis / DAY_MILLIS, millis % DAY_MILLIS) {
            (1, 0) => f.write_str("a day"),
            (days, 0) => write!(f, "{days} days"),
            _ => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn validity() -> Validity {
        serde_json::from_str(r#"{"notAfter": "2030-03-01T00:00:00Z", "gracePeriod": "48h"}"#).unwrap()
    }

    #[test]
    fn the_text_changes_at_each_time_and_with_the_end_and_at_no_other() {
        let validity = validity();
        let times = warning_times(None, &validity);
        let told = |now| Nearing::of(&validity, times, at(now)).map(|nearing| nearing.to_string());
        let ends = |within: &str| Some(format!("ends within {within}, on 2030-03-01T00:00:00Z"));
        for (now, text) in [
            ("2030-01-29T23:59:59Z", None),
            ("2030-01-30T00:00:00Z", ends("30 days")),
            ("2030-02-21T23:59:59Z", ends("30 days")),
            ("2030-02-22T00:00:00Z", ends("7 days")),
            ("2030-02-28T00:00:00Z", ends("a day")),
            ("2030-02-28T23:59:59Z", ends("a day")),
            (
                "2030-03-01T00:00:00Z",
                Some("ended on 2030-03-01T00:00:00Z and works until 2030-03-03T00:00:00Z".to_owned()),
            ),
            ("2030-03-03T00:00:00Z", None),
        ] {
            assert_eq!(told(now), text, "{now}");
        }
    }

    #[test]
    fn a_grant_has_its_own_times_or_its_pools_and_none_where_it_says_so() {
        let times = |text: &str| -> Validity { serde_json::from_str(text).unwrap() };
        let (plain, never) = (times("{}"), times(r#"{"expiryWarnings": []}"#));
        let pool = times(r#"{"expiryWarnings": ["36h"]}"#);
        assert_eq!(warning_times(Some(&plain), &pool), ["36h".parse().unwrap()]);
        assert!(warning_times(Some(&never), &pool).is_empty());
        assert_eq!(warning_times(Some(&plain), &plain).len(), 3);
        let end = at("2030-03-01T00:00:00Z");
        let nearing = Nearing::of_end(end, warning_times(None, &pool), at("2030-02-28T00:00:00Z"));
        assert_eq!(nearing.unwrap().to_string(), "ends within 36h, on 2030-03-01T00:00:00Z");
    }
}
