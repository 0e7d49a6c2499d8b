//! R11 in sentences: a ledger that is missing, or older than somebody saw, is a lost one, in whatever way it is
//! known. What it may have lent is in `borrowing.rs`.

mod support;

use genie_ledger::*;
use support::*;

#[test]
fn a_lost_ledger_is_recovered_from_as_if_every_cap_were_out() {
    let mut bench = Bench::new();
    let (_a, _) = first_owner(&mut bench, pool_of(2), 1);
    bench.store.ledger = Store::new().ledger;
    let mut b = bench.replica("b", pool_of(2).with_min_generation(Generation(4)));
    bench.take_over(&mut b);
    assert_eq!(b.status(bench.now).generation, Some(Generation(5)));
    assert!(is_full(&bench.checkout(&mut b, ask(9, 1, &[POOL]))));
    bench.run(&mut b, stretch(X) + secs(4));
    bench.grant(&mut b, 10, &[POOL]);
}

#[test]
fn a_replica_that_saw_the_ledger_takes_an_empty_one_for_lost_before_the_plan_says_so() {
    let mut bench = Bench::new();
    let (_a, _) = first_owner(&mut bench, pool_of(2), 1);
    let mut b = bench.replica("b", pool_of(2));
    b.observe_ledger(bench.now, bench.store.ledger.clone());
    bench.store.ledger = Store::new().ledger;
    bench.take_over(&mut b);
    assert_eq!(b.status(bench.now).generation, Some(Generation(2)));
    assert!(is_full(&bench.checkout(&mut b, ask(9, 1, &[POOL]))));
}

/// What was given out by a longer plan than the one that was set back with the ledger may be out for as long.
fn recovers_from_half(prepare: impl FnOnce(&mut Replica<()>, &mut Bench)) -> bool {
    let mut bench = Bench::new();
    let limits = || vec![limit(POOL, "pool", 2)];
    let (mut a, _) = first_owner(&mut bench, settings(X / 2, TTL, limits()), 0);
    let before = bench.store.record().clone();
    a.configure(bench.now, settings(X, TTL, limits()));
    bench.run(&mut a, secs(1));
    assert_eq!(bench.store.record().horizon(), X);
    let mut b = bench.replica("b", settings(X / 2, TTL, limits()).with_min_generation(Generation(1)));
    prepare(&mut b, &mut bench);
    set_back(&mut bench, before);
    b.configure(bench.now, settings(X / 2, TTL, limits()).with_min_generation(Generation(2)));
    bench.take_over(&mut b);
    bench.run(&mut b, stretch(X / 2) + secs(4));
    is_full(&bench.checkout(&mut b, ask(9, 1, &[POOL])))
}

#[test]
fn a_lost_ledger_is_recovered_from_for_as_long_as_it_was_seen_to_promise() {
    assert!(!recovers_from_half(|_, _| {}), "nobody knows");
    assert!(recovers_from_half(|b, bench| b.observe_ledger(bench.now, bench.store.ledger.clone())));
    assert!(recovers_from_half(|b, bench| {
        let settings = settings(X / 2, TTL, vec![limit(POOL, "pool", 2)]).with_longest_horizon(X);
        b.configure(bench.now, settings);
    }));
}

/// Nothing is out for longer than the owner of the last record says.
#[test]
fn what_an_owner_shortened_does_not_lengthen_a_later_recovery() {
    let limits = || vec![limit(POOL, "pool", 2)];
    let mut bench = Bench::new();
    let (mut a, _) = first_owner(&mut bench, settings(X, TTL, limits()), 0);
    let mut b = bench.replica("b", settings(X / 2, TTL, limits()));
    b.observe_ledger(bench.now, bench.store.ledger.clone());
    a.configure(bench.now, settings(X / 2, TTL, limits()));
    bench.run(&mut a, stretch(TTL) + secs(1));
    assert_eq!(bench.store.record().horizon(), X / 2);
    b.observe_ledger(bench.now, bench.store.ledger.clone());
    bench.store.ledger = Store::new().ledger;
    bench.take_over(&mut b);
    assert!(is_full(&bench.checkout(&mut b, ask(9, 1, &[POOL]))));
    bench.run(&mut b, stretch(X / 2) + secs(4));
    bench.grant(&mut b, 10, &[POOL]);
}

#[test]
fn an_older_ledger_than_was_seen_is_a_lost_one() {
    let mut bench = Bench::new();
    let (_a, _) = first_owner(&mut bench, pool_of(2), 0);
    let mut b = bench.replica("b", pool_of(2).with_min_generation(Generation(3)));
    bench.take_over(&mut b);
    assert_eq!(b.status(bench.now).generation, Some(Generation(4)));
    assert!(is_full(&bench.checkout(&mut b, ask(9, 1, &[POOL]))), "though its record promises nothing");
}

#[test]
fn an_owner_whose_plan_knows_a_newer_generation_stops_though_the_ledger_was_set_back_to_its_own() {
    let mut bench = Bench::new();
    let (mut a, _) = first_owner(&mut bench, pool_of(1), 0);
    a.configure(bench.now, pool_of(1).with_min_generation(Generation(1)));
    assert_eq!(a.status(bench.now).role, Role::Owner, "its own generation is no news");
    a.configure(bench.now, pool_of(1).with_min_generation(Generation(2)));
    assert_eq!(a.status(bench.now).role, Role::Stopped(StopReason::Fenced));
    assert!(matches!(bench.checkout(&mut a, ask(1, 1, &[POOL])), Answer::NotOwner { .. }));
}

/// What the ledger says now, and its owner promises one seat more.
fn before_one_more_seat(bench: &mut Bench, owner: &mut Replica<()>) -> Record {
    let before = bench.store.record().clone();
    bench.grant(owner, 50, &[POOL]);
    assert_eq!((before.promises["pool"], bench.store.promise("pool")), (0, Some(1)));
    before
}

fn set_back(bench: &mut Bench, record: Record) {
    bench.store.ledger = Some(ObservedLedger { version: bench.store.next_version(), record: Some(record) });
}

#[test]
fn who_saw_a_later_record_takes_an_older_one_of_the_same_generation_for_lost() {
    for saw in [false, true] {
        let mut bench = Bench::new();
        let mut a = bench.owner("a", pool_of(1));
        let mut b = bench.replica("b", pool_of(1));
        let before = before_one_more_seat(&mut bench, &mut a);
        if saw {
            b.observe_ledger(bench.now, bench.store.ledger.clone());
        }
        set_back(&mut bench, before);
        bench.take_over(&mut b);
        let counts = is_full(&bench.checkout(&mut b, ask(60, 1, &[POOL])));
        assert_eq!(counts, saw, "who saw nothing of it must be told, by the least generation of the plan");
    }
}

#[test]
fn an_owner_that_begins_anew_knows_what_it_wrote_though_no_watch_showed_it() {
    let mut bench = Bench::new();
    let mut a = bench.owner("a", pool_of(1));
    let before = before_one_more_seat(&mut bench, &mut a);
    set_back(&mut bench, before);
    // Somebody takes the Lease, and ends before the fence.
    let version = bench.store.next_version();
    let lease = bench.store.lease.as_mut().expect("a Lease");
    (lease.version, lease.record.holder) = (version, Some(nonce("b")));
    a.observe_lease(bench.now, bench.store.lease.clone());
    bench.pump(&mut a);
    assert_eq!(a.role(), Role::Stopped(StopReason::LeaseTaken));
    let mut again = a.anew(holder("c"), bench.now);
    again.previous_ended(bench.now, nonce("a"));
    bench.take_over(&mut again);
    assert!(is_full(&bench.checkout(&mut again, ask(60, 1, &[POOL]))), "its one seat is out");
}

#[test]
fn an_owner_that_sees_its_ledger_set_back_writes_it_again() {
    let mut bench = Bench::new();
    let mut a = bench.owner("a", pool_of(1));
    let before = before_one_more_seat(&mut bench, &mut a);
    let seq = bench.store.record().seq;
    set_back(&mut bench, before);
    a.observe_ledger(bench.now, bench.store.ledger.clone());
    bench.pump(&mut a);
    assert_eq!(a.role(), Role::Owner);
    assert_eq!((bench.store.promise("pool"), bench.store.record().seq), (Some(1), seq + 1));
}

#[test]
fn an_owner_whose_ledger_is_set_back_to_an_earlier_owner_stops_at_once() {
    let mut bench = Bench::new();
    let (_a, _) = first_owner(&mut bench, pool_of(1), 0);
    let before = bench.store.record().clone();
    let mut b = bench.replica("b", pool_of(1));
    bench.take_over(&mut b);
    set_back(&mut bench, before);
    b.observe_ledger(bench.now, bench.store.ledger.clone());
    bench.pump(&mut b);
    assert_eq!(
        b.role(),
        Role::Stopped(StopReason::Fenced),
        "not when its recovery ends, for another one to begin"
    );
}

#[test]
fn a_late_sight_of_its_own_ledger_makes_an_owner_look_and_write_nothing() {
    let mut bench = Bench::new();
    let mut a = bench.owner("a", pool_of(1));
    let late = bench.store.ledger.clone();
    before_one_more_seat(&mut bench, &mut a);
    let writes = bench.store.ledger_writes;
    a.observe_ledger(bench.now, late);
    let held = bench.hold(&mut a);
    assert!(matches!(&held[..], [(_, StoreRequest::ReadLedger)]), "{held:?}");
    for request in held {
        bench.answer(&mut a, request);
    }
    bench.pump(&mut a);
    assert_eq!(bench.store.ledger_writes, writes);
}

/// A ledger that is set back to before a later generation, which another process takes over and fences again: two owners
/// of one generation.
fn two_owners_of_one_generation(bench: &mut Bench) -> (Replica<()>, Claim, Replica<()>) {
    let (_a, _) = first_owner(bench, pool_of(2), 0);
    let before = bench.store.record().clone();
    let mut b = bench.replica("b", pool_of(2));
    bench.take_over(&mut b);
    bench.run(&mut b, stretch(X) + secs(4));
    let claim = bench.grant(&mut b, 50, &[POOL]);
    set_back(bench, before);
    let mut c = bench.replica("c", pool_of(2));
    bench.take_over(&mut c);
    assert_eq!(b.status(bench.now).generation, c.status(bench.now).generation);
    (b, claim, c)
}

#[test]
fn an_owner_that_is_shown_a_token_of_another_owner_of_its_generation_stops_and_takes_the_ledger_for_lost() {
    for check_in in [false, true] {
        let mut bench = Bench::new();
        let (_b, claim, mut c) = two_owners_of_one_generation(&mut bench);
        bench.grant(&mut c, 60, &[POOL]);
        let answer = if check_in { bench.checkin(&mut c, &claim) } else { bench.renew(&mut c, &claim, 61) };
        assert!(matches!(answer, Answer::NotOwner { .. }), "it denies nobody its session: {answer:?}");
        assert_eq!(c.role(), Role::Stopped(StopReason::RivalToken));
        let mut again = c.anew(holder("d"), bench.now);
        bench.take_over(&mut again);
        assert_eq!(again.status(bench.now).generation, Some(Generation(claim.generation.0 + 2)));
        assert!(is_full(&bench.checkout(&mut again, ask(62, 1, &[POOL]))), "all seats may be out");
        granted(&bench.renew(&mut again, &claim, 63));
    }
}

#[test]
fn tokens_of_every_owner_name_it() {
    let mut bench = Bench::new();
    let (b, claim, mut c) = two_owners_of_one_generation(&mut bench);
    let other = bench.grant(&mut c, 60, &[POOL]);
    let names = [b.me(), c.me()].map(|me| me.nonce.issuer());
    assert_eq!([claim.issuer, other.issuer], names);
    assert_ne!(names[0], names[1]);
    assert_ne!(claim.session, other.session, "and their sessions are never taken for each other");
}

#[test]
fn the_lease_of_one_that_has_ended_or_given_it_up_is_waited_for_where_it_is_stale() {
    for given_up in [false, true] {
        for stale in [false, true] {
            let mut bench = Bench::new();
            let (_a, _) = first_owner(&mut bench, pool_of(1), 0);
            let lease = bench.store.lease.as_mut().expect("a Lease");
            lease.stale = stale;
            lease.record.holder.take_if(|_| given_up);
            let mut b = bench.replica("b", pool_of(1));
            b.previous_ended(bench.now, nonce("a"));
            bench.pump(&mut b);
            assert_eq!(b.role() == Role::Owner, !stale, "at once");
            bench.run(&mut b, stretch(LEASE_DURATION));
            assert_eq!(b.role(), Role::Owner);
        }
    }
}
