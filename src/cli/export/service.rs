//! An export that the importer of mcp-memory-service reads: one JSON object with the list of the live
//! memories. Written as a stream; what is said of the list follows it, where it is known.

use crate::api::transfer::RecordJson;
use crate::clock::Micros;
use crate::model::carried::DEFAULT_STORE;
use crate::model::shown::metadata_json;
use crate::model::state_text;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{Result, Write};

/// The form of the service's export that this is.
const FORM: &str = "5.0.1";
/// What the service's importer names in a tag of each memory: `source:memtide`.
const SOURCE: &str = "memtide";

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    pub(super) n_memories: u64,
    pub(super) n_deleted: u64,
    stores: BTreeSet<String>,
}

#[derive(Serialize)]
struct Exported<'a> {
    content: &'a str,
    content_hash: &'a str,
    tags: BTreeSet<&'a str>,
    created_at: f64,
    updated_at: f64,
    memory_type: &'a str,
    metadata: Value,
    store: &'a str,
    export_source: &'a str,
}

/// Begins the object.
pub(super) fn begin(out: &mut impl Write) -> Result<()> {
    out.write_all(b"{\"memories\": [")
}

/// Writes a memory, unless it is deleted.
pub(super) fn memory(out: &mut impl Write, record: &RecordJson, done: &mut Written) -> Result<()> {
    let state = state_text::read(&record.state.to_string()).map_err(std::io::Error::other)?;
    let (true, Some(content)) = (state.is_alive(), &record.content) else {
        done.n_deleted += 1;
        return Ok(());
    };
    let metadata = serde_json::from_str(&metadata_json(&state))?;
    let store = record.carried.as_ref().and_then(|carried| carried.store.as_deref());
    let store = store.unwrap_or(DEFAULT_STORE);
    let memory = Exported {
        content,
        content_hash: &record.id,
        tags: state.live_tags(),
        created_at: seconds(state.birth.value.at),
        updated_at: seconds(state.updated_at),
        memory_type: &state.kind.value,
        metadata,
        store,
        export_source: SOURCE,
    };
    done.stores.insert(memory.store.to_owned());
    out.write_all(if done.n_memories == 0 { b"\n" } else { b",\n" })?;
    serde_json::to_writer(&mut *out, &memory)?;
    done.n_memories += 1;
    Ok(())
}

/// Ends the object with what the importer wants to know of it.
pub(super) fn end(out: &mut impl Write, done: &Written, database: &str, now: Micros) -> Result<()> {
    let about: Value = json!({
        "source_machine": SOURCE,
        "export_timestamp": now.to_rfc3339(),
        "total_memories": done.n_memories,
        "database_path": database,
        "platform": std::env::consts::OS,
        "include_embeddings": false,
        "filter_tags": null,
        "stores": done.stores,
        "exporter_version": FORM,
    });
    writeln!(out, "\n], \"export_metadata\": {about}}}")
}

/// As the service keeps instants.
#[expect(clippy::cast_precision_loss, reason = "a double keeps the microseconds of centuries")]
fn seconds(at: Micros) -> f64 {
    at.0 as f64 / 1e6
}
