//! Sums of digests: what two stores compare before they compare anything else. Memories are grouped by
//! the first digits of their ids; groups whose counts and sums agree hold the same memories in the same
//! states.

use super::id::MemoryId;
use super::shown::VOLATILE;
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// How many memories a group has, and the sum of their digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    /// Memories.
    pub count: u64,
    /// Their digests, 48 bits each, added up.
    pub total: u64,
}

/// Groups by the digits that their ids share.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sums(BTreeMap<String, Sum>);

impl Sums {
    /// Adds one memory to the group of the first `digits` digits of its id.
    pub fn add(&mut self, id: &MemoryId, digits: usize, digest: u64) {
        let mut prefix = id.to_string();
        prefix.truncate(digits);
        let sum = self.0.entry(prefix).or_default();
        sum.count += 1;
        sum.total = sum.total.wrapping_add(digest);
    }

    /// Sets a whole group, as another store has summed it up.
    pub fn put(&mut self, prefix: String, sum: Sum) {
        self.0.insert(prefix, sum);
    }

    /// A group; an empty one where there is none.
    pub fn get(&self, prefix: &str) -> Sum {
        self.0.get(prefix).copied().unwrap_or_default()
    }

    /// How many memories there are in all groups.
    pub fn count(&self) -> u64 {
        self.0.values().map(|sum| sum.count).sum()
    }

    /// The groups that are not the same in both.
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let prefixes: BTreeSet<&String> = self.0.keys().chain(other.0.keys()).collect();
        let differ = prefixes.into_iter().filter(|prefix| self.get(prefix) != other.get(prefix));
        differ.cloned().collect()
    }
}

/// A 48-bit digest of what a row shows of a memory beside its text: the type and the tags, in any order.
pub fn shown_digest<'a>(kind: &str, tags: impl IntoIterator<Item = &'a str>) -> u64 {
    let tags: BTreeSet<&str> = tags.into_iter().collect();
    let mut hash = Sha256::new();
    hash.update(kind.as_bytes());
    for tag in tags {
        // No text in a database holds this byte.
        hash.update([0xff]);
        hash.update(tag.as_bytes());
    }
    hash.finalize().iter().take(6).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

/// A 48-bit digest of all that a row shows of a living memory: the type, the tags, the metadata without what
/// searches count, the successor, and how long the text is.
pub fn row_digest(
    kind: &str,
    tags: &BTreeSet<&str>,
    metadata: &BTreeMap<&str, &str>,
    superseded_by: Option<&MemoryId>,
    bytes: u64,
) -> u64 {
    let mut parts: Vec<String> = Vec::new();
    let hides =
        |key: &str| VOLATILE.contains(&key) || (superseded_by.is_some() && key == "superseded_by");
    for (key, value) in metadata.iter().filter(|(key, _)| !hides(key)) {
        // As compact JSON, whatever the form in which it was written.
        let value = serde_json::from_str::<serde_json::Value>(value)
            .map_or_else(|_| (*value).to_owned(), |value| value.to_string());
        parts.push(format!("{key}\u{0}{value}"));
    }
    parts.push(superseded_by.map(ToString::to_string).unwrap_or_default());
    parts.push(bytes.to_string());
    let mut hash = Sha256::new();
    hash.update(shown_digest(kind, tags.iter().copied()).to_be_bytes());
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0xff]);
    }
    hash.finalize().iter().take(6).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_differ_by_count_and_by_sum() {
        let (a, b) = (MemoryId::of("a"), MemoryId::of("b"));
        let (mut here, mut there) = (Sums::default(), Sums::default());
        here.add(&a, 2, 5);
        here.add(&b, 2, 7);
        there.add(&b, 2, 7);
        assert_eq!(here.differing(&there), [a.to_string()[..2].to_owned()]);
        there.add(&a, 2, 6);
        assert_eq!(here.differing(&there).len(), 1);
        there.put(a.to_string()[..2].to_owned(), Sum { count: 1, total: 5 });
        assert!(here.differing(&there).is_empty());
        assert_eq!((here.count(), here.get("zz")), (2, Sum::default()));
    }

    #[test]
    fn what_is_shown_has_no_order_and_no_seams() {
        assert_eq!(shown_digest("k", ["a", "b"]), shown_digest("k", ["b", "a", "a"]));
        assert_ne!(shown_digest("k", ["a", "b"]), shown_digest("k", ["ab"]));
        assert_ne!(shown_digest("ka", []), shown_digest("k", ["a"]));
        assert!(shown_digest("", []) < 1 << 48);
    }
}
