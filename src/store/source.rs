//! Databases of the Python service as the store knows them: how far each has been taken over, and what its
//! rows showed last.

use super::error::StoreError;
use super::reader::Read;
use super::writer::Write;
use crate::clock::Micros;
use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow};

/// How far the move from a source has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// An import is under way; it goes on when the daemon starts again.
    Importing,
    /// An import was given up before its end; the next one goes on from there.
    Stopped,
    /// All that the source had was taken over.
    Imported,
    /// And compared: all of it agrees.
    Verified,
    /// The move is over.
    Finished,
}

impl Stage {
    const ALL: [Self; 5] =
        [Self::Importing, Self::Stopped, Self::Imported, Self::Verified, Self::Finished];

    /// Its name in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Importing => "importing",
            Self::Stopped => "stopped",
            Self::Imported => "imported",
            Self::Verified => "verified",
            Self::Finished => "finished",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.as_str() == text)
    }
}

/// A source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its local key.
    pub key: i64,
    /// Its file.
    pub path: String,
    /// How far the move has come.
    pub stage: Stage,
    /// Whether its changes are to be taken over as they come.
    pub is_followed: bool,
    /// The row up to which an import has read that isn't done; else 0.
    pub cursor: i64,
    /// Its rows that are here.
    pub imported: u64,
    /// Its rows, at the last look at all of them.
    pub total: u64,
    /// When the first import began.
    pub began_at: Micros,
    /// When something was last taken over.
    pub changed_at: Micros,
    /// The report of the last import, JSON.
    pub report: Option<String>,
}

const COLUMNS: &str =
    "key, path, state, is_followed, cursor, imported, total, began_at, changed_at, report";

fn source(row: &SqlRow<'_>) -> rusqlite::Result<Source> {
    let stage: String = row.get(2)?;
    Ok(Source {
        key: row.get(0)?,
        path: row.get(1)?,
        stage: Stage::parse(&stage).unwrap_or(Stage::Stopped),
        is_followed: row.get(3)?,
        cursor: row.get(4)?,
        imported: row.get(5)?,
        total: row.get(6)?,
        began_at: Micros(row.get(7)?),
        changed_at: Micros(row.get(8)?),
        report: row.get(9)?,
    })
}

fn one(
    conn: &Connection,
    end: &str,
    value: &dyn rusqlite::ToSql,
) -> Result<Option<Source>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM source {end}");
    Ok(conn.prepare_cached(&sql)?.query_row([value], source).optional()?)
}

/// The source that was begun or followed last, if there is any.
///
/// # Errors
/// The database refused.
pub fn current(read: &Read<'_>) -> Result<Option<Source>, StoreError> {
    // The bound value is the number of rows wanted.
    one(
        read.conn,
        "WHERE path <> '' ORDER BY is_followed DESC, began_at DESC, key DESC LIMIT ?1",
        &1,
    )
}

/// The source whose import was under way when the daemon ended, if there is any: that begun last.
///
/// # Errors
/// The database refused.
pub fn interrupted(read: &Read<'_>) -> Result<Option<Source>, StoreError> {
    let end = "WHERE state = ?1 ORDER BY began_at DESC, key DESC LIMIT 1";
    one(read.conn, end, &Stage::Importing.as_str())
}

/// The source at `path`.
///
/// # Errors
/// The database refused.
pub fn at(read: &Read<'_>, path: &str) -> Result<Option<Source>, StoreError> {
    one(read.conn, "WHERE path = ?1", &path)
}

/// The same before a change.
///
/// # Errors
/// The database refused.
pub fn at_path(write: &Write<'_>, path: &str) -> Result<Option<Source>, StoreError> {
    one(write.conn, "WHERE path = ?1", &path)
}

/// The key of what stands for all exports that were imported: no file of the service, and never current.
///
/// # Errors
/// The database refused.
pub(super) fn of_exports(write: &mut Write<'_>) -> Result<i64, StoreError> {
    write.conn.execute(
        "INSERT OR IGNORE INTO source(path, state, is_followed, cursor, imported, total, began_at, changed_at)
         VALUES ('', 'finished', 0, 0, 0, 0, 0, 0)",
        [],
    )?;
    Ok(write.conn.query_row("SELECT key FROM source WHERE path = ''", [], |row| row.get(0))?)
}

/// Begins, or goes on with, an import from `path`, whose rows are `total`.
///
/// # Errors
/// The database refused.
pub fn begin(write: &mut Write<'_>, path: &str, total: u64) -> Result<Source, StoreError> {
    let now = write.now().0;
    let total = i64::try_from(total).unwrap_or(i64::MAX);
    write
        .conn
        .prepare_cached(
            "INSERT INTO source(path, state, is_followed, cursor, imported, total, began_at, changed_at)
             VALUES (?1, 'importing', 0, 0, 0, ?2, ?3, ?3)
             ON CONFLICT(path) DO UPDATE SET state = 'importing', total = excluded.total,
               began_at = excluded.began_at",
        )?
        .execute((path, total, now))?;
    one(write.conn, "WHERE path = ?1", &path)?
        .ok_or_else(|| StoreError::Corrupt("a source that was just written is gone".to_owned()))
}

/// The file of a source is at `path` from here on.
///
/// # Errors
/// The database refused.
pub fn relocate(write: &mut Write<'_>, key: i64, path: &str) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached("UPDATE source SET path = ?2 WHERE key = ?1")?
        .execute((key, path))?;
    Ok(())
}

/// An import has come to its end, or was given up; `report` says how it went.
///
/// # Errors
/// The database refused.
pub fn end(
    write: &mut Write<'_>,
    key: i64,
    stage: Stage,
    report: Option<&str>,
) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached(
            "UPDATE source SET state = ?2, report = coalesce(?3, report),
               cursor = CASE ?2 WHEN 'imported' THEN 0 ELSE cursor END WHERE key = ?1",
        )?
        .execute((key, stage.as_str(), report))?;
    Ok(())
}

/// Notes how many rows a source has.
///
/// # Errors
/// The database refused.
pub fn set_total(write: &mut Write<'_>, key: i64, total: u64) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached("UPDATE source SET total = ?2 WHERE key = ?1 AND total <> ?2")?
        .execute((key, i64::try_from(total).unwrap_or(i64::MAX)))?;
    Ok(())
}

/// Whether the changes of a source are taken over as they come; of at most one they are. A finished move is
/// open again.
///
/// # Errors
/// The database refused.
pub fn set_followed(write: &mut Write<'_>, key: i64, is_followed: bool) -> Result<(), StoreError> {
    if is_followed {
        write.conn.execute("UPDATE source SET is_followed = 0 WHERE key <> ?1", [key])?;
        write.conn.execute(
            "UPDATE source SET state = 'imported' WHERE key = ?1 AND state = 'finished'",
            [key],
        )?;
    }
    write
        .conn
        .prepare_cached("UPDATE source SET is_followed = ?2 WHERE key = ?1")?
        .execute((key, is_followed))?;
    Ok(())
}

/// All of a source was compared and agrees.
///
/// # Errors
/// The database refused.
pub fn set_verified(write: &mut Write<'_>, key: i64) -> Result<(), StoreError> {
    write.conn.execute(
        "UPDATE source SET state = 'verified' WHERE key = ?1 AND state = 'imported'",
        [key],
    )?;
    Ok(())
}

/// The move from a source is over: nothing of it is taken over any more.
///
/// # Errors
/// The database refused.
pub fn finish(write: &mut Write<'_>, key: i64) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached(
            "UPDATE source SET state = 'finished', is_followed = 0, cursor = 0 WHERE key = ?1",
        )?
        .execute([key])?;
    Ok(())
}

/// The rows of a source that are here, each with its print, in their order.
///
/// # Errors
/// The database refused.
pub fn prints(read: &Read<'_>, key: i64) -> Result<Vec<(i64, i64)>, StoreError> {
    let mut statement = read.conn.prepare_cached(
        "SELECT row, print FROM source_row WHERE source = ?1 AND row IS NOT NULL ORDER BY row",
    )?;
    let rows = statement.query_map([key], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The ids of at most `limit` memories of a source that are in it, spread over all of them.
///
/// # Errors
/// The database refused.
pub fn some_ids(read: &Read<'_>, key: i64, limit: u32) -> Result<Vec<String>, StoreError> {
    let mut statement = read.conn.prepare_cached(
        "WITH n(rows) AS (SELECT max(imported / ?2, 1) FROM source WHERE key = ?1)
         SELECT m.id FROM source_row s JOIN memory m ON m.key = s.memory, n
         WHERE s.source = ?1 AND s.row IS NOT NULL AND s.memory % n.rows = 0 LIMIT ?2",
    )?;
    let ids = statement.query_map((key, limit), |row| row.get(0))?;
    Ok(ids.collect::<rusqlite::Result<_>>()?)
}
