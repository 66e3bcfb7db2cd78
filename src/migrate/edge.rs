//! Edges of the service's graph of memories.

use super::source::{Source, SourceError};
use rusqlite::Row;
use std::collections::BTreeSet;

/// The table of the edges.
const TABLE: &str = "memory_graph";

/// An edge as it stands. The target of an edge to an entity is a name, not a hash.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    /// Its row in the source.
    pub rowid: i64,
    /// The hash of the memory that it starts from.
    pub source: String,
    /// The hash of the memory, or the name of the entity, that it leads to.
    pub target: String,
    /// How alike the two are.
    pub similarity: Option<f64>,
    /// How it was found: a JSON list, as it stands.
    pub connection_types: Option<String>,
    /// A JSON object, as it stands.
    pub metadata: Option<String>,
    /// Seconds since the epoch.
    pub created_at: Option<f64>,
    /// `related`, `causes`, `has_entity`…
    pub relationship: Option<String>,
}

impl Source {
    /// Edges whose row follows `after`, at most `limit`. A row without either end is no edge and is left
    /// out.
    ///
    /// # Errors
    /// The source can't be read.
    pub fn edges(&self, after: i64, limit: usize) -> Result<Vec<Edge>, SourceError> {
        let Some(columns) = self.layout().table(TABLE) else { return Ok(Vec::new()) };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = format!(
            "SELECT rowid, {}, {}, {}, {}, {}, {}, {} FROM memory_graph
             WHERE rowid > ?1 ORDER BY rowid LIMIT ?2",
            column(columns, "source_hash"),
            column(columns, "target_hash"),
            column(columns, "similarity"),
            column(columns, "connection_types"),
            column(columns, "metadata"),
            column(columns, "created_at"),
            column(columns, "relationship_type"),
        );
        self.reading(|conn| {
            let mut statement = conn.prepare_cached(&sql)?;
            let edges = statement.query_map((after, limit), edge)?;
            edges.filter_map(Result::transpose).collect()
        })
    }
}

/// A column by name, or nothing where the table lacks it.
fn column(columns: &BTreeSet<String>, name: &'static str) -> &'static str {
    if columns.contains(name) { name } else { "NULL" }
}

fn edge(row: &Row<'_>) -> rusqlite::Result<Option<Edge>> {
    let text = |at: usize| -> rusqlite::Result<Option<String>> {
        Ok(super::row::text(row.get_ref(at)?).ok().flatten())
    };
    let number = |at: usize| -> rusqlite::Result<Option<f64>> {
        Ok(super::row::number(row.get_ref(at)?).ok().flatten())
    };
    let (Some(source), Some(target)) = (text(1)?, text(2)?) else { return Ok(None) };
    Ok(Some(Edge {
        rowid: row.get(0)?,
        source,
        target,
        similarity: number(3)?,
        connection_types: text(4)?,
        metadata: text(5)?,
        created_at: number(6)?,
        relationship: text(7)?,
    }))
}
