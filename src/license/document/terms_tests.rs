//! Terms: never more than what is in force at that moment.

use jiff::Timestamp;
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::api::ApiDuration;

const CLUSTER: &str = "0b3c7a52-9a1e-4c0e-8f3e-0d5a5c0f7b11";
const HERE: Place<'_> = Place::Here { cluster: Some(CLUSTER), host: Some("host1-aaaa") };

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn license(id: &str, seats: u32, from: i64, until: Option<i64>) -> License {
    License {
        vendor: "Acme".into(),
        customer: "Initech".into(),
        id: id.into(),
        issued_at: at(0),
        not_before: at(from),
        not_after: until.map(at),
        grace_period: None,
        product: "acme-cad".into(),
        seats,
        features: Vec::new(),
        tiers: Vec::new(),
        overdraft: None,
        borrow: None,
        binding: None,
        cnf: None,
    }
}

fn feature(name: &str, version: Option<&str>, seats: Option<u32>, not_after: Option<i64>) -> Feature {
    let version = version.map(|text| text.parse().unwrap());
    Feature { name: name.into(), version, seats, not_after: not_after.map(at) }
}

fn now(licenses: &[License], second: i64) -> Terms {
    let verified: Vec<_> = licenses.iter().cloned().map(Arc::new).map(Verified).collect();
    terms("acme-cad", &verified, at(second), HERE)
}

fn standing(licenses: &[License], second: i64) -> Vec<State> {
    let verified: Vec<_> = licenses.iter().cloned().map(Arc::new).map(Verified).collect();
    states(&verified, at(second), HERE)
}

#[test]
fn licenses_add_up_and_end_one_by_one() {
    let short = License { grace_period: Some(ApiDuration::from_secs(5)), ..license("a", 10, 0, Some(100)) };
    let long = license("b", 5, 50, Some(200));
    let both = [short, long];
    let seats: Vec<u32> = [0, 49, 50, 99, 104, 105, 199, 200].map(|second| now(&both, second).seats).to_vec();
    assert_eq!(seats, [10, 10, 15, 15, 15, 5, 5, 0]);
    assert_eq!(standing(&both, 104), [State::Grace, State::Valid]);
    assert_eq!(standing(&both, 105), [State::Expired, State::Valid]);

    let change = |second, license: &str, event| Change { at: at(second), license: license.into(), event };
    let coming = [change(50, "b", Event::Begins), change(100, "a", Event::GraceBegins)];
    assert_eq!(now(&both, 0).changes, [&coming[..], &[change(105, "a", Event::Ends)]].concat());
}

#[test]
fn a_copy_counts_once_and_a_later_issue_replaces() {
    let old = license("a", 10, 0, Some(100));
    assert_eq!(now(&[old.clone(), old.clone()], 1).seats, 10);
    let new = License { issued_at: at(1), ..license("a", 4, 50, Some(60)) };
    for both in [[old.clone(), new.clone()], [new, old.clone()]] {
        assert_eq!(now(&both, 49).seats, 10, "a renewal that begins later takes nothing away before");
        assert_eq!(now(&both, 50).seats, 4);
        assert_eq!(now(&both, 60).seats, 0, "and what it replaced does not come back");
    }
    let moved = License { issued_at: at(1), binding: Some(Binding::Hosts(vec!["host1-bbbb".into()])), ..old };
    assert_eq!(now(&[license("a", 10, 0, None), moved], 1).seats, 0, "it counts there now, not here");
}

#[test]
fn a_license_that_is_bound_counts_there_only() {
    let bound = |binding| License { binding: Some(binding), ..license("a", 1, 0, None) };
    let cluster = bound(Binding::Cluster(CLUSTER.into()));
    let host = bound(Binding::Hosts(vec!["host1-bbbb".into(), "host1-aaaa".into()]));
    let counts = |license: &License, place| {
        terms("acme-cad", &[Verified(license.clone().into())], at(1), place).seats == 1
    };
    let there = Place::Here { cluster: Some("another"), host: Some("host1-cccc") };
    let nowhere = Place::Here { cluster: None, host: None };
    for license in [cluster, host] {
        assert!(counts(&license, HERE) && counts(&license, Place::Anywhere));
        assert!(!counts(&license, there) && !counts(&license, nowhere));
    }
}

#[test]
fn a_seat_covers_the_versions_of_its_own_license_only() {
    let mut old = license("a", 10, 0, None);
    old.features = vec![feature("render", Some("1"), None, Some(50))];
    let mut new = license("b", 3, 0, None);
    new.features = vec![feature("render", Some("2.0"), Some(2), None)];
    let mut all = license("c", 1, 0, None);
    all.features = vec![feature("render", None, Some(7), None)];
    let terms = now(&[old, new, all], 49);
    let seats = |version: &str| terms.feature_seats("render", Some(&version.parse().unwrap()));
    assert_eq!([seats("1.0"), seats("1.1"), seats("2"), seats("3")], [13, 3, 3, 1]);
    assert_eq!(terms.feature_seats("render", None), 13);
    assert_eq!(terms.features[0].version, None, "the widest is first");
}

#[test]
fn tiers_overdraft_and_borrow_rights_add_up_within_their_limits() {
    let mut one = license("a", 15, 0, None);
    one.features = vec![feature("render", None, None, None), feature("simulate", None, None, Some(50))];
    one.tiers =
        vec![Tier { name: "pro".into(), features: vec!["render".into(), "simulate".into()], seats: None }];
    one.overdraft = Some(Overdraft::Percent(10));
    one.borrow = Some(Borrow { max_duration: ApiDuration::from_secs(60), max_seats: 2 });
    let mut two = License { id: "b".into(), ..one.clone() };
    two.tiers[0].seats = Some(5);
    two.borrow = Some(Borrow { max_duration: ApiDuration::from_secs(600), max_seats: 1 });
    let terms = now(&[one, two], 50);
    assert_eq!(terms.tiers[0].seats, 20);
    assert_eq!(Vec::from_iter(&terms.tiers[0].features), ["render"], "simulate has ended");
    assert_eq!(terms.overdraft, 2, "a share is of each license's seats, rounded down");
    let borrow: Vec<_> = terms.borrow.iter().map(|b| (b.max_duration.get().as_secs(), b.max_seats)).collect();
    assert_eq!(borrow, [(600, 1), (60, 2)]);
}

fn any_license() -> impl Strategy<Value = License> {
    let times = (0_i64..20, option::of(1_i64..20), 0_u64..5, 0_i64..4);
    let feature_of = |name: &'static str| {
        let version = option::of(select(vec!["1", "2", "2.0", "3"]));
        (version, option::of(1_u32..9), option::of(0_i64..30))
            .prop_map(move |(version, seats, end)| feature(name, version, seats, end))
    };
    let features = (option::of(feature_of("render")), option::of(feature_of("draw")));
    let binding = select(vec![
        None,
        Some(Binding::Cluster(CLUSTER.into())),
        Some(Binding::Cluster("another".into())),
        Some(Binding::Hosts(vec!["host1-aaaa".into(), "host1-bbbb".into()])),
    ]);
    let whole = (select(vec!["a", "b", "c"]), 1_u32..9, select(vec!["acme-cad", "acme-cam"]));
    (whole, times, features, binding, option::of(0_u8..=100)).prop_map(
        |((id, seats, product), (from, life, grace, issued), (render, draw), binding, share)| License {
            issued_at: at(issued),
            product: product.into(),
            grace_period: life.map(|_| ApiDuration::from_secs(grace)),
            features: render.into_iter().chain(draw).collect(),
            overdraft: share.map(Overdraft::Percent),
            binding,
            ..license(id, seats, from, life.map(|life| from + life))
        },
    )
}

/// In force, told without what is told of other licenses: what the terms may never exceed.
fn may_count(license: &License, second: i64) -> bool {
    let grace = license.grace_period.map_or(0, |grace| i64::try_from(grace.get().as_secs()).unwrap());
    let end = license.not_after.map_or(i64::MAX, |end| end.as_second() + grace);
    let here = match &license.binding {
        None => true,
        Some(Binding::Cluster(uid)) => uid == CLUSTER,
        Some(Binding::Hosts(hosts)) => hosts.iter().any(|host| host == "host1-aaaa"),
    };
    (license.not_before.as_second()..end).contains(&second) && here && license.product == "acme-cad"
}

proptest! {
    #[test]
    fn terms_never_exceed_the_sum_of_what_is_in_force(licenses in vec(any_license(), 0..7), second in 0_i64..40) {
        let terms = now(&licenses, second);
        let in_force: Vec<_> = licenses.iter().filter(|license| may_count(license, second)).collect();
        prop_assert!(terms.seats <= in_force.iter().map(|license| license.seats).sum());
        let overdraft = |l: &&License| l.overdraft.map_or(0, |share| share.of(l.seats));
        prop_assert!(terms.overdraft <= in_force.iter().map(overdraft).sum());
        for name in ["render", "draw"] {
            for version in [None, Some("1"), Some("2"), Some("2.5"), Some("3"), Some("4")] {
                let version: Option<Version> = version.map(|text| text.parse().unwrap());
                let seats_of = |license: &&License| -> u32 {
                    let of = |f: &&Feature| {
                        f.name == name
                            && f.not_after.is_none_or(|end| second < end.as_second())
                            && !matches!((&f.version, &version), (Some(highest), Some(v)) if v > highest)
                    };
                    let own = |f: &Feature| f.seats.map_or(license.seats, |seats| seats.min(license.seats));
                    license.features.iter().filter(of).map(own).sum()
                };
                let most: u32 = in_force.iter().map(seats_of).sum();
                prop_assert!(terms.feature_seats(name, version.as_ref()) <= most);
            }
        }
        // No license counts twice, and of each id at most one counts.
        let verified: Vec<_> = licenses.iter().cloned().map(Arc::new).map(Verified).collect();
        let states = states(&verified, at(second), HERE);
        for id in ["a", "b", "c"] {
            let counted = licenses.iter().zip(&states).filter(|(l, state)| l.id == id && state.counts());
            prop_assert!(counted.count() <= 1);
        }
    }

    #[test]
    fn what_is_in_force_and_alone_of_its_id_counts_in_full(mut licenses in vec(any_license(), 0..7), second in 0_i64..40) {
        for (i, license) in licenses.iter_mut().enumerate() {
            license.id = i.to_string();
        }
        let expected: u32 = licenses.iter().filter(|l| may_count(l, second)).map(|l| l.seats).sum();
        prop_assert_eq!(now(&licenses, second).seats, expected);
    }

    #[test]
    fn copies_change_nothing(licenses in vec(any_license(), 1..5), which: prop::sample::Index, second in 0_i64..40) {
        let mut more = licenses.clone();
        more.push(which.get(&licenses).clone());
        let (one, two) = (now(&licenses, second), now(&more, second));
        prop_assert_eq!((one.seats, one.overdraft, one.features), (two.seats, two.overdraft, two.features));
    }

    #[test]
    fn nothing_changes_before_the_next_change(licenses in vec(any_license(), 0..7), second in 0_i64..40) {
        let terms = now(&licenses, second);
        let next = terms.changes.first().map_or(60, |change| change.at.as_second());
        for later in second..next {
            let then = now(&licenses, later);
            prop_assert_eq!((then.seats, &then.features), (terms.seats, &terms.features), "at {}", later);
        }
        prop_assert!(next > second);
    }
}
