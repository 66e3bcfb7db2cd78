//! Which variant of the service's schema a database has: what is there is told by name, nothing is
//! expected but the table of the memories with its hash and its text.

use super::source::SourceError;
use rusqlite::{Connection, OptionalExtension as _};
use std::collections::{BTreeMap, BTreeSet};

/// The newest schema version of the service that this memtide knows, that of its release 12.4.
pub const KNOWN_VERSION: i64 = 19;

/// The table of the vectors.
pub(super) const VECTORS: &str = "memory_embeddings";

/// Columns of the memories that memtide understands.
pub(super) const UNDERSTOOD: [&str; 18] = [
    "id",
    "content_hash",
    "content",
    "tags",
    "memory_type",
    "metadata",
    "created_at",
    "updated_at",
    "created_at_iso",
    "updated_at_iso",
    "deleted_at",
    "store",
    "parent_id",
    "version",
    "confidence",
    "last_accessed",
    "superseded_by",
    "embedding_pending",
];

/// How the vector table measures distance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Metric {
    /// By angle.
    Cosine,
    /// Straight: the service's releases before 8.7, and tables that its tools made.
    L2,
    /// Another one, as it is named there.
    Other(String),
}

impl std::fmt::Display for Metric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cosine => "cosine",
            Self::L2 => "L2",
            Self::Other(name) => name,
        })
    }
}

/// The table of the vectors, as its declaration tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VectorTable {
    /// Components of a vector; `None` if they are no 32-bit numbers.
    pub dims: Option<usize>,
    /// How it measures distance.
    pub metric: Metric,
    /// Whether it is parted by store, as from release 12 on.
    pub is_parted: bool,
    /// Whether the tables are there in which sqlite-vec keeps the vectors.
    pub is_whole: bool,
}

/// The variants that releases of the service wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// Before 8.64: deleted memories leave no trace.
    WithoutDeletions,
    /// Releases 8.64 to 11.
    Unparted,
    /// From release 12 on: parted by stores.
    Parted,
}

impl std::fmt::Display for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::WithoutDeletions => "before release 8.64, which keeps no deletions",
            Self::Unparted => "releases 8.64 to 11",
            Self::Parted => "release 12 or later",
        })
    }
}

/// What a database of the service consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Its variant.
    pub variant: Variant,
    /// The schema version that it names; releases before 12 name none.
    pub schema_version: Option<i64>,
    /// What its table of settings says; `None` without that table.
    pub settings: Option<BTreeMap<String, String>>,
    /// The columns of its memories.
    pub columns: BTreeSet<String>,
    /// Whether it forbids two memories of one hash.
    pub is_hash_unique: bool,
    /// The index that finds deleted memories by when they were, quoted, if there is one.
    pub deletion_index: Option<String>,
    /// Its vectors, if it has a table for them.
    pub vectors: Option<VectorTable>,
    /// Whether it has a keyword index.
    pub has_keyword_index: bool,
    /// Its ordinary tables with their columns, those of SQLite and of virtual tables left out.
    pub tables: BTreeMap<String, BTreeSet<String>>,
    /// How it keeps its journal: `wal`, `delete`…
    pub journal_mode: String,
}

impl Layout {
    /// Reads what a database consists of.
    pub(super) fn read(conn: &Connection) -> Result<Self, SourceError> {
        let declared = declarations(conn)?;
        if declared.get("memories").is_none_or(Declaration::is_virtual) {
            return Err(SourceError::NoMemories { tables: declared.into_keys().collect() });
        }
        let columns = columns_of(conn, "memories")?;
        for needed in ["content_hash", "content"] {
            if !columns.contains(needed) {
                return Err(SourceError::NoColumn { column: needed });
            }
        }
        let has_settings = declared.get("metadata").is_some_and(|table| !table.is_virtual())
            && columns_of(conn, "metadata")?
                .is_superset(&["key", "value"].map(str::to_owned).into());
        let settings = if has_settings { Some(settings(conn)?) } else { None };
        let schema_version = settings
            .as_ref()
            .and_then(|settings| settings.get("schema_version")?.trim().parse::<i64>().ok());
        if let Some(found) = schema_version.filter(|found| *found > KNOWN_VERSION) {
            return Err(SourceError::Newer { found, known: KNOWN_VERSION });
        }
        let vectors = declared.get(VECTORS).filter(|table| table.is_virtual());
        let vectors = vectors.map(|table| vector_table(&table.sql, &declared));
        let virtual_names: Vec<String> = declared
            .iter()
            .filter(|(_, table)| table.is_virtual())
            .map(|(name, _)| format!("{name}_"))
            .collect();
        let mut tables = BTreeMap::new();
        for (name, table) in &declared {
            let is_part = virtual_names.iter().any(|start| name.starts_with(start.as_str()));
            // A backup of the vectors that a crash left behind bears the name of the vector table.
            let is_leftover = name.contains("backup");
            if !table.is_virtual() && (!is_part || is_leftover) {
                tables.insert(name.clone(), columns_of(conn, name)?);
            }
        }
        let variant = match (columns.contains("store"), columns.contains("deleted_at")) {
            (true, _) => Variant::Parted,
            (false, true) => Variant::Unparted,
            (false, false) => Variant::WithoutDeletions,
        };
        Ok(Self {
            variant,
            schema_version,
            settings,
            is_hash_unique: is_unique(conn, "memories", "content_hash")?,
            deletion_index: index_by(conn, "memories", "deleted_at")?,
            columns,
            vectors,
            has_keyword_index: declared
                .get("memory_content_fts")
                .is_some_and(Declaration::is_virtual),
            tables,
            journal_mode: conn.pragma_query_value(None, "journal_mode", |row| row.get(0))?,
        })
    }

    /// Whether the memories have the column.
    pub fn has(&self, column: &str) -> bool {
        self.columns.contains(column)
    }

    /// The columns of an ordinary table, if it is there.
    pub fn table(&self, name: &str) -> Option<&BTreeSet<String>> {
        self.tables.get(name)
    }

    /// Whether a deleted memory stays as a tombstone.
    pub fn keeps_deletions(&self) -> bool {
        self.has("deleted_at")
    }
}

struct Declaration {
    sql: String,
}

impl Declaration {
    fn is_virtual(&self) -> bool {
        self.sql.trim_start().to_ascii_uppercase().starts_with("CREATE VIRTUAL")
    }
}

fn columns_of(conn: &Connection, table: &str) -> rusqlite::Result<BTreeSet<String>> {
    conn.prepare("SELECT name FROM pragma_table_info(?1)")?
        .query_map([table], |row| row.get(0))?
        .collect()
}

/// Tables by name with the text that made them. Views are none: nothing of the source is to be run.
fn declarations(conn: &Connection) -> rusqlite::Result<BTreeMap<String, Declaration>> {
    let sql = "SELECT name, coalesce(sql, '') FROM sqlite_schema
               WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'";
    conn.prepare(sql)?
        .query_map([], |row| Ok((row.get(0)?, Declaration { sql: row.get(1)? })))?
        .collect()
}

fn settings(conn: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    conn.prepare("SELECT key, CAST(value AS TEXT) FROM metadata WHERE value IS NOT NULL")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

fn is_unique(conn: &Connection, table: &str, column: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM pragma_index_list(?1) AS list
               WHERE list.\"unique\" AND NOT list.partial
                 AND (SELECT group_concat(info.name) FROM pragma_index_info(list.name) AS info) = ?2";
    Ok(conn.query_row(sql, (table, column), |_| Ok(())).optional()?.is_some())
}

/// The name, quoted, of an index of all rows that begins with this column.
fn index_by(conn: &Connection, table: &str, column: &str) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT list.name FROM pragma_index_list(?1) AS list
               WHERE NOT list.partial AND EXISTS (SELECT 1 FROM pragma_index_xinfo(list.name) AS info
                 WHERE info.seqno = 0 AND info.name = ?2 AND info.coll = 'BINARY' AND NOT info.\"desc\")";
    let name: Option<String> = conn.query_row(sql, (table, column), |row| row.get(0)).optional()?;
    Ok(name.map(|name| format!("\"{}\"", name.replace('"', "\"\""))))
}

/// Reads the declaration of the vector table; sqlite-vec's grammar allows any case and spacing.
fn vector_table(sql: &str, declared: &BTreeMap<String, Declaration>) -> VectorTable {
    let text = sql.to_ascii_lowercase();
    let dims =
        text.split("float[").nth(1).and_then(|rest| rest.split(']').next()?.trim().parse().ok());
    let metric = text.split("distance_metric").nth(1).map_or(Metric::L2, |rest| {
        let rest = rest.trim_start_matches([' ', '=', '\t', '\n']);
        match rest.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default() {
            "cosine" => Metric::Cosine,
            "l2" => Metric::L2,
            other => Metric::Other(other.to_owned()),
        }
    });
    let is_whole = ["rowids", "chunks", "vector_chunks00"]
        .iter()
        .all(|part| declared.contains_key(&format!("{VECTORS}_{part}")));
    VectorTable { dims, metric, is_parted: text.contains("partition key"), is_whole }
}
