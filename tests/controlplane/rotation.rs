//! MAC keys are rotated without a moment in which a server sees a token of a key that it has not got.

use genie_lm::api::LicensePool;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::{Value, json};

use crate::support::{Place, because, conditions_of, message, text};

const KEYS: &str = "cad-license-server-keys";
const ADDED_AT: &str = "genie-lm.io/keys-added-at";
const ROTATE: &str = "genie-lm.io/rotate-keys";

fn numbers(secret: &Secret) -> Vec<u8> {
    let names = secret.data.iter().flat_map(|data| data.keys());
    let mut numbers: Vec<u8> = names.filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

fn minutes_ago(minutes: i64) -> String {
    (Timestamp::now() - SignedDuration::from_mins(minutes)).to_string()
}

async fn annotate<K: crate::support::Kind>(place: &Place, name: &str, key: &str, value: &str) -> K {
    place.patch(name, json!({ "metadata": { "annotations": { key: value } } })).await.unwrap()
}

/// The writes of a Secret by the operator that changed it.
fn changes(place: &Place, name: &str) -> usize {
    place.writes().iter().filter(|write| **write == format!("patch secrets {name} 200")).count()
}

/// Makes the operator look at the pool again, and knows that it has: the plan follows the pool.
async fn look_again(place: &Place, seats: u32) {
    place.patch::<LicensePool>("cad", json!({ "spec": { "seats": seats } })).await.unwrap();
    place
        .until::<LicensePool>("cad", "has been looked at", |pool| {
            pool.status.as_ref().is_some_and(|status| {
                status.seats.as_ref().is_some_and(|counted| counted.total == seats)
                    && status.observed_generation == pool.metadata.generation
            })
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_gets_a_new_key_that_signs_when_every_server_has_it() {
    let place = Place::new("rotation").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    let first = place.there::<Secret>(KEYS).await;
    assert_eq!((text(&first, "primary"), numbers(&first)), ("0".into(), vec![0]));

    annotate::<LicensePool>(&place, "cad", ROTATE, &Timestamp::now().to_string()).await;
    let added = place.until::<Secret>(KEYS, "has another key", |keys| numbers(keys) == [0, 1]).await;
    assert_eq!(text(&added, "primary"), "0", "not every server has the new one");
    let data = added.data.clone().unwrap();
    assert_eq!(data["0"], first.data.unwrap()["0"], "tokens of the old one stay good");
    assert_ne!(data["0"], data["1"]);
    let added_at: Timestamp = added.annotations()[ADDED_AT].parse().unwrap();
    assert!(Timestamp::now() - SignedDuration::from_mins(5) < added_at);
    place.until_event("KeyAdded", "Normal").await;

    // The clock cannot be set, so what was asked and what was done are moved back, in this order.
    let before = changes(&place, KEYS);
    annotate::<LicensePool>(&place, "cad", ROTATE, &minutes_ago(7)).await;
    look_again(&place, 4).await;
    let waits = place.there::<Secret>(KEYS).await;
    assert_eq!(waits.resource_version(), added.resource_version(), "nothing changes until then");
    assert_eq!(changes(&place, KEYS), before);

    annotate::<Secret>(&place, KEYS, ADDED_AT, &minutes_ago(6)).await;
    let used = place.until::<Secret>(KEYS, "uses the new key", |keys| text(keys, "primary") == "1").await;
    assert_eq!(used.data.as_ref().map(|data| (&data["0"], &data["1"])), Some((&data["0"], &data["1"])));
    place.until_event("KeyInUse", "Normal").await;

    let before = changes(&place, KEYS);
    look_again(&place, 5).await;
    assert_eq!(changes(&place, KEYS), before, "who asked was served");
    assert_eq!(numbers(&place.there::<Secret>(KEYS).await), [0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_has_served_its_time_gives_way_and_the_oldest_of_sixteen_goes() {
    let place = Place::new("rotation").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.there::<Secret>(KEYS).await;
    // As after many rotations: the numbers went round, and sixteen keys are kept.
    let key = k8s_openapi::ByteString(vec![7; 32]);
    let kept = (250..=255).chain(0..=9).map(|number: u8| (number.to_string(), json!(key)));
    let mut data: serde_json::Map<String, Value> = kept.collect();
    data.insert("primary".into(), json!(k8s_openapi::ByteString(b"9".to_vec())));
    data.insert("note".into(), json!(k8s_openapi::ByteString(b"mine".to_vec())));
    let old = json!({ ADDED_AT: minutes_ago(91 * 24 * 60) });
    place.patch::<Secret>(KEYS, json!({ "metadata": { "annotations": old }, "data": data })).await.unwrap();

    let added = place.until::<Secret>(KEYS, "has another key", |keys| numbers(keys).contains(&10)).await;
    let expected: Vec<u8> = (0..=10).chain(251..=255).collect();
    assert_eq!((numbers(&added), text(&added, "primary")), (expected.clone(), "9".into()));
    assert_eq!(text(&added, "note"), "mine");
    annotate::<Secret>(&place, KEYS, ADDED_AT, &minutes_ago(6)).await;
    let used = place.until::<Secret>(KEYS, "uses the new key", |keys| text(keys, "primary") == "10").await;
    assert_eq!(numbers(&used), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn any_pool_of_a_group_may_ask() {
    let place = Place::new("rotation").await;
    for pool in ["first", "second"] {
        let server = json!({ "group": "shared" });
        place.pool(pool, json!({ "product": pool, "seats": 3, "server": server })).await;
    }
    place.there::<Secret>("shared-license-group-keys").await;
    annotate::<LicensePool>(&place, "second", ROTATE, &Timestamp::now().to_string()).await;
    let rotates = |keys: &Secret| numbers(keys) == [0, 1];
    place.until::<Secret>("shared-license-group-keys", "has another key", rotates).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_understood_and_keys_that_are_none_are_told() {
    let place = Place::new("rotation").await;
    place.pool("cad", json!({ "product": "cad", "seats": 3 })).await;
    place.there::<Secret>(KEYS).await;
    annotate::<LicensePool>(&place, "cad", ROTATE, "now").await;
    let warned = |pool: &LicensePool| because(conditions_of(pool), "Accepted", "True", "Invalid");
    let pool = place.until::<LicensePool>("cad", "is warned", warned).await;
    assert!(message(&pool, "Accepted").contains(ROTATE), "{}", message(&pool, "Accepted"));

    let none = json!({ "data": { "primary": null } });
    place.patch::<Secret>(KEYS, none).await.unwrap();
    let refused = |pool: &LicensePool| because(conditions_of(pool), "Accepted", "False", "BrokenKeys");
    let pool = place.until::<LicensePool>("cad", "tells it", refused).await;
    let told = message(&pool, "Accepted");
    assert!(told.contains(KEYS) && told.contains("primary must hold"), "{told}");
    place.delete::<Secret>(KEYS).await;
    let whole = |pool: &LicensePool| because(conditions_of(pool), "Accepted", "True", "Invalid");
    place.until::<LicensePool>("cad", "has new keys", whole).await;
    assert_eq!(numbers(&place.there::<Secret>(KEYS).await), [0]);
}
