//! The whole rules under many faults at once. A plain run looks at a part of the larger worlds, a long
//! one at all that it has memory for; each prints which it was.

use super::config::{Config, TTL, X, asks, borrows, pool, pool_and_feature};
use super::{holds, long};
use genie_ledger::BORROW_SKEW;

use crate::support::{FEATURE, POOL, limit, secs, settings};

/// One more of what makes a world large, in a long run.
fn more(n: u8) -> u8 {
    if long() { n + 1 } else { n }
}

fn two(cap: u32, clients: usize) -> Config {
    Config::new(pool(cap), &[90, 110], clients, more(2), more(3))
}

fn small(cap: u32, clients: usize) -> Config {
    Config::new(pool(cap), &[90, 110], clients, more(1), more(3))
}

#[test]
fn writes_that_are_late_lost_or_unanswered() {
    holds("late and lost writes", two(1, 2).with(|b| (b.slow, b.lost) = (1, 1)));
}

#[test]
fn an_owner_that_is_cut_off_from_the_store_alone() {
    holds("cut off", two(1, 2).with(|b| (b.cuts, b.time) = (1, more(3))));
}

#[test]
fn client_messages_that_are_late_lost_or_doubled() {
    holds("client messages", two(1, 2).with(|b| b.net = 2));
}

#[test]
fn processes_that_crash_with_and_without_evidence() {
    let config = two(1, 2).with(|b| (b.crashes, b.processes, b.releases, b.takeovers) = (1, 2, 1, 2));
    holds("crashes", config.also(|c| c.evidence = true));
}

#[test]
fn tables_that_are_handed_over_and_replicas_that_lose_them() {
    let config = small(1, 2).with(|b| (b.handovers, b.releases, b.takeovers) = (1, 1, 2));
    holds("handovers", config.with(|b| (b.crashes, b.processes) = (1, 1)));
}

#[test]
fn tables_that_are_handed_over_while_writes_are_late_or_lost() {
    let config = Config::new(pool(1), &[90, 110, 110], 2, more(1), 2);
    holds(
        "handovers, late and lost writes",
        config.with(|b| (b.handovers, b.lost, b.slow) = (1, 1, more(0))),
    );
}

#[test]
fn two_takeovers_among_three_processes() {
    let config = Config::new(pool(1), &[90, 110, 110], 2, more(2), more(2));
    holds("two takeovers", config.with(|b| (b.takeovers, b.slow) = (2, 1)));
}

#[test]
fn two_limits_and_a_client_that_takes_both() {
    let config = Config::new(pool_and_feature(2, 1), &[90, 110], 0, more(2), more(3));
    let clients = vec![asks(&[POOL, FEATURE], 1), asks(&[POOL], 1), asks(&[POOL], 2)];
    holds("two limits", config.also(|c| c.clients = clients).with(|b| b.lost = 1));
}

#[test]
fn documents_that_are_borrowed_and_given_back() {
    let clients = vec![borrows(), asks(&[POOL], 1)];
    let config = small(1, 0).also(|c| c.clients = clients).lending(BORROW_SKEW);
    holds("borrowing", config.with(|b| (b.slow, b.lost) = (1, 1)));
}

#[test]
fn documents_whose_calls_are_late_and_whose_owner_is_lost_or_hands_over() {
    let clients = vec![borrows(), borrows(), asks(&[POOL], 1)];
    let config = small(2, 0).also(|c| c.clients = clients).lending(BORROW_SKEW);
    holds("borrowing, takeovers", config.with(|b| (b.net, b.handovers, b.takeovers) = (1, 1, 2)));
}

#[test]
fn documents_that_stay_while_the_cap_is_lowered() {
    let clients = vec![borrows(), asks(&[POOL], 1)];
    let config = small(2, 0).also(|c| (c.clients, c.plans) = (clients, vec![pool(2), pool(1)]));
    holds("borrowing, changed caps", config.lending(BORROW_SKEW).with(|b| b.lost = 1));
}

#[test]
fn sessions_of_which_there_may_be_copies() {
    let config = small(1, 1).with(|b| (b.net, b.handovers, b.calls) = (2, 1, more(4)));
    holds("clones", config.also(|c| c.clones = true));
}

#[test]
fn watches_that_show_the_past() {
    holds("stale watches", two(1, 2).with(|b| (b.stale, b.watches, b.takeovers) = (2, 1, 2)));
}

#[test]
fn a_ledger_that_is_set_back_within_its_generation_before_the_eyes_of_all() {
    let config = small(1, 2).with(|b| (b.setbacks, b.watches, b.slow) = (1, 1, 1));
    holds("set back, seen", config.also(|c| c.prompt = true));
}

#[test]
fn a_ledger_that_is_set_back_within_its_generation_which_the_operator_tells() {
    let config = two(1, 2).with(|b| (b.setbacks, b.crashes, b.processes) = (1, 1, 2));
    holds("set back, told", config.also(|c| c.told = true));
}

#[test]
fn caps_and_durations_that_change() {
    let plans = vec![pool(2), settings(secs(10), TTL, vec![limit(POOL, "pool", 1)]), pool(2)];
    holds("changed plans", two(2, 3).also(|c| c.plans = plans).with(|b| b.lost = 1));
}

#[test]
fn a_ledger_that_is_set_back_to_before_its_horizon_was_raised_and_its_plan_with_it() {
    let lasts = |x| settings(secs(x), X, vec![limit(POOL, "pool", 1)]);
    let config = two(1, 2).with(|b| (b.setbacks, b.time) = (1, more(3))).also(|c| c.told = true);
    holds("set back, changed horizon", config.also(|c| c.plans = [10, 20, 10].map(lasts).into()));
}

#[test]
fn three_clients_for_two_seats() {
    holds("cap 2", two(2, 3).with(|b| (b.cuts, b.revokes) = (1, 1)));
}

#[test]
fn ledgers_and_leases_that_are_deleted_or_set_back() {
    let config = Config::new(pool(1), &[90, 110, 110], 2, 1, more(2));
    holds("lost objects", config.with(|b| (b.losses, b.leases, b.takeovers) = (1, 1, 2)));
}

#[test]
fn replicas_that_leave_the_lease_alone_as_they_should() {
    let plan = settings(X, secs(15), vec![limit(POOL, "pool", 1)]);
    let config = Config::new(plan, &[110, 90], 2, more(4), more(3));
    holds("patient", config.also(|c| c.mutants.clear()).with(|b| (b.lost, b.watches) = (1, 1)));
}
