//! Judges seats from the applications' own records (app/record.rs): how many were believed in at once, who lost one, and
//! for how long nobody was renewed or got a new one. Pure.

#[path = "app/record.rs"]
mod record;

use std::collections::BTreeMap;

use serde_json::Value;

pub(crate) use record::{Event, Record};

/// Milliseconds on the one clock of all nodes.
pub(crate) type Millis = u64;

/// A stretch of time in which one worker believed in one seat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Belief {
    pub(crate) worker: String,
    pub(crate) feature: String,
    pub(crate) from: Millis,
    pub(crate) to: Millis,
    /// Why it ended where the worker did not want it.
    pub(crate) lost: Option<String>,
}

/// A cap of a pool, and the sessions that it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    /// None: all sessions of the pool.
    pub(crate) feature: Option<String>,
    pub(crate) cap: usize,
}

/// The caps that a LicensePool states: its own, and those of its features.
pub(crate) fn limits(pool: &Value) -> Vec<Limit> {
    let cap = |seats: &Value| seats.as_u64().and_then(|seats| usize::try_from(seats).ok());
    let of_pool = cap(&pool["spec"]["seats"]).map(|cap| Limit { feature: None, cap });
    let features = pool["spec"]["features"].as_array().into_iter().flatten();
    let of_features = features.filter_map(|feature| {
        let name = feature["name"].as_str()?.to_owned();
        Some(Limit { feature: Some(name), cap: cap(&feature["seats"])? })
    });
    of_pool.into_iter().chain(of_features).collect()
}

/// Reads the records of one or more applications. A line that is none is an error: a record that is not understood
/// would be a seat that is not counted.
pub(crate) fn records(log: &str) -> Vec<Record> {
    log.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

/// What the workers believed. A seat that nothing is said of any more is believed in to the end that was said last.
pub(crate) fn beliefs(records: &[Record]) -> Vec<Belief> {
    let mut done = Vec::new();
    let mut open: BTreeMap<&str, Belief> = BTreeMap::new();
    for record in records {
        match &record.event {
            Event::Held { until, .. } => {
                let (worker, feature) = (record.worker.clone(), record.feature.clone());
                let belief = Belief { worker, feature, from: record.t, to: *until, lost: None };
                done.extend(open.insert(&record.worker, belief));
            }
            Event::Renewed { until } => {
                if let Some(belief) = open.get_mut(&*record.worker) {
                    belief.to = belief.to.max(*until);
                }
            }
            Event::GivenBack | Event::Lost { .. } => {
                if let Some(mut belief) = open.remove(&*record.worker) {
                    belief.to = belief.to.min(record.t);
                    if let Event::Lost { why } = &record.event {
                        belief.lost = Some(why.clone());
                    }
                    done.push(belief);
                }
            }
            _ => {}
        }
    }
    done.extend(open.into_values());
    done
}

impl Limit {
    fn counts(&self, belief: &Belief) -> bool {
        self.feature.as_ref().is_none_or(|feature| *feature == belief.feature)
    }

    /// How many seats were believed in, from each moment to the next: a sweep over all begins and ends. A seat that
    /// ends in the moment in which another begins does not overlap it.
    pub(crate) fn sweep(&self, beliefs: &[Belief]) -> Vec<(Millis, usize)> {
        let counted = beliefs.iter().filter(|belief| self.counts(belief) && belief.from < belief.to);
        let mut moments: Vec<(Millis, bool)> =
            counted.flat_map(|belief| [(belief.from, true), (belief.to, false)]).collect();
        moments.sort_unstable();
        let mut now = 0;
        let mut steps: Vec<(Millis, usize)> = Vec::new();
        for (at, begins) in moments {
            now = if begins { now + 1 } else { now - 1 };
            steps.push((at, now));
        }
        steps
    }

    /// The most at any moment.
    pub(crate) fn most(&self, beliefs: &[Belief]) -> usize {
        self.sweep(beliefs).into_iter().map(|(_, count)| count).max().unwrap_or(0)
    }

    /// The stretches between two moments in which fewer than the cap were believed in: their begins and ends.
    pub(crate) fn below(&self, beliefs: &[Belief], from: Millis, to: Millis) -> Vec<(Millis, Millis)> {
        let mut stretches = Vec::new();
        let mut since = Some(from);
        for (at, count) in self.sweep(beliefs).into_iter().chain([(to, self.cap)]) {
            let at = at.clamp(from, to);
            if count < self.cap {
                since = since.or(Some(at));
            } else {
                stretches.extend(since.take().map(|since| (since, at)).filter(|(begin, end)| begin < end));
            }
        }
        stretches
    }
}

/// What two series of stretches have in common.
pub(crate) fn common(one: &[(Millis, Millis)], other: &[(Millis, Millis)]) -> Vec<(Millis, Millis)> {
    let pairs =
        one.iter().flat_map(|one| other.iter().map(move |other| (one.0.max(other.0), one.1.min(other.1))));
    pairs.filter(|(begin, end)| begin < end).collect()
}

/// The moments at which an event happened to anybody.
pub(crate) fn moments(records: &[Record], what: impl Fn(&Record) -> bool) -> Vec<Millis> {
    let mut moments: Vec<Millis> =
        records.iter().filter(|record| what(record)).map(|record| record.t).collect();
    moments.sort_unstable();
    moments
}

/// The longest time between two of these moments, in a window.
pub(crate) fn longest_without(moments: &[Millis], from: Millis, to: Millis) -> Millis {
    let inside = moments.iter().copied().filter(|at| (from..to).contains(at));
    let bounds: Vec<Millis> = [from].into_iter().chain(inside).chain([to]).collect();
    bounds.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
}

/// The value that `percent` of all do not exceed.
pub(crate) fn percentile(values: &[Millis], percent: usize) -> Option<Millis> {
    let mut values = values.to_vec();
    values.sort_unstable();
    let last = values.len().checked_sub(1)?;
    values.get((values.len() * percent).div_ceil(100).saturating_sub(1).min(last)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(t: Millis, worker: &str, feature: &str, event: &str) -> String {
        format!("{{\"t\":{t},\"worker\":\"{worker}\",\"feature\":\"{feature}\",{event}}}\n")
    }

    fn log(lines: &[(Millis, &str, &str, &str)]) -> Vec<Record> {
        records(
            &lines
                .iter()
                .map(|(t, worker, feature, event)| say(*t, worker, feature, event))
                .collect::<String>(),
        )
    }

    const HELD_TO_90: &str = r#""event":"held","until":90,"took":1"#;

    #[test]
    fn the_caps_are_those_of_the_pool_and_of_its_features() {
        let pool =
            serde_json::json!({"spec": {"seats": 3, "features": [{"name": "a"}, {"name": "b", "seats": 1}]}});
        let expected = [Limit { feature: None, cap: 3 }, Limit { feature: Some("b".into()), cap: 1 }];
        assert_eq!(limits(&pool), expected);
    }

    #[test]
    fn a_seat_is_believed_in_until_it_is_given_back_or_lost_or_runs_out() {
        let records = log(&[
            (10, "one", "a", HELD_TO_90),
            (20, "one", "a", r#""event":"renewed","until":120"#),
            (30, "two", "a", HELD_TO_90),
            (40, "two", "a", r#""event":"given_back""#),
            (41, "two", "a", r#""event":"returned","took":1"#),
            (50, "three", "b", HELD_TO_90),
            (95, "three", "b", r#""event":"lost","why":"it ran out""#),
        ]);
        let mut ends: Vec<_> =
            beliefs(&records).into_iter().map(|belief| (belief.from, belief.to, belief.lost)).collect();
        ends.sort();
        assert_eq!(ends, [(10, 120, None), (30, 40, None), (50, 90, Some("it ran out".into()))]);
    }

    #[test]
    fn an_overlap_is_seen_for_the_limit_that_counts_it_and_a_handover_in_one_moment_is_none() {
        let records = log(&[
            (10, "one", "a", HELD_TO_90),
            (20, "two", "b", HELD_TO_90),
            (30, "two", "b", r#""event":"given_back""#),
            (30, "three", "b", HELD_TO_90),
        ]);
        let beliefs = beliefs(&records);
        assert_eq!(Limit { feature: None, cap: 9 }.most(&beliefs), 2);
        assert_eq!(Limit { feature: Some("b".into()), cap: 9 }.most(&beliefs), 1);
        assert_eq!(Limit { feature: Some("c".into()), cap: 9 }.most(&beliefs), 0);
    }

    #[test]
    fn the_times_below_the_cap_are_found_inside_a_window() {
        let records = log(&[
            (10, "one", "a", HELD_TO_90),
            (20, "one", "a", r#""event":"given_back""#),
            (20, "two", "a", HELD_TO_90),
            (30, "two", "a", r#""event":"given_back""#),
            (60, "one", "a", HELD_TO_90),
        ]);
        let (beliefs, limit) = (beliefs(&records), Limit { feature: None, cap: 1 });
        assert_eq!(limit.below(&beliefs, 0, 90), [(0, 10), (30, 60)]);
        assert_eq!(limit.below(&beliefs, 12, 50), [(30, 50)]);
        assert_eq!(limit.below(&beliefs, 12, 28), []);
        assert_eq!(limit.below(&beliefs, 12, 200), [(30, 60), (90, 200)]);
        assert_eq!(limit.below(&[], 5, 50), [(5, 50)]);
    }

    #[test]
    fn what_is_common_to_two_series_lies_in_both() {
        assert_eq!(common(&[(0, 10), (20, 30)], &[(5, 22), (25, 40)]), [(5, 10), (20, 22), (25, 30)]);
        assert_eq!(common(&[(0, 10)], &[(10, 20)]), []);
        assert_eq!(common(&[(0, 10)], &[]), []);
    }

    #[test]
    fn the_longest_silence_counts_from_the_begin_and_to_the_end_of_its_window() {
        assert_eq!(longest_without(&[5, 12, 40, 45], 10, 50), 28);
        assert_eq!(longest_without(&[5, 60], 10, 50), 40);
        assert_eq!(percentile(&(1..=200).collect::<Vec<_>>(), 99), Some(198));
        assert_eq!(percentile(&[7], 99), Some(7));
        assert_eq!(percentile(&[], 99), None);
    }
}
