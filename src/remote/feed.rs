//! What the database holds, read: a page of the feed, or single memories by their ids.
//!
//! Whatever stands there was written by somebody else, so nothing is taken for granted: an entry
//! carries the values as they are, and [`FeedRow::odd`] names a column of the wrong type. An answer is
//! bounded by bytes; an entry that had no room comes [cut](FeedEntry::is_cut) and is asked for again.
//! The texts come by a request of their own, as most of them are known already.

use super::d1::{D1, Row, Statement, StatementResult};
use super::error::{Product, RemoteError};
use super::push::{Anchor, CloudCheck, anchor_statement, read_anchor};
use crate::model::id::MemoryId;
use serde_json::Value;
use std::collections::BTreeSet;

/// Entries in one page.
pub const PAGE_MAX: usize = 2000;
/// Memories in one request by ids.
pub const FETCH_MAX: usize = 100;
/// Bytes of states, metadata or texts in one answer.
pub const ANSWER_MAX_BYTES: usize = 4_000_000;

/// The columns of an entry; a common table `found` brings the memories in order. Of tags so many come, and
/// so much of each, as show that they are too many or too long: one value of D1's could not hold them all.
const COLUMNS: &str = "SELECT COALESCE(CAST(substr(CAST(q.id AS BLOB), 1, 80) AS TEXT), '') AS id, CAST(q.seq AS TEXT) AS seq, q.nonce, q.age, q.fits, CASE WHEN q.fits THEN q.state END AS state, q.mid IS NOT NULL AS present, q.created_at, q.updated_at, q.deleted_at, q.content_bytes, CASE WHEN q.fits THEN q.r2_key END AS r2_key, CASE WHEN q.fits THEN q.kind END AS kind, CASE WHEN q.fits THEN q.metadata END AS metadata, CASE WHEN q.fits AND q.mid IS NOT NULL THEN (SELECT json_group_array(COALESCE(CAST(substr(few.name, 1, 480) AS TEXT), '')) FROM (SELECT CAST(t.name AS BLOB) AS name FROM memory_tags x JOIN tags t ON t.id = x.tag_id WHERE x.memory_id = q.mid LIMIT 300) few) END AS tags, CASE WHEN q.fits THEN q.listed END AS listed, q.own_vector FROM (SELECT b.*, b.total <= CAST(?2 AS INTEGER) OR b.total = b.bytes AS fits FROM (SELECT a.*, sum(a.bytes) OVER (ORDER BY a.at ROWS UNBOUNDED PRECEDING) AS total FROM (SELECT f.at, f.id, f.seq, h.n AS nonce, f.age, e.state, m.id AS mid, m.created_at, m.updated_at, m.deleted_at, m.r2_key, length(CAST(m.content AS BLOB)) AS content_bytes, m.memory_type AS kind, m.metadata_json AS metadata, CAST(m.tags AS TEXT) AS listed, m.vector_id IS m.content_hash AS own_vector, COALESCE(length(CAST(m.tags AS BLOB)), 0) + COALESCE(length(CAST(e.state AS BLOB)), 0) + COALESCE(length(CAST(m.metadata_json AS BLOB)), 0) + COALESCE(length(CAST(m.memory_type AS BLOB)), 0) + COALESCE(length(CAST(m.r2_key AS BLOB)), 0) + 600 AS bytes FROM found f LEFT JOIN mt_heads h ON h.seq = f.seq LEFT JOIN mt_entry e ON e.id = f.id LEFT JOIN memories m ON m.content_hash = f.id) a) b) q ORDER BY q.at";
const PAGE: &str = "WITH found AS MATERIALIZED (SELECT seq AS at, id, seq, unixepoch() - at AS age FROM mt_feed WHERE seq > CAST(?1 AS INTEGER) ORDER BY seq LIMIT CAST(?3 AS INTEGER)) ";
const BY_IDS: &str = "WITH found AS MATERIALIZED (SELECT k.key AS at, k.value AS id, f.seq, unixepoch() - f.at AS age FROM json_each(?1) k LEFT JOIN mt_feed f ON f.id = k.value) ";
const NEWEST: &str = "SELECT CAST(COALESCE(max(seq), 0) AS TEXT) AS seq, (SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name IN ('mt_t1', 'mt_t2', 'mt_t3', 'mt_t4', 'mt_t5')) AS triggers FROM mt_feed";
/// Triggers on the Python service's tables.
const TRIGGERS: i64 = 5;
const NEXT_KEY: &str = "SELECT COALESCE(CAST(substr(CAST(id AS BLOB), 1, 80) AS TEXT), '') AS id, CAST(seq AS TEXT) AS seq FROM mt_feed WHERE seq > CAST(?1 AS INTEGER) ORDER BY seq LIMIT 1";
const TEXTS: &str = "SELECT q.id, CASE WHEN q.total <= CAST(?2 AS INTEGER) OR q.total = q.bytes THEN q.content END AS content, q.total > CAST(?2 AS INTEGER) AND q.total <> q.bytes AS cut FROM (SELECT k.key AS at, m.content_hash AS id, m.content, length(CAST(m.content AS BLOB)) AS bytes, sum(length(CAST(m.content AS BLOB))) OVER (ORDER BY k.key ROWS UNBOUNDED PRECEDING) AS total FROM json_each(?1) k CROSS JOIN memories m ON m.content_hash = k.value) q ORDER BY q.at";

/// Bytes of a row's metadata that are read where many rows are looked at; more equals nothing.
const METADATA_READ_BYTES: usize = 16_384;

/// What the database holds for one memory.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedEntry {
    /// What names it, as it stands there.
    pub key: String,
    /// Its feed position; 0 if it isn't in the feed.
    pub seq: i64,
    /// The mark of that position.
    pub nonce: Option<String>,
    /// Seconds since it took that position, by the database's clock; `None` where no instant stands there.
    pub age_s: Option<i64>,
    /// The state's text form; `None` if no memtide has written this memory, or if the entry is cut.
    pub state_text: Option<String>,
    /// Whether the answer had no room for it.
    pub is_cut: bool,
    /// The Python service's row; `None` where there is none.
    pub row: Option<FeedRow>,
}

/// A row of the Python service's table, without its text. Instants are seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FeedRow {
    /// When it was stored.
    pub created_at: Option<f64>,
    /// When it was changed.
    pub updated_at: Option<f64>,
    /// When it was deleted; `None` for a living one.
    pub deleted_at: Option<f64>,
    /// The type.
    pub memory_type: Option<String>,
    /// The metadata, as it was written.
    pub metadata_json: Option<String>,
    /// The tags by the join table, which is what the Python service goes by.
    pub tags: BTreeSet<String>,
    /// The key of the body in R2.
    pub r2_key: Option<String>,
    /// Bytes of what stands in place of the text.
    pub content_bytes: u64,
    /// The tags as the row lists them once more, for searches by part of a text. Old rows have none there,
    /// and the Python service leaves the list behind when it changes tags.
    pub listed_tags: Option<String>,
    /// Whether it names the vector that carries its id; no other one is kept up.
    pub names_own_vector: bool,
    /// The name of a column whose value is of a wrong type.
    pub odd: Option<&'static str>,
}

impl FeedEntry {
    /// The id, unless the key is none.
    pub fn id(&self) -> Option<MemoryId> {
        self.key.parse().ok().filter(|id: &MemoryId| id.to_string() == self.key)
    }
}

/// A page of the feed.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedPage {
    /// The entries, by position.
    pub entries: Vec<FeedEntry>,
    /// The newest position of all.
    pub newest: i64,
    /// Whether the database moves the feed by itself when the Python service writes.
    pub has_triggers: bool,
    /// What the answer says of the database.
    pub cloud: CloudCheck,
}

/// Reads the entries after `cursor`, at most `limit` and [`PAGE_MAX`] of them.
///
/// # Errors
/// The request failed.
pub async fn page(
    d1: &D1,
    cursor: i64,
    limit: usize,
    anchor: Option<&Anchor>,
) -> Result<FeedPage, RemoteError> {
    let statements = page_statements(cursor, limit, anchor);
    let results = d1.batch(&statements).await?;
    let missing = || RemoteError::unreadable(Product::D1, "a page of the feed");
    let [entries, newest, check] = results.as_slice() else { return Err(missing()) };
    Ok(FeedPage {
        entries: read_entries(entries)?,
        newest: newest.first().and_then(|row| row.integer("seq")).ok_or_else(missing)?,
        has_triggers: newest.first().and_then(|row| row.integer("triggers")) >= Some(TRIGGERS),
        cloud: read_anchor(anchor, check)?,
    })
}

/// The statements that ask for a page.
pub fn page_statements(cursor: i64, limit: usize, anchor: Option<&Anchor>) -> Vec<Statement> {
    let params = vec![
        Some(cursor.to_string()),
        Some(ANSWER_MAX_BYTES.to_string()),
        Some(limit.min(PAGE_MAX).to_string()),
    ];
    vec![
        Statement::new(format!("{PAGE}{COLUMNS}"), params),
        Statement::plain(NEWEST),
        anchor_statement(anchor),
    ]
}

/// The first key after `cursor`, at most 80 characters of it, and its position.
///
/// # Errors
/// The request failed.
pub async fn next_key(d1: &D1, cursor: i64) -> Result<Option<(String, i64)>, RemoteError> {
    let result = d1.run(Statement::new(NEXT_KEY, vec![Some(cursor.to_string())])).await?;
    let read = |row: Row<'_>| Some((row.text("id")?.to_owned(), row.integer("seq")?));
    Ok(result.first().and_then(read))
}

/// Reads what the database holds for `ids`, at most [`FETCH_MAX`] of them: one entry each.
///
/// # Errors
/// The request failed.
pub async fn fetch(
    d1: &D1,
    ids: &[MemoryId],
    anchor: Option<&Anchor>,
) -> Result<(Vec<FeedEntry>, CloudCheck), RemoteError> {
    let results = d1.batch(&fetch_statements(ids, anchor)).await?;
    let [entries, check] = results.as_slice() else {
        return Err(RemoteError::unreadable(Product::D1, "the fetched memories"));
    };
    Ok((read_entries(entries)?, read_anchor(anchor, check)?))
}

/// The statements that ask for `ids`, at most [`FETCH_MAX`] of them.
pub fn fetch_statements(ids: &[MemoryId], anchor: Option<&Anchor>) -> Vec<Statement> {
    let params = vec![Some(id_list(ids)), Some(ANSWER_MAX_BYTES.to_string())];
    vec![Statement::new(format!("{BY_IDS}{COLUMNS}"), params), anchor_statement(anchor)]
}

fn id_list(ids: &[MemoryId]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    Value::from(ids).to_string()
}

fn read_entries(result: &StatementResult) -> Result<Vec<FeedEntry>, RemoteError> {
    let missing = || RemoteError::unreadable(Product::D1, "an entry of the feed");
    let read = |row: Row<'_>| {
        let is_cut = row.integer("fits") != Some(1);
        Some(FeedEntry {
            key: row.text("id")?.to_owned(),
            seq: row.integer("seq").unwrap_or(0),
            nonce: row.text("nonce").map(str::to_owned),
            age_s: row.integer("age"),
            state_text: row.value("state").map(text_of),
            is_cut,
            row: (row.integer("present") == Some(1)).then(|| read_row(row)),
        })
    };
    result.rows().map(|row| read(row).ok_or_else(missing)).collect()
}

/// A value as text; one of another type becomes a text that nothing takes for a state.
fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| format!("not text: {value}"), str::to_owned)
}

fn read_row(row: Row<'_>) -> FeedRow {
    let mut odd = None;
    let mut number = |column: &'static str| {
        let value = row.value(column)?;
        if !value.is_number() {
            odd = Some(column);
        }
        value.as_f64()
    };
    let created_at = number("created_at");
    let updated_at = number("updated_at");
    let deleted_at = number("deleted_at");
    let mut text = |column: &'static str| {
        let value = row.value(column)?;
        if !value.is_string() {
            odd = Some(column);
        }
        value.as_str().map(str::to_owned)
    };
    let memory_type = text("kind");
    let metadata_json = text("metadata");
    let r2_key = text("r2_key");
    let tags = row.text("tags").and_then(|tags| serde_json::from_str(tags).ok());
    if tags.is_none() {
        odd = Some("tags");
    }
    FeedRow {
        created_at,
        updated_at,
        deleted_at,
        memory_type,
        metadata_json,
        tags: tags.unwrap_or_default(),
        r2_key,
        content_bytes: row.integer("content_bytes").and_then(|n| n.try_into().ok()).unwrap_or(0),
        listed_tags: row.text("listed").map(str::to_owned),
        names_own_vector: row.integer("own_vector") == Some(1),
        odd,
    }
}

/// A row of the Python service as it stands in a database that need not have memtide's tables.
#[derive(Debug, Clone, PartialEq)]
pub struct BareRow {
    /// What names it, as it stands there.
    pub key: String,
    /// The row.
    pub row: FeedRow,
    /// Bytes of the text, as the service has noted them.
    pub text_bytes: u64,
}

/// Reads the rows after the row id `after`, at most [`PAGE_MAX`] of them, and tells after which the next page
/// begins; `None` at the end. `columns` are those that the table has: old ones lack some.
///
/// # Errors
/// The request failed.
pub async fn bare_rows(
    d1: &D1,
    after: i64,
    columns: &BTreeSet<String>,
) -> Result<(Vec<BareRow>, Option<i64>), RemoteError> {
    let column = |name: &str| {
        if columns.contains(name) { format!("m.{name}") } else { "NULL".to_owned() }
    };
    let sql = format!(
        "SELECT CAST(m.id AS TEXT) AS at, COALESCE(CAST(substr(CAST(m.content_hash AS BLOB), 1, 80) AS TEXT), '') AS id, m.created_at, m.updated_at, {} AS deleted_at, m.memory_type AS kind, CASE WHEN length(CAST(m.metadata_json AS BLOB)) > {METADATA_READ_BYTES} THEN 0 ELSE m.metadata_json END AS metadata, m.r2_key, length(CAST(m.content AS BLOB)) AS content_bytes, m.content_size, NULL AS listed, m.vector_id IS m.content_hash AS own_vector, (SELECT json_group_array(COALESCE(CAST(substr(few.name, 1, 480) AS TEXT), '')) FROM (SELECT CAST(t.name AS BLOB) AS name FROM memory_tags x JOIN tags t ON t.id = x.tag_id WHERE x.memory_id = m.id LIMIT 300) few) AS tags FROM memories m WHERE m.id > CAST(?1 AS INTEGER) ORDER BY m.id LIMIT CAST(?2 AS INTEGER)",
        column("deleted_at")
    );
    let params = vec![Some(after.to_string()), Some(PAGE_MAX.to_string())];
    let result = d1.run(Statement::new(sql, params)).await?;
    let missing = || RemoteError::unreadable(Product::D1, "a row");
    let (mut rows, mut last) = (Vec::new(), None);
    for row in result.rows() {
        last = Some(row.integer("at").ok_or_else(missing)?);
        let found = read_row(row);
        let noted = row.integer("content_size").and_then(|n| u64::try_from(n).ok());
        let text_bytes = match (&found.r2_key, noted) {
            (Some(_), Some(noted)) => noted,
            _ => found.content_bytes,
        };
        rows.push(BareRow {
            key: row.text("id").unwrap_or_default().to_owned(),
            row: found,
            text_bytes,
        });
    }
    let is_full = rows.len() >= PAGE_MAX;
    Ok((rows, last.filter(|_| is_full)))
}

/// The texts of some rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Texts {
    /// What stands in the rows. A memory without a row has none.
    pub found: Vec<(MemoryId, String)>,
    /// Those for which the answer had no room.
    pub cut: Vec<MemoryId>,
}

/// Reads what stands in the rows of `ids` as their texts.
///
/// # Errors
/// The request failed.
pub async fn texts(d1: &D1, ids: &[MemoryId]) -> Result<Texts, RemoteError> {
    let params = vec![Some(id_list(ids)), Some(ANSWER_MAX_BYTES.to_string())];
    let result = d1.run(Statement::new(TEXTS, params)).await?;
    let mut texts = Texts::default();
    for row in result.rows() {
        let Some(id) = row.text("id").and_then(|id| id.parse().ok()) else { continue };
        if row.integer("cut") == Some(1) {
            texts.cut.push(id);
        } else if let Some(content) = row.text("content") {
            texts.found.push((id, content.to_owned()));
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests;
