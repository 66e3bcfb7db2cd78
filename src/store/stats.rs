//! The store in numbers. Each has one definition, which is its query.

use super::error::StoreError;
use super::reader::Read;
use crate::model::id::BodyHash;

/// Numbers of `status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Live memories.
    pub memories: u64,
    /// Deleted memories.
    pub tombstones: u64,
    /// Live memories that wait for a vector of their present text.
    pub unembedded: u64,
    /// Those of them for which a try gave none.
    pub unembeddable: u64,
    /// Bytes of the database file, without its write-ahead log.
    pub bytes: u64,
}

/// Counts.
///
/// # Errors
/// The database refused.
pub fn stats(read: &Read<'_>) -> Result<Stats, StoreError> {
    let count = |sql: &str| -> Result<u64, StoreError> {
        Ok(read.conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    };
    let (unembedded, unembeddable) = super::vector::n_pending(read)?;
    let pages = count("PRAGMA page_count")?;
    let page_size = count("PRAGMA page_size")?;
    Ok(Stats {
        memories: count("SELECT count(*) FROM memory WHERE deleted_at IS NULL")?,
        tombstones: count("SELECT count(*) FROM memory WHERE deleted_at IS NOT NULL")?,
        unembedded,
        unembeddable,
        bytes: pages * page_size,
    })
}

/// Memories that a search may find and whose vector is owed to nobody: while the store is linked, those
/// that the cloud's index holds.
///
/// # Errors
/// The database refused.
pub fn n_indexed(read: &Read<'_>) -> Result<u64, StoreError> {
    let sql = "SELECT count(*) FROM memory m WHERE m.deleted_at IS NULL AND m.superseded_by IS NULL
               AND NOT EXISTS (SELECT 1 FROM outbox o
                 WHERE o.memory = m.key AND o.product = 'vectorize')";
    Ok(read.conn.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

/// Compares each text with the hash that was stored with it, for `limit` memories after the key `after`.
/// Returns the ids of those that differ, and the last key looked at; `None` at the end.
///
/// # Errors
/// The file can't be read at all.
pub fn altered_texts(
    read: &Read<'_>,
    after: i64,
    limit: usize,
) -> Result<(Vec<String>, Option<i64>), StoreError> {
    let mut statement = read.conn.prepare_cached(
        "SELECT key, id, body, content FROM memory WHERE key > ?1 AND content IS NOT NULL
         ORDER BY key LIMIT ?2",
    )?;
    let mut rows = statement.query((after, i64::try_from(limit).unwrap_or(i64::MAX)))?;
    let (mut altered, mut last) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        last = Some(row.get(0)?);
        // Damaged bytes may be no text at all.
        let content = row.get_ref(3)?.as_bytes().unwrap_or_default();
        if BodyHash::of_bytes(content).to_string().as_bytes()
            != row.get_ref(2)?.as_bytes().unwrap_or_default()
        {
            altered.push(
                String::from_utf8_lossy(row.get_ref(1)?.as_bytes().unwrap_or_default())
                    .into_owned(),
            );
        }
    }
    Ok((altered, last))
}

/// Checks the file's structure; an empty list means that it is sound.
///
/// # Errors
/// The file can't be read at all.
pub fn quick_check(read: &Read<'_>) -> Result<Vec<String>, StoreError> {
    faults(read, "PRAGMA quick_check(10)")
}

/// The same, the contents of the indexes included.
///
/// # Errors
/// The file can't be read at all.
pub fn full_check(read: &Read<'_>) -> Result<Vec<String>, StoreError> {
    faults(read, "PRAGMA integrity_check(10)")
}

fn faults(read: &Read<'_>, check: &str) -> Result<Vec<String>, StoreError> {
    let mut statement = read.conn.prepare(check)?;
    let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
    let lines: Vec<String> = rows.collect::<rusqlite::Result<_>>()?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}
