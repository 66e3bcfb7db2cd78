//! What mcp-memory-service does in SQL for a search, on a file in the schema of its release 10.59 and with its
//! settings of the connection. Only SQLite's part: neither Python nor its objects nor its locks, so it is faster
//! here than the service is.

use super::vectors::Vectors;
use super::{Answer, Case, K, Rows, Shape, Side, TAG};
use crate::bench::python_database::{PythonDatabase, Release, Row};
use crate::bench::stopwatch::Stopwatch;
use crate::model::space::UnitVector;
use anyhow::Context as _;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::Path;

/// A count, which precedes each search.
pub const COUNT: &str = "python service, count of vectors";
/// The nearest memories.
pub const NEAREST: &str = "python service, KNN and JOIN";
/// A whole search: count, nearest memories, and what is written back to each that was found.
pub const RETRIEVE: &str = "python service, whole retrieve";
/// With a tag: as many as it may fetch, looked through.
pub const TAGGED: &str = "python service, with a tag";
/// Since a time, the same way.
pub const LATE: &str = "python service, since a time";
/// With a tag, as releases from 12 on ask: the table of vectors is told who passes.
pub const TAGGED_12: &str = "python service 12, with a tag";

const SHAPES: &[Shape] = &[
    Shape { name: COUNT, case: Case::All, answers: false },
    Shape { name: NEAREST, case: Case::All, answers: true },
    Shape { name: RETRIEVE, case: Case::All, answers: true },
    Shape { name: TAGGED, case: Case::Tagged, answers: true },
    Shape { name: LATE, case: Case::Late, answers: true },
    Shape { name: TAGGED_12, case: Case::Tagged, answers: true },
];
/// The most that `vec0` answers.
const OVER_FETCH: usize = 4096;
/// Rows of one transaction.
const GROUP: usize = 2000;
/// When the memories were stored, in seconds: before, and of late.
const BEFORE: f64 = 1.70e9;
const OF_LATE: f64 = 1.75e9;

const COLUMNS: &str = "m.id, m.content_hash, m.content, m.tags, m.memory_type, m.metadata, m.created_at, \
     m.updated_at, m.created_at_iso, m.updated_at_iso, e.distance";

/// A file as the service has it.
pub struct PythonService {
    database: PythonDatabase,
    queries: Vec<UnitVector>,
}

/// What the service reads of a memory.
struct Found {
    row: usize,
    hash: String,
    tags: String,
    metadata: String,
    created_at: f64,
}

impl PythonService {
    /// Fills the file in `folder`.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn fill(folder: &Path, vectors: &Vectors, texts: Rows) -> anyhow::Result<Self> {
        let path = folder.join("sqlite_vec.db");
        let database = PythonDatabase::create(&path, Release::V10, vectors.dims)?;
        let conn = database.conn();
        conn.execute_batch(
            "PRAGMA busy_timeout = 5000; PRAGMA cache_size = 10000; PRAGMA temp_store = MEMORY;",
        )?;
        conn.execute_batch("BEGIN")?;
        for (row, (text, tags)) in texts.enumerate() {
            if row > 0 && row % GROUP == 0 {
                conn.execute_batch("COMMIT; BEGIN")?;
            }
            let at = if Case::Late.passes(row, vectors.len()) { OF_LATE } else { BEFORE };
            let rowid = database.add(&Row {
                tags: Some(tags.join(",")),
                created_at: at,
                updated_at: at,
                vector: Some(vectors.row(row).to_vec()),
                ..Row::new(&text)
            })?;
            anyhow::ensure!(usize::try_from(rowid)? == row + 1, "rows have other numbers");
        }
        conn.execute_batch("COMMIT")?;
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        Ok(Self { database, queries: vectors.queries.clone() })
    }

    fn answer(&self, shape: &Shape, query: &UnitVector) -> anyhow::Result<Vec<usize>> {
        let conn = self.database.conn();
        let has_tag = |one: &Found| one.tags.split(',').any(|tag| tag.trim() == TAG);
        let found = match shape.name {
            COUNT => {
                count(conn)?;
                Vec::new()
            }
            NEAREST => nearest(conn, query, K, K)?,
            RETRIEVE => {
                count(conn)?;
                let found = nearest(conn, query, K, K)?;
                write_back(conn, &found)?;
                found
            }
            TAGGED => {
                let mut found = nearest(conn, query, OVER_FETCH, OVER_FETCH)?;
                found.retain(has_tag);
                found
            }
            LATE => {
                let mut found = nearest(conn, query, OVER_FETCH, OVER_FETCH)?;
                found.retain(|one| one.created_at >= OF_LATE);
                found
            }
            _ => among_tagged(conn, query)?,
        };
        Ok(found.into_iter().take(K).map(|one| one.row).collect())
    }
}

impl Side for PythonService {
    fn shapes(&self) -> &'static [Shape] {
        SHAPES
    }

    fn ask(&mut self, shape: &Shape, queries: &[usize]) -> anyhow::Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(queries.len());
        for query in queries {
            let query = self.queries.get(*query).context("no such query")?;
            let watch = Stopwatch::start();
            let rows = self.answer(shape, query)?;
            answers.push(Answer { rows, took: watch.elapsed() });
        }
        Ok(answers)
    }
}

fn count(conn: &Connection) -> rusqlite::Result<i64> {
    let sql = "SELECT count(*) FROM memory_embeddings";
    conn.prepare_cached(sql)?.query_row([], |row| row.get(0))
}

fn nearest(
    conn: &Connection,
    query: &UnitVector,
    k: usize,
    limit: usize,
) -> rusqlite::Result<Vec<Found>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM memories m
         JOIN (SELECT rowid, distance FROM memory_embeddings
               WHERE content_embedding MATCH ?1 AND k = ?2) e ON m.id = e.rowid
         WHERE m.deleted_at IS NULL ORDER BY e.distance LIMIT ?3"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map((query.to_bytes(), k, limit), found)?;
    rows.collect()
}

fn among_tagged(conn: &Connection, query: &UnitVector) -> rusqlite::Result<Vec<Found>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM memories m
         JOIN (SELECT rowid, distance FROM memory_embeddings
               WHERE content_embedding MATCH ?1 AND k = ?2 AND rowid IN (
                 SELECT id FROM memories WHERE deleted_at IS NULL AND ',' || tags || ',' LIKE ?3
               )) e ON m.id = e.rowid
         ORDER BY e.distance"
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement.query_map((query.to_bytes(), K, format!("%,{TAG},%")), found)?;
    rows.collect()
}

fn found(row: &rusqlite::Row<'_>) -> rusqlite::Result<Found> {
    // The service makes an object of every row, of all its columns.
    let _text: (String, String) = (row.get(2)?, row.get(4)?);
    let _times: (f64, String, String) = (row.get(7)?, row.get(8)?, row.get(9)?);
    let _distance: f64 = row.get(10)?;
    let id: usize = row.get(0)?;
    Ok(Found {
        row: id.saturating_sub(1),
        hash: row.get(1)?,
        tags: row.get(3)?,
        metadata: row.get(5)?,
        created_at: row.get(6)?,
    })
}

/// Notes in each memory that it was found, when, and by what.
fn write_back(conn: &Connection, found: &[Found]) -> anyhow::Result<()> {
    conn.execute_batch("BEGIN")?;
    let mut update =
        conn.prepare_cached("UPDATE memories SET metadata = ?2 WHERE content_hash = ?1")?;
    for one in found {
        let mut metadata: Value = serde_json::from_str(&one.metadata)?;
        let n = metadata.get("access_count").and_then(Value::as_i64).unwrap_or(0) + 1;
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("access_count".to_owned(), json!(n));
            metadata.insert("last_accessed_at".to_owned(), json!(OF_LATE));
            let asked = json!([{"query": "what was asked", "timestamp": OF_LATE}]);
            metadata.insert("access_queries".to_owned(), asked);
        }
        update.execute((&one.hash, metadata.to_string()))?;
    }
    drop(update);
    conn.execute_batch("COMMIT")?;
    Ok(())
}
