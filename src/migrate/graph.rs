//! What is remembered of the edges of a source between two looks, by which only those are taken over that are
//! new, others or gone: a hash of the two ends of each, and one of all that is said of it.

use super::feed::{Feed, PAGE_ROWS};
use super::source::SourceError;
use crate::store::edge::Edge;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// Edges that one look takes over at most: the next one goes on.
const AT_ONCE: usize = 20_000;

/// The hash of the two ends of an edge.
pub(super) fn ends(origin: &str, target: &str) -> i64 {
    let mut hasher = DefaultHasher::new();
    (origin, target).hash(&mut hasher);
    hasher.finish().cast_signed()
}

fn print(edge: &Edge) -> i64 {
    let mut hasher = DefaultHasher::new();
    let Edge { origin: _, target: _, similarity, kinds, relation, metadata, created_at } = edge;
    let bits = |number: &Option<f64>| number.map(f64::to_bits);
    (bits(similarity), kinds, relation, metadata, bits(created_at)).hash(&mut hasher);
    hasher.finish().cast_signed()
}

/// Edges that are known.
#[derive(Debug, Default)]
pub(super) struct KnownEdges {
    /// By their ends.
    prints: HashMap<i64, i64>,
    /// How many rows the source had at the last look, and which was the last; `None` before the first one.
    rows: Option<(u64, i64)>,
}

/// What a look has found.
#[derive(Debug, Default)]
pub(super) struct FoundEdges {
    /// Edges that are new or others.
    pub(super) changed: Vec<Edge>,
    /// The ends of those that are gone.
    pub(super) gone: HashSet<i64>,
    /// The rows of the source, unless there are more changes than one look takes.
    rows: Option<(u64, i64)>,
    /// Whether all edges were compared.
    pub(super) is_whole: bool,
}

impl KnownEdges {
    /// Adds edges that are here.
    pub(super) fn add(&mut self, edges: &[Edge]) {
        self.prints
            .extend(edges.iter().map(|edge| (ends(&edge.origin, &edge.target), print(edge))));
    }

    /// The edges behind the last row that is known; `None` if it is plain that this isn't all that changed.
    /// With `counts` the rows are counted for that.
    ///
    /// # Errors
    /// The source can't be read.
    pub(super) fn find_new(
        &self,
        feed: &Feed,
        counts: bool,
    ) -> Result<Option<FoundEdges>, SourceError> {
        let Some((n_known, last)) = self.rows else { return Ok(None) };
        let (mut found, mut n_new, mut after) = (FoundEdges::default(), 0_u64, Some(last));
        let mut end = last;
        while let Some(from) = after {
            let (edges, next) = feed.edges(from)?;
            n_new += u64::try_from(edges.len()).unwrap_or(u64::MAX);
            found.changed.extend(edges);
            (after, end) = (next, next.unwrap_or(end));
            if found.changed.len() > AT_ONCE {
                return Ok(None);
            }
        }
        if counts && feed.source().count_edges()? != n_known.saturating_add(n_new) {
            return Ok(None);
        }
        found.rows = Some((n_known.saturating_add(n_new), end));
        Ok(Some(found))
    }

    /// Compares all edges with what is known.
    ///
    /// # Errors
    /// The source can't be read.
    pub(super) fn find_all(&self, feed: &Feed) -> Result<FoundEdges, SourceError> {
        let mut found = FoundEdges { is_whole: true, ..FoundEdges::default() };
        let mut there = HashSet::with_capacity(self.prints.len());
        // Of two rows with the same ends, the later one counts.
        let mut changed: HashMap<i64, Edge> = HashMap::new();
        let (mut after, mut end) = (Some(i64::MIN), i64::MIN);
        while let Some(from) = after {
            let (edges, next) = feed.edges(from)?;
            for edge in edges {
                let ends = ends(&edge.origin, &edge.target);
                there.insert(ends);
                if self.prints.get(&ends) == Some(&print(&edge)) {
                    changed.remove(&ends);
                } else if changed.len() < AT_ONCE || changed.contains_key(&ends) {
                    changed.insert(ends, edge);
                } else {
                    found.is_whole = false;
                }
            }
            (after, end) = (next, next.unwrap_or(end));
        }
        found.changed = changed.into_values().collect();
        found.gone = self.prints.keys().filter(|ends| !there.contains(ends)).copied().collect();
        if found.is_whole {
            found.rows = Some((feed.source().count_edges()?, end));
        }
        Ok(found)
    }

    /// Remembers what was found, once it was taken over.
    pub(super) fn settle(&mut self, found: &FoundEdges) {
        self.add(&found.changed);
        self.prints.retain(|ends, _| !found.gone.contains(ends));
        self.rows = found.rows;
    }
}

/// Edges in portions that one transaction takes.
pub(super) fn portions(edges: &[Edge]) -> impl Iterator<Item = Vec<Edge>> + '_ {
    edges.chunks(PAGE_ROWS).map(<[Edge]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::super::source::Source;
    use super::*;
    use rusqlite::Connection;

    fn source(folder: &tempfile::TempDir) -> (Connection, Feed) {
        let path = folder.path().join("sqlite_vec.db");
        let conn = Connection::open(&path).unwrap();
        conn.execute_batch(
            "CREATE TABLE memories(id INTEGER PRIMARY KEY, content_hash TEXT UNIQUE, content TEXT);
             CREATE TABLE memory_graph(source_hash TEXT NOT NULL, target_hash TEXT NOT NULL,
               similarity REAL, PRIMARY KEY (source_hash, target_hash));",
        )
        .unwrap();
        (conn, Feed::new(Source::open(&path).unwrap(), None))
    }

    fn targets(found: &FoundEdges) -> Vec<&str> {
        let mut targets: Vec<&str> =
            found.changed.iter().map(|edge| edge.target.as_str()).collect();
        targets.sort_unstable();
        targets
    }

    #[test]
    fn only_what_changed_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let (conn, feed) = source(&folder);
        conn.execute_batch("INSERT INTO memory_graph VALUES ('a', 'x', 0.5), ('a', 'y', 0.5)")
            .unwrap();
        let mut known = KnownEdges::default();
        assert!(known.find_new(&feed, false).unwrap().is_none(), "nothing was compared yet");
        let found = known.find_all(&feed).unwrap();
        assert_eq!((targets(&found), found.gone.len(), found.is_whole), (vec!["x", "y"], 0, true));
        known.settle(&found);
        conn.execute_batch("INSERT INTO memory_graph VALUES ('a', 'z', 0.5)").unwrap();
        let found = known.find_new(&feed, true).unwrap().unwrap();
        assert_eq!((targets(&found), found.is_whole), (vec!["z"], false));
        known.settle(&found);
        assert_eq!(targets(&known.find_new(&feed, true).unwrap().unwrap()), [""; 0]);
        // One is gone: the number tells. Another in its row: nothing cheap does.
        conn.execute_batch("DELETE FROM memory_graph WHERE target_hash = 'z'").unwrap();
        assert!(known.find_new(&feed, true).unwrap().is_none());
        conn.execute_batch("INSERT INTO memory_graph VALUES ('a', 'new', 0.5)").unwrap();
        assert_eq!(targets(&known.find_new(&feed, true).unwrap().unwrap()), [""; 0]);
        conn.execute_batch("UPDATE memory_graph SET similarity = 0.7 WHERE target_hash = 'y'")
            .unwrap();
        let found = known.find_all(&feed).unwrap();
        assert_eq!((targets(&found), &found.gone), (vec!["new", "y"], &[ends("a", "z")].into()));
    }

    #[test]
    fn what_is_here_already_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let (conn, feed) = source(&folder);
        conn.execute_batch("INSERT INTO memory_graph VALUES ('a', 'x', 1), ('b', 'x', NULL)")
            .unwrap();
        let (edges, _) = feed.edges(0).unwrap();
        let mut known = KnownEdges::default();
        known.add(&edges);
        let found = known.find_all(&feed).unwrap();
        assert_eq!((found.changed, found.gone.len()), (vec![], 0));
    }

    #[test]
    fn what_is_too_much_for_one_look_is_found_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let (conn, feed) = source(&folder);
        conn.execute_batch(&format!(
            "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {})
             INSERT INTO memory_graph SELECT 'a', n, 0 FROM n",
            AT_ONCE + 5
        ))
        .unwrap();
        let mut known = KnownEdges::default();
        let found = known.find_all(&feed).unwrap();
        assert_eq!((found.changed.len(), found.is_whole), (AT_ONCE, false));
        known.settle(&found);
        assert!(known.find_new(&feed, false).unwrap().is_none());
        let found = known.find_all(&feed).unwrap();
        assert_eq!((found.changed.len(), found.is_whole), (5, true));
    }
}
