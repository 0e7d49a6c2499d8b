//! R5, R8 and R10 of the seat protocol: what an owner does with sessions, its own and those of the
//! owners before it.

mod support;

use genie_ledger::*;
use support::*;

#[test]
fn a_session_of_an_earlier_owner_is_renewed_at_once_without_a_free_seat() {
    let mut bench = Bench::new();
    let (_a, claims) = first_owner(&mut bench, pool_of(1), 1);
    let mut b = bench.replica("b", pool_of(1));
    bench.take_over(&mut b);
    let answer = bench.renew(&mut b, &claims[0], 50);
    let Answer::Granted { claim, adopted, .. } = &answer else { panic!("{answer:?}") };
    assert!(adopted);
    assert_eq!((claim.generation, claim.session, claim.counter), (Generation(2), claims[0].session, 1));
    assert!(is_full(&bench.checkout(&mut b, ask(9, 1, &[POOL]))));
    let again = bench.renew(&mut b, claim, 51);
    assert!(matches!(again, Answer::Granted { adopted: false, .. }));
}

#[test]
fn an_adopted_session_frees_nothing_until_recovery_ends() {
    let mut bench = Bench::new();
    let (_a, claims) = first_owner(&mut bench, pool_of(2), 2);
    let mut b = bench.replica("b", pool_of(2));
    bench.take_over(&mut b);
    let first = granted(&bench.renew(&mut b, &claims[0], 50));
    bench.renew(&mut b, &claims[1], 51);
    assert_eq!(bench.checkin(&mut b, &first), Answer::Returned);
    assert!(is_full(&bench.checkout(&mut b, ask(9, 1, &[POOL]))), "not by check-in");
    bench.run(&mut b, stretch(TTL) + secs(10));
    assert_eq!(b.status(bench.now).sessions, 0);
    assert!(is_full(&bench.checkout(&mut b, ask(10, 1, &[POOL]))), "not by time");
    bench.run(&mut b, stretch(X));
    bench.grant(&mut b, 11, &[POOL]);
    bench.grant(&mut b, 12, &[POOL]);
}

#[test]
fn a_token_replayed_after_its_check_in_is_refused() {
    let mut bench = Bench::new();
    let (_a, claims) = first_owner(&mut bench, pool_of(2), 2);
    let mut b = bench.replica("b", pool_of(2));
    bench.take_over(&mut b);
    let renewed = granted(&bench.renew(&mut b, &claims[0], 50));
    bench.checkin(&mut b, &renewed);
    bench.checkin(&mut b, &claims[1]);
    let expired = Answer::Denied { reason: Denial::SessionExpired };
    for claim in [&claims[0], &renewed, &claims[1]] {
        assert_eq!(bench.renew(&mut b, claim, 60), expired);
    }
}

#[test]
fn no_more_is_adopted_than_was_promised() {
    let mut bench = Bench::new();
    let (_a, claims) = first_owner(&mut bench, pool_of(1), 1);
    let mut b = bench.replica("b", pool_of(1));
    bench.take_over(&mut b);
    let forged = Claim { session: SessionId(77), ..claims[0].clone() };
    granted(&bench.renew(&mut b, &forged, 50));
    assert!(is_full(&bench.renew(&mut b, &claims[0], 51)));
}

#[test]
fn after_recovery_a_session_of_an_earlier_owner_is_unknown() {
    let mut bench = Bench::new();
    let (_a, claims) = first_owner(&mut bench, pool_of(1), 1);
    let mut b = bench.replica("b", pool_of(1));
    bench.take_over(&mut b);
    bench.run(&mut b, stretch(X));
    assert_eq!(bench.renew(&mut b, &claims[0], 50), Answer::Denied { reason: Denial::SessionUnknown });
    assert_eq!(bench.checkin(&mut b, &claims[0]), Answer::Returned);
}

#[test]
fn adopted_sessions_go_on_after_recovery_as_the_owners_own() {
    let mut bench = Bench::new();
    let (_a, claims) = first_owner(&mut bench, pool_of(1), 1);
    let mut b = bench.replica("b", pool_of(1));
    bench.take_over(&mut b);
    let mut claim = claims[0].clone();
    for n in 0..30 {
        claim = granted(&bench.renew(&mut b, &claim, 100 + n));
        bench.run(&mut b, secs(30));
    }
    assert_eq!(b.status(bench.now).recovery_ends, None);
    assert!(is_full(&bench.checkout(&mut b, ask(9, 1, &[POOL]))));
    bench.checkin(&mut b, &claim);
    bench.grant(&mut b, 10, &[POOL]);
}

#[test]
fn a_newer_token_stops_the_owner_that_sees_it() {
    let mut bench = Bench::new();
    let (mut a, claims) = first_owner(&mut bench, pool_of(1), 1);
    let newer = Claim { generation: Generation(2), ..claims[0].clone() };
    assert!(matches!(bench.renew(&mut a, &newer, 50), Answer::NotOwner { .. }));
    let known = a.generation();
    assert_eq!(known, Some(Generation(2)), "what the token proves is not forgotten: the ledger was set back");
    assert_eq!(a.status(bench.now).role, Role::Stopped(StopReason::NewerToken));
}

#[test]
fn a_retried_checkout_gets_the_same_session_with_the_time_that_is_left() {
    let mut bench = Bench::new();
    let (mut a, _) = first_owner(&mut bench, pool_of(2), 0);
    let first = bench.checkout(&mut a, ask(1, 1, &[POOL]));
    bench.sleep(secs(40));
    let again = bench.checkout(&mut a, ask(1, 1, &[POOL]));
    assert_eq!(granted(&again), granted(&first));
    assert_eq!(valid_for(&again), shrink(TTL - secs(40)));
    assert_eq!(a.status(bench.now).sessions, 1);
}

#[test]
fn a_checkout_retried_while_it_waits_takes_one_seat() {
    let mut bench = Bench::new();
    let (mut a, _) = first_owner(&mut bench, pool_of(1), 0);
    let first = a.checkout(bench.now, ask(1, 1, &[POOL]));
    let again = a.checkout(bench.now, ask(1, 1, &[POOL]));
    assert_eq!((first, again), (Outcome::Wait(Ticket(0)), Outcome::Wait(Ticket(1))));
    bench.pump(&mut a);
    let one = granted(&a.take_completion().expect("the first").1);
    let two = granted(&a.take_completion().expect("the retry").1);
    assert_eq!(one, two);
    assert_eq!(bench.store.promise("pool"), Some(1));
}

#[test]
fn a_retried_renewal_gets_the_first_answer_with_the_time_that_is_left() {
    let mut bench = Bench::new();
    let (mut a, claims) = first_owner(&mut bench, pool_of(1), 1);
    let first = bench.renew(&mut a, &claims[0], 9);
    bench.sleep(secs(40));
    let again = bench.renew(&mut a, &claims[0], 9);
    assert_eq!(granted(&again), granted(&first));
    assert_eq!(valid_for(&again), shrink(TTL - secs(40)));
}

#[test]
fn a_check_in_may_be_said_twice() {
    let mut bench = Bench::new();
    let (mut a, claims) = first_owner(&mut bench, pool_of(1), 1);
    assert_eq!(bench.checkin(&mut a, &claims[0]), Answer::Returned);
    let other = bench.grant(&mut a, 9, &[POOL]);
    assert_eq!(bench.checkin(&mut a, &claims[0]), Answer::Returned);
    assert_eq!(a.sessions().map(|s| s.session).collect::<Vec<_>>(), [other.session]);
}

#[test]
fn a_session_that_has_run_out_is_never_renewed() {
    let mut bench = Bench::new();
    let (mut a, claims) = first_owner(&mut bench, pool_of(1), 1);
    bench.run(&mut a, stretch(TTL));
    assert_eq!(bench.renew(&mut a, &claims[0], 9), Answer::Denied { reason: Denial::SessionExpired });
}

#[test]
fn a_shorter_renewal_does_not_end_the_longer_token_before_it() {
    let mut bench = Bench::new();
    let (mut a, claims) = first_owner(&mut bench, pool_of(1), 1);
    let ends = bench.now + stretch(TTL);
    a.configure(bench.now, settings(X, secs(30), vec![limit(POOL, "pool", 1)]));
    granted(&bench.renew(&mut a, &claims[0], 9));
    assert_eq!(a.sessions().next().map(|s| s.expires), Some(ends));
}

#[test]
fn a_revoked_session_is_denied_its_renewal_and_its_units_come_back_with_time_or_check_in() {
    let mut bench = Bench::new();
    let (mut a, claims) = first_owner(&mut bench, pool_of(2), 2);
    assert!(a.revoke(bench.now, claims[0].session) && a.revoke(bench.now, claims[1].session));
    let revoked = Answer::Denied { reason: Denial::SessionRevoked };
    assert_eq!(bench.renew(&mut a, &claims[0], 9), revoked);
    assert!(is_full(&bench.checkout(&mut a, ask(10, 1, &[POOL]))));
    bench.checkin(&mut a, &claims[0]);
    bench.grant(&mut a, 11, &[POOL]);
    assert!(is_full(&bench.checkout(&mut a, ask(12, 1, &[POOL]))));
    bench.run(&mut a, stretch(TTL) + secs(4));
    bench.grant(&mut a, 13, &[POOL]);
    assert!(!a.revoke(bench.now, claims[1].session));
}

#[test]
fn a_canceled_wait_takes_no_seat_and_a_hopeless_one_ends() {
    let mut bench = Bench::new();
    let (mut a, _) = first_owner(&mut bench, pool_of(1), 0);
    let Outcome::Wait(ticket) = a.checkout(bench.now, ask(1, 1, &[POOL])) else { panic!("no wait") };
    a.cancel(bench.now, ticket);
    let Outcome::Wait(second) = a.checkout(bench.now, ask(2, 1, &[POOL])) else { panic!("no wait") };
    bench.run_cut_off(&mut a, secs(11));
    assert!(matches!(a.take_completion(), Some((t, Answer::Unavailable { .. })) if t == second));
    assert_eq!(a.take_completion(), None);
    bench.run(&mut a, secs(4));
    bench.grant(&mut a, 3, &[POOL]);
}
