//! The replicated state of one memory: registers that merge field by field.
//!
//! Invariants: merging is commutative, associative and idempotent; a register only ever moves to a
//! larger `(stamp, value)`; a tag or a metadata key that was removed stays as a register that says so.
//! The text itself is not in here, only the hash that names it; the store keeps the words.

use super::id::{BodyHash, MemoryId};
use super::stamp::{DeviceId, Stamp};
use crate::clock::Micros;
use std::collections::{BTreeMap, BTreeSet};

/// One value and when it was written. The larger stamp wins; equal stamps fall to the larger value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Register<T> {
    /// When and by whom.
    pub stamp: Stamp,
    /// What.
    pub value: T,
}

impl<T: Ord + Clone> Register<T> {
    /// A register written at `stamp`.
    pub fn new(stamp: Stamp, value: T) -> Self {
        Self { stamp, value }
    }

    fn merge(&mut self, other: &Self) {
        if other > self {
            self.clone_from(other);
        }
    }
}

/// When and where a memory was first stored.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Birth {
    /// When, by that device's clock.
    pub at: Micros,
    /// On which device.
    pub device: DeviceId,
    /// By which program.
    pub client: String,
}

/// All registers of one memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Alive, or deleted.
    pub life: Register<bool>,
    /// First storage; written again when a deleted memory is stored anew.
    pub birth: Register<Birth>,
    /// Which text.
    pub text: Register<BodyHash>,
    /// The memory type.
    pub kind: Register<String>,
    /// The memory that replaces this one.
    pub superseded_by: Register<Option<MemoryId>>,
    /// Presence of each tag ever seen.
    pub tags: BTreeMap<String, Register<bool>>,
    /// Each metadata key ever seen: compact JSON, or `None` once removed.
    pub metadata: BTreeMap<String, Register<Option<String>>>,
    /// The last change by the wall clocks, for display only.
    pub updated_at: Micros,
}

impl State {
    /// Takes from `other` whatever is newer.
    pub fn merge(&mut self, other: &Self) {
        self.life.merge(&other.life);
        self.birth.merge(&other.birth);
        self.text.merge(&other.text);
        self.kind.merge(&other.kind);
        self.superseded_by.merge(&other.superseded_by);
        merge_maps(&mut self.tags, &other.tags);
        merge_maps(&mut self.metadata, &other.metadata);
        self.updated_at = self.updated_at.max(other.updated_at);
    }

    /// The largest stamp in the row: what an edit of it must exceed.
    pub fn newest(&self) -> Stamp {
        let fixed = [
            self.life.stamp,
            self.birth.stamp,
            self.text.stamp,
            self.kind.stamp,
            self.superseded_by.stamp,
        ];
        let tags = self.tags.values().map(|r| r.stamp);
        let metadata = self.metadata.values().map(|r| r.stamp);
        fixed.into_iter().chain(tags).chain(metadata).max().unwrap_or_default()
    }

    /// Whether the memory is alive.
    pub fn is_alive(&self) -> bool {
        self.life.value
    }

    /// Whether a search may find the memory, so that an index holds its vector: alive, and not replaced by
    /// another.
    pub fn is_findable(&self) -> bool {
        self.is_alive() && self.superseded_by.value.is_none()
    }

    /// The tags that are present.
    pub fn live_tags(&self) -> BTreeSet<&str> {
        self.tags.iter().filter(|(_, r)| r.value).map(|(tag, _)| tag.as_str()).collect()
    }

    /// The metadata keys that are present, with their values as compact JSON.
    pub fn live_metadata(&self) -> BTreeMap<&str, &str> {
        self.metadata
            .iter()
            .filter_map(|(key, r)| r.value.as_deref().map(|value| (key.as_str(), value)))
            .collect()
    }

    /// Makes exactly `wanted` the present tags; only those that differ get a new stamp.
    /// Returns whether any did.
    pub fn set_tags(&mut self, wanted: &BTreeSet<String>, stamp: Stamp) -> bool {
        let mut changed = self.add_tags(wanted, stamp);
        for (tag, register) in &mut self.tags {
            if register.value && !wanted.contains(tag) {
                *register = Register::new(stamp, false);
                changed = true;
            }
        }
        changed
    }

    /// Adds `tags` to the present ones. Returns whether any was missing.
    pub fn add_tags(&mut self, tags: &BTreeSet<String>, stamp: Stamp) -> bool {
        let mut changed = false;
        for tag in tags {
            let register = self.tags.entry(tag.clone()).or_default();
            if !register.value {
                *register = Register::new(stamp, true);
                changed = true;
            }
        }
        changed
    }

    /// Writes one metadata key, or removes it. Returns whether that changed it.
    pub fn set_metadata(&mut self, key: &str, value: Option<&str>, stamp: Stamp) -> bool {
        let present = self.metadata.get(key).and_then(|r| r.value.as_deref());
        if present == value {
            return false;
        }
        let register = Register::new(stamp, value.map(str::to_owned));
        self.metadata.insert(key.to_owned(), register);
        true
    }
}

fn merge_maps<T: Ord + Clone>(
    into: &mut BTreeMap<String, Register<T>>,
    from: &BTreeMap<String, Register<T>>,
) {
    for (key, register) in from {
        match into.get_mut(key) {
            Some(present) => present.merge(register),
            None => {
                into.insert(key.clone(), register.clone());
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::collection::btree_map;
    use proptest::prelude::*;

    fn stamp() -> impl Strategy<Value = Stamp> {
        (0..4_u64, 0..2_u16, 0..3_u32).prop_map(|(ms, counter, device)| Stamp {
            ms,
            counter,
            device: DeviceId(device),
        })
    }

    fn register<T: std::fmt::Debug + Ord + Clone>(
        value: impl Strategy<Value = T>,
    ) -> impl Strategy<Value = Register<T>> {
        (stamp(), value).prop_map(|(stamp, value)| Register { stamp, value })
    }

    /// States over a few stamps and keys, so that ties and conflicts are frequent.
    pub(crate) fn any_state() -> impl Strategy<Value = State> {
        let birth = (0..3_i64, 0..3_u32, "[ab]").prop_map(|(at, device, client)| Birth {
            at: Micros(at),
            device: DeviceId(device),
            client,
        });
        (
            register(any::<bool>()),
            register(birth),
            register("[ab]".prop_map(|t| BodyHash::of(&t))),
            register("[ab]"),
            register(proptest::option::of("[ab]".prop_map(|t| MemoryId::of(&t)))),
            btree_map("[abc]", register(any::<bool>()), 0..3),
            btree_map("[abc]", register(proptest::option::of("[0-9]")), 0..3),
            0..9_i64,
        )
            .prop_map(
                |(life, birth, text, kind, superseded_by, tags, metadata, updated)| State {
                    life,
                    birth,
                    text,
                    kind,
                    superseded_by,
                    tags,
                    metadata,
                    updated_at: Micros(updated),
                },
            )
    }

    pub(crate) fn merged(mut a: State, b: &State) -> State {
        a.merge(b);
        a
    }

    /// 20,000 cases of a law, and `MEMTIDE_SOAK` times as many where that was set for the build.
    pub(crate) fn cases() -> ProptestConfig {
        let soak = option_env!("MEMTIDE_SOAK").and_then(|times| times.parse().ok()).unwrap_or(1);
        ProptestConfig::with_cases(20_000 * soak)
    }

    proptest! {
        #![proptest_config(cases())]

        #[test]
        fn merging_is_commutative(a in any_state(), b in any_state()) {
            prop_assert_eq!(merged(a.clone(), &b), merged(b.clone(), &a));
        }

        #[test]
        fn merging_is_associative(a in any_state(), b in any_state(), c in any_state()) {
            let left = merged(merged(a.clone(), &b), &c);
            prop_assert_eq!(left, merged(a, &merged(b, &c)));
        }

        #[test]
        fn merging_is_idempotent(a in any_state(), b in any_state()) {
            let once = merged(a.clone(), &b);
            prop_assert_eq!(merged(a.clone(), &a), a);
            prop_assert_eq!(merged(once.clone(), &b), once);
        }

        #[test]
        fn merging_loses_no_newer_register(a in any_state(), b in any_state()) {
            let both = merged(a.clone(), &b);
            prop_assert_eq!(both.newest(), a.newest().max(b.newest()));
            prop_assert!(both.life == a.life.clone().max(b.life.clone()));
            for (tag, register) in a.tags.iter().chain(&b.tags) {
                prop_assert!(both.tags.get(tag).is_some_and(|kept| kept >= register));
            }
            for (key, register) in a.metadata.iter().chain(&b.metadata) {
                prop_assert!(both.metadata.get(key).is_some_and(|kept| kept >= register));
            }
        }

        #[test]
        fn an_edit_beats_every_version_that_its_author_has_seen(
            seen in any_state(),
            other in any_state(),
            clock in 0..6_u64,
            own in stamp(),
        ) {
            let mut edited = seen.clone();
            let at = Stamp::next(clock, DeviceId(1), own, seen.newest());
            edited.kind = Register::new(at, "edited".to_owned());
            prop_assert!(at > seen.newest() && at > own);
            prop_assert_eq!(merged(merged(edited, &seen), &seen).kind.value, "edited");
            prop_assert!(merged(seen, &other).newest() >= other.newest());
        }
    }

    #[test]
    fn removed_tags_and_keys_stay_as_registers() {
        let at = |ms| Stamp { ms, ..Stamp::default() };
        let set = |tags: &[&str]| tags.iter().map(|t| (*t).to_owned()).collect::<BTreeSet<_>>();
        let mut state = State {
            life: Register::new(at(1), true),
            birth: Register::default(),
            text: Register::new(at(1), BodyHash::of("x")),
            kind: Register::default(),
            superseded_by: Register::default(),
            tags: BTreeMap::new(),
            metadata: BTreeMap::new(),
            updated_at: Micros(0),
        };
        assert!(state.set_tags(&set(&["a", "b"]), at(2)));
        assert!(state.set_tags(&set(&["b"]), at(3)));
        assert!(!state.set_tags(&set(&["b"]), at(4)), "nothing differs");
        assert_eq!(state.live_tags().into_iter().collect::<Vec<_>>(), ["b"]);
        assert_eq!(state.tags.get("a"), Some(&Register::new(at(3), false)));
        assert!(state.set_metadata("k", Some("1"), at(5)));
        assert!(state.set_metadata("k", None, at(6)));
        assert!(state.live_metadata().is_empty());
        assert_eq!(state.newest(), at(6));
    }
}
