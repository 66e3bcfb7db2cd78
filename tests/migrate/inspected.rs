//! What `memtide migrate inspect` tells of every variant, and that it leaves no trace.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::home::Home;
use super::python_service::{PythonService, Release as Real};
use memtide::bench::python_database::{PythonDatabase, Release, Row};
use memtide::clock::Micros;
use memtide::migrate::inspect::{Report, inspect};
use memtide::migrate::source::Source;
use rusqlite::Connection;
use rusqlite::types::Value as Sql;
use std::path::{Path, PathBuf};

const NOW: Micros = Micros(1_800_000_000_000_000);
const DIMS: usize = 8;

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sqlite_vec.db");
    (folder, path)
}

fn report(path: &Path) -> Report {
    inspect(&Source::open(path).unwrap(), 1 << 20, NOW).unwrap()
}

/// What lies beside a database, and in it: all that could be changed. The index of the log that all who
/// have it open share is theirs to change.
fn bytes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.to_string_lossy().ends_with("-shm"))
        .map(|path| (path.display().to_string(), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

fn unit(place: usize) -> Vec<f32> {
    (0..DIMS).map(|i| if i == place { 1.0 } else { 0.0 }).collect()
}

/// One of everything.
fn filled(path: &Path, release: Release) -> PythonDatabase {
    let database = PythonDatabase::create(path, release, DIMS).unwrap();
    let row = |content: &str| Row { vector: Some(unit(1)), ..Row::new(content) };
    database.add(&row("plain")).unwrap();
    database.add(&Row { tags: Some(r#"["a", "B"]"#.to_owned()), ..row("listed tags") }).unwrap();
    database.add(&Row { tags: Some("x, y".to_owned()), ..row("spaced tags") }).unwrap();
    // By the rule before release 10.20.5 the same text could have several hashes.
    database.add(&Row { hash: Some("1".repeat(64)), ..row("Plain") }).unwrap();
    database.add(&Row { vector: None, ..row("without a vector") }).unwrap();
    database.add(&Row { vector: Some(vec![f32::NAN; DIMS]), ..row("not a number") }).unwrap();
    database.add(&Row { vector: Some(vec![0.0; DIMS]), ..row("nothing") }).unwrap();
    database.add(&Row { vector: Some(vec![7.0; DIMS]), ..row("long") }).unwrap();
    database.add(&Row { created_at: 1_900_000_000.0, ..row("of the future") }).unwrap();
    database.add(&Row { metadata: Some("{oops".to_owned()), ..row("broken metadata") }).unwrap();
    database.add(&Row { created_at: -5.0, ..row("before time") }).unwrap();
    let successor = r#"{"superseded_by": "1111111111111111111111111111111111111111111111111111111111111111", "k": 1}"#;
    database.add(&Row { metadata: Some(successor.to_owned()), ..row("replaced") }).unwrap();
    if release != Release::V8 {
        let deleted = Row { deleted_at: Some(1_700_000_100.0), vector: None, ..row("deleted") };
        database.add(&deleted).unwrap();
        let more = vec![
            ("version", Sql::Integer(2)),
            ("parent_id", Sql::Text("2".repeat(64))),
            ("confidence", Sql::Real(0.5)),
        ];
        database.add(&Row { more, ..row("a version") }).unwrap();
    }
    if release == Release::V12 {
        database.add(&Row { store: "work".to_owned(), ..row("in a store") }).unwrap();
        let more = vec![("embedding_pending", Sql::Integer(1))];
        database.add(&Row { more, vector: None, ..row("hidden") }).unwrap();
        let belief = "INSERT INTO beliefs(belief_hash, content, created_at, updated_at) VALUES ('b', 'x', '', '')";
        database.conn().execute(belief, ()).unwrap();
    }
    let plain = memtide::model::id::MemoryId::of("listed tags").to_string();
    database.link(&plain, &"1".repeat(64), 1.0).unwrap();
    database.link(&plain, &"f".repeat(64), 1.0).unwrap();
    database
}

#[test]
fn release_12_is_told_in_full() {
    let (_folder, path) = folder();
    let database = filled(&path, Release::V12);
    let leftover = "CREATE TABLE memory_embeddings_migration_backup(id INTEGER, v BLOB);
                    INSERT INTO memory_embeddings_migration_backup VALUES (1, x'00');
                    ALTER TABLE memories ADD COLUMN mood TEXT;
                    UPDATE memories SET mood = 'calm' WHERE id = 1;";
    database.conn().execute_batch(leftover).unwrap();
    let report = report(&path);
    assert_eq!(report.schema.version, Some(19));
    assert_eq!(report.schema.variant, "release 12 or later");
    let memories = &report.memories;
    assert_eq!((memories.rows, memories.live, memories.deleted, memories.refused), (16, 14, 1, 1));
    assert_eq!((memories.superseded, memories.embedding_pending), (1, 1));
    assert_eq!((memories.other_hash_rule, memories.duplicates), (1, 1));
    assert_eq!((memories.in_the_future, memories.kept_aside, memories.too_long), (1, 1, 0));
    assert_eq!(memories.odd_tags, 1, "B is b");
    assert_eq!(report.stores["work"], 1);
    let vectors = &report.vectors;
    assert_eq!((vectors.dims, vectors.metric.as_deref()), (Some(DIMS), Some("cosine")));
    assert_eq!((vectors.of_live, vectors.missing, vectors.unusable), (12, 2, 2));
    assert_eq!((vectors.pseudo, vectors.not_normalised, vectors.plausible), (0, 1, 9));
    assert_eq!(vectors.orphaned, 1, "of the row that can't be taken");
    assert_eq!((vectors.model.clone(), vectors.probable_model), (None, None));
    assert_eq!((report.graph.edges, report.graph.dangling), (2, 1));
    let carried: Vec<&str> = report.carried.keys().map(String::as_str).collect();
    assert_eq!(carried, ["confidence", "metadata", "mood", "parent_id", "store", "version"]);
    let no_place: Vec<&str> = report.no_place.keys().map(String::as_str).collect();
    assert_eq!(no_place, ["beliefs", "memory_embeddings_migration_backup"]);
    assert_eq!(report.refused[0].why, "the created_at of its row is no instant");
    assert!(
        report.remarks[0]
            .what
            .starts_with("its metadata is kept aside: the metadata of its row is no JSON")
    );
}

#[test]
fn older_variants_are_told_apart() {
    let (_folder, path) = folder();
    filled(&path, Release::V10);
    let of_10 = report(&path);
    assert_eq!((of_10.schema.version, of_10.schema.has_settings), (None, true));
    assert_eq!((of_10.schema.variant.as_str(), of_10.memories.deleted), ("releases 8.64 to 11", 1));
    assert_eq!(of_10.carried["parent_id"], 1);
    let (_folder, path) = folder();
    filled(&path, Release::V8);
    let of_8 = report(&path);
    assert!(!of_8.schema.keeps_deletions && !of_8.schema.has_settings);
    assert_eq!(of_8.vectors.metric.as_deref(), Some("L2"));
    assert_eq!((of_8.memories.live, of_8.vectors.plausible), (11, 7));
}

#[test]
fn a_database_without_vectors_graph_or_keywords_is_told() {
    let (_folder, path) = folder();
    let conn = Connection::open(&path).unwrap();
    let schema = "CREATE TABLE memories(content TEXT, content_hash TEXT, created_at REAL);
                  INSERT INTO memories VALUES ('bare', lower(hex(randomblob(32))), 1.5);";
    conn.execute_batch(schema).unwrap();
    let report = report(&path);
    assert_eq!((report.memories.live, report.vectors.missing, report.graph.edges), (1, 1, 0));
    assert_eq!(report.vectors.metric, None);
    assert_eq!(report.schema.journal_mode, "delete");
}

#[test]
fn pseudo_vectors_of_the_service_are_found_out() {
    for release in [Real::V10, Real::V12] {
        let (_folder, path) = folder();
        let mut service = PythonService::start(release);
        service.open_without_model(&path);
        for text in ["one text", "another text", "Ünïcode"] {
            service.store(text, serde_json::json!({}));
        }
        let report = report(&path);
        assert_eq!((report.vectors.of_live, report.vectors.pseudo), (3, 3), "{release:?}");
        assert_eq!(report.vectors.probable_model, Some("all-MiniLM-L6-v2"));
        service.close();
    }
}

#[test]
fn a_writer_goes_on_and_nothing_is_changed() {
    let (_folder, path) = folder();
    let database = filled(&path, Release::V12);
    let before = bytes(&path);
    assert!(before.iter().any(|(name, bytes)| name.ends_with("-wal") && !bytes.is_empty()));
    let first = report(&path);
    assert_eq!(bytes(&path), before);
    // In the middle of a write: what isn't committed isn't told, and neither waits for the other.
    database.conn().execute_batch("BEGIN IMMEDIATE").unwrap();
    database.add(&Row::new("on the way")).unwrap();
    let source = Source::open(&path).unwrap();
    assert_eq!(inspect(&source, 1 << 20, NOW).unwrap().memories, first.memories);
    database.conn().execute_batch("COMMIT").unwrap();
    assert_eq!(inspect(&source, 1 << 20, NOW).unwrap().memories.live, first.memories.live + 1);
    // A reader that stays open doesn't keep the writer from moving its log into the file.
    let moved: (i64, i64, i64) = database
        .conn()
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert_eq!(moved.0, 0, "the checkpoint was kept off");
    let before = bytes(&path);
    assert_eq!(report(&path).memories.live, first.memories.live + 1);
    assert_eq!(bytes(&path), before);
}

#[test]
fn what_is_left_of_a_killed_service_is_read_with_its_log() {
    let (folder, path) = folder();
    let database = filled(&path, Release::V12);
    let copies = folder.path().join("copy");
    std::fs::create_dir(&copies).unwrap();
    let copy = copies.join("sqlite_vec.db");
    for end in ["", "-wal"] {
        let name = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
        std::fs::copy(name(&path), name(&copy)).unwrap();
    }
    let before = bytes(&copy);
    let told = report(&copy);
    assert_eq!(told.memories, report(&path).memories);
    assert!(told.wal_bytes > 0);
    assert_eq!(bytes(&copy), before, "the log of the dead service was moved");
    drop(database);
}

#[test]
fn a_keyword_index_with_ghosts_and_a_damaged_one_are_told() {
    let (_folder, path) = folder();
    let database = filled(&path, Release::V12);
    let state =
        |report: Report| serde_json::to_value(report.keyword_index).unwrap()["state"].clone();
    assert_eq!(state(report(&path)), "sound");
    // The service's own triggers leave the words of a purged memory behind.
    for n in 0..20 {
        let row = database.add(&Row::new(&format!("zebracrossing {n}"))).unwrap();
        database.conn().execute("DELETE FROM memories WHERE id = ?1", [row]).unwrap();
    }
    database.add(&Row::new("zebracrossing")).unwrap();
    assert_eq!(state(report(&path)), "stale");
    let emptied = "UPDATE memory_content_fts_data SET block = x'00'";
    database.conn().execute(emptied, ()).unwrap();
    assert_eq!(state(report(&path)), "stale");
    let broken = "UPDATE memory_content_fts_data SET block = CAST('no block of an index' AS BLOB)";
    database.conn().execute(broken, ()).unwrap();
    let told = report(&path);
    assert_eq!(told.memories.refused, 1);
    assert_eq!(state(told), "damaged");
    database.conn().execute("DELETE FROM memory_content_fts_docsize WHERE id = 1", ()).unwrap();
    database.conn().execute("DELETE FROM memory_content_fts_data", ()).unwrap();
    assert_eq!(state(report(&path)), "damaged");
}

#[test]
fn the_command_finds_the_database_and_tells_in_words_and_json() {
    let home = Home::new();
    let missing = home.run(&["migrate", "inspect"]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.err.contains("no database of mcp-memory-service was found"), "{missing:?}");
    assert!(missing.err.contains("hint: name it"), "{missing:?}");
    let base = home.root().join("base");
    std::fs::create_dir(&base).unwrap();
    let path = base.join("sqlite_vec.db");
    filled(&path, Release::V12);
    let by_file = Home::new().with("MCP_MEMORY_SQLITE_PATH", &path);
    let by_file = by_file.run(&["migrate", "inspect", "--json"]).json();
    let by_folder = Home::new().with("MCP_MEMORY_BASE_DIR", &base);
    let by_folder = by_folder.run(&["migrate", "inspect", "--json"]).json();
    assert_eq!(by_file, by_folder);
    assert_eq!(by_file["memories"]["live"], 14);
    let said = home.run(&["migrate", "inspect", path.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let words = said.out;
    for part in [
        "schema      version 19, as written by release 12 or later",
        "memories    14 live, 1 deleted",
        "vectors     8 dimensions, cosine distance, model not noted",
        "graph       2 edges, 1 with an end that isn't here",
        "keywords    an index without a fault that was found; memtide makes its own",
        "no place    beliefs 1 (stays where it is)",
        "refused     row 11 (",
    ] {
        assert!(words.contains(part), "{part:?} in {words}");
    }
}
