//! What rows of another product have besides, that memtide keeps and doesn't use: it goes back with them.

use super::error::StoreError;
use super::reader::Read;
use super::writer::Write;
use crate::model::id::MemoryId;
use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// The columns of one row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    /// The partition it is in, unless that is the ordinary one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// The memory that it is a later version of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Its number among the versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// How far it is trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// When a search last found it, seconds since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_accessed: Option<f64>,
    /// Any other column, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Value>,
}

impl Carried {
    /// Whether it says nothing: every column is empty.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether both say the same, but for when a search last found the memory.
    fn is_same(&self, other: &Self) -> bool {
        let still = |one: &Self| Self { last_accessed: None, ..one.clone() };
        still(self) == still(other)
    }
}

/// Keeps the columns of a memory. Returns whether that changed anything.
pub(super) fn put(write: &Write<'_>, key: i64, carried: &Carried) -> Result<bool, StoreError> {
    let kept = by_key(write.conn, key)?;
    match kept {
        None if carried.is_empty() => return Ok(false),
        Some(kept) if kept.is_same(carried) => return Ok(false),
        _ => {}
    }
    write
        .conn
        .prepare_cached("INSERT OR REPLACE INTO carried(memory, value) VALUES (?1, ?2)")?
        .execute((key, serde_json::to_string(carried).unwrap_or_default()))?;
    Ok(true)
}

fn by_key(conn: &Connection, key: i64) -> Result<Option<Carried>, StoreError> {
    let text: Option<String> = conn
        .prepare_cached("SELECT value FROM carried WHERE memory = ?1")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    text.map(|text| parse(&text)).transpose()
}

fn parse(text: &str) -> Result<Carried, StoreError> {
    serde_json::from_str(text)
        .map_err(|_| StoreError::Corrupt("a memory's carried columns are unreadable".to_owned()))
}

/// What is carried with a memory; `None` if nothing is.
///
/// # Errors
/// The database refused.
pub fn get(read: &Read<'_>, id: &MemoryId) -> Result<Option<Carried>, StoreError> {
    let text: Option<String> = read
        .conn
        .prepare_cached(
            "SELECT c.value FROM carried c JOIN memory m ON m.key = c.memory WHERE m.id = ?1",
        )?
        .query_row([id.to_string()], |row| row.get(0))
        .optional()?;
    text.map(|text| parse(&text)).transpose()
}
