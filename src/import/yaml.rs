//! Manifests as YAML: what differs from the defaults, and comments above each pool.

use kube::Resource;
use serde::Serialize;
use serde_json::{Map, Value};

use super::pool::Imported;
use crate::api::{LicenseGrant, LicenseGrantSpec, LicensePool, LicensePoolSpec};

/// All documents, each pool before its grants.
pub(super) fn documents(all: &[Imported]) -> Result<String, serde_saphyr::ser::Error> {
    let mut text = String::new();
    for Imported { comments, pool, grants } in all {
        let mut document = |comments: &[String], value: Value| {
            text.push_str("---\n");
            comments.iter().for_each(|comment| text.push_str(&format!("# {comment}\n")));
            text.push_str(serde_saphyr::to_string(&value)?.trim_end());
            text.push('\n');
            Ok::<(), serde_saphyr::ser::Error>(())
        };
        let spec = lean(&pool.spec, &LicensePoolSpec::default());
        document(comments, manifest::<LicensePool>(pool.metadata.name.as_deref(), spec))?;
        for grant in grants {
            let spec = lean(&grant.spec, &LicenseGrantSpec::default());
            document(&[], manifest::<LicenseGrant>(grant.metadata.name.as_deref(), spec))?;
        }
    }
    Ok(text)
}

fn manifest<K: Resource<DynamicType = ()>>(name: Option<&str>, spec: Map<String, Value>) -> Value {
    serde_json::json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name},
        "spec": spec,
    })
}

/// The fields that are not what they would be without being written.
fn lean<T: Serialize>(spec: &T, default: &T) -> Map<String, Value> {
    let fields = |spec: &T| match serde_json::to_value(spec) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    let default = fields(default);
    fields(spec).into_iter().filter(|(name, value)| default.get(name) != Some(value)).collect()
}
