//! `GET /v1/export` and `POST /v1/import`: records page by page, as `memtide export` writes them.

use super::body::Body;
use super::doors::Doors;
use super::error::ApiError;
use super::query::query_pairs;
use super::wire::VersionJson;
use crate::clock::Micros;
use crate::model::carried::Carried;
use crate::model::draft::{MERGED_TAGS_MAX, Text, check_tags_within};
use crate::model::id::{BodyHash, MemoryId};
use crate::model::stamp::Stamp;
use crate::model::state::State as Registers;
use crate::model::state_text;
use crate::store::Version;
use crate::store::edge::Edge;
use crate::store::transfer::{self, Absorbed, Record};
use axum::Json;
use axum::extract::{RawQuery, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Version of the records' form.
const FORM: u32 = 1;
/// Records of one page.
const PAGE_RECORDS: usize = 500;
/// Numbers of versions stay below this, so that there is always a next one.
const VERSION_MAX: i64 = 1 << 40;
/// Bytes of text of one page, roughly.
const PAGE_BYTES: usize = 4 << 20;

/// A memory, dead or alive, with all it is made of: one line of an export.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordJson {
    /// Version of this form.
    pub memtide: u32,
    /// 64 hex digits.
    pub id: String,
    /// The text, unless that is no longer kept.
    pub content: Option<String>,
    /// The registers.
    pub state: Value,
    /// Versions that were replaced, oldest first.
    #[serde(default)]
    pub history: Vec<VersionJson>,
    /// What is kept beside it for the Python service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<CarriedJson>,
    /// Connections that start from it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edges: Vec<EdgeJson>,
}

/// Columns of the Python service that memtide keeps and doesn't use; those at their default are left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CarriedJson {
    /// The partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// The hash of the memory that it is a version of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Its number among the versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// How sure the service is of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// When a search last showed it, in seconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_accessed: Option<f64>,
    /// Any other column by its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Value>,
}

/// A connection of the Python service's graph; lists and objects stand there as texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EdgeJson {
    /// The id of a memory, or a name.
    pub target: String,
    /// How near they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f64>,
    /// Why they are connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kinds: Option<String>,
    /// What one is to the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relation: Option<String>,
    /// Whatever else is said of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<String>,
    /// Seconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<f64>,
}

/// Answer of `GET /v1/export`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExportAnswer {
    /// One page.
    pub records: Vec<RecordJson>,
    /// What to give as `after` for the next page; none at the end.
    pub next: Option<i64>,
}

/// `POST /v1/import`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportRequest {
    /// Records of an export.
    pub records: Vec<RecordJson>,
}

/// Answer of `POST /v1/import`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportAnswer {
    /// Memories that were not here.
    pub new: u64,
    /// Memories of which some was newer.
    pub merged: u64,
    /// Memories of which all was here.
    pub unchanged: u64,
}

pub(super) async fn export(
    State(doors): State<Doors>,
    RawQuery(query): RawQuery,
) -> Result<Json<ExportAnswer>, ApiError> {
    let after = query_pairs(query.as_deref().unwrap_or_default())?
        .into_iter()
        .find(|(key, _)| key == "after")
        .map_or(Ok(0), |(_, value)| value.parse::<i64>())
        .map_err(|_| ApiError::bad_parameter("after is not a number"))?;
    let (records, next) = doors
        .service
        .read(move |read| transfer::page(read, after, PAGE_RECORDS, PAGE_BYTES))
        .await?;
    Ok(Json(ExportAnswer { records: records.into_iter().map(RecordJson::from).collect(), next }))
}

pub(super) async fn import(
    State(doors): State<Doors>,
    Body(request): Body<ImportRequest>,
) -> Result<Json<ImportAnswer>, ApiError> {
    let mut records = Vec::with_capacity(request.records.len());
    for record in request.records {
        records.push(read(record, doors.service.text_limit())?);
    }
    Ok(Json(count(&doors.service.absorb(records).await?)))
}

fn count(outcomes: &[Absorbed]) -> ImportAnswer {
    let of = |wanted| {
        let n = outcomes.iter().filter(|outcome| **outcome == wanted).count();
        u64::try_from(n).unwrap_or(u64::MAX)
    };
    ImportAnswer {
        new: of(Absorbed::New),
        merged: of(Absorbed::Merged),
        unchanged: of(Absorbed::Unchanged),
    }
}

impl From<Record> for RecordJson {
    fn from(record: Record) -> Self {
        Self {
            memtide: FORM,
            id: record.id.to_string(),
            content: record.content,
            state: serde_json::from_str(&state_text::write(&record.state)).unwrap_or_default(),
            history: record.versions.into_iter().map(VersionJson::from).collect(),
            carried: record.carried.map(CarriedJson::from),
            edges: record.edges.into_iter().map(EdgeJson::from).collect(),
        }
    }
}

impl From<Carried> for CarriedJson {
    fn from(carried: Carried) -> Self {
        let Carried { store, parent, version, confidence, last_accessed, extra } = carried;
        Self { store, parent, version, confidence, last_accessed, extra }
    }
}

impl From<CarriedJson> for Carried {
    fn from(carried: CarriedJson) -> Self {
        let CarriedJson { store, parent, version, confidence, last_accessed, extra } = carried;
        Self { store, parent, version, confidence, last_accessed, extra }
    }
}

impl From<Edge> for EdgeJson {
    fn from(edge: Edge) -> Self {
        let Edge { origin: _, target, similarity, kinds, relation, metadata, created_at } = edge;
        Self { target, similarity, kinds, relation, metadata, created_at }
    }
}

impl EdgeJson {
    fn starting_at(self, origin: &MemoryId) -> Edge {
        let Self { target, similarity, kinds, relation, metadata, created_at } = self;
        let origin = origin.to_string();
        Edge { origin, target, similarity, kinds, relation, metadata, created_at }
    }
}

/// Checks a record as strictly as a store: what comes from a file is not trusted more than a client.
fn read(record: RecordJson, text_limit: usize) -> Result<Record, ApiError> {
    let bad = |what: &str| {
        let id: String = record.id.chars().take(80).collect();
        ApiError::bad(
            format!("the record {id:?} {what}"),
            "export it anew; nothing of this page was taken",
        )
    };
    if record.memtide != FORM {
        return Err(bad(&format!("has form {}, this memtide reads {FORM}", record.memtide)));
    }
    let id: MemoryId = record.id.parse().map_err(|_| bad("has no valid id"))?;
    let state = state_text::read(&record.state.to_string()).map_err(|e| bad(&format!(": {e}")))?;
    if let Some(content) = &record.content {
        if BodyHash::of(content) != state.text.value {
            return Err(bad("has a text that its registers don't name"));
        }
        Text::check(content.clone(), text_limit)?;
    } else if state.is_alive() {
        return Err(bad("is alive and has no text"));
    }
    check_registers(&state).map_err(&bad)?;
    let tags: Vec<String> = state.live_tags().into_iter().map(str::to_owned).collect();
    // More than one input may have: devices make memories together.
    if check_tags_within(&tags, MERGED_TAGS_MAX)?.iter().ne(tags.iter()) {
        return Err(bad("has tags that are not normalised"));
    }
    let numbers = || record.history.iter().map(|version| version.version);
    if !numbers().is_sorted_by(|a, b| a < b) || numbers().any(|n| !(1..VERSION_MAX).contains(&n)) {
        return Err(bad("has versions that are not numbered upwards from 1"));
    }
    let mut versions = Vec::with_capacity(record.history.len());
    for version in &record.history {
        let at = Micros::parse_rfc3339(&version.replaced_at);
        versions.push(Version {
            version: version.version,
            at: at.ok_or_else(|| bad("has a version without a valid time"))?,
            cause: version.cause.clone(),
            client: version.client.clone(),
            memory_type: version.memory_type.clone(),
            tags: version.tags.clone(),
            metadata: version.metadata.to_string(),
            content: version.content.clone(),
        });
    }
    if record.edges.iter().any(|edge| edge.target.is_empty()) {
        return Err(bad("has a connection to nothing"));
    }
    let carried = record.carried.map(Carried::from).filter(|carried| !carried.is_empty());
    let edges = record.edges.into_iter().map(|edge| edge.starting_at(&id)).collect();
    Ok(Record { id, state, content: record.content, versions, carried, edges })
}

/// What the rest of the store relies on and a damaged file may break.
fn check_registers(state: &Registers) -> Result<(), &'static str> {
    let mut values = state.metadata.values().filter_map(|register| register.value.as_deref());
    if !values.all(|value| serde_json::from_str::<Value>(value).is_ok()) {
        return Err("has metadata that is no JSON");
    }
    if state.newest().ms >= Stamp::MS_MAX {
        return Err("has a stamp that leaves no room for a later one");
    }
    Ok(())
}
