//! The duty that has waited longest, and what of its memory must be carried out before it.

use super::error::StoreError;
use super::outbox::{ENTRY, Entry, Product, entry};
use super::reader::Read;
use rusqlite::OptionalExtension as _;

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
        // The index brings them in this order: the first that is in such a state is the last one read.
        let sql = format!(
            "SELECT memory FROM outbox INDEXED BY outbox_since WHERE state IN ({states})
             ORDER BY since, memory LIMIT 1"
        );
        let key = read.conn.prepare_cached(&sql)?.query_row([], |row| row.get(0)).optional()?;
        let Some(key) = key else { continue };
        let in_state = format!("o.state IN ({states}) ORDER BY o.since, {WAY}");
        let Some(duty) = first(read, key, &in_state)? else { continue };
        let before = match duty.product {
            Product::R2 => "",
            Product::D1 => "'r2'",
            Product::Vectorize => "'r2', 'd1'",
        };
        let after = first(read, key, &format!("o.product IN ({before}) ORDER BY {WAY}"))?;
        return Ok(Some(Oldest { duty, after }));
    }
    Ok(None)
}

/// The first of these duties of one memory.
fn first(read: &Read<'_>, key: i64, which: &str) -> Result<Option<Entry>, StoreError> {
    let sql = format!("{ENTRY} WHERE o.memory = ?1 AND {which} LIMIT 1");
    let mut statement = read.conn.prepare_cached(&sql)?;
    let mut rows = statement.query([key])?;
    rows.next()?.map(entry).transpose()
}
