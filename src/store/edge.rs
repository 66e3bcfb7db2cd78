//! Connections between memories that another product knows: kept as they stand there, with nothing made of
//! them here. A target may be the name of something instead of a memory's id.

use super::error::StoreError;
use super::reader::Read;
use super::source;
use super::writer::Write;
use rusqlite::{Row, params};

/// One connection.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    /// The id of the memory it starts from.
    pub origin: String,
    /// The id of a memory, or a name.
    pub target: String,
    /// How near they are.
    pub similarity: Option<f64>,
    /// Why they are connected, a JSON list as it stands.
    pub kinds: Option<String>,
    /// What one is to the other.
    pub relation: Option<String>,
    /// Whatever else is said of it, JSON.
    pub metadata: Option<String>,
    /// When it was found, seconds since the epoch.
    pub created_at: Option<f64>,
}

/// Keeps connections that the look number `pass` at a source has seen. Returns how many were not here, or
/// were others.
///
/// # Errors
/// The database refused.
pub fn put(
    write: &mut Write<'_>,
    source: i64,
    pass: i64,
    edges: &[Edge],
) -> Result<u64, StoreError> {
    let mut same = write.conn.prepare_cached(
        "UPDATE edge SET pass = ?4 WHERE source = ?1 AND origin = ?2 AND target = ?3
           AND similarity IS ?5 AND kinds IS ?6 AND relation IS ?7 AND metadata IS ?8
           AND created_at IS ?9",
    )?;
    let mut other = write.conn.prepare_cached(
        "INSERT OR REPLACE INTO edge(source, origin, target, pass, similarity, kinds, relation,
           metadata, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let mut n_new = 0;
    for edge in edges {
        let values = params![
            source,
            edge.origin,
            edge.target,
            pass,
            edge.similarity,
            edge.kinds,
            edge.relation,
            edge.metadata,
            edge.created_at
        ];
        if same.execute(values)? == 0 {
            other.execute(values)?;
            n_new += 1;
        }
    }
    Ok(n_new)
}

/// Drops the connections of a source that the look number `pass` hasn't seen. Returns how many.
///
/// # Errors
/// The database refused.
pub fn sweep(write: &mut Write<'_>, source: i64, pass: i64) -> Result<u64, StoreError> {
    let n_gone = write
        .conn
        .prepare_cached("DELETE FROM edge WHERE source = ?1 AND pass <> ?2")?
        .execute((source, pass))?;
    Ok(u64::try_from(n_gone).unwrap_or(u64::MAX))
}

/// The connections of a source that follow `after`, an origin and a target, at most `limit` of them.
///
/// # Errors
/// The database refused.
pub fn of_source(
    read: &Read<'_>,
    source: i64,
    after: (&str, &str),
    limit: usize,
) -> Result<Vec<Edge>, StoreError> {
    let mut statement = read.conn.prepare_cached(
        "SELECT origin, target, similarity, kinds, relation, metadata, created_at FROM edge
         WHERE source = ?1 AND (origin, target) > (?2, ?3) ORDER BY origin, target LIMIT ?4",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map((source, after.0, after.1, limit), read_edge)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Drops the connections of a source between these origins and targets. Returns how many there were.
///
/// # Errors
/// The database refused.
pub fn remove(
    write: &mut Write<'_>,
    source: i64,
    ends: &[(String, String)],
) -> Result<u64, StoreError> {
    let mut drop = write
        .conn
        .prepare_cached("DELETE FROM edge WHERE source = ?1 AND origin = ?2 AND target = ?3")?;
    let mut n_gone = 0;
    for (origin, target) in ends {
        n_gone += drop.execute((source, origin, target))?;
    }
    Ok(u64::try_from(n_gone).unwrap_or(u64::MAX))
}

/// The number of the next look at the connections of a source.
///
/// # Errors
/// The database refused.
pub fn next_pass(read: &Read<'_>, source: i64) -> Result<i64, StoreError> {
    Ok(read
        .conn
        .prepare_cached("SELECT coalesce(max(pass), 0) + 1 FROM edge WHERE source = ?1")?
        .query_row([source], |row| row.get(0))?)
}

/// How many connections of a source are kept.
///
/// # Errors
/// The database refused.
pub fn count(read: &Read<'_>, source: i64) -> Result<u64, StoreError> {
    Ok(read
        .conn
        .prepare_cached("SELECT count(*) FROM edge WHERE source = ?1")?
        .query_row([source], |row| row.get(0))?)
}

/// Reads a row of the columns of an [`Edge`], in the order in which it has them.
pub(super) fn read_edge(row: &Row<'_>) -> rusqlite::Result<Edge> {
    Ok(Edge {
        origin: row.get(0)?,
        target: row.get(1)?,
        similarity: row.get(2)?,
        kinds: row.get(3)?,
        relation: row.get(4)?,
        metadata: row.get(5)?,
        created_at: row.get(6)?,
    })
}

/// The connections that follow `after`, an origin and a target, at most `limit` of them, of all sources.
/// One that several sources know comes once.
///
/// # Errors
/// The database refused.
pub fn page(read: &Read<'_>, after: (&str, &str), limit: usize) -> Result<Vec<Edge>, StoreError> {
    let mut statement = read.conn.prepare_cached(
        "SELECT origin, target, similarity, kinds, relation, metadata, max(created_at) FROM edge
         WHERE (origin, target) > (?1, ?2) GROUP BY origin, target ORDER BY origin, target LIMIT ?3",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map((after.0, after.1, limit), read_edge)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// All connections that start from a memory, of all sources, each once.
///
/// # Errors
/// The database refused.
pub(super) fn of(read: &Read<'_>, origin: &str) -> Result<Vec<Edge>, StoreError> {
    let mut statement = read.conn.prepare_cached(
        "SELECT origin, target, similarity, kinds, relation, metadata, max(created_at) FROM edge
         WHERE origin = ?1 GROUP BY target ORDER BY target",
    )?;
    let rows = statement.query_map([origin], read_edge)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Keeps connections that came with an export, where none is known between the two. Returns whether there
/// was such a one.
///
/// # Errors
/// The database refused.
pub(super) fn put_missing(write: &mut Write<'_>, edges: &[Edge]) -> Result<bool, StoreError> {
    let mut is_changed = false;
    for edge in edges {
        let is_known = write
            .conn
            .prepare_cached("SELECT 1 FROM edge WHERE origin = ?1 AND target = ?2")?
            .exists((&edge.origin, &edge.target))?;
        if !is_known {
            let exports = source::of_exports(write)?;
            put(write, exports, 0, std::slice::from_ref(edge))?;
            is_changed = true;
        }
    }
    Ok(is_changed)
}
