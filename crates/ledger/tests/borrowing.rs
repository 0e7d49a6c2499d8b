//! R9 and R11 in sentences: a document is in the ledger before it is issued and until its units may be used
//! again; and what a lost ledger may have lent stays closed.

mod support;

use std::num::NonZeroU32;

use genie_ledger::*;
use support::*;

const DAY: u64 = 24 * 3600;
/// The wall clock when a test begins.
const NOON: UnixSeconds = UnixSeconds(1_800_000_000);

fn lending(settings: Settings, max_units: u32) -> Settings {
    let max_units = NonZeroU32::new(max_units).expect("at least one unit");
    settings.with_borrowing(Some(Borrowing { max_units, longest: secs(7 * DAY) })).expect("a week is short")
}

fn pool_that_lends(cap: u32, max_units: u32) -> Settings {
    lending(pool_of(cap), max_units)
}

/// A first owner of a new ledger that knows the wall clock.
fn lender(bench: &mut Bench, settings: Settings) -> Replica<()> {
    let mut owner = bench.owner("a", settings);
    owner.set_wall_clock(bench.now, NOON);
    owner
}

/// The owner after one that is gone without a trace.
fn successor(bench: &mut Bench, settings: Settings) -> Replica<()> {
    let mut owner = bench.replica("b", settings);
    owner.set_wall_clock(bench.now, NOON);
    bench.take_over(&mut owner);
    owner
}

fn for_days(n: u128, days: u64, limits: &[LimitId]) -> BorrowRequest {
    let CheckoutRequest { operation, grant, limits, count, .. } = ask(n, 1, limits);
    BorrowRequest { operation, grant, limits, count, until: NOON.plus(secs(days * DAY)) }
}

fn a_day(n: u128) -> BorrowRequest {
    for_days(n, 1, &[POOL])
}

/// The answer to a call that waits for a write if it must.
fn settled(bench: &mut Bench, replica: &mut Replica<()>, outcome: Outcome) -> Answer {
    match outcome {
        Outcome::Answer(answer) => answer,
        Outcome::Wait(ticket) => {
            bench.pump(replica);
            let (done, answer) = replica.take_completion().expect("the write answers");
            assert_eq!(done, ticket);
            answer
        }
    }
}

fn borrow(bench: &mut Bench, replica: &mut Replica<()>, request: &BorrowRequest) -> Answer {
    let outcome = replica.borrow(bench.now, request);
    settled(bench, replica, outcome)
}

fn give_back(bench: &mut Bench, replica: &mut Replica<()>, id: &str) -> Answer {
    let outcome = replica.give_back_borrowed(bench.now, id, Generation(0));
    settled(bench, replica, outcome)
}

fn lent(answer: &Answer) -> Borrowed {
    match answer {
        Answer::Lent { borrowed, .. } => borrowed.clone(),
        other => panic!("not lent: {other:?}"),
    }
}

fn denied(answer: &Answer) -> Denial {
    match answer {
        Answer::Denied { reason } => reason.clone(),
        other => panic!("not denied: {other:?}"),
    }
}

fn pool(bench: &Bench, replica: &Replica<()>) -> LimitStatus {
    replica.status(bench.now).limits[0].clone()
}

fn entries(bench: &Bench) -> Vec<String> {
    bench.store.record().borrowed.iter().map(|entry| entry.id.to_string()).collect()
}

#[test]
fn a_document_is_issued_only_once_its_entry_is_known_to_be_written() {
    let mut bench = Bench::new();
    let mut owner = lender(&mut bench, pool_that_lends(2, 2));
    let Outcome::Wait(ticket) = owner.borrow(bench.now, &a_day(1)) else { panic!("lent early") };
    let held = bench.hold(&mut owner);
    assert_eq!(held.len(), 1, "one write: {held:?}");
    assert!(matches!(owner.borrow(bench.now, &a_day(1)), Outcome::Wait(_)), "nor for a retry");
    assert_eq!(owner.take_completion(), None);
    for request in held {
        bench.answer(&mut owner, request);
    }
    let (done, answer) = owner.take_completion().expect("answered by the write");
    assert_eq!(done, ticket);
    assert_eq!(lent(&answer), bench.store.record().borrowed[0]);
    assert_eq!(lent(&answer).until(), NOON.plus(secs(DAY)), "the end asked for");
    assert_eq!(*lent(&answer).limits[0], *"pool");
}

#[test]
fn an_entry_of_unknown_outcome_counts_and_is_issued_by_the_write_that_decides() {
    for took_effect in [false, true] {
        let mut bench = Bench::new();
        let mut owner = lender(&mut bench, pool_that_lends(1, 1));
        assert!(matches!(owner.borrow(bench.now, &a_day(1)), Outcome::Wait(_)));
        let (id, request) = bench.hold(&mut owner).pop().expect("the entry");
        if took_effect {
            bench.store.apply(&request);
        }
        owner.reply(bench.now, id, StoreReply::Unknown);
        assert_eq!(owner.take_completion(), None);
        assert!(is_full(&answered(owner.checkout(bench.now, ask(2, 1, &[POOL])))));
        assert_eq!(pool(&bench, &owner).borrowed, 1);
        bench.run(&mut owner, secs(1));
        lent(&owner.take_completion().expect("answered by the write that decides").1);
        assert_eq!(bench.store.apply(&request), StoreReply::Conflict, "the lost write can do no more harm");
    }
}

#[test]
fn a_retry_gets_the_same_end_again_also_from_the_next_owner() {
    let mut bench = Bench::new();
    let mut a = lender(&mut bench, pool_that_lends(2, 1));
    let first = lent(&borrow(&mut bench, &mut a, &a_day(1)));
    a.set_wall_clock(bench.now, NOON.plus(secs(3600)));
    let longer = for_days(1, 3, &[POOL]);
    assert_eq!(lent(&answered(a.borrow(bench.now, &longer))), first, "the first answer, whatever it asks");
    let mut b = successor(&mut bench, pool_that_lends(2, 1));
    assert_eq!(lent(&answered(b.borrow(bench.now, &a_day(1)))), first);
    assert!(matches!(denied(&borrow(&mut bench, &mut b, &a_day(2))), Denial::BorrowLimit));
}

#[test]
fn a_borrowed_unit_counts_in_every_limit_that_it_touches() {
    let mut bench = Bench::new();
    let limits = vec![limit(POOL, "pool", 2), limit(FEATURE, "feature", 1)];
    let mut owner = lender(&mut bench, lending(settings(X, TTL, limits), 2));
    lent(&borrow(&mut bench, &mut owner, &for_days(1, 1, &[POOL, FEATURE])));
    let checked = bench.checkout(&mut owner, ask(2, 1, &[POOL, FEATURE]));
    assert!(matches!(denied(&checked), Denial::NoUnits { limit: FEATURE, .. }), "{checked:?}");
    let refused = borrow(&mut bench, &mut owner, &for_days(3, 1, &[FEATURE]));
    assert!(matches!(denied(&refused), Denial::NoUnits { limit: FEATURE, .. }), "{refused:?}");
    bench.grant(&mut owner, 4, &[POOL]);
    assert!(is_full(&bench.checkout(&mut owner, ask(5, 1, &[POOL]))));
    let status = owner.status(bench.now);
    assert_eq!(status.limits.iter().map(|l| (l.in_use, l.borrowed)).collect::<Vec<_>>(), [(1, 1), (0, 1)]);
}

#[test]
fn a_seat_that_waits_for_its_promise_is_not_lent() {
    let mut bench = Bench::new();
    let mut owner = lender(&mut bench, pool_that_lends(1, 1));
    assert!(matches!(owner.checkout(bench.now, ask(1, 1, &[POOL])), Outcome::Wait(_)));
    assert!(is_full(&answered(owner.borrow(bench.now, &a_day(2)))));
}

#[test]
fn in_recovery_what_was_promised_what_is_granted_and_what_is_borrowed_count_together() {
    let mut bench = Bench::new();
    let mut a = lender(&mut bench, pool_that_lends(4, 4));
    bench.grant(&mut a, 1, &[POOL]);
    lent(&borrow(&mut bench, &mut a, &a_day(2)));
    let mut b = successor(&mut bench, pool_that_lends(4, 4));
    assert!(b.status(bench.now).recovery_ends.is_some());
    bench.grant(&mut b, 3, &[POOL]);
    lent(&borrow(&mut bench, &mut b, &a_day(4)));
    assert!(is_full(&borrow(&mut bench, &mut b, &a_day(5))), "1 promised, 1 granted, 2 borrowed");
    assert!(is_full(&bench.checkout(&mut b, ask(6, 1, &[POOL]))));
}

#[test]
fn a_unit_that_was_given_back_is_free_once_the_removal_is_known() {
    let mut bench = Bench::new();
    let mut owner = lender(&mut bench, pool_that_lends(1, 1));
    let document = lent(&borrow(&mut bench, &mut owner, &a_day(1)));
    let Outcome::Wait(ticket) = owner.give_back_borrowed(bench.now, &document.id, Generation(1)) else {
        panic!("answered early")
    };
    let (id, request) = bench.hold(&mut owner).pop().expect("the removal");
    bench.store.apply(&request);
    owner.reply(bench.now, id, StoreReply::Unknown);
    assert!(is_full(&answered(owner.checkout(bench.now, ask(2, 1, &[POOL])))), "it may still be lent");
    assert_eq!(answered(owner.borrow(bench.now, &a_day(1))), Answer::Returned, "and is lent no more");
    bench.run(&mut owner, secs(1));
    assert_eq!(owner.take_completion(), Some((ticket, Answer::Returned)));
    assert_eq!(answered(owner.borrow(bench.now, &a_day(1))), Answer::Returned, "a late copy finds it over");
    assert_eq!(give_back(&mut bench, &mut owner, &document.id), Answer::Returned, "said twice");
    bench.grant(&mut owner, 3, &[POOL]);
}

#[test]
fn an_entry_that_was_given_back_before_it_was_known_is_never_issued() {
    let mut bench = Bench::new();
    let mut owner = lender(&mut bench, pool_that_lends(1, 1));
    let Outcome::Wait(first) = owner.borrow(bench.now, &a_day(1)) else { panic!("lent early") };
    let held = bench.hold(&mut owner);
    let Outcome::Wait(second) = owner.give_back_borrowed(bench.now, &a_day(1).id(), Generation(1)) else {
        panic!("answered early")
    };
    for request in held {
        bench.answer(&mut owner, request);
    }
    assert_eq!(owner.take_completion(), None, "the entry is there, and is to go");
    bench.pump(&mut owner);
    assert_eq!(entries(&bench), [""; 0]);
    assert_eq!(owner.take_completion(), Some((first, Answer::Returned)));
    assert_eq!(owner.take_completion(), Some((second, Answer::Returned)));
}

#[test]
fn a_document_ends_by_the_wall_clock_after_its_margin_and_its_units_are_free_once_that_is_written() {
    let mut bench = Bench::new();
    let mut owner = lender(&mut bench, pool_that_lends(1, 1));
    let document = lent(&borrow(&mut bench, &mut owner, &a_day(1)));
    owner.set_wall_clock(bench.now, NOON.plus(secs(DAY) + BORROW_SKEW - secs(1)));
    bench.run(&mut owner, secs(10));
    assert_eq!(entries(&bench), [&*document.id], "a client's clock may be behind");
    owner.set_wall_clock(bench.now, NOON.plus(secs(DAY) + BORROW_SKEW));
    let held = bench.hold(&mut owner);
    assert!(is_full(&answered(owner.checkout(bench.now, ask(2, 1, &[POOL])))));
    for request in held {
        bench.answer(&mut owner, request);
    }
    assert_eq!(entries(&bench), [""; 0]);
    bench.grant(&mut owner, 3, &[POOL]);
}

#[test]
fn a_wall_clock_that_is_set_back_ends_nothing_earlier_and_lends_nothing_longer() {
    let mut bench = Bench::new();
    let mut owner = lender(&mut bench, pool_that_lends(2, 2));
    let document = lent(&borrow(&mut bench, &mut owner, &for_days(1, 2, &[POOL])));
    owner.set_wall_clock(bench.now, NOON.minus(secs(5 * DAY)));
    bench.run(&mut owner, secs(10));
    assert_eq!(entries(&bench), [&*document.id]);
    owner.set_wall_clock(bench.now, NOON.plus(secs(DAY)));
    owner.set_wall_clock(bench.now, NOON);
    let past = borrow(&mut bench, &mut owner, &a_day(2));
    assert!(matches!(denied(&past), Denial::BorrowPeriod { .. }), "that end was seen already: {past:?}");
}

#[test]
fn without_a_wall_clock_nothing_is_lent_and_nothing_ends() {
    let mut bench = Bench::new();
    let mut a = bench.owner("a", pool_that_lends(2, 2));
    assert!(matches!(borrow(&mut bench, &mut a, &a_day(1)), Answer::Unavailable { .. }));
    a.set_wall_clock(bench.now, NOON);
    lent(&borrow(&mut bench, &mut a, &a_day(1)));
    let mut b = bench.replica("b", pool_that_lends(2, 2));
    bench.take_over(&mut b);
    bench.run(&mut b, secs(3 * DAY));
    assert_eq!(entries(&bench).len(), 1);
}

#[test]
fn a_document_ends_within_the_longest_period() {
    let mut bench = Bench::new();
    let mut owner = lender(&mut bench, pool_that_lends(9, 9));
    for days in [0, 8] {
        let refused = borrow(&mut bench, &mut owner, &for_days(1, days, &[POOL]));
        assert_eq!(denied(&refused), Denial::BorrowPeriod { longest: secs(7 * DAY) });
    }
    lent(&borrow(&mut bench, &mut owner, &for_days(1, 7, &[POOL])));
    let endless = pool_of(1).with_borrowing(Some(Borrowing { max_units: NonZeroU32::MIN, longest: secs(0) }));
    assert_eq!(endless, Err(SettingsError::LongestBorrow(secs(0))));
}

#[test]
fn no_more_units_are_lent_than_the_plan_lends() {
    let mut bench = Bench::new();
    let mut owner = lender(&mut bench, pool_that_lends(9, 2));
    lent(&borrow(&mut bench, &mut owner, &a_day(1)));
    lent(&borrow(&mut bench, &mut owner, &a_day(2)));
    assert_eq!(denied(&borrow(&mut bench, &mut owner, &a_day(3))), Denial::BorrowLimit);
    give_back(&mut bench, &mut owner, &a_day(1).id());
    lent(&borrow(&mut bench, &mut owner, &a_day(3)));
}

#[test]
fn a_record_holds_so_many_documents() {
    let mut bench = Bench::new();
    let most = MAX_BORROWED as u128 - 1;
    let mut owner = lender(&mut bench, pool_that_lends(10_000, 10_000));
    for n in 0..most {
        let waits = owner.borrow(bench.now, &a_day(n));
        assert!(matches!(waits, Outcome::Wait(_)), "{waits:?}");
        if n % 1_000 == 999 {
            bench.pump(&mut owner);
            for _ in 0..1_000 {
                lent(&owner.take_completion().expect("written").1);
            }
        }
    }
    assert_eq!(denied(&borrow(&mut bench, &mut owner, &a_day(most))), Denial::BorrowLimit);
    bench.pump(&mut owner);
    assert_eq!(entries(&bench).len() as u128, most);
    let json = serde_json::to_vec(&bench.store.record().borrowed).expect("a record is JSON");
    assert!((350_000..600_000).contains(&json.len()), "{} bytes", json.len());
}

#[test]
fn a_record_holds_fewer_documents_of_many_long_names() {
    let mut bench = Bench::new();
    let name = |id: u64| format!("feature/{}/{id:04}", "f".repeat(100));
    let limits = (0..16).map(|id| limit(LimitId(id), &name(id), 10_000)).collect();
    let mut owner = lender(&mut bench, lending(settings(X, TTL, limits), 10_000));
    let all: Vec<LimitId> = (0..16).map(LimitId).collect();
    let lent = (0..1_000).take_while(|n| {
        let outcome = owner.borrow(bench.now, &for_days(*n, 1, &all));
        let refused = Outcome::Answer(Answer::Denied { reason: Denial::BorrowLimit });
        assert!(matches!(outcome, Outcome::Wait(_)) || outcome == refused, "{outcome:?}");
        outcome != refused
    });
    let lent = lent.count();
    bench.pump(&mut owner);
    assert_eq!(entries(&bench).len(), lent);
    let json = serde_json::to_vec(&bench.store.record().borrowed).expect("a record is JSON");
    assert!((590_000..600_000).contains(&json.len()), "{} bytes", json.len());
}

#[test]
fn a_plan_that_lends_no_more_leaves_what_is_lent() {
    let mut bench = Bench::new();
    let mut owner = bench.owner("a", pool_of(2));
    owner.set_wall_clock(bench.now, NOON);
    assert_eq!(denied(&borrow(&mut bench, &mut owner, &a_day(1))), Denial::BorrowingOff);
    owner.configure(bench.now, pool_that_lends(2, 2));
    let document = lent(&borrow(&mut bench, &mut owner, &a_day(1)));
    owner.configure(bench.now, pool_of(2));
    assert_eq!(denied(&borrow(&mut bench, &mut owner, &a_day(2))), Denial::BorrowingOff);
    assert_eq!(lent(&borrow(&mut bench, &mut owner, &a_day(1))), document);
    bench.grant(&mut owner, 3, &[POOL]);
    assert!(is_full(&bench.checkout(&mut owner, ask(4, 1, &[POOL]))));
    give_back(&mut bench, &mut owner, &document.id);
    bench.grant(&mut owner, 5, &[POOL]);
}

#[test]
fn a_lower_cap_takes_no_document_away_and_stays_in_force_as_what_is_out() {
    let mut bench = Bench::new();
    let mut owner = lender(&mut bench, pool_that_lends(3, 3));
    bench.grant(&mut owner, 1, &[POOL]);
    lent(&borrow(&mut bench, &mut owner, &a_day(2)));
    owner.configure(bench.now, pool_that_lends(1, 3));
    bench.run(&mut owner, secs(10));
    assert_eq!(entries(&bench).len(), 1);
    assert_eq!(pool(&bench, &owner).in_force, Some(2), "1 promised and 1 borrowed");
    give_back(&mut bench, &mut owner, &a_day(2).id());
    assert_eq!(pool(&bench, &owner).in_force, Some(1));
    assert!(is_full(&bench.checkout(&mut owner, ask(3, 1, &[POOL]))));
}

#[test]
fn a_document_that_nobody_has_yet_is_withdrawn_when_the_cap_is_lowered() {
    let mut bench = Bench::new();
    let mut owner = lender(&mut bench, pool_that_lends(2, 2));
    bench.grant(&mut owner, 1, &[POOL]);
    let Outcome::Wait(ticket) = owner.borrow(bench.now, &a_day(2)) else { panic!("lent early") };
    let held = bench.hold(&mut owner);
    owner.configure(bench.now, pool_that_lends(1, 2));
    for request in held {
        bench.answer(&mut owner, request);
    }
    assert_eq!(owner.take_completion(), None, "its entry is there, and is to go");
    bench.pump(&mut owner);
    assert_eq!(owner.take_completion(), Some((ticket, Answer::Returned)));
    assert_eq!(entries(&bench), [""; 0]);
}

#[test]
fn a_promise_ahead_of_need_leaves_room_for_what_is_lent() {
    let mut bench = Bench::new();
    let mut owner = lender(&mut bench, pool_that_lends(32, 32));
    assert_eq!(bench.store.promise("pool"), Some(2));
    for n in 0..31 {
        lent(&borrow(&mut bench, &mut owner, &a_day(n)));
    }
    bench.run(&mut owner, secs(10));
    assert_eq!(bench.store.promise("pool"), Some(1), "one floating unit is all that may be out");
    let writes = bench.store.ledger_writes;
    bench.run(&mut owner, secs(60));
    assert_eq!(bench.store.ledger_writes, writes);
}

#[test]
fn a_document_is_no_reason_to_write_again() {
    let mut bench = Bench::new();
    let mut owner = lender(&mut bench, pool_that_lends(2, 2));
    for n in [9, 3] {
        lent(&borrow(&mut bench, &mut owner, &a_day(n)));
    }
    let mut b = successor(&mut bench, pool_that_lends(2, 2));
    bench.run(&mut b, secs(700));
    let writes = bench.store.ledger_writes;
    b.set_wall_clock(bench.now, NOON.plus(secs(600)));
    bench.run(&mut b, secs(600));
    assert_eq!(bench.store.ledger_writes, writes);
}

#[test]
fn who_waits_too_long_for_a_document_is_told_so_and_finds_it_later() {
    let mut bench = Bench::new();
    let mut owner = lender(&mut bench, pool_that_lends(1, 1));
    let Outcome::Wait(ticket) = owner.borrow(bench.now, &a_day(1)) else { panic!("lent early") };
    bench.run_cut_off(&mut owner, secs(10));
    let (done, answer) = owner.take_completion().expect("answered in time");
    assert_eq!(done, ticket);
    assert!(matches!(answer, Answer::Unavailable { .. }), "{answer:?}");
    bench.run(&mut owner, secs(1));
    lent(&answered(owner.borrow(bench.now, &a_day(1))));
}

#[test]
fn past_its_horizon_an_owner_lends_nothing() {
    let mut bench = Bench::new();
    let mut owner = lender(&mut bench, pool_that_lends(2, 2));
    lent(&borrow(&mut bench, &mut owner, &a_day(1)));
    bench.run_cut_off(&mut owner, shrink(X));
    for n in [1, 2] {
        let refused = answered(owner.borrow(bench.now, &a_day(n)));
        assert!(matches!(refused, Answer::Unavailable { .. }), "{refused:?}");
    }
}

#[test]
fn a_document_of_a_newer_generation_stops_the_owner_that_sees_it() {
    let mut bench = Bench::new();
    let mut owner = lender(&mut bench, pool_that_lends(1, 1));
    let stopped = answered(owner.give_back_borrowed(bench.now, "another's", Generation(2)));
    assert!(matches!(stopped, Answer::NotOwner { .. }), "{stopped:?}");
    assert_eq!(owner.role(), Role::Stopped(StopReason::NewerToken));
}

#[test]
fn the_seal_decides_what_was_undecided_and_the_successor_issues_it() {
    let mut bench = Bench::new();
    let mut a = lender(&mut bench, pool_that_lends(2, 2));
    let mut b = bench.replica("b", pool_that_lends(2, 2));
    b.set_wall_clock(bench.now, NOON);
    bench.pump(&mut b);
    bench.grant(&mut a, 1, &[POOL]);
    let Outcome::Wait(ticket) = a.borrow(bench.now, &a_day(2)) else { panic!("lent early") };
    let (id, _) = bench.hold(&mut a).pop().expect("the entry");
    a.reply(bench.now, id, StoreReply::Unknown);
    let table = a.hand_over(bench.now).expect("an owner has a table");
    assert_eq!(a.take_completion(), Some((ticket, Answer::NotOwner { address: None })));
    a.handed_over(bench.now, b.accept_handover(bench.now, table));
    bench.run(&mut a, secs(1));
    assert_eq!(a.role(), Role::Stopped(StopReason::Released));
    assert_eq!(entries(&bench).len(), 1, "the seal contains it");
    b.observe_lease(bench.now, bench.store.lease.clone());
    bench.pump(&mut b);
    assert_eq!(b.status(bench.now).recovery_ends, None, "b has the table");
    assert!(is_full(&bench.checkout(&mut b, ask(3, 1, &[POOL]))));
    lent(&answered(b.borrow(bench.now, &a_day(2))));
}

/// An owner of a ledger whose record, with a document of a client in it, was lost.
fn after_the_loss(bench: &mut Bench, wall: Option<UnixSeconds>) -> Replica<()> {
    let mut a = lender(bench, pool_that_lends(3, 2));
    lent(&borrow(bench, &mut a, &a_day(1)));
    bench.store.ledger = Some(ObservedLedger { version: bench.store.next_version(), record: None });
    let mut b = bench.replica("b", pool_that_lends(3, 2).with_min_generation(Generation(1)));
    if let Some(wall) = wall {
        b.set_wall_clock(bench.now, wall);
    }
    bench.take_over(&mut b);
    bench.run(&mut b, stretch(X));
    assert_eq!(b.status(bench.now).recovery_ends, None);
    b
}

#[test]
fn what_a_lost_ledger_may_have_lent_stays_closed_until_the_longest_borrow_has_passed() {
    let mut bench = Bench::new();
    let mut b = after_the_loss(&mut bench, Some(NOON));
    assert_eq!(entries(&bench), ["lost-2"]);
    assert_eq!(pool(&bench, &b).borrowed, 2);
    bench.grant(&mut b, 2, &[POOL]);
    assert!(is_full(&bench.checkout(&mut b, ask(3, 1, &[POOL]))));
    assert!(is_full(&borrow(&mut bench, &mut b, &a_day(4))));
    b.set_wall_clock(bench.now, NOON.plus(secs(7 * DAY) + BORROW_SKEW - secs(1)));
    bench.run(&mut b, secs(10));
    assert!(is_full(&bench.checkout(&mut b, ask(5, 1, &[POOL]))));
    b.set_wall_clock(bench.now, NOON.plus(secs(7 * DAY) + BORROW_SKEW));
    bench.run(&mut b, secs(10));
    bench.grant(&mut b, 6, &[POOL]);
    bench.grant(&mut b, 7, &[POOL]);
}

#[test]
fn an_administrator_opens_what_was_closed() {
    let mut bench = Bench::new();
    let mut b = after_the_loss(&mut bench, Some(NOON));
    assert_eq!(give_back(&mut bench, &mut b, "lost-2"), Answer::Returned);
    assert_eq!(entries(&bench), [""; 0]);
    lent(&borrow(&mut bench, &mut b, &a_day(4)));
}

#[test]
fn what_was_lost_before_the_wall_clock_is_known_ends_only_when_it_is() {
    let mut bench = Bench::new();
    let mut b = after_the_loss(&mut bench, None);
    assert_eq!(bench.store.record().borrowed[0].ends, UnixSeconds::NEVER);
    b.set_wall_clock(bench.now, NOON);
    bench.run(&mut b, secs(1));
    assert_eq!(bench.store.record().borrowed[0].ends, NOON.plus(secs(7 * DAY) + BORROW_SKEW));
}

#[test]
fn a_ledger_that_was_set_back_keeps_its_documents_and_closes_the_rest_once() {
    let mut bench = Bench::new();
    let mut a = lender(&mut bench, pool_that_lends(9, 3));
    let document = lent(&borrow(&mut bench, &mut a, &a_day(1)));
    let backup = bench.store.record().clone();
    for (name, generation) in [("b", 2), ("c", 3)] {
        let record = Some(Record { borrowed: bench.store.record().borrowed.clone(), ..backup.clone() });
        bench.store.ledger = Some(ObservedLedger { version: bench.store.next_version(), record });
        let settings = pool_that_lends(9, 3).with_min_generation(Generation(generation));
        let mut next = bench.replica(name, settings);
        next.set_wall_clock(bench.now, NOON);
        bench.take_over(&mut next);
        assert_eq!(entries(&bench), [&*document.id, &format!("lost-{}", generation + 1)]);
        assert_eq!(pool(&bench, &next).borrowed, 4);
    }
}

#[test]
fn what_an_earlier_plan_may_have_lent_stays_closed_when_the_plan_is_set_back_with_its_ledger() {
    for later in [pool_of(3), pool_that_lends(3, 1)] {
        let mut bench = Bench::new();
        let mut b = bench.replica("b", pool_that_lends(3, 2));
        b.set_wall_clock(bench.now, NOON);
        let mut a = lender(&mut bench, pool_that_lends(3, 2));
        for n in [1, 2] {
            lent(&borrow(&mut bench, &mut a, &a_day(n)));
        }
        bench.store.ledger = Some(ObservedLedger { version: bench.store.next_version(), record: None });
        b.configure(bench.now, later.with_min_generation(Generation(1)));
        bench.take_over(&mut b);
        bench.run(&mut b, stretch(X));
        assert_eq!(b.status(bench.now).recovery_ends, None);
        bench.grant(&mut b, 3, &[POOL]);
        assert!(is_full(&bench.checkout(&mut b, ask(4, 1, &[POOL]))), "two of three are lent");
    }
}

#[test]
fn a_ledger_that_lends_nothing_closes_nothing_when_it_is_lost() {
    let mut bench = Bench::new();
    let _a = bench.owner("a", pool_of(1));
    bench.store.ledger = Some(ObservedLedger { version: bench.store.next_version(), record: None });
    let mut b = bench.replica("b", pool_of(1).with_min_generation(Generation(1)));
    bench.take_over(&mut b);
    assert_eq!(entries(&bench), [""; 0]);
}
