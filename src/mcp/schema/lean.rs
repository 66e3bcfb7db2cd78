//! Schemas of the lean tools.

use super::{
    date, described, flag, input, integer, objects, output, page, page_size, part, tag_match, tags,
    text, texts,
};
use crate::mcp::tool::search::MODES;
use rmcp::model::JsonObject;
use serde_json::json;

/// Input of `memory_store`.
pub(in crate::mcp) fn store_input() -> JsonObject {
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
pub(in crate::mcp) fn store_output() -> JsonObject {
    let properties = json!({"content_hash": text(), "created": flag(), "updated": flag()});
    output(&properties, &["content_hash", "created", "updated"])
}

/// Input of `memory_search`.
pub(in crate::mcp) fn search_input() -> JsonObject {
    let properties = json!({
        "query": text(),
        "mode": {
            "type": "string",
            "enum": MODES,
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
pub(in crate::mcp) fn search_output() -> JsonObject {
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
pub(in crate::mcp) fn list_input() -> JsonObject {
    let properties = json!({
        "page": page(),
        "page_size": page_size(20),
        "tags": tags(),
        "tag_match": tag_match(),
        "memory_type": text(),
    });
    input(&properties, &[])
}

/// Output of `memory_list`.
pub(in crate::mcp) fn list_output() -> JsonObject {
    let properties = json!({
        "memories": objects(),
        "page": integer(),
        "page_size": integer(),
        "total": integer(),
        "total_pages": integer(),
        "has_more": flag(),
    });
    output(&properties, &["memories", "page", "page_size", "total", "has_more"])
}

/// Input of `memory_update`.
pub(in crate::mcp) fn update_input() -> JsonObject {
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
pub(in crate::mcp) fn update_output() -> JsonObject {
    let properties = json!({
        "content_hash": text(),
        "parent_hash": text(),
        "updated_fields": texts(),
    });
    output(&properties, &["content_hash", "updated_fields"])
}

/// Input of `memory_delete`.
pub(in crate::mcp) fn delete_input() -> JsonObject {
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
pub(in crate::mcp) fn delete_output() -> JsonObject {
    let properties = json!({"deleted": integer(), "dry_run": flag(), "hashes": texts()});
    output(&properties, &["deleted", "dry_run", "hashes"])
}

/// Input of `memory_health`.
pub(in crate::mcp) fn health_input() -> JsonObject {
    input(&json!({}), &[])
}

/// Output of `memory_health`.
pub(in crate::mcp) fn health_output() -> JsonObject {
    let properties = json!({
        "version": text(),
        "validation": part(),
        "statistics": part(),
        "integrity": part(),
        "performance": part(),
    });
    output(&properties, &["version", "validation", "statistics"])
}
