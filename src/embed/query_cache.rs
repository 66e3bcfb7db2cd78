//! The vectors of recent queries. People and agents repeat themselves; a hit costs no inference
//! and doesn't wait for the thread.

use crate::model::space::{Space, UnitVector};
use lru::LruCache;
use std::num::NonZeroUsize;

/// The number of queries that are remembered.
pub const CACHED_QUERIES: NonZeroUsize = NonZeroUsize::new(1_000).unwrap();
/// Longer queries are not remembered: they are rare, and would make the cache's size a guess.
const TEXT_MAX_BYTES: usize = 1_024;

/// Vectors of one space by their texts; the least recently used is forgotten first.
#[derive(Debug)]
pub struct QueryCache {
    space: Space,
    vectors: LruCache<Box<str>, UnitVector>,
}

impl QueryCache {
    /// An empty cache for vectors of `space`.
    pub fn new(space: Space, capacity: NonZeroUsize) -> Self {
        Self { space, vectors: LruCache::new(capacity) }
    }

    /// The space of all vectors in it.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// The vector of `text`, which is now the most recently used.
    pub fn get(&mut self, text: &str) -> Option<UnitVector> {
        self.vectors.get(text).cloned()
    }

    /// Remembers the vector of `text`, unless it belongs to another space.
    pub fn put(&mut self, text: &str, space: &Space, vector: &UnitVector) {
        if self.space == *space && text.len() <= TEXT_MAX_BYTES {
            self.vectors.put(text.into(), vector.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(model: &str) -> Space {
        Space::new(model, "1", "mean", 256, 2)
    }

    fn cache() -> (QueryCache, UnitVector) {
        let two = NonZeroUsize::new(2).expect("two");
        let vector = UnitVector::normalise(vec![3.0, 4.0]).expect("a direction");
        (QueryCache::new(space("a"), two), vector)
    }

    #[test]
    fn the_least_recently_used_query_is_forgotten() {
        let (mut cache, vector) = cache();
        cache.put("first", &space("a"), &vector);
        cache.put("second", &space("a"), &vector);
        assert_eq!(cache.get("first"), Some(vector.clone()));
        cache.put("third", &space("a"), &vector);
        assert_eq!(cache.get("second"), None);
        assert!(cache.get("first").is_some() && cache.get("third").is_some());
    }

    #[test]
    fn vectors_of_another_space_and_endless_queries_stay_outside() {
        let (mut cache, vector) = cache();
        cache.put("late", &space("b"), &vector);
        assert_eq!(cache.get("late"), None);
        let endless = "x".repeat(TEXT_MAX_BYTES + 1);
        cache.put(&endless, &space("a"), &vector);
        assert_eq!(cache.get(&endless), None);
        cache.put(&endless[1..], &space("a"), &vector);
        assert!(cache.get(&endless[1..]).is_some());
    }
}
