//! The CustomResourceDefinitions of all four resources, as `genie-lm crds` prints them and the chart installs them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;

use super::{LicenseGrant, LicensePool, SeatLedger, SeatPlan};

/// Types of Kubernetes itself, whose descriptions are in its own documentation and four times as long as the rest.
const BORROWED: [&str; 5] =
    ["affinity", "resources", "tolerations", "topologySpreadConstraints", "conditions"];

/// All definitions, in the order in which they should be applied.
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut all = vec![LicensePool::crd(), LicenseGrant::crd(), SeatPlan::crd(), SeatLedger::crd()];
    for schema in all.iter_mut().flat_map(schemas) {
        let spec = schema.properties.as_ref().and_then(|properties| properties.get("spec"));
        schema.description = spec.and_then(|spec| spec.description.clone());
        shorten(schema);
        walk(schema, &structural);
    }
    all.iter_mut().filter(|crd| crd.spec.names.kind == "SeatLedger").flat_map(schemas).for_each(bound_record);
    all
}

/// Limits of a record. The protocol's own bound is on those in force; those that a plan has dropped are counted until
/// nothing is out of them, so there may be as many again.
const MAX_RECORD_LIMITS: i64 = 2 * genie_ledger::MAX_SETTINGS_LIMITS as i64;
/// Borrowed seats of one ledger: a record with all of them is well below etcd's 1.5 MB.
const MAX_BORROWED: i64 = genie_ledger::MAX_BORROWED as i64;
/// Longest text of a record: an address, or the name of a pod, a node or a limit.
const MAX_RECORD_TEXT: i64 = 253;

/// What the rules of a SeatLedger cost is counted by the most that its record can hold.
fn bound_record(schema: &mut JSONSchemaProps) {
    let record = schema
        .properties
        .as_mut()
        .and_then(|all| all.get_mut("status")?.properties.as_mut()?.get_mut("record"));
    let Some(record) = record else { return };
    walk(record, &|inner| {
        if inner.type_.as_deref() == Some("string") {
            inner.max_length = inner.max_length.or(Some(MAX_RECORD_TEXT));
        }
        if inner.additional_properties.is_some() {
            inner.max_properties = Some(MAX_RECORD_LIMITS);
        }
        if inner.type_.as_deref() == Some("array") {
            // A document touches as many limits as a session.
            inner.max_items = Some(genie_ledger::MAX_LIMITS as i64);
        }
    });
    if let Some(borrowed) = record.properties.as_mut().and_then(|all| all.get_mut("borrowed")) {
        borrowed.max_items = Some(MAX_BORROWED);
    }
}

fn schemas(crd: &mut CustomResourceDefinition) -> impl Iterator<Item = &mut JSONSchemaProps> {
    crd.spec.versions.iter_mut().filter_map(|version| version.schema.as_mut()?.open_api_v3_schema.as_mut())
}

/// Longest time: nanoseconds and an offset.
const TIME_LENGTH: i64 = 35;
/// Quantities such as 20m, 1.5Gi or 2e3; a whole number needs no pattern.
const QUANTITY: &str = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$";

/// What the API server reads differently from serde: an optional field is left out and never null, and there are no
/// unsigned formats. What it would take and the types here would not is refused by it, too: an object that cannot be
/// read would stop the watch of all others.
fn structural(schema: &mut JSONSchemaProps) {
    schema.nullable = None;
    if let Some("uint8" | "uint16" | "uint32" | "uint64" | "uint") = schema.format.as_deref() {
        schema.format = Some("int64".to_owned());
        schema.minimum = schema.minimum.or(Some(0.0));
    }
    if schema.format.as_deref() == Some("date-time") {
        schema.max_length = Some(TIME_LENGTH);
    }
    if schema.x_kubernetes_int_or_string == Some(true) {
        schema.pattern = Some(QUANTITY.to_owned());
    }
}

/// Drops the descriptions inside of borrowed types.
fn shorten(schema: &mut JSONSchemaProps) {
    for (name, property) in schema.properties.iter_mut().flatten() {
        if BORROWED.contains(&name.as_str()) {
            let description = property.description.take();
            walk(property, &|inner| inner.description = None);
            property.description = description;
        } else {
            shorten(property);
        }
    }
}

fn walk(schema: &mut JSONSchemaProps, change: &impl Fn(&mut JSONSchemaProps)) {
    change(schema);
    schema.properties.iter_mut().flat_map(|all| all.values_mut()).for_each(|inner| walk(inner, change));
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => walk(items, change),
        Some(JSONSchemaPropsOrArray::Schemas(all)) => all.iter_mut().for_each(|inner| walk(inner, change)),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
        walk(values, change);
    }
}
