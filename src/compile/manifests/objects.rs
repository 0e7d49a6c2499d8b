//! Trees → objects of the four kinds that a directory may hold, each with its file and lines.

use std::{collections::BTreeMap, path::PathBuf, sync::LazyLock};

use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use super::{
    Problem, schema,
    yaml::{Fault, Node},
};
use crate::api::{LicenseGrant, LicensePool, crds};

/// The kinds that are read, and where they belong.
const KINDS: [(&str, &str); 4] = [
    ("LicensePool", "genie-lm.io/v1alpha1"),
    ("LicenseGrant", "genie-lm.io/v1alpha1"),
    ("Secret", "v1"),
    ("Namespace", "v1"),
];

/// An object, and where it was written.
#[derive(Clone, Debug)]
pub struct Located<T> {
    /// The object; its namespace is set, for all but a Namespace.
    pub object: T,
    /// The file.
    pub file: PathBuf,
    pub(super) root: Node,
}

impl<T> Located<T> {
    /// A problem with a field of this object, such as `spec.features[2]`.
    pub fn problem(&self, path: &str, message: impl ToString) -> Problem {
        Problem { file: self.file.clone(), line: Some(self.root.line_of(path)), message: message.to_string() }
    }
}

/// One object of any kind.
#[derive(Clone, Debug)]
pub(super) enum Object {
    Pool(Box<LicensePool>),
    Grant(Box<LicenseGrant>),
    Secret(Secret),
    Namespace(Namespace),
}

/// What is wrong with a document, and the pool or grant that it was meant to be, where that can be seen.
pub(super) struct Refused {
    pub faults: Vec<Fault>,
    pub pool: Option<(String, String)>,
}

/// Reads one document, or says everything that is wrong with it.
pub(super) fn object(root: &Node) -> Result<Object, Refused> {
    let kind = kind(root).map_err(|fault| Refused { faults: vec![fault], pool: None })?;
    let mut faults = schema::check(&SCHEMAS[kind], root);
    faults.extend(metadata(kind, root));
    if !faults.is_empty() {
        let name = root.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Node::text);
        let pool = name.filter(|_| kind == "LicensePool").map(|name| (namespace(root), name.to_owned()));
        faults.sort_by_key(|fault| fault.0);
        return Err(Refused { faults, pool });
    }
    typed(kind, root).map_err(|fault| Refused { faults: vec![fault], pool: None })
}

fn kind(root: &Node) -> Result<&'static str, Fault> {
    let text = |field: &str| root.get(field).and_then(Node::text).unwrap_or_default();
    let (kind, version) = (text("kind"), text("apiVersion"));
    let line = root.line_of(if root.get("kind").is_some() { "kind" } else { "apiVersion" });
    match KINDS.iter().find(|(known, _)| *known == kind) {
        Some((known, right)) if *right == version => Ok(known),
        Some((known, right)) => Err((
            root.line_of("apiVersion"),
            format!("a {known} has another apiVersion: write apiVersion: {right}"),
        )),
        None => {
            let known = KINDS.map(|(known, _)| known).join(", ");
            let it =
                if kind.is_empty() { "a document without kind".to_owned() } else { format!("kind {kind}") };
            Err((line, format!("{it} is not read here: write one of {known}, or move it elsewhere")))
        }
    }
}

fn namespace(root: &Node) -> String {
    let namespace = root.get("metadata").and_then(|metadata| metadata.get("namespace")).and_then(Node::text);
    namespace.unwrap_or("default").to_owned()
}

/// What the API server asks of every object's name, and no schema says.
fn metadata(kind: &str, root: &Node) -> Vec<Fault> {
    let Some(metadata) = root.get("metadata") else {
        return vec![(root.line, "metadata.name is missing: write it".to_owned())];
    };
    let mut faults = Vec::new();
    match metadata.get("name") {
        None => faults.push((metadata.line, "metadata.name is missing: write it".to_owned())),
        Some(name) if name.text().is_some_and(|name| !is_dns(name, 253, true)) => faults.push((
            name.line,
            "metadata.name must hold only a-z, 0-9, - and ., and start and end with a letter or digit"
                .to_owned(),
        )),
        Some(_) => {}
    }
    match metadata.get("namespace") {
        Some(namespace) if kind == "Namespace" => {
            faults.push((
                namespace.line,
                "a Namespace is in no namespace: remove metadata.namespace".to_owned(),
            ));
        }
        Some(namespace) if namespace.text().is_some_and(|name| !is_dns(name, 63, false)) => faults.push((
            namespace.line,
            "metadata.namespace must hold only a-z, 0-9 and -, and have at most 63 characters".to_owned(),
        )),
        _ => {}
    }
    faults
}

/// A DNS label, or several with dots between them where `dots`.
pub(super) fn is_dns(name: &str, most: usize, dots: bool) -> bool {
    let label = |label: &str| {
        let alphanumeric = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        !label.is_empty()
            && label.bytes().all(|c| alphanumeric(c) || c == b'-')
            && [label.bytes().next(), label.bytes().last()].into_iter().flatten().all(alphanumeric)
    };
    name.len() <= most && if dots { name.split('.').all(label) } else { label(name) }
}

fn typed(kind: &str, root: &Node) -> Result<Object, Fault> {
    let mut json = root.to_json();
    if kind != "Namespace" {
        json["metadata"]["namespace"] = namespace(root).into();
    }
    let object = match kind {
        "LicensePool" => read(json).map(Box::new).map(Object::Pool),
        "LicenseGrant" => read(json).map(Box::new).map(Object::Grant),
        "Namespace" => read(json).map(Object::Namespace),
        _ => read(json).map(Object::Secret),
    };
    // What serde says of a Secret may quote it.
    let why = |error: serde_json::Error| {
        if kind == "Secret" { "a field has a wrong value".into() } else { error.to_string() }
    };
    object.map_err(|error| (root.line, format!("this {kind} cannot be read: {}", why(error))))
}

fn read<T: DeserializeOwned>(json: Json) -> Result<T, serde_json::Error> {
    serde_json::from_value(json)
}

/// The schema of each kind: ours as the API server has them, Kubernetes' own from its types.
static SCHEMAS: LazyLock<BTreeMap<&'static str, Json>> = LazyLock::new(|| {
    let mut schemas = BTreeMap::from([("Secret", of::<Secret>()), ("Namespace", of::<Namespace>())]);
    for crd in crds() {
        let known = KINDS.iter().find(|(kind, _)| *kind == crd.spec.names.kind);
        let schema = crd.spec.versions.first().and_then(|version| version.schema.clone());
        if let (Some((kind, _)), Some(schema)) = (known, schema) {
            schemas.insert(kind, json!(schema.open_api_v3_schema));
        }
    }
    for schema in schemas.values_mut() {
        let text = json!({ "type": "string" });
        schema["properties"]["apiVersion"] = text.clone();
        schema["properties"]["kind"] = text;
        schema["properties"]["metadata"] = of::<ObjectMeta>();
    }
    schemas
});

fn of<T: JsonSchema>() -> Json {
    let inline = SchemaSettings::openapi3().with(|settings| settings.inline_subschemas = true);
    let mut schema = inline.into_generator().into_root_schema_for::<T>().to_value();
    plain_types(&mut schema);
    schema
}

/// An optional field of Kubernetes' own has the types [T, null].
fn plain_types(schema: &mut Json) {
    match schema {
        Json::Object(fields) => {
            if let Some(Json::Array(types)) = fields.get("type") {
                let one = types.iter().find(|one| *one != "null").cloned().unwrap_or_default();
                fields.insert("type".to_owned(), one);
                fields.insert("nullable".to_owned(), true.into());
            }
            fields.values_mut().for_each(plain_types);
        }
        Json::Array(all) => all.iter_mut().for_each(plain_types),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_of_every_schema_can_be_checked() {
        fn patterns(schema: &Json, found: &mut Vec<String>) {
            found.extend(schema["pattern"].as_str().map(str::to_owned));
            let inner = schema.as_object().into_iter().flat_map(|fields| fields.values());
            let list = schema.as_array().into_iter().flatten();
            inner.chain(list).for_each(|inner| patterns(inner, found));
        }
        let mut found = Vec::new();
        SCHEMAS.values().for_each(|schema| patterns(schema, &mut found));
        assert!(found.len() > 5, "{found:?}");
        for pattern in found {
            assert!(regex::Regex::new(&pattern).is_ok(), "{pattern}");
        }
    }

    #[test]
    fn a_name_is_what_kubernetes_takes() {
        let good = ["a", "a-b", "a.b-c.d", "0"];
        let bad = ["", "A", "-a", "a-", "a..b", "a_b"];
        assert!(good.iter().all(|name| is_dns(name, 253, true)));
        assert!(!bad.iter().any(|name| is_dns(name, 253, true)));
        assert!(!is_dns("a.b", 63, false) && !is_dns(&"a".repeat(64), 63, false));
    }
}
