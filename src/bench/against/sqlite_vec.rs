//! sqlite-vec as it comes: its `vec0` table of single precision in a file of its own, read as memtide reads its
//! file, by both measures; and once with the file mapped into memory, which memtide doesn't do but which is what
//! speeds a `vec0` table up the most.

use super::vectors::Vectors;
use super::{Answer, Case, K, Shape, Side};
use crate::bench::stopwatch::Stopwatch;
use crate::model::space::UnitVector;
use crate::store::know_vector_tables;
use anyhow::Context as _;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// By distance.
pub const STRAIGHT: &str = "sqlite-vec, vec0 f32 L2";
/// By cosine.
pub const COSINE: &str = "sqlite-vec, vec0 f32 cosine";
/// By distance, the file mapped.
pub const MAPPED: &str = "sqlite-vec, vec0 f32 L2, file mapped";

const SHAPES: &[Shape] = &[
    Shape { name: STRAIGHT, case: Case::All, answers: true },
    Shape { name: COSINE, case: Case::All, answers: true },
    Shape { name: MAPPED, case: Case::All, answers: true },
];
/// Rows of one transaction.
const GROUP: usize = 5000;

/// Two tables with the vectors.
pub struct SqliteVec {
    conn: Connection,
    mapped: Connection,
    queries: Vec<UnitVector>,
}

impl SqliteVec {
    /// Fills the tables in `folder`.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn fill(folder: &Path, vectors: &Vectors) -> anyhow::Result<Self> {
        know_vector_tables();
        let path = folder.join("vec0.db");
        let writer = Connection::open(&path)?;
        let dims = vectors.dims;
        writer.execute_batch(&format!(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             CREATE VIRTUAL TABLE straight USING vec0(vec float[{dims}] distance_metric=l2);
             CREATE VIRTUAL TABLE cosine USING vec0(vec float[{dims}] distance_metric=cosine);"
        ))?;
        for table in ["straight", "cosine"] {
            let sql = format!("INSERT INTO {table}(rowid, vec) VALUES (?1, ?2)");
            for first in (0..vectors.len()).step_by(GROUP) {
                writer.execute_batch("BEGIN")?;
                let mut insert = writer.prepare_cached(&sql)?;
                for row in first..(first + GROUP).min(vectors.len()) {
                    insert.execute((row, bytes(vectors.row(row))))?;
                }
                drop(insert);
                writer.execute_batch("COMMIT")?;
            }
        }
        writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        drop(writer);
        let queries = vectors.queries.clone();
        Ok(Self { conn: open(&path, 0)?, mapped: open(&path, 1 << 40)?, queries })
    }
}

/// Opens it with what a reader of memtide's store has.
fn open(path: &Path, mapped_bytes: i64) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.execute_batch(
        "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA cache_size = -8192;
         PRAGMA temp_store = MEMORY; PRAGMA busy_timeout = 5000;",
    )?;
    conn.pragma_update(None, "mmap_size", mapped_bytes)?;
    Ok(conn)
}

fn bytes(row: &[f32]) -> Vec<u8> {
    row.iter().flat_map(|one| one.to_le_bytes()).collect()
}

impl Side for SqliteVec {
    fn shapes(&self) -> &'static [Shape] {
        SHAPES
    }

    fn ask(&mut self, shape: &Shape, queries: &[usize]) -> anyhow::Result<Vec<Answer>> {
        let table = if shape.name == COSINE { "cosine" } else { "straight" };
        let conn = if shape.name == MAPPED { &self.mapped } else { &self.conn };
        let mut statement = conn.prepare_cached(&format!(
            "SELECT rowid FROM {table} WHERE vec MATCH ?1 AND k = ?2 ORDER BY distance"
        ))?;
        let mut answers = Vec::with_capacity(queries.len());
        for query in queries {
            let query = self.queries.get(*query).context("no such query")?;
            let watch = Stopwatch::start();
            let rows = statement.query_map((query.to_bytes(), K), |row| row.get(0))?;
            let rows = rows.collect::<rusqlite::Result<Vec<usize>>>()?;
            answers.push(Answer { rows, took: watch.elapsed() });
        }
        Ok(answers)
    }
}
