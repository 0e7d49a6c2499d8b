//! R1, R2, Q and R10 of the seat protocol, one owner at a time.

mod support;

use genie_ledger::*;
use support::*;

#[test]
fn a_checkout_in_a_small_pool_waits_until_its_promise_is_known_to_be_written() {
    let mut bench = Bench::new();
    let mut owner = bench.owner("a", pool_of(2));
    assert_eq!(bench.store.promise("pool"), Some(0));

    let Outcome::Wait(ticket) = owner.checkout(bench.now, ask(1, 1, &[POOL])) else {
        panic!("granted early")
    };
    let held = bench.hold(&mut owner);
    assert!(
        matches!(&held[..], [(_, StoreRequest::WriteLedger { record, .. })] if record.promises["pool"] == 1)
    );
    assert_eq!(owner.take_completion(), None);
    for request in held {
        bench.answer(&mut owner, request);
    }
    let (done, answer) = owner.take_completion().expect("answered by the write");
    assert_eq!((done, valid_for(&answer)), (ticket, shrink(TTL)));
}

#[test]
fn one_write_raises_the_promise_for_everybody_in_line_in_order() {
    let mut bench = Bench::new();
    let mut owner = bench.owner("a", pool_of(3));
    let first = owner.checkout(bench.now, ask(1, 1, &[POOL]));
    let first_write = bench.hold(&mut owner);
    for n in 2..=3 {
        assert!(matches!(owner.checkout(bench.now, ask(n, 1, &[POOL])), Outcome::Wait(_)));
    }
    assert!(is_full(&answered(owner.checkout(bench.now, ask(4, 1, &[POOL])))), "three units are spoken for");
    let writes = bench.store.ledger_writes;
    for request in first_write {
        bench.answer(&mut owner, request);
    }
    bench.pump(&mut owner);
    assert_eq!(bench.store.ledger_writes - writes, 2);
    assert_eq!(first, Outcome::Wait(Ticket(0)));
    for n in 0..3 {
        let (ticket, answer) = owner.take_completion().expect("all three are answered");
        assert_eq!((ticket, valid_for(&answer)), (Ticket(n), shrink(TTL)));
    }
}

#[test]
fn a_raise_of_unknown_outcome_is_not_used_until_a_later_write_is_acknowledged() {
    let mut bench = Bench::new();
    let mut owner = bench.owner("a", pool_of(1));
    owner.checkout(bench.now, ask(1, 1, &[POOL]));
    let mut held = bench.hold(&mut owner);
    let (id, late) = held.pop().expect("the raise");
    owner.reply(bench.now, id, StoreReply::Unknown);
    assert_eq!(owner.take_completion(), None);

    bench.run(&mut owner, secs(1));
    let (_, answer) = owner.take_completion().expect("the fresh write decides");
    granted(&answer);
    assert_eq!(bench.store.apply(&late), StoreReply::Conflict, "the lost write can do no more harm");
}

#[test]
fn a_raise_that_took_effect_unseen_is_written_again_and_then_used() {
    let mut bench = Bench::new();
    let mut owner = bench.owner("a", pool_of(1));
    owner.checkout(bench.now, ask(1, 1, &[POOL]));
    let (id, request) = bench.hold(&mut owner).pop().expect("the raise");
    bench.store.apply(&request);
    owner.reply(bench.now, id, StoreReply::Unknown);
    let seq = bench.store.record().seq;
    bench.run(&mut owner, secs(1));
    assert_eq!(bench.store.record().seq, seq + 1);
    granted(&owner.take_completion().expect("answered").1);
}

#[test]
fn a_lowering_is_obeyed_from_its_send_on_even_if_its_outcome_is_unknown() {
    let mut bench = Bench::new();
    let mut owner = bench.owner("a", pool_of(1));
    let claim = bench.grant(&mut owner, 1, &[POOL]);
    bench.run(&mut owner, secs(10));
    bench.checkin(&mut owner, &claim);
    let held = bench.hold(&mut owner);
    assert!(
        held.iter().any(
            |(_, r)| matches!(r, StoreRequest::WriteLedger { record, .. } if record.promises["pool"] == 0)
        )
    );
    let next = owner.checkout(bench.now, ask(2, 1, &[POOL]));
    assert!(matches!(next, Outcome::Wait(_)), "the unit is no longer promised: {next:?}");
    for (id, _) in held {
        owner.reply(bench.now, id, StoreReply::Unknown);
    }
    assert_eq!(owner.take_completion(), None);
    bench.run(&mut owner, secs(1));
    granted(&owner.take_completion().expect("answered by the write that decides").1);
    assert_eq!(bench.store.promise("pool"), Some(1));
}

#[test]
fn a_large_pool_promises_ahead_so_that_checkouts_do_not_wait() {
    let mut bench = Bench::new();
    let mut owner = bench.owner("a", pool_of(1600));
    assert_eq!(bench.store.promise("pool"), Some(100));
    for n in 0..1600 {
        granted(&answered(owner.checkout(bench.now, ask(n, 1, &[POOL]))));
        bench.pump(&mut owner);
    }
    assert!(is_full(&answered(owner.checkout(bench.now, ask(1600, 1, &[POOL])))));
    assert!(bench.store.ledger_writes < 60, "{} writes", bench.store.ledger_writes);
}

#[test]
fn a_settled_world_writes_nothing_but_its_lease() {
    let mut bench = Bench::new();
    let mut owner = bench.owner("a", pool_of(32));
    let mut claim = bench.grant(&mut owner, 1, &[POOL]);
    bench.run(&mut owner, secs(20));
    let (writes, leases) = (bench.store.ledger_writes, bench.store.lease_writes);
    for n in 2..=20 {
        bench.run(&mut owner, secs(30));
        claim = granted(&bench.renew(&mut owner, &claim, n));
    }
    assert_eq!(bench.store.ledger_writes, writes);
    assert_eq!(bench.store.lease_writes - leases, 19 * 10);
    assert_eq!(bench.store.record().usage["pool"], 1);
}

#[test]
fn usage_is_written_at_most_once_in_five_seconds() {
    let mut bench = Bench::new();
    let unlimited = settings(X, TTL, vec![limit(POOL, "pool", None)]);
    let mut owner = bench.owner("a", unlimited);
    let writes = bench.store.ledger_writes;
    for n in 0..100 {
        bench.grant(&mut owner, n, &[POOL]);
        bench.run(&mut owner, std::time::Duration::from_millis(100));
    }
    assert!(bench.store.ledger_writes - writes <= 2);
    bench.run(&mut owner, secs(5));
    assert_eq!(bench.store.record().usage["pool"], 100);
    assert_eq!(bench.store.promise("pool"), None, "what does not limit is not promised");
}

#[test]
fn no_token_outlives_the_horizon_and_past_it_the_owner_is_unavailable() {
    let mut bench = Bench::new();
    let mut owner = bench.owner("a", pool_of(1));
    let sent = bench.now;
    let mut claim = bench.grant(&mut owner, 1, &[POOL]);
    let horizon = sent + shrink(X);
    let mut n = 2;
    while bench.now + secs(30) < horizon {
        bench.run_cut_off(&mut owner, secs(30));
        let answer = bench.renew(&mut owner, &claim, n);
        if matches!(answer, Answer::Unavailable { .. }) {
            break;
        }
        assert!(bench.now + valid_for(&answer) <= horizon);
        claim = granted(&answer);
        n += 1;
    }
    assert!(n > 15, "renewals go on without a store");
    bench.run_cut_off(&mut owner, secs(30));
    assert!(matches!(bench.checkout(&mut owner, ask(99, 1, &[POOL])), Answer::Unavailable { .. }));
    assert!(!owner.status(bench.now).serving);
}

#[test]
fn an_acknowledged_renewal_counts_from_its_send() {
    let mut bench = Bench::new();
    let mut owner = bench.owner("a", pool_of(1));
    bench.sleep(secs(3));
    owner.tick(bench.now);
    let sent = bench.now;
    let held = bench.hold(&mut owner);
    bench.sleep(secs(20));
    for request in held {
        bench.answer(&mut owner, request);
    }
    assert_eq!(owner.status(bench.now).horizon_ends, Some(sent + shrink(X)));
}

#[test]
fn a_renewal_of_unknown_outcome_moves_nothing_even_if_it_took_effect() {
    let mut bench = Bench::new();
    let mut owner = bench.owner("a", pool_of(1));
    let first = owner.status(bench.now).horizon_ends;
    bench.sleep(secs(3));
    let (id, request) = bench.hold(&mut owner).pop().expect("the renewal");
    bench.store.apply(&request);
    owner.reply(bench.now, id, StoreReply::Unknown);
    assert_eq!(owner.status(bench.now).horizon_ends, first);
    bench.sleep(secs(1));
    let read = bench.hold(&mut owner).remove(0);
    assert_eq!(read.1, StoreRequest::ReadLease);
    bench.answer(&mut owner, read);
    assert_eq!(owner.status(bench.now).horizon_ends, first, "nor by the read that finds it");
    bench.run(&mut owner, secs(1));
    assert!(owner.status(bench.now).horizon_ends > first, "the read finds its own write and renews on it");
}

#[test]
fn an_owner_whose_lease_is_recreated_taken_or_deleted_stops_for_good() {
    let gone = |change: fn(&mut Store), reason| {
        let mut bench = Bench::new();
        let mut owner = bench.owner("a", pool_of(1));
        change(&mut bench.store);
        bench.run(&mut owner, secs(4));
        assert_eq!(owner.status(bench.now).role, Role::Stopped(reason));
        bench.run(&mut owner, secs(60));
        assert_eq!(owner.status(bench.now).role, Role::Stopped(reason));
        assert!(matches!(bench.checkout(&mut owner, ask(1, 1, &[POOL])), Answer::NotOwner { .. }));
    };
    gone(|store| store.lease = None, StopReason::LeaseGone);
    gone(
        |store| {
            let version = store.next_version();
            let record = LeaseRecord::default();
            store.lease = Some(ObservedLease { uid: "lease-2".into(), version, record, stale: false });
        },
        StopReason::LeaseGone,
    );
    gone(
        |store| {
            let record = LeaseRecord { holder: Some(nonce("b")), transitions: 2 };
            let version = store.next_version();
            store.lease = Some(ObservedLease { uid: "lease-1".into(), version, record, stale: false });
        },
        StopReason::LeaseTaken,
    );
}

#[test]
fn a_late_watch_event_makes_the_owner_look_but_not_stop() {
    let mut bench = Bench::new();
    let before = bench.store.lease.clone();
    let mut owner = bench.owner("a", pool_of(1));
    owner.observe_lease(bench.now, before);
    owner.observe_lease(bench.now, None);
    owner.observe_ledger(bench.now, None);
    bench.run(&mut owner, secs(10));
    assert_eq!(owner.status(bench.now).role, Role::Owner);
}

#[test]
fn units_that_ran_out_are_free_only_after_a_renewal_sent_later_is_acknowledged() {
    let mut bench = Bench::new();
    let mut owner = bench.owner("a", pool_of(1));
    bench.grant(&mut owner, 1, &[POOL]);
    bench.run_cut_off(&mut owner, stretch(TTL) + secs(1));
    assert_eq!(owner.status(bench.now).sessions, 0);
    assert!(is_full(&bench.checkout(&mut owner, ask(2, 1, &[POOL]))), "a successor may have renewed it");
    bench.run(&mut owner, secs(4));
    bench.grant(&mut owner, 3, &[POOL]);
}

#[test]
fn a_renewal_sent_before_the_session_ran_out_frees_nothing() {
    let mut bench = Bench::new();
    let mut owner = bench.owner("a", pool_of(1));
    bench.run(&mut owner, secs(1));
    bench.grant(&mut owner, 1, &[POOL]);
    bench.run(&mut owner, stretch(TTL) - secs(2));
    bench.sleep(secs(1));
    let early = bench.hold(&mut owner);
    assert!(matches!(&early[..], [(_, StoreRequest::WriteLease { .. })]), "the renewal of second 99");
    assert_eq!(owner.status(bench.now).sessions, 1);
    bench.sleep(secs(1));
    owner.tick(bench.now);
    assert_eq!(owner.status(bench.now).sessions, 0);
    for request in early {
        bench.answer(&mut owner, request);
    }
    assert!(is_full(&bench.checkout(&mut owner, ask(2, 1, &[POOL]))));
    bench.run(&mut owner, secs(4));
    bench.grant(&mut owner, 3, &[POOL]);
}

#[test]
fn a_checked_in_unit_is_free_at_once_even_when_cut_off() {
    let mut bench = Bench::new();
    let mut owner = bench.owner("a", pool_of(1));
    let claim = bench.grant(&mut owner, 1, &[POOL]);
    bench.sleep(secs(1));
    assert_eq!(bench.checkin(&mut owner, &claim), Answer::Returned);
    granted(&answered(owner.checkout(bench.now, ask(2, 1, &[POOL]))));
}

#[test]
fn a_session_takes_all_of_its_limits_or_nothing() {
    let mut bench = Bench::new();
    let both = settings(X, TTL, vec![limit(POOL, "pool", 3), limit(FEATURE, "feature", 1)]);
    let mut owner = bench.owner("a", both);
    bench.grant(&mut owner, 1, &[POOL, FEATURE]);
    let denied = bench.checkout(&mut owner, ask(2, 1, &[POOL, FEATURE]));
    let no_units = Denial::NoUnits { limit: FEATURE, in_recovery: false, retry_after: None };
    assert_eq!(denied, Answer::Denied { reason: no_units });
    assert_eq!(owner.status(bench.now).limits[0].in_use, 1);
    bench.grant(&mut owner, 3, &[POOL]);
    let unknown = bench.checkout(&mut owner, ask(4, 1, &[LimitId(99)]));
    assert_eq!(unknown, Answer::Denied { reason: Denial::UnknownLimit { limit: LimitId(99) } });
}

#[test]
fn a_limit_that_leaves_the_plan_and_comes_back_still_counts_who_holds_it() {
    let mut bench = Bench::new();
    let both = || settings(X, TTL, vec![limit(POOL, "pool", 3), limit(FEATURE, "feature", 1)]);
    let mut owner = bench.owner("a", both());
    bench.grant(&mut owner, 1, &[POOL, FEATURE]);
    owner.configure(bench.now, pool_of(3));
    bench.run(&mut owner, secs(12));
    assert_eq!(bench.store.promise("feature"), None);
    owner.configure(bench.now, both());
    bench.pump(&mut owner);
    assert_eq!(bench.store.promise("feature"), Some(1));
    assert!(is_full(&bench.checkout(&mut owner, ask(2, 1, &[POOL, FEATURE]))));
}

#[test]
fn a_suspended_pool_renews_and_grants_nothing_new() {
    let mut bench = Bench::new();
    let mut owner = bench.owner("a", pool_of(2));
    let claim = bench.grant(&mut owner, 1, &[POOL]);
    owner.configure(bench.now, pool_of(2).with_accepting(false));
    granted(&bench.renew(&mut owner, &claim, 2));
    let denied = bench.checkout(&mut owner, ask(3, 1, &[POOL]));
    assert_eq!(denied, Answer::Denied { reason: Denial::NotAccepting });
}
