//! Files that are no database of the service, and rows that are no memories: a sentence each, and nothing
//! else suffers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::home::Home;
use memtide::bench::python_database::{PythonDatabase, Release, Row};
use memtide::migrate::row::{RefusedRow, SourceMemory};
use memtide::migrate::source::{Source, SourceError};
use memtide::model::id::MemoryId;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sqlite_vec.db");
    (folder, path)
}

fn refusal(path: &Path) -> SourceError {
    let error = Source::open_within(path, Duration::from_millis(20)).err().unwrap();
    assert!(!error.hint().is_empty());
    error
}

/// A database of several pages, closed.
fn closed(path: &Path) {
    let database = PythonDatabase::create(path, Release::V12, 8).unwrap();
    database.fill(300, 1, 8, &[]).unwrap();
    database.conn().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
}

#[test]
fn what_is_no_database_is_named_for_what_it_is() {
    let (folder, path) = folder();
    assert!(matches!(refusal(&path), SourceError::Missing(_)));
    assert!(matches!(refusal(folder.path()), SourceError::NotAFile(_)));
    std::fs::write(&path, "words and words, no database at all\n".repeat(300)).unwrap();
    assert!(matches!(refusal(&path), SourceError::NotSqlite(_)));
    // As an encrypted one looks: whole pages without order.
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    })
    .take(16 * 4096)
    .collect();
    std::fs::write(&path, &noise).unwrap();
    let encrypted = refusal(&path);
    assert!(matches!(encrypted, SourceError::Encrypted(_)), "{encrypted}");
    std::fs::write(&path, "").unwrap();
    let empty = refusal(&path).to_string();
    assert_eq!(empty, "the database has no table of memories: it is empty");
}

#[test]
fn other_databases_are_told_apart() {
    let (_folder, path) = folder();
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TABLE songs(x); CREATE TABLE albums(x);").unwrap();
    let other = refusal(&path).to_string();
    assert_eq!(other, "the database has no table of memories, only albums, songs");
    conn.execute_batch("CREATE TABLE memories(id, content)").unwrap();
    assert!(matches!(refusal(&path), SourceError::NoColumn { column: "content_hash" }));
    // A view could run anything.
    conn.execute_batch(
        "DROP TABLE memories; CREATE VIEW memories AS SELECT 1 AS content_hash, 2 AS content",
    )
    .unwrap();
    assert!(matches!(refusal(&path), SourceError::NoMemories { .. }));
    let home = Home::new();
    assert_eq!(home.run(&["store", "a memory of memtide's own"]).code, Some(0));
    let own = refusal(&home.database());
    assert!(matches!(own, SourceError::Own(_)), "{own}");
}

#[test]
fn a_schema_from_the_future_is_refused() {
    let (_folder, path) = folder();
    let database = PythonDatabase::create(&path, Release::V12, 8).unwrap();
    database
        .conn()
        .execute("UPDATE metadata SET value = '99' WHERE key = 'schema_version'", ())
        .unwrap();
    let newer = refusal(&path);
    assert!(matches!(newer, SourceError::Newer { found: 99, .. }), "{newer}");
}

#[test]
fn a_cut_and_a_damaged_file_are_told() {
    let (_folder, path) = folder();
    closed(&path);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let cut = refusal(&path);
    assert!(matches!(cut, SourceError::Truncated { .. }), "{cut}");
    assert!(
        cut.to_string().contains(&format!("{} bytes of {}", whole.len() / 2, whole.len())),
        "{cut}"
    );
    // The header is right, what it points to isn't.
    let mut broken = whole.clone();
    broken[100..4096].fill(0xaa);
    std::fs::write(&path, &broken).unwrap();
    let damaged = refusal(&path);
    assert!(matches!(damaged, SourceError::Damaged { .. }), "{damaged}");
    // Every page but the first: it opens, and reading it tells.
    let mut broken = whole;
    broken[4096..].fill(0xaa);
    std::fs::write(&path, &broken).unwrap();
    let read = Source::open(&path).and_then(|source| source.page(0, 1000, usize::MAX));
    let damaged = read.unwrap_err();
    assert!(matches!(damaged, SourceError::Damaged { .. }), "{damaged}");
}

#[test]
fn a_locked_database_is_waited_for_and_then_told() {
    let (_folder, path) = folder();
    let locker = Connection::open(&path).unwrap();
    let schema =
        "CREATE TABLE memories(content TEXT, content_hash TEXT, created_at REAL); BEGIN EXCLUSIVE;";
    locker.execute_batch(schema).unwrap();
    let locked = refusal(&path);
    assert!(matches!(locked, SourceError::Locked { .. }), "{locked}");
    assert!(locked.is_passing());
    // One that is open already tells the same, and goes on afterwards.
    locker.execute_batch("COMMIT").unwrap();
    let source = Source::open_within(&path, Duration::from_millis(20)).unwrap();
    locker.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert!(matches!(source.count(), Err(SourceError::Locked { .. })));
    locker.execute_batch("COMMIT").unwrap();
    assert_eq!(source.count().unwrap(), 0);
}

type Rows = Vec<Result<SourceMemory, RefusedRow>>;

fn rows(path: &Path) -> Rows {
    let source = Source::open(path).unwrap();
    let (mut rows, mut after) = (Vec::new(), i64::MIN);
    while let Some(next) = {
        let page = source.page(after, 3, 1 << 20).unwrap();
        rows.extend(page.rows);
        page.next
    } {
        after = next;
    }
    rows
}

fn why(row: &Result<SourceMemory, RefusedRow>) -> &str {
    &row.as_ref().unwrap_err().why
}

#[test]
fn odd_rows_cost_nobody_else_anything() {
    let (_folder, path) = folder();
    let database = PythonDatabase::create(&path, Release::V12, 8).unwrap();
    let add = |row: Row| database.add(&row).unwrap();
    let upper = "AB".repeat(32);
    add(Row::new("good"));
    add(Row { hash: Some("mem_123".to_owned()), ..Row::new("bad hash") });
    add(Row { hash: Some(upper.clone()), ..Row::new("upper case") });
    add(Row { hash: Some("CD".repeat(32)), ..Row::new("upper case of another") });
    add(Row { hash: Some("cd".repeat(32)), ..Row::new("lower case of another") });
    add(Row { created_at: -1.0, ..Row::new("negative") });
    add(Row { created_at: 1e15, ..Row::new("beyond all stamps") });
    add(Row { updated_at: 4e9, created_at: 4e9, ..Row::new("in a hundred years") });
    add(Row { metadata: Some("not json".to_owned()), ..Row::new("metadata is no JSON") });
    add(Row { metadata: Some("[1]".to_owned()), ..Row::new("metadata is a list") });
    add(Row { metadata: None, tags: None, memory_type: None, ..Row::new("nothing at all") });
    add(Row { tags: Some(format!("fine,{}", "x".repeat(200))), ..Row::new("a tag too long") });
    add(Row { memory_type: Some("t".repeat(500)), ..Row::new("a type too long") });
    add(Row::new("  \n "));
    add(Row::new("with \0 inside"));
    add(Row::new(&"ten million ".repeat(900_000)));
    let long = add(Row::new(&"x".repeat(26 << 20)));
    let bad_utf8 = add(Row::new("bad utf-8"));
    database
        .conn()
        .execute("UPDATE memories SET content = CAST(x'41ff42' AS TEXT) WHERE id = ?1", [bad_utf8])
        .unwrap();
    let typed = add(Row::new("12345"));
    let sql = "UPDATE memories SET created_at = '1700000000.25', metadata = x'7b7d', tags = 7 WHERE id = ?1";
    database.conn().execute(sql, [typed]).unwrap();
    let timeless = add(Row::new("without an instant"));
    let sql = "UPDATE memories SET created_at = NULL, created_at_iso = ?2 WHERE id = ?1";
    database.conn().execute(sql, (timeless, "2024-05-06T07:08:09.123456Z")).unwrap();
    let eternal = add(Row::new("without any instant"));
    let sql = "UPDATE memories SET created_at = NULL, created_at_iso = NULL WHERE id = ?1";
    database.conn().execute(sql, [eternal]).unwrap();

    let rows = rows(&path);
    assert_eq!(rows.len(), 21);
    let good = |at: usize| rows[at].as_ref().unwrap();
    assert_eq!(good(0).id, MemoryId::of("good"));
    assert_eq!(why(&rows[1]), "its hash is not of 64 hex digits");
    assert_eq!(rows[1].as_ref().unwrap_err().hash.as_deref(), Some("mem_123"));
    assert_eq!(good(2).id.to_string(), upper.to_lowercase());
    assert_eq!(why(&rows[3]), "row 5 has the same hash and is read instead");
    assert_eq!(good(4).content, "lower case of another");
    assert_eq!(why(&rows[5]), "the created_at of its row is no instant");
    assert_eq!(why(&rows[6]), "the created_at of its row is no instant");
    assert_eq!(good(7).shown.created_at.0, 4_000_000_000_000_000);
    for (at, kept) in [(8, "not json"), (9, "[1]")] {
        assert!(good(at).shown.metadata.is_empty());
        assert_eq!(good(at).carried.extra["metadata"], kept);
        assert_eq!(good(at).remarks.len(), 1);
    }
    assert_eq!((good(10).shown.kind.as_str(), good(10).remarks.len()), ("note", 0));
    assert_eq!(good(11).shown.tags, ["fine".to_owned()].into());
    assert!(good(11).carried.extra["tags"].as_str().unwrap().starts_with("fine,xxx"));
    assert_eq!(good(12).carried.extra["memory_type"], "t".repeat(500));
    assert_eq!(good(12).shown.kind, "note");
    assert!(
        why(&rows[13]).contains("white space") || why(&rows[13]).contains("blank"),
        "{}",
        why(&rows[13])
    );
    assert!(why(&rows[14]).contains("NUL"), "{}", why(&rows[14]));
    assert_eq!(good(15).content.len(), 10_800_000);
    assert_eq!(rows[16].as_ref().unwrap_err().rowid, long);
    assert!(why(&rows[16]).contains("26214400"), "{}", why(&rows[16]));
    assert_eq!(why(&rows[17]), "its content is no valid UTF-8 at byte 1");
    assert_eq!(good(18).shown.created_at.0, 1_700_000_000_250_000);
    assert_eq!(good(18).shown.tags, ["7".to_owned()].into());
    assert_eq!(good(19).shown.created_at.0, 1_714_979_289_123_456);
    assert_eq!(why(&rows[20]), "it has no created_at");
}

#[test]
fn null_and_double_hashes_of_a_table_that_allows_them() {
    let (_folder, path) = folder();
    let conn = Connection::open(&path).unwrap();
    let hash = "ab".repeat(32);
    conn.execute_batch(&format!(
        "CREATE TABLE memories(id INTEGER PRIMARY KEY, content_hash TEXT, content TEXT, created_at REAL,
           updated_at REAL, deleted_at REAL);
         INSERT INTO memories VALUES (1, NULL, 'no hash', 1, 1, NULL), (2, '{hash}', 'older', 1, 1, NULL),
           (3, '{hash}', 'newer', 1, 9, NULL), (4, '{hash}', 'deleted', 1, 20, 20), (5, '{}', NULL, 1, 1, NULL),
           (6, '{}', 'fine', 1, 1, NULL);",
        "1".repeat(64),
        "2".repeat(64)
    ))
    .unwrap();
    let rows = rows(&path);
    assert_eq!(why(&rows[0]), "it has no hash");
    assert_eq!(why(&rows[1]), "row 3 has the same hash and is read instead");
    assert_eq!(rows[2].as_ref().unwrap().content, "newer");
    assert_eq!(why(&rows[3]), "row 3 has the same hash and is read instead");
    assert_eq!(why(&rows[4]), "it has no text");
    assert_eq!(rows[5].as_ref().unwrap().content, "fine");
}

#[test]
fn vectors_that_are_not_where_they_should_be_are_left_out() {
    let (_folder, path) = folder();
    let database = PythonDatabase::create(&path, Release::V10, 4).unwrap();
    let vector = |x: f32| Some(vec![x, 0.0, 0.0, 1.0]);
    for x in [1.0, f32::NAN, 3.0] {
        database.add(&Row { vector: vector(x), ..Row::new(&format!("text {x}")) }).unwrap();
    }
    let source = Source::open(&path).unwrap();
    let read = source.vectors(&[1, 2, 3, 4]).unwrap();
    assert_eq!(read.len(), 3);
    assert_eq!(read[&3], [3.0, 0.0, 0.0, 1.0]);
    assert!(read[&2][0].is_nan(), "as it stands");
    // The chunk is cut off behind the second vector.
    let cut = "UPDATE memory_embeddings_vector_chunks00 SET vectors = substr(vectors, 1, 40)";
    database.conn().execute_batch(cut).unwrap();
    let read = source.vectors(&[1, 2, 3]).unwrap();
    assert_eq!(read.keys().copied().collect::<std::collections::BTreeSet<_>>(), [1, 2].into());
}
