//! The way back: what memtide exports is read by the package's own importer, and the other way round.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use super::daemon::Home;
use super::python_service::{PythonService, Release};
use super::real::live;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

fn done(home: &Home, arguments: &[&str]) -> (String, String) {
    let said = home.run(arguments);
    assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
    (said.out, said.err)
}

fn micros(seconds: &Value) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "an instant")]
    let micros = (seconds.as_f64().unwrap() * 1e6).round() as i64;
    micros
}

fn instant(text: &Value) -> i64 {
    memtide::clock::Micros::parse_rfc3339(text.as_str().unwrap()).unwrap().0
}

fn tags(value: &Value) -> BTreeSet<String> {
    let text = |tag: &Value| tag.as_str().unwrap().to_owned();
    match value {
        Value::Array(tags) => tags.iter().map(text).collect(),
        tags => tags.as_str().unwrap().split(',').map(str::to_owned).collect(),
    }
}

/// Live memories of a memtide, by id.
fn memories(home: &Home) -> BTreeMap<String, Value> {
    let listed = home.ask("GET", "/v1/memories?page_size=100", b"").json;
    let memories = listed["memories"].as_array().unwrap();
    memories.iter().map(|one| (one["id"].as_str().unwrap().to_owned(), one.clone())).collect()
}

fn goes_back(release: Release) {
    let home = Home::new();
    let _daemon = home.daemon();
    let store = |body: Value| {
        let answer = home.ask("POST", "/v1/memories", body.to_string().as_bytes());
        answer.json["id"].as_str().unwrap().to_owned()
    };
    for n in 0..30 {
        store(json!({"content": format!("Decision {n}: \"quoted\" ☃\nand a line"),
            "tags": ["work", format!("topic {n}")], "memory_type": "decision",
            "metadata": {"n": n, "nested": {"a": [1, 2.5, null, "ü"]}, "_q": "1,ox,0.5"}}));
    }
    let bare = store(json!({"content": "without anything"}));
    let old = store(json!({"content": "Postgres 16 runs on staging", "tags": ["infra"]}));
    let changed = json!({"content": "Postgres 17 runs on staging"}).to_string();
    home.ask("PATCH", &format!("/v1/memories/{old}"), changed.as_bytes());
    let gone = store(json!({"content": "deleted"}));
    done(&home, &["delete", &gone]);

    let file = home.root().join("export.json");
    let path = file.to_str().unwrap();
    let (_, told) = done(&home, &["export", path, "--format", "mcp-memory-service"]);
    assert_eq!(told, "33 memories exported, 1 deleted left out\n");
    let mut service = PythonService::start(release);
    service.open(&home.root().join("sqlite_vec.db"));
    let import = json!({"op": "import_file", "path": path});
    let stats = service.request(&import);
    assert_eq!((&stats["imported"], &stats["errors"]), (&json!(33), &json!(0)), "{stats}");
    let again = service.request(&import);
    assert_eq!((&again["imported"], &again["duplicates_skipped"]), (&json!(0), &json!(33)));

    let kept = memories(&home);
    assert_eq!(kept.len(), 33);
    let dump = service.dump();
    for row in dump["memories"].as_array().unwrap() {
        let ours = &kept[row["content_hash"].as_str().unwrap()];
        assert_eq!(row["content"], ours["content"]);
        assert_eq!(micros(&row["created_at"]), instant(&ours["created_at"]));
        assert_eq!(micros(&row["updated_at"]), instant(&ours["updated_at"]));
        let mut expected = tags(&ours["tags"]);
        expected.insert("source:memtide".to_owned());
        assert_eq!(tags(&row["tags"]), expected);
        // Types that the service doesn't know become its first one; ours is among them.
        let kind = if ours["memory_type"] == "note" { "note" } else { "decision" };
        assert_eq!(row["memory_type"], kind);
        let mut metadata: Value = serde_json::from_str(row["metadata"].as_str().unwrap()).unwrap();
        assert_eq!(metadata["import_info"]["source_machine"], "memtide");
        metadata.as_object_mut().unwrap().remove("import_info");
        let successor = metadata.as_object_mut().unwrap().remove("superseded_by");
        assert_eq!(successor.unwrap_or_default(), ours["superseded_by"]);
        assert_eq!(metadata, ours["metadata"]);
    }
    let n_rows = dump["memories"].as_array().unwrap().len();
    assert_eq!(n_rows, 33);
    assert!(kept[&old]["superseded_by"].is_string() && kept[&bare]["tags"] == json!([]));
    service.close();
}

#[test]
fn what_is_exported_for_release_10_is_imported_by_it() {
    goes_back(Release::V10);
}

#[test]
fn what_is_exported_for_release_12_is_imported_by_it() {
    goes_back(Release::V12);
}

fn comes_over(release: Release, file: &Path) {
    let mut service = PythonService::start(release);
    service.open(&file.with_extension("db"));
    live(&mut service, release);
    let exported = service.request(&json!({"op": "export_file", "path": file}));
    assert_eq!(exported["success"], true, "{exported}");
    let n = exported["exported_count"].as_u64().unwrap();
    service.close();

    let home = Home::new();
    let _daemon = home.daemon();
    let path = file.to_str().unwrap();
    let (_, told) = done(&home, &["import", path]);
    assert_eq!(told, format!("read as mcp-memory-service: {n} new, 0 merged, 0 unchanged\n"));
    let (_, told) = done(&home, &["import", path, "--format", "mcp-memory-service"]);
    assert_eq!(told, format!("read as mcp-memory-service: 0 new, 0 merged, {n} unchanged\n"));
    let kept = memories(&home);
    let text = std::fs::read_to_string(file).unwrap();
    let theirs: Value = serde_json::from_str(&text).unwrap();
    let theirs = theirs["memories"].as_array().unwrap();
    assert_eq!((theirs.len() as u64, kept.len() as u64), (n, n));
    let mut n_stores = 0;
    for memory in theirs {
        let ours = &kept[memory["content_hash"].as_str().unwrap()];
        assert_eq!(memory["content"], ours["content"]);
        assert_eq!(micros(&memory["created_at"]), instant(&ours["created_at"]));
        assert_eq!(micros(&memory["updated_at"]), instant(&ours["updated_at"]));
        let lower = |tags: BTreeSet<String>| -> BTreeSet<String> {
            tags.into_iter().map(|tag| tag.to_lowercase()).collect()
        };
        assert_eq!(lower(tags(&memory["tags"])), tags(&ours["tags"]));
        assert_eq!(memory["memory_type"].as_str().unwrap_or("note"), ours["memory_type"]);
        let mut metadata = memory["metadata"].clone();
        metadata.as_object_mut().unwrap().remove("superseded_by");
        assert_eq!(metadata, ours["metadata"]);
        assert_eq!(ours["origin"]["client"], "mcp-memory-service");
        n_stores += u64::from(memory["store"].as_str().is_some_and(|store| store != "default"));
    }
    // The store a memory lay in goes back with it.
    let (again, _) = done(&home, &["export", "--format", "mcp-memory-service"]);
    let again: Value = serde_json::from_str(&again).unwrap();
    let named = again["memories"].as_array().unwrap().iter();
    assert_eq!(named.filter(|memory| memory["store"] == "work").count() as u64, n_stores);
    assert_eq!(n_stores, u64::from(release == Release::V12));
    let (all, _) = done(&home, &["export"]);
    let other = Home::new();
    let _other = other.daemon();
    other.run_with(&["import", "-"], all.as_bytes());
    assert_eq!(done(&other, &["export"]).0, all);
}

#[test]
fn what_release_10_exports_is_imported() {
    let folder = tempfile::tempdir().unwrap();
    comes_over(Release::V10, &folder.path().join("export.json"));
}

#[test]
fn what_release_12_exports_is_imported() {
    let folder = tempfile::tempdir().unwrap();
    comes_over(Release::V12, &folder.path().join("export.json"));
}
