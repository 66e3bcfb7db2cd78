//! What the database holds, told in few rows: sums of digests by the first digits of the ids, then the
//! entries of the groups that differ. What digests can't tell is asked for page by page: the Python
//! service's rows with what they show.
//!
//! Every request ends with the check of the database, as a push does. The rows that D1 says it has read
//! are given with every answer, as they are what a comparison costs.

use super::d1::{D1, Statement, StatementResult};
use super::error::{Product, RemoteError};
use super::push::{Anchor, CloudCheck, anchor_statement, read_anchor};
use crate::model::digest::{Sum, Sums, shown_digest};
use crate::model::id::MemoryId;
use crate::model::stamp::Stamp;
use serde_json::Value;

/// Entries that one request asks for, as far as the sums tell beforehand.
pub const ENTRIES_PAGE: u64 = 5000;
/// Rows of the Python service's table in one answer.
pub const ROWS_PAGE: u32 = 1000;
/// Ids in one request for what is known of them.
pub const KNOWN_MAX: usize = 1000;

/// Digits of the first grouping: 256 groups.
pub const FEW_DIGITS: usize = 2;
/// Digits of the second one, within groups that differ and are large.
pub const MORE_DIGITS: usize = 4;

/// Digests have 48 bits. Masked, a value that nobody should have written can't overflow the sum.
const SUMS: &str = "SELECT substr(id, 1, 2) AS p, count(*) AS n, CAST(sum(dg & 281474976710655) AS TEXT) AS s FROM mt_entry GROUP BY 1";
/// The range finds the rows by the key; the last possible character ends it.
const SUMS_WITHIN: &str = "SELECT substr(e.id, 1, 4) AS p, count(*) AS n, CAST(sum(e.dg & 281474976710655) AS TEXT) AS s FROM json_each(?1) k CROSS JOIN mt_entry e ON e.id >= k.value AND e.id < k.value || char(1114111) GROUP BY 1";
const ENTRIES: &str = "SELECT e.id, CAST(e.dg AS TEXT) AS dg, CAST(f.seq AS TEXT) AS seq FROM json_each(?1) k CROSS JOIN mt_entry e ON e.id >= k.value AND e.id < k.value || char(1114111) LEFT JOIN mt_feed f ON f.id = e.id WHERE substr(e.id, 1, length(k.value)) = k.value";
const ENTRIES_AFTER: &str = "SELECT e.id, CAST(e.dg AS TEXT) AS dg, CAST(f.seq AS TEXT) AS seq FROM mt_entry e LEFT JOIN mt_feed f ON f.id = e.id WHERE e.id > ?1 ORDER BY e.id LIMIT CAST(?2 AS INTEGER)";
/// A type that no writer in its senses has written is left out: it equals none.
const ROWS: &str = "SELECT CAST(m.id AS TEXT) AS at, m.content_hash AS id, m.deleted_at IS NOT NULL AS dead, CASE WHEN length(m.memory_type) <= 4096 THEN m.memory_type WHEN m.memory_type IS NOT NULL THEN char(65533) END AS kind, m.r2_key AS body, length(CAST(m.content AS BLOB)) AS bytes, e.id IS NOT NULL AS stated, CAST(f.seq AS TEXT) AS seq, (SELECT json_group_array(t.name) FROM memory_tags x JOIN tags t ON t.id = x.tag_id WHERE x.memory_id = m.id) AS tags FROM memories m LEFT JOIN mt_entry e ON e.id = m.content_hash LEFT JOIN mt_feed f ON f.id = m.content_hash WHERE m.id > CAST(?1 AS INTEGER) ORDER BY m.id LIMIT CAST(?2 AS INTEGER)";
const KNOWN: &str = "SELECT k.value AS id FROM json_each(?1) k WHERE EXISTS (SELECT 1 FROM mt_entry e WHERE e.id = k.value) OR EXISTS (SELECT 1 FROM memories m WHERE m.content_hash = k.value)";
const BODIES: &str = "SELECT k.value AS id, e.state->>'$.life[0]' AS life_at, e.state->>'$.life[1]' AS alive, e.state->>'$.text[0]' AS text_at, m.id IS NOT NULL AND m.deleted_at IS NULL AS shown, m.r2_key AS body FROM json_each(?1) k CROSS JOIN mt_entry e ON e.id = k.value LEFT JOIN memories m ON m.content_hash = k.value WHERE json_valid(e.state)";

/// As the triggers do it: each row of these ids goes to the end of the feed.
const ANNOUNCE: [&str; 3] = [
    "DELETE FROM mt_feed WHERE id IN (SELECT m.content_hash FROM json_each(?1) k CROSS JOIN memories m ON m.content_hash = k.value) AND (SELECT v FROM mt_meta WHERE k = 'database') = ?2",
    "INSERT INTO mt_feed(id) SELECT m.content_hash FROM json_each(?1) k CROSS JOIN memories m ON m.content_hash = k.value WHERE (SELECT v FROM mt_meta WHERE k = 'database') = ?2",
    "INSERT OR IGNORE INTO mt_heads(seq, n) SELECT f.seq, hex(randomblob(8)) FROM json_each(?1) k CROSS JOIN memories m ON m.content_hash = k.value CROSS JOIN mt_feed f ON f.id = k.value WHERE (SELECT v FROM mt_meta WHERE k = 'database') = ?2",
];

/// An answer with what it says of the database and what it cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told<T> {
    /// What was asked for.
    pub what: T,
    /// Whether it is the database that the device knows.
    pub cloud: CloudCheck,
    /// Rows that D1 has read for it.
    pub rows_read: u64,
}

/// An entry of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudEntry {
    /// Its id as it stands there; no reader is bound to find a memory's id in it.
    pub id: String,
    /// The digest of its state; `None` if the column holds something else.
    pub digest: Option<u64>,
    /// Its position in the feed; 0 if it isn't there.
    pub seq: i64,
}

impl CloudEntry {
    /// The memory's id, if it is one in the one form that memtide writes.
    pub fn memory(&self) -> Option<MemoryId> {
        memory_id(&self.id)
    }
}

/// A row of the Python service's table, with what can be compared cheaply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudRow {
    /// Its `content_hash`.
    pub id: String,
    /// Whether it is marked as deleted.
    pub is_dead: bool,
    /// The digest of the type and the tags that it shows.
    pub shown: u64,
    /// The key of its body in R2.
    pub r2_key: Option<String>,
    /// Bytes of the text in the row.
    pub bytes: Option<u64>,
    /// Whether memtide holds a state for it.
    pub has_state: bool,
    /// Its position in the feed; 0 if it isn't there.
    pub seq: i64,
}

impl CloudRow {
    /// The memory's id, if it is one in the one form that memtide writes.
    pub fn memory(&self) -> Option<MemoryId> {
        memory_id(&self.id)
    }
}

/// A page of rows and where the next one begins; `None` at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowsPage {
    /// The rows.
    pub rows: Vec<CloudRow>,
    /// What to ask after next.
    pub next: Option<i64>,
}

/// What the database says of a memory's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BodyFacts {
    /// Which memory.
    pub id: MemoryId,
    /// Whether its state says that it lives.
    pub is_alive: bool,
    /// When it was stored or deleted last.
    pub life_at: Stamp,
    /// When its text was written.
    pub text_at: Stamp,
    /// The key that a living row of it names.
    pub shown_key: Option<String>,
    /// Whether there is a living row.
    pub is_shown: bool,
}

/// The id that `text` is; other spellings of it are other ids to a database.
fn memory_id(text: &str) -> Option<MemoryId> {
    let id: MemoryId = text.parse().ok()?;
    (id.to_string() == text).then_some(id)
}

/// The sums of all entries, by the first [`FEW_DIGITS`] digits. Reads each entry once.
///
/// # Errors
/// The request failed.
pub async fn sums(d1: &D1, anchor: Option<&Anchor>) -> Result<Told<Sums>, RemoteError> {
    ask(d1, Statement::plain(SUMS), anchor, read_sums).await
}

/// The sums of the entries whose ids begin with one of `prefixes`, by the first [`MORE_DIGITS`] digits.
///
/// # Errors
/// The request failed.
pub async fn sums_within(
    d1: &D1,
    prefixes: &[String],
    anchor: Option<&Anchor>,
) -> Result<Told<Sums>, RemoteError> {
    let statement = Statement::new(SUMS_WITHIN, vec![Some(list(prefixes))]);
    ask(d1, statement, anchor, read_sums).await
}

/// The entries whose ids begin with one of `prefixes`. How many those are, the sums tell beforehand; see
/// [`ENTRIES_PAGE`].
///
/// # Errors
/// The request failed.
pub async fn entries(
    d1: &D1,
    prefixes: &[String],
    anchor: Option<&Anchor>,
) -> Result<Told<Vec<CloudEntry>>, RemoteError> {
    let statement = Statement::new(ENTRIES, vec![Some(list(prefixes))]);
    ask(d1, statement, anchor, read_entries).await
}

/// The entries that follow the id `after`, at most [`ENTRIES_PAGE`] of them.
///
/// # Errors
/// The request failed.
pub async fn entries_after(d1: &D1, after: &str) -> Result<Told<Vec<CloudEntry>>, RemoteError> {
    let params = vec![Some(after.to_owned()), Some(ENTRIES_PAGE.to_string())];
    ask(d1, Statement::new(ENTRIES_AFTER, params), None, read_entries).await
}

/// A page of the Python service's rows, those after the row `after`. Reads a row, its entry, its place
/// in the feed and its tags for each.
///
/// # Errors
/// The request failed.
pub async fn rows(
    d1: &D1,
    after: i64,
    anchor: Option<&Anchor>,
) -> Result<Told<RowsPage>, RemoteError> {
    ask(d1, page(ROWS, after), anchor, read_rows).await
}

/// Those of `ids`, at most [`KNOWN_MAX`], that the database has an entry or a row for.
///
/// # Errors
/// The request failed.
pub async fn known(
    d1: &D1,
    ids: &[String],
    anchor: Option<&Anchor>,
) -> Result<Told<Vec<String>>, RemoteError> {
    let read = |result: &StatementResult| {
        Ok(result.rows().filter_map(|row| row.text("id").map(str::to_owned)).collect())
    };
    ask(d1, Statement::new(KNOWN, vec![Some(list(ids))]), anchor, read).await
}

/// What the database says of the bodies of `ids`, at most [`KNOWN_MAX`]. A memory without a readable
/// state is left out.
///
/// # Errors
/// The request failed.
pub async fn bodies(
    d1: &D1,
    ids: &[String],
    anchor: Option<&Anchor>,
) -> Result<Told<Vec<BodyFacts>>, RemoteError> {
    let read = |result: &StatementResult| {
        let facts = result.rows().filter_map(|row| {
            let stamp = |column| row.text(column).and_then(|text| text.parse().ok());
            Some(BodyFacts {
                id: memory_id(row.text("id")?)?,
                is_alive: row.integer("alive")? == 1,
                life_at: stamp("life_at")?,
                text_at: stamp("text_at")?,
                shown_key: row.text("body").map(str::to_owned),
                is_shown: row.integer("shown")? == 1,
            })
        });
        Ok(facts.collect())
    };
    ask(d1, Statement::new(BODIES, vec![Some(list(ids))]), anchor, read).await
}

/// Puts the rows of `ids`, at most [`KNOWN_MAX`], at the end of the feed, so that every device reads them:
/// the Python service has written them where no trigger told. Nothing is done in a database that doesn't
/// call itself `database`.
///
/// # Errors
/// The request failed.
pub async fn announce(d1: &D1, ids: &[String], database: &str) -> Result<(), RemoteError> {
    let params = vec![Some(list(ids)), Some(database.to_owned())];
    d1.batch(&ANNOUNCE.map(|sql| Statement::new(sql, params.clone()))).await.map(drop)
}

fn list(texts: &[String]) -> String {
    Value::from(texts).to_string()
}

fn page(sql: &'static str, after: i64) -> Statement {
    Statement::new(sql, vec![Some(after.to_string()), Some(ROWS_PAGE.to_string())])
}

async fn ask<T>(
    d1: &D1,
    statement: Statement,
    anchor: Option<&Anchor>,
    read: impl Fn(&StatementResult) -> Result<T, RemoteError>,
) -> Result<Told<T>, RemoteError> {
    let results = d1.batch(&[statement, anchor_statement(anchor)]).await?;
    let [answer, check] = results.as_slice() else { return Err(missing()) };
    let rows_read = answer.rows_read + check.rows_read;
    Ok(Told { what: read(answer)?, cloud: read_anchor(anchor, check)?, rows_read })
}

fn missing() -> RemoteError {
    RemoteError::unreadable(Product::D1, "what the database holds")
}

fn read_sums(result: &StatementResult) -> Result<Sums, RemoteError> {
    let mut sums = Sums::default();
    for row in result.rows() {
        let whole = |column| row.integer(column).and_then(|n| u64::try_from(n).ok());
        let count = whole("n").ok_or_else(missing)?;
        let total = whole("s").ok_or_else(missing)?;
        sums.put(row.text("p").unwrap_or_default().to_owned(), Sum { count, total });
    }
    Ok(sums)
}

#[expect(clippy::unnecessary_wraps, reason = "it is one of the readers of an answer")]
fn read_entries(result: &StatementResult) -> Result<Vec<CloudEntry>, RemoteError> {
    let entry = |row: super::d1::Row<'_>| CloudEntry {
        id: row.text("id").unwrap_or_default().to_owned(),
        digest: row.integer("dg").and_then(|n| u64::try_from(n).ok()),
        seq: row.integer("seq").unwrap_or(0),
    };
    Ok(result.rows().map(entry).collect())
}

fn read_rows(result: &StatementResult) -> Result<RowsPage, RemoteError> {
    let (mut rows, mut last) = (Vec::new(), None);
    for row in result.rows() {
        last = Some(row.integer("at").ok_or_else(missing)?);
        let tags: Vec<String> =
            row.text("tags").and_then(|tags| serde_json::from_str(tags).ok()).unwrap_or_default();
        let kind = row.text("kind").unwrap_or_default();
        rows.push(CloudRow {
            id: row.text("id").unwrap_or_default().to_owned(),
            is_dead: row.integer("dead") == Some(1),
            shown: shown_digest(kind, tags.iter().map(String::as_str)),
            r2_key: row.text("body").map(str::to_owned),
            bytes: row.integer("bytes").and_then(|n| u64::try_from(n).ok()),
            has_state: row.integer("stated") == Some(1),
            seq: row.integer("seq").unwrap_or(0),
        });
    }
    let is_full = u32::try_from(rows.len()).is_ok_and(|n| n >= ROWS_PAGE);
    Ok(RowsPage { rows, next: last.filter(|_| is_full) })
}

#[cfg(test)]
mod tests;
