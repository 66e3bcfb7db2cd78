//! The versions of a memory that were replaced, so that they can be looked at and brought back.

use super::error::StoreError;
use super::reader::Read;
use super::row::{Cause, Row, metadata_json};
use super::writer::Write;
use crate::clock::Micros;
use crate::model::state::State;
use rusqlite::{OptionalExtension as _, Row as SqlRow};

/// A version that was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its number within the memory, from 1.
    pub version: i64,
    /// When it was replaced.
    pub at: Micros,
    /// By what: `store`, `update`, `delete`, `restore`, `import`, `follow`, `pull`.
    pub cause: String,
    /// By which program.
    pub client: String,
    /// The memory type it had.
    pub memory_type: String,
    /// The tags it had, sorted.
    pub tags: Vec<String>,
    /// The metadata it had, a JSON object.
    pub metadata: String,
    /// The text it had.
    pub content: String,
}

/// Keeps what `before` showed, if `after` shows something else. A deleted memory shows nothing, so what
/// it last showed is kept by its deletion already.
pub(super) fn record(
    write: &Write<'_>,
    before: &Row,
    after: &State,
    cause: Cause,
    client: &str,
) -> Result<(), StoreError> {
    let old = &before.state;
    if shows_same(old, after) || !old.is_alive() {
        return Ok(());
    }
    let version = Version {
        version: last(write, before.key)? + 1,
        at: write.now(),
        cause: cause.as_str().to_owned(),
        client: client.to_owned(),
        memory_type: old.kind.value.clone(),
        tags: old.live_tags().into_iter().map(str::to_owned).collect(),
        metadata: metadata_json(old),
        content: before.content.clone().unwrap_or_default(),
    };
    insert(write, before.key, &version)
}

/// Keeps what came from elsewhere and lost in a merge, unless it shows what is here, or what the merge
/// shows, or is kept already. Without its text there is nothing to keep.
pub(super) fn record_loser(
    write: &Write<'_>,
    here: &Row,
    loser: &State,
    merged: &State,
    content: Option<&str>,
    cause: Cause,
) -> Result<(), StoreError> {
    let Some(content) = content else { return Ok(()) };
    if shows_same(loser, merged) || shows_same(loser, &here.state) {
        return Ok(());
    }
    let version = Version {
        version: last(write, here.key)? + 1,
        at: write.now(),
        cause: cause.as_str().to_owned(),
        client: loser.birth.value.client.clone(),
        memory_type: loser.kind.value.clone(),
        tags: loser.live_tags().into_iter().map(str::to_owned).collect(),
        metadata: metadata_json(loser),
        content: content.to_owned(),
    };
    let tags = serde_json::to_string(&version.tags).unwrap_or_default();
    let is_kept = write
        .conn
        .prepare_cached(
            "SELECT 1 FROM history WHERE memory = ?1 AND content = ?2 AND kind = ?3 AND tags = ?4
               AND metadata = ?5",
        )?
        .exists((here.key, content, &version.memory_type, tags, &version.metadata))?;
    if is_kept { Ok(()) } else { insert(write, here.key, &version) }
}

fn shows_same(one: &State, other: &State) -> bool {
    one.life.value == other.life.value
        && one.text.value == other.text.value
        && one.kind.value == other.kind.value
        && one.live_tags() == other.live_tags()
        && one.live_metadata() == other.live_metadata()
}

/// Keeps a version from elsewhere, as the newest one, unless it is kept already.
pub(super) fn insert_missing(
    write: &Write<'_>,
    key: i64,
    version: &Version,
) -> Result<(), StoreError> {
    let is_kept = write
        .conn
        .prepare_cached("SELECT 1 FROM history WHERE memory = ?1 AND at = ?2 AND content = ?3")?
        .exists((key, version.at.0, &version.content))?;
    if is_kept {
        return Ok(());
    }
    insert(write, key, &Version { version: last(write, key)? + 1, ..version.clone() })
}

fn last(write: &Write<'_>, key: i64) -> Result<i64, StoreError> {
    Ok(write
        .conn
        .prepare_cached("SELECT coalesce(max(version), 0) FROM history WHERE memory = ?1")?
        .query_row([key], |row| row.get(0))?)
}

/// Writes a version and drops those beyond the number that is kept.
pub(super) fn insert(write: &Write<'_>, key: i64, version: &Version) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached(
            "INSERT INTO history(memory, version, at, cause, client, kind, tags, metadata, content)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(rusqlite::params![
            key,
            version.version,
            version.at.0,
            version.cause,
            version.client,
            version.memory_type,
            serde_json::to_string(&version.tags).unwrap_or_default(),
            version.metadata,
            version.content,
        ])?;
    write
        .conn
        .prepare_cached("DELETE FROM history WHERE memory = ?1 AND version <= ?2")?
        .execute((key, version.version - i64::from(write.keep_versions)))?;
    Ok(())
}

const COLUMNS: &str = "version, at, cause, client, kind, tags, metadata, content";

fn version(row: &SqlRow<'_>) -> rusqlite::Result<Version> {
    Ok(Version {
        version: row.get(0)?,
        at: Micros(row.get(1)?),
        cause: row.get(2)?,
        client: row.get(3)?,
        memory_type: row.get(4)?,
        tags: serde_json::from_str(&row.get::<_, String>(5)?).unwrap_or_default(),
        metadata: row.get(6)?,
        content: row.get(7)?,
    })
}

/// All kept versions of a memory, oldest first.
pub(super) fn all(read: &Read<'_>, key: i64) -> Result<Vec<Version>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM history WHERE memory = ?1 ORDER BY version");
    let mut statement = read.conn.prepare_cached(&sql)?;
    let versions = statement.query_map([key], version)?.collect::<rusqlite::Result<_>>()?;
    Ok(versions)
}

/// One kept version.
pub(super) fn one(write: &Write<'_>, key: i64, number: i64) -> Result<Option<Version>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM history WHERE memory = ?1 AND version = ?2");
    Ok(write.conn.prepare_cached(&sql)?.query_row((key, number), version).optional()?)
}
