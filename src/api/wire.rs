//! Requests and answers of `/v1`, as JSON. Unknown keys in a request are refused by name.

use crate::model::memory::Memory;
use crate::store::Version;
use crate::store::memory::Stored;
use crate::store::outbox::Entry;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryJson {
    /// 64 hex digits.
    pub id: String,
    /// The exact text.
    pub content: String,
    /// Sorted tags.
    pub tags: Vec<String>,
    /// The type.
    pub memory_type: String,
    /// Metadata by key.
    pub metadata: Map<String, Value>,
    /// RFC 3339, UTC, microseconds.
    pub created_at: String,
    /// RFC 3339, UTC, microseconds.
    pub updated_at: String,
    /// RFC 3339, UTC, microseconds; only of a deleted memory.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub deleted_at: Option<String>,
    /// The id of the memory that replaces this one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub superseded_by: Option<String>,
    /// Who stored it.
    pub origin: Origin,
    /// Whether the cloud database, and the bucket if it holds the body, have this version.
    pub synced: bool,
    /// Whether it has a vector.
    pub embedded: bool,
}

/// Who stored a memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The device's number, 8 hex digits.
    pub device: String,
    /// The program.
    pub client: String,
}

impl From<Memory> for MemoryJson {
    fn from(memory: Memory) -> Self {
        Self {
            id: memory.id.to_string(),
            content: memory.content,
            tags: memory.tags,
            memory_type: memory.memory_type,
            metadata: memory.metadata,
            created_at: memory.created_at.to_rfc3339(),
            updated_at: memory.updated_at.to_rfc3339(),
            deleted_at: memory.deleted_at.map(crate::clock::Micros::to_rfc3339),
            superseded_by: memory.superseded_by.map(|id| id.to_string()),
            origin: Origin { device: memory.device, client: memory.client },
            synced: memory.synced,
            embedded: memory.embedded,
        }
    }
}

/// `POST /v1/memories`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreRequest {
    /// The text.
    pub content: String,
    /// Tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// The type.
    #[serde(default, alias = "type", skip_serializing_if = "Option::is_none")]
    pub memory_type: Option<String>,
    /// A JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
}

/// Answer of `POST /v1/memories`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreAnswer {
    /// The memory's id.
    pub id: String,
    /// Whether it is new, or was deleted before.
    pub created: bool,
    /// Whether one that was there changed.
    pub updated: bool,
    /// The generation of this write.
    pub generation: i64,
}

impl From<Stored> for StoreAnswer {
    fn from(stored: Stored) -> Self {
        Self {
            id: stored.id.to_string(),
            created: stored.created,
            updated: stored.updated,
            generation: stored.generation,
        }
    }
}

/// `PATCH /v1/memories/{id}`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateRequest {
    /// A new text: makes the memory that supersedes this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// All tags it shall have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// The new type.
    #[serde(default, alias = "type", skip_serializing_if = "Option::is_none")]
    pub memory_type: Option<String>,
    /// Merged key by key; null removes a key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
}

/// Conditions of a list, a search or a deletion; times are a date, an instant or a phrase.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct FilterJson {
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Whether all tags are needed, or one.
    #[serde(default)]
    pub tags_all: bool,
    /// The type.
    #[serde(default, alias = "type", skip_serializing_if = "Option::is_none")]
    pub memory_type: Option<String>,
    /// Created then or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Created before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// A phrase for a range: `last week`, `in March`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
}

/// `POST /v1/search`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SearchRequest {
    /// What to search for.
    pub query: String,
    /// How many hits, 1 to 100; 10 if not given.
    #[serde(default, alias = "limit", skip_serializing_if = "Option::is_none")]
    pub n: Option<i64>,
    /// `hybrid`, `semantic`, `keyword` or `exact`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Which memories may be found.
    #[serde(flatten)]
    pub filter: FilterJson,
    /// Anything else, refused by name.
    #[serde(flatten, skip_serializing_if = "Map::is_empty")]
    pub unknown: Map<String, Value>,
}

/// Answer of `POST /v1/search`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchAnswer {
    /// Best first.
    pub hits: Vec<HitJson>,
    /// What ranked; `keyword` when the model isn't ready and `hybrid` was asked for.
    pub mode: String,
    /// What the hits may not know yet.
    pub freshness: Freshness,
    /// Milliseconds in all, the query's embedding included.
    pub took_ms: f64,
    /// Milliseconds of them that embedded the query.
    pub embed_ms: f64,
}

/// A found memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HitJson {
    /// The memory.
    pub memory: MemoryJson,
    /// 0 to 1.
    pub score: f64,
    /// What made the score.
    pub why: Why,
}

/// What made a score.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// Cosine of the best window.
    pub cosine: Option<f64>,
    /// BM25 of the words.
    pub bm25: Option<f64>,
    /// BM25 as a share, 0 to 1: what the score is made of, with the cosine.
    #[serde(default)]
    pub words: Option<f64>,
    /// The query's words that stand in the text.
    pub matched: Vec<String>,
}

/// What a search may not know yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Freshness {
    /// Memories without a vector of their present text.
    pub pending_embeddings: u64,
    /// When other devices' writes were last fetched.
    pub last_pull_at: Option<String>,
    /// How old that is, in seconds.
    pub watermark_age_s: Option<f64>,
}

/// Answer of `GET /v1/memories`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListAnswer {
    /// Newest first.
    pub memories: Vec<MemoryJson>,
    /// From 1.
    pub page: i64,
    /// 1 to 100.
    pub page_size: i64,
    /// How many pass the filter.
    pub total: u64,
    /// Whether another page follows.
    pub has_more: bool,
}

/// `POST /v1/memories/delete`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct DeleteRequest {
    /// Ids or unique prefixes; then no filter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// Which memories.
    #[serde(flatten)]
    pub filter: FilterJson,
    /// Only tell which.
    #[serde(default)]
    pub dry_run: bool,
    /// Anything else, refused by name.
    #[serde(flatten, skip_serializing_if = "Map::is_empty")]
    pub unknown: Map<String, Value>,
}

/// Answer of a deletion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteAnswer {
    /// The ids that were, or would be, deleted.
    pub ids: Vec<String>,
    /// How many.
    pub deleted: u64,
    /// Whether nothing was done.
    pub dry_run: bool,
}

/// `POST /v1/memories/{id}/restore`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreRequest {
    /// Which version; none brings back a deleted memory as it was.
    #[serde(default)]
    pub version: Option<i64>,
}

/// Answer of `GET /v1/memories/{id}/history`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryAnswer {
    /// The memory's id.
    pub id: String,
    /// Versions that were replaced, oldest first.
    pub versions: Vec<VersionJson>,
}

/// A version that was replaced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionJson {
    /// From 1.
    pub version: i64,
    /// When it was replaced.
    pub replaced_at: String,
    /// `store`, `update`, `delete`, `restore` or `import`.
    pub cause: String,
    /// By which program.
    pub client: String,
    /// The text it had.
    pub content: String,
    /// The tags it had.
    pub tags: Vec<String>,
    /// The type it had.
    pub memory_type: String,
    /// The metadata it had.
    pub metadata: Value,
}

impl From<Version> for VersionJson {
    fn from(version: Version) -> Self {
        Self {
            version: version.version,
            replaced_at: version.at.to_rfc3339(),
            cause: version.cause,
            client: version.client,
            content: version.content,
            tags: version.tags,
            memory_type: version.memory_type,
            metadata: serde_json::from_str(&version.metadata).unwrap_or_default(),
        }
    }
}

/// Answer of `GET /v1/tags`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagsAnswer {
    /// Most frequent first.
    pub tags: Vec<TagJson>,
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagJson {
    /// The tag.
    pub tag: String,
    /// How many live memories have it.
    pub count: u64,
}

/// Answer of `GET /v1/duplicates`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DuplicatesAnswer {
    /// Memories whose texts differ in case and outer space at most; the first of each is the one to keep.
    pub groups: Vec<Vec<MemoryJson>>,
}

/// Answer of `GET /v1/outbox`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxAnswer {
    /// Oldest first.
    pub entries: Vec<EntryJson>,
}

/// A duty to the cloud.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryJson {
    /// The memory's id.
    pub id: String,
    /// `r2`, `d1` or `vectorize`.
    pub product: String,
    /// What is owed at least.
    pub generation: i64,
    /// `due`, `waiting_for_embedding`, `conflict` or `parked`.
    pub state: String,
    /// Tries so far.
    pub attempts: u32,
    /// Owed since.
    pub since: String,
    /// Tried again at.
    pub due_at: String,
    /// What the last try met.
    pub error: Option<String>,
}

impl From<Entry> for EntryJson {
    fn from(entry: Entry) -> Self {
        Self {
            id: entry.id.to_string(),
            product: entry.product.as_str().to_owned(),
            generation: entry.generation,
            state: entry.state,
            attempts: entry.attempts,
            since: entry.since.to_rfc3339(),
            due_at: entry.due_at.to_rfc3339(),
            error: entry.error,
        }
    }
}

/// `POST /v1/outbox/retry`; without ids, everything.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryRequest {
    /// Ids or unique prefixes.
    #[serde(default)]
    pub ids: Vec<String>,
    /// All parked duties.
    #[serde(default)]
    pub all: bool,
}

/// Answer of `POST /v1/outbox/retry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryAnswer {
    /// How many parked duties were put back.
    pub retried: u64,
}

/// `POST /v1/embedder/reload`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReloadRequest {
    /// Another model; the present one if not given.
    #[serde(default)]
    pub model: Option<String>,
}

/// The body of every error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorJson,
}

/// An error for people and programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorJson {
    /// One of a closed set.
    pub code: String,
    /// What is wrong, with the value and the limit.
    pub message: String,
    /// What to do next.
    pub hint: String,
    /// More, by name.
    #[serde(default)]
    pub details: Value,
}
