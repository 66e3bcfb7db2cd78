//! What the database holds for single memories: asked for those that lost a push.

use super::d1::{D1, Statement, StatementResult};
use super::error::{Product, RemoteError};
use super::push::{Anchor, CloudCheck, anchor_statement, read_anchor};
use crate::model::id::MemoryId;
use std::collections::BTreeSet;

/// Memories in one request.
pub const FETCH_MAX: usize = 100;
/// Bytes of states in one answer; what goes beyond comes without its text.
pub const FETCH_MAX_BYTES: usize = 4_000_000;

const FETCH: &str = "SELECT q.id, CAST(q.seq AS TEXT) AS seq, q.n AS nonce, q.bytes, CASE WHEN sum(q.bytes) OVER (ORDER BY q.at ROWS UNBOUNDED PRECEDING) <= CAST(?2 AS INTEGER) THEN q.state END AS state, q.present, q.dead, q.kind, q.metadata, CASE WHEN q.present THEN (SELECT json_group_array(t.name) FROM memory_tags x JOIN tags t ON t.id = x.tag_id WHERE x.memory_id = q.mid) END AS tags FROM (SELECT k.key AS at, k.value AS id, f.seq, h.n, e.state, COALESCE(length(CAST(e.state AS BLOB)), 0) AS bytes, m.id IS NOT NULL AS present, m.deleted_at IS NOT NULL AS dead, m.id AS mid, m.memory_type AS kind, m.metadata_json AS metadata FROM json_each(?1) k LEFT JOIN mt_feed f ON f.id = k.value LEFT JOIN mt_heads h ON h.seq = f.seq LEFT JOIN mt_entry e ON e.id = k.value LEFT JOIN memories m ON m.content_hash = k.value) q ORDER BY q.at";

/// What the database holds for one memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteEntry {
    /// Which memory.
    pub id: MemoryId,
    /// Its feed position; 0 if it isn't in the feed.
    pub seq: i64,
    /// The mark of that position.
    pub nonce: Option<String>,
    /// The state's text form; `None` if there is no state, or if it is in [`RemoteEntry::state_bytes`]
    /// only because the answer was full.
    pub state_text: Option<String>,
    /// Bytes of the state; 0 if no memtide has written this memory.
    pub state_bytes: u64,
    /// The Python service's row.
    pub row: RemoteRow,
    /// What that row shows; `None` where there is none.
    pub shown: Option<Shown>,
}

/// What a row shows, as far as it can change without becoming another memory's.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shown {
    /// The type.
    pub memory_type: String,
    /// The tags by the join table, which is what the Python service goes by.
    pub tags: BTreeSet<String>,
    /// The metadata, as it was written.
    pub metadata_json: String,
}

/// Whether the Python service's table has the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemoteRow {
    /// It has none.
    Absent,
    /// It has a living one.
    Alive,
    /// It has one that is marked as deleted.
    Dead,
}

impl RemoteEntry {
    /// Whether there is a state that this answer had no room for: ask for it alone.
    pub fn is_cut(&self) -> bool {
        self.state_text.is_none() && self.state_bytes > 0
    }
}

/// Fetches what the database holds for `ids`, at most [`FETCH_MAX`] of them: one entry each.
///
/// # Errors
/// The request failed.
pub async fn fetch(
    d1: &D1,
    ids: &[MemoryId],
    anchor: Option<&Anchor>,
) -> Result<(Vec<RemoteEntry>, CloudCheck), RemoteError> {
    read(anchor, &d1.batch(&statements(ids, anchor)).await?)
}

/// The statements that ask for `ids`, at most [`FETCH_MAX`] of them.
pub fn statements(ids: &[MemoryId], anchor: Option<&Anchor>) -> Vec<Statement> {
    let ids: Vec<String> = ids.iter().take(FETCH_MAX).map(ToString::to_string).collect();
    let json = serde_json::Value::from(ids).to_string();
    let params = vec![Some(json), Some(FETCH_MAX_BYTES.to_string())];
    vec![Statement::new(FETCH, params), anchor_statement(anchor)]
}

/// Reads the answer to [`statements`]: one entry for each id that was asked for.
///
/// # Errors
/// A part is missing.
pub fn read(
    anchor: Option<&Anchor>,
    results: &[StatementResult],
) -> Result<(Vec<RemoteEntry>, CloudCheck), RemoteError> {
    let missing = || RemoteError::unreadable(Product::D1, "the fetched memories");
    let [entries, check] = results else { return Err(missing()) };
    let mut found = Vec::new();
    for row in entries.rows() {
        let bytes = row.integer("bytes").and_then(|n| u64::try_from(n).ok());
        found.push(RemoteEntry {
            id: row.text("id").and_then(|id| id.parse().ok()).ok_or_else(missing)?,
            seq: row.integer("seq").unwrap_or(0),
            nonce: row.text("nonce").map(str::to_owned),
            state_text: row.text("state").map(str::to_owned),
            state_bytes: bytes.ok_or_else(missing)?,
            shown: (row.integer("present") == Some(1)).then(|| Shown {
                memory_type: row.text("kind").unwrap_or_default().to_owned(),
                tags: row
                    .text("tags")
                    .and_then(|tags| serde_json::from_str(tags).ok())
                    .unwrap_or_default(),
                metadata_json: row.text("metadata").unwrap_or_default().to_owned(),
            }),
            row: match (row.integer("present"), row.integer("dead")) {
                (Some(1), Some(0)) => RemoteRow::Alive,
                (Some(1), _) => RemoteRow::Dead,
                _ => RemoteRow::Absent,
            },
        });
    }
    Ok((found, read_anchor(anchor, check)?))
}
