//! Schemas of the old tools.

use super::{
    described, flag, full, input, integer, objects, output, page, page_size, part, tags, text,
    texts,
};
use rmcp::model::JsonObject;
use serde_json::{Value, json};

/// Input of `store_memory`.
pub(in crate::mcp) fn store_memory_input() -> JsonObject {
    let properties = json!({
        "content": text(),
        "tags": tags(),
        "memory_type": {"type": "string", "default": "note"},
        "metadata": part(),
        "client_hostname": described("Becomes a tag source:<hostname>"),
        "restore_deleted": {
            "type": "boolean",
            "description": "false refuses a text that was deleted; otherwise storing brings it back",
        },
    });
    input(&properties, &["content"])
}

/// Output of `store_memory`.
pub(in crate::mcp) fn store_memory_output() -> JsonObject {
    let properties = json!({"success": flag(), "message": text(), "content_hash": text()});
    output(&properties, &["success", "message", "content_hash"])
}

/// Input of `retrieve_memory`.
pub(in crate::mcp) fn retrieve_memory_input() -> JsonObject {
    let properties = json!({
        "query": text(),
        "n_results": {"type": "integer", "minimum": 1, "maximum": 100, "default": 5},
    });
    input(&properties, &["query"])
}

/// Output of `retrieve_memory`.
pub(in crate::mcp) fn retrieve_memory_output() -> JsonObject {
    let properties = json!({"memories": objects(), "query": text(), "count": integer()});
    output(&properties, &["memories", "query", "count"])
}

/// Input of `search_by_tag`.
pub(in crate::mcp) fn search_by_tag_input() -> JsonObject {
    let properties = json!({"tags": tags(), "match_all": {"type": "boolean", "default": false}});
    input(&properties, &["tags"])
}

/// Output of `search_by_tag`.
pub(in crate::mcp) fn search_by_tag_output() -> JsonObject {
    let properties = json!({
        "memories": objects(),
        "tags": texts(),
        "match_type": {"type": "string", "enum": ["ANY", "ALL"]},
        "count": integer(),
        "total": integer(),
    });
    output(&properties, &["memories", "tags", "match_type", "count"])
}

/// Input of `delete_memory`.
pub(in crate::mcp) fn delete_memory_input() -> JsonObject {
    input(&json!({"content_hash": text()}), &["content_hash"])
}

/// Output of `delete_memory`.
pub(in crate::mcp) fn delete_memory_output() -> JsonObject {
    output(&json!({"success": flag(), "content_hash": text()}), &["success", "content_hash"])
}

/// Input of `check_database_health`.
pub(in crate::mcp) fn check_database_health_input() -> JsonObject {
    input(&json!({}), &[])
}

/// Output of `check_database_health`.
pub(in crate::mcp) fn check_database_health_output() -> JsonObject {
    let properties = json!({
        "healthy": flag(),
        "problems": objects(),
        "storage_type": text(),
        "backend": text(),
        "total_memories": integer(),
        "unique_tags": integer(),
        "memories_this_week": integer(),
        "database_size_bytes": integer(),
        "database_size_mb": {"type": "number"},
        "embedding_model": text(),
        "embedding_dimension": integer(),
        "last_updated": text(),
    });
    output(&properties, &["healthy", "problems", "storage_type", "total_memories"])
}

/// Input of `list_memories`.
pub(in crate::mcp) fn list_memories_input() -> JsonObject {
    let properties = json!({
        "page": page(),
        "page_size": page_size(10),
        "tag": text(),
        "memory_type": text(),
    });
    input(&properties, &[])
}

/// Input of `memory_graph`.
pub(in crate::mcp) fn memory_graph_input() -> JsonObject {
    let hops = |default: u8| -> Value {
        json!({"type": "integer", "minimum": 1, "maximum": 10, "default": default})
    };
    let properties = json!({
        "action": {"type": "string", "enum": ["connected", "path", "subgraph"]},
        "hash": described("For connected and subgraph"),
        "hash1": described("Where a path begins"),
        "hash2": described("Where it ends"),
        "max_hops": hops(2),
        "max_depth": hops(5),
        "radius": hops(2),
    });
    input(&properties, &["action"])
}

/// Output of `memory_graph`.
pub(in crate::mcp) fn memory_graph_output() -> JsonObject {
    let properties = json!({
        "success": flag(),
        "connected": objects(),
        "count": integer(),
        "length": integer(),
        "message": text(),
        "nodes": texts(),
        "edges": objects(),
        "node_count": integer(),
        "edge_count": integer(),
    });
    output(&properties, &["success"])
}

/// Input of `get_cache_stats`.
pub(in crate::mcp) fn get_cache_stats_input() -> JsonObject {
    full::stats_input()
}

/// Output of `get_cache_stats`.
pub(in crate::mcp) fn get_cache_stats_output() -> JsonObject {
    full::stats_output()
}
