//! One mutant a test: a rule is switched off, and a search directed at it finds clients that hold more
//! than is allowed, while the same search of the whole rules finds nothing.

use std::sync::Arc;
use std::time::Duration;

use genie_ledger::BORROW_SKEW;
use genie_ledger::Mutant::{self, *};

use super::client::ClientMutant::{self, *};
use super::config::{Asks, Config, GRAIN, TTL, X, asks, borrows, pool};
use super::holds;
use super::search::{Order, search};
use crate::support::{POOL, limit, secs, settings};

/// Most states in which a mutant is looked for.
const MOST: usize = 6_000_000;

fn dies(name: &str, whole: Config, mutated: Config) {
    let found = search(&Arc::new(mutated), Order::Breadth, MOST);
    let Some(violation) = found.found else {
        panic!(
            "{name} survives: {} states, depth {}, exhausted: {}",
            found.states, found.depth, found.exhausted
        );
    };
    println!("{name}: {} at depth {}, {} states, {:?}", violation.why, found.depth, found.states, found.took);
    if std::env::var_os("GENIE_MODEL_TRACE").is_some() {
        println!("{}", violation.trace.join("\n"));
    }
    holds(&format!("{name}, not mutated"), whole);
}

fn refuted(mutant: Mutant, config: Config) {
    let whole = config.clone();
    let mutated = config.also(|c| {
        c.mutants.push(mutant);
        c.strict = false;
    });
    dies(&format!("{mutant:?}"), whole, mutated);
}

fn client_refuted(mutant: ClientMutant, config: Config) {
    let whole = config.clone();
    let mutated = config.also(|c| {
        c.client_mutant = Some(mutant);
        c.strict = false;
    });
    dies(&format!("{mutant:?}"), whole, mutated);
}

/// Two processes, the first one's clock slow (its horizon is long), the second one's fast (its waits
/// are short), and two clients for one seat.
fn pair(time: u8, calls: u8) -> Config {
    Config::new(pool(1), &[90, 110], 2, time, calls).also(|c| c.heals = false)
}

/// Three processes.
fn three(time: u8, calls: u8) -> Config {
    Config::new(pool(1), &[90, 110, 110], 2, time, calls).with(|b| b.takeovers = 2)
}

/// One pool of one seat with this X and ttl.
fn lasting(horizon: Duration, ttl: Duration) -> impl Fn(&mut Config) {
    move |c| c.plans = vec![settings(horizon, ttl, vec![limit(POOL, "pool", 1)])]
}

#[test]
fn mutant_r1_use_before_promise() {
    refuted(UseBeforePromise, pair(1, 2).with(|b| b.lost = 1));
}

#[test]
fn mutant_r1_unknown_raise_counts() {
    refuted(UnknownRaiseCounts, pair(1, 2).with(|b| b.lost = 1));
}

#[test]
fn mutant_r1_lowering_unobeyed() {
    refuted(LowerUnobeyed, pair(1, 4).with(|b| b.slow = 1).also(|c| c.rates = vec![110, 110]));
}

#[test]
fn mutant_r1_lowered_below_use() {
    let config = Config::new(pool(2), &[110, 110], 0, 1, 4);
    refuted(
        LowerBelowUse,
        config.also(|c| c.clients = vec![asks(&[POOL], 1), asks(&[POOL], 1), asks(&[POOL], 2)]),
    );
}

#[test]
fn mutant_r2_no_horizon() {
    refuted(NoHorizon, pair(4, 4).directed().with(|b| b.cuts = 1));
}

#[test]
fn mutant_r2_horizon_from_answer() {
    let config = pair(3, 4).directed().with(|b| (b.cuts, b.slow, b.watches) = (1, 1, 1));
    refuted(HorizonFromAnswer, config.also(lasting(secs(10), TTL)).also(|c| c.mutants.clear()));
}

#[test]
fn mutant_r2_unknown_renewal_counts() {
    refuted(UnknownRenewalCounts, pair(4, 4).with(|b| b.cuts = 1));
}

#[test]
fn mutant_r3_ledger_read_after_lease() {
    refuted(LedgerReadAfterLease, three(4, 2).directed().with(|b| b.slow = 1));
}

#[test]
fn mutant_r3_serves_before_fence() {
    let config = Config::new(pool(16), &[110, 110], 0, 1, 2);
    refuted(
        ServeBeforeFence,
        config.also(|c| {
            c.clients = vec![asks(&[POOL], 1), asks(&[POOL], 16)];
            c.fresh = true;
        }),
    );
}

#[test]
fn mutant_r4_old_uncounted() {
    refuted(OldUncounted, pair(1, 2));
}

#[test]
fn mutant_r4_recovery_ends_by_clock() {
    let config = three(4, 3).directed().with(|b| b.cuts = 1);
    refuted(RecoveryEndsByClock, config.also(lasting(X, secs(15))));
}

#[test]
fn mutant_r4_missing_counts_nothing() {
    refuted(MissingCountsNothing, pair(1, 2).with(|b| b.losses = 1));
}

#[test]
fn mutant_r4_recovery_from_first_sight() {
    refuted(RecoveryFromFirstSight, pair(4, 2));
}

#[test]
fn mutant_r4_recovery_unstretched() {
    let config = pair(4, 4).directed().with(|b| b.cuts = 1);
    refuted(
        RecoveryUnstretched,
        config.also(|c| c.plans = vec![settings(secs(21), TTL, vec![limit(POOL, "pool", 1)])]),
    );
}

#[test]
fn mutant_r5_adopted_frees_early() {
    refuted(AdoptedFreesEarly, pair(0, 5).with(|b| b.net = 2));
}

#[test]
fn mutant_r5_newer_token_served() {
    let config = Config::new(pool(2), &[90, 110, 110], 3, 2, 5).directed();
    refuted(NewerTokenServed, config.with(|b| b.takeovers = 2));
}

#[test]
fn mutant_q_run_out_reused_at_once() {
    refuted(RunOutReusedAtOnce, pair(2, 3).with(|b| b.cuts = 1).also(|c| c.rates = vec![110, 110]));
}

#[test]
fn mutant_q_expiry_unstretched() {
    let config = Config::new(pool(1), &[110], 2, 2, 2);
    refuted(
        ExpiryUnstretched,
        config.also(|c| c.plans = vec![settings(X, secs(11), vec![limit(POOL, "pool", 1)])]),
    );
}

#[test]
fn mutant_r6_shortcut_from_recovery() {
    let config = three(2, 3)
        .directed()
        .with(|b| (b.cuts, b.crashes) = (1, 1))
        .also(lasting(X, Duration::from_millis(7500)));
    refuted(ShortcutFromRecovery, config.also(|c| c.evidence = true));
}

#[test]
fn mutant_r6_any_evidence_counts() {
    let config = pair(2, 3).directed().with(|b| (b.cuts, b.crashes, b.processes) = (1, 1, 1));
    let config = config.also(lasting(X, Duration::from_millis(7500)));
    refuted(AnyEvidenceCounts, config.also(|c| c.evidence = true));
}

#[test]
fn mutant_r6_any_table_counts() {
    // The table of the first owner is with the third process while the second one owns and seals.
    let config = Config::new(pool(1), &[90, 110, 110], 2, 1, 2).also(|c| c.heals = false);
    let config = config.with(|b| (b.handovers, b.releases, b.takeovers) = (1, 1, 2));
    refuted(AnyTableCounts, config.also(lasting(X, Duration::from_millis(3750))));
}

#[test]
fn mutant_r6_handed_unstretched() {
    let config = pair(2, 2).with(|b| b.handovers = 1);
    refuted(HandedUnstretched, config.also(lasting(X, secs(11))));
}

#[test]
fn mutant_r7_late_revival() {
    client_refuted(LateRevival, pair(2, 3).with(|b| b.net = 1).also(|c| c.rates = vec![110, 110]));
}

#[test]
fn mutant_r7_run_out_renewed() {
    client_refuted(RunOutRenewed, pair(2, 3).also(|c| c.rates = vec![110, 110]));
}

#[test]
fn mutant_r7_alive_after_checkin() {
    client_refuted(AliveAfterCheckin, pair(1, 3).with(|b| b.net = 1));
}

#[test]
fn mutant_r7_counts_from_answer() {
    client_refuted(CountsFromAnswer, Config::new(pool(1), &[110], 2, 2, 2).with(|b| b.net = 1));
}

#[test]
fn mutant_r8_retry_gets_full_duration() {
    let config = pair(2, 5).directed().with(|b| (b.cuts, b.net) = (1, 1));
    refuted(RetryGetsFullDuration, config.also(lasting(secs(10), TTL)));
}

/// Two processes, a client that borrows, and one that checks out, for one seat.
fn lender(time: u8, calls: u8) -> Config {
    pair(time, calls).also(|c| c.clients = vec![borrows(), asks(&[POOL], 1)]).lending(BORROW_SKEW)
}

#[test]
fn mutant_r9_issued_before_known() {
    refuted(IssuedBeforeKnown, lender(0, 2).with(|b| b.lost = 1));
}

#[test]
fn mutant_r9_unknown_borrow_uncounted() {
    refuted(UnknownBorrowUncounted, lender(0, 4).with(|b| b.slow = 1));
}

#[test]
fn mutant_r9_returned_reused_at_once() {
    // What the client forgot cannot be held by two; but the ledger still says that it may be issued.
    let whole = lender(1, 5).with(|b| b.lost = 1);
    let mutated = whole.clone().also(|c| c.mutants.push(ReturnedReusedAtOnce));
    dies("ReturnedReusedAtOnce", whole, mutated);
}

#[test]
fn mutant_r9_no_margin_for_skew() {
    refuted(NoMarginForSkew, lender(2, 2));
}

#[test]
fn mutant_r10_planned_horizon_only() {
    let shorter = settings(secs(10), TTL, vec![limit(POOL, "pool", 1)]);
    refuted(PlannedHorizonOnly, pair(2, 3).with(|b| b.cuts = 1).also(|c| c.plans.push(shorter)));
}

#[test]
fn mutant_r10_shorter_recorded_at_once() {
    let shorter = settings(secs(10), TTL, vec![limit(POOL, "pool", 1)]);
    refuted(ShorterRecordedAtOnce, pair(2, 2).with(|b| b.lost = 1).also(|c| c.plans.push(shorter)));
}

#[test]
fn mutant_r10_lowered_cap_ignored() {
    let config = Config::new(pool(2), &[110], 2, 1, 2);
    refuted(LoweredCapIgnored, config.also(|c| c.plans.push(pool(1))));
}

#[test]
fn mutant_r10_asked_document_kept() {
    let config = lender(0, 2).with(|b| b.slow = 1);
    refuted(AskedDocumentKept, config.also(|c| c.plans = vec![pool(2), pool(1)]).lending(BORROW_SKEW));
}

#[test]
fn mutant_r10_revoked_frees_at_once() {
    refuted(RevokedFreesAtOnce, pair(1, 2).with(|b| b.revokes = 1));
}

#[test]
fn mutant_r11_regression_unnoticed() {
    refuted(RegressionUnnoticed, pair(1, 2).with(|b| b.losses = 1));
}

#[test]
fn mutant_r11_regressed_promises_count() {
    refuted(RegressedPromisesCount, three(1, 2).with(|b| (b.losses, b.takeovers) = (1, 2)));
}

#[test]
fn mutant_r11_lost_loans_forgotten() {
    let longer = Asks { borrows: Some(3 * BORROW_SKEW), ..borrows() };
    let config = pair(3, 2).with(|b| b.losses = 1).also(lasting(secs(10), TTL)).lending(3 * BORROW_SKEW);
    refuted(LostLoansForgotten, config.also(|c| c.clients = vec![longer, asks(&[POOL], 1)]));
}

#[test]
fn mutant_r11_older_seq_unnoticed() {
    refuted(OlderSeqUnnoticed, pair(0, 2).with(|b| b.setbacks = 1).also(|c| c.prompt = true));
}

/// The trace that the operator is for: who saw nothing of the ledger before cannot know that it was set back
/// within its generation, and nothing in it tells.
#[test]
fn mutant_r11_set_back_and_nobody_told() {
    let whole = pair(0, 2).with(|b| b.setbacks = 1).also(|c| c.told = true);
    dies("set back, and nobody told", whole.clone(), whole.also(|c| c.told = false));
}

/// X is raised, the ledger is set back to before that, and so is the plan.
#[test]
fn mutant_r11_longest_horizon_forgotten() {
    let lasts = |x| settings(secs(x), 4 * GRAIN, vec![limit(POOL, "pool", 1)]);
    let config = pair(3, 2).with(|b| b.setbacks = 1).also(|c| c.told = true);
    refuted(LongestHorizonForgotten, config.also(|c| c.plans = [10, 20, 10].map(lasts).into()));
}

#[test]
fn mutant_r11_old_owner_stays() {
    refuted(OldOwnerStays, pair(1, 2).with(|b| b.losses = 1));
}

#[test]
fn mutant_r12_clones_renewed() {
    refuted(ClonesRenewed, pair(0, 4).with(|b| b.net = 1).also(|c| c.clones = true));
}
