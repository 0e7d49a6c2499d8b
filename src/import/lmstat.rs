//! Output of `lmstat -a` or `rlmstat -a` → use per feature, and how many seats a pool needs for it. The output may hold
//! several runs, one after another, as a log of them does: the peak is the largest of all.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::text::rows;

/// Features of one output.
const MAX_FEATURES: usize = 20_000;
/// Users that are told apart, of one feature.
const MAX_USERS: usize = 100_000;

/// Use of a feature.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Use {
    /// As the old server names it.
    pub feature: String,
    /// Seats that were bought; None: uncounted.
    pub issued: Option<u64>,
    /// Seats held, in the last run.
    pub in_use: u64,
    /// Seats that were waited for, in the last run.
    pub queued: u64,
    /// Seats reserved for somebody, in the last run.
    pub reserved: u64,
    /// Different users seen.
    pub users: usize,
    /// Most seats held and waited for at the time of one run.
    pub peak: u64,
    /// Seats for the pool: a fifth above the peak, within what was bought.
    pub suggested: u64,
}

#[derive(Default)]
struct Seen {
    now: Use,
    users: BTreeSet<String>,
}

/// The features in their order, and the numbers of lines that speak of use and are not understood.
pub fn lmstat(bytes: &[u8]) -> (Vec<Use>, Vec<u32>) {
    let text = super::text::decode(bytes);
    let mut reading = Reading::default();
    let mut not_understood = Vec::new();
    for (number, row) in (1..).zip(rows(&text)) {
        if reading.row(row.trim()).is_none() {
            not_understood.push(number);
        }
    }
    (reading.finish(), not_understood)
}

#[derive(Default)]
struct Reading {
    /// Places by name.
    known: BTreeMap<String, usize>,
    features: Vec<Seen>,
    current: Option<usize>,
    /// rlmstat names a feature on one line and counts it on the next.
    named: Option<String>,
}

impl Reading {
    /// None for a line that should tell of use and does not.
    fn row(&mut self, row: &str) -> Option<()> {
        if let Some(rest) = row.strip_prefix("Users of ") {
            self.current = None;
            let (name, rest) = rest.split_once(':')?;
            if rest.contains("Uncounted") {
                return self.begin(name, None, 0);
            }
            let issued = number_after(rest, "Total of ")?;
            let in_use = rest.split_once(';').and_then(|(_, rest)| number_after(rest, "Total of "))?;
            return self.begin(name, Some(issued), in_use);
        }
        if row.starts_with("count:") {
            self.current = None;
            let name = self.named.take()?;
            let issued = number_after(row, "count:")?;
            let reserved = number_after(row, "# reservations:").unwrap_or(0);
            self.begin(&name, Some(issued).filter(|&n| n > 0), number_after(row, "inuse:")?)?;
            self.current(|seen| seen.now.reserved += reserved);
            return Some(());
        }
        self.named = rlm_name(row);
        self.holder(row);
        Some(())
    }

    fn begin(&mut self, name: &str, issued: Option<u64>, in_use: u64) -> Option<()> {
        let name = name.trim();
        let at = match self.known.get(name) {
            Some(at) => *at,
            None if self.features.len() >= MAX_FEATURES => return None,
            None => {
                self.features.push(Seen::default());
                self.known.insert(name.to_owned(), self.features.len() - 1);
                self.features.len() - 1
            }
        };
        self.current = Some(at);
        self.current(|seen| {
            let peak = seen.now.peak.max(in_use);
            seen.now = Use { feature: name.to_owned(), issued, in_use, peak, ..Use::default() };
        });
        Some(())
    }

    fn current(&mut self, change: impl FnOnce(&mut Seen)) {
        if let Some(seen) = self.current.and_then(|at| self.features.get_mut(at)) {
            change(seen);
        }
    }

    /// Somebody who holds or waits for seats of the current feature.
    fn holder(&mut self, row: &str) {
        let user = row.split_whitespace().next().unwrap_or_default().to_owned();
        if let Some(reserved) = row.split_once(" RESERVATION").and_then(|(n, _)| n.trim().parse::<u64>().ok())
        {
            self.current(|seen| seen.now.reserved = seen.now.reserved.saturating_add(reserved));
        } else if let Some((_, rest)) = row.split_once(" queued for ") {
            let queued = rest.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(1);
            self.current(|seen| {
                seen.now.queued = seen.now.queued.saturating_add(queued);
                seen.now.peak = seen.now.peak.max(seen.now.in_use.saturating_add(seen.now.queued));
            });
        } else if row.contains(", start ") {
            self.current(|seen| {
                if seen.users.len() < MAX_USERS {
                    seen.users.insert(user);
                }
            });
        } else if let Some((feature, user)) =
            rlm_user(row).filter(|(feature, _)| self.known.contains_key(*feature))
        {
            let seen = self.known.get(feature).and_then(|at| self.features.get_mut(*at));
            if let Some(seen) = seen.filter(|seen| seen.users.len() < MAX_USERS) {
                seen.users.insert(user.to_owned());
            }
        }
    }

    fn finish(self) -> Vec<Use> {
        let finish = |Seen { now, users }: Seen| {
            let suggested = now.peak.saturating_add(now.peak.div_ceil(5)).max(1);
            Use {
                users: users.len(),
                suggested: now.issued.map_or(suggested, |issued| suggested.min(issued)),
                ..now
            }
        };
        self.features.into_iter().map(finish).collect()
    }
}

fn number_after(text: &str, word: &str) -> Option<u64> {
    let (_, rest) = text.split_once(word)?;
    let rest = rest.trim_start();
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse::<u32>().ok().map(u64::from)
}

/// `name v1.0`, alone on a line.
fn rlm_name(row: &str) -> Option<String> {
    let (name, version) = row.split_once(' ')?;
    let digits = version.trim().strip_prefix('v')?;
    digits.bytes().all(|c| c.is_ascii_digit() || c == b'.').then(|| name.to_owned())
}

/// `name v1.0: user@host 1/0 at ...`
fn rlm_user(row: &str) -> Option<(&str, &str)> {
    let (feature, rest) = row.split_once(" v")?;
    let (_, rest) = rest.split_once(": ")?;
    Some((feature, rest.split_once('@')?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = r#"lmstat - License status
Flexible License Manager status on Mon 6/1/2026 09:00
Users of Draw:  (Total of 10 licenses issued;  Total of 3 licenses in use)

  "Draw" v3.0, vendor: acmed, expiry: 31-dec-2027
  floating license

    ann ws01 /dev/pts/1 (v3.0) (lic01/27000 101), start Mon 6/1 8:12
    ann ws02 /dev/pts/1 (v3.0) (lic01/27000 102), start Mon 6/1 8:15
    bob ws03 :0 (v3.0) (lic01/27000 103), start Mon 6/1 8:17
      2 RESERVATIONs for GROUP cad (lic01/27000)
    cem ws04 :0 (v3.0) (lic01/27000 104) queued for 2 licenses
Users of viewer:  (Uncounted, node-locked)
Users of Mesh:  (Total of 1 license issued;  Total of 1 license in use)
Users of odd:  (Error: 5 licenses, unsupported by licensed server)
"#;

    #[test]
    fn use_is_counted_and_seats_are_suggested_within_what_was_bought() {
        let (features, not_understood) = lmstat(RUN.as_bytes());
        let draw = Use {
            feature: "Draw".to_owned(),
            issued: Some(10),
            in_use: 3,
            queued: 2,
            reserved: 2,
            users: 2,
            peak: 5,
            suggested: 6,
        };
        assert_eq!(features[0], draw);
        assert_eq!((features[1].issued, features[1].suggested), (None, 1));
        assert_eq!((features[2].peak, features[2].suggested), (1, 1), "no more than was bought");
        assert_eq!(not_understood, [15]);
        assert_eq!(features.len(), 3);
    }

    #[test]
    fn of_several_runs_the_last_is_now_and_the_largest_is_the_peak() {
        let second = "Users of Draw:  (Total of 12 licenses issued;  Total of 1 license in use)\r\n";
        let (features, _) = lmstat(format!("{RUN}{second}").as_bytes());
        let draw = &features[0];
        assert_eq!((draw.issued, draw.in_use, draw.queued, draw.peak), (Some(12), 1, 0, 5));
    }

    #[test]
    fn rlmstat_is_read_too() {
        let text = "
    zenith license pool status on lic02 (port 51001)
        mesh v4.0
            count: 10, # reservations: 1, inuse: 2, exp: permanent
            obsolete: 0, min_remove: 120, total checkouts: 7
    zenith license usage status on lic02 (port 51001)
        mesh v4.0: ann@ws01 1/0 at 06/01 08:12  (handle: 41)
        mesh v4.0: bob@ws02 1/0 at 06/01 08:15  (handle: 81)
";
        let (features, not_understood) = lmstat(text.as_bytes());
        let mesh = &features[0];
        assert_eq!((mesh.issued, mesh.in_use, mesh.reserved, mesh.users), (Some(10), 2, 1, 2));
        assert_eq!((features.len(), not_understood.len()), (1, 0));
    }
}
