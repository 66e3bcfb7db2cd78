//! A database in the service's layout that a test writes by itself, as the service does: one commit a change.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use memtide::model::id::MemoryId;
use rusqlite::Connection;
use std::path::{Path, PathBuf};

const WITH_DELETIONS: &str = "CREATE TABLE metadata (key TEXT PRIMARY KEY, value TEXT NOT NULL);
  INSERT INTO metadata VALUES ('distance_metric', 'cosine'), ('schema_version', '19');
  CREATE TABLE memories (id INTEGER PRIMARY KEY AUTOINCREMENT, content_hash TEXT UNIQUE NOT NULL,
    content TEXT NOT NULL, tags TEXT, memory_type TEXT, metadata TEXT, created_at REAL, updated_at REAL,
    created_at_iso TEXT, updated_at_iso TEXT, deleted_at REAL DEFAULT NULL, store TEXT DEFAULT 'default',
    parent_id TEXT, version INTEGER DEFAULT 1, confidence REAL DEFAULT 1.0, last_accessed INTEGER,
    superseded_by TEXT, embedding_pending INTEGER NOT NULL DEFAULT 0);
  CREATE TABLE memory_graph (source_hash TEXT NOT NULL, target_hash TEXT NOT NULL, similarity REAL NOT NULL,
    connection_types TEXT NOT NULL, metadata TEXT, created_at REAL NOT NULL,
    relationship_type TEXT DEFAULT 'related', PRIMARY KEY (source_hash, target_hash));";

const WITHOUT_DELETIONS: &str = "CREATE TABLE memories (id INTEGER PRIMARY KEY AUTOINCREMENT,
    content_hash TEXT UNIQUE NOT NULL, content TEXT NOT NULL, tags TEXT, memory_type TEXT, metadata TEXT,
    created_at REAL, updated_at REAL, created_at_iso TEXT, updated_at_iso TEXT);";

/// Columns of a release that keeps no deletions.
const N_OLD_COLUMNS: usize = 10;

/// Seconds since the epoch at which the first memory is stored; each later change is a second later.
pub const BEGIN: f64 = 1_700_000_000.25;

/// The database, open as the service has it.
pub struct Written {
    path: PathBuf,
    conn: Connection,
    now: f64,
}

impl Written {
    /// A new one of release 12.
    pub fn new(path: &Path) -> Self {
        Self::of(path, WITH_DELETIONS)
    }

    /// A new one of a release that keeps no deletions.
    pub fn old(path: &Path) -> Self {
        Self::of(path, WITHOUT_DELETIONS)
    }

    fn of(path: &Path, schema: &str) -> Self {
        let conn = Connection::open(path).unwrap();
        conn.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;").unwrap();
        conn.execute_batch(schema).unwrap();
        Self { path: path.to_owned(), conn, now: BEGIN }
    }

    /// Its file.
    pub fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// The connection.
    pub fn conn(&self) -> &Connection {
        &self.conn
    }

    /// Stores a text; gives its hash.
    pub fn store(&mut self, text: &str, tags: &str) -> String {
        let hash = MemoryId::of(text).to_string();
        self.now += 1.0;
        let sql =
            "INSERT INTO memories(content_hash, content, tags, memory_type, metadata, created_at,
               updated_at) VALUES (?1, ?2, ?3, 'note', '{\"k\": 1}', ?4, ?4)";
        self.conn.prepare_cached(sql).unwrap().execute((&hash, text, tags, self.now)).unwrap();
        hash
    }

    /// Stores many texts in one commit.
    pub fn fill(&mut self, texts: impl Iterator<Item = String>) {
        self.conn.execute_batch("BEGIN").unwrap();
        for text in texts {
            self.store(&text, "filled");
        }
        self.conn.execute_batch("COMMIT").unwrap();
    }

    /// Gives a memory other tags.
    pub fn retag(&mut self, hash: &str, tags: &str) {
        self.now += 1.0;
        let sql = "UPDATE memories SET tags = ?2, updated_at = ?3 WHERE content_hash = ?1";
        assert_eq!(self.conn.execute(sql, (hash, tags, self.now)).unwrap(), 1);
    }

    /// Deletes a memory, which stays as a tombstone.
    pub fn delete(&mut self, hash: &str) {
        self.now += 1.0;
        let sql = "UPDATE memories SET deleted_at = ?2 WHERE content_hash = ?1";
        assert_eq!(self.conn.execute(sql, (hash, self.now)).unwrap(), 1);
    }

    /// Removes the row of a memory.
    pub fn purge(&mut self, hash: &str) {
        let sql = "DELETE FROM memories WHERE content_hash = ?1";
        assert_eq!(self.conn.execute(sql, [hash]).unwrap(), 1);
    }

    /// Every hash, whether it is alive, and its tags.
    pub fn all(&self) -> Vec<(String, bool, String)> {
        let columns = "SELECT * FROM memories LIMIT 0";
        let columns = self.conn.prepare(columns).unwrap().column_count();
        let alive = if columns > N_OLD_COLUMNS { "deleted_at IS NULL" } else { "1" };
        self.conn
            .prepare(&format!(
                "SELECT content_hash, {alive}, coalesce(tags, '') FROM memories ORDER BY 1"
            ))
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    }
}
