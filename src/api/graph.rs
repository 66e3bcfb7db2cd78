//! `GET /v1/memories/{id}/graph` and `GET /v1/memories/{id}/path`: connections that came with an import.

use super::body::Id;
use super::doors::Doors;
use super::error::ApiError;
use super::query::query_pairs;
use crate::service::ask;
use crate::store::edge::Edge;
use crate::store::graph;
use axum::Json;
use axum::extract::{RawQuery, State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Steps of a walk at most.
const HOPS_MAX: i64 = 10;

/// Answer of `GET /v1/memories/{id}/graph`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GraphAnswer {
    /// The memory in the middle.
    pub id: String,
    /// What can be reached from it, nearest first.
    pub nodes: Vec<NodeJson>,
    /// The connections between all of these, the memory in the middle included.
    pub edges: Vec<EdgeJson>,
    /// Whether there is more than an answer carries.
    pub is_cut: bool,
}

/// The end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeJson {
    /// A memory's id, or a name.
    pub id: String,
    /// Steps from the middle.
    pub distance: u32,
}

/// A connection, as the Python service tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EdgeJson {
    /// Where it begins.
    pub source: String,
    /// Where it ends.
    pub target: String,
    /// How near they are.
    pub similarity: Option<f64>,
    /// Why they are connected.
    pub connection_types: Value,
    /// Whatever else is said of it.
    pub metadata: Value,
    /// What one is to the other.
    pub relationship_type: Option<String>,
}

impl From<Edge> for EdgeJson {
    fn from(edge: Edge) -> Self {
        Self {
            source: edge.origin,
            target: edge.target,
            similarity: edge.similarity,
            connection_types: kinds(edge.kinds.as_deref()),
            metadata: object(edge.metadata.as_deref()),
            relationship_type: edge.relation,
        }
    }
}

/// A list; some releases wrote one bare word.
fn kinds(text: Option<&str>) -> Value {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return json!([]) };
    match serde_json::from_str(text) {
        Ok(list @ Value::Array(_)) => list,
        Ok(Value::String(word)) => json!([word]),
        _ => json!([text]),
    }
}

fn object(text: Option<&str>) -> Value {
    let read: Option<Map<String, Value>> = text.and_then(|text| serde_json::from_str(text).ok());
    Value::Object(read.unwrap_or_default())
}

/// Answer of `GET /v1/memories/{id}/path`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathAnswer {
    /// From one memory to the other, both included; none where there is no way of that length.
    pub path: Option<Vec<String>>,
}

pub(super) async fn graph(
    State(doors): State<Doors>,
    Id(id): Id,
    RawQuery(query): RawQuery,
) -> Result<Json<GraphAnswer>, ApiError> {
    let mut hops = 2;
    for (key, value) in query_pairs(query.as_deref().unwrap_or_default())? {
        match key.as_str() {
            "hops" => hops = steps("hops", &value)?,
            _ => return Err(unknown(&key)),
        }
    }
    let id = doors.service.resolve(&id).await?;
    let id = doors.service.get(id).await?.id.to_string();
    let center = id.clone();
    let (found, edges) = doors
        .service
        .read(move |read| {
            let found = graph::around(read, &center, hops)?;
            let mut nodes: Vec<String> = found.nodes.iter().map(|(node, _)| node.clone()).collect();
            nodes.push(center);
            let edges = graph::between(read, &nodes)?;
            Ok((found, edges))
        })
        .await?;
    let nodes = found.nodes.into_iter();
    Ok(Json(GraphAnswer {
        id,
        nodes: nodes.map(|(id, distance)| NodeJson { id, distance }).collect(),
        edges: once(edges).into_iter().map(EdgeJson::from).collect(),
        is_cut: found.is_cut,
    }))
}

/// A connection without a direction is kept in both directions there; it is told once.
fn once(edges: Vec<Edge>) -> Vec<Edge> {
    let mut seen = BTreeSet::new();
    let mut kept = edges;
    kept.retain(|edge| {
        let mut ends = [edge.origin.clone(), edge.target.clone()];
        ends.sort_unstable();
        seen.insert((ends, edge.relation.clone()))
    });
    kept
}

pub(super) async fn path(
    State(doors): State<Doors>,
    Id(id): Id,
    RawQuery(query): RawQuery,
) -> Result<Json<PathAnswer>, ApiError> {
    let (mut to, mut depth) = (None, 5);
    for (key, value) in query_pairs(query.as_deref().unwrap_or_default())? {
        match key.as_str() {
            "to" => to = Some(value),
            "depth" => depth = steps("depth", &value)?,
            _ => return Err(unknown(&key)),
        }
    }
    let to = to.ok_or_else(|| ApiError::bad_parameter("the parameter \"to\" is missing"))?;
    let mut ends = Vec::with_capacity(2);
    for text in [id, to] {
        let id = doors.service.resolve(&text).await?;
        ends.push(doors.service.get(id).await?.id.to_string());
    }
    let path = doors
        .service
        .read(move |read| match ends.as_slice() {
            [start, end] => graph::path(read, start, end, depth),
            _ => Ok(None),
        })
        .await?;
    Ok(Json(PathAnswer { path }))
}

fn steps(name: &'static str, value: &str) -> Result<u32, ApiError> {
    let number = value
        .parse()
        .map_err(|_| ApiError::bad_parameter(format!("{name} is {value:?}, not a number")))?;
    Ok(u32::try_from(ask::in_range(name, number, HOPS_MAX)?).unwrap_or(1))
}

fn unknown(key: &str) -> ApiError {
    ApiError::bad_parameter(format!("the parameter {key:?} is not known"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_objects_of_old_rows_are_read() {
        assert_eq!(kinds(Some("[\"semantic\",\"temporal\"]")), json!(["semantic", "temporal"]));
        assert_eq!(kinds(Some("semantic")), json!(["semantic"]));
        assert_eq!(kinds(Some("\"semantic\"")), json!(["semantic"]));
        assert_eq!((kinds(None), kinds(Some(""))), (json!([]), json!([])));
        assert_eq!(object(Some("{\"a\":1}")), json!({"a": 1}));
        assert_eq!((object(Some("no")), object(None)), (json!({}), json!({})));
    }

    #[test]
    fn both_directions_of_one_connection_are_one() {
        let edge = |origin: &str, target: &str, relation: &str| Edge {
            origin: origin.to_owned(),
            target: target.to_owned(),
            similarity: None,
            kinds: None,
            relation: Some(relation.to_owned()),
            metadata: None,
            created_at: None,
        };
        let edges =
            vec![edge("a", "b", "related"), edge("b", "a", "related"), edge("b", "a", "causes")];
        assert_eq!(once(edges.clone()), [edges[0].clone(), edges[2].clone()]);
    }
}
