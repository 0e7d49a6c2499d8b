//! Behavior of the whole step, in literal YAML.

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::*;
use crate::api::MAX_GRANTS;

fn yaml<T: DeserializeOwned>(text: &str) -> T {
    serde_saphyr::from_str(text).expect("the test's own YAML")
}

fn pool(name: &str, spec: &str) -> LicensePool {
    yaml(&format!(
        "apiVersion: genie-lm.io/v1alpha1\nkind: LicensePool\nmetadata: {{name: {name}, namespace: cad, generation: 3}}\nspec: {spec}\n"
    ))
}

fn grant(name: &str, spec: &str) -> LicenseGrant {
    yaml(&format!(
        "apiVersion: genie-lm.io/v1alpha1\nkind: LicenseGrant\nmetadata: {{name: {name}, namespace: team, generation: 2}}\nspec: {spec}\n"
    ))
}

fn older<T: ResourceExt>(mut object: T) -> T {
    let time = "2020-01-01T00:00:00Z".parse().expect("a time");
    object.meta_mut().creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time));
    object
}

fn newer<T: ResourceExt>(mut object: T) -> T {
    let time = "2021-01-01T00:00:00Z".parse().expect("a time");
    object.meta_mut().creation_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time));
    object
}

fn key(text: &str) -> Vec<PlanKey> {
    vec![PlanKey { sha256: crate::license::KeyHash::of(text).to_hex() }]
}

/// Each grant with a key of its own.
fn inputs(grants: &[LicenseGrant]) -> Vec<GrantInput<'_>> {
    let input = |grant| GrantInput { grant, keys: Ok(key(&ObjectName::of(grant).name)), allowed: true };
    grants.iter().map(input).collect()
}

/// Reason and sentence of each grant that is refused; those that are accepted are `ok`, with their warnings.
fn told(compiled: &Compiled) -> Vec<String> {
    let one = |grant: &CompiledGrant| match &grant.outcome {
        Ok(accepted) if accepted.warnings.is_empty() => format!("{}: ok", grant.name),
        Ok(accepted) => format!("{}: ok, but {}", grant.name, accepted.warnings[0]),
        Err(reasons) => format!("{}: {}: {reasons}", grant.name, reasons.reason()),
    };
    compiled.grants.iter().map(one).collect()
}

/// Names of the grants that are accepted.
fn accepted(compiled: &Compiled) -> Vec<&str> {
    compiled.accepted().map(|(grant, _)| grant.name.as_str()).collect()
}

const CAD: &str = "{product: acme-cad, seats: 3, features: [{name: draw}, {name: render, seats: 1, notAfter: '2031-01-01T00:00:00Z'}], \
tiers: [{name: pro, features: [render, draw]}, {name: basic, features: [draw], seats: 2}], \
validity: {notAfter: '2030-06-01T00:00:00Z', gracePeriod: 24h}}";

#[test]
fn a_pool_and_its_grants_become_a_plan_in_order_of_namespace_and_name() {
    let pool = pool("acme", CAD);
    let grants = [
        grant("b", "{poolRef: {name: acme, namespace: cad}, tier: pro, seats: {max: 2}, suspend: true}"),
        grant(
            "a",
            "{poolRef: {name: acme, namespace: cad}, tier: basic, validity: {notAfter: '2030-01-01T00:00:00Z'}}",
        ),
    ];
    let compiled = compile(&PoolInput::new(&pool), &inputs(&grants));
    let again = compile(&PoolInput::new(&pool), &inputs(&[grants[1].clone(), grants[0].clone()]));
    assert_eq!(compiled, again);
    insta::assert_yaml_snapshot!(compiled.plan.unwrap());
}

#[test]
fn a_grant_with_neither_tier_nor_features_has_all_of_the_pools_and_otherwise_what_it_names() {
    let pool = pool("acme", CAD);
    let grants = [
        grant("all", "{poolRef: {name: acme}}"),
        grant("one", "{poolRef: {name: acme}, features: [render]}"),
        grant("more", "{poolRef: {name: acme}, tier: basic, features: [render]}"),
    ];
    let plan = compile(&PoolInput::new(&pool), &inputs(&grants)).plan.unwrap();
    let features: Vec<_> =
        plan.grants.iter().map(|grant| (grant.name.as_str(), grant.features.len())).collect();
    assert_eq!(features, [("all", 2), ("more", 2), ("one", 1)]);
}

#[test]
fn a_broken_grant_stops_neither_the_pool_nor_the_other_grants_and_is_told_everything() {
    let pool = pool("acme", CAD);
    let grants = [
        grant("good", "{poolRef: {name: acme}}"),
        grant("lost", "{poolRef: {name: acme}, tier: gold, features: [draw, fly]}"),
        grant(
            "keyless",
            "{poolRef: {name: acme}, subjects: [{kind: ActivationKey, keySecretRef: {name: mine}}]}",
        ),
        grant("stranger", "{poolRef: {name: acme}, tier: gold}"),
        grant(
            "reversed",
            "{poolRef: {name: acme}, validity: {notBefore: '2030-01-01T00:00:00Z', notAfter: '2029-01-01T00:00:00Z', gracePeriod: 1h}}",
        ),
    ];
    let mut inputs = inputs(&grants);
    inputs[2].keys = brought_key(&grants[2], None).map(|key| vec![hash(&key)]);
    inputs[3].allowed = false;
    let compiled = compile(&PoolInput::new(&pool), &inputs);
    assert_eq!(accepted(&compiled), ["good"]);
    insta::assert_snapshot!(told(&compiled).join("\n"));
}

#[test]
fn a_grant_that_is_refused_for_the_moment_stays_in_the_plan_suspended_so_that_its_sessions_go_on() {
    let pool = pool("acme", CAD);
    let validity = "validity: {notBefore: '2029-01-01T00:00:00Z', notAfter: '2030-01-01T00:00:00Z'}";
    let grants = [
        older(grant("a-good", "{poolRef: {name: acme}}")),
        grant(
            "b-features",
            &format!(
                "{{poolRef: {{name: acme}}, tier: basic, features: [fly, render], seats: {{max: 2}}, {validity}}}"
            ),
        ),
        grant("c-tier", "{poolRef: {name: acme}, tier: gold, features: [draw]}"),
        grant(
            "d-keyless",
            "{poolRef: {name: acme}, tier: pro, subjects: [{kind: ActivationKey, keySecretRef: {name: mine}}]}",
        ),
        newer(grant("e-same-key", "{poolRef: {name: acme}, tier: pro}")),
        grant(
            "f-reversed",
            "{poolRef: {name: acme}, tier: pro, validity: {notBefore: '2030-01-01T00:00:00Z', notAfter: '2029-01-01T00:00:00Z'}}",
        ),
        grant(&"g".repeat(64), "{poolRef: {name: acme}}"),
        grant("h-stranger", "{poolRef: {name: acme}, tier: gold}"),
    ];
    let mut inputs = inputs(&grants);
    inputs[3].keys = brought_key(&grants[3], None).map(|key| vec![hash(&key)]);
    inputs[4].keys = Ok(key("a-good"));
    inputs[7].allowed = false;
    let compiled = compile(&PoolInput::new(&pool), &inputs);
    assert_eq!(accepted(&compiled), ["a-good"]);
    let plan = compiled.plan.unwrap();
    let suspended: Vec<_> = plan.grants.iter().map(|grant| grant.suspended).collect();
    assert_eq!(suspended, [false, true, true, true, true, true]);
    assert_eq!(plan.inputs.len(), 1 + plan.grants.len());
    insta::assert_yaml_snapshot!(plan.grants);
    let view = crate::license::PlanView::new("cad", plan).unwrap();
    let now: Timestamp = "2029-06-01T00:00:00Z".parse().unwrap();
    for grant in &view.grants()[1..] {
        use crate::license::{Asked, Use};
        assert!(view.judge(grant, Asked::default(), now, Use::GoOn).is_authorized(), "{}", grant.plan.name);
        let begin = view.judge(grant, Asked::default(), now, Use::Begin);
        assert_eq!(begin.code, genie_proto::v1::Code::Suspended, "{}", grant.plan.name);
    }
}

#[test]
fn in_the_grace_period_the_answer_says_until_when() {
    let grants = [grant("a", "{poolRef: {name: acme}, tier: pro}")];
    let plan = compile(&PoolInput::new(&pool("acme", CAD)), &inputs(&grants)).plan.unwrap();
    let view = crate::license::PlanView::new("cad", plan).unwrap();
    let at = |time: &str| {
        view.judge(
            &view.grants()[0],
            crate::license::Asked::default(),
            time.parse().unwrap(),
            crate::license::Use::Begin,
        )
    };
    assert_eq!(
        at("2030-06-01T23:59:59Z").message,
        "acme-cad is licensed, but its license ended on 2030-06-01T00:00:00Z: renew it before the grace period ends \
         on 2030-06-02T00:00:00Z."
    );
    assert!(!at("2030-06-02T00:00:00Z").is_authorized());
}

#[test]
fn accepted_grants_have_the_first_claim_to_room_and_keys_and_refused_ones_take_what_is_left() {
    let pool = pool("acme", CAD);
    let typo = "{poolRef: {name: acme}, tier: gold}";
    let mut grants = vec![older(grant("a-typo", typo)), older(grant("b-typo", typo))];
    grants.extend((0..MAX_GRANTS - 1).map(|n| newer(grant(&format!("g{n}"), "{poolRef: {name: acme}}"))));
    let mut inputs = inputs(&grants);
    inputs[0].keys = Ok(key("g0"));
    let compiled = compile(&PoolInput::new(&pool), &inputs);
    assert_eq!(compiled.accepted().count(), MAX_GRANTS - 1);
    let plan = compiled.plan.unwrap();
    assert_eq!(plan.grants.len(), MAX_GRANTS);
    assert_eq!((plan.grants[0].name.as_str(), plan.grants[0].keys.as_slice()), ("a-typo", &[][..]));
    assert_eq!((plan.grants[1].name.as_str(), plan.grants[1].keys.clone()), ("g0", key("g0")));
}

#[test]
fn of_two_grants_with_one_key_the_older_keeps_it_and_both_are_told() {
    let pool = pool("acme", CAD);
    let grants = [newer(grant("a", "{poolRef: {name: acme}}")), older(grant("b", "{poolRef: {name: acme}}"))];
    let mut inputs = inputs(&grants);
    for input in &mut inputs {
        input.keys = Ok(key("the same"));
    }
    let compiled = compile(&PoolInput::new(&pool), &inputs);
    assert_eq!(accepted(&compiled), ["b"]);
    let keys: Vec<_> =
        compiled.plan.as_ref().unwrap().grants.iter().map(|grant| grant.keys.clone()).collect();
    assert_eq!(keys, [vec![], key("the same")]);
    insta::assert_snapshot!(told(&compiled).join("\n"));
}

#[test]
fn a_pool_takes_so_many_grants_and_refuses_the_newest() {
    let pool = pool("acme", CAD);
    let mut grants: Vec<_> =
        (0..MAX_GRANTS).map(|n| older(grant(&format!("g{n}"), "{poolRef: {name: acme}}"))).collect();
    grants.push(newer(grant("a-new-one", "{poolRef: {name: acme}}")));
    let compiled = compile(&PoolInput::new(&pool), &inputs(&grants));
    assert_eq!(compiled.plan.as_ref().unwrap().grants.len(), MAX_GRANTS);
    assert!(
        told(&compiled)[0]
            .starts_with("team/a-new-one: TooManyGrants: LicensePool cad/acme has more than 2000")
    );
}

#[test]
fn a_plan_stays_below_what_etcd_takes() {
    let features: Vec<String> = (0..128).map(|n| format!("{{name: f{n:062}}}")).collect();
    let pool = pool("acme", &format!("{{product: p, seats: 1, features: [{}]}}", features.join(", ")));
    let mut grants: Vec<_> =
        (0..200).map(|n| older(grant(&format!("g{n}"), "{poolRef: {name: acme}}"))).collect();
    grants.push(newer(grant("a-new-one", "{poolRef: {name: acme}}")));
    let compiled = compile(&PoolInput::new(&pool), &inputs(&grants));
    let bytes = serde_json::to_vec(&compiled.plan.as_ref().unwrap()).unwrap().len();
    assert!((900_000..1_100_000).contains(&bytes), "{bytes}");
    assert!(told(&compiled)[0].starts_with("team/a-new-one: PlanTooLarge: "), "{}", told(&compiled)[0]);
}

#[test]
fn a_session_of_a_suite_is_counted_for_its_tier_and_for_features_that_the_suite_has_not() {
    let pool = pool(
        "acme",
        "{product: cad, seats: 9, features: [{name: draw}, {name: render, seats: 1}, {name: sim, seats: 2}], tiers: [{name: all, features: [draw, render], seats: 3, suite: true}]}",
    );
    let grants = [
        grant("one", "{poolRef: {name: acme}, tier: all, features: [render, sim]}"),
        grant("two", "{poolRef: {name: acme}}"),
    ];
    let plan = compile(&PoolInput::new(&pool), &inputs(&grants)).plan.unwrap();
    let view = crate::license::PlanView::new("cad", plan).unwrap();
    let counted = |grant: &crate::license::GrantView| {
        let features = ["draw", "render", "sim"].map(str::to_owned);
        let limits = view.limits(grant, &features, None).unwrap();
        let mut names: Vec<&str> = limits.iter().filter_map(|limit| view.limit_name(limit)).collect();
        names.sort_unstable();
        (names.join(" "), view.unlimited(grant, &features).join(" "))
    };
    let counted: Vec<_> = view.grants().iter().map(counted).collect();
    assert_eq!(
        counted,
        [
            ("feature/sim grant/team/one seats tier/all".to_owned(), "draw render".to_owned()),
            ("feature/draw feature/render feature/sim grant/team/two seats".to_owned(), "draw".to_owned()),
        ]
    );
}

#[test]
fn a_pool_that_breaks_rules_is_told_all_of_them_and_its_grants_wait() {
    let spec = "{product: acme-cad, seats: 3, session: {ttl: 1s}, availability: {outageTolerance: 25h}, \
        deletion: {drainDeadline: 169h}, allowedNamespaces: {from: Selector}, tiers: [{name: pro, features: [fly], suite: true}], \
        validity: {notBefore: '2030-01-01T00:00:00Z', notAfter: '2030-01-01T00:00:00Z', gracePeriod: 8761h}}";
    let pool = pool("1acme", spec);
    let compiled = compile(&PoolInput::new(&pool), &inputs(&[grant("a", "{poolRef: {name: 1acme}}")]));
    assert!(told(&compiled)[0].starts_with("team/a: PoolNotAccepted: "));
    let reasons = compiled.plan.unwrap_err();
    assert_eq!(reasons.reason(), "Invalid");
    insta::assert_snapshot!(reasons.to_string().replace("; ", "\n"));
}

#[test]
fn of_two_pools_with_one_product_the_older_serves_and_both_are_told() {
    let pools = [
        newer(pool("a", "{product: p, seats: 1, server: {group: g, replicas: 3}}")),
        older(pool("b", "{product: p, seats: 1, server: {group: g, hostnames: [b.example]}}")),
        older(pool("c", "{product: q, seats: 1, server: {group: g}}")),
    ];
    let found = conflicts(&pools.iter().collect::<Vec<_>>());
    let name = |name: &str| ObjectName { namespace: "cad".to_owned(), name: name.to_owned() };
    assert_eq!(found.get(&name("c")), None);
    let input = PoolInput { conflicts: found[&name("a")].clone(), ..PoolInput::new(&pools[0]) };
    let refused = compile(&input, &[]);
    let (refusal, serving) = (refused.plan.unwrap_err(), &found[&name("b")]);
    assert_eq!((refusal.reason(), serving.refused.as_ref()), ("ProductConflict", None));
    let told = [refusal.to_string(), refused.warnings[0].to_string(), serving.warnings[0].to_string()];
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn the_pool_decides_whose_grants_it_takes() {
    let label =
        |key: &str, value: &str| std::collections::BTreeMap::from([(key.to_owned(), value.to_owned())]);
    let of = |allowed: &str| pool("p", &format!("{{product: p, seats: 1, allowedNamespaces: {allowed}}}"));
    let same = of("{}");
    assert!(allows(&same, "cad", &label("a", "b")) && !allows(&same, "team", &label("a", "b")));
    assert!(allows(&of("{from: All}"), "team", &label("a", "b")));
    let labeled = of("{from: Selector, selector: {matchLabels: {tier: gold}}}");
    assert!(
        allows(&labeled, "team", &label("tier", "gold")) && !allows(&labeled, "team", &label("tier", "tin"))
    );
    let named = of(
        "{from: Selector, selector: {matchExpressions: [{key: kubernetes.io/metadata.name, operator: In, values: [team]}]}}",
    );
    assert!(allows(&named, "team", &label("a", "b")) && !allows(&named, "other", &label("a", "b")));
    let without = of(
        "{from: Selector, selector: {matchExpressions: [{key: a, operator: DoesNotExist}, {key: b, operator: NotIn, values: [x]}]}}",
    );
    assert!(allows(&without, "team", &label("b", "y")) && !allows(&without, "team", &label("b", "x")));
    assert!(!allows(&of("{from: Selector}"), "team", &label("a", "b")));
}

#[test]
fn the_next_moments_are_every_begin_and_end_with_the_grace_period() {
    let pool = pool("acme", CAD);
    let grants = [grant(
        "a",
        "{poolRef: {name: acme}, validity: {notBefore: '2029-01-01T00:00:00Z', notAfter: '2029-02-01T00:00:00Z'}}",
    )];
    let compiled = compile(&PoolInput::new(&pool), &inputs(&grants));
    let expiry = compiled.grants[0].outcome.as_ref().unwrap().expires;
    assert_eq!(expiry.unwrap().to_string(), "2029-02-01T00:00:00Z");
    let plan = compiled.plan.unwrap();
    let mut now: Timestamp = "2028-01-01T00:00:00Z".parse().unwrap();
    let mut moments = Vec::new();
    while let Some(next) = next_expiry(&plan, now) {
        moments.push(next.to_string());
        now = next;
    }
    // The grant: it begins, is warned of thrice, and ends; the pool likewise, then its grace period and a feature end.
    let expected = [
        "2029-01-01",
        "2029-01-02",
        "2029-01-25",
        "2029-01-31",
        "2029-02-01",
        "2030-05-02",
        "2030-05-25",
        "2030-05-31",
        "2030-06-01",
        "2030-06-02",
        "2031-01-01",
    ]
    .map(|day| format!("{day}T00:00:00Z"));
    assert_eq!(moments, expected);
    assert_eq!(expires(&plan, now).unwrap().to_string(), "2030-06-01T00:00:00Z");
    assert_eq!(
        expires(&plan, "2028-01-01T00:00:00Z".parse().unwrap()).unwrap().to_string(),
        "2029-02-01T00:00:00Z"
    );
}

#[test]
fn a_key_in_a_secret_is_read_from_where_the_grant_says_and_a_bad_one_is_never_shown() {
    let grant = grant(
        "a",
        "{poolRef: {name: p}, subjects: [{kind: ActivationKey, keySecretRef: {name: mine, key: license}}]}",
    );
    assert_eq!(key_secret(&grant).unwrap().to_string(), "team/mine");
    let new = genie_client::ActivationKey::generate().unwrap();
    let secret = |text: &str| {
        yaml(&format!(
            "apiVersion: v1\nkind: Secret\nmetadata: {{name: mine}}\nstringData: {{license: '{text}'}}\n"
        ))
    };
    let typed = format!(" {}\n", new.as_str().to_lowercase());
    assert_eq!(hash(&brought_key(&grant, Some(&secret(typed.trim()))).unwrap()), hash(&new));
    let error = brought_key(&grant, Some(&secret("hunter2"))).unwrap_err();
    assert_eq!(error.reason(), "KeyInvalid");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    assert_eq!(brought_key(&grant, None).unwrap_err().reason(), "KeyMissing");
}
