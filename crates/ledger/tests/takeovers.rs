//! R3, R4 and R6 of the seat protocol: how a replica becomes the owner, and what it may give out
//! in recovery.

mod support;

use std::time::Duration;

use genie_ledger::*;
use support::*;

#[test]
fn a_follower_takes_over_only_after_it_saw_the_lease_unchanged_for_its_duration() {
    let mut bench = Bench::new();
    let (_a, _) = first_owner(&mut bench, pool_of(1), 0);
    let mut b = bench.replica("b", pool_of(1));
    bench.run(&mut b, stretch(LEASE_DURATION) - secs(1));
    assert_eq!(b.status(bench.now).role, Role::Follower);
    bench.run(&mut b, secs(1));
    assert_eq!(b.status(bench.now).role, Role::Owner);
    assert_eq!(b.status(bench.now).generation, Some(Generation(2)));
}

#[test]
fn a_lease_that_keeps_changing_is_left_alone() {
    let mut bench = Bench::new();
    let (mut a, _) = first_owner(&mut bench, pool_of(1), 0);
    let mut b = bench.replica("b", pool_of(1));
    bench.pump(&mut b);
    for _ in 0..20 {
        bench.run(&mut a, secs(3));
        b.observe_lease(bench.now, bench.store.lease.clone());
        bench.pump(&mut b);
    }
    assert_eq!(b.status(bench.now).role, Role::Follower);
}

/// Owner and follower come back from an outage of the store that lasted longer than the Lease.
#[test]
fn a_follower_that_was_cut_off_too_lets_the_owner_come_back_first() {
    let mut bench = Bench::new();
    let (mut a, claims) = first_owner(&mut bench, pool_of(1), 1);
    let mut b = bench.replica("b", pool_of(1));
    bench.pump(&mut b);
    bench.sleep(stretch(LEASE_DURATION));
    bench.run_cut_off(&mut b, secs(1));
    bench.pump(&mut b);
    // Its watches begin anew, and show what it knows.
    b.observe_lease(bench.now, bench.store.lease.clone());
    b.observe_ledger(bench.now, bench.store.ledger.clone());
    bench.run(&mut b, stretch(LEASE_RENEW) - Duration::from_millis(1));
    assert_eq!(b.status(bench.now).role, Role::Follower);
    a.tick(bench.now);
    bench.pump(&mut a);
    bench.run(&mut b, secs(1));
    assert_eq!(b.status(bench.now).role, Role::Follower);
    assert_eq!(a.status(bench.now).role, Role::Owner);
    assert!(valid_for(&bench.renew(&mut a, &claims[0], 1)) > secs(60));

    // And where the owner does not come back, it is followed all the same.
    bench.run(&mut b, stretch(LEASE_DURATION));
    assert_eq!(b.status(bench.now).role, Role::Owner);
}

/// The store is away for most of the Lease's time, and back before a follower has noticed by a request of its own.
#[test]
fn a_follower_whose_watch_broke_lets_the_owner_come_back_first() {
    let mut bench = Bench::new();
    let (mut a, _) = first_owner(&mut bench, pool_of(1), 1);
    let mut b = bench.replica("b", pool_of(1));
    bench.pump(&mut b);
    bench.sleep(secs(2));
    b.lose_sight_of_lease(bench.now);
    bench.sleep(secs(8));
    // Its watch begins anew, and shows what it knows.
    b.observe_lease(bench.now, bench.store.lease.clone());
    bench.run(&mut b, secs(3));
    assert_eq!(b.status(bench.now).role, Role::Follower);
    a.tick(bench.now);
    bench.pump(&mut a);
    b.observe_lease(bench.now, bench.store.lease.clone());
    bench.run(&mut b, stretch(LEASE_DURATION) - secs(1));
    assert_eq!(b.status(bench.now).role, Role::Follower);
    assert_eq!(a.status(bench.now).role, Role::Owner);
}

/// The owner gets the time of a renewal after the last break before the Lease would be free.
#[test]
fn a_watch_that_breaks_again_and_again_keeps_nobody_from_the_lease() {
    let mut bench = Bench::new();
    let (_a, _) = first_owner(&mut bench, pool_of(1), 0);
    let mut b = bench.replica("b", pool_of(1));
    bench.pump(&mut b);
    let pause = Duration::from_millis(900);
    let mut breaks = 0;
    while b.status(bench.now).role == Role::Follower {
        assert!(breaks < 20, "it waits for ever");
        bench.run(&mut b, pause);
        b.lose_sight_of_lease(bench.now);
        b.observe_lease(bench.now, bench.store.lease.clone());
        breaks += 1;
    }
    let last_that_counts = pause * 12;
    let waited = pause * breaks;
    assert!(last_that_counts < stretch(LEASE_DURATION) && last_that_counts + pause > stretch(LEASE_DURATION));
    let free = last_that_counts + stretch(LEASE_RENEW);
    assert!((free..free + pause).contains(&waited), "{waited:?}");
}

/// A watch that resumes where it broke shows nothing: what is read before the takeover does.
#[test]
fn a_follower_whose_watch_resumed_without_a_word_waits_a_renewal_longer() {
    let mut bench = Bench::new();
    let (_a, _) = first_owner(&mut bench, pool_of(1), 0);
    let mut b = bench.replica("b", pool_of(1));
    bench.pump(&mut b);
    b.lose_sight_of_lease(bench.now);
    let waits = stretch(LEASE_DURATION) + stretch(LEASE_RENEW);
    bench.run(&mut b, waits - Duration::from_millis(1));
    assert_eq!(b.status(bench.now).role, Role::Follower);
    bench.run(&mut b, Duration::from_millis(1));
    assert_eq!(b.status(bench.now).role, Role::Owner);
}

#[test]
fn a_released_lease_is_taken_at_once() {
    let mut bench = Bench::new();
    let (mut a, _) = first_owner(&mut bench, pool_of(1), 1);
    a.release(bench.now);
    assert!(matches!(bench.checkout(&mut a, ask(9, 1, &[POOL])), Answer::NotOwner { .. }));
    bench.pump(&mut a);
    assert_eq!(a.status(bench.now).role, Role::Stopped(StopReason::Released));
    let mut b = bench.replica("b", pool_of(1));
    bench.pump(&mut b);
    assert_eq!(b.status(bench.now).role, Role::Owner);
}

#[test]
fn a_release_with_a_renewal_under_way_waits_for_it_and_then_gives_up_the_lease() {
    let mut bench = Bench::new();
    let (mut a, _) = first_owner(&mut bench, pool_of(1), 0);
    bench.sleep(secs(3));
    let held = bench.hold(&mut a);
    a.release(bench.now);
    let seal = bench.hold(&mut a);
    assert!(matches!(&seal[..], [(_, StoreRequest::WriteLedger { .. })]), "{seal:?}");
    for request in seal.into_iter().chain(held) {
        bench.answer(&mut a, request);
    }
    bench.pump(&mut a);
    assert_eq!(bench.store.lease.expect("there").record.holder, None);
}

#[test]
fn the_ledger_is_read_before_the_lease_is_taken_and_fenced_with_that_version() {
    let mut bench = Bench::new();
    let (mut a, _) = first_owner(&mut bench, pool_of(2), 0);
    let mut b = bench.replica("b", pool_of(2));
    bench.pump(&mut b);
    bench.sleep(stretch(LEASE_DURATION));

    let read = bench.hold(&mut b).remove(0);
    assert_eq!(read.1, StoreRequest::ReadLedger);
    let version = bench.store.ledger.clone().expect("there").version;
    bench.answer(&mut b, read);
    let take = bench.hold(&mut b).remove(0);
    assert!(matches!(take.1, StoreRequest::WriteLease { .. }));
    bench.answer(&mut b, take);
    // The old owner's raise lands between (2) and (3).
    a.checkout(bench.now, ask(1, 1, &[POOL]));
    let raise = bench.hold(&mut a).into_iter().find(|(_, r)| matches!(r, StoreRequest::WriteLedger { .. }));
    bench.answer(&mut a, raise.expect("a raise"));
    granted(&a.take_completion().expect("the old owner still counts").1);

    let fence = bench.hold(&mut b).remove(0);
    assert!(matches!(&fence.1, StoreRequest::WriteLedger { expect, .. } if *expect == version));
    let lease_writes = bench.store.lease_writes;
    bench.answer(&mut b, fence);
    assert_eq!(b.status(bench.now).role, Role::Follower, "the fence hit a newer ledger");
    bench.pump(&mut b);
    assert_eq!(b.status(bench.now).role, Role::Owner);
    assert_eq!(bench.store.lease_writes, lease_writes + 1, "the second try writes the Lease anew");
    assert_eq!(bench.store.promise("pool"), Some(1), "and sees the raise");
}

#[test]
fn a_fence_of_unknown_outcome_is_no_ownership_even_if_it_took_effect() {
    let mut bench = Bench::new();
    let mut b = bench.replica("b", pool_of(1));
    for _ in 0..3 {
        let request = bench.hold(&mut b).remove(0);
        bench.answer(&mut b, request);
    }
    let (id, fence) = bench.hold(&mut b).remove(0);
    bench.store.apply(&fence);
    b.reply(bench.now, id, StoreReply::Unknown);
    assert_eq!(b.status(bench.now).role, Role::Follower);
    bench.run(&mut b, secs(1));
    assert_eq!(b.status(bench.now).generation, Some(Generation(2)));
    assert!(b.status(bench.now).recovery_ends.is_some());
}

#[test]
fn what_earlier_owners_promised_counts_until_recovery_ends() {
    let mut bench = Bench::new();
    let (_a, _) = first_owner(&mut bench, pool_of(3), 2);
    let mut b = bench.replica("b", pool_of(3));
    bench.take_over(&mut b);
    bench.grant(&mut b, 10, &[POOL]);
    assert_eq!(bench.store.promise("pool"), Some(3));
    let Answer::Denied { reason: Denial::NoUnits { in_recovery, retry_after, .. } } =
        bench.checkout(&mut b, ask(11, 1, &[POOL]))
    else {
        panic!("granted")
    };
    let ends = b.status(bench.now).recovery_ends.expect("recovers");
    assert_eq!((in_recovery, retry_after), (true, Some(ends.since(bench.now))));
    bench.run(&mut b, ends.since(bench.now));
    assert!(!bench.store.record().recovering);
    bench.run(&mut b, secs(4));
    bench.grant(&mut b, 12, &[POOL]);
    bench.grant(&mut b, 13, &[POOL]);
}

#[test]
fn recovery_is_counted_from_the_first_sight_of_the_lease_state_that_was_replaced() {
    let mut bench = Bench::new();
    let (_a, _) = first_owner(&mut bench, pool_of(1), 1);
    let mut b = bench.replica("b", pool_of(1));
    bench.pump(&mut b);
    let seen = bench.now;
    bench.take_over(&mut b);
    assert_eq!(b.status(bench.now).recovery_ends, Some(seen + stretch(X)));
}

#[test]
fn recovery_lasts_as_long_as_the_larger_horizon_found() {
    let mut bench = Bench::new();
    let (_a, _) = first_owner(&mut bench, pool_of(1), 1);
    let smaller = settings(secs(60), secs(30), vec![limit(POOL, "pool", 1)]);
    let mut b = bench.replica("b", smaller);
    bench.pump(&mut b);
    let seen = bench.now;
    bench.take_over(&mut b);
    assert_eq!(b.status(bench.now).recovery_ends, Some(seen + stretch(X)));
    bench.run(&mut b, secs(300));
    assert_eq!(bench.store.record().horizon_ms, 600_000, "never lowered in recovery");
    bench.run(&mut b, secs(500));
    assert_eq!(bench.store.record().horizon_ms, 60_000);
}

#[test]
fn recovery_does_not_end_by_the_clock_of_an_owner_that_is_cut_off() {
    let mut bench = Bench::new();
    let (_a, _) = first_owner(&mut bench, pool_of(1), 1);
    let long = settings(secs(6000), TTL, vec![limit(POOL, "pool", 1)]);
    let mut b = bench.replica("b", long.clone());
    bench.take_over(&mut b);
    let ends = b.status(bench.now).recovery_ends.expect("recovers");
    bench.run(&mut b, ends.since(bench.now) - secs(1));
    bench.run_cut_off(&mut b, secs(30));
    assert!(b.status(bench.now).recovery_ends.is_some());
    assert!(is_full(&bench.checkout(&mut b, ask(9, 1, &[POOL]))));
    bench.run(&mut b, secs(1));
    assert_eq!(b.status(bench.now).recovery_ends, None);
}

#[test]
fn a_limit_that_the_record_lacks_counts_as_its_cap() {
    let mut bench = Bench::new();
    let (_a, _) = first_owner(&mut bench, pool_of(5), 1);
    let both = settings(X, TTL, vec![limit(POOL, "pool", 5), limit(FEATURE, "feature", 2)]);
    let mut b = bench.replica("b", both);
    bench.take_over(&mut b);
    bench.grant(&mut b, 10, &[POOL]);
    assert!(is_full(&bench.checkout(&mut b, ask(11, 1, &[POOL, FEATURE]))));
    assert_eq!(bench.store.promise("feature"), None, "a next owner must count it as its cap too");
    bench.run(&mut b, stretch(X) + secs(10));
    bench.grant(&mut b, 12, &[POOL, FEATURE]);
}

#[test]
fn a_promise_that_the_plan_lacks_is_kept_until_recovery_ends() {
    let mut bench = Bench::new();
    let both = || settings(X, TTL, vec![limit(POOL, "pool", 2), limit(FEATURE, "feature", 2)]);
    let mut a = bench.owner("a", both());
    bench.grant(&mut a, 1, &[POOL, FEATURE]);
    let mut b = bench.replica("b", pool_of(2));
    bench.take_over(&mut b);
    bench.grant(&mut b, 2, &[POOL]);
    assert_eq!(bench.store.promise("feature"), Some(1));
    b.configure(bench.now, both());
    let full = bench.checkout(&mut b, ask(3, 2, &[FEATURE]));
    assert!(is_full(&full), "one of the two is still promised");
    bench.grant(&mut b, 4, &[FEATURE]);
}

#[test]
fn no_promise_is_lowered_or_dropped_in_recovery() {
    let mut bench = Bench::new();
    let (_a, _) = first_owner(&mut bench, pool_of(3), 1);
    let mut b = bench.replica("b", pool_of(3));
    bench.take_over(&mut b);
    let claim = bench.grant(&mut b, 10, &[POOL]);
    bench.checkin(&mut b, &claim);
    bench.run(&mut b, secs(20));
    assert_eq!(bench.store.promise("pool"), Some(2));
    b.configure(bench.now, settings(X, TTL, vec![limit(POOL, "pool", None)]));
    bench.run(&mut b, secs(20));
    assert_eq!(bench.store.promise("pool"), Some(2));
    bench.run(&mut b, stretch(X));
    assert_eq!(bench.store.promise("pool"), None);
}

#[test]
fn a_fenced_owner_stops_when_it_next_writes_or_sees_the_ledger() {
    let mut bench = Bench::new();
    let (mut a, _) = first_owner(&mut bench, pool_of(2), 1);
    let mut b = bench.replica("b", pool_of(2));
    bench.take_over(&mut b);
    let mut seeing = a.clone();
    seeing.observe_ledger(bench.now, bench.store.ledger.clone());
    assert_eq!(seeing.status(bench.now).role, Role::Stopped(StopReason::Fenced));
    assert_eq!(seeing.status(bench.now).owner, Some(holder("b")));

    let Outcome::Wait(_) = a.checkout(bench.now, ask(9, 1, &[POOL])) else { panic!("no wait") };
    bench.pump(&mut a);
    assert!(matches!(a.status(bench.now).role, Role::Stopped(_)));
    assert!(matches!(a.take_completion(), Some((_, Answer::NotOwner { .. }))));
}

#[test]
fn an_owner_that_finds_the_ledger_anothers_or_empty_stops_though_it_has_the_lease() {
    let finds = |change: fn(&mut ObservedLedger)| {
        let mut bench = Bench::new();
        let (mut a, _) = first_owner(&mut bench, pool_of(2), 1);
        let version = bench.store.next_version();
        let ledger = bench.store.ledger.as_mut().expect("there");
        ledger.version = version;
        change(ledger);
        let Outcome::Wait(_) = a.checkout(bench.now, ask(9, 1, &[POOL])) else { panic!("no wait") };
        bench.pump(&mut a);
        assert_eq!(a.status(bench.now).role, Role::Stopped(StopReason::Fenced));
        assert!(matches!(a.take_completion(), Some((_, Answer::NotOwner { .. }))));
    };
    finds(|ledger| ledger.record = None);
    finds(|ledger| ledger.record.as_mut().expect("written").holder = holder("b"));
    finds(|ledger| ledger.record.as_mut().expect("written").generation = Generation(9));
}

#[test]
fn a_follower_tells_where_the_owner_is() {
    let mut bench = Bench::new();
    let (_a, claims) = first_owner(&mut bench, pool_of(1), 1);
    let mut b = bench.replica("b", pool_of(1));
    bench.pump(&mut b);
    b.observe_ledger(bench.now, bench.store.ledger.clone());
    let not_owner = Answer::NotOwner { address: Some("a:1453".into()) };
    assert_eq!(bench.renew(&mut b, &claims[0], 9), not_owner);
}

#[test]
fn known_end_of_the_last_process_shortens_recovery_to_what_its_tokens_last() {
    let mut bench = Bench::new();
    let (_a, _) = first_owner(&mut bench, pool_of(1), 1);
    let mut b = bench.replica("b", pool_of(1));
    b.previous_ended(bench.now, nonce("a"));
    bench.pump(&mut b);
    assert_eq!(b.status(bench.now).role, Role::Owner, "nor is the Lease waited for");
    assert_eq!(b.status(bench.now).recovery_ends, Some(bench.now + secs(110)));
}

#[test]
fn evidence_counts_only_for_exactly_that_nonce_and_only_if_it_was_not_recovering() {
    let mut bench = Bench::new();
    let (_a, _) = first_owner(&mut bench, pool_of(1), 1);
    let mut b = bench.replica("b", pool_of(1));
    b.previous_ended(bench.now, nonce("z"));
    bench.pump(&mut b);
    assert_eq!(b.status(bench.now).role, Role::Follower);
    let seen = bench.now;
    bench.take_over(&mut b);
    assert_eq!(b.status(bench.now).recovery_ends, Some(seen + stretch(X)));

    let mut c = bench.replica("c", pool_of(1));
    c.previous_ended(bench.now, nonce("b"));
    bench.pump(&mut c);
    assert_eq!(c.status(bench.now).recovery_ends, Some(bench.now + stretch(X)), "b was recovering itself");
}

/// An owner that is cut off from the store goes on inside its promise. A check-in whose answer was lost is sent again, to
/// the next owner, and frees the units at the first one only.
#[test]
fn a_seat_that_was_given_back_to_two_owners_and_given_out_again_by_the_first_goes_on_at_the_second() {
    for adopted_before in [true, false] {
        let mut bench = Bench::new();
        let (mut a, claims) = first_owner(&mut bench, pool_of(2), 2);
        let mut b = bench.replica("b", pool_of(2));
        bench.take_over(&mut b);
        if adopted_before {
            granted(&bench.renew(&mut b, &claims[0], 10));
        }
        assert_eq!(bench.checkin(&mut a, &claims[0]), Answer::Returned);
        assert_eq!(bench.checkin(&mut b, &claims[0]), Answer::Returned);
        let again = granted(&answered(a.checkout(bench.now, ask(11, 1, &[POOL]))));
        granted(&bench.renew(&mut b, &claims[1], 12));
        let mut again = granted(&bench.renew(&mut b, &again, 13));
        assert!(!matches!(bench.renew(&mut b, &claims[0], 14), Answer::Granted { .. }), "it is over");

        assert!(
            is_full(&bench.checkout(&mut b, ask(15, 1, &[POOL]))),
            "R5: nothing is free before recovery ends"
        );
        for n in 16..30 {
            bench.run(&mut b, secs(60));
            again = granted(&bench.renew(&mut b, &again, n));
            assert!(bench.store.promise("pool") <= Some(2), "never more than the cap");
        }
        assert_eq!(bench.store.record().usage.get("pool"), Some(&1), "the other ran out");
        bench.grant(&mut b, 30, &[POOL]);
    }
}
