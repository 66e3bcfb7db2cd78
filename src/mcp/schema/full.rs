//! Schemas of what the full set has beyond the lean one.

use super::{described, flag, input, integer, lean, output, part, tags, text, texts};
use rmcp::model::JsonObject;
use serde_json::{Value, json};

/// `schema` with more properties.
fn widened(mut schema: JsonObject, more: Value) -> JsonObject {
    if let (Some(Value::Object(properties)), Value::Object(more)) =
        (schema.get_mut("properties"), more)
    {
        properties.extend(more);
    }
    schema
}

/// Input of `memory_store`: with what only becomes metadata, and with the question of deleted texts.
pub(in crate::mcp) fn store_input() -> JsonObject {
    let more = json!({
        "conversation_id": described("Kept in the metadata"),
        "agent_id": described("Who writes; kept in the metadata"),
        "restore_deleted": {
            "type": "boolean",
            "description": "false refuses a text that was deleted; otherwise storing brings it back",
        },
    });
    widened(lean::store_input(), more)
}

/// Input of `memory_update`: with the word for what a new text does in any case.
pub(in crate::mcp) fn update_input() -> JsonObject {
    let more = json!({
        "versioned": {
            "type": "boolean",
            "description": "true wants updates.content; a new text always makes a new memory",
        },
    });
    widened(lean::update_input(), more)
}

/// Input of `memory_get`.
pub(in crate::mcp) fn get_input() -> JsonObject {
    input(&json!({"content_hash": described("Or a unique start of it")}), &["content_hash"])
}

/// Output of `memory_get`.
pub(in crate::mcp) fn get_output() -> JsonObject {
    let properties = json!({
        "content": text(),
        "content_hash": text(),
        "tags": texts(),
        "memory_type": text(),
        "metadata": part(),
        "created_at": {"type": "number"},
        "updated_at": {"type": "number"},
        "created_at_iso": text(),
        "updated_at_iso": text(),
        "superseded_by": text(),
        "origin": part(),
        "synced": flag(),
        "embedded": flag(),
    });
    output(&properties, &["content", "content_hash", "tags", "memory_type", "metadata"])
}

/// Input of `memory_store_session`.
pub(in crate::mcp) fn store_session_input() -> JsonObject {
    let turn = json!({
        "type": "object",
        "properties": {"role": described("e.g. user or assistant"), "content": text()},
        "required": ["role", "content"],
    });
    let properties = json!({
        "turns": {"type": "array", "items": turn, "minItems": 1},
        "session_id": described("Made from the text if not given"),
        "tags": tags(),
        "metadata": part(),
        "agent_id": described("Who writes; kept in the metadata"),
    });
    input(&properties, &["turns"])
}

/// Output of `memory_store_session`.
pub(in crate::mcp) fn store_session_output() -> JsonObject {
    let properties = json!({
        "session_id": text(),
        "content_hashes": texts(),
        "chunks": integer(),
        "turns": integer(),
    });
    output(&properties, &["session_id", "content_hashes", "chunks", "turns"])
}

/// Input of `memory_cleanup`.
pub(in crate::mcp) fn cleanup_input() -> JsonObject {
    input(&json!({}), &[])
}

/// Output of `memory_cleanup`.
pub(in crate::mcp) fn cleanup_output() -> JsonObject {
    output(
        &json!({"deleted": integer(), "hashes": texts(), "kept": texts()}),
        &["deleted", "hashes"],
    )
}

/// Input of `memory_stats`.
pub(in crate::mcp) fn stats_input() -> JsonObject {
    input(&json!({}), &[])
}

/// Output of `memory_stats`.
pub(in crate::mcp) fn stats_output() -> JsonObject {
    let properties = json!({
        "total_calls": integer(),
        "hit_rate": {"type": "number"},
        "storage_cache": part(),
        "service_cache": part(),
        "performance": part(),
        "backend_info": part(),
        "statistics": part(),
        "message": text(),
    });
    output(&properties, &["total_calls", "hit_rate", "backend_info", "statistics", "message"])
}
