//! The latest wall-clock time of the ledger: who raises it, when and how far, and how it is taken away.

mod support;

use genie_ledger::{Replica, Role, Settings, UnixSeconds};
use support::{Bench, POOL, limit, secs, settings};

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
const BEGIN: u64 = 1_800_000_000;

fn keeping() -> Settings {
    settings(secs(600), secs(60), vec![limit(POOL, "pool", 3)]).with_time_kept(true)
}

/// Takes over with a wall clock that shows `wall`.
fn owner(bench: &mut Bench, name: &str, wall: u64) -> Replica<()> {
    let mut replica = bench.replica(name, keeping());
    replica.set_wall_clock(bench.now, UnixSeconds(wall));
    bench.pump(&mut replica);
    while replica.status(bench.now).role != Role::Owner {
        bench.now = bench.now + secs(1);
        bench.pump(&mut replica);
    }
    replica
}

/// Lets `seconds` pass, with a wall clock that shows `wall` from the beginning on.
fn pass(bench: &mut Bench, replica: &mut Replica<()>, seconds: u64, wall: u64) {
    for second in (0..seconds).step_by(5) {
        bench.now = bench.now + secs(5);
        replica.set_wall_clock(bench.now, UnixSeconds(wall + second + 5));
        replica.tick(bench.now);
        bench.pump(replica);
    }
}

fn recorded(bench: &Bench) -> u64 {
    bench.store.record().latest_time.0
}

#[test]
fn an_owner_records_its_clock_when_it_takes_the_ledger_and_once_an_hour() {
    let mut bench = Bench::new();
    let mut one = owner(&mut bench, "one", BEGIN);
    assert_eq!(recorded(&bench), BEGIN);
    assert_eq!(one.latest_time(), UnixSeconds(BEGIN));
    let before = bench.store.ledger_writes;
    pass(&mut bench, &mut one, 3 * HOUR, BEGIN);
    assert_eq!(recorded(&bench), BEGIN + 3 * HOUR);
    assert_eq!(bench.store.ledger_writes - before, 3, "no more than one write an hour");
}

#[test]
fn a_plan_of_which_nothing_ends_has_none_recorded_and_costs_no_write() {
    let mut bench = Bench::new();
    let mut one = bench.owner("one", keeping().with_time_kept(false));
    one.set_wall_clock(bench.now, UnixSeconds(BEGIN));
    let before = bench.store.ledger_writes;
    pass(&mut bench, &mut one, 3 * HOUR, BEGIN);
    assert_eq!((recorded(&bench), bench.store.ledger_writes), (0, before));
    one.configure(bench.now, keeping());
    bench.pump(&mut one);
    assert_eq!(recorded(&bench), BEGIN + 3 * HOUR, "an end that the plan gets later is known at once");
}

#[test]
fn a_clock_that_was_set_back_lowers_nothing_and_the_next_owner_knows() {
    let mut bench = Bench::new();
    let mut one = owner(&mut bench, "one", BEGIN);
    pass(&mut bench, &mut one, 2 * HOUR, BEGIN - 30 * DAY);
    assert_eq!(recorded(&bench), BEGIN);
    let two = owner(&mut bench, "two", BEGIN - 30 * DAY);
    assert_eq!(two.latest_time(), UnixSeconds(BEGIN));
    assert_eq!(recorded(&bench), BEGIN);
}

#[test]
fn a_clock_that_is_a_year_ahead_takes_it_a_day_an_hour_with_it() {
    let mut bench = Bench::new();
    owner(&mut bench, "one", BEGIN);
    let mut two = owner(&mut bench, "two", BEGIN + 365 * DAY);
    assert_eq!(recorded(&bench), BEGIN + DAY);
    pass(&mut bench, &mut two, 2 * HOUR, BEGIN + 365 * DAY);
    assert_eq!(recorded(&bench), BEGIN + 3 * DAY);
}

#[test]
fn a_time_that_somebody_took_away_is_gone_for_its_owner_and_its_followers() {
    for watched in [true, false] {
        let mut bench = Bench::new();
        let mut one = owner(&mut bench, "one", BEGIN + 365 * DAY);
        let mut two = bench.replica("two", keeping());
        two.observe_ledger(bench.now, bench.store.ledger.clone());
        assert_eq!(two.latest_time(), UnixSeconds(BEGIN + 365 * DAY));

        let version = bench.store.next_version();
        let ledger = bench.store.ledger.as_mut().unwrap();
        ledger.version = version;
        let record = ledger.record.as_mut().unwrap();
        (record.latest_time, record.seq) = (UnixSeconds(0), record.seq + 1);
        two.observe_ledger(bench.now, bench.store.ledger.clone());
        assert_eq!(two.latest_time(), UnixSeconds(0));
        one.set_wall_clock(bench.now, UnixSeconds(BEGIN));
        if watched {
            one.observe_ledger(bench.now, bench.store.ledger.clone());
            assert_eq!(one.latest_time(), UnixSeconds(0));
        }
        bench.grant(&mut one, 1, &[POOL]);
        pass(&mut bench, &mut one, HOUR, BEGIN);
        let now = recorded(&bench);
        assert!((BEGIN..=BEGIN + HOUR).contains(&now), "{now}, watched: {watched}");
    }
}
