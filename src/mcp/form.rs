//! A memory in the Python service's two forms.

use crate::api::wire::MemoryJson;
use crate::clock::Micros;
#[cfg(test)]
use rmcp::model::JsonObject;
use serde_json::{Value, json};

/// JSON as the Python service prints it.
pub(super) fn indented(value: &Value) -> String {
    format!("{value:#}")
}

/// `object` with one more member.
pub(super) fn with(mut object: Value, key: &str, value: Value) -> Value {
    if let Value::Object(members) = &mut object {
        members.insert(key.to_owned(), value);
    }
    object
}

/// A memory as its tools show it. `agent_id` is what an agent put into the metadata.
pub(super) fn nested(memory: &MemoryJson) -> Value {
    json!({
        "content": memory.content,
        "content_hash": memory.id,
        "tags": memory.tags,
        "memory_type": memory.memory_type,
        "metadata": memory.metadata,
        "created_at": epoch_seconds(&memory.created_at),
        "updated_at": epoch_seconds(&memory.updated_at),
        "created_at_iso": memory.created_at,
        "updated_at_iso": memory.updated_at,
        "agent_id": memory.metadata.get("agent_id"),
    })
}

/// A memory as its resources show it: the metadata among the memory's own keys. Where both have a key,
/// the memory's own counts.
pub(super) fn flat(memory: &MemoryJson) -> Value {
    let created_at = epoch_seconds(&memory.created_at);
    let own = json!({
        "content": memory.content,
        "content_hash": memory.id,
        "tags_str": memory.tags.join(","),
        "type": memory.memory_type,
        "timestamp": created_at,
        "timestamp_float": created_at,
        "timestamp_str": memory.created_at,
        "created_at": created_at,
        "created_at_iso": memory.created_at,
        "updated_at": epoch_seconds(&memory.updated_at),
        "updated_at_iso": memory.updated_at,
        "tags": memory.tags,
    });
    let mut form = memory.metadata.clone();
    if let Value::Object(own) = own {
        form.extend(own);
    }
    Value::Object(form)
}

/// Seconds since 1970, with fractions.
fn epoch_seconds(rfc3339: &str) -> f64 {
    let at = Micros::parse_rfc3339(rfc3339).unwrap_or_default();
    let epoch = Micros::default();
    at.since(epoch).as_secs_f64() - epoch.since(at).as_secs_f64()
}

/// A memory for the tests of the tools.
#[cfg(test)]
pub(super) fn sample(content: &str, tags: &[&str]) -> MemoryJson {
    MemoryJson {
        id: "ab".repeat(32),
        content: content.to_owned(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        memory_type: "note".to_owned(),
        metadata: JsonObject::new(),
        created_at: "2026-05-04T03:02:01.000500Z".to_owned(),
        updated_at: "2026-05-04T03:02:02.000000Z".to_owned(),
        deleted_at: None,
        superseded_by: None,
        origin: crate::api::wire::Origin { device: "00000001".to_owned(), client: "t".to_owned() },
        synced: false,
        embedded: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_lies_flat_and_takes_no_key_of_the_memory() {
        let mut memory = sample("text", &["a", "b"]);
        memory.metadata.insert("source".to_owned(), json!("chat"));
        memory.metadata.insert("content".to_owned(), json!("another"));
        let form = flat(&memory);
        assert_eq!(form["source"], "chat");
        assert_eq!(form["content"], "text");
        assert_eq!(form["tags_str"], "a,b");
        assert_eq!(form["timestamp_str"], memory.created_at);
        assert_eq!(nested(&memory)["metadata"]["content"], "another");
    }

    #[test]
    fn seconds_run_backwards_before_1970() {
        assert!((epoch_seconds("2026-05-04T03:02:01.000500Z") - 1_777_863_721.000_5).abs() < 1e-9);
        assert!((epoch_seconds("1969-12-31T23:59:58.500000Z") + 1.5).abs() < 1e-9);
    }
}
