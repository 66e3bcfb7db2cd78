//! The memories that were here when an account was linked become duties of the backfill, page by page: a
//! store of any size goes on answering and writing meanwhile. How far that has come is written with each
//! page, so a crash loses nothing; until the end those that are left count as owed.

use super::error::StoreError;
use super::link::{self, Link};
use super::outbox::{ENCODED_MAX_BYTES, Product, bucket_size, put};
use super::reader::Read;
use super::writer::Write;
use crate::clock::Micros;
use crate::model::refusal::Refusal;
use rusqlite::{Connection, OptionalExtension as _};
use serde::{Deserialize, Serialize};

/// Memories of one page. Measured at 12 us each: a write of somebody else waits for one page at most.
pub(super) const PAGE: usize = 50;
/// Its place in the replicator's memory, which ends with the link.
const NAME: &str = "enrolment";

/// Memories that are not duties yet, by their keys; later ones have made theirs themselves.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Left {
    after: i64,
    upto: i64,
}

impl Left {
    fn load(conn: &Connection) -> Result<Option<Self>, StoreError> {
        let written: Option<String> = conn
            .prepare_cached("SELECT value FROM replicator_state WHERE name = ?1")?
            .query_row([NAME], |row| row.get(0))
            .optional()?;
        Ok(match written.map(|text| serde_json::from_str(&text)) {
            Some(Ok(left)) => Some(left),
            // Whoever can't tell how far it came begins again; a duty that is there stays as it is.
            Some(Err(_)) => Some(Self { after: 0, upto: i64::MAX }),
            None => None,
        })
    }

    fn count(self, conn: &Connection) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM memory WHERE key > ?1 AND key <= ?2";
        Ok(conn.prepare_cached(sql)?.query_row((self.after, self.upto), |row| row.get(0))?)
    }

    /// The key that the next page ends with.
    fn page_end(self, conn: &Connection) -> Result<i64, StoreError> {
        let last: Option<i64> = conn
            .prepare_cached(
                "SELECT key FROM memory WHERE key > ?1 AND key <= ?2 ORDER BY key LIMIT 1 OFFSET ?3",
            )?
            .query_row((self.after, self.upto, i64::try_from(PAGE - 1).unwrap_or(i64::MAX)), |row| {
                row.get(0)
            })
            .optional()?;
        Ok(last.unwrap_or(self.upto))
    }
}

/// Begins with the first page. Returns how many memories are owed in all.
pub(super) fn begin(write: &mut Write<'_>, link: &Link) -> Result<u64, StoreError> {
    if link.bucket.is_none() {
        refuse_large(write, link)?;
    }
    let last = "SELECT coalesce(max(key), 0) FROM memory";
    let left = Left { after: 0, upto: write.conn.query_row(last, [], |row| row.get(0))? };
    let n_owed = left.count(write.conn)?;
    page(write, link, left)?;
    Ok(n_owed)
}

/// Makes duties of the next page. Returns whether there are more.
///
/// # Errors
/// The database refused.
pub fn enrol(write: &mut Write<'_>) -> Result<bool, StoreError> {
    match (Left::load(write.conn)?, write.link().cloned()) {
        (Some(left), Some(link)) => page(write, &link, left),
        _ => Ok(false),
    }
}

/// Whether memories are left that are not duties yet.
///
/// # Errors
/// The database refused.
pub fn goes_on(read: &Read<'_>) -> Result<bool, StoreError> {
    Ok(Left::load(read.conn)?.is_some())
}

/// How many are left, and since when they are owed; `None` if none are.
pub(super) fn left(read: &Read<'_>) -> Result<Option<(u64, Micros)>, StoreError> {
    let Some(left) = Left::load(read.conn)? else { return Ok(None) };
    let Some(link) = link::get(read)? else { return Ok(None) };
    Ok(Some((left.count(read.conn)?, link.linked_at)))
}

/// How many are left.
pub(super) fn n_left(write: &Write<'_>) -> Result<u64, StoreError> {
    Left::load(write.conn)?.map_or(Ok(0), |left| left.count(write.conn))
}

fn page(write: &mut Write<'_>, link: &Link, left: Left) -> Result<bool, StoreError> {
    let end = left.page_end(write.conn)?;
    let generation = write.generation();
    for key in large(write, link, left.after, end)? {
        put(write, key.0, Product::R2, generation, "due", 1)?;
    }
    // A change since the link has made its own duties, which are newer.
    write
        .conn
        .prepare_cached(
            "INSERT INTO outbox(memory, product, generation, state, lane, attempts, since, due_at)
             SELECT m.key, p.column1, ?3,
               CASE WHEN p.column1 = 'vectorize' AND ?5
                 AND EXISTS (SELECT 1 FROM pending_embedding e WHERE e.memory = m.key)
               THEN 'waiting_for_embedding' ELSE 'due' END,
               1, 0, ?4, ?4
             FROM memory m CROSS JOIN (VALUES ('d1'), ('vectorize')) p
             WHERE m.key > ?1 AND m.key <= ?2
             ON CONFLICT(memory, product) DO NOTHING",
        )?
        .execute((left.after, end, generation, write.now().0, link.is_local_space))?;
    if end >= left.upto {
        let done = "DELETE FROM replicator_state WHERE name = ?1";
        write.conn.prepare_cached(done)?.execute([NAME])?;
        return Ok(false);
    }
    let left = Left { after: end, ..left };
    link::remember(write, NAME, &serde_json::to_string(&left).unwrap_or_default())?;
    Ok(true)
}

/// The texts of a range of keys that are too long for a row, with their encoded sizes.
fn large(
    write: &Write<'_>,
    link: &Link,
    after: i64,
    upto: i64,
) -> Result<Vec<(i64, usize)>, StoreError> {
    let inline = i64::try_from(link.inline_bytes.min(ENCODED_MAX_BYTES / 6)).unwrap_or(i64::MAX);
    // As JSON a byte takes six at most. The length in bytes is known without the text being read.
    let mut statement = write.conn.prepare_cached(
        "SELECT key, content FROM memory
         WHERE key > ?1 AND key <= ?2 AND deleted_at IS NULL AND octet_length(content) > ?3",
    )?;
    let mut rows = statement.query((after, upto, inline))?;
    let mut large = Vec::new();
    while let Some(row) = rows.next()? {
        let content: String = row.get(1)?;
        if let Some(size) = bucket_size(&content, link.inline_bytes) {
            large.push((row.get(0)?, size));
        }
    }
    Ok(large)
}

fn refuse_large(write: &Write<'_>, link: &Link) -> Result<(), StoreError> {
    let Some((_, actual)) = large(write, link, 0, i64::MAX)?.first().copied() else {
        return Ok(());
    };
    let limit = link.inline_bytes.min(ENCODED_MAX_BYTES);
    Err(Refusal::NeedsBucket { actual, limit }.into())
}
