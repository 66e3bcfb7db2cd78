//! What becomes of the texts of deleted memories: after a time they are dropped, and their history with
//! them. The tombstone stays for ever, so that the memory stays deleted on every device.

use super::error::StoreError;
use super::writer::Write;
use crate::clock::Micros;

/// Drops the texts and the history of memories that were deleted before `deleted_before`, at most `limit`
/// of them, the longest deleted first. Returns how many there were.
///
/// # Errors
/// The database refused.
pub fn drop_texts(
    write: &mut Write<'_>,
    deleted_before: Micros,
    limit: usize,
) -> Result<usize, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let keys: Vec<i64> = write
        .conn
        .prepare_cached(
            "SELECT key FROM memory WHERE deleted_at < ?1 AND (content IS NOT NULL
               OR EXISTS (SELECT 1 FROM history h WHERE h.memory = memory.key))
             ORDER BY deleted_at LIMIT ?2",
        )?
        .query_map((deleted_before.0, limit), |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for key in &keys {
        write.conn.prepare_cached("DELETE FROM history WHERE memory = ?1")?.execute([key])?;
        write
            .conn
            .prepare_cached("UPDATE memory SET content = NULL WHERE key = ?1")?
            .execute([key])?;
    }
    Ok(keys.len())
}
