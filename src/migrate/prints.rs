//! Hashes of rows, by which a change is found without reading the texts: of every column but the text itself,
//! of which the length stands for all.

use super::source::{Source, SourceError};
use rusqlite::OptionalExtension as _;
use rusqlite::types::ValueRef;
use std::hash::{DefaultHasher, Hasher as _};

/// Columns that say nothing of a memory, or what another column says more exactly.
const LEFT_OUT: [&str; 6] =
    ["id", "content", "created_at_iso", "updated_at_iso", "last_accessed", "embedding_pending"];

/// Seconds that are later than any instant; behind them SQLite sorts what is no number.
const LATEST: &str = "1e15";
/// Deletions that are looked for at once.
const DELETED_MAX: usize = 2000;

/// The hash of a row. Another release of memtide may hash otherwise: then rows are read once more.
pub type Print = i64;

impl Source {
    /// The rows from `after` to `last`, both as rowids and the first left out, each with its print.
    ///
    /// # Errors
    /// The source can't be read.
    pub fn prints(&self, after: i64, last: i64) -> Result<Vec<(i64, Print)>, SourceError> {
        let columns = self.layout().columns.iter();
        let columns: Vec<String> = columns
            .filter(|name| !LEFT_OUT.contains(&name.as_str()))
            .map(|name| format!("\"{}\"", name.replace('"', "\"\"")))
            .collect();
        // The columns in a fixed order: that of their names.
        let sql = format!(
            "SELECT rowid, octet_length(content), {} FROM memories
             WHERE rowid > ?1 AND rowid <= ?2 ORDER BY rowid",
            columns.join(", ")
        );
        let n_columns = columns.len() + 1;
        self.reading(|conn| {
            let mut statement = conn.prepare_cached(&sql)?;
            let mut rows = statement.query((after, last))?;
            let (mut prints, mut bytes) = (Vec::new(), Vec::new());
            while let Some(row) = rows.next()? {
                bytes.clear();
                for at in 1..=n_columns {
                    add(&mut bytes, row.get_ref(at)?);
                }
                // At once: a call for each column would cost more than the hashing.
                let mut hasher = DefaultHasher::new();
                hasher.write(&bytes);
                prints.push((row.get(0)?, hasher.finish().cast_signed()));
            }
            Ok(prints)
        })
    }

    /// The number of edges.
    ///
    /// # Errors
    /// The source can't be read.
    pub fn count_edges(&self) -> Result<u64, SourceError> {
        if self.layout().table("memory_graph").is_none() {
            return Ok(0);
        }
        self.reading(|conn| {
            let sql = "SELECT count(*) FROM memory_graph";
            conn.prepare_cached(sql)?.query_row([], |row| row.get(0))
        })
    }

    /// The rows that were deleted later than `after`, in seconds, each with when it was; none where no index
    /// finds them.
    ///
    /// # Errors
    /// The source can't be read.
    pub fn deleted_after(&self, after: f64) -> Result<Vec<(i64, f64)>, SourceError> {
        let Some(index) = &self.layout().deletion_index else { return Ok(Vec::new()) };
        let sql = format!(
            "SELECT rowid, deleted_at FROM memories INDEXED BY {index}
             WHERE deleted_at > ?1 AND deleted_at <= {LATEST} ORDER BY deleted_at LIMIT {DELETED_MAX}"
        );
        self.reading(|conn| {
            let mut statement = conn.prepare_cached(&sql)?;
            let rows = statement.query_map([after], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
    }

    /// When the row that was deleted last was, in seconds, as far as an index tells.
    ///
    /// # Errors
    /// The source can't be read.
    pub fn last_deletion(&self) -> Result<f64, SourceError> {
        let Some(index) = &self.layout().deletion_index else { return Ok(0.0) };
        let sql = format!(
            "SELECT deleted_at FROM memories INDEXED BY {index}
             WHERE deleted_at > 0 AND deleted_at <= {LATEST} ORDER BY deleted_at DESC LIMIT 1"
        );
        self.reading(|conn| {
            let found = conn.prepare_cached(&sql)?.query_row([], |row| row.get(0)).optional()?;
            Ok(found.unwrap_or_default())
        })
    }

    /// A number that changes whenever tables or columns do.
    ///
    /// # Errors
    /// The source can't be read.
    pub fn schema_cookie(&self) -> Result<i64, SourceError> {
        self.reading(|conn| conn.pragma_query_value(None, "schema_version", |row| row.get(0)))
    }

    /// How many of these hashes are there.
    ///
    /// # Errors
    /// The source can't be read.
    pub fn n_known(&self, hashes: &[String]) -> Result<usize, SourceError> {
        self.reading(|conn| {
            let mut statement =
                conn.prepare_cached("SELECT 1 FROM memories WHERE content_hash = ?1")?;
            let mut n_known = 0;
            for hash in hashes {
                n_known += usize::from(statement.exists([hash])?);
            }
            Ok(n_known)
        })
    }
}

/// Appends a value in a form that no other value has.
fn add(to: &mut Vec<u8>, value: ValueRef<'_>) {
    match value {
        ValueRef::Null => to.push(0),
        ValueRef::Integer(number) => {
            to.push(1);
            to.extend_from_slice(&number.to_le_bytes());
        }
        ValueRef::Real(number) => {
            to.push(2);
            to.extend_from_slice(&number.to_bits().to_le_bytes());
        }
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            to.push(3);
            to.extend_from_slice(&bytes.len().to_le_bytes());
            to.extend_from_slice(bytes);
        }
    }
}
