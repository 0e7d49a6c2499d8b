//! R10 in sentences: a changed plan is obeyed at once where it is smaller, and once it is recorded where it is larger.

mod support;

use genie_ledger::*;
use support::*;

#[test]
fn a_lower_cap_takes_nothing_away_and_grants_nothing_more() {
    let mut bench = Bench::new();
    let mut owner = bench.owner("a", pool_of(3));
    let claims: Vec<_> = (0..3).map(|n| bench.grant(&mut owner, n, &[POOL])).collect();
    owner.configure(bench.now, pool_of(1));
    bench.run(&mut owner, secs(6));
    let in_force = |owner: &Replica<()>, now| owner.status(now).limits[0].in_force;
    assert_eq!(in_force(&owner, bench.now), Some(3));
    granted(&bench.renew(&mut owner, &claims[0], 10));
    bench.checkin(&mut owner, &claims[1]);
    assert!(is_full(&bench.checkout(&mut owner, ask(11, 1, &[POOL]))));
    bench.run(&mut owner, secs(6));
    assert_eq!(in_force(&owner, bench.now), Some(2));
    bench.checkin(&mut owner, &claims[2]);
    bench.run(&mut owner, secs(6));
    assert_eq!(in_force(&owner, bench.now), Some(1));
    assert_eq!(bench.store.promise("pool"), Some(1));
}

#[test]
fn in_force_stays_high_until_the_lower_promise_is_acknowledged() {
    let mut bench = Bench::new();
    let mut owner = bench.owner("a", pool_of(3));
    let claims: Vec<_> = (0..3).map(|n| bench.grant(&mut owner, n, &[POOL])).collect();
    bench.run(&mut owner, secs(12));
    owner.configure(bench.now, pool_of(1));
    for claim in &claims {
        bench.checkin(&mut owner, claim);
    }
    bench.run_cut_off(&mut owner, secs(6));
    assert_eq!(owner.status(bench.now).limits[0].promised, Some(0));
    assert_eq!(owner.status(bench.now).limits[0].in_force, Some(3));
    bench.run(&mut owner, secs(6));
    assert_eq!(owner.status(bench.now).limits[0].in_force, Some(1));
}

#[test]
fn a_smaller_ttl_and_horizon_are_obeyed_at_once_and_recorded_when_the_old_tokens_are_over() {
    let mut bench = Bench::new();
    let mut owner = bench.owner("a", pool_of(1));
    bench.run(&mut owner, 2 * TTL);
    let claim = bench.grant(&mut owner, 1, &[POOL]);
    let smaller = settings(secs(120), secs(30), vec![limit(POOL, "pool", 1)]);
    owner.configure(bench.now, smaller);
    assert_eq!(valid_for(&bench.renew(&mut owner, &claim, 2)), shrink(secs(30)));
    bench.run(&mut owner, stretch(TTL) - secs(1));
    assert_eq!((bench.store.record().horizon_ms, bench.store.record().ttl_ms), (600_000, 90_000));
    bench.run(&mut owner, secs(2));
    assert_eq!((bench.store.record().horizon_ms, bench.store.record().ttl_ms), (120_000, 30_000));
}

#[test]
fn a_larger_ttl_is_used_only_once_it_is_recorded() {
    let mut bench = Bench::new();
    let mut owner = bench.owner("a", pool_of(1));
    let claim = bench.grant(&mut owner, 1, &[POOL]);
    owner.configure(bench.now, settings(X, secs(300), vec![limit(POOL, "pool", 1)]));
    let renewed = bench.renew(&mut owner, &claim, 2);
    assert_eq!(valid_for(&renewed), shrink(TTL));
    bench.pump(&mut owner);
    assert_eq!(bench.store.record().ttl_ms, 300_000);
    assert_eq!(valid_for(&bench.renew(&mut owner, &granted(&renewed), 3)), shrink(secs(300)));
}

#[test]
fn a_larger_horizon_is_used_only_once_it_is_recorded() {
    let mut bench = Bench::new();
    let mut owner = bench.owner("a", pool_of(1));
    let sent = bench.now;
    owner.configure(bench.now, settings(2 * X, TTL, vec![limit(POOL, "pool", 1)]));
    let (id, write) = bench.hold(&mut owner).remove(0);
    bench.store.apply(&write);
    owner.reply(bench.now, id, StoreReply::Unknown);
    assert_eq!(owner.status(bench.now).horizon_ends, Some(sent + shrink(X)));
    bench.run(&mut owner, secs(1));
    assert_eq!(owner.status(bench.now).horizon_ends, Some(sent + shrink(2 * X)));
}

#[test]
fn a_first_cap_takes_nothing_away_though_its_owner_was_gone_before_it_heard_of_it() {
    let plan =
        |cap: Option<u32>| settings(X, TTL, vec![limit(POOL, "pool", 9), limit(FEATURE, "feature", cap)]);
    let mut bench = Bench::new();
    let mut a = bench.owner("a", plan(None));
    let claims: Vec<_> = (0..3).map(|n| bench.grant(&mut a, n, &[POOL, FEATURE])).collect();
    bench.run(&mut a, secs(10));
    let mut b = bench.replica("b", plan(Some(1)));
    bench.take_over(&mut b);
    assert_eq!(b.status(bench.now).limits[1].in_force, Some(3));
    for (claim, n) in claims.iter().zip(10..) {
        granted(&bench.renew(&mut b, claim, n));
    }
    bench.run(&mut b, secs(20));
    assert!(is_full(&bench.checkout(&mut b, ask(20, 1, &[FEATURE]))));
    bench.grant(&mut b, 21, &[POOL]);
}
