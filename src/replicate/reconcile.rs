//! What the cloud says of one memory, made into registers: pure.
//!
//! Usually the row of the Python service shows exactly the state that memtide wrote beside it. Where it
//! doesn't, the service has written since, and what it wrote becomes registers: by device 0, stamped with
//! the row's own instant, and later than the register it replaces, as the service had seen that. Every
//! device derives the same registers from the same row.
//!
//! What the service does is not always what it means. It overwrites metadata by half, so a missing key is
//! no removal. Its hybrid clients upload old copies again, so a living row revives a deleted memory only if
//! it was created after the deletion. It purges the rows of deleted memories and rewrites others by
//! delete and insert, so a missing row is no deletion. In all these cases the row is written again by
//! the next push.

use crate::model::id::BodyHash;
use crate::model::shown::{Shown, VOLATILE, instant};
use crate::model::state::State;
use crate::model::takeover::{newborn, taken_over};
use crate::remote::feed::FeedRow;

/// Seconds that a write of the Python service is left to settle: it sends a memory and its tags in
/// requests of their own.
pub const SETTLE_S: i64 = 10;

/// Reads a row of the feed.
///
/// # Errors
/// Why it can't be taken, as a sentence.
pub fn read_row(row: &FeedRow) -> Result<Shown, String> {
    if let Some(column) = row.odd {
        return Err(format!("the column {column} of its row has a value of another type"));
    }
    let created_at = instant("created_at", row.created_at)?
        .ok_or_else(|| "its row has no created_at".to_owned())?;
    let updated_at = instant("updated_at", row.updated_at)?.unwrap_or(created_at);
    let mut shown = Shown::new(created_at, updated_at);
    shown.deleted_at = instant("deleted_at", row.deleted_at)?;
    if shown.deleted_at.is_some() {
        // What a deleted row still says is nobody's concern.
        return Ok(shown);
    }
    shown.read_kind(row.memory_type.as_deref())?;
    shown.read_tags(&row.tags)?;
    shown.read_metadata(row.metadata_json.as_deref())?;
    shown.metadata.retain(|key, _| !VOLATILE.contains(&key.as_str()));
    Ok(shown)
}

/// What the cloud holds for a memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciled {
    /// Its registers.
    pub state: State,
    /// Whether the database shows exactly that, state and row: nothing is to be written.
    pub is_shown: bool,
}

/// Whether the row shows something else than `state`: the Python service has written since.
pub fn is_touched(state: Option<&State>, row: Option<&Shown>) -> bool {
    let Some(row) = row else { return false };
    let Some(state) = state else { return true };
    match (state.is_alive(), row.deleted_at) {
        (true, None) => !row.shows(state),
        (false, Some(_)) => false,
        _ => true,
    }
}

/// Brings state and row together. `body` names the text that stands in the row, if it was read; `None`
/// where the database holds neither.
pub fn reconcile(
    state: Option<State>,
    row: Option<&Shown>,
    body: Option<BodyHash>,
) -> Option<Reconciled> {
    let is_other_text =
        |state: &State| body.is_some_and(|body| state.is_alive() && state.text.value != body);
    match (state, row) {
        (None, None) => None,
        (None, Some(row)) => {
            let state = newborn(row, body?);
            Some(Reconciled { state, is_shown: false })
        }
        (Some(state), None) => {
            // The row of a dead memory may be purged; that of a living one is written again.
            let is_shown = !state.is_alive();
            Some(Reconciled { state, is_shown })
        }
        (Some(state), Some(row)) => {
            let is_shown = !is_touched(Some(&state), Some(row)) && !is_other_text(&state);
            let state = if is_shown { state } else { taken_over(state, row, body) };
            Some(Reconciled { state, is_shown })
        }
    }
}

#[cfg(test)]
mod tests;
