//! Walks over the connections between memories, which another product made: see [`super::edge`]. Nothing is
//! added to them here. A walk leaves out memories that were deleted, and goes through names.

use super::edge::{Edge, read_edge};
use super::error::StoreError;
use super::reader::Read;
use std::collections::{BTreeMap, BTreeSet};

/// Nodes of one answer.
pub const NODES_MAX: usize = 500;

/// What lies around a memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Surroundings {
    /// Ids and names with their distance, nearest first, without the memory itself.
    pub nodes: Vec<(String, u32)>,
    /// Whether there are more than [`NODES_MAX`].
    pub is_cut: bool,
}

/// What can be reached from `center` in at most `hops` steps, whichever way the connections point.
///
/// # Errors
/// The database refused.
pub fn around(read: &Read<'_>, center: &str, hops: u32) -> Result<Surroundings, StoreError> {
    let mut seen = BTreeSet::from([center.to_owned()]);
    let mut found = Surroundings::default();
    let mut border = vec![center.to_owned()];
    for distance in 1..=hops {
        let mut next = BTreeSet::new();
        for (origin, target) in touching(read, &border)? {
            next.extend([origin, target].into_iter().filter(|node| !seen.contains(node)));
        }
        border = living(read, next)?;
        for node in &border {
            seen.insert(node.clone());
            found.nodes.push((node.clone(), distance));
        }
        if found.nodes.len() > NODES_MAX {
            found.nodes.truncate(NODES_MAX);
            found.is_cut = true;
            break;
        }
        if border.is_empty() {
            break;
        }
    }
    Ok(found)
}

/// A shortest way from `start` to `end` along the connections, both of them included, if there is one of at
/// most `max_nodes` nodes.
///
/// # Errors
/// The database refused.
pub fn path(
    read: &Read<'_>,
    start: &str,
    end: &str,
    max_nodes: u32,
) -> Result<Option<Vec<String>>, StoreError> {
    let mut came_from: BTreeMap<String, String> = BTreeMap::new();
    let mut reached = vec![start.to_owned()];
    for _ in 1..max_nodes {
        if start == end || came_from.contains_key(end) || reached.is_empty() {
            break;
        }
        let mut next = BTreeMap::new();
        for (origin, target) in leaving(read, &reached)? {
            if target != start && !came_from.contains_key(&target) {
                next.entry(target).or_insert(origin);
            }
        }
        reached = living(read, next.keys().cloned().collect())?;
        for node in &reached {
            if let Some(origin) = next.remove(node) {
                came_from.insert(node.clone(), origin);
            }
        }
    }
    let mut way = vec![end.to_owned()];
    let mut at = end;
    while at != start {
        let Some(origin) = came_from.get(at) else { return Ok(None) };
        way.push(origin.clone());
        at = origin;
    }
    way.reverse();
    Ok(Some(way))
}

/// The connections between these nodes. One that several sources know comes once.
///
/// # Errors
/// The database refused.
pub fn between(read: &Read<'_>, nodes: &[String]) -> Result<Vec<Edge>, StoreError> {
    let mut statement = read.conn.prepare_cached(
        "SELECT origin, target, similarity, kinds, relation, metadata, max(created_at) FROM edge
         WHERE origin IN (SELECT value FROM json_each(?1))
           AND target IN (SELECT value FROM json_each(?1))
         GROUP BY origin, target ORDER BY origin, target",
    )?;
    let rows = statement.query_map([list(nodes)], read_edge)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// The connections that begin or end at one of `nodes`: one look at the table, whatever their number.
fn touching(read: &Read<'_>, nodes: &[String]) -> Result<Vec<(String, String)>, StoreError> {
    ends(
        read,
        "SELECT origin, target FROM edge
         WHERE origin IN (SELECT value FROM json_each(?1))
            OR target IN (SELECT value FROM json_each(?1))
         ORDER BY origin, target",
        nodes,
    )
}

/// The connections that begin at one of `nodes`.
fn leaving(read: &Read<'_>, nodes: &[String]) -> Result<Vec<(String, String)>, StoreError> {
    ends(
        read,
        "SELECT origin, target FROM edge WHERE origin IN (SELECT value FROM json_each(?1))
         ORDER BY origin, target",
        nodes,
    )
}

fn ends(read: &Read<'_>, sql: &str, nodes: &[String]) -> Result<Vec<(String, String)>, StoreError> {
    let mut statement = read.conn.prepare_cached(sql)?;
    let rows = statement.query_map([list(nodes)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Those of `nodes` that are no deleted memories.
fn living(read: &Read<'_>, nodes: BTreeSet<String>) -> Result<Vec<String>, StoreError> {
    let mut statement = read.conn.prepare_cached(
        "SELECT id FROM memory WHERE deleted_at IS NOT NULL
           AND id IN (SELECT value FROM json_each(?1))",
    )?;
    let nodes: Vec<String> = nodes.into_iter().collect();
    let dead: BTreeSet<String> =
        statement.query_map([list(&nodes)], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(nodes.into_iter().filter(|node| !dead.contains(node)).collect())
}

fn list(nodes: &[String]) -> String {
    serde_json::json!(nodes).to_string()
}
