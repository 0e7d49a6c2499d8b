//! R6a, R6b and R12 in sentences: an owner that is told to stop hands its table over, or at least seals;
//! and two programs do not share one session.

mod support;

use genie_ledger::*;
use support::*;

fn seal_for(bench: &mut Bench, owner: &mut Replica<()>, successor: &mut Replica<()>) {
    let table = owner.hand_over(bench.now).expect("an owner has a table");
    let nonce = successor.accept_handover(bench.now, table).expect("a follower takes it");
    owner.handed_over(bench.now, Some(nonce));
    bench.pump(owner);
}

/// A follower that has looked around.
fn follower(bench: &mut Bench, cap: u32) -> Replica<()> {
    let mut replica = bench.replica("b", pool_of(cap));
    bench.pump(&mut replica);
    replica
}

/// The watch shows the Lease, and the replica does what follows.
fn sees_the_lease(bench: &mut Bench, replica: &mut Replica<()>) {
    replica.observe_lease(bench.now, bench.store.lease.clone());
    bench.pump(replica);
}

#[test]
fn a_handover_needs_no_wait_no_recovery_and_keeps_every_answer() {
    let mut bench = Bench::new();
    let (mut a, claims) = first_owner(&mut bench, pool_of(2), 2);
    let mut b = follower(&mut bench, 2);
    bench.run(&mut a, secs(30));
    let (answer, left) = (bench.renew(&mut a, &claims[0], 50), secs(60));
    bench.sleep(secs(30));
    seal_for(&mut bench, &mut a, &mut b);
    assert_eq!(a.role(), Role::Stopped(StopReason::Released));
    assert_eq!(
        bench.store.lease.as_ref().unwrap().record.holder,
        Some(nonce("b")),
        "the Lease is b's by name"
    );
    sees_the_lease(&mut bench, &mut b);
    assert_eq!(b.role(), Role::Owner, "without a wait");
    assert_eq!(b.status(bench.now).recovery_ends, None);
    assert!(!bench.store.record().recovering);
    assert_eq!(bench.store.record().sealed, None);
    // R8 over the handover: the last renewal again, with what remains of it.
    let again = bench.renew(&mut b, &claims[0], 50);
    assert!(valid_for(&again) < valid_for(&answer));
    assert_eq!(valid_for(&again), shrink(left));
    assert!(is_full(&bench.checkout(&mut b, ask(60, 1, &[POOL]))), "both seats are held");
    bench.checkin(&mut b, &claims[1]);
    bench.grant(&mut b, 61, &[POOL]);
}

#[test]
fn what_is_left_of_a_handed_session_ends_by_the_successors_clock() {
    let mut bench = Bench::new();
    let (mut a, _) = first_owner(&mut bench, pool_of(1), 1);
    let mut b = follower(&mut bench, 1);
    bench.sleep(secs(60));
    seal_for(&mut bench, &mut a, &mut b);
    sees_the_lease(&mut bench, &mut b);
    // 99 s by the clock of a, of which 60 had passed.
    bench.run(&mut b, secs(38));
    assert!(is_full(&bench.checkout(&mut b, ask(60, 1, &[POOL]))));
    bench.run(&mut b, secs(1) + LEASE_RENEW + LEASE_RENEW);
    bench.grant(&mut b, 61, &[POOL]);
}

#[test]
fn a_seal_without_a_table_needs_a_recovery_of_the_ttl_only() {
    let mut bench = Bench::new();
    let (mut a, claims) = first_owner(&mut bench, pool_of(1), 1);
    let mut b = follower(&mut bench, 1);
    a.release(bench.now);
    bench.pump(&mut a);
    assert_eq!(bench.store.lease.as_ref().unwrap().record.holder, None);
    sees_the_lease(&mut bench, &mut b);
    assert_eq!(b.role(), Role::Owner);
    let ends = b.status(bench.now).recovery_ends.expect("it recovers");
    assert_eq!(ends.since(bench.now), secs(110), "ttl(1+ρ)/(1-ρ)");
    assert!(is_full(&bench.checkout(&mut b, ask(60, 1, &[POOL]))));
    granted(&bench.renew(&mut b, &claims[0], 50));
}

#[test]
fn a_table_is_good_for_its_own_seal_only() {
    let mut bench = Bench::new();
    let (mut a, _) = first_owner(&mut bench, pool_of(1), 1);
    let mut b = follower(&mut bench, 1);
    let mut table = a.hand_over(bench.now).unwrap();
    table.sealed.nonce = nonce("another");
    table.sessions.clear();
    let name = b.accept_handover(bench.now, table);
    a.handed_over(bench.now, name);
    bench.pump(&mut a);
    sees_the_lease(&mut bench, &mut b);
    assert_eq!(b.role(), Role::Owner);
    assert!(b.status(bench.now).recovery_ends.is_some());
    assert!(is_full(&bench.checkout(&mut b, ask(60, 1, &[POOL]))));
}

/// A table without sessions, as if of this owner.
fn empty_table(generation: u64, owner: &str) -> Handover<()> {
    let sealed = Sealed { generation: Generation(generation), nonce: nonce(owner) };
    Handover { sealed, sessions: Vec::new() }
}

#[test]
fn a_late_table_of_an_earlier_owner_does_not_take_the_place_of_a_later_ones() {
    let mut bench = Bench::new();
    let (_z, _) = first_owner(&mut bench, pool_of(1), 0);
    let mut a = bench.replica("z", pool_of(1));
    bench.take_over(&mut a);
    bench.run(&mut a, stretch(X) + secs(4));
    bench.grant(&mut a, 50, &[POOL]);
    let mut b = follower(&mut bench, 1);
    b.observe_ledger(bench.now, bench.store.ledger.clone());
    seal_for(&mut bench, &mut a, &mut b);
    assert_eq!(b.accept_handover(bench.now, empty_table(1, "a")), None);
    sees_the_lease(&mut bench, &mut b);
    assert_eq!((b.role(), b.status(bench.now).recovery_ends), (Role::Owner, None));
    assert!(is_full(&bench.checkout(&mut b, ask(60, 1, &[POOL]))));
}

#[test]
fn a_takeover_that_rests_on_a_table_ends_with_that_one() {
    let mut bench = Bench::new();
    let (mut a, _) = first_owner(&mut bench, pool_of(1), 1);
    let mut b = follower(&mut bench, 1);
    seal_for(&mut bench, &mut a, &mut b);
    b.observe_lease(bench.now, bench.store.lease.clone());
    while let [request] = &bench.hold(&mut b)[..] {
        assert_eq!(b.accept_handover(bench.now, empty_table(1, "a")), None);
        bench.answer(&mut b, request.clone());
        if b.role() == Role::Owner {
            break;
        }
    }
    assert_eq!((b.role(), b.status(bench.now).recovery_ends), (Role::Owner, None));
    assert!(is_full(&bench.checkout(&mut b, ask(60, 1, &[POOL]))));
}

#[test]
fn an_owner_that_still_recovers_seals_nothing() {
    let mut bench = Bench::new();
    let (_, _) = first_owner(&mut bench, pool_of(1), 1);
    let mut b = bench.replica("b", pool_of(1));
    bench.take_over(&mut b);
    assert_eq!(b.hand_over(bench.now), None);
    bench.pump(&mut b);
    assert_eq!(b.role(), Role::Stopped(StopReason::Released));
    assert_eq!(bench.store.record().sealed, None);
}

#[test]
fn an_owner_that_hands_over_serves_no_more_and_seals_only_when_told_who_has_the_table() {
    let mut bench = Bench::new();
    let (mut a, claims) = first_owner(&mut bench, pool_of(1), 1);
    a.hand_over(bench.now).unwrap();
    assert!(matches!(bench.renew(&mut a, &claims[0], 50), Answer::NotOwner { .. }));
    bench.run(&mut a, secs(2));
    assert_eq!(bench.store.record().sealed, None);
    a.handed_over(bench.now, None);
    bench.pump(&mut a);
    assert!(bench.store.record().sealed.is_some());
}

#[test]
fn a_seal_that_was_lost_is_written_again_and_a_fenced_owner_gives_no_lease() {
    let mut bench = Bench::new();
    let (mut a, _) = first_owner(&mut bench, pool_of(1), 1);
    let mut b = follower(&mut bench, 1);
    a.release(bench.now);
    let lost = bench.hold(&mut a);
    assert_eq!(lost.len(), 1, "the seal, and not the Lease before it: {lost:?}");
    a.reply(bench.now, lost[0].0, StoreReply::Unknown);
    bench.run(&mut a, secs(1));
    assert!(bench.store.record().sealed.is_some());
    assert_eq!(a.role(), Role::Stopped(StopReason::Released));

    let (mut c, _) = first_owner(&mut Bench::new(), pool_of(1), 1);
    c.release(bench.now);
    let held = bench.hold(&mut c);
    bench.take_over(&mut b);
    let writes = bench.store.lease_writes;
    for request in held {
        bench.answer(&mut c, request);
    }
    bench.pump(&mut c);
    assert_eq!(c.role(), Role::Stopped(StopReason::Released));
    assert_eq!(bench.store.lease_writes, writes, "the Lease is another's");
}

#[test]
fn proof_of_the_end_shortens_a_recovery_that_is_under_way() {
    let mut bench = Bench::new();
    let (_, _) = first_owner(&mut bench, pool_of(1), 1);
    let mut b = bench.replica("b", pool_of(1));
    bench.take_over(&mut b);
    let full = b.status(bench.now).recovery_ends.unwrap();
    b.previous_ended(bench.now, nonce("somebody"));
    assert_eq!(b.status(bench.now).recovery_ends, Some(full));
    b.previous_ended(bench.now, nonce("a"));
    assert_eq!(b.status(bench.now).recovery_ends, Some(bench.now + secs(110)));
}

#[test]
fn two_programs_do_not_renew_one_session() {
    let mut bench = Bench::new();
    let (mut a, claims) = first_owner(&mut bench, pool_of(1), 1);
    let second = granted(&bench.renew(&mut a, &claims[0], 50));
    let denied = |reason| Answer::Denied { reason };
    assert_eq!(bench.renew(&mut a, &claims[0], 51), denied(Denial::CloneDetected));
    granted(&bench.renew(&mut a, &claims[0], 50));
    granted(&bench.renew(&mut a, &second, 52));
    assert_eq!(
        bench.renew(&mut a, &claims[0], 51),
        denied(Denial::SessionExpired),
        "a late copy, not a clone"
    );
    bench.run(&mut a, secs(10));
    assert_eq!(bench.store.record().clones, 1);
}

#[test]
fn a_newer_token_goes_on_where_an_older_copy_was_adopted_first() {
    let mut bench = Bench::new();
    let (mut a, claims) = first_owner(&mut bench, pool_of(1), 1);
    let newer = granted(&bench.renew(&mut a, &claims[0], 50));
    let mut b = bench.replica("b", pool_of(1));
    bench.take_over(&mut b);
    granted(&bench.renew(&mut b, &claims[0], 51));
    let newest = granted(&bench.renew(&mut b, &newer, 52));
    assert_eq!(newest.counter, 2);
}
