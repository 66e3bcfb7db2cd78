//! What is owed to the cloud after a memory was merged with what the cloud holds.

use super::error::StoreError;
use super::outbox::{Product, bucket_size, is_unembedded, put};
use super::writer::Write;

/// What a memory owes after it was merged with what the cloud holds.
#[expect(clippy::struct_excessive_bools, reason = "each is one fact of the memory")]
pub(super) struct Owed<'a> {
    pub(super) key: i64,
    pub(super) has_vector: bool,
    /// Whether the row is to be written, or only the entry beside it.
    pub(super) has_row: bool,
    /// Whether it belongs to what was there before: nobody waits for it.
    pub(super) is_backfill: bool,
    /// Whether a vector that the index may hold is one of another version.
    pub(super) is_vector_old: bool,
    pub(super) is_findable: bool,
    /// The text of a live memory.
    pub(super) content: Option<&'a str>,
}

/// The cloud doesn't hold all of a memory: its row is owed, and what must go before and after it.
pub(super) fn owe(write: &mut Write<'_>, owed: &Owed<'_>) -> Result<(), StoreError> {
    let Some(link) = write.link().cloned() else { return Ok(()) };
    let generation = write.generation();
    let is_large = owed.content.is_some_and(|text| bucket_size(text, link.inline_bytes).is_some());
    let has_body = write
        .conn
        .prepare_cached("SELECT 1 FROM remote_position WHERE memory = ?1 AND r2_key IS NOT NULL")?
        .exists([owed.key])?;
    if !owed.has_row {
        row_is_right(write, owed.key)?;
    }
    // Without a bucket the row says for itself that it is too large.
    let was_backfill = write
        .conn
        .prepare_cached("SELECT 1 FROM outbox WHERE memory = ?1 AND product = 'd1' AND lane = 1")?
        .exists([owed.key])?;
    let lane = i64::from(owed.is_backfill || was_backfill);
    if is_large && owed.has_row && link.bucket.is_some() && !has_body {
        put(write, owed.key, Product::R2, generation, "due", lane)?;
    }
    put(write, owed.key, Product::D1, generation, "due", lane)?;
    if owed.has_vector {
        let is_waiting = owed.is_findable && link.is_local_space && is_unembedded(write, owed.key)?;
        let state = if is_waiting { "waiting_for_embedding" } else { "due" };
        put(write, owed.key, Product::Vectorize, generation, state, lane)?;
    }
    if owed.is_vector_old {
        vector_is_old(write, owed.key)?;
    }
    Ok(())
}

/// The index may hold a vector of another version: the duty leaves the backfill, so that this one is not
/// taken for the one that is owed.
pub(super) fn vector_is_old(write: &Write<'_>, key: i64) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached("UPDATE outbox SET lane = 0 WHERE memory = ?1 AND product = 'vectorize'")?
        .execute([key])?;
    Ok(())
}

/// The row at the memory's position shows it already: only its entry is owed.
pub(super) fn row_is_right(write: &Write<'_>, key: i64) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached(
            "DELETE FROM outbox WHERE memory = ?1 AND product = 'r2' AND error IS NULL",
        )?
        .execute([key])?;
    // A body that the bucket has lost goes there under another key, which the row is to name.
    let is_body_lost = write
        .conn
        .prepare_cached("SELECT 1 FROM outbox WHERE memory = ?1 AND product = 'r2'")?
        .exists([key])?;
    if is_body_lost { Ok(()) } else { set_shown(write, key) }
}

/// Records that the row at the memory's position shows the memory as it is now: only its entry is owed, for
/// as long as neither changes.
fn set_shown(write: &Write<'_>, key: i64) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached(
            "UPDATE remote_position SET shown = (SELECT generation FROM memory WHERE key = ?1)
             WHERE memory = ?1",
        )?
        .execute([key])?;
    Ok(())
}

/// The cloud holds exactly what is here: neither body nor row is owed. A vector that was owed still is, and
/// so is a body that the bucket is known to have lost, with the row that follows it.
pub(super) fn is_held(
    write: &mut Write<'_>,
    key: i64,
    is_findable: bool,
) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached(
            "DELETE FROM outbox WHERE memory = ?1 AND product IN ('r2', 'd1') AND NOT EXISTS (
               SELECT 1 FROM outbox b
               WHERE b.memory = ?1 AND b.product = 'r2' AND b.error IS NOT NULL)",
        )?
        .execute([key])?;
    if !is_findable {
        // Nothing is left to wait for: the vector is to be taken out.
        write
            .conn
            .prepare_cached(
                "UPDATE outbox SET state = 'due' WHERE memory = ?1 AND product = 'vectorize'
                   AND state = 'waiting_for_embedding'",
            )?
            .execute([key])?;
    }
    Ok(())
}

/// Owes the row of every memory once more, in the backfill lane where it isn't owed already.
pub(super) fn owe_all_rows(write: &mut Write<'_>) -> Result<(), StoreError> {
    let generation = write.generation();
    write.conn.execute(
        "INSERT INTO outbox(memory, product, generation, state, lane, attempts, since, due_at)
         SELECT key, 'd1', ?1, 'due', 1, 0, ?2, ?2 FROM memory WHERE true
         ON CONFLICT(memory, product) DO UPDATE SET generation = excluded.generation,
           state = 'due', attempts = 0, due_at = excluded.due_at, error = NULL",
        (generation, write.now().0),
    )?;
    Ok(())
}

/// Owes the bodies of the living once more that the bucket was known to hold.
pub(super) fn owe_bodies_again(write: &mut Write<'_>) -> Result<(), StoreError> {
    let generation = write.generation();
    write.conn.execute(
        "INSERT INTO outbox(memory, product, generation, state, lane, attempts, since, due_at, error)
         SELECT m.key, 'r2', ?1, 'due', 1, 0, ?2, ?2, 'the database was put back, the bucket was not'
         FROM memory m JOIN remote_position r ON r.memory = m.key
         WHERE r.r2_key IS NOT NULL AND m.deleted_at IS NULL
         ON CONFLICT(memory, product) DO NOTHING",
        (generation, write.now().0),
    )?;
    Ok(())
}
