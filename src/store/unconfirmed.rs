//! Changes of the vector index that were accepted and are not confirmed yet. The index takes its time,
//! and may drop what it has accepted: a change is done only once the index has been seen to hold it.
//!
//! What the index should hold is what the memory is now, not what was sent: another device may have
//! brought the memory back, or deleted it, while its change was overtaken by ours.
//!
//! Changes are numbered in the order in which they were submitted, by this table and no clock: what the
//! index says of one of them holds for all before it.

use super::column::parse_id;
use super::error::StoreError;
use super::outbox::Product;
use super::reader::Read;
use super::repair;
use super::writer::Write;
use crate::clock::Micros;
use crate::model::id::MemoryId;

/// What the index answered to a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted {
    /// When, by the index's clock, if it told.
    pub at: Option<Micros>,
    /// Its name for the request, if it gave one.
    pub mutation: Option<String>,
}

/// A change that is not confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unconfirmed {
    /// Its number.
    pub seq: i64,
    /// The memory's local key.
    pub key: i64,
    /// The memory.
    pub id: MemoryId,
    /// The newest stamp that was sent with the vector; `None` if the vector was deleted.
    pub rev: Option<String>,
    /// Whether the memory is to have a vector by now.
    pub is_findable: bool,
    /// When it was submitted, by this device's clock.
    pub submitted_at: Micros,
}

/// Notes a change that the index has accepted; it takes the place of an earlier one of this memory.
///
/// # Errors
/// The database refused.
pub fn note(
    write: &mut Write<'_>,
    key: i64,
    rev: Option<&str>,
    accepted: &Accepted,
) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached(
            "INSERT OR REPLACE INTO unconfirmed_vector(memory, rev, submitted_at, accepted_at, mutation)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute((key, rev, write.now().0, accepted.at.map(|at| at.0), &accepted.mutation))?;
    Ok(())
}

/// How many changes are not confirmed.
///
/// # Errors
/// The database refused.
pub fn count(read: &Read<'_>) -> Result<u64, StoreError> {
    Ok(read
        .conn
        .prepare_cached("SELECT count(*) FROM unconfirmed_vector")?
        .query_row([], |row| row.get(0))?)
}

/// When the oldest of them was submitted.
///
/// # Errors
/// The database refused.
pub fn oldest(read: &Read<'_>) -> Result<Option<Micros>, StoreError> {
    let at: Option<i64> = read
        .conn
        .prepare_cached("SELECT min(submitted_at) FROM unconfirmed_vector")?
        .query_row([], |row| row.get(0))?;
    Ok(at.map(Micros))
}

/// The number of the last change that the index must have gone through: it has told that it has
/// processed `mutation`, and everything up to `processed_at`. 0 if that is none.
///
/// # Errors
/// The database refused.
pub fn processed(
    read: &Read<'_>,
    mutation: Option<&str>,
    processed_at: Option<Micros>,
) -> Result<i64, StoreError> {
    Ok(read
        .conn
        .prepare_cached(
            "SELECT coalesce(max(seq), 0) FROM unconfirmed_vector
             WHERE mutation = ?1 OR accepted_at <= ?2",
        )?
        .query_row((mutation, processed_at.map(|at| at.0)), |row| row.get(0))?)
}

/// The number of the last change that was submitted at `at` or before; 0 if there is none.
///
/// # Errors
/// The database refused.
pub fn submitted_by(read: &Read<'_>, at: Micros) -> Result<i64, StoreError> {
    let sql = "SELECT coalesce(max(seq), 0) FROM unconfirmed_vector WHERE submitted_at <= ?1";
    Ok(read.conn.prepare_cached(sql)?.query_row([at.0], |row| row.get(0))?)
}

/// The changes up to number `upto`, oldest first, at most `limit`; and how many there are in all.
///
/// # Errors
/// The database refused.
pub fn upto(
    read: &Read<'_>,
    upto: i64,
    limit: usize,
) -> Result<(Vec<Unconfirmed>, u64), StoreError> {
    let total = read
        .conn
        .prepare_cached("SELECT count(*) FROM unconfirmed_vector WHERE seq <= ?1")?
        .query_row([upto], |row| row.get(0))?;
    let mut statement = read.conn.prepare_cached(
        "SELECT u.seq, u.memory, m.id, u.rev, u.submitted_at,
           m.deleted_at IS NULL AND m.superseded_by IS NULL
         FROM unconfirmed_vector u JOIN memory m ON m.key = u.memory
         WHERE u.seq <= ?1 ORDER BY u.seq LIMIT ?2",
    )?;
    let mut rows = statement.query((upto, i64::try_from(limit).unwrap_or(i64::MAX)))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(Unconfirmed {
            seq: row.get(0)?,
            key: row.get(1)?,
            id: parse_id(row.get_ref(2)?.as_str().unwrap_or_default())?,
            rev: row.get(3)?,
            submitted_at: Micros(row.get(4)?),
            is_findable: row.get(5)?,
        });
    }
    Ok((found, total))
}

/// Forgets changes that the index was seen to hold. One that a newer change has replaced stays.
///
/// # Errors
/// The database refused.
pub fn confirm(write: &mut Write<'_>, seqs: &[i64]) -> Result<(), StoreError> {
    for seq in seqs {
        write
            .conn
            .prepare_cached("DELETE FROM unconfirmed_vector WHERE seq = ?1")?
            .execute([seq])?;
    }
    Ok(())
}

/// Owes changes again that the index has dropped. One that a newer change has replaced stays as it is.
/// Returns how many duties are new.
///
/// # Errors
/// The database refused.
pub fn owe_again(write: &mut Write<'_>, seqs: &[i64]) -> Result<u64, StoreError> {
    let mut keys: Vec<i64> = Vec::new();
    for seq in seqs {
        let mut statement = write
            .conn
            .prepare_cached("DELETE FROM unconfirmed_vector WHERE seq = ?1 RETURNING memory")?;
        let mut rows = statement.query([seq])?;
        while let Some(row) = rows.next()? {
            keys.push(row.get(0)?);
        }
    }
    repair::owe(write, Product::Vectorize, &keys)
}

/// What a page of the index's own list says of the changes up to number `upto`: a vector that is there
/// and should be is confirmed, one that should not is owed again. Returns how many duties are new.
///
/// # Errors
/// The database refused.
pub fn listed(write: &mut Write<'_>, upto: i64, ids: &[String]) -> Result<u64, StoreError> {
    let (mut held, mut undeleted) = (Vec::new(), Vec::new());
    for id in ids {
        let mut statement = write.conn.prepare_cached(
            "SELECT u.seq, m.deleted_at IS NULL AND m.superseded_by IS NULL
             FROM unconfirmed_vector u JOIN memory m ON m.key = u.memory
             WHERE m.id = ?1 AND u.seq <= ?2",
        )?;
        let mut rows = statement.query((id, upto))?;
        while let Some(row) = rows.next()? {
            let is_findable: bool = row.get(1)?;
            if is_findable { &mut held } else { &mut undeleted }.push(row.get(0)?);
        }
    }
    confirm(write, &held)?;
    owe_again(write, &undeleted)
}

/// What the end of the index's list says of the changes up to number `upto` that it did not speak of: a
/// vector that should not be there is confirmed to be gone, one that should is owed again. Returns how
/// many duties are new.
///
/// # Errors
/// The database refused.
pub fn unlisted(write: &mut Write<'_>, upto: i64) -> Result<u64, StoreError> {
    write
        .conn
        .prepare_cached("DELETE FROM unconfirmed_vector WHERE rev IS NULL AND seq <= ?1")?
        .execute([upto])?;
    let seqs: Vec<i64> = write
        .conn
        .prepare_cached("SELECT seq FROM unconfirmed_vector WHERE seq <= ?1")?
        .query_map([upto], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    owe_again(write, &seqs)
}
