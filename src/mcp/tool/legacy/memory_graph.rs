//! `memory_graph`: the connections that came with an import. memtide makes none, and says so where it has
//! none to show.

use super::{Output, dictionary};
use crate::api::graph::{GraphAnswer, PathAnswer};
use crate::api::percent;
use crate::mcp::arguments::Arguments;
use crate::mcp::daemon::{Call, Daemon};
use crate::mcp::failure::Failure;
use crate::mcp::form::with;
use serde_json::{Value, json};

const ACTIONS: &[&str] = &["connected", "path", "subgraph"];
/// Steps of a walk at most, as the daemon takes them.
const HOPS_MAX: i64 = 10;
/// Where nothing is connected.
const NOTHING: &str = "memtide keeps the connections that were imported and makes none by itself";

pub(super) async fn run(
    daemon: &Daemon,
    client: &str,
    arguments: Arguments,
) -> Result<Output, Failure> {
    let ask = Ask::read(arguments)?;
    let call = Call::Get(ask.path());
    let answer = match &ask {
        Ask::Connected { .. } => connected(&daemon.call(client, &call).await?),
        Ask::Path { .. } => path(daemon.call(client, &call).await?),
        Ask::Subgraph { .. } => subgraph(daemon.call(client, &call).await?),
    };
    Ok(dictionary(answer))
}

/// What is asked for.
#[derive(Debug)]
enum Ask {
    Connected { hash: String, hops: i64 },
    Path { from: String, to: String, depth: i64 },
    Subgraph { hash: String, radius: i64 },
}

impl Ask {
    /// What belongs to another action is refused: it would change nothing.
    fn read(mut arguments: Arguments) -> Result<Self, Failure> {
        let action = arguments.needed_choice("action", ACTIONS)?;
        let ask = match action {
            "connected" => Self::Connected {
                hash: hash(&mut arguments, "hash")?,
                hops: steps(&mut arguments, "max_hops", 2)?,
            },
            "path" => Self::Path {
                from: hash(&mut arguments, "hash1")?,
                to: hash(&mut arguments, "hash2")?,
                depth: steps(&mut arguments, "max_depth", 5)?,
            },
            _ => Self::Subgraph {
                hash: hash(&mut arguments, "hash")?,
                radius: steps(&mut arguments, "radius", 2)?,
            },
        };
        if arguments.is_empty() {
            return Ok(ask);
        }
        Err(Failure::Senseless {
            sentence: "an argument belongs to another action",
            hint: "connected takes hash and max_hops; path hash1, hash2 and max_depth; subgraph hash and \
                   radius",
        })
    }

    fn path(&self) -> String {
        match self {
            Self::Connected { hash, hops } | Self::Subgraph { hash, radius: hops } => {
                format!("/v1/memories/{}/graph?hops={hops}", percent::encode(hash))
            }
            Self::Path { from, to, depth } => format!(
                "/v1/memories/{}/path?to={}&depth={depth}",
                percent::encode(from),
                percent::encode(to)
            ),
        }
    }
}

fn hash(arguments: &mut Arguments, name: &'static str) -> Result<String, Failure> {
    let hash = arguments.needed_text(name)?.trim().to_ascii_lowercase();
    if hash.is_empty() {
        return Err(Failure::Senseless {
            sentence: "a hash is empty",
            hint: "give the content_hash that a search or a list shows",
        });
    }
    Ok(hash)
}

fn steps(arguments: &mut Arguments, name: &'static str, default: i64) -> Result<i64, Failure> {
    Ok(arguments.number(name, 1, HOPS_MAX)?.unwrap_or(default))
}

fn connected(found: &GraphAnswer) -> Value {
    let nodes = found.nodes.iter();
    let connected: Vec<Value> =
        nodes.map(|node| json!({"hash": node.id, "distance": node.distance})).collect();
    let answer = json!({"success": true, "count": connected.len(), "connected": connected});
    with_message(answer, found)
}

fn subgraph(found: GraphAnswer) -> Value {
    let mut nodes = vec![found.id.clone()];
    nodes.extend(found.nodes.iter().map(|node| node.id.clone()));
    let answer = json!({
        "success": true,
        "node_count": nodes.len(),
        "edge_count": found.edges.len(),
        "nodes": nodes,
        "edges": found.edges,
    });
    with_message(answer, &found)
}

fn with_message(answer: Value, found: &GraphAnswer) -> Value {
    if found.nodes.is_empty() {
        with(answer, "message", json!(NOTHING))
    } else if found.is_cut {
        with(answer, "message", json!("there is more; ask for fewer steps"))
    } else {
        answer
    }
}

fn path(found: PathAnswer) -> Value {
    match found.path {
        Some(path) => json!({"success": true, "length": path.len(), "path": path}),
        None => json!({
            "success": true,
            "path": null,
            "length": 0,
            "message": format!("No path found within depth limit; {NOTHING}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Kind, given};
    use super::super::Legacy;
    use super::*;

    fn ask(value: Value) -> Result<Ask, Failure> {
        Ask::read(given(Kind::Legacy(Legacy::MemoryGraph), value))
    }

    #[test]
    fn each_action_has_its_arguments() {
        let path = |value: Value| ask(value).unwrap().path();
        assert_eq!(
            path(json!({"action": "connected", "hash": "AB", "max_hops": 3})),
            "/v1/memories/ab/graph?hops=3"
        );
        assert_eq!(
            path(json!({"action": "path", "hash1": "ab", "hash2": "cd"})),
            "/v1/memories/ab/path?to=cd&depth=5"
        );
        assert_eq!(
            path(json!({"action": "subgraph", "hash": "../x"})),
            "/v1/memories/..%2Fx/graph?hops=2"
        );
        for (value, sentence) in [
            (json!({"action": "connected"}), "memory_graph needs the argument \"hash\""),
            (json!({"action": "path", "hash1": "ab"}), "memory_graph needs the argument \"hash2\""),
            (
                json!({"action": "infer"}),
                "action is \"infer\", it must be one of connected, path, subgraph",
            ),
            (
                json!({"action": "connected", "hash": "ab", "radius": 2}),
                "an argument belongs to another action",
            ),
            (
                json!({"action": "connected", "hash": "ab", "max_hops": 11}),
                "max_hops is 11, it must be between 1 and 10",
            ),
        ] {
            assert_eq!(ask(value).unwrap_err().to_string(), sentence);
        }
    }

    #[test]
    fn where_nothing_is_connected_it_is_told_why() {
        let nothing = GraphAnswer {
            id: "ab".to_owned(),
            nodes: Vec::new(),
            edges: Vec::new(),
            is_cut: false,
        };
        let answer = connected(&nothing);
        assert_eq!((&answer["count"], &answer["message"]), (&json!(0), &json!(NOTHING)));
        let answer = subgraph(nothing);
        assert_eq!((&answer["nodes"], &answer["node_count"]), (&json!(["ab"]), &json!(1)));
        assert_eq!(path(PathAnswer { path: None })["path"], Value::Null);
    }
}
