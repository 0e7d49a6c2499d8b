//! Judges seats from the applications' own records: who ran when, and did anybody stop who did not mean to.
//!
//! An application prints `RUN begin ID T`, `RUN beat ID T` five times a second, and `RUN done ID T` when it ends by
//! its own decision; T is the uptime of the node's kernel, in seconds with two decimals: nodes that are containers or
//! namespaces of one machine, as kind's are, share it.

use std::collections::BTreeMap;

/// One run of an application, as it saw itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) id: String,
    pub(crate) begin: u64,
    pub(crate) last: u64,
    pub(crate) done: bool,
}

/// What the script of an application is: `beats` fifths of a second, then done.
pub(crate) fn script(beats: u32) -> String {
    format!(
        "n() {{ read u _ </proc/uptime; echo $u; }}; me=$HOSTNAME/$(n); t() {{ echo \"RUN $1 $me $(n)\"; }}; t begin; i=0; \
         while [ $i -lt {beats} ]; do sleep 0.2; t beat; i=$((i+1)); done; t done"
    )
}

/// Reads the records of all applications.
pub(crate) fn runs(log: &str) -> Vec<Run> {
    let mut runs: BTreeMap<String, Run> = BTreeMap::new();
    for line in log.lines().filter_map(|line| line.split_once("RUN ").map(|(_, record)| record)) {
        let mut words = line.split_whitespace();
        let (Some(what), Some(id), Some(time)) = (words.next(), words.next(), words.next()) else { continue };
        let Ok(time) = time.replace('.', "").parse() else { continue };
        let run = runs.entry(id.to_owned()).or_insert_with(|| Run {
            id: id.to_owned(),
            begin: time,
            last: time,
            done: false,
        });
        run.begin = run.begin.min(time);
        run.last = run.last.max(time);
        run.done |= what == "done";
    }
    runs.into_values().collect()
}

/// The most applications that ran at any one moment: a sweep over all begins and ends. A run that ends in the
/// moment another begins does not overlap it.
pub(crate) fn most_at_once(runs: &[Run]) -> usize {
    let mut moments: Vec<(u64, i32)> = runs.iter().flat_map(|run| [(run.begin, 1), (run.last, -1)]).collect();
    moments.sort_unstable();
    let (mut now, mut most) = (0i32, 0i32);
    for (_, change) in moments {
        now += change;
        most = most.max(now);
    }
    usize::try_from(most).unwrap_or(0)
}

/// How many ran at a moment.
pub(crate) fn running_at(runs: &[Run], moment: u64) -> usize {
    runs.iter().filter(|run| run.begin <= moment && moment <= run.last).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "[pod/a] RUN begin a-1 10.00\n[pod/a] RUN beat a-1 10.20\nnoise\n[pod/b] RUN begin b-1 10.10\n\
                       RUN beat b-1 10.30\nRUN done b-1 10.30\nRUN begin c-1 10.30\nRUN done c-1 10.50\n";

    #[test]
    fn the_judge_sees_an_overlap_and_who_did_not_end_by_itself() {
        let runs = runs(LOG);
        assert_eq!(runs.len(), 3);
        assert_eq!(most_at_once(&runs), 2);
        assert_eq!(running_at(&runs, 1015), 2);
        let cut: Vec<_> = runs.iter().filter(|run| !run.done).map(|run| run.id.as_str()).collect();
        assert_eq!(cut, ["a-1"]);
    }
}
