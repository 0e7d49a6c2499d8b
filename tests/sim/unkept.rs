//! Rules that are not kept, one at a time: the worlds of a plain test run notice the first of these.
//! `GENIE_SIM_UNKEPT=1000` says for all of them which of so many worlds is the first to notice. The model check
//! (crates/ledger/tests/model/mutants.rs) finds every one that is the ledger's.

use std::sync::Mutex;

use genie_ledger::{Mutant, mutate};

use super::world::{Broken, lock};
use super::{number, on_all_cores, run};

/// In so many worlds each must be noticed; a third of that is enough now, and worlds change with the servers.
const WORLDS: u64 = 200;

/// A rule that is not kept, by the ledger or by the world around it.
#[derive(Clone, Copy, Debug)]
enum Unkept {
    Rule(Mutant),
    Around(Broken),
}

use Unkept::{Around, Rule};

/// Noticed in [`WORLDS`].
const SOON: &[Unkept] = &[
    Around(Broken::StillCalledEnded),
    Rule(Mutant::NoHorizon),
    Rule(Mutant::OldUncounted),
    Rule(Mutant::LowerBelowUse),
    Rule(Mutant::RunOutReusedAtOnce),
    Rule(Mutant::AnyEvidenceCounts),
    Rule(Mutant::LoweredCapIgnored),
    Rule(Mutant::RegressionUnnoticed),
    Rule(Mutant::RegressedPromisesCount),
];

/// What needs more worlds.
const LATE: &[Unkept] = &[
    Rule(Mutant::AdoptedFreesEarly),
    Around(Broken::LeaseUnversioned),
    Rule(Mutant::MissingCountsNothing),
    Around(Broken::CountsFromAnswer),
    Around(Broken::CountsInFull),
    Around(Broken::LedgerUnversioned),
    Rule(Mutant::UseBeforePromise),
    Rule(Mutant::UnknownRaiseCounts),
    Rule(Mutant::UnknownRenewalCounts),
    Rule(Mutant::RecoveryFromFirstSight),
    Rule(Mutant::RecoveryUnstretched),
    Rule(Mutant::RecoveryEndsByClock),
    Rule(Mutant::ExpiryUnstretched),
    Rule(Mutant::ShortcutFromRecovery),
    Rule(Mutant::PlannedHorizonOnly),
];

/// The first of so many worlds in which it is noticed, and how.
fn noticed(unkept: Unkept, worlds: u64) -> Option<(u64, String)> {
    let (rules, broken) = match unkept {
        Rule(rule) => (vec![rule], None),
        Around(broken) => (Vec::new(), Some(broken)),
    };
    mutate(&rules);
    let found = (0..worlds).find_map(|seed| Some((seed, run(seed, false, broken).verdict.err()?)));
    mutate(&[]);
    found
}

#[test]
fn a_rule_that_is_not_kept_is_noticed() {
    let asked = number("GENIE_SIM_UNKEPT");
    let worlds = asked.unwrap_or(WORLDS);
    let late = asked.map_or(0, |_| LATE.len());
    let unnoticed = Mutex::new(Vec::new());
    on_all_cores(0, |i| {
        let i = i as usize;
        let Some(unkept) = SOON.iter().chain(&LATE[..late]).nth(i).copied() else { return false };
        match noticed(unkept, worlds) {
            Some((seed, how)) => println!("{unkept:?}: world {seed}: {how}"),
            None if i < SOON.len() => lock(&unnoticed).push(unkept),
            None => println!("{unkept:?}: not noticed"),
        }
        true
    });
    assert!(lock(&unnoticed).is_empty(), "not noticed in {worlds} worlds: {:?}", lock(&unnoticed));
}
