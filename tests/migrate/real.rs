//! What the package itself writes is read as it stands.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::python_service::{PythonService, Release};
use memtide::migrate::row::SourceMemory;
use memtide::migrate::source::Source;
use memtide::model::shown::VOLATILE;
use serde_json::{Value, json};
use std::path::Path;

/// Everything that a service does in a life.
pub fn live(service: &mut PythonService, release: Release) {
    for i in 0..12 {
        let tags = json!(["work", format!("topic {i}")]);
        let metadata = json!({"n": i, "nested": {"a": [1, 2.5, null, "ü"]}, "_q": "1,ox,0.5"});
        let more = json!({"tags": tags, "memory_type": "decision", "metadata": metadata});
        service.store(&format!("Decision {i}: tide tables are read before sailing"), more);
    }
    let old = json!({"created_at": 1_600_000_000.123_456, "updated_at": 1_600_000_001.5});
    service.store("An old note without tags", old);
    let odd = json!({"tags": ["UPPER", "a b"], "memory_type": "my-own-type"});
    let odd = service.store("Ünï¢ödé 🦀\nline two\t'quoted' \"double\"", odd);
    let deleted =
        service.store("To be deleted", json!({"tags": ["gone"], "metadata": {"why": "test"}}));
    service.local("delete", json!({"content_hash": deleted}));
    let changes =
        json!({"tags": ["changed"], "memory_type": "learning", "metadata": {"extra": true}});
    let edited = service.store("To be edited", json!({"tags": ["first"]}));
    let edit = json!({"content_hash": edited, "updates": changes, "preserve_timestamps": false});
    assert_eq!(service.local("update_memory_metadata", edit)[0], true);
    let parent = service.store("Version one of a fact", json!({}));
    let version = json!({"content_hash": parent, "new_content": "Version two of a fact"});
    let versioned = service.local("update_memory_versioned", version);
    assert_eq!(versioned[0], true, "{versioned}");
    let again = service.store("Deleted and stored again", json!({"tags": ["one"]}));
    service.local("delete", json!({"content_hash": again}));
    service.store("Deleted and stored again", json!({"tags": ["two"]}));
    let edge = json!({"source_hash": odd, "target_hash": edited, "similarity": 0.75,
        "connection_types": ["semantic"], "relationship_type": "supports"});
    assert_eq!(service.graph("store_association", edge), true);
    if release == Release::V12 {
        let memory = json!({"content": "In a store of its own", "tags": ["apart"]});
        let stored = service.local("store", json!({"memory": memory, "store": "work"}));
        assert_eq!(stored[0], true, "{stored}");
    }
    // Every search writes into what it finds.
    service.local("retrieve", json!({"query": "tide tables", "n_results": 3}));
}

/// All memories of a source.
pub fn all(source: &Source) -> Vec<SourceMemory> {
    let (mut memories, mut after) = (Vec::new(), 0);
    loop {
        let page = source.page(after, 5, 1 << 20).unwrap();
        memories.extend(page.rows.into_iter().map(Result::unwrap));
        match page.next {
            Some(next) => after = next,
            None => return memories,
        }
    }
}

fn micros(seconds: &Value) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "an instant")]
    seconds.as_f64().map(|seconds| (seconds * 1e6).round() as i64)
}

/// Compares each field of a memory with the package's own row.
fn compare(memory: &SourceMemory, row: &Value) {
    let shown = &memory.shown;
    assert_eq!(memory.id.to_string(), row["content_hash"]);
    assert_eq!(memory.content, row["content"]);
    assert_eq!(Some(shown.created_at.0), micros(&row["created_at"]));
    assert_eq!(Some(shown.updated_at.0), micros(&row["updated_at"]));
    assert_eq!(shown.deleted_at.map(|at| at.0), micros(&row["deleted_at"]));
    let tags = row["tags"].as_str().unwrap_or_default();
    let tags: std::collections::BTreeSet<String> =
        tags.split(',').filter(|tag| !tag.is_empty()).map(str::to_lowercase).collect();
    assert_eq!(shown.tags, tags);
    assert_eq!(shown.kind, row["memory_type"].as_str().unwrap_or("note"));
    let metadata = row["metadata"].as_str().unwrap_or("{}");
    let mut metadata: serde_json::Map<String, Value> = serde_json::from_str(metadata).unwrap();
    let named = row["superseded_by"].as_str().filter(|hash| !hash.is_empty()).map(str::to_owned);
    let in_metadata = metadata.remove("superseded_by").map(|v| v.as_str().unwrap().to_owned());
    assert_eq!(shown.superseded_by.map(|id| id.to_string()), named.or(in_metadata));
    let read: serde_json::Map<String, Value> = shown
        .metadata
        .iter()
        .map(|(key, value)| (key.clone(), serde_json::from_str(value).unwrap()))
        .collect();
    assert_eq!(read, metadata);
    assert_eq!(memory.carried.parent.as_deref(), row["parent_id"].as_str());
    assert_eq!(memory.carried.version.unwrap_or(1), row["version"].as_i64().unwrap_or(1));
    assert_eq!(
        memory.carried.store.as_deref().unwrap_or("default"),
        row["store"].as_str().unwrap_or("default")
    );
    assert_eq!(memory.remarks, [""; 0]);
}

fn prove(release: Release, path: &Path) {
    let mut service = PythonService::start(release);
    service.open(path);
    live(&mut service, release);
    let dump = service.dump();
    // The service still has it open: its last commits are in its log only.
    let source = Source::open(path).unwrap();
    let memories = all(&source);
    let rows = dump["memories"].as_array().unwrap();
    assert_eq!(memories.len(), rows.len());
    assert_eq!(source.count().unwrap(), rows.len() as u64);
    for (memory, row) in memories.iter().zip(rows) {
        compare(memory, row);
    }
    assert_eq!(memories.iter().filter(|memory| memory.shown.deleted_at.is_some()).count(), 1);
    assert!(memories.iter().any(|memory| memory.shown.superseded_by.is_some()));
    // Release 10 keeps the parent of a version nowhere.
    let has_parent = memories.iter().any(|memory| memory.carried.parent.is_some());
    assert_eq!(has_parent, release == Release::V12);
    let is_volatile =
        |memory: &SourceMemory| VOLATILE.iter().any(|key| memory.shown.metadata.contains_key(*key));
    assert!(memories.iter().any(is_volatile), "the search has written nothing");
    let rowids: Vec<i64> = memories.iter().map(|memory| memory.rowid).collect();
    let vectors = source.vectors(&rowids).unwrap();
    let expected = dump["vectors"].as_object().unwrap();
    assert_eq!(vectors.len(), expected.len());
    for (rowid, vector) in &vectors {
        let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
        assert_eq!(expected[&rowid.to_string()], hex::encode(bytes));
    }
    let edges = source.edges(0, 100).unwrap();
    assert!(edges.iter().any(|edge| edge.relationship.as_deref() == Some("supports")));
    // A commit of the service is seen at once.
    let before = source.data_version().unwrap();
    service.store("One more", json!({}));
    assert_ne!(source.data_version().unwrap(), before);
    assert_eq!(source.count().unwrap(), rows.len() as u64 + 1);
    service.close();
}

#[test]
fn every_field_of_release_10_is_read() {
    let folder = tempfile::tempdir().unwrap();
    prove(Release::V10, &folder.path().join("sqlite_vec.db"));
}

#[test]
fn every_field_of_release_12_is_read() {
    let folder = tempfile::tempdir().unwrap();
    prove(Release::V12, &folder.path().join("sqlite_vec.db"));
}
