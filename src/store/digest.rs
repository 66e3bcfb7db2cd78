//! The store as it is compared with another one: every memory, dead or alive, with the digest of its
//! state, what a row of it would show, and what is still owed.

use super::column::parse_id;
use super::error::StoreError;
use super::outbox::{ENCODED_MAX_BYTES, bucket_size};
use super::reader::Read;
use crate::clock::Micros;
use crate::model::digest::{Sums, row_digest, shown_digest};
use crate::model::id::MemoryId;
use crate::model::state_text;
use rusqlite::Row as SqlRow;

/// One memory, compared.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact of the memory")]
pub struct LocalEntry {
    /// Its local key.
    pub key: i64,
    /// Its id.
    pub id: MemoryId,
    /// The digest of its state.
    pub digest: u64,
    /// The digest of the type and the tags that a row shows of it while it lives.
    pub shown: u64,
    /// The digest of all that a row shows of it while it lives.
    pub row: u64,
    /// Whether it is alive.
    pub is_alive: bool,
    /// Whether a search may find it: alive, and not replaced.
    pub is_findable: bool,
    /// Whether it has a vector of its present text.
    pub is_embedded: bool,
    /// Whether a row or a body of it is owed to the cloud, in whatever state that duty is.
    pub owes_row: bool,
    /// Whether the index is owed its vector or the removal of it, or hasn't confirmed the last one.
    pub owes_vector: bool,
    /// Bytes of its text; `None` once that is no longer kept.
    pub bytes: Option<u64>,
    /// Where the cloud's feed holds it; 0 if that isn't known.
    pub position: i64,
    /// The key of its body in the bucket.
    pub r2_key: Option<String>,
    /// When it was last changed, by the clock of whoever did.
    pub updated_at: Micros,
}

const COLUMNS: &str = "m.key, m.id, m.state, m.kind,
  (SELECT json_group_array(name) FROM tag WHERE memory = m.key),
  m.deleted_at IS NULL, m.superseded_by IS NULL,
  EXISTS (SELECT 1 FROM embedding e JOIN space s ON s.key = e.space
    WHERE e.memory = m.key AND e.window = 0 AND e.body = m.body AND s.is_active),
  EXISTS (SELECT 1 FROM outbox o WHERE o.memory = m.key AND o.product IN ('d1', 'r2')),
  EXISTS (SELECT 1 FROM outbox o WHERE o.memory = m.key AND o.product = 'vectorize')
    OR EXISTS (SELECT 1 FROM unconfirmed_vector u WHERE u.memory = m.key),
  length(CAST(m.content AS BLOB)), coalesce(r.seq, 0), r.r2_key, m.updated_at
  FROM memory m LEFT JOIN remote_position r ON r.memory = m.key";

/// The memories that follow the key `after`, at most `limit` of them.
///
/// # Errors
/// The database refused.
pub fn page(read: &Read<'_>, after: i64, limit: usize) -> Result<Vec<LocalEntry>, StoreError> {
    let sql = format!("SELECT {COLUMNS} WHERE m.key > ?1 ORDER BY m.key LIMIT ?2");
    let mut statement = read.conn.prepare_cached(&sql)?;
    let mut rows = statement.query((after, i64::try_from(limit).unwrap_or(i64::MAX)))?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(entry(row)?);
    }
    Ok(entries)
}

/// One memory; `None` if it isn't here.
///
/// # Errors
/// The database refused.
pub fn one(read: &Read<'_>, id: &MemoryId) -> Result<Option<LocalEntry>, StoreError> {
    let sql = format!("SELECT {COLUMNS} WHERE m.id = ?1");
    let mut statement = read.conn.prepare_cached(&sql)?;
    let mut rows = statement.query([id.to_string()])?;
    rows.next()?.map(entry).transpose()
}

fn entry(row: &SqlRow<'_>) -> Result<LocalEntry, StoreError> {
    let id = parse_id(row.get_ref(1)?.as_str().unwrap_or_default())?;
    let state = row.get_ref(2)?.as_str().unwrap_or_default();
    let tags: Vec<String> =
        serde_json::from_str(row.get_ref(4)?.as_str().unwrap_or_default()).unwrap_or_default();
    let kind = row.get_ref(3)?.as_str().unwrap_or_default();
    let is_alive = row.get(5)?;
    let bytes: Option<u64> = row.get(10)?;
    let is_latest: bool = row.get(6)?;
    Ok(LocalEntry {
        key: row.get(0)?,
        id,
        digest: state_text::digest(&id, state),
        shown: shown_digest(kind, tags.iter().map(String::as_str)),
        is_alive,
        is_findable: is_alive && is_latest,
        is_embedded: row.get(7)?,
        owes_row: row.get(8)?,
        owes_vector: row.get(9)?,
        row: state_text::read(state).map_or(0, |state| {
            row_digest(
                &state.kind.value,
                &state.live_tags(),
                &state.live_metadata(),
                state.superseded_by.value.as_ref(),
                bytes.unwrap_or(0),
            )
        }),
        bytes,
        position: row.get(11)?,
        r2_key: row.get(12)?,
        updated_at: Micros(row.get(13)?),
    })
}

/// The store in those numbers that say what carrying it to the cloud takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Living memories.
    pub memories: u64,
    /// Deleted ones.
    pub tombstones: u64,
    /// Living ones that are not replaced: each gets a vector.
    pub findable: u64,
    /// Different tags.
    pub tags: u64,
    /// Tags of all living memories together.
    pub tag_links: u64,
    /// Bytes of the texts of living memories.
    pub text_bytes: u64,
    /// Texts that don't fit into a row: the memory and the bytes that it takes there.
    pub long_texts: Vec<(MemoryId, u64)>,
}

/// Counts; texts of more than `inline_bytes` belong into the bucket.
///
/// # Errors
/// The database refused.
pub fn facts(read: &Read<'_>, inline_bytes: usize) -> Result<Facts, StoreError> {
    let count = |sql: &str| -> Result<u64, StoreError> {
        Ok(read.conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    };
    let living = "FROM memory WHERE deleted_at IS NULL";
    Ok(Facts {
        memories: count(&format!("SELECT count(*) {living}"))?,
        tombstones: count("SELECT count(*) FROM memory WHERE deleted_at IS NOT NULL")?,
        findable: count(&format!("SELECT count(*) {living} AND superseded_by IS NULL"))?,
        tags: count("SELECT count(DISTINCT name) FROM tag")?,
        tag_links: count("SELECT count(*) FROM tag")?,
        text_bytes: count(&format!(
            "SELECT coalesce(sum(length(CAST(content AS BLOB))), 0) {living}"
        ))?,
        long_texts: long_texts(read, inline_bytes)?,
    })
}

fn long_texts(read: &Read<'_>, inline_bytes: usize) -> Result<Vec<(MemoryId, u64)>, StoreError> {
    // A character has at most four bytes, and at most six once it is encoded.
    let least = inline_bytes.min(ENCODED_MAX_BYTES / 6);
    let mut statement = read.conn.prepare_cached(
        "SELECT id, content FROM memory WHERE deleted_at IS NULL AND length(content) > ?1 / 4",
    )?;
    let mut rows = statement.query([i64::try_from(least).unwrap_or(i64::MAX)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let text = row.get_ref(1)?.as_str().unwrap_or_default();
        if let Some(bytes) = bucket_size(text, inline_bytes) {
            let id = parse_id(row.get_ref(0)?.as_str().unwrap_or_default())?;
            found.push((id, u64::try_from(bytes).unwrap_or(u64::MAX)));
        }
    }
    Ok(found)
}

/// The sums of `entries` by the first `digits` digits of their ids.
pub fn sums<'a>(entries: impl IntoIterator<Item = &'a LocalEntry>, digits: usize) -> Sums {
    let mut sums = Sums::default();
    for entry in entries {
        sums.add(&entry.id, digits, entry.digest);
    }
    sums
}
