//! What signed documents make of a pool, in literal YAML.

use k8s_openapi::ByteString;
use serde::de::DeserializeOwned;

use super::*;
use crate::{
    api::{LicenseGrant, SeatPlanSpec},
    compile::{Compiled, GrantInput, GrantReason, PoolInput, compile},
    license::document::{SigningKey, Spec, sign},
};

const HERE: &str = "0b3c7a52-9a1e-4c0e-8f3e-0d5a5c0f7b11";
pub(super) const NOW: &str = "2026-06-01T00:00:00Z";

fn yaml<T: DeserializeOwned>(text: &str) -> T {
    serde_saphyr::from_str(text).expect("the test's own YAML")
}

pub(super) fn pool(namespace: &str, spec: &str) -> LicensePool {
    yaml(&format!(
        "apiVersion: genie-lm.io/v1alpha1\nkind: LicensePool\nmetadata: {{name: acme, namespace: {namespace}, creationTimestamp: '2025-01-01T00:00:00Z'}}\nspec: {spec}\n"
    ))
}

pub(super) fn grant(spec: &str) -> LicenseGrant {
    yaml(&format!(
        "apiVersion: genie-lm.io/v1alpha1\nkind: LicenseGrant\nmetadata: {{name: g, namespace: cad}}\nspec: {spec}\n"
    ))
}

/// A pool that lists Secrets a, b, c, ….
pub(super) fn listing(count: usize, more: &str) -> LicensePool {
    let names = ('a'..='z').take(count).map(|name| format!("{{secretRef: {{name: {name}}}}}"));
    pool("cad", &format!("{{product: cad, licenses: [{}]{more}}}", names.collect::<Vec<_>>().join(", ")))
}

/// A vendor, and whoever trusts it for two products.
pub(super) struct Vendor(SigningKey, TrustedKeys);

impl Vendor {
    pub(super) fn new() -> Self {
        let key = SigningKey::generate().unwrap();
        let jwk = serde_json::to_string(&key.public()).unwrap();
        let trust = format!("vendorKeys: [{{products: [cad, cae], key: '{jwk}'}}]");
        Self(key, TrustedKeys::parse(&trust).unwrap())
    }

    pub(super) fn issue(&self, spec: &str) -> String {
        let text = format!("{{vendor: Acme, customer: Initech, {spec}}}");
        let issued = "2026-01-01T00:00:00Z".parse().unwrap();
        sign(&Spec::parse(&text).unwrap().license(issued, || "new".into()).unwrap(), &self.0).unwrap()
    }

    pub(super) fn read(&self, document: &str) -> ReadLicense {
        let reference = LicenseSecretRef { name: "a".into(), key: None };
        read_license(&reference, Some(&secret(document)), &self.1)
    }

    pub(super) fn at<'a>(&'a self, now: &str) -> Licensing<'a> {
        let place = Place::Here { cluster: Some(HERE), host: None };
        Licensing { trust: &self.1, place, now: now.parse().unwrap(), cluster_unknown: false }
    }

    fn compiled(&self, pool: &LicensePool, documents: &[&str], now: &str) -> Compiled {
        self.with(pool, documents, now, None, &[])
    }

    pub(super) fn with(
        &self,
        pool: &LicensePool,
        documents: &[&str],
        now: &str,
        before: Option<&SeatPlanSpec>,
        grants: &[LicenseGrant],
    ) -> Compiled {
        let read: Vec<_> = documents.iter().map(|document| self.read(document)).collect();
        let holders = holders([(pool, &*read)], &self.at(now));
        let licensed = licensed(pool, &read, &holders, &self.at(now));
        let grants: Vec<_> =
            grants.iter().map(|grant| GrantInput { grant, keys: Ok(Vec::new()), allowed: true }).collect();
        compile(&PoolInput { licensed, before, ..PoolInput::new(pool) }, &grants)
    }
}

fn secret(document: &str) -> Secret {
    let data = [("license".to_owned(), ByteString(document.as_bytes().to_vec()))];
    Secret { data: Some(data.into()), ..Secret::default() }
}

pub(super) fn told(compiled: &Compiled) -> Vec<String> {
    compiled.licensed.iter().flat_map(|licensed| &licensed.findings).map(ToString::to_string).collect()
}

fn seats(compiled: &Compiled) -> u32 {
    compiled.plan.as_ref().unwrap().seats
}

#[test]
fn licenses_add_up_and_end_one_by_one_by_time_alone() {
    let vendor = Vendor::new();
    let first = vendor.issue(
        "id: one, product: cad, seats: 10, validity: {notAfter: '2026-09-01T00:00:00Z', gracePeriod: 24h}",
    );
    let second =
        vendor.issue("id: two, product: cad, seats: 5, validity: {notAfter: '2027-01-01T00:00:00Z'}");
    let (pool, mut now, mut seen) =
        (listing(2, ", validity: {expiryWarnings: []}"), NOW.to_owned(), Vec::new());
    loop {
        let compiled = vendor.compiled(&pool, &[&first, &second], &now);
        let plan = compiled.plan.as_ref().unwrap();
        let at = now.parse().unwrap();
        assert_eq!(plan.validity.not_after.as_ref().unwrap().0.to_string(), "2027-01-01T00:00:00Z");
        seen.push(format!("{now}: {} until {}", plan.seats, compiled.next_end(at).unwrap()));
        let Some(next) = compiled.next_change(at) else { break };
        now = next.to_string();
    }
    insta::assert_snapshot!(seen.join("\n"));
}

#[test]
fn the_smaller_of_pool_and_licenses_counts_and_what_the_pool_leaves_out_is_theirs() {
    let vendor = Vendor::new();
    let document = vendor.issue(
        "product: cad, seats: 10, overdraft: 50%, borrow: {maxDuration: 72h, maxSeats: 3}, \
         features: [{name: draw}, {name: render, seats: 4, notAfter: '2026-08-01T00:00:00Z'}, {name: fly, version: '2'}], \
         tiers: [{name: pro, features: [draw, render]}, {name: basic, features: [draw], seats: 2}], \
         validity: {notAfter: '2027-01-01T00:00:00Z', gracePeriod: 24h}",
    );
    let theirs = vendor.compiled(&listing(1, ""), &[&document], NOW);
    insta::assert_yaml_snapshot!("theirs", theirs.plan.as_ref().unwrap());
    assert_eq!(told(&theirs), [] as [String; 0]);
    let narrower = ", seats: 3, features: [{name: draw, seats: 2}, {name: render}, {name: sing}], \
        tiers: [{name: pro, features: [draw, sing], seats: 2, suite: true}, {name: gold, features: [render]}], \
        validity: {notBefore: '2026-05-01T00:00:00Z', notAfter: '2027-01-01T12:00:00Z'}";
    let both = vendor.compiled(&listing(1, narrower), &[&document], NOW);
    insta::assert_yaml_snapshot!("both", both.plan.as_ref().unwrap());
    assert_eq!(
        told(&both),
        ["no license covers feature sing, tier gold, tier pro as a suite: cut off until one does"]
    );
}

#[test]
fn a_document_that_is_not_good_here_counts_nothing_and_is_told_by_its_secret() {
    let (vendor, stranger) = (Vendor::new(), Vendor::new());
    let good = vendor.issue("id: good, product: cad, seats: 1");
    let (message, _) = good.rsplit_once('.').unwrap();
    let (_, signature) = vendor
        .issue("product: cad, seats: 1000")
        .rsplit_once('.')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let documents = [
        good.clone(),
        format!("{message}.{signature}"),
        stranger.issue("product: cad, seats: 1000"),
        vendor.issue("product: cam, seats: 1000"),
        vendor.issue("id: far, product: cad, seats: 1000, binding: {cluster: 11111111-2222-4333-8444-555555555555}"),
        vendor.issue("id: host, product: cad, seats: 1000, binding: {hosts: [host1-0123456789]}"),
        vendor.issue("id: old, product: cad, seats: 1000, validity: {notBefore: '2025-01-01T00:00:00Z', notAfter: '2026-02-01T00:00:00Z'}"),
        vendor.issue("id: soon, product: cad, seats: 1000, validity: {notBefore: '2026-07-01T00:00:00Z'}"),
        good.clone(),
        "hunter2".into(),
        "x".repeat(70_000),
        String::new(),
        vendor.issue(&format!("id: here, product: cad, seats: 1, binding: {{cluster: {HERE}}}")),
    ];
    let all: Vec<&str> = documents.iter().map(String::as_str).collect();
    let compiled = vendor.compiled(&listing(all.len(), ""), &all, NOW);
    assert_eq!(seats(&compiled), 2);
    let told = told(&compiled).join("\n");
    assert!(!told.contains("hunter2"));
    insta::assert_snapshot!(told);
    let reference = LicenseSecretRef { name: "a".into(), key: Some("other".into()) };
    assert_eq!(
        read_license(&reference, Some(&secret(&good)), &vendor.1),
        Err(LicenseReason::Missing("other".into()))
    );
}

#[test]
fn a_product_that_a_vendor_licenses_has_no_seat_without_a_license() {
    let vendor = Vendor::new();
    let free = vendor.compiled(&pool("cad", "{product: cam, seats: 9}"), &[], NOW);
    assert_eq!((seats(&free), free.licensed), (9, None));
    let compiled = vendor.compiled(&pool("cad", "{product: cad, seats: 1000}"), &[], NOW);
    let plan = compiled.plan.as_ref().unwrap();
    assert_eq!((plan.seats, plan.suspended, plan.revoked), (0, true, true));
    assert_eq!(
        told(&compiled),
        ["cad is licensed by its vendor here: list the Secrets with its licenses in spec.licenses"]
    );
}

#[test]
fn where_licenses_are_lost_sessions_go_on_until_the_end_that_was_known_and_nobody_begins() {
    let vendor = Vendor::new();
    let document = vendor.issue("product: cad, seats: 10, validity: {notAfter: '2026-09-01T00:00:00Z'}");
    let pool = listing(1, ", validity: {notAfter: '2099-01-01T00:00:00Z'}");
    let licensed = vendor.compiled(&pool, &[&document], NOW).plan.unwrap();
    let lost = vendor.with(&pool, &["lost"], NOW, Some(&licensed), &[]).plan.unwrap();
    assert_eq!((lost.seats, lost.suspended, lost.revoked), (0, true, false));
    assert_eq!(lost.validity, licensed.validity);
    let after = vendor.with(&pool, &["lost"], "2026-09-01T00:00:00Z", Some(&lost), &[]).plan.unwrap();
    assert!(after.revoked, "the end that was known has passed");
    let again = vendor.with(&pool, &[&document], NOW, Some(&lost), &[]).plan.unwrap();
    assert_eq!(again, licensed, "what comes back counts as before");
    let none = vendor.compiled(&pool, &["lost"], NOW).plan.unwrap();
    assert!(none.revoked);
    let still = vendor.with(&pool, &["lost"], NOW, Some(&none), &[]).plan.unwrap();
    assert!(still.revoked, "a plan that let nobody go on is nothing to go on by");
}

#[test]
fn a_license_that_is_taken_away_or_counts_elsewhere_leaves_nothing_to_go_on_by() {
    let vendor = Vendor::new();
    let document =
        vendor.issue("id: one, product: cad, seats: 10, validity: {notAfter: '2026-09-01T00:00:00Z'}");
    let listing = listing(1, "");
    let licensed_before = vendor.compiled(&listing, &[&document], NOW).plan.unwrap();
    let revoked = |pool: &LicensePool, documents: &[&str]| {
        let compiled = vendor.with(pool, documents, NOW, Some(&licensed_before), &[]);
        let reasons = compiled.licensed.unwrap().findings;
        (compiled.plan.unwrap().revoked, reasons[0].reason.reason())
    };
    assert_eq!(revoked(&listing, &["lost"]), (false, "Malformed"));
    assert_eq!(revoked(&pool("cad", "{product: cad, seats: 10}"), &[]), (true, "LicenseRequired"));
    let elsewhere = vendor
        .issue("id: one, product: cad, seats: 10, binding: {cluster: 11111111-2222-4333-8444-555555555555}");
    assert_eq!(revoked(&listing, &[&elsewhere]), (true, "Elsewhere"));
    assert_eq!(revoked(&listing, &[&vendor.issue("product: cae, seats: 10")]), (true, "OtherProduct"));

    let (holder, read) =
        (pool("a", "{product: cad, licenses: [{secretRef: {name: a}}]}"), [vendor.read(&document)]);
    let holders = holders([(&holder, &read[..]), (&listing, &read[..])], &vendor.at(NOW));
    let licensed = licensed(&listing, &read, &holders, &vendor.at(NOW));
    assert_eq!(licensed.as_ref().unwrap().findings[0].reason, LicenseReason::InUse(ObjectName::of(&holder)));
    let input = PoolInput { licensed, before: Some(&licensed_before), ..PoolInput::new(&listing) };
    assert!(compile(&input, &[]).plan.unwrap().revoked);
}

#[test]
fn where_the_uid_of_the_cluster_cannot_be_read_that_is_told_and_sessions_go_on() {
    let vendor = Vendor::new();
    let bound = format!("product: cad, seats: 1, binding: {{cluster: {HERE}}}");
    let (pool, read) = (listing(1, ""), [vendor.read(&vendor.issue(&bound))]);
    let before = vendor.compiled(&pool, &[&vendor.issue(&bound)], NOW).plan.unwrap();
    let told = |cluster_unknown| {
        let place = Place::Here { cluster: None, host: None };
        let licensing = Licensing { place, cluster_unknown, ..vendor.at(NOW) };
        let licensed = licensed(&pool, &read, &holders([(&pool, &read[..])], &licensing), &licensing);
        let reason = licensed.as_ref().unwrap().findings[0].reason.reason();
        let input = PoolInput { licensed, before: Some(&before), ..PoolInput::new(&pool) };
        (reason, compile(&input, &[]).plan.unwrap().revoked)
    };
    assert_eq!(told(true), ("ClusterUnknown", false));
    assert_eq!(told(false), ("Elsewhere", true));
}

#[test]
fn a_renewal_that_begins_as_the_other_ends_leaves_no_gap_for_sessions() {
    let vendor = Vendor::new();
    let old = vendor.issue("id: a, product: cad, seats: 10, validity: {notAfter: '2026-09-01T00:00:00Z'}");
    let new = vendor.issue("id: b, product: cad, seats: 4, validity: {notBefore: '2026-09-01T00:00:00Z', notAfter: '2027-09-01T00:00:00Z'}");
    let plan = vendor.compiled(&listing(2, ""), &[&old, &new], NOW).plan.unwrap();
    assert_eq!(
        (plan.seats, plan.validity.not_after.unwrap().0.to_string()),
        (10, "2027-09-01T00:00:00Z".into())
    );
    let then = vendor.compiled(&listing(2, ""), &[&old, &new], "2026-09-01T00:00:00Z").plan.unwrap();
    assert_eq!(then.seats, 4);
    let later = vendor.compiled(&listing(1, ""), &[&new], NOW).plan.unwrap();
    assert_eq!(
        (later.seats, later.validity.not_before.unwrap().0.to_string()),
        (0, "2026-09-01T00:00:00Z".into())
    );
}

#[test]
fn the_grace_period_is_that_of_the_license_that_lasts_longest() {
    let vendor = Vendor::new();
    let old = vendor.issue(
        "id: a, product: cad, seats: 10, validity: {notAfter: '2026-05-01T00:00:00Z', gracePeriod: 2400h}",
    );
    let graced = vendor.compiled(&listing(1, ""), &[&old], NOW);
    let validity = &graced.plan.as_ref().unwrap().validity;
    let end = validity.not_after.as_ref().unwrap().0.to_string();
    assert_eq!(
        (end.as_str(), validity.grace_period.unwrap().to_string().as_str()),
        ("2026-05-01T00:00:00Z", "2400h")
    );
    assert_eq!(seats(&graced), 10);
    assert_eq!(graced.licensed.unwrap().findings[0].reason.reason(), "Grace");
}

#[test]
fn a_grace_period_that_outlasts_a_valid_license_does_not_hide_its_end() {
    let vendor = Vendor::new();
    let old = vendor.issue(
        "id: a, product: cad, seats: 10, validity: {notAfter: '2026-01-31T00:00:00Z', gracePeriod: 8760h}",
    );
    let valid = vendor.issue("id: b, product: cad, seats: 5, validity: {notAfter: '2026-07-01T00:00:00Z'}");
    let at = |now: &str| {
        let validity = vendor.compiled(&listing(2, ""), &[&old, &valid], now).plan.unwrap().validity;
        let end = validity.not_after.as_ref().unwrap().0.to_string();
        (end, window::over(&validity).unwrap().to_string())
    };
    let over = || "2027-01-31T00:00:00Z".to_owned();
    assert_eq!(at(NOW), ("2026-07-01T00:00:00Z".to_owned(), over()));
    assert_eq!(at("2026-01-02T00:00:00Z"), ("2026-07-01T00:00:00Z".to_owned(), over()));
    assert_eq!(at("2026-07-01T00:00:00Z"), ("2026-01-31T00:00:00Z".to_owned(), over()));
}

#[test]
fn grants_lose_what_no_license_covers_and_nothing_else() {
    let vendor = Vendor::new();
    let document = vendor.issue("product: cad, seats: 10, features: [{name: draw}]");
    let pool = listing(1, ", features: [{name: draw}, {name: fly}], tiers: [{name: pro, features: [draw]}]");
    let outcome = |spec: &str, document: &str| {
        vendor.with(&pool, &[document], NOW, None, &[grant(spec)]).grants.remove(0).outcome
    };
    let flier = "{poolRef: {name: acme}, features: [draw, fly]}";
    let warned = outcome(flier, &document).unwrap().warnings;
    assert_eq!(warned, [GrantReason::FeatureNotLicensed { feature: "fly".into(), index: 1 }]);
    let plan = vendor.with(&pool, &[&document], NOW, None, &[grant(flier)]).plan.unwrap();
    assert_eq!(plan.grants[0].features.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["draw"]);
    let tiered = "{poolRef: {name: acme}, tier: pro}";
    assert_eq!(*outcome(tiered, &document).unwrap_err().first(), GrantReason::TierNotLicensed("pro".into()));
    assert_eq!(
        outcome("{poolRef: {name: acme}, tier: gold}", &document).unwrap_err().reason(),
        "TierNotFound"
    );
    assert!(outcome(tiered, "lost").is_ok(), "that no license counts is the pool's to tell");
}
