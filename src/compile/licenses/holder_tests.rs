//! In which of several pools a license counts.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    tests::{NOW, Vendor, listing, pool},
    *,
};

#[test]
fn a_copy_in_another_namespace_adds_no_seat_whoever_is_looked_at_first() {
    let vendor = Vendor::new();
    let read = [vendor.read(&vendor.issue("id: one, product: cad, seats: 10"))];
    let spec = "{product: cad, licenses: [{secretRef: {name: a}}]}";
    let (older, mut newer) = (pool("z", spec), pool("a", spec));
    let later = "2025-02-01T00:00:00Z".parse().unwrap();
    newer.metadata.creation_timestamp = Some(Time(later));
    for all in [[(&older, &read[..]), (&newer, &read[..])], [(&newer, &read[..]), (&older, &read[..])]] {
        let holders = holders(all, &vendor.at(NOW));
        let sums = [&older, &newer].map(|pool| licensed(pool, &read, &holders, &vendor.at(NOW)).unwrap());
        assert_eq!(sums.each_ref().map(|licensed| licensed.terms.seats), [10, 0]);
        assert_eq!(sums[1].findings[0].reason, LicenseReason::InUse(ObjectName::of(&older)));
    }
}

/// What an old pool with the first document and a young one with the second are told, and their seats.
fn of_old_and_young(vendor: &Vendor, documents: [&str; 2], now: &str) -> [(u32, Vec<&'static str>); 2] {
    let read = documents.map(|document| [vendor.read(document)]);
    let pools = documents.map(|document| {
        let product = vendor.read(document).unwrap().license().product.clone();
        pool(&product, &format!("{{product: {product}, licenses: [{{secretRef: {{name: a}}}}]}}"))
    });
    let [old, mut young] = pools;
    young.metadata.name = Some("young".into());
    young.metadata.creation_timestamp = Some(Time("2025-02-01T00:00:00Z".parse().unwrap()));
    let holders = holders([(&old, &read[0][..]), (&young, &read[1][..])], &vendor.at(now));
    [(&old, &read[0]), (&young, &read[1])].map(|(pool, read)| {
        let licensed = licensed(pool, read, &holders, &vendor.at(now)).unwrap();
        let told = licensed.findings.iter().map(|finding| finding.reason.reason()).collect();
        (licensed.terms.seats, told)
    })
}

#[test]
fn a_license_counts_where_its_newest_document_is_and_one_that_is_over_holds_nothing() {
    let vendor = Vendor::new();
    let old = vendor.issue("id: one, product: cad, seats: 10, validity: {notAfter: '2026-05-01T00:00:00Z'}");
    let renewal = vendor.issue(
        "id: one, product: cad, seats: 12, validity: {notBefore: '2026-04-01T00:00:00Z', notAfter: '2027-05-01T00:00:00Z'}",
    );
    let both = [&*old, &*renewal];
    let early = of_old_and_young(&vendor, both, "2026-03-01T00:00:00Z");
    assert_eq!(early, [(10, vec![]), (0, vec!["NotYetValid"])]);
    let begun = of_old_and_young(&vendor, both, "2026-04-01T00:00:00Z");
    assert_eq!(begun, [(0, vec!["InUse"]), (12, vec![])]);
    let ended = of_old_and_young(&vendor, both, NOW);
    assert_eq!(ended, [(0, vec!["Expired"]), (12, vec![])]);
    let over = of_old_and_young(&vendor, both, "2027-05-01T00:00:00Z");
    assert_eq!(over, [(0, vec!["Expired"]), (0, vec!["Expired"])]);
    let endless = vendor.issue("id: one, product: cad, seats: 10");
    let shortened = [&*endless, &*renewal];
    let over = of_old_and_young(&vendor, shortened, "2027-05-01T00:00:00Z");
    assert_eq!(over, [(0, vec!["Replaced"]), (0, vec!["Expired"])], "a shortened license does not come back");
    let elsewhere = vendor.issue(
        "id: one, product: cad, seats: 12, validity: {notBefore: '2026-04-01T00:00:00Z'}, binding: {cluster: 11111111-2222-4333-8444-555555555555}",
    );
    let moved = of_old_and_young(&vendor, [&endless, &elsewhere], NOW);
    assert_eq!(moved, [(0, vec!["Replaced"]), (0, vec!["Elsewhere"])]);
}

#[test]
fn each_pool_looks_again_when_its_license_may_count_in_another_one() {
    let vendor = Vendor::new();
    let read = [
        [vendor.read(&vendor.issue("id: one, product: cad, seats: 10"))],
        [vendor.read(
            &vendor.issue("id: one, product: cad, seats: 12, validity: {notBefore: '2026-07-01T00:00:00Z'}"),
        )],
    ];
    let (one, two) = (listing(1, ""), pool("z", "{product: cad, licenses: [{secretRef: {name: a}}]}"));
    let holders = holders([(&one, &read[0][..]), (&two, &read[1][..])], &vendor.at(NOW));
    let licensed = licensed(&one, &read[0], &holders, &vendor.at(NOW)).unwrap();
    assert_eq!(licensed.next_change().unwrap().to_string(), "2026-07-01T00:00:00Z");
    assert_eq!(licensed.next_end(), None, "it is no end that the pool tells");
}

#[test]
fn licenses_of_two_products_are_two_whatever_their_ids() {
    let vendor = Vendor::new();
    let [cad, cae] =
        ["cad", "cae"].map(|product| vendor.issue(&format!("id: one, product: {product}, seats: 1")));
    assert_eq!(of_old_and_young(&vendor, [&cad, &cae], NOW), [(1, vec![]), (1, vec![])]);
}
