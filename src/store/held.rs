//! What is here of memories that stand elsewhere too, in full: for comparing the two.

use super::carried;
use super::column::parse_id;
use super::edge::Edge;
use super::error::StoreError;
use super::reader::Read;
use super::row::Row;
use super::vector;
use crate::model::carried::Carried;
use crate::model::id::MemoryId;
use crate::model::state::State;
use rusqlite::OptionalExtension as _;
use std::collections::HashMap;

/// A memory as it is here.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// Its registers.
    pub state: State,
    /// Its text, unless that is no longer kept.
    pub content: Option<String>,
    /// What is kept beside it.
    pub carried: Carried,
    /// What the source showed of it last, as text; `None` if it was never taken over from there.
    pub seen: Option<String>,
    /// The vector of the beginning of its present text.
    pub vector: Option<Vec<f32>>,
    /// Vectors of its present text.
    pub n_windows: u64,
    /// Whether it waits for a vector.
    pub is_pending: bool,
}

/// A row of a source, as it was when that was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its rowid; `None` if it is known to be gone.
    pub row: Option<i64>,
    /// Its memory.
    pub id: MemoryId,
    /// Whether that is alive here.
    pub is_alive: bool,
}

/// What is here of these memories; those that are not here are left out. `source` is the local key of where
/// else they stand, if that is known.
///
/// # Errors
/// The database refused.
pub fn by_id(
    read: &Read<'_>,
    source: Option<i64>,
    ids: &[MemoryId],
) -> Result<HashMap<MemoryId, Held>, StoreError> {
    let space = vector::active_space(read.conn)?.map_or(-1, |(key, _)| key);
    let mut seen = read
        .conn
        .prepare_cached("SELECT seen FROM source_row WHERE source = ?1 AND memory = ?2")?;
    let mut vectors = read.conn.prepare_cached(
        "SELECT vec FROM embedding WHERE memory = ?1 AND space = ?2 AND body = ?3 ORDER BY window",
    )?;
    let mut pending = read
        .conn
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM pending_embedding WHERE memory = ?1)")?;
    let mut found = HashMap::with_capacity(ids.len());
    for id in ids {
        let Some(row) = Row::find(read.conn, id)? else { continue };
        let windows: Vec<Vec<u8>> = vectors
            .query_map((row.key, space, row.state.text.value.to_string()), |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        let held = Held {
            carried: carried::get(read, id)?.unwrap_or_default(),
            seen: seen.query_row((source.unwrap_or(-1), row.key), |row| row.get(0)).optional()?,
            vector: windows.first().map(|bytes| components(bytes)),
            n_windows: u64::try_from(windows.len()).unwrap_or(u64::MAX),
            is_pending: pending.query_row([row.key], |row| row.get(0))?,
            state: row.state,
            content: row.content,
        };
        found.insert(*id, held);
    }
    Ok(found)
}

fn components(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|part| f32::from_le_bytes(*part)).collect()
}

/// All rows of a source that were ever taken over.
///
/// # Errors
/// The database refused.
pub fn known(read: &Read<'_>, source: i64) -> Result<Vec<Known>, StoreError> {
    let mut statement = read.conn.prepare_cached(
        "SELECT s.row, m.id, m.deleted_at IS NULL FROM source_row s
         JOIN memory m ON m.key = s.memory WHERE s.source = ?1",
    )?;
    let mut rows = statement.query([source])?;
    let mut known = Vec::new();
    while let Some(row) = rows.next()? {
        let id = parse_id(&row.get::<_, String>(1)?)?;
        known.push(Known { row: row.get(0)?, id, is_alive: row.get(2)? });
    }
    Ok(known)
}

/// The edges of a source between these ends, where they are here.
///
/// # Errors
/// The database refused.
pub fn edges(
    read: &Read<'_>,
    source: i64,
    ends: &[(String, String)],
) -> Result<HashMap<(String, String), Edge>, StoreError> {
    let mut statement = read.conn.prepare_cached(
        "SELECT similarity, kinds, relation, metadata, created_at FROM edge
         WHERE source = ?1 AND origin = ?2 AND target = ?3",
    )?;
    let mut found = HashMap::with_capacity(ends.len());
    for (origin, target) in ends {
        let edge = statement
            .query_row((source, origin, target), |row| {
                Ok(Edge {
                    origin: origin.clone(),
                    target: target.clone(),
                    similarity: row.get(0)?,
                    kinds: row.get(1)?,
                    relation: row.get(2)?,
                    metadata: row.get(3)?,
                    created_at: row.get(4)?,
                })
            })
            .optional()?;
        if let Some(edge) = edge {
            found.insert((origin.clone(), target.clone()), edge);
        }
    }
    Ok(found)
}

/// How many memories are alive here.
///
/// # Errors
/// The database refused.
pub fn n_living(read: &Read<'_>) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM memory WHERE deleted_at IS NULL";
    Ok(read.conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}
