//! What a fault did to the applications of one pool, measured from their records, beside what was promised.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;

use crate::judge::{self, Belief, Event, Limit, Millis, Record};

/// A holder's renewals are this far apart when nothing is wrong: a third of a ttl of 30 s.
const RENEWAL: Millis = 10_000;

/// A seat that is given back is taken by the next one within this time.
const TURN: Millis = 2_000;

/// The longest that each may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Between two renewals of anybody.
    pub(crate) renewals: Millis,
    /// Between two new seats of anybody, while there is room.
    pub(crate) checkouts: Millis,
    /// That a limit which is wanted by more than it has is not used in full.
    pub(crate) whole: Millis,
    /// A checkout from call to answer, of 99 in 100.
    pub(crate) checkout_p99: Option<Millis>,
    /// Clients that lose their seats.
    pub(crate) lost: usize,
}

impl Bounds {
    pub(crate) const fn new(renewals: Millis, checkouts: Millis, whole: Millis) -> Self {
        Self { renewals, checkouts, whole, checkout_p99: None, lost: 0 }
    }
}

/// A fault that befell a pool: when it began, and until when it is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case<'a> {
    pub(crate) fault: &'a str,
    pub(crate) pool: &'a str,
    pub(crate) begun: Millis,
    /// Until when there was room for new seats, and from when on the pool was wanted by more than it has. None: it was
    /// all the time.
    pub(crate) flood: Option<(Millis, Millis)>,
    pub(crate) end: Millis,
    pub(crate) bounds: Bounds,
}

/// What a fault did.
struct Figures<'a> {
    /// The longest time in which nobody was renewed, and by which one client was renewed later than usual.
    renewals: Millis,
    one_client: Millis,
    /// The longest time in which nobody got a seat.
    checkouts: Millis,
    /// A checkout from call to answer, of 99 in 100; None: there was none.
    p99: Option<Millis>,
    /// Until the last time that seats were wanted and not all in use, turns aside.
    whole: Millis,
    lost: Vec<&'a Belief>,
    /// Calls that failed with all their retries.
    failed: Vec<&'a str>,
}

/// A row for docs/reliability.md, and all that was not as promised.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<String>,
    broken: Vec<String>,
}

/// The records of one pool, and what they say.
pub(crate) struct Evidence<'a> {
    records: &'a [Record],
    beliefs: Vec<Belief>,
    limits: Vec<Limit>,
}

impl<'a> Evidence<'a> {
    /// Of what happened until `end`: the logs of two applications do not end in the same moment.
    pub(crate) fn new(pool: &Value, records: &'a [Record], end: Millis) -> Self {
        let mut beliefs = judge::beliefs(records);
        beliefs.retain(|belief| belief.from < end);
        beliefs.iter_mut().for_each(|belief| belief.to = belief.to.min(end));
        Self { records, beliefs, limits: judge::limits(pool) }
    }

    fn figures(&self, case: &Case<'_>) -> Figures<'_> {
        let Case { begun, flood, end, .. } = *case;
        let moments = |what: fn(&Event) -> bool| judge::moments(self.records, |record| what(&record.event));
        let renewed = moments(|event| matches!(event, Event::Renewed { .. }));
        let given = moments(|event| matches!(event, Event::Held { .. }));
        let (room_until, wanted_from) = flood.unwrap_or((end, begun));
        let room = begun..room_until;
        let wanted_from = |limit: &Limit| if limit.feature.is_some() { begun } else { wanted_from };
        // A seat of a feature is one of the pool, too: while the pool is full, nobody can have it.
        let of_pool = self.limits.iter().find(|limit| limit.feature.is_none());
        let free = of_pool.map_or(vec![(begun, end)], |pool| pool.below(&self.beliefs, begun, end));
        let below =
            |limit: &Limit| judge::common(&limit.below(&self.beliefs, wanted_from(limit), end), &free);
        let ends =
            self.limits.iter().flat_map(below).filter(|(begin, end)| end - begin > TURN).map(|(_, end)| end);
        let lost = |belief: &&Belief| belief.lost.is_some() && (begun..end).contains(&belief.to);
        Figures {
            renewals: judge::longest_without(&renewed, begun, end),
            one_client: longest_wait(self.records, begun, end),
            checkouts: judge::longest_without(&given, room.start, room.end),
            p99: judge::percentile(&checkout_times(self.records, &room), 99),
            whole: ends.max().unwrap_or(begun) - begun,
            lost: self.beliefs.iter().filter(lost).collect(),
            failed: failures(self.records, &(begun..end)),
        }
    }
}

impl Report {
    /// Judges the whole time of a pool: never a seat too many of any limit. So many limits must have been used in full:
    /// of others, that says nothing.
    pub(crate) fn judge(&mut self, pool: &str, evidence: &Evidence<'_>, full: usize) {
        let mut were_full = 0;
        for limit in &evidence.limits {
            let (most, cap) = (limit.most(&evidence.beliefs), limit.cap);
            were_full += usize::from(most >= cap);
            if most > cap {
                let of = limit.feature.as_deref().unwrap_or("the pool");
                self.broken.push(format!("{pool}: {most} seats of {of} were believed in, of {cap}"));
            }
        }
        if were_full != full {
            self.broken
                .push(format!("{pool}: {were_full} limits were ever used in full, and {full} are tested"));
        }
    }

    /// Measures a fault, and compares it with what was promised.
    pub(crate) fn measure(&mut self, case: &Case<'_>, evidence: &Evidence<'_>) {
        let Case { fault, pool, begun, bounds, .. } = *case;
        let figures = evidence.figures(case);
        let p99 = figures.p99.map_or("none".into(), |p99| format!("{p99} ms"));
        self.rows.push(format!(
            "| {fault} ({pool}) | {} | {} | {} | {p99} | {} | {} | {} |",
            seconds(figures.renewals),
            seconds(figures.one_client),
            seconds(figures.checkouts),
            seconds(figures.whole),
            figures.lost.len(),
            figures.failed.len(),
        ));
        let mut broken = |what: String| self.broken.push(format!("{fault} ({pool}): {what}"));
        for (what, took, bound) in [
            ("nobody was renewed", figures.renewals, bounds.renewals),
            ("nobody got a seat", figures.checkouts, bounds.checkouts),
            ("not all seats were in use", figures.whole, bounds.whole),
        ] {
            if took > bound {
                broken(format!("{what} for {}, and {} is the most", seconds(took), seconds(bound)));
            }
        }
        if let Some(bound) = bounds.checkout_p99 {
            if figures.p99.is_none_or(|p99| p99 > bound) {
                broken(format!("99 in 100 checkouts took {p99}, and {bound} ms is the most"));
            }
            if let Some(first) = figures.failed.first() {
                broken(format!("{} calls failed with all retries: {first}", figures.failed.len()));
            }
        }
        let lost = if figures.lost.len() > bounds.lost { figures.lost } else { Vec::new() };
        for belief in lost {
            let (after, why) =
                (seconds(belief.to.saturating_sub(begun)), belief.lost.as_deref().unwrap_or_default());
            broken(format!("{} lost its seat {after} after the begin: {why}", belief.worker));
        }
    }

    /// Prints the table; fails where something was not as promised.
    pub(crate) fn conclude(self) {
        println!(
            "| fault (pool) | no renewals | longest wait of one client | no new seats | p99 of a checkout | whole again after | lost | failed |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        self.rows.iter().for_each(|row| println!("{row}"));
        assert!(self.broken.is_empty(), "{:#?}", self.broken);
    }
}

fn seconds(millis: Millis) -> String {
    format!("{}.{} s", millis / 1_000, millis % 1_000 / 100)
}

/// How long meters waited for seats that they asked for in that time.
fn checkout_times(records: &[Record], when: &Range<Millis>) -> Vec<Millis> {
    let meters = records.iter().filter(|record| record.worker.starts_with("meter"));
    let took = meters.filter_map(|record| match record.event {
        Event::Held { took, .. } => Some((record.t.saturating_sub(took), took)),
        _ => None,
    });
    took.filter(|(asked, _)| when.contains(asked)).map(|(_, took)| took).collect()
}

/// How much later than usual a client's renewal was answered, at most.
fn longest_wait(records: &[Record], from: Millis, to: Millis) -> Millis {
    let mut last: BTreeMap<&str, Millis> = BTreeMap::new();
    let mut longest = 0;
    for record in records {
        let renewed = matches!(record.event, Event::Renewed { .. });
        if !renewed && !matches!(record.event, Event::Held { .. }) {
            continue;
        }
        let before =
            last.insert(&record.worker, record.t).filter(|before| renewed && record.t > from && *before < to);
        longest = longest.max(before.map_or(0, |before| (record.t - before).saturating_sub(RENEWAL)));
    }
    longest
}

fn failures<'a>(records: &'a [Record], when: &Range<Millis>) -> Vec<&'a str> {
    let inside = records.iter().filter(|record| when.contains(&record.t));
    let why = inside.filter_map(|record| match &record.event {
        Event::Failed { why, .. } => Some(&**why),
        _ => None,
    });
    why.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(t: Millis, worker: &str, event: Event) -> Record {
        Record { t, worker: worker.into(), feature: "a".into(), event }
    }

    /// Of two seats, one is lost at 20 s, a third is given at 5 s, and one is renewed after 12 s.
    fn report(pool: &str, bounds: Bounds) -> Report {
        let held = |until| Event::Held { until, took: 1_500 };
        let records = [
            record(1_000, "holder-1", held(28_000)),
            record(2_500, "meter-2", held(60_000)),
            record(5_000, "holder-3", held(29_000)),
            record(13_000, "holder-3", Event::Renewed { until: 60_000 }),
            record(20_000, "holder-1", Event::Lost { why: "it ran out".into() }),
            record(21_000, "meter-2", Event::Failed { why: "no answer".into(), took: 20_000 }),
        ];
        let pool = serde_json::from_str(pool).unwrap();
        let evidence = Evidence::new(&pool, &records, 40_000);
        let mut report = Report::default();
        let case = Case { fault: "fault", pool: "p", begun: 0, flood: None, end: 30_000, bounds };
        report.measure(&case, &evidence);
        report.judge("p", &evidence, 1);
        report
    }

    #[test]
    fn all_that_was_not_as_promised_is_told() {
        let bounds = Bounds { checkout_p99: Some(1_400), ..Bounds::new(16_999, 24_999, 2_499) };
        let Report { rows, broken } = report(r#"{"spec": {"seats": 2}}"#, bounds);
        assert_eq!(rows, ["| fault (p) | 17.0 s | 0.0 s | 25.0 s | 1500 ms | 2.5 s | 1 | 1 |"]);
        let told = [
            "nobody was renewed for 17.0 s",
            "nobody got a seat for 25.0 s",
            "not all seats were in use for 2.5 s",
            "99 in 100 checkouts took 1500 ms",
            "1 calls failed with all retries: no answer",
            "holder-1 lost its seat 20.0 s after the begin: it ran out",
            "p: 3 seats of the pool were believed in, of 2",
        ];
        assert_eq!(broken.len(), told.len(), "{broken:#?}");
        for (what, told) in broken.iter().zip(told) {
            assert!(what.contains(told), "{what} is not: {told}");
        }
    }

    #[test]
    fn what_was_as_promised_is_no_news_but_for_the_seat_that_was_lost_and_the_limit_that_was_not_tested() {
        let broken = report(r#"{"spec": {"seats": 4}}"#, Bounds::new(17_000, 25_000, 30_000)).broken;
        assert_eq!(broken.len(), 2, "{broken:#?}");
        assert!(broken[0].contains("lost its seat") && broken[1].contains("0 limits"), "{broken:#?}");
    }
}
