//! One database.

use super::authorizer::Watch;
use super::errors::text;
use super::limits;
use super::meter::{Meta, Meter};
use super::{values, world};
use crate::clock::{Micros, SharedClock};
use crate::emulator::chance::Chance;
use crate::emulator::envelope::Failure;
use rusqlite::backup::Backup;
use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::hooks::AuthContext;
use rusqlite::{Batch, Connection, StatementStatus};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

/// What the engine says to BEGIN and its like.
const NO_TRANSACTIONS: &str = "To execute a transaction, please use the \
    state.storage.transaction() or state.storage.transactionSync() APIs instead of the SQL BEGIN \
    TRANSACTION or SAVEPOINT statements. The JavaScript API is safer because it will \
    automatically roll back on exceptions, and because it interacts correctly with Durable \
    Objects' automatic atomic write coalescing.";

/// How many snapshots of a database are kept; the oldest goes first.
const SNAPSHOTS: usize = 16;

/// One statement to run.
pub(super) struct Ask {
    pub(super) sql: String,
    pub(super) params: Vec<Value>,
}

/// What a statement gave.
pub(super) struct Ran {
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<Vec<Value>>,
    pub(super) meta: Meta,
}

/// What is left of the day's rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quota {
    pub(super) may_read: bool,
    pub(super) may_write: bool,
}

/// A `SQLite` with D1's manners.
pub(in crate::emulator) struct Database {
    pub(super) uuid: String,
    pub(super) name: String,
    created_at: Micros,
    connection: Connection,
    watch: Arc<Watch>,
    meter: Meter,
    snapshots: Vec<Snapshot>,
}

struct Snapshot {
    bookmark: String,
    at: Micros,
    copy: Connection,
}

impl Database {
    pub(super) fn create(
        uuid: &str,
        name: &str,
        clock: &SharedClock,
        file: Option<&Path>,
        max_bytes: u64,
    ) -> rusqlite::Result<Self> {
        let connection = match file {
            Some(file) => Connection::open(file)?,
            None => Connection::open_in_memory()?,
        };
        // Durability isn't this file's promise: the emulator's data may go with its process.
        connection.execute_batch("PRAGMA foreign_keys = ON; PRAGMA synchronous = OFF;")?;
        limits::apply(&connection, max_bytes)?;
        world::place(&connection, clock, uuid)?;
        let watch = Arc::new(Watch::default());
        let judge = Arc::clone(&watch);
        connection.authorizer(Some(move |context: AuthContext<'_>| judge.judge(&context)))?;
        let meter = Meter::listen(&connection)?;
        Ok(Self {
            uuid: uuid.to_owned(),
            name: name.to_owned(),
            created_at: clock.now(),
            connection,
            watch,
            meter,
            snapshots: Vec::new(),
        })
    }

    /// The connection, without limits of what a statement may do: for looking in from outside.
    pub(in crate::emulator) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// A copy of the present state, which nothing changes.
    pub(in crate::emulator) fn copy(&self) -> rusqlite::Result<Connection> {
        let mut copy = Connection::open_in_memory()?;
        copied(&self.connection, &mut copy)?;
        Ok(copy)
    }

    /// Puts the database into the state of `copy`.
    pub(in crate::emulator) fn become_copy(&mut self, copy: &Connection) -> rusqlite::Result<()> {
        copied(copy, &mut self.connection)
    }

    pub(super) fn describe(&mut self) -> Value {
        let tables: i64 = self
            .connection
            .query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", [], |row| {
                row.get(0)
            })
            .unwrap_or(0);
        json!({
            "uuid": self.uuid,
            "name": self.name,
            "version": "production",
            "created_at": self.created_at.to_rfc3339(),
            "num_tables": tables,
            "file_size": self.size(),
            "running_in_region": "WEUR",
            "read_replication": {"mode": "disabled"},
        })
    }

    fn size(&self) -> u64 {
        let pragma = |name: &str| -> u64 {
            let value = self.connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0));
            value.map_or(0, |n: i64| u64::try_from(n).unwrap_or(0))
        };
        pragma("page_count") * pragma("page_size")
    }

    /// Runs all statements in one transaction: all of them or none. The error is the text that
    /// the service shows.
    pub(super) fn run(&mut self, asks: &[Ask], quota: Quota) -> Result<Vec<Ran>, String> {
        self.connection.execute_batch("BEGIN").map_err(|error| text(&error))?;
        let mut switched = false;
        let ran = asks
            .iter()
            .map(|ask| self.run_one(ask, quota, &mut switched))
            .collect::<Result<Vec<_>, _>>()
            .and_then(|ran| {
                // Deferred foreign keys are checked here.
                self.connection.execute_batch("COMMIT").map_err(|error| text(&error))?;
                Ok(ran)
            });
        if ran.is_err() && !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK").map_err(|error| text(&error))?;
        }
        if switched {
            self.reset_switches().map_err(|error| text(&error))?;
        }
        ran
    }

    /// Puts the pragmas back that callers may set: they last one call.
    fn reset_switches(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch(
            "PRAGMA foreign_keys = ON; PRAGMA case_sensitive_like = OFF;
             PRAGMA ignore_check_constraints = OFF; PRAGMA legacy_alter_table = OFF;
             PRAGMA recursive_triggers = OFF; PRAGMA reverse_unordered_selects = OFF;",
        )
    }

    fn run_one(&mut self, ask: &Ask, quota: Quota, switched: &mut bool) -> Result<Ran, String> {
        let size_before = self.size();
        let last_row_before = self.connection.last_insert_rowid();
        self.meter.begin(&self.connection);
        self.watch.begin();
        let stepped = step(&self.connection, ask, quota);
        self.watch.end();
        let touched = self.watch.take();
        *switched |= touched.pragma;
        let (columns, rows, scanned) = match stepped {
            Err(_) if touched.transaction => return Err(NO_TRANSACTIONS.to_owned()),
            other => other?,
        };
        let (changes, rows_written) =
            self.meter.end(&self.connection, &touched).map_err(|error| text(&error))?;
        let size_after = self.size();
        let last_row_id = self.connection.last_insert_rowid();
        let changed_db = changes > 0 || size_after != size_before || last_row_id != last_row_before;
        let rows_read = if touched.reads { scanned.max(rows.len() as u64) } else { 0 };
        let meta = Meta { changes, last_row_id, changed_db, size_after, rows_read, rows_written };
        Ok(Ran { columns, rows, meta })
    }

    /// Names the state at `at`, or the present one. A past state is the newest snapshot that was
    /// taken before it; snapshots are taken whenever a bookmark of the present is asked for.
    pub(super) fn bookmark(
        &mut self,
        at: Option<Micros>,
        now: Micros,
        chance: &mut Chance,
    ) -> Result<String, Failure> {
        if let Some(at) = at.filter(|at| *at < now) {
            let past = self.snapshots.iter().rev().find(|snapshot| snapshot.at <= at);
            return past.map(|snapshot| snapshot.bookmark.clone()).ok_or_else(no_bookmark);
        }
        let bookmark = format!(
            "{:08x}-00000000-{:08x}-{}",
            self.snapshots.len(),
            now.0.div_euclid(1_000_000) & 0xFFFF_FFFF,
            chance.hex32()
        );
        let copy = self.copy().map_err(|error| Failure::new(500, 7500, text(&error)))?;
        if self.snapshots.len() == SNAPSHOTS {
            self.snapshots.remove(0);
        }
        self.snapshots.push(Snapshot { bookmark: bookmark.clone(), at: now, copy });
        Ok(bookmark)
    }

    /// Puts the database back to a bookmark.
    pub(super) fn restore(&mut self, bookmark: &str) -> Result<(), Failure> {
        let snapshot = self
            .snapshots
            .iter()
            .find(|snapshot| snapshot.bookmark == bookmark)
            .ok_or_else(no_bookmark)?;
        copied(&snapshot.copy, &mut self.connection)
            .map_err(|error| Failure::new(500, 7500, text(&error)))
    }
}

fn no_bookmark() -> Failure {
    Failure::new(400, 7400, "Invalid property: bookmark => no state is kept under it")
}

fn copied(from: &Connection, to: &mut Connection) -> rusqlite::Result<()> {
    // All pages in one step: nobody else uses either connection.
    Backup::new(from, to)?.step(-1).map(|_| ())
}

type Stepped = (Vec<String>, Vec<Vec<Value>>, u64);

fn step(connection: &Connection, ask: &Ask, quota: Quota) -> Result<Stepped, String> {
    let shown = |error: rusqlite::Error| text(&error);
    let Some(mut statement) = Batch::new(connection, &ask.sql).next().map_err(shown)? else {
        return Err("SQL code did not contain a statement.".to_owned());
    };
    if statement.parameter_count() != ask.params.len() {
        return Err("Wrong number of parameter bindings for SQL query.".to_owned());
    }
    if !statement.readonly() && !quota.may_write {
        return Err("Your account has exceeded D1's free tier daily row write limit".to_owned());
    }
    if !quota.may_read {
        return Err("Your account has exceeded D1's free tier daily row read limit".to_owned());
    }
    for (index, param) in ask.params.iter().enumerate() {
        statement.raw_bind_parameter(index + 1, values::bound(param)).map_err(shown)?;
    }
    let columns: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
    let mut rows = Vec::new();
    let mut cursor = statement.raw_query();
    while let Some(row) = cursor.next().map_err(shown)? {
        let values = (0..columns.len()).map(|column| row.get_ref(column).map(values::shown));
        rows.push(values.collect::<Result<Vec<_>, _>>().map_err(shown)?);
    }
    drop(cursor);
    let scanned = statement.get_status(StatementStatus::FullscanStep);
    Ok((columns, rows, u64::try_from(scanned).unwrap_or(0)))
}
