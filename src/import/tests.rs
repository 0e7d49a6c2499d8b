//! Files of invented vendors → manifests and findings.

use std::{fs, sync::Arc};

use proptest::prelude::*;

use super::{Choice, Import, Source, flexnet, rlm};
use crate::compile::manifests::{CompiledManifests, compile_unlicensed, load};

const TODAY: jiff::civil::Date = jiff::civil::date(2026, 6, 1);

fn source(name: &str, text: impl Into<Vec<u8>>) -> Source {
    Source { name: Arc::from(name), bytes: text.into() }
}

fn license(text: &str) -> Import {
    flexnet(&[source("a.lic", text)], None, &Choice::default(), TODAY).unwrap()
}

fn findings(import: &Import) -> Vec<String> {
    import.findings.iter().map(ToString::to_string).collect()
}

/// The manifests and what became of the lines, as a user sees them.
fn all(import: &Import) -> String {
    import.yaml().unwrap() + "\n" + &findings(import).join("\n")
}

/// As `genie-lm check` does.
fn checked(import: &Import) -> CompiledManifests {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("imported.yaml"), import.yaml().unwrap()).unwrap();
    let compiled = compile_unlicensed(&load(&[dir.path()]), |_| None);
    assert!(compiled.problems.is_empty(), "{:?}\n{}", compiled.problems, import.yaml().unwrap());
    compiled
}

/// Features with their seats, after `check`.
fn seats(import: &Import) -> Vec<(String, Option<u32>)> {
    let compiled = checked(import);
    let plans = compiled.pools.iter().map(|pool| pool.compiled.plan.as_ref().unwrap());
    let features = plans.flat_map(|plan| &plan.features);
    features.map(|feature| (feature.name.to_string(), feature.seats)).collect()
}

fn one(name: &str, seats: u32) -> Vec<(String, Option<u32>)> {
    vec![(name.to_owned(), Some(seats))]
}

#[test]
fn a_whole_file_becomes_a_pool_and_grants() {
    let import = license(include_str!("testdata/whole.lic"));
    checked(&import);
    insta::assert_snapshot!(all(&import));
}

#[test]
fn an_options_file_is_understood_line_by_line() {
    let files = [source("a.lic", "INCREMENT Draw acmed 1.0 permanent 9 SIGN=0\n")];
    let options = source("acmed.opt", include_str!("testdata/acmed.opt"));
    let import = flexnet(&files, Some(&options), &Choice::default(), TODAY).unwrap();
    insta::assert_snapshot!(all(&import));
}

#[test]
fn an_rlm_file_is_understood_with_lines_that_go_on() {
    let files = [source("b.lic", include_str!("testdata/rlm.lic"))];
    let import = rlm(&files, &Choice::default(), TODAY).unwrap();
    checked(&import);
    insta::assert_snapshot!(all(&import));
}

#[test]
fn increments_add_up_and_a_second_feature_line_does_not() {
    let lines = "INCREMENT a v 1.0 permanent 2\nINCREMENT A v 1.0 permanent 3\n";
    assert_eq!(seats(&license(lines)), one("a", 5));
    let lines = "FEATURE a v 1.0 permanent 2\nFEATURE a v 2.0 permanent 7\nINCREMENT a v 1.0 permanent 1\n";
    let import = license(lines);
    assert_eq!(seats(&import), one("a", 8), "the newer version comes first");
    assert!(
        findings(&import)
            .contains(&"a.lic:1: note: of the FEATURE lines of a only that at a.lic:2 counts".to_owned())
    );
}

#[test]
fn a_sort_keyword_comes_before_the_version_and_files_are_not_mixed() {
    let lines = "FEATURE a v 2.0 permanent 2\nFEATURE a v 1.0 permanent 7 sort=50\n";
    assert_eq!(seats(&license(lines)), one("a", 7));
    let files = [source("a", "FEATURE a v 1.0 permanent 2\n"), source("b", "FEATURE a v 2.0 permanent 7\n")];
    assert_eq!(seats(&flexnet(&files, None, &Choice::default(), TODAY).unwrap()), one("a", 2));
}

#[test]
fn what_was_issued_before_a_superseding_line_does_not_count() {
    let lines = "INCREMENT a v 1.0 permanent 2 ISSUED=1-jan-2025
INCREMENT b v 1.0 permanent 4
INCREMENT a v 1.0 permanent 8 ISSUED=1-jan-2026 SUPERSEDE=\"a b\"
INCREMENT a v 1.0 permanent 1 ISSUED=1-feb-2026
";
    assert_eq!(seats(&license(lines)), one("a", 9));
}

#[test]
fn nothing_is_taken_from_lines_that_are_over_or_have_not_begun() {
    let lines = "INCREMENT a v 1.0 31-may-2026 2\nINCREMENT a v 1.0 1-jun-2026 4\n\
                 INCREMENT a v 1.0 permanent 8 START=2-jun-2026\n";
    assert_eq!(seats(&license(lines)), one("a", 4), "the last day counts");
}

#[test]
fn uncounted_is_without_a_limit_of_its_own_but_not_where_it_was_bound_to_a_host() {
    let import =
        license("FEATURE a v 1.0 permanent uncounted HOSTID=ANY\nFEATURE b v 1.0 permanent 0 HOSTID=00AA\n");
    assert_eq!(seats(&import), [("a".to_owned(), None)]);
    let lost = |line| {
        import
            .findings
            .iter()
            .any(|finding| finding.at.line == line && finding.message.contains("host locks"))
    };
    assert!(!lost(1) && lost(2));
}

#[test]
fn names_that_become_the_same_are_told_apart_and_told() {
    let import = license("INCREMENT my_f v_1 1.0 permanent 1\nINCREMENT my-f v_1 1.0 permanent 2\n");
    assert_eq!(seats(&import), [("my-f".to_owned(), Some(1)), ("my-f-2".to_owned(), Some(2))]);
    assert!(findings(&import).iter().any(|finding| finding.contains("my-f is called my-f-2 here")));
    assert!(
        findings(&import).iter().any(|finding| finding.contains("what v_1 served is the product v-1 here"))
    );
}

#[test]
fn vendors_have_a_pool_each_and_chosen_names_are_for_one() {
    let files = [source("a", "INCREMENT a v 1.0 permanent 1\nINCREMENT a w 1.0 permanent 2\n")];
    let import = flexnet(&files, None, &Choice::default(), TODAY).unwrap();
    assert_eq!(checked(&import).pools.len(), 2);
    let choice = Choice { product: Some("cad".to_owned()), name: None };
    let refused = flexnet(&files, None, &choice, TODAY).unwrap_err().to_string();
    assert!(refused.contains("v, w"), "{refused}");
}

#[test]
fn more_vendors_than_one_import_takes_are_told() {
    let lines: String = (1..=101).map(|n| format!("INCREMENT a v{n} 1.0 permanent 1\n")).collect();
    let import = license(&lines);
    assert_eq!(checked(&import).pools.len(), 100);
    assert!(
        findings(&import).iter().any(|finding| finding.starts_with("a.lic:101: not carried over: v101: "))
    );
}

#[test]
fn more_features_than_a_pool_can_have_are_told_one_by_one() {
    let lines: String = (1..=130).map(|n| format!("INCREMENT f{n} v 1.0 permanent 1\n")).collect();
    let import = license(&lines);
    assert_eq!(seats(&import).len(), 128);
    let told = import.findings.iter().filter(|finding| finding.message.contains("at most 128 features"));
    assert_eq!(told.map(|finding| finding.at.line).collect::<Vec<_>>(), [129, 130]);
}

#[test]
fn a_file_that_says_what_can_be_said_is_complete() {
    let import = license("INCREMENT a v 1.0 permanent 1 SN=5 SIGN=0 TS_OK HOSTID=ANY DUP_GROUP=NONE\n");
    assert!(import.is_complete(), "{:?}", findings(&import));
}

/// Features with their highest versions, after `check`.
fn versions(import: &Import) -> Vec<(String, Option<String>)> {
    let compiled = checked(import);
    let plans = compiled.pools.iter().map(|pool| pool.compiled.plan.as_ref().unwrap());
    let version = |feature: &crate::api::PlanFeature| feature.version.as_ref().map(ToString::to_string);
    plans
        .flat_map(|plan| &plan.features)
        .map(|feature| (feature.name.to_string(), version(feature)))
        .collect()
}

#[test]
fn a_feature_is_for_versions_up_to_its_newest_line_and_older_lines_are_told() {
    let lost = |lines: &str| -> Vec<u32> {
        let import = license(lines);
        import
            .findings
            .iter()
            .filter(|finding| !finding.carried_over)
            .map(|finding| finding.at.line)
            .collect()
    };
    let mixed = "INCREMENT a v 1.0 permanent 2\nINCREMENT a v 2.5 permanent 3\nINCREMENT b v 7 permanent 1\n";
    assert_eq!(
        versions(&license(mixed)),
        [("a".to_owned(), Some("2.5".to_owned())), ("b".to_owned(), Some("7".to_owned()))]
    );
    assert_eq!(lost(mixed), [1]);
    let upgraded = "INCREMENT a v 1.0 permanent 2\nUPGRADE a v 1.0 2.0 permanent 2\n";
    assert_eq!(versions(&license(upgraded)), [("a".to_owned(), Some("2.0".to_owned()))]);
    assert_eq!(lost(upgraded), [] as [u32; 0]);
    assert_eq!(lost(&upgraded.replace("permanent 2\nU", "permanent 3\nU")), [1], "one seat stays as it was");
    let odd = "INCREMENT a v 1.0 permanent 2\nINCREMENT a v 2.0b permanent 2\n";
    assert_eq!((versions(&license(odd)), lost(odd)), (vec![("a".to_owned(), None)], vec![2]));
}

#[test]
fn a_suite_has_seats_for_its_features_beside_those_that_are_sold_alone() {
    let import = license(
        "PACKAGE all v COMPONENTS=\"a b\" OPTIONS=SUITE\nINCREMENT all v 1.0 permanent 2\nINCREMENT a v 1.0 permanent 5\n",
    );
    assert_eq!(seats(&import), [("a".to_owned(), Some(5)), ("b".to_owned(), None)]);
    let compiled = checked(&import);
    let plan = compiled.pools[0].compiled.plan.as_ref().unwrap();
    let tier = &plan.tiers[0];
    assert_eq!((plan.seats, tier.seats, tier.covers.len()), (7, Some(2), 2));
    assert!(import.is_complete(), "{:?}", findings(&import));
}

/// Pieces of license and options files, in any order.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "FEATURE",
        "INCREMENT",
        "PACKAGE",
        "UPGRADE",
        "LICENSE",
        "SERVER",
        "VENDOR",
        "RESERVE",
        "MAX",
        "INCLUDE",
        "GROUP",
        "TIMEOUT",
        "a",
        "B_c",
        "no",
        "1e3",
        "null",
        "~",
        "v",
        "w_",
        "1.0",
        "2",
        "0",
        "uncounted",
        "permanent",
        "1-jan-2030",
        "31-dec-9998",
        "1-jan-2020",
        "5",
        "4294967295",
        "SIGN=00AA",
        "COMPONENTS=\"a B_c:1.0:2\"",
        "OPTIONS=SUITE",
        "SUPERSEDE",
        "ISSUED=1-jan-2025",
        "START=1-jan-2024",
        "HOSTID=00",
        "USER",
        "\"",
        "\\",
        "\n",
        "\n",
        "\r\n",
        "#",
        "ü: -",
        "{",
        "\u{2028}",
        "\0",
        "INCREMENT a v 1.0 permanent 5",
        "\nPACKAGE a v COMPONENTS=b",
        "\nFEATURE a v 1.0 1-jan-2030 3 NOTICE=\"x: # y\"",
    ]);
    prop::collection::vec((words, prop::bool::weighted(0.9)), 0..60).prop_map(|words| {
        let text: String = words
            .into_iter()
            .map(|(word, blank)| format!("{word}{}", if blank { " " } else { "" }))
            .collect();
        text.into_bytes()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_read_the_manifests_pass_the_check(bytes in prop_oneof![soup(), prop::collection::vec(any::<u8>(), 0..400)], options in soup()) {
        let options = source("o", options);
        let import = flexnet(&[source("a\nb: c", bytes.clone())], Some(&options), &Choice::default(), TODAY).unwrap();
        checked_or_empty(&import);
        checked_or_empty(&rlm(&[source("a", bytes.clone())], &Choice::default(), TODAY).unwrap());
        super::lmstat(&bytes);
    }

    #[test]
    fn no_feature_has_more_seats_than_its_lines(counts in prop::collection::vec((0..3_u8, 1..600_000_u32), 1..9)) {
        let line = |(name, count): &(u8, u32)| format!("INCREMENT f{name} v 1.0 permanent {count}\n");
        let import = license(&counts.iter().map(line).collect::<String>());
        for (name, seats) in seats(&import) {
            let of = counts.iter().filter(|(n, _)| format!("f{n}") == name);
            let sum: u64 = of.map(|(_, count)| u64::from(*count)).sum();
            prop_assert_eq!(u64::from(seats.unwrap()), sum.min(1_000_000));
        }
    }
}

fn checked_or_empty(import: &Import) {
    if !import.is_empty() {
        checked(import);
    }
}
