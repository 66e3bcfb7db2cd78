//! The duty that has waited longest, and what of its memory must be carried out before it.

use super::error::StoreError;
use super::outbox::{ENTRY, Entry, Product, entry};
use super::reader::Read;
use rusqlite::params_from_iter;

/// The states of duties, the most pressing first: a line is looked at only if those before it hold none.
const STATES: [&str; 3] = ["'due', 'conflict'", "'waiting_for_embedding'", "'parked'"];
/// The place of a product on a memory's way.
const WAY: &str = "CASE o.product WHEN 'r2' THEN 0 WHEN 'd1' THEN 1 ELSE 2 END";

/// A duty, and the one of the same memory that comes before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Oldest {
    /// The duty.
    pub duty: Entry,
    /// The first one on the memory's way that must be carried out before it.
    pub after: Option<Entry>,
}

/// The oldest pending duty; where nothing is pending the oldest that waits for a vector, else the oldest
/// that is parked. Of several of one age the first on its memory's way.
///
/// # Errors
/// The database refused.
pub fn oldest(read: &Read<'_>) -> Result<Option<Oldest>, StoreError> {
    for states in STATES {
        // The index on `since` brings them in this order: only the first is read.
        let of_state = format!("o.state IN ({states}) ORDER BY o.since, o.memory, {WAY}");
        let Some((key, duty)) = first(read, &of_state, None)? else { continue };
        let before = match duty.product {
            Product::R2 => "",
            Product::D1 => "'r2'",
            Product::Vectorize => "'r2', 'd1'",
        };
        let of_memory = format!("o.memory = ?1 AND o.product IN ({before}) ORDER BY {WAY}");
        let after = first(read, &of_memory, Some(key))?.map(|(_, entry)| entry);
        return Ok(Some(Oldest { duty, after }));
    }
    Ok(None)
}

/// The first of these duties, and its memory's key.
fn first(
    read: &Read<'_>,
    which: &str,
    key: Option<i64>,
) -> Result<Option<(i64, Entry)>, StoreError> {
    let sql = format!("{ENTRY} WHERE {which} LIMIT 1");
    let mut statement = read.conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(key))?;
    rows.next()?.map(|row| Ok((row.get("memory")?, entry(row)?))).transpose()
}
