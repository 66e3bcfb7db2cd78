//! Vectors: the duty to make them, and the truth about them.
//!
//! Truth is the table `embedding`. A `vec0` table per space and the mirror in memory follow it.

use super::error::StoreError;
use super::mirror::Change;
use super::outbox;
use super::reader::Read;
use super::writer::Write;
use crate::model::space::{Space, UnitVector};
use rusqlite::{Connection, OptionalExtension as _};

/// Windows of one memory that are kept.
pub const WINDOWS_MAX: usize = 64;
/// A component of the vector that a free slot holds: so far away that no search returns it before a
/// unit vector.
const FAR: f32 = 1.0e3;

/// A text that waits for its vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// The memory's local key.
    pub key: i64,
    /// Names the version of the text.
    pub body: String,
    /// The text.
    pub content: String,
}

/// What came of embedding one text.
#[derive(Debug, Clone)]
pub struct Embedded {
    /// The memory's local key.
    pub key: i64,
    /// Names the version of the text that was read.
    pub body: String,
    /// Its vectors, one a window; or why there are none.
    pub outcome: Result<Vec<UnitVector>, String>,
}

/// Makes `space` the one that searches use. If another was, its vectors are dropped and every
/// memory waits for new ones. Returns whether anything changed.
///
/// # Errors
/// The database refused.
pub fn activate(write: &mut Write<'_>, space: &Space, dims: usize) -> Result<bool, StoreError> {
    let active: Option<(i64, String)> = active_space(write.conn)?;
    if active.as_ref().is_some_and(|(_, name)| name == space.as_str()) {
        return Ok(false);
    }
    if let Some((key, _)) = active {
        write.conn.execute_batch(&format!("DROP TABLE vec_{key}"))?;
        write.conn.execute("DELETE FROM embedding WHERE space = ?1", [key])?;
        write.conn.execute("DELETE FROM free_slot WHERE space = ?1", [key])?;
        write.conn.execute("DELETE FROM space WHERE key = ?1", [key])?;
    }
    write.conn.execute(
        "INSERT INTO space(name, dims, is_active) VALUES (?1, ?2, 1)",
        (space.as_str(), i64::try_from(dims).unwrap_or(i64::MAX)),
    )?;
    let key = write.conn.last_insert_rowid();
    write.conn.execute_batch(&format!(
        "CREATE VIRTUAL TABLE vec_{key} USING vec0(vec float[{dims}] distance_metric=l2)"
    ))?;
    write.mirror(Change::Space { key, dims });
    write.conn.execute(
        "INSERT OR REPLACE INTO pending_embedding(memory, since)
         SELECT key, ?1 FROM memory WHERE deleted_at IS NULL AND superseded_by IS NULL",
        [write.now().0],
    )?;
    Ok(true)
}

/// The active space's key and name.
pub(super) fn active_space(conn: &Connection) -> Result<Option<(i64, String)>, StoreError> {
    Ok(conn
        .prepare_cached("SELECT key, name FROM space WHERE is_active")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

/// The space that searches use, once an embedder has been there.
///
/// # Errors
/// The database refused.
pub fn active(read: &Read<'_>) -> Result<Option<Space>, StoreError> {
    Ok(active_space(read.conn)?.map(|(_, name)| Space::from_name(name)))
}

/// Notes that a memory waits for vectors of its present text.
pub(super) fn await_embedding(write: &Write<'_>, key: i64) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached(
            "INSERT INTO pending_embedding(memory, since) VALUES (?1, ?2)
             ON CONFLICT(memory) DO UPDATE SET since = excluded.since, error = NULL",
        )?
        .execute((key, write.now().0))?;
    Ok(())
}

/// Drops a memory's vectors and its duty to get some.
pub(super) fn forget(write: &mut Write<'_>, key: i64) -> Result<(), StoreError> {
    write.conn.prepare_cached("DELETE FROM pending_embedding WHERE memory = ?1")?.execute([key])?;
    free_windows(write, key, 0)
}

/// Frees a memory's slots from window `from` on.
fn free_windows(write: &mut Write<'_>, key: i64, from: usize) -> Result<(), StoreError> {
    let conn = write.conn;
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    let slots: Vec<(i64, i64, i64)> = conn
        .prepare_cached(
            "SELECT e.id, e.space, s.dims FROM embedding e JOIN space s ON s.key = e.space
             WHERE e.memory = ?1 AND e.window >= ?2",
        )?
        .query_map((key, from), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (id, space, dims) in slots {
        conn.prepare_cached("DELETE FROM embedding WHERE id = ?1")?.execute([id])?;
        let far: Vec<u8> = (0..dims).flat_map(|_| FAR.to_le_bytes()).collect();
        conn.prepare_cached(&format!("UPDATE vec_{space} SET vec = ?1 WHERE rowid = ?2"))?
            .execute((far, id))?;
        conn.prepare_cached("INSERT INTO free_slot(space, id) VALUES (?1, ?2)")?
            .execute((space, id))?;
        write.mirror(Change::Remove { id });
    }
    Ok(())
}

/// The texts that wait, those of the oldest memories first, at most `limit` of them and about `bytes` of
/// text. However many wait, no more than that are read.
///
/// # Errors
/// The database refused.
pub fn pending(read: &Read<'_>, limit: usize, bytes: usize) -> Result<Vec<Pending>, StoreError> {
    let mut statement = read.conn.prepare_cached(
        "SELECT p.memory, m.body, m.content FROM pending_embedding p
         JOIN memory m ON m.key = p.memory
         WHERE p.error IS NULL AND m.content IS NOT NULL ORDER BY p.memory LIMIT ?1",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query([limit])?;
    let (mut found, mut size) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let content: String = row.get(2)?;
        size += content.len();
        found.push(Pending { key: row.get(0)?, body: row.get(1)?, content });
        if size >= bytes {
            break;
        }
    }
    Ok(found)
}

/// How many texts wait for vectors. Cheap: a search asks it each time.
///
/// # Errors
/// The database refused.
pub fn n_waiting(read: &Read<'_>) -> Result<u64, StoreError> {
    Ok(read
        .conn
        .prepare_cached("SELECT count(*) FROM pending_embedding")?
        .query_row([], |row| row.get(0))?)
}

/// How many texts wait for vectors, and how many of those gave none.
///
/// # Errors
/// The database refused.
pub fn n_pending(read: &Read<'_>) -> Result<(u64, u64), StoreError> {
    Ok(read
        .conn
        .prepare_cached("SELECT count(*), count(error) FROM pending_embedding")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// Lets texts that gave no vectors be tried again.
///
/// # Errors
/// The database refused.
pub fn retry_failed(write: &mut Write<'_>) -> Result<(), StoreError> {
    write.conn.execute("UPDATE pending_embedding SET error = NULL WHERE error IS NOT NULL", [])?;
    Ok(())
}

/// Writes vectors made in `space`. Those of a text that has changed meanwhile, or of another space than
/// the active one, are dropped: the duty stays. Returns how many memories are embedded now.
///
/// # Errors
/// The database refused.
pub fn settle(
    write: &mut Write<'_>,
    space: &Space,
    embedded: &[Embedded],
) -> Result<usize, StoreError> {
    let Some((space_key, name)) = active_space(write.conn)? else { return Ok(0) };
    if name != space.as_str() {
        return Ok(0);
    }
    let mut n_settled = 0;
    for one in embedded {
        let is_current = write
            .conn
            .prepare_cached(
                "SELECT 1 FROM memory m JOIN pending_embedding p ON p.memory = m.key
                 WHERE m.key = ?1 AND m.body = ?2
                   AND m.deleted_at IS NULL AND m.superseded_by IS NULL",
            )?
            .exists((one.key, &one.body))?;
        if !is_current {
            continue;
        }
        match &one.outcome {
            Ok(windows) => {
                put_windows(write, space_key, one, windows)?;
                write
                    .conn
                    .prepare_cached("DELETE FROM pending_embedding WHERE memory = ?1")?
                    .execute([one.key])?;
                outbox::vector_is_ready(write, one.key)?;
                n_settled += 1;
            }
            Err(reason) => {
                write
                    .conn
                    .prepare_cached("UPDATE pending_embedding SET error = ?2 WHERE memory = ?1")?
                    .execute((one.key, reason))?;
            }
        }
    }
    Ok(n_settled)
}

/// Takes over a vector of the active space `space` that is known to be that of a whole text, if the memory
/// waits for one. Returns whether it did.
pub(super) fn adopt(
    write: &mut Write<'_>,
    space: i64,
    key: i64,
    body: &str,
    vector: &UnitVector,
) -> Result<bool, StoreError> {
    let n_waiting = write
        .conn
        .prepare_cached("DELETE FROM pending_embedding WHERE memory = ?1")?
        .execute([key])?;
    if n_waiting == 0 {
        return Ok(false);
    }
    let one = Embedded { key, body: body.to_owned(), outcome: Ok(Vec::new()) };
    put_windows(write, space, &one, std::slice::from_ref(vector))?;
    outbox::vector_is_ready(write, key)?;
    Ok(true)
}

fn put_windows(
    write: &mut Write<'_>,
    space: i64,
    one: &Embedded,
    windows: &[UnitVector],
) -> Result<(), StoreError> {
    let kept = windows.iter().take(WINDOWS_MAX);
    free_windows(write, one.key, kept.len())?;
    let conn = write.conn;
    for (window, vector) in (0_i64..).zip(kept) {
        let bytes = vector.to_bytes();
        let slot: Option<i64> = conn
            .prepare_cached(
                "SELECT id FROM embedding WHERE memory = ?1 AND space = ?2 AND window = ?3",
            )?
            .query_row((one.key, space, window), |row| row.get(0))
            .optional()?;
        if let Some(id) = slot {
            conn.prepare_cached("UPDATE embedding SET body = ?2, vec = ?3 WHERE id = ?1")?
                .execute((id, &one.body, &bytes))?;
            conn.prepare_cached(&format!("UPDATE vec_{space} SET vec = ?1 WHERE rowid = ?2"))?
                .execute((&bytes, id))?;
            write.mirror(Change::Put { id, memory: one.key, vector: vector.clone() });
            continue;
        }
        let free: Option<i64> = conn
            .prepare_cached(
                "DELETE FROM free_slot WHERE (space, id) IN
                 (SELECT space, id FROM free_slot WHERE space = ?1 LIMIT 1) RETURNING id",
            )?
            .query_row([space], |row| row.get(0))
            .optional()?;
        conn.prepare_cached(
            "INSERT INTO embedding(id, memory, space, window, body, vec)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute((free, one.key, space, window, &one.body, &bytes))?;
        let sql = if free.is_some() {
            format!("UPDATE vec_{space} SET vec = ?1 WHERE rowid = ?2")
        } else {
            format!("INSERT INTO vec_{space}(vec, rowid) VALUES (?1, ?2)")
        };
        let id = free.unwrap_or(conn.last_insert_rowid());
        conn.prepare_cached(&sql)?.execute((&bytes, id))?;
        write.mirror(Change::Put { id, memory: one.key, vector: vector.clone() });
    }
    Ok(())
}

/// A memory's first vector in the active space, as little-endian f32 bytes, if it is of `body`.
pub(super) fn first_window(
    conn: &Connection,
    key: i64,
    body: &str,
) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(conn
        .prepare_cached(
            "SELECT e.vec FROM embedding e JOIN space s ON s.key = e.space
             WHERE e.memory = ?1 AND e.window = 0 AND e.body = ?2 AND s.is_active",
        )?
        .query_row((key, body), |row| row.get(0))
        .optional()?)
}
