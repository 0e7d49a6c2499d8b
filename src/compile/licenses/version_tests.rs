//! Seats of a feature up to different versions: counted exactly, and never one too many of any version.

use std::collections::BTreeMap;

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::tests::{NOW, Vendor, grant, listing, told};
use crate::{
    api::{MAX_STEPS, SeatPlanSpec, Version},
    license::{Asked, PlanView, Use},
};

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

/// Sessions of one feature, counted as an owner counts them.
struct Desk {
    view: PlanView,
    out: BTreeMap<genie_ledger::LimitId, u32>,
}

impl Desk {
    fn new(plan: SeatPlanSpec) -> Self {
        Self { view: PlanView::new("cad", plan).unwrap(), out: BTreeMap::new() }
    }

    /// Whether a session of this version gets a seat with the feature `render`.
    fn take(&mut self, version: Option<&Version>) -> bool {
        let features = ["render".to_owned()];
        let grant = &self.view.grants()[0];
        let asked = Asked { features: &features, version };
        if !self.view.judge(grant, asked, NOW.parse().unwrap(), Use::Begin).is_authorized() {
            return false;
        }
        let touched: Vec<_> = self.view.limits(grant, &features, version).unwrap().iter().collect();
        let full = |limit: &&genie_ledger::Limit| {
            let out = self.out.get(&limit.id).copied().unwrap_or(0);
            touched.contains(&limit.id) && limit.cap.is_some_and(|cap| out >= cap)
        };
        if self.view.settings().limits().iter().any(|limit| full(&limit)) {
            return false;
        }
        touched.into_iter().for_each(|limit| *self.out.entry(limit).or_default() += 1);
        true
    }
}

/// Of licenses with one feature each: its highest version (0: all), and seats.
type Sold = Vec<(u32, u32)>;

fn plan(vendor: &Vendor, sold: &Sold, more: &str) -> (SeatPlanSpec, Vec<String>) {
    let document = |(index, (highest, seats)): (usize, &(u32, u32))| {
        let version = if *highest == 0 { String::new() } else { format!(", version: '{highest}'") };
        vendor.issue(&format!(
            "id: l{index}, product: cad, seats: {seats}, features: [{{name: render{version}}}]"
        ))
    };
    let documents: Vec<String> = sold.iter().enumerate().map(document).collect();
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    let compiled =
        vendor.with(&listing(sold.len(), more), &documents, NOW, None, &[grant("{poolRef: {name: acme}}")]);
    let told = told(&compiled);
    (compiled.plan.unwrap(), told)
}

/// Seats that are good for a version; None: for all versions to come.
fn good(sold: &Sold, version: Option<&Version>) -> u32 {
    let covers = |highest: u32| match version {
        _ if highest == 0 => true,
        Some(version) => *version <= self::version(&highest.to_string()),
        None => false,
    };
    sold.iter().filter(|(highest, _)| covers(*highest)).map(|(_, seats)| seats).sum()
}

/// Those at least as new; one that does not say its version is the newest.
fn as_new(sessions: &[Option<Version>], version: Option<&Version>) -> u32 {
    let newer = |session: &&Option<Version>| match (session, version) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(session), Some(version)) => session >= version,
    };
    u32::try_from(sessions.iter().filter(newer).count()).unwrap()
}

fn any_version() -> impl Strategy<Value = Option<Version>> {
    option::weighted(0.9, select(vec!["0.9", "1", "1.5", "2", "2.5", "3", "3.0.1", "4", "5", "6", "7", "8"]))
        .prop_map(|text| text.map(version))
}

/// The first version at which `sessions` are more than there are seats for.
fn broken(sold: &Sold, sessions: &[Option<Version>]) -> Option<Option<Version>> {
    sessions.iter().find(|v| as_new(sessions, v.as_ref()) > good(sold, v.as_ref())).cloned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn there_are_never_more_sessions_of_a_version_than_seats_that_are_good_for_it(
        sold in vec((0_u32..8, 1_u32..4), 1..9),
        narrower in option::of(1_u32..8),
        coming in vec(any_version(), 1..40),
    ) {
        let more = narrower.map(|highest| format!(", features: [{{name: render, version: '{highest}'}}]"));
        let (plan, _) = plan(&Vendor::new(), &sold, &more.clone().unwrap_or_default());
        let distinct = plan.features[0].steps.len() < MAX_STEPS;
        let mut desk = Desk::new(plan);
        let mut sessions = Vec::new();
        for session in coming {
            let taken = desk.take(session.as_ref());
            sessions.push(session);
            let broken = broken(&sold, &sessions);
            if taken {
                prop_assert_eq!(broken, None);
                continue;
            }
            sessions.pop();
            // And where nothing was merged or narrowed, nobody is refused who need not be.
            prop_assert!(broken.is_some() || !distinct || narrower.is_some());
        }
    }
}

#[test]
fn seats_up_to_an_older_version_are_good_for_it_and_seats_up_to_a_newer_one_for_both() {
    let (plan, told) = plan(&Vendor::new(), &vec![(2, 2), (1, 1), (2, 1)], "");
    let feature = &plan.features[0];
    assert_eq!((feature.seats, feature.version.as_ref().unwrap().to_string().as_str()), (None, "2"));
    assert_eq!(feature.steps.len(), 1, "up to the highest there is nothing to tell apart");
    assert_eq!((feature.steps[0].above.to_string().as_str(), feature.steps[0].seats), ("1", 3));
    assert_eq!(told, [] as [String; 0]);
    let mut desk = Desk::new(plan);
    assert!(!desk.take(None) && !desk.take(Some(&version("2.0.1"))), "no license covers these");
    let taken = ["1.1", "2", "2", "1.1", "1", "1"].map(|text| desk.take(Some(&version(text))));
    assert_eq!(taken, [true, true, true, false, true, false]);
}

#[test]
fn of_too_many_versions_the_oldest_are_one_and_that_is_told() {
    let sold = (1..=7).map(|highest| (highest, 1)).collect();
    let (plan, told) = plan(&Vendor::new(), &sold, "");
    let steps = plan.features[0].steps.iter().map(|step| format!(">{}: {}", step.above, step.seats));
    assert_eq!(steps.collect::<Vec<_>>(), [">1: 4", ">4: 3", ">5: 2", ">6: 1"]);
    assert_eq!(
        told,
        [
            "the licenses of feature render have seats up to more than 5 versions: those for versions above 1 and up to 3 are good up to 1 only; ask the vendor for fewer licenses of it"
        ]
    );
}

#[test]
fn versions_are_one_whatever_way_they_are_written() {
    let vendor = Vendor::new();
    let issue = |id: &str, version: &str| {
        vendor.issue(&format!(
            "id: {id}, product: cad, seats: 1, features: [{{name: render, version: '{version}'}}]"
        ))
    };
    let (old, new, same) = (issue("a", "2025.0"), issue("b", "2026"), issue("a", "2025"));
    let limits = |documents: &[&str]| {
        let compiled =
            vendor.with(&listing(2, ""), documents, NOW, None, &[grant("{poolRef: {name: acme}}")]);
        let view = PlanView::new("cad", compiled.plan.unwrap()).unwrap();
        view.settings().limits().iter().map(|limit| limit.name.to_string()).collect::<Vec<_>>()
    };
    assert!(limits(&[&old, &new]).contains(&"feature/render>2025".to_owned()));
    assert_eq!(limits(&[&old, &new]), limits(&[&same, &new]));
}

#[test]
fn two_features_with_as_many_versions_as_there_can_be_fit_into_one_session() {
    let vendor = Vendor::new();
    let issue = |highest: u32| {
        let features =
            ["a", "b", "c"].map(|name| format!("{{name: {name}, version: '{highest}'}}")).join(", ");
        vendor.issue(&format!("id: l{highest}, product: cad, seats: 1, features: [{features}]"))
    };
    let documents: Vec<String> = (1..=5).map(issue).collect();
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    let compiled = vendor.with(&listing(5, ""), &documents, NOW, None, &[grant("{poolRef: {name: acme}}")]);
    let view = PlanView::new("cad", compiled.plan.unwrap()).unwrap();
    let features = ["a", "b", "c"].map(str::to_owned);
    let limits = |some: &[String], version: &str| {
        view.limits(&view.grants()[0], some, Some(&self::version(version)))
            .map(|limits| limits.iter().count())
    };
    assert_eq!(limits(&features[..2], "5").ok(), Some(2 + 2 * (1 + MAX_STEPS)));
    assert!(limits(&features, "5").is_err());
    assert_eq!(limits(&features, "1").ok(), Some(2 + 3), "an old version is counted for none of the steps");
}
