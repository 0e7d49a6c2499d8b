//! A tree against an OpenAPI schema, as the API server checks it: types, bounds, patterns, required and unknown fields.
//! Gives every fault with its line. Never shows a text: it may be a secret.

use std::collections::HashSet;

use regex::Regex;
use serde_json::{Value as Json, json};

use super::yaml::{Entry, Fault, Node, Value};

/// Most faults of one object; more help nobody.
const MAX_FAULTS: usize = 50;
/// What the pattern of a duration holds, and no other.
const DURATION: &str = "h|m|s";
/// And that of a version.
const VERSION: &str = "[.][0-9]";
/// How alike two words are (1: the same) when one may be meant by the other.
const ALIKE: f64 = 0.8;

/// Everything about `node` that `schema` does not allow.
pub(super) fn check(schema: &Json, node: &Node) -> Vec<Fault> {
    let mut faults = Vec::new();
    visit(schema, node, "", &mut faults);
    faults.truncate(MAX_FAULTS);
    faults
}

fn visit(schema: &Json, node: &Node, path: &str, faults: &mut Vec<Fault>) {
    if node.is_null() || faults.len() >= MAX_FAULTS {
        return;
    }
    let mut fault = |what: String| faults.push((node.line, format!("{}{what}", subject(path))));
    let expected = schema["type"].as_str().unwrap_or("any");
    match (&node.value, expected) {
        (Value::Map(entries), "object") => map(schema, node.line, entries, path, faults),
        (Value::List(items), "array") => list(schema, items, node.line, path, faults),
        (Value::Scalar(Json::String(text)), "string" | "any") => {
            text_faults(schema, text).into_iter().for_each(&mut fault);
        }
        (Value::Scalar(Json::Number(number)), "integer" | "number") => {
            let whole = number.as_i64().is_some() || expected == "number";
            let wrong = !whole || !in_range(schema, number.as_f64().unwrap_or(f64::NAN));
            if wrong {
                fault(format!(" must be {}", a_number(schema)));
            }
        }
        (Value::Scalar(Json::Bool(_)), "boolean") | (_, "any") => {}
        (Value::Scalar(_), "object") if needs_name_alone(schema) => {
            fault(" must be a map: write {name: …}".to_owned())
        }
        (_, "object") => fault(" must be a map (name: value)".to_owned()),
        (_, "array") => fault(" must be a list (- value)".to_owned()),
        (Value::Scalar(Json::Number(number)), "string") if is_duration(schema) => {
            fault(format!(" must be a duration: write \"{number}s\""));
        }
        (Value::Scalar(_), "string") => fault(" must be text: write it in quotes".to_owned()),
        (_, "string") => fault(" must be text".to_owned()),
        (_, "boolean") => fault(" must be true or false".to_owned()),
        _ => fault(format!(" must be {}", a_number(schema))),
    }
}

/// Of its fields, a name is all that must be there.
fn needs_name_alone(schema: &Json) -> bool {
    schema["required"] == json!(["name"])
}

fn is_duration(schema: &Json) -> bool {
    schema["pattern"].as_str().is_some_and(|pattern| pattern.contains(DURATION))
}

fn subject(path: &str) -> &str {
    if path.is_empty() { "the document" } else { path }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// By kubectl, in an object that it only shows (`--dry-run=client -o yaml`).
const WRITTEN_EMPTY: &str = "metadata.creationTimestamp";

fn map(schema: &Json, line: u32, entries: &[Entry], path: &str, faults: &mut Vec<Fault>) {
    let known = schema["properties"].as_object();
    for Entry { key, line, value } in entries {
        let inner = join(path, key);
        if let Some(schema) = known.and_then(|known| known.get(key)) {
            let said = schema["nullable"] == true || !schema["default"].is_null() || inner == WRITTEN_EMPTY;
            if value.is_null() && !said {
                faults.push((*line, format!("{inner} is empty: write a value, or remove it")));
            }
            visit(schema, value, &inner, faults);
        } else if schema["additionalProperties"].is_object() {
            visit(&schema["additionalProperties"], value, &inner, faults);
        } else if let Some(known) = known.filter(|_| schema["x-kubernetes-preserve-unknown-fields"] != true) {
            faults.push((*line, unknown(&inner, key, path, known.keys().map(String::as_str))));
        }
    }
    let there = |name: &str| entries.iter().any(|entry| entry.key == name && !entry.value.is_null());
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str);
    for name in required.filter(|name| !there(name)) {
        faults.push((line, format!("{} is missing: write it", join(path, name))));
    }
    if let Some(most) = schema["maxProperties"].as_u64().filter(|&most| entries.len() as u64 > most) {
        faults.push((line, format!("{} must have at most {most} entries", subject(path))));
    }
}

fn unknown<'a>(inner: &str, key: &str, path: &str, known: impl Iterator<Item = &'a str>) -> String {
    let alike = known.map(|name| (strsim::jaro_winkler(&name.to_lowercase(), &key.to_lowercase()), name));
    match alike.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((score, name)) if score >= ALIKE => {
            format!("there is no field {inner}: did you mean {}?", join(path, name))
        }
        _ => format!("there is no field {inner}: remove it"),
    }
}

fn list(schema: &Json, items: &[Node], line: u32, path: &str, faults: &mut Vec<Fault>) {
    if let Some(most) = schema["maxItems"].as_u64().filter(|&most| items.len() as u64 > most) {
        faults.push((line, format!("{path} must have at most {most} entries")));
    }
    let mut seen = HashSet::new();
    for (index, item) in items.iter().enumerate() {
        let inner = format!("{path}[{index}]");
        if item.is_null() {
            faults.push((item.line, format!("{inner} is empty: write a value, or remove it")));
        }
        if identity(schema, item).is_some_and(|identity| !seen.insert(identity)) {
            faults.push((item.line, format!("{inner} is there already: each entry of {path} must differ")));
        }
        visit(&schema["items"], item, &inner, faults);
    }
}

/// What tells two entries of a set or of a list with keys apart.
fn identity(schema: &Json, item: &Node) -> Option<String> {
    match schema["x-kubernetes-list-type"].as_str()? {
        "set" => (!item.is_null()).then(|| item.to_json().to_string()),
        "map" => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array()?.iter().filter_map(Json::as_str);
            keys.map(|key| item.get(key).map(|value| value.to_json().to_string())).collect()
        }
        _ => None,
    }
}

fn text_faults(schema: &Json, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let length = text.chars().count() as u64;
    if let Some(least) = schema["minLength"].as_u64().filter(|&least| length < least) {
        faults.push(format!(" must have at least {least} character{}", if least == 1 { "" } else { "s" }));
    } else if let Some(most) = schema["maxLength"].as_u64().filter(|&most| length > most) {
        faults.push(format!(" must have at most {most} characters"));
    } else if let Some(choices) = schema["enum"].as_array().filter(|all| !all.iter().any(|one| one == text)) {
        let choices: Vec<&str> = choices.iter().filter_map(Json::as_str).collect();
        faults.push(format!(" must be {}", choices.join(" or ")));
    } else if let Some(pattern) = schema["pattern"].as_str().filter(|pattern| !matches(pattern, text)) {
        faults.push(format!(" must {}", in_words(pattern)));
    } else if schema["format"] == "date-time" && text.parse::<jiff::Timestamp>().is_err() {
        faults.push(" must be a time such as 2030-01-31T00:00:00Z".to_owned());
    } else if schema["format"] == "byte" && !is_base64(text) {
        faults.push(" must be base64: write plain text under stringData instead".to_owned());
    }
    faults
}

/// Patterns are our own, and the tests compile all of them.
fn matches(pattern: &str, text: &str) -> bool {
    Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}

/// What a pattern of ours asks for.
fn in_words(pattern: &str) -> String {
    let choices = pattern.strip_prefix("^(").and_then(|rest| rest.strip_suffix(")$"));
    match choices.filter(|choices| choices.chars().all(|c| c.is_ascii_alphabetic() || c == '|')) {
        Some(choices) => format!("be {}", choices.replace('|', " or ")),
        None if pattern.contains(DURATION) => {
            "be a duration: numbers with units, such as 90s, 10m or 1h30m".to_owned()
        }
        None if pattern.contains(VERSION) => {
            "be a version: one to four numbers with dots between, such as \"2026.1\"".to_owned()
        }
        None if pattern.contains("KMGTPE") => "be a quantity, such as 100m or 64Mi".to_owned(),
        None if pattern.starts_with("^[a-z]") => {
            "start with a letter, hold only a-z, 0-9 and -, and not end with -".to_owned()
        }
        None => "hold only a-z, 0-9 and -, and neither start nor end with -".to_owned(),
    }
}

fn is_base64(text: &str) -> bool {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.decode(text).is_ok()
}

/// The least and the most, by the bounds or by the format.
fn range(schema: &Json) -> (f64, f64) {
    let (least, most) = match schema["format"].as_str() {
        Some("int32") => (f64::from(i32::MIN), f64::from(i32::MAX)),
        _ => (f64::MIN, f64::MAX),
    };
    (schema["minimum"].as_f64().unwrap_or(least), schema["maximum"].as_f64().unwrap_or(most))
}

fn in_range(schema: &Json, number: f64) -> bool {
    let (least, most) = range(schema);
    number >= least && number <= most
}

fn a_number(schema: &Json) -> String {
    let kind = if schema["type"] == "integer" { "a whole number" } else { "a number" };
    match range(schema) {
        (f64::MIN, f64::MAX) => kind.to_owned(),
        (least, f64::MAX) => format!("{kind} of at least {least}"),
        (least, most) => format!("{kind} from {least} to {most}"),
    }
}
