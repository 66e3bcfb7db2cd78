//! The batch that carries memories into the database: pure functions from rows to statements and
//! from answers to winners.
//!
//! One batch is one transaction. The rows travel once, as one JSON text, into `mt_stage`, where they
//! also keep the triggers quiet. A compare-and-swap for each memory then decides, once, who wins: a
//! memory whose feed position is still the one that the sender knew. All further statements look at
//! the list of winners only. A memory that lost is left exactly as it is; one that is sent again
//! after its answer was lost loses too, and is found with its own state by [`super::feed::fetch`]. So a
//! batch may be repeated at any time.
//!
//! A living memory's row is written as the Python service reads it: both forms of the tags, the
//! vector's id, the key of a body in R2 with its placeholder. A memory without tags gets none; the
//! service shows those as `untagged` by itself, and a written `untagged` would come back as a tag.
//! `updated_at` is the database's clock at the commit, as the service looks for changes by it.
//! A dead memory keeps its row, which says when it was deleted; where there is no row, `mt_entry`
//! alone holds the tombstone.
//!
//! A row that shows the memory already, as the Python service wrote it, is left as it is: only the entry is
//! written beside it. That it shows it was seen at the position which the compare-and-swap asks for.

use super::d1::{D1, Statement, StatementResult};
use super::error::{Product, RemoteError};
use crate::clock::Micros;
use crate::model::id::MemoryId;
use crate::mutant::{self, Mutant};
use crate::priority;
use serde::Serialize;
use std::collections::HashSet;

/// Bytes of the JSON text of one batch; D1 takes 2,000,000 in one parameter.
pub const BATCH_MAX_BYTES: usize = 1_500_000;
/// Bytes of one memory's JSON from which its text belongs into R2.
pub const ROW_MAX_BYTES: usize = 1_000_000;
/// Living memories in one batch.
pub const BATCH_MAX_MEMORIES: usize = 500;
/// Dead memories in one batch: they write little.
pub const BATCH_MAX_ENTRIES: usize = 2000;
/// What one living memory weighs against dead ones.
const LIVING_WEIGHT: usize = BATCH_MAX_ENTRIES / BATCH_MAX_MEMORIES;

/// One memory as it is to be in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushRow {
    /// What names it.
    pub id: MemoryId,
    /// The feed position that the sender knows; 0 for a memory that isn't in the feed.
    pub expected_seq: i64,
    /// Whether it is alive. A dead one is written without its text, tags and metadata.
    pub alive: bool,
    /// Whether the row shows it already: then its entry is written and the row left as it is.
    pub is_row_right: bool,
    /// The text, or [`placeholder`] where the body is in R2.
    pub content: String,
    /// The type.
    pub memory_type: String,
    /// Normalised tags.
    pub tags: Vec<String>,
    /// The metadata as a JSON object.
    pub metadata_json: String,
    /// When it was first stored.
    pub created_at: Micros,
    /// When it was deleted; `None` for a dead one means at the commit.
    pub deleted_at: Option<Micros>,
    /// The key of the body in R2.
    pub r2_key: Option<String>,
    /// Bytes of the text.
    pub content_size: usize,
    /// The state's text form.
    pub state_text: String,
    /// The state's digest.
    pub digest: u64,
}

impl PushRow {
    /// Whether the row of a living memory is written.
    pub fn writes_row(&self) -> bool {
        self.alive && !self.is_row_right
    }
}

/// What stands in a row in place of a text that is in R2.
pub fn placeholder(key: &str) -> String {
    format!("[R2 Content: {key}]")
}

#[derive(Serialize)]
struct Encoded<'a> {
    /// Id.
    h: String,
    /// Expected position.
    e: i64,
    /// 1 if alive, 0 if dead, 2 if the row shows it already.
    a: u8,
    /// Text.
    #[serde(skip_serializing_if = "Option::is_none")]
    t: Option<&'a str>,
    /// Type.
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<&'a str>,
    /// Tags, one by one.
    #[serde(skip_serializing_if = "Option::is_none")]
    g: Option<&'a [String]>,
    /// Tags, joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    gs: Option<String>,
    /// Metadata.
    #[serde(skip_serializing_if = "Option::is_none")]
    m: Option<&'a str>,
    /// First storage in microseconds, and as text.
    c: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    ci: Option<String>,
    /// Deletion in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    d: Option<i64>,
    /// Key in R2.
    #[serde(skip_serializing_if = "Option::is_none")]
    r: Option<&'a str>,
    /// Bytes of the text.
    n: usize,
    /// State.
    s: &'a str,
    /// Digest, as text.
    x: String,
}

fn encode(row: &PushRow) -> String {
    let live = row.writes_row();
    let encoded = Encoded {
        h: row.id.to_string(),
        e: row.expected_seq,
        a: if row.is_row_right { 2 } else { u8::from(row.alive) },
        t: live.then_some(&row.content),
        k: live.then_some(&row.memory_type),
        g: live.then_some(&row.tags),
        gs: live.then(|| row.tags.join(",")),
        m: live.then_some(&row.metadata_json),
        c: row.created_at.0,
        ci: live.then(|| row.created_at.to_rfc3339()),
        d: row.deleted_at.filter(|_| !row.alive).map(|at| at.0),
        r: if live { row.r2_key.as_deref() } else { None },
        n: row.content_size,
        s: &row.state_text,
        x: row.digest.to_string(),
    };
    serde_json::to_string(&encoded).unwrap_or_default()
}

/// Bytes that a row takes in a batch. From [`ROW_MAX_BYTES`] on its text belongs into R2.
pub fn encoded_bytes(row: &PushRow) -> usize {
    encode(row).len()
}

/// Memories that go in one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushBatch {
    /// Which memories, in the order in which they take their positions.
    pub ids: Vec<MemoryId>,
    json: String,
    has_living: bool,
    has_dead: bool,
}

/// A memory that no request can carry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the memory {id} takes {bytes} bytes in the cloud database, the limit is {BATCH_MAX_BYTES}: shorten its metadata or tags, or let its text go to an R2 bucket"
)]
pub struct Oversized {
    /// Which memory.
    pub id: MemoryId,
    /// Bytes that it takes.
    pub bytes: usize,
}

/// Divides rows into batches, keeping their order.
pub fn split(rows: &[PushRow]) -> (Vec<PushBatch>, Vec<Oversized>) {
    let mut batches: Vec<PushBatch> = Vec::new();
    let mut oversized = Vec::new();
    let mut open: Option<(PushBatch, usize)> = None;
    for row in rows {
        priority::give_way();
        let text = encode(row);
        if text.len() + 2 > BATCH_MAX_BYTES {
            oversized.push(Oversized { id: row.id, bytes: text.len() });
            continue;
        }
        let weight = if row.writes_row() { LIVING_WEIGHT } else { 1 };
        let fits = open.as_ref().is_some_and(|(batch, used)| {
            used + weight <= BATCH_MAX_ENTRIES
                && batch.json.len() + text.len() + 2 <= BATCH_MAX_BYTES
        });
        if !fits {
            batches.extend(open.take().map(|(batch, _)| batch.closed()));
        }
        let (batch, used) = open.get_or_insert_with(|| (PushBatch::open(), 0));
        batch.add(row, &text);
        *used += weight;
    }
    batches.extend(open.map(|(batch, _)| batch.closed()));
    (batches, oversized)
}

impl PushBatch {
    fn open() -> Self {
        Self { ids: Vec::new(), json: "[".to_owned(), has_living: false, has_dead: false }
    }

    fn add(&mut self, row: &PushRow, text: &str) {
        if !self.ids.is_empty() {
            self.json.push(',');
        }
        self.json.push_str(text);
        self.ids.push(row.id);
        self.has_living |= row.writes_row();
        self.has_dead |= !row.alive && !row.is_row_right;
    }

    fn closed(mut self) -> Self {
        self.json.push(']');
        self
    }

    /// The statements of this batch, to be sent as one. Where `anchor` doesn't hold, or in a database that
    /// doesn't call itself `database`, nobody wins and nothing is written.
    pub fn statements(&self, anchor: Option<&Anchor>, database: &str) -> Vec<Statement> {
        let mut statements =
            vec![Statement::new(STAGE, vec![Some(self.json.clone())]), decide(anchor, database)];
        if self.has_living {
            statements.push(Statement::plain(OTHER_VECTORS));
            statements.extend(LIVING.iter().map(|sql| Statement::plain(*sql)));
        }
        if self.has_dead {
            statements.push(Statement::plain(BURY));
        }
        let rest = [ENTRY, LEAVE_FEED, JOIN_FEED, MARK, WINNERS, UNSTAGE];
        statements.extend(rest.map(Statement::plain));
        statements.push(anchor_statement(anchor));
        statements
    }

    /// Reads the answer to [`PushBatch::statements`].
    ///
    /// # Errors
    /// A part is missing; whether the batch was applied isn't known then.
    pub fn read(
        &self,
        anchor: Option<&Anchor>,
        results: &[StatementResult],
    ) -> Result<PushAnswer, RemoteError> {
        let missing = || RemoteError::unreadable(Product::D1, "the list of pushed memories");
        let [.., winners, _, check] = results else { return Err(missing()) };
        let mut won = Vec::new();
        for row in winners.rows() {
            won.push(Winner {
                id: row.text("id").and_then(|id| id.parse().ok()).ok_or_else(missing)?,
                seq: row.integer("seq").ok_or_else(missing)?,
                nonce: row.text("nonce").ok_or_else(missing)?.to_owned(),
            });
        }
        let ids: HashSet<MemoryId> = won.iter().map(|winner| winner.id).collect();
        let losers = self.ids.iter().copied().filter(|id| !ids.contains(id)).collect();
        let others = results.get(2).filter(|_| self.has_living);
        let others = others.into_iter().flat_map(StatementResult::rows);
        let other_vectors = others.filter_map(|row| row.text("vector").map(str::to_owned));
        Ok(PushAnswer {
            winners: won,
            losers,
            other_vectors: other_vectors.collect(),
            cloud: read_anchor(anchor, check)?,
        })
    }
}

/// Pushes one batch into the database that calls itself `database`.
///
/// # Errors
/// The batch as a whole was refused and changed nothing, or its answer was lost.
pub async fn push(
    d1: &D1,
    batch: &PushBatch,
    anchor: Option<&Anchor>,
    database: &str,
) -> Result<PushAnswer, RemoteError> {
    let results = d1.batch(&batch.statements(anchor, database)).await?;
    batch.read(anchor, &results)
}

/// The newest position that a device knows, and its mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The position.
    pub seq: i64,
    /// The random mark that the database gave it.
    pub nonce: String,
}

/// Whether the database is still the one that the device knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudCheck {
    /// `false` if the anchor's position is gone or has another mark: the database was put back.
    pub anchor_holds: bool,
    /// The database's own name for itself.
    pub database: Option<String>,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushAnswer {
    /// Memories that were written.
    pub winners: Vec<Winner>,
    /// Memories that somebody else wrote meanwhile, or this device itself in a request whose answer
    /// was lost.
    pub losers: Vec<MemoryId>,
    /// Names of vectors that rows had and have no more: each names the one that carries its id by now.
    pub other_vectors: Vec<String>,
    /// What the answer says of the database.
    pub cloud: CloudCheck,
}

/// A memory that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Winner {
    /// Which.
    pub id: MemoryId,
    /// Its new position in the feed.
    pub seq: i64,
    /// The mark of that position.
    pub nonce: String,
}

/// The compare-and-swap, which also looks whether the database is the one that the device knows.
fn decide(anchor: Option<&Anchor>, database: &str) -> Statement {
    let seq = anchor.map(|anchor| anchor.seq.to_string());
    let nonce = anchor.map(|anchor| anchor.nonce.clone());
    let params = vec![seq, nonce, Some(database.to_owned())];
    if mutant::is(Mutant::NoCompareAndSwap) {
        let cas = "COALESCE(f.seq, 0) = CAST(j.value->>'e' AS INTEGER)";
        Statement::new(DECIDE.replace(cas, "true"), params)
    } else {
        Statement::new(DECIDE, params)
    }
}

/// The statement that every exchange ends with.
pub(super) fn anchor_statement(anchor: Option<&Anchor>) -> Statement {
    Statement::new(ANCHOR, vec![anchor.map(|anchor| anchor.seq.to_string())])
}

/// Reads the answer to [`anchor_statement`].
pub(super) fn read_anchor(
    anchor: Option<&Anchor>,
    result: &StatementResult,
) -> Result<CloudCheck, RemoteError> {
    let row = result
        .first()
        .ok_or_else(|| RemoteError::unreadable(Product::D1, "the check of the database"))?;
    Ok(CloudCheck {
        anchor_holds: anchor.is_none_or(|anchor| row.text("nonce") == Some(&anchor.nonce)),
        database: row.text("database").map(str::to_owned),
    })
}

/// The stage is empty between batches; `OR REPLACE` heals one that isn't.
pub(super) const STAGE: &str = "INSERT OR REPLACE INTO mt_stage(rowid, j) VALUES (1, ?1)";
/// The compare-and-swap. A row that the feed doesn't know was written where triggers are refused: it
/// has not been read yet, so it is not overwritten. Nor is a row there whose own instant is later than its
/// position; one far ahead says nothing. Whether the triggers are there is asked here, where it counts.
const DECIDE: &str = "INSERT OR REPLACE INTO mt_stage(rowid, j) SELECT 2, json_group_array(j.value->>'h') FROM mt_stage s CROSS JOIN json_each(s.j) j LEFT JOIN mt_feed f ON f.id = j.value->>'h' WHERE s.rowid = 1 AND COALESCE(f.seq, 0) = CAST(j.value->>'e' AS INTEGER) AND (f.seq IS NOT NULL OR NOT EXISTS (SELECT 1 FROM memories m WHERE m.content_hash = j.value->>'h')) AND ((SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name IN ('mt_t1', 'mt_t2', 'mt_t3', 'mt_t4', 'mt_t5')) = 5 OR NOT EXISTS (SELECT 1 FROM memories u WHERE u.content_hash = j.value->>'h' AND max(COALESCE(u.updated_at, 0), COALESCE(u.deleted_at, 0)) > f.at + 1 AND max(COALESCE(u.updated_at, 0), COALESCE(u.deleted_at, 0)) <= unixepoch() + 60)) AND (SELECT v FROM mt_meta WHERE k = 'database') = ?3 AND (?1 IS NULL OR EXISTS (SELECT 1 FROM mt_heads a WHERE a.seq = CAST(?1 AS INTEGER) AND a.n = ?2))";

/// Asked before the rows are written.
const OTHER_VECTORS: &str = "SELECT m.vector_id AS vector FROM mt_stage s CROSS JOIN json_each(s.j) j CROSS JOIN memories m ON m.content_hash = j.value->>'h' WHERE s.rowid = 1 AND j.value->>'a' = 1 AND j.value->>'h' IN (SELECT w.value FROM mt_stage l CROSS JOIN json_each(l.j) w WHERE l.rowid = 2) AND m.vector_id <> m.content_hash LIMIT 500";
const LIVING: [&str; 4] = [
    "INSERT INTO memories (content_hash, content, memory_type, created_at, created_at_iso, updated_at, updated_at_iso, metadata_json, vector_id, content_size, r2_key, tags, deleted_at) SELECT j.value->>'h', j.value->>'t', j.value->>'k', (j.value->>'c') / 1000000.0, j.value->>'ci', unixepoch('subsec'), strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), j.value->>'m', j.value->>'h', j.value->>'n', j.value->>'r', j.value->>'gs', NULL FROM mt_stage s CROSS JOIN json_each(s.j) j WHERE s.rowid = 1 AND j.value->>'a' = 1 AND j.value->>'h' IN (SELECT w.value FROM mt_stage l CROSS JOIN json_each(l.j) w WHERE l.rowid = 2) ON CONFLICT(content_hash) DO UPDATE SET content = excluded.content, memory_type = excluded.memory_type, created_at = excluded.created_at, created_at_iso = excluded.created_at_iso, updated_at = excluded.updated_at, updated_at_iso = excluded.updated_at_iso, metadata_json = excluded.metadata_json, vector_id = excluded.vector_id, content_size = excluded.content_size, r2_key = excluded.r2_key, tags = excluded.tags, deleted_at = NULL",
    "DELETE FROM memory_tags WHERE (memory_id, tag_id) IN (SELECT x.memory_id, x.tag_id FROM mt_stage s CROSS JOIN json_each(s.j) j CROSS JOIN memories m ON m.content_hash = j.value->>'h' CROSS JOIN memory_tags x ON x.memory_id = m.id LEFT JOIN tags t ON t.id = x.tag_id WHERE s.rowid = 1 AND j.value->>'a' = 1 AND j.value->>'h' IN (SELECT w.value FROM mt_stage l CROSS JOIN json_each(l.j) w WHERE l.rowid = 2) AND (t.name IS NULL OR t.name NOT IN (SELECT g.value FROM json_each(j.value, '$.g') g)))",
    "INSERT OR IGNORE INTO tags(name) SELECT DISTINCT g.value FROM mt_stage s CROSS JOIN json_each(s.j) j CROSS JOIN json_each(j.value, '$.g') g WHERE s.rowid = 1 AND j.value->>'a' = 1 AND j.value->>'h' IN (SELECT w.value FROM mt_stage l CROSS JOIN json_each(l.j) w WHERE l.rowid = 2) AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.name = g.value)",
    "INSERT OR IGNORE INTO memory_tags(memory_id, tag_id) SELECT m.id, t.id FROM mt_stage s CROSS JOIN json_each(s.j) j CROSS JOIN memories m ON m.content_hash = j.value->>'h' CROSS JOIN json_each(j.value, '$.g') g CROSS JOIN tags t ON t.name = g.value WHERE s.rowid = 1 AND j.value->>'a' = 1 AND j.value->>'h' IN (SELECT w.value FROM mt_stage l CROSS JOIN json_each(l.j) w WHERE l.rowid = 2)",
];
/// An upsert that never inserts: every row of its source exists. An `UPDATE … FROM` would let the
/// planner read all memories to find the few.
const BURY: &str = "INSERT INTO memories (content_hash, content, created_at, created_at_iso, updated_at, updated_at_iso, deleted_at) SELECT m.content_hash, m.content, m.created_at, m.created_at_iso, unixepoch('subsec'), strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), COALESCE((j.value->>'d') / 1000000.0, unixepoch('subsec')) FROM mt_stage s CROSS JOIN json_each(s.j) j CROSS JOIN memories m ON m.content_hash = j.value->>'h' WHERE s.rowid = 1 AND j.value->>'a' = 0 AND j.value->>'h' IN (SELECT w.value FROM mt_stage l CROSS JOIN json_each(l.j) w WHERE l.rowid = 2) ON CONFLICT(content_hash) DO UPDATE SET updated_at = excluded.updated_at, updated_at_iso = excluded.updated_at_iso, deleted_at = excluded.deleted_at";
const ENTRY: &str = "INSERT INTO mt_entry(id, state, dg) SELECT j.value->>'h', j.value->>'s', CAST(j.value->>'x' AS INTEGER) FROM mt_stage s CROSS JOIN json_each(s.j) j WHERE s.rowid = 1 AND j.value->>'h' IN (SELECT w.value FROM mt_stage l CROSS JOIN json_each(l.j) w WHERE l.rowid = 2) ON CONFLICT(id) DO UPDATE SET state = excluded.state, dg = excluded.dg";
pub(super) const LEAVE_FEED: &str = "DELETE FROM mt_feed WHERE id IN (SELECT w.value FROM mt_stage l CROSS JOIN json_each(l.j) w WHERE l.rowid = 2)";
pub(super) const JOIN_FEED: &str = "INSERT INTO mt_feed(id) SELECT w.value FROM mt_stage l CROSS JOIN json_each(l.j) w WHERE l.rowid = 2 ORDER BY w.key";
/// What `mt_t0` does. Where triggers are refused, it is missing too.
pub(super) const MARK: &str = "INSERT OR IGNORE INTO mt_heads(seq, n) SELECT f.seq, hex(randomblob(8)) FROM mt_stage l CROSS JOIN json_each(l.j) w CROSS JOIN mt_feed f ON f.id = w.value WHERE l.rowid = 2";
const WINNERS: &str = "SELECT f.id, CAST(f.seq AS TEXT) AS seq, h.n AS nonce FROM mt_stage l CROSS JOIN json_each(l.j) w CROSS JOIN mt_feed f ON f.id = w.value LEFT JOIN mt_heads h ON h.seq = f.seq WHERE l.rowid = 2 ORDER BY f.seq";
pub(super) const UNSTAGE: &str = "DELETE FROM mt_stage";
const ANCHOR: &str = "SELECT (SELECT n FROM mt_heads WHERE seq = CAST(?1 AS INTEGER)) AS nonce, (SELECT v FROM mt_meta WHERE k = 'database') AS database";

#[cfg(test)]
mod tests;
