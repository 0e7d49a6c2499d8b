//! What this process ever saw of each ledger, to notice one that was set back. The plan and the pool's status remember the
//! highest generation, too; but an etcd that is restored sets them back together with the ledger, and only a process that
//! ran before notices (R11).

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use genie_ledger::{MAX_SETTING_DURATION, Nonce, Record};
use jiff::{SignedDuration, Timestamp};

use crate::{api::ApiDuration, compile::ObjectName};

/// Far above any real number of ledgers; of more, the plan and the status alone remember.
const MOST: usize = 10_000;
/// An owner that lives finds its ledger set back within seconds and writes its newest record again; after that it is taken
/// for gone. Shorter than others leave its Lease alone.
const HEALED_WITHIN: SignedDuration = SignedDuration::from_secs(8);

/// See the module. Outlives the terms of a leader.
#[derive(Default)]
pub struct Generations(Mutex<HashMap<ObjectName, Known>>);

/// The lowest generation that a ledger can have, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Least {
    /// It.
    pub generation: u64,
    /// When to look again, though nothing changes: the ledger was set back, and its owner may still mend that.
    pub again: Option<Timestamp>,
    /// The longest horizon recorded of what may be out, where the record that is there now is below the least.
    pub longest_horizon: Option<ApiDuration>,
}

/// What is on record elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The highest generation.
    pub generation: u64,
    /// The longest horizon, where the plan says one.
    pub longest_horizon: Option<ApiDuration>,
}

impl Told {
    /// Nothing else is known.
    pub fn alone(self, recorded: u64) -> Least {
        let Self { generation, longest_horizon } = self;
        let longest_horizon = longest_horizon.filter(|_| recorded < generation);
        Least { generation: generation.max(recorded), again: None, longest_horizon }
    }
}

/// The newest record that was seen.
#[derive(Default)]
struct Known {
    least: u64,
    newest: Option<(u64, Nonce, u64)>,
    /// The longest horizon recorded of what may be out.
    horizon: Duration,
    /// The ledger shows something else than the newest record of its generation since then.
    behind: Option<Timestamp>,
}

impl Known {
    fn saw(&mut self, record: &Record, now: Timestamp) -> Option<Timestamp> {
        let (generation, seq) = (record.generation.0, record.seq);
        let newest = self.newest.clone().filter(|(newest, ..)| *newest >= generation);
        self.note_horizon(record, newest.as_ref());
        match &newest {
            Some((newest, ..)) if *newest > generation => return None,
            // Two owners of one generation: what the first promised is lost.
            Some((_, nonce, _)) if *nonce != record.holder.nonce => {
                self.behind.get_or_insert(now);
                self.raise(generation + 1);
            }
            Some((.., newest)) if seq < *newest => {
                let until = *self.behind.get_or_insert(now) + HEALED_WITHIN;
                if now < until {
                    return Some(until);
                }
                self.raise(generation + 1);
            }
            // Who took a ledger over while it was set back, and was not told of it, took too little for promised. Who was
            // told leaves a generation out.
            None if self.behind.is_some() && self.follows(generation) => self.raise(generation + 1),
            _ => {}
        }
        if newest.is_none_or(|(_, nonce, newest)| nonce == record.holder.nonce && newest <= seq) {
            (self.newest, self.behind) = (Some((generation, record.holder.nonce.clone(), seq)), None);
        }
        None
    }

    /// A smaller one is recorded once nothing is out for longer: by the owner, and not in recovery. Who recovers for a
    /// shorter time was not told.
    fn note_horizon(&mut self, record: &Record, newest: Option<&(u64, Nonce, u64)>) {
        let (generation, horizon) = (record.generation.0, record.horizon());
        let goes_on = newest.is_some_and(|(newest, nonce, seq)| {
            *newest == generation && *nonce == record.holder.nonce && *seq <= record.seq
        });
        if goes_on && !record.recovering {
            self.horizon = horizon;
        } else if record.recovering && horizon < self.horizon && (goes_on || newest.is_none()) {
            self.raise(generation + 1);
        }
        self.horizon = self.horizon.max(horizon);
    }

    fn raise(&mut self, least: u64) {
        self.least = self.least.max(least);
    }

    fn follows(&self, generation: u64) -> bool {
        self.newest.as_ref().is_some_and(|(newest, ..)| newest + 1 == generation)
    }
}

impl Generations {
    /// `record` is what the ledger says now.
    pub fn saw(&self, ledger: ObjectName, told: Told, record: Option<&Record>, now: Timestamp) -> Least {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recorded = record.map_or(0, |record| record.generation.0);
        if all.len() >= MOST && !all.contains_key(&ledger) {
            return told.alone(recorded);
        }
        let known = all.entry(ledger).or_default();
        known.least = known.least.max(told.generation).max(recorded);
        known.horizon = known.horizon.max(told.longest_horizon.map_or(Duration::ZERO, ApiDuration::get));
        let again = record.and_then(|record| known.saw(record, now));
        let lost = recorded < known.least && !known.horizon.is_zero();
        Least { generation: known.least, again, longest_horizon: lost.then(|| planned(known.horizon)) }
    }

    /// The ledger is let go, and with it what was given: another of its name is new.
    pub fn forget(&self, ledger: &ObjectName) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(ledger);
    }
}

/// No plan that can be served has more.
fn planned(horizon: Duration) -> ApiDuration {
    ApiDuration::from_millis(horizon.min(MAX_SETTING_DURATION).as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn watched_record(generation: u64, nonce: &str, seq: u64) -> Record {
        let holder =
            json!({"nonce": nonce, "podUid": "", "podName": "", "node": "", "address": "", "started": 0});
        let record = json!({
            "generation": generation, "holder": holder, "seq": seq, "recovering": false, "horizonMs": 1, "ttlMs": 1,
        });
        serde_json::from_value(record).unwrap()
    }

    /// What this process saw of one ledger, at the given seconds.
    struct Watched(Generations);

    impl Watched {
        fn new() -> Self {
            Self(Generations::default())
        }

        fn name() -> ObjectName {
            ObjectName { namespace: "a".into(), name: "cad".into() }
        }

        /// The generation, the second of the next look, or 0.
        fn saw(&self, second: i64, told: u64, record: Option<(u64, &str, u64)>) -> (u64, i64) {
            let record = record.map(|(generation, nonce, seq)| watched_record(generation, nonce, seq));
            let now = Timestamp::from_second(second).unwrap();
            let told = Told { generation: told, longest_horizon: None };
            let least = self.0.saw(Self::name(), told, record.as_ref(), now);
            (least.generation, least.again.map_or(0, |again| again.as_second()))
        }
    }

    #[test]
    fn the_highest_generation_stays_until_the_ledger_is_let_go() {
        let all = Watched::new();
        assert_eq!(all.saw(1, 7, Some((5, "a", 9))), (7, 0));
        assert_eq!(all.saw(2, 0, Some((8, "b", 10))), (8, 0));
        assert_eq!(all.saw(3, 2, Some((3, "a", 4))), (8, 0));
        assert_eq!(all.saw(4, 2, None), (8, 0));
        all.0.forget(&Watched::name());
        assert_eq!(all.saw(5, 1, None), (1, 0));
    }

    #[test]
    fn a_second_owner_of_a_generation_is_below_the_least_and_its_successor_is_not() {
        let all = Watched::new();
        assert_eq!(all.saw(1, 0, Some((3, "a", 9))), (3, 0));
        assert_eq!(all.saw(2, 0, Some((2, "z", 5))), (3, 0), "set back to before it");
        assert_eq!(all.saw(3, 0, Some((3, "b", 6))), (4, 0), "and taken over from there");
        assert_eq!(all.saw(4, 4, Some((5, "c", 7))), (5, 0), "who was told leaves a generation out");
        assert_eq!(all.saw(5, 5, Some((5, "c", 8))), (5, 0));
    }

    #[test]
    fn who_takes_over_from_a_second_owner_before_it_was_told_is_below_the_least_too() {
        let all = Watched::new();
        all.saw(1, 0, Some((3, "a", 9)));
        assert_eq!(all.saw(2, 0, Some((3, "b", 6))), (4, 0));
        assert_eq!(all.saw(3, 4, Some((4, "c", 7))), (5, 0));
        assert_eq!(all.saw(4, 5, Some((6, "d", 8))), (6, 0));
    }

    fn of_horizon(horizon_ms: u64, record: Record) -> Record {
        Record { horizon_ms, ..record }
    }

    /// What is said of it, in milliseconds, and of the least generation.
    fn longest(all: &Generations, told: Told, record: Option<&Record>) -> (u64, Option<u128>) {
        let least = all.saw(Watched::name(), told, record, Timestamp::UNIX_EPOCH);
        (least.generation, least.longest_horizon.map(|longest| longest.get().as_millis()))
    }

    #[test]
    fn the_longest_horizon_of_what_may_be_out_is_said_while_the_ledger_is_below_the_least() {
        let all = Generations::default();
        let saw = |record: Option<&Record>| longest(&all, Told::default(), record);
        assert_eq!(saw(None), (0, None), "a ledger that is new");
        assert_eq!(saw(Some(&of_horizon(900, watched_record(1, "a", 1)))), (1, None));
        assert_eq!(
            saw(Some(&of_horizon(500, watched_record(1, "a", 2)))),
            (1, None),
            "its owner shortens it"
        );
        assert_eq!(saw(Some(&of_horizon(500, watched_record(2, "b", 3)))), (2, None));
        let older = of_horizon(100, watched_record(1, "z", 1));
        assert_eq!(saw(Some(&older)), (2, Some(500)), "set back");
        assert_eq!(saw(None), (2, Some(500)), "lost");
        let told = Told { generation: 2, longest_horizon: Some(ApiDuration::from_millis(500)) };
        assert_eq!(longest(&Generations::default(), told, Some(&older)), (2, Some(500)), "what a plan says");
        assert_eq!(saw(Some(&of_horizon(500, watched_record(3, "c", 4)))), (3, None), "and recovered");
    }

    #[test]
    fn who_recovers_for_a_shorter_time_than_what_may_be_out_is_below_the_least() {
        let all = Generations::default();
        let saw = |record: &Record| longest(&all, Told::default(), Some(record));
        let recovering = |horizon, record| Record { recovering: true, ..of_horizon(horizon, record) };
        saw(&of_horizon(500, watched_record(1, "a", 1)));
        saw(&of_horizon(100, watched_record(1, "a", 0)));
        assert_eq!(saw(&recovering(100, watched_record(2, "b", 1))), (3, Some(500)));
        assert_eq!(saw(&recovering(500, watched_record(4, "c", 2))), (4, None), "who was told");
        assert_eq!(saw(&recovering(600, watched_record(4, "c", 3))), (4, None));
        assert_eq!(
            saw(&of_horizon(100, watched_record(4, "c", 4))),
            (4, None),
            "shortened after its recovery"
        );
        assert_eq!(saw(&recovering(100, watched_record(5, "d", 5))), (5, None));
    }

    #[test]
    fn the_least_never_falls() {
        let all = Watched::new();
        assert_eq!(all.saw(1, 10, Some((5, "a", 9))), (10, 0));
        assert_eq!(all.saw(2, 10, Some((5, "b", 9))), (10, 0));
    }

    #[test]
    fn an_owner_has_time_to_write_again_what_was_set_back() {
        let all = Watched::new();
        all.saw(1, 0, Some((3, "a", 9)));
        assert_eq!(all.saw(10, 0, Some((3, "a", 7))), (3, 18));
        assert_eq!(all.saw(14, 0, Some((3, "a", 8))), (3, 18), "an older one yet");
        assert_eq!(all.saw(14, 0, Some((3, "a", 9))), (3, 0), "it is mended");
        assert_eq!(all.saw(20, 0, Some((3, "a", 7))), (3, 28), "another time");
        assert_eq!(all.saw(28, 0, Some((3, "a", 7))), (4, 0), "it is not");
        assert_eq!(
            all.saw(29, 4, Some((4, "b", 8))),
            (5, 0),
            "the next owner was quicker than what was said"
        );
        assert_eq!(all.saw(30, 5, Some((6, "c", 9))), (6, 0), "and the one after it was told");
    }
}
