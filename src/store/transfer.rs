//! Memories with all they are made of, out of one store and into another: registers, text, history.
//!
//! Taking in merges: whatever is newer by its stamp wins, whatever is the same changes nothing, so taking
//! in twice, or in another order, ends the same. A text that loses is kept in the history.

use super::carried;
use super::column::parse_id;
use super::edge::{self, Edge};
use super::error::StoreError;
use super::history::{self, Version};
use super::reader::Read;
use super::row::{Cause, Row, save};
use super::writer::Write;
use crate::model::carried::Carried;
use crate::model::id::{BodyHash, MemoryId};
use crate::model::state::State;
use crate::model::state_text;

/// A memory, dead or alive, with all it is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its id.
    pub id: MemoryId,
    /// Its registers.
    pub state: State,
    /// Its text, unless that is no longer kept.
    pub content: Option<String>,
    /// The versions that were replaced, oldest first.
    pub versions: Vec<Version>,
    /// What is kept beside it for another product, if anything.
    pub carried: Option<Carried>,
    /// Connections that start from it.
    pub edges: Vec<Edge>,
}

/// What taking in a record did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absorbed {
    /// The memory was not here.
    New,
    /// Some of it was newer.
    Merged,
    /// All of it was here.
    Unchanged,
}

/// The records that follow `after` in the store's own order, at most `limit` of them and about `bytes`
/// of text, and where to go on; `None` at the end.
///
/// # Errors
/// The database refused.
pub fn page(
    read: &Read<'_>,
    after: i64,
    limit: usize,
    bytes: usize,
) -> Result<(Vec<Record>, Option<i64>), StoreError> {
    let mut statement = read.conn.prepare_cached(
        "SELECT key, id, state, content FROM memory WHERE key > ?1 ORDER BY key LIMIT ?2",
    )?;
    let limit_sql = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query((after, limit_sql))?;
    let (mut records, mut size, mut last) = (Vec::new(), 0, None);
    while let Some(row) = rows.next()? {
        let key: i64 = row.get(0)?;
        let state = state_text::read(&row.get::<_, String>(2)?)?;
        let content: Option<String> = row.get(3)?;
        let id: String = row.get(1)?;
        let record = Record {
            id: parse_id(&id)?,
            // A deletion may name a text that was never here; the one that was stands in the history.
            content: content.filter(|text| BodyHash::of(text) == state.text.value),
            state,
            versions: history::all(read, key)?,
            carried: carried::by_key(read.conn, key)?.filter(|carried| !carried.is_empty()),
            edges: edge::of(read, &id)?,
        };
        size += record.content.as_ref().map_or(0, String::len)
            + record.versions.iter().map(|version| version.content.len()).sum::<usize>();
        records.push(record);
        last = Some(key);
        if size >= bytes {
            return Ok((records, last));
        }
    }
    let is_end = records.len() < limit;
    Ok((records, last.filter(|_| !is_end)))
}

/// Takes a record in.
///
/// # Errors
/// The database refused, or the text fits no linked store.
pub fn absorb(write: &mut Write<'_>, record: &Record) -> Result<Absorbed, StoreError> {
    let before = Row::load(write, &record.id)?;
    let Some(before) = before else {
        let content = record.content.as_deref();
        save(write, &record.id, None, &record.state, content, Cause::Import, "import")?;
        let key = key_of(write, &record.id)?;
        for version in &record.versions {
            history::insert(write, key, version)?;
        }
        put_beside(write, key, record, true)?;
        return Ok(Absorbed::New);
    };
    let mut merged = before.state.clone();
    merged.merge(&record.state);
    if record.state.is_alive() {
        let content = record.content.as_deref();
        history::record_loser(write, &before, &record.state, &merged, content, Cause::Import)?;
    }
    for version in &record.versions {
        history::insert_missing(write, before.key, version)?;
    }
    if merged == before.state {
        let is_changed = put_beside(write, before.key, record, false)?;
        return Ok(if is_changed { Absorbed::Merged } else { Absorbed::Unchanged });
    }
    let own = before.content.as_deref();
    let content = if merged.text.value == before.state.text.value {
        own.or(record.content.as_deref())
    } else {
        record.content.as_deref()
    };
    save(write, &record.id, Some(&before), &merged, content, Cause::Import, "import")?;
    put_beside(write, before.key, record, true)?;
    Ok(Absorbed::Merged)
}

/// Keeps what comes beside the registers. It has no stamps: what is here stays, unless the record is newer.
fn put_beside(
    write: &mut Write<'_>,
    key: i64,
    record: &Record,
    is_newer: bool,
) -> Result<bool, StoreError> {
    let mut is_changed = edge::put_missing(write, &record.edges)?;
    if let Some(carried) = &record.carried
        && (is_newer || carried::by_key(write.conn, key)?.is_none())
    {
        is_changed |= carried::put(write, key, carried)?;
    }
    Ok(is_changed)
}

fn key_of(write: &Write<'_>, id: &MemoryId) -> Result<i64, StoreError> {
    Ok(write
        .conn
        .prepare_cached("SELECT key FROM memory WHERE id = ?1")?
        .query_row([id.to_string()], |row| row.get(0))?)
}
