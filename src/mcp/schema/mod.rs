//! The schemas of the tools, written by hand: small, because every client's model reads all of them in
//! every session, and without unions with null, which some clients refuse.

pub(super) mod full;
pub(super) mod lean;
pub(super) mod legacy;

use rmcp::model::JsonObject;
use serde_json::{Value, json};

/// The object that `value` is.
fn object(value: Value) -> JsonObject {
    match value {
        Value::Object(object) => object,
        _ => JsonObject::new(),
    }
}

/// An input without anything but `properties`.
fn input(properties: &Value, required: &[&str]) -> JsonObject {
    let mut schema = object(json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    }));
    if !required.is_empty() {
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

/// An output that has `required` at least.
fn output(properties: &Value, required: &[&str]) -> JsonObject {
    object(json!({"type": "object", "properties": properties, "required": required}))
}

fn text() -> Value {
    json!({"type": "string"})
}

fn described(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn integer() -> Value {
    json!({"type": "integer"})
}

fn flag() -> Value {
    json!({"type": "boolean"})
}

fn texts() -> Value {
    json!({"type": "array", "items": text()})
}

/// A list of tags, or one text with commas between them.
fn tags() -> Value {
    json!({"anyOf": [texts(), text()]})
}

fn tag_match() -> Value {
    json!({"type": "string", "enum": ["any", "all"], "default": "any"})
}

fn date() -> Value {
    described("Date or RFC 3339")
}

fn page() -> Value {
    json!({"type": "integer", "minimum": 1, "default": 1})
}

fn page_size(default: u8) -> Value {
    json!({"type": "integer", "minimum": 1, "maximum": 100, "default": default})
}

fn objects() -> Value {
    json!({"type": "array", "items": {"type": "object"}})
}

fn part() -> Value {
    json!({"type": "object"})
}
