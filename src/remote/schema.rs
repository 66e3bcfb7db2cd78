//! What the database holds: the Python service's tables as they are, and memtide's side tables and
//! triggers beside them.
//!
//! `mt_entry` holds each memory's state, also when its row is gone. `mt_feed` holds each id once, at
//! its newest position; `AUTOINCREMENT` keeps a position from being used twice. `mt_heads` holds a
//! random mark for each position, by which a device notices that the database was put back; whoever moves
//! the feed marks its positions too, for a database that refuses triggers.
//! `mt_stage` holds a batch while it is applied: as long as it has a row, the triggers are quiet.
//! Whatever the Python service writes moves the feed through the triggers.
//!
//! Trigger bodies never say `OR REPLACE`: a conflict clause of the outer statement would override
//! it, and the service's `INSERT OR IGNORE` would leave the feed where it was. They are one line
//! each and sent alone, as D1's parser cuts at line ends and semicolons otherwise.

use super::d1::{D1, Statement, StatementResult};
use super::error::{Disposition, Product, RemoteError};
use std::collections::BTreeSet;

/// Version of the side tables.
pub const VERSION: u32 = 1;
/// Memories that one request of the first fill puts into the feed.
pub const FILL_PAGE: u32 = 10_000;
/// Marks of the newest positions that are kept.
pub const HEADS_KEPT: u32 = 10_000;

const TABLES: &[(&str, &str)] = &[
    (
        "memories",
        "CREATE TABLE IF NOT EXISTS memories (id INTEGER PRIMARY KEY AUTOINCREMENT, content_hash TEXT UNIQUE NOT NULL, content TEXT NOT NULL, memory_type TEXT, created_at REAL NOT NULL, created_at_iso TEXT NOT NULL, updated_at REAL, updated_at_iso TEXT, metadata_json TEXT, vector_id TEXT UNIQUE, content_size INTEGER DEFAULT 0, r2_key TEXT, tags TEXT, deleted_at REAL DEFAULT NULL)",
    ),
    (
        "tags",
        "CREATE TABLE IF NOT EXISTS tags (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL)",
    ),
    (
        "memory_tags",
        "CREATE TABLE IF NOT EXISTS memory_tags (memory_id INTEGER, tag_id INTEGER, PRIMARY KEY (memory_id, tag_id), FOREIGN KEY (memory_id) REFERENCES memories(id) ON DELETE CASCADE, FOREIGN KEY (tag_id) REFERENCES tags(id) ON DELETE CASCADE)",
    ),
    (
        "idx_memories_content_hash",
        "CREATE INDEX IF NOT EXISTS idx_memories_content_hash ON memories(content_hash)",
    ),
    (
        "idx_memories_created_at",
        "CREATE INDEX IF NOT EXISTS idx_memories_created_at ON memories(created_at)",
    ),
    (
        "idx_memories_vector_id",
        "CREATE INDEX IF NOT EXISTS idx_memories_vector_id ON memories(vector_id)",
    ),
    (
        "idx_memories_deleted_at",
        "CREATE INDEX IF NOT EXISTS idx_memories_deleted_at ON memories(deleted_at)",
    ),
    ("idx_tags_name", "CREATE INDEX IF NOT EXISTS idx_tags_name ON tags(name)"),
    (
        "mt_entry",
        "CREATE TABLE IF NOT EXISTS mt_entry (id TEXT PRIMARY KEY, state TEXT NOT NULL, dg INTEGER NOT NULL) WITHOUT ROWID",
    ),
    (
        "mt_feed",
        "CREATE TABLE IF NOT EXISTS mt_feed (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, at INTEGER NOT NULL DEFAULT (unixepoch()))",
    ),
    ("mt_heads", "CREATE TABLE IF NOT EXISTS mt_heads (seq INTEGER PRIMARY KEY, n TEXT NOT NULL)"),
    ("mt_stage", "CREATE TABLE IF NOT EXISTS mt_stage (j TEXT NOT NULL)"),
    ("mt_meta", "CREATE TABLE IF NOT EXISTS mt_meta (k TEXT PRIMARY KEY, v TEXT NOT NULL)"),
];

/// Columns that old databases of the Python service lack.
const LATE_COLUMNS: &[(&str, &str)] = &[
    ("tags", "ALTER TABLE memories ADD COLUMN tags TEXT"),
    ("deleted_at", "ALTER TABLE memories ADD COLUMN deleted_at REAL DEFAULT NULL"),
];

const TRIGGERS: &[(&str, &str)] = &[
    (
        "mt_t0",
        "CREATE TRIGGER IF NOT EXISTS mt_t0 AFTER INSERT ON mt_feed BEGIN INSERT INTO mt_heads(seq, n) VALUES (NEW.seq, hex(randomblob(8))); END;",
    ),
    (
        "mt_t1",
        "CREATE TRIGGER IF NOT EXISTS mt_t1 AFTER INSERT ON memories WHEN NOT EXISTS (SELECT 1 FROM mt_stage) BEGIN DELETE FROM mt_feed WHERE id = NEW.content_hash; INSERT INTO mt_feed(id) VALUES (NEW.content_hash); END;",
    ),
    (
        "mt_t2",
        "CREATE TRIGGER IF NOT EXISTS mt_t2 AFTER UPDATE ON memories WHEN NOT EXISTS (SELECT 1 FROM mt_stage) BEGIN DELETE FROM mt_feed WHERE id = NEW.content_hash; INSERT INTO mt_feed(id) VALUES (NEW.content_hash); END;",
    ),
    (
        "mt_t3",
        "CREATE TRIGGER IF NOT EXISTS mt_t3 AFTER DELETE ON memories WHEN NOT EXISTS (SELECT 1 FROM mt_stage) BEGIN DELETE FROM mt_feed WHERE id = OLD.content_hash; INSERT INTO mt_feed(id) VALUES (OLD.content_hash); END;",
    ),
    (
        "mt_t4",
        "CREATE TRIGGER IF NOT EXISTS mt_t4 AFTER INSERT ON memory_tags WHEN NOT EXISTS (SELECT 1 FROM mt_stage) AND (SELECT content_hash FROM memories WHERE id = NEW.memory_id) IS NOT NULL BEGIN DELETE FROM mt_feed WHERE id = (SELECT content_hash FROM memories WHERE id = NEW.memory_id); INSERT INTO mt_feed(id) SELECT content_hash FROM memories WHERE id = NEW.memory_id; END;",
    ),
    (
        "mt_t5",
        "CREATE TRIGGER IF NOT EXISTS mt_t5 AFTER DELETE ON memory_tags WHEN NOT EXISTS (SELECT 1 FROM mt_stage) AND (SELECT content_hash FROM memories WHERE id = OLD.memory_id) IS NOT NULL BEGIN DELETE FROM mt_feed WHERE id = (SELECT content_hash FROM memories WHERE id = OLD.memory_id); INSERT INTO mt_feed(id) SELECT content_hash FROM memories WHERE id = OLD.memory_id; END;",
    ),
];

const FILL: &str = "INSERT OR IGNORE INTO mt_feed(id) SELECT content_hash FROM memories WHERE id > CAST(?1 AS INTEGER) ORDER BY id LIMIT CAST(?2 AS INTEGER)";
/// What `mt_t0` does, where it is refused.
const FILL_MARKS: &str = "INSERT OR IGNORE INTO mt_heads(seq, n) SELECT f.seq, hex(randomblob(8)) FROM (SELECT content_hash FROM memories WHERE id > CAST(?1 AS INTEGER) ORDER BY id LIMIT CAST(?2 AS INTEGER)) m CROSS JOIN mt_feed f ON f.id = m.content_hash";
const FILL_PROGRESS: &str = "INSERT INTO mt_meta(k, v) SELECT 'feed_filled', COALESCE(CAST(max(id) AS TEXT), 'done') FROM (SELECT id FROM memories WHERE id > CAST(?1 AS INTEGER) ORDER BY id LIMIT CAST(?2 AS INTEGER)) WHERE true ON CONFLICT(k) DO UPDATE SET v = excluded.v";
const FILL_PAGE_SIZE: &str = "SELECT v, (SELECT count(*) FROM (SELECT id FROM memories WHERE id > CAST(?1 AS INTEGER) ORDER BY id LIMIT CAST(?2 AS INTEGER))) AS n FROM mt_meta WHERE k = 'feed_filled'";
const FILLED: &str = "SELECT v FROM mt_meta WHERE k = 'feed_filled'";
const DONE: &str = "done";

/// Which of the tables, indexes and triggers a database has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Existing {
    names: BTreeSet<String>,
    columns: BTreeSet<String>,
}

/// Whether other writers move the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Triggers {
    /// All triggers are there.
    Complete,
    /// The database refuses triggers; others' writes must be looked for.
    Refused(RemoteError),
}

/// What [`create`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Tables, indexes, columns and triggers that were missing.
    pub created: Vec<String>,
    /// The triggers.
    pub triggers: Triggers,
    /// Memories that were there before and are in the feed since.
    pub filled: u64,
}

impl Existing {
    /// Whether the Python service, or memtide, has made its tables.
    pub fn has_memories(&self) -> bool {
        self.names.contains("memories")
    }

    /// Whether memtide has made its side tables.
    pub fn has_side_tables(&self) -> bool {
        self.names.contains("mt_meta")
    }

    /// The columns of the Python service's table.
    pub fn columns(&self) -> &BTreeSet<String> {
        &self.columns
    }

    /// Names of what is missing, triggers included.
    pub fn missing(&self) -> Vec<&'static str> {
        let all = TABLES.iter().chain(TRIGGERS).map(|(name, _)| *name);
        let columns = LATE_COLUMNS.iter().map(|(name, _)| *name);
        let columns = columns.filter(|name| self.has_memories() && !self.columns.contains(*name));
        all.filter(|name| !self.names.contains(*name)).chain(columns).collect()
    }
}

/// Looks at what the database has.
///
/// # Errors
/// The request failed.
pub async fn inspect(d1: &D1) -> Result<Existing, RemoteError> {
    let names = "SELECT name FROM sqlite_master WHERE type IN ('table', 'index', 'trigger')";
    let statements = [Statement::plain(names), Statement::plain("PRAGMA table_info(memories)")];
    let results = d1.batch(&statements).await?;
    let column = |result: Option<&StatementResult>| -> BTreeSet<String> {
        let rows = result.into_iter().flat_map(StatementResult::rows);
        rows.filter_map(|row| row.text("name").map(str::to_owned)).collect()
    };
    Ok(Existing { names: column(results.first()), columns: column(results.get(1)) })
}

/// Makes whatever is missing, and puts memories that were there before into the feed.
///
/// # Errors
/// A request failed. What was made before stays; calling it again goes on.
pub async fn create(d1: &D1) -> Result<Report, RemoteError> {
    let existing = inspect(d1).await?;
    let mut created: Vec<String> = existing.missing().into_iter().map(str::to_owned).collect();
    let columns = LATE_COLUMNS
        .iter()
        .filter(|(name, _)| existing.has_memories() && !existing.columns.contains(*name));
    let tables = TABLES.iter().filter(|(name, _)| !existing.names.contains(*name));
    let statements: Vec<Statement> =
        columns.chain(tables).map(|(_, sql)| Statement::plain(*sql)).collect();
    d1.batch(&statements).await?;
    let triggers = create_triggers(d1, &existing).await?;
    if let Triggers::Refused(_) = triggers {
        created.retain(|name| !TRIGGERS.iter().any(|(trigger, _)| trigger == name));
    }
    Ok(Report { created, triggers, filled: fill(d1).await? })
}

async fn create_triggers(d1: &D1, existing: &Existing) -> Result<Triggers, RemoteError> {
    for (name, sql) in TRIGGERS {
        if existing.names.contains(*name) {
            continue;
        }
        match d1.run(Statement::plain(*sql)).await {
            Ok(_) => {}
            Err(error) if error.disposition == Disposition::Park => {
                return Ok(Triggers::Refused(error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Triggers::Complete)
}

/// Puts memories that are not in the feed there, page by page; goes on where it was stopped.
async fn fill(d1: &D1) -> Result<u64, RemoteError> {
    let mut filled = 0;
    let mut after = d1.run(Statement::plain(FILLED)).await?.first().and_then(value);
    while after.as_deref() != Some(DONE) {
        let position = after.unwrap_or_else(|| "0".to_owned());
        let params = vec![Some(position), Some(FILL_PAGE.to_string())];
        let statements = [
            Statement::new(FILL, params.clone()),
            Statement::new(FILL_MARKS, params.clone()),
            Statement::new(FILL_PROGRESS, params.clone()),
            Statement::new(FILL_PAGE_SIZE, params),
        ];
        let results = d1.batch(&statements).await?;
        let page = results.get(3).and_then(StatementResult::first);
        let count = page.and_then(|row| row.integer("n"));
        filled += count.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
        after = page.and_then(value);
        if after.is_none() {
            return Err(RemoteError::unreadable(
                Product::D1,
                "the progress of the fill is missing",
            ));
        }
    }
    Ok(filled)
}

fn value(row: super::d1::Row<'_>) -> Option<String> {
    row.text("v").map(str::to_owned)
}

/// Deletes the marks of all but the newest positions.
pub fn prune_heads() -> Statement {
    let sql =
        "DELETE FROM mt_heads WHERE seq <= (SELECT max(seq) FROM mt_heads) - CAST(?1 AS INTEGER)";
    Statement::new(sql, vec![Some(HEADS_KEPT.to_string())])
}

#[cfg(test)]
mod tests;
