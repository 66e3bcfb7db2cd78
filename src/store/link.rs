//! The account this store is linked to, and what the replicator must remember across restarts.

use super::enrolment;
use super::error::StoreError;
use super::reader::Read;
use super::writer::Write;
use crate::clock::Micros;
use rusqlite::{Connection, OptionalExtension as _};

/// How far a linked device trusts the cloud.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkMode {
    /// Push only; nothing is taken from the cloud.
    Shadow,
    /// Push and pull.
    Dual,
}

impl LinkMode {
    /// The name in the database and in `status`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Dual => "dual",
        }
    }

    /// The mode of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Shadow, Self::Dual].into_iter().find(|mode| mode.as_str() == name)
    }
}

/// The linked account and resources. Fixed by `cloud link`; configuration never redirects it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The base address of the interface that the account was linked at.
    pub api_base: String,
    /// Cloudflare account id.
    pub account: String,
    /// D1 database id.
    pub database: String,
    /// The uuid that memtide wrote into the database when it made its side tables.
    pub database_uuid: String,
    /// Vectorize index name.
    pub vector_index: String,
    /// R2 bucket name.
    pub bucket: Option<String>,
    /// The cloud index's embedding contract, as JSON.
    pub contract: String,
    /// Whether local vectors are uploaded, or the cloud's own model makes them.
    pub is_local_space: bool,
    /// Texts of more bytes go to the bucket.
    pub inline_bytes: usize,
    /// Push only, or both ways.
    pub mode: LinkMode,
    /// Whether the owner stopped syncing for now.
    pub is_paused: bool,
    /// Since when.
    pub linked_at: Micros,
}

impl Link {
    pub(super) fn load(conn: &Connection) -> Result<Option<Self>, StoreError> {
        Ok(conn
            .prepare_cached(
                "SELECT api_base, account, database, database_uuid, vector_index, bucket, contract,
                   is_local_space, inline_bytes, mode, is_paused, linked_at FROM link",
            )?
            .query_row([], |row| {
                Ok(Self {
                    api_base: row.get(0)?,
                    account: row.get(1)?,
                    database: row.get(2)?,
                    database_uuid: row.get(3)?,
                    vector_index: row.get(4)?,
                    bucket: row.get(5)?,
                    contract: row.get(6)?,
                    is_local_space: row.get(7)?,
                    inline_bytes: usize::try_from(row.get::<_, i64>(8)?).unwrap_or(usize::MAX),
                    mode: LinkMode::parse(&row.get::<_, String>(9)?).unwrap_or(LinkMode::Shadow),
                    is_paused: row.get(10)?,
                    linked_at: Micros(row.get(11)?),
                })
            })
            .optional()?)
    }
}

/// The present link.
///
/// # Errors
/// The database refused.
pub fn get(read: &Read<'_>) -> Result<Option<Link>, StoreError> {
    Link::load(read.conn)
}

/// Links the store and owes the account every memory; duties of the backfill lane are made of the first
/// ones here, and of the others by [`enrolment::enrol`]. What was known of another account's rows is
/// forgotten. Returns how many memories there are.
///
/// # Errors
/// A stored text needs a bucket and the link has none; the count is in the sentence.
pub fn link(write: &mut Write<'_>, link: &Link) -> Result<u64, StoreError> {
    unlink(write)?;
    write.conn.execute(
        "INSERT INTO link(one, api_base, account, database, database_uuid, vector_index, bucket, contract,
           is_local_space, inline_bytes, mode, is_paused, linked_at, cursor, anchor_seq, anchor_nonce)
         VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, 0, 0, '')",
        rusqlite::params![
            link.api_base,
            link.account,
            link.database,
            link.database_uuid,
            link.vector_index,
            link.bucket,
            link.contract,
            link.is_local_space,
            i64::try_from(link.inline_bytes).unwrap_or(i64::MAX),
            link.mode.as_str(),
            link.is_paused,
            link.linked_at.0,
        ],
    )?;
    write.remember_link(Some(link.clone()));
    enrolment::begin(write, link)
}

/// Forgets the account and all duties to it. Nothing is changed in the cloud.
///
/// # Errors
/// The database refused.
pub fn unlink(write: &mut Write<'_>) -> Result<(), StoreError> {
    write.conn.execute_batch(
        "DELETE FROM link; DELETE FROM outbox; DELETE FROM remote_position;
         DELETE FROM unconfirmed_vector; DELETE FROM quarantine;
         DELETE FROM replicator_state;",
    )?;
    write.remember_link(None);
    Ok(())
}

/// Changes how far the linked device trusts the cloud; conflicts are tried again. Returns how many
/// memories owe something.
///
/// # Errors
/// The database refused.
pub fn set_mode(write: &mut Write<'_>, mode: LinkMode) -> Result<u64, StoreError> {
    write.conn.execute("UPDATE link SET mode = ?1", [mode.as_str()])?;
    let link = Link::load(write.conn)?;
    write.remember_link(link);
    write.conn.execute(
        "UPDATE outbox SET state = 'due', due_at = ?1 WHERE state = 'conflict'",
        [write.now().0],
    )?;
    let owes = "SELECT count(DISTINCT memory) FROM outbox";
    let n_enrolled: u64 = write.conn.query_row(owes, [], |row| row.get(0))?;
    Ok(n_enrolled + enrolment::n_left(write)?)
}

/// Pauses or resumes syncing. Returns whether a link is there to be paused.
///
/// # Errors
/// The database refused.
pub fn set_paused(write: &mut Write<'_>, is_paused: bool) -> Result<bool, StoreError> {
    write.conn.execute("UPDATE link SET is_paused = ?1", [is_paused])?;
    let link = Link::load(write.conn)?;
    let is_linked = link.is_some();
    write.remember_link(link);
    Ok(is_linked)
}

/// The highest feed position this device knows and its nonce: every answer of the cloud is checked
/// against it.
///
/// # Errors
/// The database refused.
pub fn anchor(read: &Read<'_>) -> Result<Option<(i64, String)>, StoreError> {
    Ok(read
        .conn
        .prepare_cached("SELECT anchor_seq, anchor_nonce FROM link WHERE anchor_seq > 0")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

/// Raises the anchor; a lower one changes nothing.
///
/// # Errors
/// The database refused.
pub fn raise_anchor(write: &mut Write<'_>, seq: i64, nonce: &str) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached("UPDATE link SET anchor_seq = ?1, anchor_nonce = ?2 WHERE anchor_seq < ?1")?
        .execute((seq, nonce))?;
    Ok(())
}

/// Moves the cursor over positions that this device has just written itself, if they follow it directly:
/// nobody else's can lie between them.
///
/// # Errors
/// The database refused.
pub fn pass_over(write: &mut Write<'_>, first: i64, last: i64) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached("UPDATE link SET cursor = ?2 WHERE mode = 'dual' AND cursor = ?1 - 1")?
        .execute((first, last))?;
    Ok(())
}

/// A remembered value of the replicator: a breaker, the budget, a day's counters.
///
/// # Errors
/// The database refused.
pub fn remembered(read: &Read<'_>, name: &str) -> Result<Option<String>, StoreError> {
    Ok(read
        .conn
        .prepare_cached("SELECT value FROM replicator_state WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()?)
}

/// Remembers a value of the replicator.
///
/// # Errors
/// The database refused.
pub fn remember(write: &mut Write<'_>, name: &str, value: &str) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached(
            "INSERT INTO replicator_state(name, value) VALUES (?1, ?2)
             ON CONFLICT(name) DO UPDATE SET value = excluded.value",
        )?
        .execute((name, value))?;
    Ok(())
}
