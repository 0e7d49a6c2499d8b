//! Whether a live object already is what is wanted. Pure: two JSON values in, an answer out.
//!
//! Only what we set is compared, so that the API server's defaults are no difference; that a field is wanted no more is
//! seen by the hash in an annotation, and server-side apply then removes it.

use aws_lc_rs::digest;
use serde_json::Value;

/// Whether everything in `wanted` is so in `live`.
pub fn covers(live: &Value, wanted: &Value) -> bool {
    within(live, wanted, false)
}

fn within(live: &Value, wanted: &Value, quantities: bool) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| match live.get(key) {
                // Others may add their own to these.
                Some(Value::Array(there)) if key == "ownerReferences" || key == "finalizers" => {
                    includes(there, value)
                }
                Some(there) => within(there, value, quantities || key == "limits" || key == "requests"),
                None => is_empty(value),
            })
        }
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len()
                && live.iter().zip(wanted).all(|(live, wanted)| within(live, wanted, false))
        }
        (Value::String(live), Value::String(wanted)) if quantities => {
            live == wanted || same_quantity(live, wanted)
        }
        (live, wanted) => live == wanted,
    }
}

fn includes(live: &[Value], wanted: &Value) -> bool {
    wanted
        .as_array()
        .is_some_and(|wanted| wanted.iter().all(|one| live.iter().any(|live| within(live, one, false))))
}

/// The API server leaves empty lists and maps out.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
        _ => false,
    }
}

/// The API server writes a quantity in its own way (`1000m` as `1`).
fn same_quantity(one: &str, other: &str) -> bool {
    quantity(one)
        .zip(quantity(other))
        .is_some_and(|(one, other)| (one - other).abs() <= f64::EPSILON * one.abs())
}

fn quantity(text: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 15] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
    ];
    let scaled = SUFFIXES.iter().find_map(|(suffix, factor)| {
        let number: f64 = text.strip_suffix(suffix)?.parse().ok()?;
        Some(number * factor)
    });
    scaled.or_else(|| text.parse().ok())
}

/// Hash of a wanted object, without `data`: that holds secrets. Its keys never change, but for those of MAC keys, which are
/// not applied.
pub fn fingerprint(wanted: &Value) -> String {
    let mut hashed = wanted.clone();
    if let Some(object) = hashed.as_object_mut() {
        object.remove("data");
    }
    let hash = digest::digest(&digest::SHA256, hashed.to_string().as_bytes());
    hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_of_the_api_server_are_no_difference() {
        let live = json!({"spec": {"replicas": 2, "strategy": {"type": "RollingUpdate"}, "ports": [{"port": 1, "protocol": "TCP"}]}});
        assert!(covers(
            &live,
            &json!({"spec": {"replicas": 2, "ports": [{"port": 1}], "egress": [], "dir": {}}})
        ));
    }

    #[test]
    fn a_changed_or_missing_field_is_a_difference() {
        let live = json!({"a": 1, "list": [1, 2]});
        assert!(!covers(&live, &json!({"a": 2})));
        assert!(!covers(&live, &json!({"b": 1})));
        assert!(!covers(&live, &json!({"list": [1]})));
    }

    #[test]
    fn quantities_are_compared_as_numbers_and_other_texts_are_not() {
        let live = json!({"limits": {"cpu": "1", "memory": "1Gi"}, "name": "1"});
        assert!(covers(&live, &json!({"limits": {"cpu": "1000m", "memory": "1024Mi"}})));
        assert!(!covers(&live, &json!({"limits": {"cpu": "900m"}})));
        assert!(!covers(&live, &json!({"name": "1000m"})));
    }

    #[test]
    fn the_fingerprint_tells_a_removed_field_and_never_speaks_of_data() {
        let with = json!({"spec": {"a": 1, "b": 2}, "data": {"key": "secret"}});
        assert_ne!(fingerprint(&with), fingerprint(&json!({"spec": {"a": 1}, "data": {"key": "secret"}})));
        assert_eq!(
            fingerprint(&with),
            fingerprint(&json!({"spec": {"a": 1, "b": 2}, "data": {"key": "other"}}))
        );
    }
}
