//! What the cloud is found to hold at the first contact, for duties of the backfill: those that are fulfilled
//! are settled, and of the others it is noted where the cloud holds the memory. No memory is changed here.

use super::error::StoreError;
use super::outbox::{self, Product};
use super::owed;
use super::pull::Incoming;
use super::reader::Read;
use super::row::Row;
use super::writer::Write;
use crate::model::id::MemoryId;
use crate::model::state::State;
use std::collections::BTreeSet;

/// Compares a memory with what the cloud holds of it, for a device that takes nothing: what is there already
/// is owed no more. Returns whether a push would lose something that is there: then the row is in conflict.
///
/// # Errors
/// The database refused.
pub fn look_at(write: &mut Write<'_>, incoming: &Incoming) -> Result<bool, StoreError> {
    let Some(here) = Row::load(write, &incoming.id)? else { return Ok(false) };
    let row = incoming.row.as_deref();
    let lacks_vector = row.is_some_and(|row| row.lacks_vector(&here.state));
    let is_right = row.is_some_and(|row| row.is_right(&here.state));
    let has_entry = row.is_none_or(|row| row.has_entry);
    let is_held = here.state == incoming.state && incoming.is_shown && !lacks_vector;
    let mut merged = here.state.clone();
    merged.merge(&incoming.state);
    // Registers of the service's row were made from what it shows: what shows the same loses nothing.
    let loses_nothing = merged == here.state || (!has_entry && is_same(&merged, &here.state));
    if !loses_nothing {
        let why = "the cloud holds something newer of this memory, which a device that only pushes \
                   doesn't merge";
        is_in_conflict(write, here.key, why)?;
        return Ok(true);
    }
    outbox::set_position(write, here.key, incoming.seq)?;
    if let Some(key) = incoming.r2_key.as_ref().filter(|_| is_right || is_held) {
        outbox::set_body_key(write, here.key, key)?;
    }
    if is_held {
        owed::is_held(write, here.key, here.state.is_findable())?;
    } else if is_right {
        owed::row_is_right(write, here.key)?;
    } else if !is_same(&incoming.state, &here.state) {
        owed::vector_is_old(write, here.key)?;
    }
    Ok(false)
}

/// The row of a memory waits for a merge, and `why`.
fn is_in_conflict(write: &Write<'_>, key: i64, why: &str) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached(
            "UPDATE outbox SET state = 'conflict', due_at = 0, error = ?2
             WHERE memory = ?1 AND product = 'd1' AND state = 'due'",
        )?
        .execute((key, why))?;
    Ok(())
}

/// Memories that owe the cloud anything in the backfill lane, in whatever state that is.
///
/// # Errors
/// The database refused.
pub fn n_backfill(read: &Read<'_>) -> Result<u64, StoreError> {
    Ok(read
        .conn
        .prepare_cached("SELECT count(DISTINCT memory) FROM outbox WHERE lane = 1")?
        .query_row([], |row| row.get(0))?)
}

/// Whether any duty to `product` in the backfill lane is to be carried out.
///
/// # Errors
/// The database refused.
pub fn has_backfill(read: &Read<'_>, product: Product) -> Result<bool, StoreError> {
    Ok(read
        .conn
        .prepare_cached(
            "SELECT 1 FROM outbox WHERE product = ?1 AND lane = 1
               AND state IN ('due', 'waiting_for_embedding')",
        )?
        .exists([product.as_str()])?)
}

/// Whether two states show the same.
fn is_same(one: &State, other: &State) -> bool {
    one.is_alive() == other.is_alive()
        && (!one.is_alive()
            || (one.text.value == other.text.value
                && one.kind.value == other.kind.value
                && one.superseded_by.value == other.superseded_by.value
                && one.live_tags() == other.live_tags()
                && one.live_metadata() == other.live_metadata()))
}

/// The index holds vectors of these ids: the backfill owes it none of those that are to be there. Returns
/// how many duties are settled.
///
/// # Errors
/// The database refused.
pub fn vectors_are_there(write: &mut Write<'_>, ids: &[MemoryId]) -> Result<u64, StoreError> {
    let mut n_settled = 0;
    for id in ids {
        n_settled += write
            .conn
            .prepare_cached(
                "DELETE FROM outbox WHERE product = 'vectorize' AND lane = 1 AND error IS NULL
                   AND state IN ('due', 'waiting_for_embedding')
                   AND memory = (SELECT key FROM memory
                     WHERE id = ?1 AND deleted_at IS NULL AND superseded_by IS NULL)",
            )?
            .execute([id.to_string()])?;
    }
    Ok(u64::try_from(n_settled).unwrap_or(u64::MAX))
}

/// The index holds no other vectors than `listed`: the backfill need not take out what isn't there. Returns
/// how many duties are settled.
///
/// # Errors
/// The database refused.
pub fn other_vectors_are_gone(
    write: &mut Write<'_>,
    listed: &BTreeSet<MemoryId>,
) -> Result<u64, StoreError> {
    let mut keys: Vec<i64> = Vec::new();
    {
        let mut statement = write.conn.prepare_cached(
            "SELECT m.key, m.id FROM outbox o JOIN memory m ON m.key = o.memory
             WHERE o.product = 'vectorize' AND o.lane = 1 AND o.error IS NULL
               AND (m.deleted_at IS NOT NULL OR m.superseded_by IS NOT NULL)",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let id = super::column::parse_id(row.get_ref(1)?.as_str().unwrap_or_default())?;
            if !listed.contains(&id) {
                keys.push(row.get(0)?);
            }
        }
    }
    let mut n_settled = 0;
    for key in keys {
        n_settled += write
            .conn
            .prepare_cached("DELETE FROM outbox WHERE memory = ?1 AND product = 'vectorize'")?
            .execute([key])?;
    }
    Ok(u64::try_from(n_settled).unwrap_or(u64::MAX))
}
