//! A source and what is here of it, compared by numbers after an import.

use super::error::StoreError;
use super::writer::Write;
use crate::model::id::{BodyHash, MemoryId};
use crate::model::seen::Seen;
use sha2::{Digest as _, Sha256};

/// What is here of a source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Its rows.
    pub rows: u64,
    /// The sum of [`digest`] over what the rows showed.
    pub digest: u64,
    /// Memories whose text is another one here.
    pub other_texts: u64,
    /// Memories that live there and not here, or here and not there.
    pub other_lives: u64,
}

/// What names a memory and its text, in a number that can be summed in any order.
pub fn digest(id: &MemoryId, body: &BodyHash) -> u64 {
    let mut hash = Sha256::new();
    hash.update(id.as_bytes());
    hash.update(body.to_string());
    let hash = hash.finalize();
    hash.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

/// What is here of a source, of rows after the memory with the local key `after`, at most `limit` of them; and
/// where to go on, `None` at the end. The writer's connection is asked, as those that only read map the file:
/// a look at all of it would fill the memory with it.
///
/// # Errors
/// The database refused.
pub fn held(
    write: &mut Write<'_>,
    source: i64,
    after: i64,
    limit: usize,
) -> Result<(Held, Option<i64>), StoreError> {
    let mut statement = write.conn.prepare_cached(
        "SELECT s.memory, m.id, m.body, m.deleted_at IS NULL, s.seen FROM source_row s
         JOIN memory m ON m.key = s.memory
         WHERE s.source = ?1 AND s.memory > ?2 AND s.row IS NOT NULL ORDER BY s.memory LIMIT ?3",
    )?;
    let limit_sql = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query((source, after, limit_sql))?;
    let (mut held, mut last, mut n_read) = (Held::default(), None, 0);
    while let Some(row) = rows.next()? {
        n_read += 1;
        last = Some(row.get(0)?);
        let id = super::column::parse_id(&row.get::<_, String>(1)?)?;
        let text: String = row.get(4)?;
        let damaged = || StoreError::Corrupt("what a source showed is unreadable".to_owned());
        let seen = Seen::parse(&text).ok_or_else(damaged)?;
        let body = seen.body().ok_or_else(damaged)?;
        held.rows += 1;
        held.digest = held.digest.wrapping_add(digest(&id, &body));
        held.other_texts += u64::from(row.get::<_, String>(2)? != body.to_string());
        held.other_lives += u64::from(row.get::<_, bool>(3)? != seen.is_alive());
    }
    Ok((held, last.filter(|_| n_read == limit)))
}
