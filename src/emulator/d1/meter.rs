//! Counts rows read and written, as far as `SQLite` tells.
//!
//! Written: a row of a rowid table counts one when it is deleted, one plus the table's indexes
//! when it is inserted, one plus the indexes over the updated columns when it is updated; every
//! change that `SQLite` counts without reporting it (tables WITHOUT ROWID, a DELETE without WHERE)
//! counts one. That agrees with Cloudflare's engine on plain tables. It overstates partial
//! indexes and FTS5, whose shadow tables are counted too, and leaves out changes of the schema.
//!
//! Read: the steps of full scans or the rows returned, whichever is more.

use super::authorizer::Touched;
use rusqlite::Connection;
use rusqlite::hooks::Action;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What a statement cost.
#[derive(Debug, Clone, Default)]
pub(in crate::emulator) struct Meta {
    pub(super) changes: u64,
    pub(super) last_row_id: i64,
    pub(super) changed_db: bool,
    pub(super) size_after: u64,
    pub(super) rows_read: u64,
    pub(super) rows_written: u64,
}

impl Meta {
    pub(super) fn to_json(&self) -> Value {
        // Durations are made up: the account lives in its own time.
        json!({
            "served_by": "emulator",
            "served_by_region": "LOCAL",
            "served_by_primary": true,
            "timings": {"sql_duration_ms": 0.1},
            "duration": 0.1,
            "changes": self.changes,
            "last_row_id": self.last_row_id,
            "changed_db": self.changed_db,
            "size_after": self.size_after,
            "rows_read": self.rows_read,
            "rows_written": self.rows_written,
            "total_attempts": 1,
        })
    }
}

type Seen = Arc<Mutex<BTreeMap<String, Counted>>>;

#[derive(Default, Clone, Copy)]
struct Counted {
    inserted: u64,
    updated: u64,
    deleted: u64,
}

/// Listens to a connection's changes.
pub(super) struct Meter {
    seen: Seen,
    changes_before: u64,
}

impl Meter {
    pub(super) fn listen(connection: &Connection) -> rusqlite::Result<Self> {
        let seen = Seen::default();
        let heard = Arc::clone(&seen);
        connection.update_hook(Some(move |action: Action, _: &str, table: &str, _: i64| {
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            let counted = heard.entry(table.to_owned()).or_default();
            match action {
                Action::SQLITE_INSERT => counted.inserted += 1,
                Action::SQLITE_UPDATE => counted.updated += 1,
                _ => counted.deleted += 1,
            }
        }))?;
        Ok(Self { seen, changes_before: 0 })
    }

    pub(super) fn begin(&mut self, connection: &Connection) {
        self.changes_before = connection.total_changes();
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Changed rows, and rows written with their index entries, since [`Meter::begin`].
    pub(super) fn end(
        &self,
        connection: &Connection,
        touched: &Touched,
    ) -> rusqlite::Result<(u64, u64)> {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        let changes = connection.total_changes().saturating_sub(self.changes_before);
        let mut reported = 0;
        let mut written = 0;
        for (table, counted) in &seen {
            let (all, over_updated) = indexes(connection, table, touched)?;
            reported += counted.inserted + counted.updated + counted.deleted;
            written += counted.inserted * (1 + all)
                + counted.updated * (1 + over_updated)
                + counted.deleted;
        }
        Ok((changes, written + changes.saturating_sub(reported)))
    }
}

/// How many indexes `table` has, and how many of them hold a column that is being updated.
fn indexes(
    connection: &Connection,
    table: &str,
    touched: &Touched,
) -> rusqlite::Result<(u64, u64)> {
    let mut statement = connection.prepare_cached(
        "SELECT l.seq, i.name FROM pragma_index_list(?1) l, pragma_index_info(l.name) i",
    )?;
    let mut all = BTreeMap::<i64, bool>::new();
    let mut rows = statement.query([table])?;
    while let Some(row) = rows.next()? {
        // An index over an expression has no column name.
        let column: Option<String> = row.get(1)?;
        let is_updated =
            column.is_none_or(|column| touched.updates.contains(&(table.to_owned(), column)));
        *all.entry(row.get(0)?).or_default() |= is_updated;
    }
    let over_updated = all.values().filter(|is_updated| **is_updated).count();
    Ok((all.len() as u64, over_updated as u64))
}
