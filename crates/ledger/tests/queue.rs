//! The queue: who waits, who is next, and what a place is worth.

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use genie_ledger::*;
use support::*;

const OTHER: LimitId = LimitId(3);

fn queueing(settings: Settings, order: Order) -> Settings {
    settings.with_queueing(Queueing { max_length: 3, order })
}

fn fifo(cap: u32) -> Settings {
    queueing(pool_of(cap), Order::Fifo)
}

/// Waits for a minute.
fn waits(bench: &Bench, request: CheckoutRequest<()>) -> CheckoutRequest<()> {
    let wait = Wait { until: bench.now + secs(60), place: None, priority: 0, share: POOL };
    CheckoutRequest { wait: Some(wait), ..request }
}

fn with(request: CheckoutRequest<()>, change: impl FnOnce(&mut Wait)) -> CheckoutRequest<()> {
    let mut wait = request.wait.clone().expect("a checkout that waits");
    change(&mut wait);
    CheckoutRequest { wait: Some(wait), ..request }
}

/// Lines up, and has to wait.
fn line_up(bench: &Bench, owner: &mut Replica<()>, request: CheckoutRequest<()>) -> Ticket {
    let outcome = owner.checkout(bench.now, request);
    assert_eq!(owner.take_completion(), None, "there is nothing to be had");
    match outcome {
        Outcome::Wait(ticket) => ticket,
        Outcome::Answer(answer) => panic!("answered: {answer:?}"),
    }
}

/// Everybody who has an answer by now.
fn completions(bench: &mut Bench, owner: &mut Replica<()>) -> BTreeMap<Ticket, Answer> {
    bench.pump(owner);
    std::iter::from_fn(|| owner.take_completion()).collect()
}

fn place(answer: Option<Answer>) -> (Place, u32) {
    match answer {
        Some(Answer::Queued { place, position }) => (place, position),
        other => panic!("not queued: {other:?}"),
    }
}

#[test]
fn a_unit_that_comes_back_goes_to_the_first_in_line_at_once() {
    let mut bench = Bench::new();
    let (mut owner, held) = first_owner(&mut bench, fifo(1), 1);
    let second = line_up(&bench, &mut owner, waits(&bench, ask(10, 1, &[POOL])));
    let third = line_up(&bench, &mut owner, waits(&bench, ask(11, 1, &[POOL])));
    assert_eq!(owner.status(bench.now).queued, 2);

    bench.checkin(&mut owner, &held[0]);
    let (ticket, answer) = owner.take_completion().expect("no write is waited for");
    assert_eq!(ticket, second);
    let claim = granted(&answer);
    assert_eq!(owner.take_completion(), None);
    bench.checkin(&mut owner, &claim);
    assert_eq!(owner.take_completion().map(|(ticket, _)| ticket), Some(third));
}

#[test]
fn who_does_not_want_to_wait_is_denied_and_takes_nothing_from_those_who_do() {
    let mut bench = Bench::new();
    let (mut owner, held) = first_owner(&mut bench, fifo(2), 2);
    let both = line_up(&bench, &mut owner, waits(&bench, ask(10, 2, &[POOL])));
    bench.checkin(&mut owner, &held[0]);
    assert!(
        is_full(&answered(owner.checkout(bench.now, ask(11, 1, &[POOL])))),
        "one is free, and spoken for"
    );
    bench.checkin(&mut owner, &held[1]);
    assert_eq!(owner.take_completion().map(|(ticket, _)| ticket), Some(both));
}

#[test]
fn who_needs_nothing_of_what_others_wait_for_passes_by() {
    let mut bench = Bench::new();
    let limits = vec![limit(POOL, "pool", 3), limit(FEATURE, "feature", 1)];
    let mut owner = bench.owner("a", queueing(settings(X, TTL, limits), Order::Fifo));
    bench.grant(&mut owner, 1, &[POOL, FEATURE]);
    line_up(&bench, &mut owner, waits(&bench, ask(10, 1, &[POOL, FEATURE])));
    bench.grant(&mut owner, 2, &[POOL]);
}

#[test]
fn the_queue_is_bounded_and_what_can_never_be_had_is_not_waited_for() {
    let mut bench = Bench::new();
    let (mut owner, _) = first_owner(&mut bench, fifo(1), 1);
    assert!(
        is_full(&answered(owner.checkout(bench.now, waits(&bench, ask(9, 2, &[POOL]))))),
        "of a cap of 1"
    );
    for n in 10..13 {
        line_up(&bench, &mut owner, waits(&bench, ask(n, 1, &[POOL])));
    }
    assert!(is_full(&answered(owner.checkout(bench.now, waits(&bench, ask(13, 1, &[POOL]))))));
    let mut none = bench.replica("b", pool_of(1));
    bench.take_over(&mut none);
    assert!(is_full(&answered(none.checkout(bench.now, waits(&bench, ask(14, 1, &[POOL]))))), "no queue");
}

#[test]
fn a_wait_ends_with_a_reason_and_the_queue_goes_on() {
    let mut bench = Bench::new();
    let (mut owner, held) = first_owner(&mut bench, fifo(1), 1);
    let short = with(waits(&bench, ask(10, 1, &[POOL])), |wait| wait.until = bench.now + secs(5));
    let short = line_up(&bench, &mut owner, short);
    let long = line_up(&bench, &mut owner, waits(&bench, ask(11, 1, &[POOL])));
    bench.run(&mut owner, secs(5));
    let ended = completions(&mut bench, &mut owner);
    assert!(is_full(&ended[&short]) && ended.len() == 1);
    bench.checkin(&mut owner, &held[0]);
    granted(&completions(&mut bench, &mut owner)[&long]);
}

#[test]
fn one_that_goes_away_leaves_the_queue() {
    let mut bench = Bench::new();
    let (mut owner, held) = first_owner(&mut bench, fifo(1), 1);
    let gone = line_up(&bench, &mut owner, waits(&bench, ask(10, 1, &[POOL])));
    let next = line_up(&bench, &mut owner, waits(&bench, ask(11, 1, &[POOL])));
    owner.cancel(bench.now, gone);
    bench.checkin(&mut owner, &held[0]);
    let answers = completions(&mut bench, &mut owner);
    assert_eq!(answers.keys().collect::<Vec<_>>(), [&next]);
}

#[test]
fn units_that_come_free_are_kept_for_one_who_was_told_to_call_again_for_a_while() {
    for comes_back in [true, false] {
        let mut bench = Bench::new();
        let (mut owner, held) = first_owner(&mut bench, fifo(1), 1);
        let first = line_up(&bench, &mut owner, waits(&bench, ask(10, 1, &[POOL])));
        let second = line_up(&bench, &mut owner, waits(&bench, ask(11, 1, &[POOL])));
        let (kept, position) = place(owner.postpone(bench.now, first));
        assert_eq!(position, 1);
        bench.checkin(&mut owner, &held[0]);
        assert_eq!(completions(&mut bench, &mut owner), BTreeMap::new());
        assert!(is_full(&answered(owner.checkout(bench.now, ask(12, 1, &[POOL])))));

        let winner = if comes_back {
            bench.run(&mut owner, Duration::from_millis(4_999));
            let again = with(waits(&bench, ask(10, 1, &[POOL])), |wait| wait.place = Some(kept));
            let Outcome::Wait(ticket) = owner.checkout(bench.now, again) else {
                panic!("it waits for its answer")
            };
            ticket
        } else {
            bench.run(&mut owner, secs(5));
            second
        };
        let answers = completions(&mut bench, &mut owner);
        assert_eq!(answers.keys().collect::<Vec<_>>(), [&winner], "{comes_back}");
        granted(&answers[&winner]);
    }
}

#[test]
fn the_same_operation_asked_twice_has_one_place_and_the_newer_call_is_answered() {
    let mut bench = Bench::new();
    let (mut owner, held) = first_owner(&mut bench, fifo(1), 1);
    let older = line_up(&bench, &mut owner, waits(&bench, ask(10, 1, &[POOL])));
    let Outcome::Wait(newer) = owner.checkout(bench.now, waits(&bench, ask(10, 1, &[POOL]))) else {
        panic!("it waits")
    };
    let answers = completions(&mut bench, &mut owner);
    assert!(matches!(answers[&older], Answer::Unavailable { .. }));
    assert_eq!(owner.status(bench.now).queued, 1);
    bench.checkin(&mut owner, &held[0]);
    granted(&completions(&mut bench, &mut owner)[&newer]);
}

#[test]
fn the_higher_priority_is_served_first_whoever_came_before() {
    let mut bench = Bench::new();
    let (mut owner, held) = first_owner(&mut bench, queueing(pool_of(1), Order::Priority), 1);
    let low = line_up(&bench, &mut owner, waits(&bench, ask(10, 1, &[POOL])));
    let high = with(waits(&bench, ask(11, 1, &[POOL])), |wait| wait.priority = 1);
    let high = line_up(&bench, &mut owner, high);
    assert_eq!(place(owner.postpone(bench.now, low)).1, 2);
    bench.checkin(&mut owner, &held[0]);
    granted(&completions(&mut bench, &mut owner)[&high]);
}

#[test]
fn the_grant_that_uses_the_fewest_is_served_first() {
    let mut bench = Bench::new();
    let limits = vec![limit(POOL, "pool", 4), limit(FEATURE, "one", None), limit(OTHER, "other", None)];
    let mut owner = bench.owner("a", queueing(settings(X, TTL, limits), Order::FairShare));
    let held = bench.grant(&mut owner, 1, &[POOL, FEATURE]);
    bench.grant(&mut owner, 2, &[POOL, FEATURE]);
    bench.grant(&mut owner, 3, &[POOL, FEATURE]);
    bench.grant(&mut owner, 4, &[POOL, OTHER]);
    let of =
        |bench: &Bench, n, share| with(waits(bench, ask(n, 1, &[POOL, share])), |wait| wait.share = share);
    let greedy = line_up(&bench, &mut owner, of(&bench, 10, FEATURE));
    let modest = line_up(&bench, &mut owner, of(&bench, 11, OTHER));
    assert_eq!(
        place(owner.postpone(bench.now, greedy)).1,
        2,
        "3 of its units are in use, and 1 of the other's"
    );
    bench.grant_to_come(&mut owner, &held, modest);
}

impl Bench {
    /// This session is given back, and whose turn it is then.
    fn grant_to_come(&mut self, owner: &mut Replica<()>, held: &Claim, winner: Ticket) {
        self.checkin(owner, held);
        let answers = completions(self, owner);
        assert_eq!(answers.keys().collect::<Vec<_>>(), [&winner]);
    }
}

#[test]
fn another_order_is_for_those_who_wait_already_too() {
    let mut bench = Bench::new();
    let (mut owner, held) = first_owner(&mut bench, fifo(1), 1);
    line_up(&bench, &mut owner, waits(&bench, ask(10, 1, &[POOL])));
    let high = with(waits(&bench, ask(11, 1, &[POOL])), |wait| wait.priority = 1);
    let high = line_up(&bench, &mut owner, high);
    owner.configure(bench.now, queueing(pool_of(1), Order::Priority));
    bench.grant_to_come(&mut owner, &held[0], high);
}

#[test]
fn a_place_is_kept_over_a_change_of_owners() {
    let mut bench = Bench::new();
    let (mut a, _) = first_owner(&mut bench, fifo(1), 1);
    let waiting = line_up(&bench, &mut a, waits(&bench, ask(10, 1, &[POOL])));
    let (kept, _) = place(a.postpone(bench.now, waiting));
    let mut b = bench.replica("b", fifo(1));
    bench.take_over(&mut b);

    let late = line_up(&bench, &mut b, waits(&bench, ask(11, 1, &[POOL])));
    let early = with(waits(&bench, ask(10, 1, &[POOL])), |wait| wait.place = Some(kept));
    let early = line_up(&bench, &mut b, early);
    assert_eq!(place(b.postpone(bench.now, late)).1, 2);
    assert_eq!(place(b.postpone(bench.now, early)), (kept, 1));

    // It proves to the owner before that there is a later one, as a token does (R5).
    let later = Place { generation: Generation(2), number: 1 };
    let shown = with(waits(&bench, ask(12, 1, &[POOL])), |wait| wait.place = Some(later));
    assert!(matches!(answered(a.checkout(bench.now, shown)), Answer::NotOwner { .. }));
    assert_eq!(a.role(), Role::Stopped(StopReason::NewerToken));
}

#[test]
fn an_owner_that_stops_sends_all_who_wait_to_the_next() {
    let mut bench = Bench::new();
    let (mut owner, _) = first_owner(&mut bench, fifo(1), 1);
    let here = line_up(&bench, &mut owner, waits(&bench, ask(10, 1, &[POOL])));
    let away = line_up(&bench, &mut owner, waits(&bench, ask(11, 1, &[POOL])));
    owner.postpone(bench.now, away);
    owner.release(bench.now);
    let answers = completions(&mut bench, &mut owner);
    assert_eq!(answers, BTreeMap::from([(here, Answer::NotOwner { address: None })]));
}

#[test]
fn a_pool_that_grants_nothing_keeps_nobody_waiting() {
    let mut bench = Bench::new();
    let (mut owner, _) = first_owner(&mut bench, fifo(1), 1);
    let ticket = line_up(&bench, &mut owner, waits(&bench, ask(10, 1, &[POOL])));
    owner.configure(bench.now, fifo(1).with_accepting(false));
    let answers = completions(&mut bench, &mut owner);
    assert_eq!(answers[&ticket], Answer::Denied { reason: Denial::NotAccepting });
}

#[test]
fn a_larger_pool_serves_those_who_wait_once_its_promise_is_written() {
    let mut bench = Bench::new();
    let (mut owner, _) = first_owner(&mut bench, fifo(1), 1);
    let ticket = line_up(&bench, &mut owner, waits(&bench, ask(10, 1, &[POOL])));
    owner.configure(bench.now, fifo(2));
    assert_eq!(owner.take_completion(), None, "R1");
    granted(&completions(&mut bench, &mut owner)[&ticket]);
    assert_eq!(bench.store.promise("pool"), Some(2));
}

#[test]
fn units_that_ran_out_are_given_on_after_the_next_renewal_of_the_lease() {
    let mut bench = Bench::new();
    let (mut owner, _) = first_owner(&mut bench, fifo(1), 1);
    bench.run(&mut owner, stretch(TTL) - secs(1));
    let ticket = line_up(&bench, &mut owner, waits(&bench, ask(10, 1, &[POOL])));
    bench.sleep(secs(1));
    owner.tick(bench.now);
    assert_eq!(owner.take_completion(), None, "Q");
    bench.run(&mut owner, LEASE_RENEW);
    granted(&completions(&mut bench, &mut owner)[&ticket]);
}

#[test]
fn those_who_wait_in_a_recovery_are_served_at_its_end() {
    let mut bench = Bench::new();
    first_owner(&mut bench, fifo(1), 1);
    let mut b = bench.replica("b", fifo(1));
    bench.take_over(&mut b);
    let long = with(waits(&bench, ask(10, 1, &[POOL])), |wait| wait.until = bench.now + 2 * X);
    let ticket = line_up(&bench, &mut b, long);
    bench.run(&mut b, stretch(X));
    granted(&completions(&mut bench, &mut b)[&ticket]);
}

#[test]
fn the_ledger_says_how_many_wait_with_the_usage() {
    let mut bench = Bench::new();
    let (mut owner, held) = first_owner(&mut bench, fifo(1), 1);
    line_up(&bench, &mut owner, waits(&bench, ask(10, 1, &[POOL])));
    bench.run(&mut owner, secs(10));
    assert_eq!(bench.store.record().queued, 1);
    bench.checkin(&mut owner, &held[0]);
    bench.run(&mut owner, secs(10));
    assert_eq!(bench.store.record().queued, 0);
}
