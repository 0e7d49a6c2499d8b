//! The OpenAPI 3.1 document of `/v1/`, made from the descriptors of proto/: one source for gRPC and JSON.

use genie_proto::DESCRIPTORS;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
};
use serde_json::{Map, Value, json};

/// The calls that JSON has, in the order of the contract.
const CALLS: [&str; 7] = ["Activate", "Validate", "Checkout", "Renew", "Checkin", "Borrow", "Return"];
/// Field numbers of a file's messages, enums and services, and of a service's methods: they make the paths by which
/// descriptors attach comments.
const MESSAGE: i32 = 4;
const ENUM: i32 = 5;
const SERVICE: i32 = 6;
const MEMBER: i32 = 2;

/// The document.
pub fn document() -> Value {
    // The descriptors were made by the build from our own files.
    let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap_or_default();
    let file =
        set.file.iter().find(|file| file.name() == "genie/v1/licensing.proto").cloned().unwrap_or_default();
    let mut schemas = Map::new();
    for (index, message) in (0..).zip(&file.message_type) {
        if CALLS.iter().any(|call| message.name().strip_prefix(call).is_some_and(is_end))
            || message.name() == "Client"
        {
            schemas.insert(message.name().into(), object(&file, index, message));
        }
    }
    for (index, values) in (0..).zip(&file.enum_type) {
        schemas.insert(values.name().into(), enumeration(&file, index, values));
    }
    schemas.insert("Problem".into(), problem());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "genie-lm",
            "description": comment(&file, &[SERVICE, 0]),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "version": "v1",
        },
        "servers": [{ "url": "https://genie-lm:1453" }],
        "paths": paths(&file),
        "components": { "schemas": schemas },
    })
}

fn is_end(rest: &str) -> bool {
    rest == "Request" || rest == "Response"
}

fn paths(file: &FileDescriptorProto) -> Value {
    let methods = file.service.first().map(|service| service.method.as_slice()).unwrap_or_default();
    let path = |(index, method): (i32, &prost_types::MethodDescriptorProto)| {
        let content = |name: String| json!({ "application/json": { "schema": reference(&name) } });
        let trouble = json!({
            "description": "The call could not be judged.",
            "content": { "application/problem+json": { "schema": reference("Problem") } },
        });
        let operation = json!({
            "operationId": method.name().to_lowercase(),
            "summary": comment(file, &[SERVICE, 0, MEMBER, index]),
            "requestBody": { "required": true, "content": content(format!("{}Request", method.name())) },
            "responses": {
                "200": { "description": "A verdict.", "content": content(format!("{}Response", method.name())) },
                "4XX": trouble,
                "5XX": trouble,
            },
        });
        (format!("/v1/{}", method.name().to_lowercase()), json!({ "post": operation }))
    };
    let paths: Map<String, Value> =
        (0..).zip(methods).filter(|(_, method)| CALLS.contains(&method.name())).map(path).collect();
    Value::Object(paths)
}

fn object(file: &FileDescriptorProto, index: i32, message: &DescriptorProto) -> Value {
    let properties: Map<String, Value> = (0..)
        .zip(&message.field)
        .map(|(field_index, field)| {
            let mut schema = schema(field);
            let text = comment(file, &[MESSAGE, index, MEMBER, field_index]);
            if !text.is_empty() {
                schema["description"] = text.into();
            }
            (field.json_name().to_owned(), schema)
        })
        .collect();
    json!({
        "type": "object",
        "description": comment(file, &[MESSAGE, index]),
        "properties": properties,
        "additionalProperties": false,
    })
}

fn schema(field: &FieldDescriptorProto) -> Value {
    let one = match (field.r#type(), field.type_name()) {
        (Type::String, _) => json!({ "type": "string" }),
        (Type::Bool, _) => json!({ "type": "boolean" }),
        (Type::Message, ".google.protobuf.Duration") => {
            json!({ "type": ["string", "null"], "pattern": "^-?[0-9]+(\\.[0-9]+)?s$" })
        }
        (Type::Message, ".google.protobuf.Timestamp") => {
            json!({ "type": ["string", "null"], "format": "date-time" })
        }
        (Type::Message | Type::Enum, name) => reference(name.rsplit('.').next().unwrap_or_default()),
        (Type::Uint64, _) => json!({ "type": "string", "pattern": "^[0-9]+$" }),
        _ => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
    };
    if field.label() == Label::Repeated { json!({ "type": "array", "items": one }) } else { one }
}

fn enumeration(file: &FileDescriptorProto, index: i32, values: &EnumDescriptorProto) -> Value {
    let names: Vec<&str> = values.value.iter().map(|value| value.name()).collect();
    json!({ "type": "string", "description": comment(file, &[ENUM, index]), "enum": names })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "description": "RFC 9457: the call could not be judged.",
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "What to write instead, or when to retry." },
        },
    })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// The comment at a descriptor's path, on one line.
fn comment(file: &FileDescriptorProto, path: &[i32]) -> String {
    let locations = file.source_code_info.as_ref().map(|info| info.location.as_slice()).unwrap_or_default();
    let location = locations.iter().find(|location| location.path == path);
    let text = location.map(|location| location.leading_comments()).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
