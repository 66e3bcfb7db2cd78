//! What rows of another product have besides, that memtide keeps and doesn't use: it goes back with them.

use super::error::StoreError;
use super::reader::Read;
use super::writer::Write;
use crate::model::carried::Carried;
use crate::model::id::MemoryId;
use rusqlite::{Connection, OptionalExtension as _};

/// Whether both say the same, but for when a search last found the memory.
fn is_same(one: &Carried, other: &Carried) -> bool {
    let still = |one: &Carried| Carried { last_accessed: None, ..one.clone() };
    still(one) == still(other)
}

/// Whether other columns are kept of a memory than these.
pub(super) fn is_other(conn: &Connection, key: i64, carried: &Carried) -> Result<bool, StoreError> {
    Ok(match by_key(conn, key)? {
        None => !carried.is_empty(),
        Some(kept) => !is_same(&kept, carried),
    })
}

/// Keeps the columns of a memory. Returns whether that changed anything.
pub(super) fn put(write: &Write<'_>, key: i64, carried: &Carried) -> Result<bool, StoreError> {
    if !is_other(write.conn, key, carried)? {
        return Ok(false);
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
