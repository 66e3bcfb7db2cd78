//! Vectorize: vector indexes under `/accounts/{a}/vectorize/v2/indexes`.

mod filter;
mod index;
mod parse;

use super::call::Call;
use super::chance::Chance;
use super::envelope::{self, Failure};
use super::options::Limits;
use super::tokens::Permission;
use crate::clock::Micros;
use bytes::Bytes;
use http::{Method, Response};
use index::{Change, Index, Metric};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// Dimensions of a vector. Documented.
const MAX_DIMENSIONS: usize = 1_536;
/// Bytes of an id, a namespace or an index name. Documented.
pub(super) const NAME_BYTES: usize = 64;
/// Ids that one `get_by_ids` takes. Seen in the field.
const GET_IDS: usize = 20;
/// Ids that one `delete_by_ids` takes. Seen in the field.
const DELETE_IDS: usize = 100;
/// Metadata indexes of one index. Documented.
const METADATA_INDEXES: usize = 10;
/// Ids on a page of a list. Documented.
const LIST_PAGE: usize = 1_000;

/// The indexes of an account.
pub(super) struct Indexes {
    delay: Duration,
    limits: Limits,
    list: Vec<Index>,
    /// Names of deleted indexes: they stay taken.
    retired: BTreeSet<String>,
    /// Whether changes are dropped once they are accepted.
    is_dropping: bool,
}

/// How accepted changes are processed.
#[derive(Clone, Copy)]
struct Pace {
    delay: Duration,
    is_dropping: bool,
}

#[derive(Deserialize)]
struct Creation {
    name: String,
    #[serde(default)]
    description: Option<String>,
    config: Config,
}

#[derive(Deserialize)]
struct Config {
    dimensions: Option<usize>,
    metric: Option<Metric>,
    preset: Option<String>,
}

#[derive(Deserialize)]
struct Ids {
    ids: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Property {
    property_name: String,
    index_type: Option<String>,
}

impl Indexes {
    pub(super) fn new(delay: Duration, limits: Limits) -> Self {
        Self { delay, limits, list: Vec::new(), retired: BTreeSet::new(), is_dropping: false }
    }

    /// Drops the changes that come from now on, or no longer.
    pub(super) fn drop_changes(&mut self, is_dropping: bool) {
        self.is_dropping = is_dropping;
    }

    /// The index of this name, with everything processed that is due at `now`.
    pub(super) fn find(&mut self, name: &str, now: Micros) -> Option<&mut Index> {
        let index = self.list.iter_mut().find(|index| index.name == name)?;
        index.settle(now);
        Some(index)
    }

    /// Creates an index for cosine similarity.
    pub(super) fn create_cosine(
        &mut self,
        name: &str,
        dimensions: usize,
        now: Micros,
    ) -> Result<(), Failure> {
        self.create(Index::new(name, None, dimensions, Metric::Cosine, now)).map(|_| ())
    }

    pub(super) fn route(
        &mut self,
        call: &Call<'_>,
        rest: &[&str],
        chance: &mut Chance,
    ) -> Result<Response<Bytes>, Failure> {
        let reads = *call.method == Method::GET || matches!(rest, [_, "query" | "get_by_ids"]);
        call.need(if reads { Permission::VectorizeRead } else { Permission::VectorizeWrite })?;
        let pace = Pace { delay: self.delay, is_dropping: self.is_dropping };
        let named = |indexes: &mut Self, name: &str| -> Result<(), Failure> {
            indexes.find(name, call.now).map(|_| ()).ok_or_else(|| {
                let text = format!("vectorize.index.not_found - Index name \"{name}\"");
                Failure::new(404, 3000, text)
            })
        };
        match (call.method.as_str(), rest) {
            ("GET", []) => {
                let all = self.list.iter().map(Index::describe).collect();
                Ok(envelope::success(Value::Array(all)))
            }
            ("POST", []) => {
                let ask: Creation = call.json().map_err(|error| unparsable(&error))?;
                self.create(ask.index(call.now)?).map(envelope::success)
            }
            (_, [name, action @ ..]) => {
                named(self, name)?;
                if call.method == Method::DELETE && action.is_empty() {
                    self.list.retain(|index| index.name != *name);
                    self.retired.insert((*name).to_owned());
                    return Ok(envelope::success(Value::Null));
                }
                let Some(index) = self.find(name, call.now) else { return Err(call.no_route()) };
                index.act(call, action, pace, chance).map(envelope::success)
            }
            _ => Err(call.no_method()),
        }
    }

    fn create(&mut self, index: Index) -> Result<Value, Failure> {
        if self.retired.contains(&index.name) || self.list.iter().any(|i| i.name == index.name) {
            let text = format!("vectorize.index.duplicate_name - Index name \"{}\"", index.name);
            return Err(Failure::new(409, 3002, text));
        }
        if self.list.len() >= self.limits.vectorize_indexes {
            let text = format!("index limit reached; max is {}", self.limits.vectorize_indexes);
            return Err(Failure::new(400, 40000, text));
        }
        let described = index.describe();
        self.list.push(index);
        Ok(described)
    }
}

impl Creation {
    fn index(self, now: Micros) -> Result<Index, Failure> {
        let bad = |text: &str| Err(Failure::new(400, 40026, text));
        let Config { dimensions, metric, preset } = self.config;
        let (dimensions, metric) = match (preset.as_deref(), dimensions, metric) {
            (Some("@cf/baai/bge-small-en-v1.5"), ..) => (384, Metric::Cosine),
            (Some("@cf/baai/bge-base-en-v1.5"), ..) => (768, Metric::Cosine),
            (Some("@cf/baai/bge-large-en-v1.5"), ..) => (1024, Metric::Cosine),
            (None, Some(dimensions), Some(metric)) => (dimensions, metric),
            _ => return bad("Failed to parse the request body as JSON: config: no such form"),
        };
        if self.name.is_empty() || self.name.len() > NAME_BYTES {
            return bad("invalid index name; it takes 1 to 64 bytes");
        }
        if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
            return bad("invalid dimensions; an index takes 1 to 1536");
        }
        Ok(Index::new(&self.name, self.description, dimensions, metric, now))
    }
}

impl Index {
    fn act(
        &mut self,
        call: &Call<'_>,
        action: &[&str],
        pace: Pace,
        chance: &mut Chance,
    ) -> Result<Value, Failure> {
        let mut accept = |index: &mut Self, change: Change| {
            let id = chance.uuid();
            let change = if pace.is_dropping { Change::Dropped } else { change };
            index.accept(id.clone(), change, call.now, pace.delay);
            json!({"mutationId": id})
        };
        match (call.method.as_str(), action) {
            ("GET", []) => Ok(self.describe()),
            ("GET", ["info"]) => Ok(self.info()),
            ("GET", ["list"]) => {
                let count = call.number("count", 100).clamp(1, LIST_PAGE);
                Ok(self.page(count, call.param("cursor"), call.now))
            }
            ("POST", [form @ ("upsert" | "insert")]) => {
                let vectors = parse::vectors(call, self.dimensions)?;
                Ok(accept(self, Change::Put { vectors, replace: *form == "upsert" }))
            }
            ("POST", ["query"]) => self.query(&parse::query(call)?),
            ("POST", ["get_by_ids"]) => {
                let ids = parse_ids(call, GET_IDS)?;
                Ok(Value::Array(ids.iter().filter_map(|id| self.shown(id)).collect()))
            }
            ("POST", ["delete_by_ids"]) => {
                let ids = parse_ids(call, DELETE_IDS)?;
                Ok(accept(self, Change::Delete { ids }))
            }
            ("GET", ["metadata_index", "list"]) => Ok(self.metadata_indexes()),
            ("POST", ["metadata_index", "create"]) => {
                let ask: Property = call.json().map_err(|error| unparsable(&error))?;
                let kind = ask.index_type.unwrap_or_default();
                if !["string", "number", "boolean"].contains(&kind.as_str()) {
                    let text = format!("invalid indexType \"{kind}\"");
                    return Err(Failure::new(400, 40026, text));
                }
                if self.filters.len() >= METADATA_INDEXES {
                    let text = format!("max {METADATA_INDEXES} metadata indexes per index");
                    return Err(Failure::new(400, 40027, text));
                }
                Ok(accept(self, Change::AddFilter { property: ask.property_name, kind }))
            }
            ("POST", ["metadata_index", "delete"]) => {
                let ask: Property = call.json().map_err(|error| unparsable(&error))?;
                Ok(accept(self, Change::DropFilter { property: ask.property_name }))
            }
            (
                _,
                []
                | [
                    "info" | "list" | "upsert" | "insert" | "query" | "get_by_ids"
                    | "delete_by_ids",
                ],
            ) => Err(call.no_method()),
            _ => Err(call.no_route()),
        }
    }
}

fn parse_ids(call: &Call<'_>, most: usize) -> Result<Vec<String>, Failure> {
    let Ids { ids } = call.json().map_err(|error| unparsable(&error))?;
    if ids.len() > most {
        let text = format!("too many ids in payload; max id count is {most}, got {}", ids.len());
        return Err(Failure::new(400, 40007, text));
    }
    ids.iter().try_for_each(|id| parse::check_id(id))?;
    Ok(ids)
}

fn unparsable(error: &serde_json::Error) -> Failure {
    Failure::new(400, 40026, format!("Failed to parse the request body as JSON: {error}"))
}
