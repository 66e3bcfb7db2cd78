//! One index: what is visible, and what has been accepted but isn't visible yet.

use super::filter::Filter;
use crate::clock::Micros;
use crate::emulator::envelope::Failure;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// How vectors are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Metric {
    Cosine,
    Euclidean,
    DotProduct,
}

/// How much metadata a query returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum WithMetadata {
    #[default]
    None,
    Indexed,
    All,
}

/// A vector as it was sent.
#[derive(Debug, Clone)]
pub(in crate::emulator) struct Stored {
    pub(in crate::emulator) id: String,
    pub(in crate::emulator) values: Vec<f32>,
    pub(in crate::emulator) namespace: Option<String>,
    pub(in crate::emulator) metadata: Map<String, Value>,
}

/// A visible vector, with those properties that a metadata index held when it was processed.
struct Visible {
    stored: Stored,
    indexed: Map<String, Value>,
}

/// A change that takes its time to become visible.
pub(super) enum Change {
    Put {
        vectors: Vec<Stored>,
        replace: bool,
    },
    Delete {
        ids: Vec<String>,
    },
    AddFilter {
        property: String,
        kind: String,
    },
    DropFilter {
        property: String,
    },
    /// A change that was accepted and got lost.
    Dropped,
}

struct Mutation {
    id: String,
    accepted_at: Micros,
    visible_at: Micros,
    change: Change,
}

/// A query.
pub(super) struct Ask {
    pub(super) vector: Option<Vec<f32>>,
    pub(super) vector_id: Option<String>,
    pub(super) top_k: usize,
    pub(super) namespace: Option<String>,
    pub(super) filter: Filter,
    pub(super) with_values: bool,
    pub(super) with_metadata: WithMetadata,
}

pub(in crate::emulator) struct Index {
    pub(super) name: String,
    description: Option<String>,
    pub(super) dimensions: usize,
    metric: Metric,
    created_at: Micros,
    /// Metadata indexes: property and type.
    pub(super) filters: BTreeMap<String, String>,
    visible: BTreeMap<String, Visible>,
    log: VecDeque<Mutation>,
    processed: Option<(String, Micros)>,
}

impl Index {
    pub(super) fn new(
        name: &str,
        description: Option<String>,
        dimensions: usize,
        metric: Metric,
        created_at: Micros,
    ) -> Self {
        Self {
            name: name.to_owned(),
            description,
            dimensions,
            metric,
            created_at,
            filters: BTreeMap::new(),
            visible: BTreeMap::new(),
            log: VecDeque::new(),
            processed: None,
        }
    }

    /// Takes a change in; it becomes visible after `delay`, in the order of acceptance.
    pub(super) fn accept(&mut self, id: String, change: Change, now: Micros, delay: Duration) {
        self.log.push_back(Mutation { id, accepted_at: now, visible_at: now.plus(delay), change });
        self.settle(now);
    }

    /// Makes everything visible that is due.
    pub(super) fn settle(&mut self, now: Micros) {
        while self.log.front().is_some_and(|mutation| mutation.visible_at <= now) {
            let Some(mutation) = self.log.pop_front() else { return };
            self.apply(mutation.change);
            self.processed = Some((mutation.id, mutation.accepted_at));
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Put { vectors, replace } => {
                for stored in vectors {
                    if !replace && self.visible.contains_key(&stored.id) {
                        continue;
                    }
                    let mut indexed = stored.metadata.clone();
                    indexed.retain(|property, _| self.filters.contains_key(property));
                    self.visible.insert(stored.id.clone(), Visible { stored, indexed });
                }
            }
            Change::Delete { ids } => {
                for id in ids {
                    self.visible.remove(&id);
                }
            }
            Change::AddFilter { property, kind } => {
                self.filters.insert(property, kind);
            }
            Change::DropFilter { property } => {
                self.filters.remove(&property);
            }
            Change::Dropped => {}
        }
    }

    /// The visible vectors, by id.
    pub(in crate::emulator) fn visible(&self) -> impl Iterator<Item = &Stored> {
        self.visible.values().map(|visible| &visible.stored)
    }

    /// How many changes wait to become visible.
    pub(in crate::emulator) fn n_waiting(&self) -> usize {
        self.log.len()
    }

    /// Forgets the changes that wait to become visible. Returns how many there were.
    pub(in crate::emulator) fn lose_waiting(&mut self) -> usize {
        self.log.drain(..).count()
    }

    pub(super) fn describe(&self) -> Value {
        let metric = match self.metric {
            Metric::Cosine => "cosine",
            Metric::Euclidean => "euclidean",
            Metric::DotProduct => "dot-product",
        };
        let at = self.created_at.to_rfc3339();
        json!({
            "name": self.name,
            "description": self.description,
            "config": {"dimensions": self.dimensions, "metric": metric},
            "created_on": at,
            "modified_on": at,
        })
    }

    pub(super) fn info(&self) -> Value {
        let (mutation, at) = self.processed.clone().unzip();
        json!({
            "dimensions": self.dimensions,
            "vectorCount": self.visible.len(),
            "processedUpToMutation": mutation,
            "processedUpToDatetime": at.map(Micros::to_rfc3339),
        })
    }

    pub(super) fn metadata_indexes(&self) -> Value {
        let list = self
            .filters
            .iter()
            .map(|(property, kind)| json!({"propertyName": property, "indexType": kind}));
        json!({"metadataIndexes": list.collect::<Vec<_>>()})
    }

    /// A page of ids behind `cursor`, which is the last id of the page before.
    pub(super) fn page(&self, count: usize, cursor: Option<&str>, now: Micros) -> Value {
        let mut ids = self.visible.keys().filter(|id| cursor.is_none_or(|c| id.as_str() > c));
        let page: Vec<&String> = ids.by_ref().take(count).collect();
        let is_cut = ids.next().is_some();
        let next = page.last().filter(|_| is_cut);
        json!({
            "count": page.len(),
            "totalCount": self.visible.len(),
            "isTruncated": is_cut,
            "nextCursor": next,
            "cursorExpirationTimestamp":
                next.map(|_| now.plus(Duration::from_hours(1)).to_rfc3339()),
            "vectors": page.iter().map(|id| json!({"id": id})).collect::<Vec<_>>(),
        })
    }

    /// A visible vector as `get_by_ids` returns it.
    pub(super) fn shown(&self, id: &str) -> Option<Value> {
        let stored = &self.visible.get(id)?.stored;
        let mut shown = json!({
            "id": id,
            "values": numbers(&stored.values),
            "metadata": stored.metadata,
        });
        if let (Some(namespace), Value::Object(shown)) = (&stored.namespace, &mut shown) {
            shown.insert("namespace".to_owned(), Value::from(namespace.clone()));
        }
        Some(shown)
    }

    pub(super) fn query(&self, ask: &Ask) -> Result<Value, Failure> {
        let wanted = match (&ask.vector, &ask.vector_id) {
            (Some(vector), _) => vector.as_slice(),
            (None, Some(id)) => match self.visible.get(id) {
                Some(visible) => visible.stored.values.as_slice(),
                None => return Ok(json!({"count": 0, "matches": []})),
            },
            (None, None) => &[],
        };
        if wanted.len() != self.dimensions {
            let text = format!(
                "invalid query vector, expected {} dimensions, and got {} dimensions",
                self.dimensions,
                wanted.len()
            );
            return Err(Failure::new(400, 40006, text));
        }
        let mut ranked: Vec<(f64, &Visible)> = self
            .visible
            .values()
            .filter(|visible| ask.namespace.is_none() || ask.namespace == visible.stored.namespace)
            .filter(|visible| ask.filter.passes(&visible.indexed))
            .map(|visible| (self.metric.score(wanted, &visible.stored.values), visible))
            .collect();
        // Near ones first; the sort is stable, so equal scores stay in the order of their ids.
        ranked.sort_by(|(a, _), (b, _)| match self.metric {
            Metric::Cosine => b.total_cmp(a),
            Metric::Euclidean | Metric::DotProduct => a.total_cmp(b),
        });
        let matches: Vec<Value> =
            ranked.iter().take(ask.top_k).map(|(score, v)| matched(*score, v, ask)).collect();
        Ok(json!({"count": matches.len(), "matches": matches}))
    }
}

fn matched(score: f64, visible: &Visible, ask: &Ask) -> Value {
    let mut shown = Map::new();
    shown.insert("id".to_owned(), Value::from(visible.stored.id.clone()));
    shown.insert("score".to_owned(), Value::from(score));
    if let Some(namespace) = &visible.stored.namespace {
        shown.insert("namespace".to_owned(), Value::from(namespace.clone()));
    }
    if ask.with_values {
        shown.insert("values".to_owned(), numbers(&visible.stored.values));
    }
    match ask.with_metadata {
        WithMetadata::None => {}
        WithMetadata::Indexed => {
            shown.insert("metadata".to_owned(), Value::Object(visible.indexed.clone()));
        }
        WithMetadata::All => {
            shown.insert("metadata".to_owned(), Value::Object(visible.stored.metadata.clone()));
        }
    }
    Value::Object(shown)
}

/// Single-precision numbers in their shortest decimal form, as they were sent.
fn numbers(values: &[f32]) -> Value {
    let shortest = |value: &f32| value.to_string().parse::<f64>().unwrap_or(0.0);
    Value::Array(values.iter().map(|value| Value::from(shortest(value))).collect())
}

impl Metric {
    fn score(self, a: &[f32], b: &[f32]) -> f64 {
        let pairs = || a.iter().zip(b).map(|(x, y)| (f64::from(*x), f64::from(*y)));
        let dot: f64 = pairs().map(|(x, y)| x * y).sum();
        match self {
            Self::DotProduct => -dot,
            Self::Euclidean => pairs().map(|(x, y)| (x - y) * (x - y)).sum::<f64>().sqrt(),
            Self::Cosine => {
                let (square_a, square_b) =
                    pairs().fold((0.0, 0.0), |(p, q), (x, y)| (p + x * x, q + y * y));
                let length = f64::sqrt(square_a * square_b);
                if length > 0.0 { dot / length } else { 0.0 }
            }
        }
    }
}
