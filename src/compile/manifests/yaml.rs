//! YAML text → documents as trees that know their lines. A broken document does not hide the next one.
//!
//! What it takes is YAML 1.2 with its core schema, without tags and aliases (a small file with aliases can stand for a
//! huge one).

use serde_json::Value as Json;
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError};

/// Deepest nesting; a pool has nine levels.
const MAX_DEPTH: usize = 64;
/// Broken documents of one file after which the rest is not looked at: it is no manifest.
const MAX_FAULTS: usize = 100;

/// A value, and the line on which it begins.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub line: u32,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Null, a boolean, a number or a text.
    Scalar(Json),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub key: String,
    pub line: u32,
    pub value: Node,
}

/// What is wrong, and where.
pub(super) type Fault = (u32, String);

/// How many nodes may still be made: one count for all files of a load, what is read stays in memory.
pub(super) struct Budget(pub usize);

impl Node {
    /// The value of a key, where this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    pub fn text(&self) -> Option<&str> {
        let Value::Scalar(Json::String(text)) = &self.value else { return None };
        Some(text)
    }

    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Scalar(Json::Null))
    }

    /// The line of `path`, such as `spec.features[2].name`, or of the nearest thing around it that is there.
    pub fn line_of(&self, path: &str) -> u32 {
        let (mut node, mut line) = (self, self.line);
        for step in path.split(['.', '[']).map(|step| step.trim_end_matches(']')) {
            let next = match &node.value {
                Value::Map(entries) => {
                    entries.iter().find(|entry| entry.key == step).map(|entry| (entry.line, &entry.value))
                }
                Value::List(items) => {
                    step.parse().ok().and_then(|index: usize| items.get(index)).map(|item| (item.line, item))
                }
                Value::Scalar(_) => None,
            };
            let Some((at, inner)) = next else { break };
            (line, node) = (at, inner);
        }
        line
    }

    /// As JSON; entries that are null are left out: where they are allowed, they mean the default.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Scalar(scalar) => scalar.clone(),
            Value::List(items) => items.iter().map(Node::to_json).collect(),
            Value::Map(entries) => {
                let there = entries.iter().filter(|entry| !entry.value.is_null());
                Json::Object(there.map(|entry| (entry.key.clone(), entry.value.to_json())).collect())
            }
        }
    }
}

/// All documents of `text` that are whole, and what is wrong with the others.
pub(super) fn documents(text: &str, budget: &mut Budget) -> (Vec<Node>, Vec<Fault>) {
    let mut parser = Parser::new_from_str(text);
    let (mut whole, mut faults) = (Vec::new(), Vec::new());
    let mut document = Document::default();
    loop {
        let fault = match parser.next() {
            None => break,
            Some(Ok((event, span))) => document.take(event, line(span.start.line()), budget, &mut whole),
            Some(Err(error)) => Err(scan_fault(&error)),
        };
        let Err(fault) = fault else { continue };
        faults.push(fault);
        document = Document::default();
        if budget.0 == 0 || faults.len() >= MAX_FAULTS || !matches!(parser.proceed_next_document(), Ok(true))
        {
            break;
        }
    }
    (whole, faults)
}

fn scan_fault(error: &ScanError) -> Fault {
    (line(error.marker().line()), format!("this is not YAML: {}", error.info()))
}

fn line(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

/// One document while it is read.
#[derive(Default)]
struct Document {
    open: Vec<Open>,
}

/// A list or map whose end has not come yet.
struct Open {
    node: Node,
    key: Option<(String, u32)>,
}

impl Document {
    fn take(
        &mut self,
        event: Event<'_>,
        line: u32,
        budget: &mut Budget,
        whole: &mut Vec<Node>,
    ) -> Result<(), Fault> {
        match event {
            Event::DocumentStart(..) => *self = Self::default(),
            Event::Scalar(.., Some(_))
            | Event::SequenceStart(.., Some(_))
            | Event::MappingStart(.., Some(_)) => {
                return Err((line, "tags (!…) are not read here: write the plain value".to_owned()));
            }
            Event::Alias(_) => {
                return Err((line, "aliases (*…) are not read here: write the value again".to_owned()));
            }
            Event::Scalar(text, ..) if self.wants_key() => return self.key(text.into_owned(), line),
            Event::Scalar(text, style, ..) => {
                return self.put(Node { line, value: Value::Scalar(scalar(&text, style)) }, budget, whole);
            }
            Event::SequenceStart(..) => return self.open(Value::List(Vec::new()), line),
            Event::MappingStart(..) => return self.open(Value::Map(Vec::new()), line),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { node, .. }) = self.open.pop() {
                    return self.put(node, budget, whole);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn wants_key(&self) -> bool {
        self.open.last().is_some_and(|open| matches!(open.node.value, Value::Map(_)) && open.key.is_none())
    }

    fn key(&mut self, key: String, line: u32) -> Result<(), Fault> {
        let Some(Open { node: Node { value: Value::Map(entries), .. }, key: waiting, .. }) =
            self.open.last_mut()
        else {
            return Ok(());
        };
        if let Some(first) = entries.iter().find(|entry| entry.key == key) {
            return Err((line, format!("{key} is there twice, first in line {}: remove one", first.line)));
        }
        *waiting = Some((key, line));
        Ok(())
    }

    fn open(&mut self, value: Value, line: u32) -> Result<(), Fault> {
        if self.wants_key() {
            return Err((line, "a key must be a plain word".to_owned()));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err((line, format!("lists and maps are nested more than {MAX_DEPTH} deep")));
        }
        self.open.push(Open { node: Node { line, value }, key: None });
        Ok(())
    }

    /// A value is complete: it goes where its list or map waits for it.
    fn put(&mut self, node: Node, budget: &mut Budget, whole: &mut Vec<Node>) -> Result<(), Fault> {
        let Some(left) = budget.0.checked_sub(1) else {
            return Err((node.line, "there is more here than is read at all: split it up".to_owned()));
        };
        budget.0 = left;
        match self.open.last_mut() {
            None => whole.push(node),
            Some(Open { node: Node { value: Value::List(items), .. }, .. }) => items.push(node),
            Some(Open { node: Node { value: Value::Map(entries), .. }, key, .. }) => {
                let (key, line) = key.take().unwrap_or_default();
                entries.push(Entry { key, line, value: node });
            }
            Some(_) => {}
        }
        Ok(())
    }
}

/// The core schema: what is quoted is text; what is plain may be null, a boolean or a number.
fn scalar(text: &str, style: ScalarStyle) -> Json {
    if style != ScalarStyle::Plain {
        return text.into();
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Json::Null,
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ => number(text).unwrap_or_else(|| text.into()),
    }
}

fn number(text: &str) -> Option<Json> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    serde_json::Number::from_f64(text.parse().ok()?).map(Json::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Vec<Node>, Vec<Fault>) {
        documents(text, &mut Budget(1_000))
    }

    #[test]
    fn a_value_knows_its_line_and_its_kind() {
        let (documents, faults) = read("a: 1\nb:\n- x: 'true'\n- x: true\n---\nc: 1.5\n");
        assert_eq!(faults, []);
        assert_eq!(documents[0].to_json(), serde_json::json!({"a": 1, "b": [{"x": "true"}, {"x": true}]}));
        assert_eq!(documents[1].to_json(), serde_json::json!({"c": 1.5}));
        let lines = ["a", "b[1].x", "b[1].missing", "nothing"].map(|path| documents[0].line_of(path));
        assert_eq!(lines, [1, 4, 4, 1]);
        assert_eq!(documents[1].line, 6);
    }

    #[test]
    fn a_broken_document_does_not_hide_the_next() {
        let (documents, faults) = read("a: [1, 2\n---\nb: 2\n---\nc: 1\nc: 2\n---\nd: 4\n");
        let whole: Vec<_> = documents.iter().map(Node::to_json).collect();
        assert_eq!(whole, [serde_json::json!({"b": 2}), serde_json::json!({"d": 4})]);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].1.starts_with("this is not YAML: "), "{faults:?}");
        assert_eq!(faults[1], (6, "c is there twice, first in line 5: remove one".to_owned()));
    }

    #[test]
    fn what_could_grow_without_end_is_refused() {
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        let cases = ["a: &a [x]\nb: *a\n", "a: !!binary eA==\n", "? [a]\n: b\n", deep.as_str()];
        let words = ["aliases", "tags", "a key must be", "deep"];
        for (case, word) in cases.iter().zip(words) {
            let (documents, faults) = read(case);
            assert!(documents.is_empty(), "{case}");
            assert!(faults[0].1.contains(word), "{faults:?}");
        }
        let (_, faults) = documents(&"- x\n".repeat(10), &mut Budget(5));
        assert!(faults[0].1.contains("split it up"), "{faults:?}");
    }
}
