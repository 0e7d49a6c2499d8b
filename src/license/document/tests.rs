//! Documents: what is signed is read, and nothing else is.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use proptest::prelude::*;
use serde_json::json;

use super::*;

const SPEC: &str = r#"
vendor: Acme Software
customer: Initech
id: 2026-0042
product: acme-cad
seats: 10
features:
  - {name: render, version: "2026.1", seats: 4}
  - {name: simulate, notAfter: "2027-06-01T00:00:00Z"}
tiers: [{name: pro, features: [render, simulate]}]
validity: {notBefore: "2026-01-01T00:00:00Z", notAfter: "2028-01-01T00:00:00Z", gracePeriod: 720h}
overdraft: 10%
borrow: {maxDuration: 72h, maxSeats: 3}
binding: {cluster: 0b3c7a52-9a1e-4c0e-8f3e-0d5a5c0f7b11}
"#;
const ISSUED: &str = "2026-02-03T04:05:06Z";

fn license() -> License {
    Spec::parse(SPEC).unwrap().license(ISSUED.parse().unwrap(), || unreachable!()).unwrap()
}

fn key() -> SigningKey {
    SigningKey::generate().unwrap()
}

fn verify(text: &str, key: &SigningKey) -> Result<Verified, DocumentError> {
    Document::parse(text)?.verify(&[key.public()])
}

/// A document with any header, and any payload, that is signed well.
fn forged(header: &serde_json::Value, payload: &serde_json::Value, key: &SigningKey) -> String {
    let message = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(payload.to_string()));
    let signature = key.sign(message.as_bytes()).unwrap();
    format!("{message}.{}", BASE64.encode(signature))
}

fn header(key: &SigningKey) -> serde_json::Value {
    json!({"alg": "EdDSA", "typ": TYPE, "kid": key.public().kid()})
}

fn claims() -> serde_json::Value {
    serde_json::to_value(license()).unwrap()
}

#[test]
fn what_was_signed_is_read() {
    let key = key();
    let text = sign(&license(), &key).unwrap();
    assert_eq!(verify(&text, &key).unwrap().license(), &license());
    assert_eq!(Document::parse(&text).unwrap().kid(), key.public().kid());
}

#[test]
fn the_claims_have_the_names_that_a_jwt_has() {
    insta::assert_json_snapshot!(claims());
}

#[test]
fn no_bit_of_a_document_can_be_turned() {
    let key = key();
    let text = sign(&license(), &key).unwrap();
    for i in 0..text.len() {
        for bit in 0..8 {
            let mut bytes = text.clone().into_bytes();
            bytes[i] ^= 1 << bit;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(verify(&changed, &key).is_err(), "byte {i}, bit {bit}");
        }
    }
}

proptest! {
    #[test]
    fn no_byte_of_a_document_can_be_changed(at: prop::sample::Index, byte in 0_u8..128) {
        let key = key();
        let text = sign(&license(), &key).unwrap();
        let mut bytes = text.clone().into_bytes();
        *at.get_mut(&mut bytes) = byte;
        let changed = String::from_utf8(bytes).unwrap();
        prop_assert_eq!(verify(&changed, &key).is_ok(), changed == text);
    }

    #[test]
    fn nothing_can_be_cut_off_or_added(end: prop::sample::Index, more in "[ -~]{1,8}") {
        let key = key();
        let text = sign(&license(), &key).unwrap();
        prop_assert!(verify(&text[..end.index(text.len())], &key).is_err());
        let [after, before] = [format!("{text}{more}"), format!("{more}{text}")];
        prop_assert!(verify(&after, &key).is_err());
        prop_assert!(verify(&before, &key).is_err());
    }

    #[test]
    fn no_text_makes_the_reader_fail(text in ".{0,200}") {
        prop_assert!(Document::parse(&text).is_err());
        prop_assert!(Request::parse(&text).is_err());
    }
}

#[test]
fn a_document_that_is_not_signed_is_refused() {
    let key = key();
    let mut none = header(&key);
    none["alg"] = json!("none");
    let text = forged(&none, &claims(), &key);
    let (message, _) = text.rsplit_once('.').unwrap();
    for text in [text.clone(), format!("{message}.")] {
        assert!(matches!(verify(&text, &key), Err(DocumentError::Jws(JwsError::Algorithm(_)))));
    }
}

#[test]
fn a_public_key_is_no_secret_that_signs() {
    let key = key();
    let mut hs256 = header(&key);
    hs256["alg"] = json!("HS256");
    let message = format!("{}.{}", BASE64.encode(hs256.to_string()), BASE64.encode(claims().to_string()));
    let raw = serde_json::to_value(key.public()).unwrap()["x"].as_str().map(|x| BASE64.decode(x).unwrap());
    for secret in [key.public().to_pem().into_bytes(), raw.unwrap()] {
        let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
        let text = format!("{message}.{}", BASE64.encode(mac));
        assert!(matches!(verify(&text, &key), Err(DocumentError::Jws(JwsError::Algorithm(_)))));
    }
}

#[test]
fn another_key_or_another_kid_is_refused() {
    let (vendor, stranger) = (key(), key());
    let text = forged(&header(&stranger), &claims(), &stranger);
    assert!(matches!(verify(&text, &vendor), Err(DocumentError::Jws(JwsError::UnknownKey(_)))));
    let text = forged(&header(&vendor), &claims(), &stranger);
    assert!(matches!(verify(&text, &vendor), Err(DocumentError::Jws(JwsError::Signature))));
    // Both are trusted: still, the key must be the one that the document names.
    let text = forged(&header(&stranger), &claims(), &vendor);
    let both = [vendor.public(), stranger.public()];
    let found = Document::parse(&text).unwrap().verify(&both);
    assert!(matches!(found, Err(DocumentError::Jws(JwsError::Signature))));
}

#[test]
fn a_header_with_anything_more_or_less_is_refused() {
    let key = key();
    assert!(verify(&forged(&header(&key), &claims(), &key), &key).is_ok());
    for (name, value) in [("crit", json!(["exp"])), ("jwk", json!(key.public())), ("b64", json!(false))] {
        let mut more = header(&key);
        more[name] = value;
        let found = verify(&forged(&more, &claims(), &key), &key);
        assert!(matches!(found, Err(DocumentError::Jws(JwsError::Header(_)))), "{name}");
    }
    for name in ["alg", "typ", "kid"] {
        let mut less = header(&key);
        less.as_object_mut().unwrap().remove(name);
        let found = verify(&forged(&less, &claims(), &key), &key);
        assert!(matches!(found, Err(DocumentError::Jws(JwsError::Header(_)))), "{name}");
    }
    let mut other = header(&key);
    other["typ"] = json!("JWT");
    let found = verify(&forged(&other, &claims(), &key), &key);
    assert!(matches!(found, Err(DocumentError::Jws(JwsError::Type { .. }))));
}

#[test]
fn a_claim_that_is_not_known_may_be_a_limit_and_is_refused() {
    let key = key();
    let mut more = claims();
    more["countBy"] = json!("User");
    let error = verify(&forged(&header(&key), &more, &key), &key).unwrap_err().to_string();
    assert!(error.contains("countBy") && error.contains("version"), "{error}");
}

#[test]
fn the_rules_hold_for_the_reader_too() {
    let key = key();
    for (name, value, told) in [
        ("product", json!("Acme CAD"), "product"),
        ("seats", json!(0), "seats"),
        ("exp", json!(1), "validity.notAfter"),
        ("sub", json!("In\u{1b}[2Jitech"), "customer"),
        ("tiers", json!([{"name": "pro", "features": ["draw"]}]), "tiers[0].features"),
        ("binding", json!({"hosts": []}), "binding.hosts"),
    ] {
        let mut broken = claims();
        broken[name] = value;
        let error = verify(&forged(&header(&key), &broken, &key), &key).unwrap_err();
        assert!(matches!(&error, DocumentError::Invalid(found) if found[0].field == told), "{error}");
        assert!(!error.to_string().contains('\u{1b}'));
    }
}

#[test]
fn what_is_too_long_is_not_read() {
    let long = "a".repeat(MAX_DOCUMENT + 1);
    assert!(matches!(Document::parse(&long), Err(DocumentError::Jws(JwsError::TooLong))));
    let key = key();
    let mut all = license();
    let name = |i: usize| format!("{i:063}");
    all.features =
        (0..128).map(|i| Feature { name: name(i), version: None, seats: None, not_after: None }).collect();
    let features: Vec<_> = (0..128).map(name).collect();
    let tier = |i| Tier { name: name(i), features: features.clone(), seats: None };
    all.tiers = (0..2).map(tier).collect();
    assert!(sign(&all, &key).is_ok());
    all.tiers = (0..32).map(tier).collect();
    assert!(matches!(sign(&all, &key), Err(DocumentError::Jws(JwsError::TooLong))));
}

#[test]
fn a_spec_that_says_too_little_or_nonsense_is_told_all_of_it_with_what_to_write() {
    let text = r#"
product: Acme CAD
seats: 0
features: [{name: render}, {name: render, seats: 2000000}]
tiers: [{name: pro, features: [draw]}]
validity: {notBefore: "2028-01-01T00:00:00Z", notAfter: "2020-01-01T00:00:00Z", gracePeriod: 9000h}
overdraft: 2000000
borrow: {maxDuration: 0s, maxSeats: 3}
binding: {hosts: [short]}
"#;
    let problems = Spec::parse(text).unwrap().license(ISSUED.parse().unwrap(), || "x y".into()).unwrap_err();
    insta::assert_snapshot!(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_spec_with_a_word_that_is_not_known_is_refused_with_its_line() {
    for (text, told) in [
        ("product: acme\nseat: 3\n", "seat"),
        ("overdraft: 1.5\n", "such as \"10%\""),
        ("overdraft: 101%\n", "0% to 100%"),
        ("features: [{name: a, version: v1}]\n", "such as \"2026.1\""),
        ("validity: {notAfter: 2027-12-31}\n", "such as 2027-12-31T00:00:00Z"),
        ("features: [{name: a, notAfter: soon}]\n", "such as 2027-12-31T00:00:00Z"),
        ("validity: {gracePeriod: 3 days}\n", "such as 90s"),
    ] {
        let error = Spec::parse(text).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
    assert!(matches!(Spec::parse(&"#".repeat(MAX_SPEC + 1)), Err(SpecError::TooLong)));
}

fn request() -> Request {
    Request {
        product: "acme-cad".into(),
        customer: Some("Initech".into()),
        binding: Some(Binding::Hosts(vec!["host1-0123456789".into()])),
        made_at: ISSUED.parse().unwrap(),
        cnf: None,
    }
}

#[test]
fn a_request_is_read_and_a_key_in_it_has_signed_it() {
    assert_eq!(Request::parse(&request().plain().unwrap()).unwrap(), request());
    let (server, stranger) = (key(), key());
    let read = Request::parse(&request().signed(&server).unwrap()).unwrap();
    assert_eq!(read.cnf, Some(Confirmation { jwk: server.public() }));

    // Somebody else's key: named, but not signed with.
    let theirs = Request { cnf: read.cnf.clone(), ..request() };
    assert!(matches!(Request::parse(&theirs.plain().unwrap()), Err(RequestError::Unproven)));
    let header = |kid: String| json!({"alg": "EdDSA", "typ": "genie-lm-request+jwt", "kid": kid});
    for kid in [server.public().kid(), stranger.public().kid()] {
        let text = forged(&header(kid), &json!(theirs), &stranger);
        assert!(matches!(Request::parse(&text), Err(RequestError::Jws(_))));
    }
}

#[test]
fn a_request_is_no_license_and_a_license_no_request() {
    let key = key();
    let text = request().signed(&key).unwrap();
    assert!(matches!(verify(&text, &key), Err(DocumentError::Jws(JwsError::Type { .. }))));
    let text = sign(&license(), &key).unwrap();
    assert!(matches!(Request::parse(&text), Err(RequestError::Jws(JwsError::Type { .. }))));
}

#[test]
fn a_request_completes_a_spec_and_never_overrules_it() {
    let mut spec = Spec { seats: Some(3), vendor: Some("Acme Software".into()), ..Spec::default() };
    assert_eq!(spec.complete(&request()), []);
    let license = spec.license(ISSUED.parse().unwrap(), || "new".into()).unwrap();
    assert_eq!((license.product, license.customer), ("acme-cad".into(), "Initech".into()));
    assert_eq!((license.binding, license.id), (request().binding, "new".into()));

    let mut spec = Spec { product: Some("acme-cam".into()), ..Spec::default() };
    let problems = spec.complete(&request());
    assert!(problems.len() == 1 && problems[0].field == "product", "{problems:?}");
}
