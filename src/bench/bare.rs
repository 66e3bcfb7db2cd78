//! The yardstick of a store: one row, one commit, nothing else, as durable as memtide's.

use rusqlite::Connection;
use std::path::Path;

/// A database with one table, opened as memtide opens its own.
pub struct Bare(Connection);

impl Bare {
    /// Creates it in `folder`.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn create(folder: &Path) -> rusqlite::Result<Self> {
        let conn = Connection::open(folder.join("bare.db"))?;
        conn.execute_batch(
            "PRAGMA journal_mode = WAL;
             PRAGMA synchronous = FULL;
             PRAGMA fullfsync = ON;
             PRAGMA wal_autocheckpoint = 0;
             CREATE TABLE row(key INTEGER PRIMARY KEY, content TEXT NOT NULL) STRICT;",
        )?;
        Ok(Self(conn))
    }

    /// Inserts a row and commits.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn commit(&self, content: &str) -> rusqlite::Result<()> {
        self.0.prepare_cached("INSERT INTO row(content) VALUES (?1)")?.execute([content])?;
        Ok(())
    }

    /// Moves the log into the file, outside of what is measured.
    ///
    /// # Errors
    /// SQLite refused.
    pub fn checkpoint(&self) -> rusqlite::Result<()> {
        self.0.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_commit_is_a_row() {
        let dir = tempfile::tempdir().unwrap();
        let bare = Bare::create(dir.path()).unwrap();
        bare.commit("a").unwrap();
        bare.commit("b").unwrap();
        bare.checkpoint().unwrap();
        let n: i64 = bare.0.query_row("SELECT count(*) FROM row", [], |row| row.get(0)).unwrap();
        assert_eq!(n, 2);
        let level: i64 = bare.0.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!(level, 2, "FULL");
    }
}
