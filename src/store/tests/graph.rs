//! Walks over imported connections.

use super::super::edge::{self, Edge};
use super::super::{graph, memory, source};
use super::{Fixture, fixture};
use crate::model::id::MemoryId;

impl Fixture {
    /// Keeps connections as an import does.
    async fn connect(&self, ends: &[(&str, &str)]) {
        let edges: Vec<Edge> = ends
            .iter()
            .map(|(origin, target)| Edge {
                origin: (*origin).to_owned(),
                target: (*target).to_owned(),
                similarity: Some(0.5),
                kinds: Some("[\"semantic\"]".to_owned()),
                relation: Some("related".to_owned()),
                metadata: None,
                created_at: None,
            })
            .collect();
        self.store
            .write(move |write| {
                let source = source::begin(write, "/elsewhere.db", 0)?;
                edge::put(write, source.key, 1, &edges).map(drop)
            })
            .await
            .unwrap();
    }

    async fn around(&self, center: &str, hops: u32) -> Vec<(String, u32)> {
        let center = center.to_owned();
        self.store.read(move |read| graph::around(read, &center, hops)).await.unwrap().nodes
    }

    async fn path(&self, start: &str, end: &str, max_nodes: u32) -> Option<Vec<String>> {
        let (start, end) = (start.to_owned(), end.to_owned());
        self.store.read(move |read| graph::path(read, &start, &end, max_nodes)).await.unwrap()
    }
}

fn nodes(of: &[(&str, u32)]) -> Vec<(String, u32)> {
    of.iter().map(|(node, distance)| ((*node).to_owned(), *distance)).collect()
}

fn way(of: &[&str]) -> Vec<String> {
    of.iter().map(|node| (*node).to_owned()).collect()
}

#[tokio::test]
async fn what_is_near_is_found_whichever_way_the_connections_point() {
    let f = fixture();
    f.connect(&[("a", "b"), ("c", "b"), ("c", "d"), ("d", "a"), ("x", "y")]).await;
    assert_eq!(f.around("a", 1).await, nodes(&[("b", 1), ("d", 1)]));
    assert_eq!(f.around("a", 2).await, nodes(&[("b", 1), ("d", 1), ("c", 2)]));
    assert_eq!(f.around("a", 9).await.len(), 3, "a circle is walked once");
    assert_eq!(f.around("nobody", 9).await, nodes(&[]));
    let all: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
    let between = f.store.read(move |read| graph::between(read, &all)).await.unwrap();
    let ends: Vec<(&str, &str)> =
        between.iter().map(|edge| (edge.origin.as_str(), edge.target.as_str())).collect();
    assert_eq!(ends, [("a", "b"), ("c", "b")]);
}

#[tokio::test]
async fn a_path_follows_the_connections_and_is_a_shortest_one() {
    let f = fixture();
    f.connect(&[("a", "b"), ("b", "c"), ("c", "d"), ("a", "e"), ("e", "d")]).await;
    assert_eq!(f.path("a", "d", 5).await, Some(way(&["a", "e", "d"])));
    assert_eq!(f.path("a", "d", 2).await, None, "too short a leash");
    assert_eq!(f.path("d", "a", 5).await, None, "against the direction");
    assert_eq!(f.path("a", "a", 1).await, Some(way(&["a"])));
    assert_eq!(f.path("a", "nobody", 10).await, None);
}

#[tokio::test]
async fn deleted_memories_are_left_out() {
    let f = fixture();
    let dead: MemoryId = f.store("dead", &[]).await.id;
    let name = dead.to_string();
    f.connect(&[("a", &name), (&name, "c")]).await;
    assert_eq!(f.around("a", 5).await.len(), 2);
    assert!(f.path("a", "c", 5).await.is_some());
    f.store.write(move |w| memory::delete(w, &dead, "test")).await.unwrap();
    assert_eq!(f.around("a", 5).await, nodes(&[]));
    assert_eq!(f.path("a", "c", 5).await, None);
}

#[tokio::test]
async fn a_large_neighbourhood_is_cut_and_says_so() {
    let f = fixture();
    let names: Vec<String> = (0..=graph::NODES_MAX).map(|n| format!("n{n:04}")).collect();
    let ends: Vec<(&str, &str)> = names.iter().map(|name| ("hub", name.as_str())).collect();
    f.connect(&ends).await;
    let found = f.store.read(|read| graph::around(read, "hub", 3)).await.unwrap();
    assert_eq!((found.nodes.len(), found.is_cut), (graph::NODES_MAX, true));
    let found = f.store.read(|read| graph::around(read, "n0000", 1)).await.unwrap();
    assert_eq!((found.nodes.len(), found.is_cut), (1, false));
}
