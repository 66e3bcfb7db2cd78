//! The schemas of the tools, written by hand: small, because every client's model reads all of them in
//! every session, and without unions with null, which some clients refuse.

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

/// Input of `memory_store`.
pub(super) fn store_input() -> JsonObject {
    let properties = json!({
        "content": text(),
        "metadata": {
            "type": "object",
            "description": "tags, type and any keys of your own",
            "properties": {"tags": tags(), "type": text()},
        },
        "tags": tags(),
        "memory_type": described("e.g. decision, preference, fact; default note"),
    });
    input(&properties, &["content"])
}

/// Output of `memory_store`.
pub(super) fn store_output() -> JsonObject {
    let properties = json!({"content_hash": text(), "created": flag(), "updated": flag()});
    output(&properties, &["content_hash", "created", "updated"])
}

/// Input of `memory_search`.
pub(super) fn search_input() -> JsonObject {
    let properties = json!({
        "query": text(),
        "mode": {
            "type": "string",
            "enum": super::tool::search::MODES,
            "default": "hybrid",
            "description": "hybrid: meaning and words; exact: substring",
        },
        "time_expr": described("yesterday, last week, in March, between X and Y"),
        "after": date(),
        "before": date(),
        "tags": tags(),
        "tag_match": tag_match(),
        "limit": {"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
        "max_response_chars": {"type": "integer", "minimum": 1},
    });
    input(&properties, &[])
}

/// Output of `memory_search`.
pub(super) fn search_output() -> JsonObject {
    let memory = json!({
        "content": text(),
        "content_hash": text(),
        "tags": texts(),
        "memory_type": text(),
        "created_at_iso": text(),
        "score": {"type": "number"},
    });
    let properties = json!({
        "memories": {"type": "array", "items": {"type": "object", "properties": memory}},
        "mode": described("What ranked"),
        "total": integer(),
        "omitted": integer(),
        "pending_embeddings": integer(),
    });
    output(&properties, &["memories", "mode"])
}

/// Input of `memory_list`.
pub(super) fn list_input() -> JsonObject {
    let properties = json!({
        "page": {"type": "integer", "minimum": 1, "default": 1},
        "page_size": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20},
        "tags": tags(),
        "tag_match": tag_match(),
        "memory_type": text(),
    });
    input(&properties, &[])
}

/// Output of `memory_list`.
pub(super) fn list_output() -> JsonObject {
    let properties = json!({
        "memories": {"type": "array", "items": {"type": "object"}},
        "page": integer(),
        "page_size": integer(),
        "total": integer(),
        "total_pages": integer(),
        "has_more": flag(),
    });
    output(&properties, &["memories", "page", "page_size", "total", "has_more"])
}

/// Input of `memory_update`.
pub(super) fn update_input() -> JsonObject {
    let properties = json!({
        "content_hash": text(),
        "updates": {
            "type": "object",
            "description": "Other keys go to the metadata",
            "properties": {
                "tags": tags(),
                "memory_type": text(),
                "metadata": {"type": "object", "description": "Merged; null removes a key"},
                "content": described("Makes a new memory that replaces this one"),
            },
        },
    });
    input(&properties, &["content_hash", "updates"])
}

/// Output of `memory_update`.
pub(super) fn update_output() -> JsonObject {
    let properties = json!({
        "content_hash": text(),
        "parent_hash": text(),
        "updated_fields": texts(),
    });
    output(&properties, &["content_hash", "updated_fields"])
}

/// Input of `memory_delete`.
pub(super) fn delete_input() -> JsonObject {
    let properties = json!({
        "content_hash": text(),
        "tags": tags(),
        "tag_match": tag_match(),
        "before": date(),
        "after": date(),
        "dry_run": {"type": "boolean", "description": "Only tell what would go"},
    });
    input(&properties, &[])
}

/// Output of `memory_delete`.
pub(super) fn delete_output() -> JsonObject {
    let properties = json!({"deleted": integer(), "dry_run": flag(), "hashes": texts()});
    output(&properties, &["deleted", "dry_run", "hashes"])
}

/// Input of `memory_health`.
pub(super) fn health_input() -> JsonObject {
    input(&json!({}), &[])
}

/// Output of `memory_health`.
pub(super) fn health_output() -> JsonObject {
    let part = json!({"type": "object"});
    let properties = json!({
        "version": text(),
        "validation": part,
        "statistics": part,
        "integrity": part,
        "performance": part,
    });
    output(&properties, &["version", "validation", "statistics"])
}
