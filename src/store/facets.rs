//! Tags, types and times of all living memories in memory: which memories pass a filter, without a look at the
//! file.
//!
//! It proposes, as the mirror of the vectors and the index of the words do: whoever asks looks on a snapshot of
//! its own whether what it found passes. It is filled when the store opens; until then, and where keys are too
//! large for it, the file answers.
//!
//! The writing thread changes it in place after each commit, so whoever asks holds a lock for as long as it takes
//! to walk over the memories that pass: a hundred thousand in a fraction of a millisecond.

use super::error::StoreError;
use super::keys::Keys;
use crate::model::filter::Filter;
use rusqlite::Connection;
use std::collections::{BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

/// Keys above are left to the file: a key takes 12 bytes, whether there is a memory or not.
const KEYS_MAX: usize = 1 << 24;
/// The type of a key without a living memory.
const NO_KIND: u32 = u32::MAX;

/// What a filter asks of one memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facet {
    pub(super) tags: BTreeSet<String>,
    pub(super) kind: String,
    /// Microseconds since the epoch.
    pub(super) created_at: i64,
}

/// A change of one memory; `None` while it isn't alive.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) key: i64,
    pub(super) before: Option<Facet>,
    pub(super) after: Option<Facet>,
}

/// The facets.
#[derive(Debug, Default)]
pub(super) struct Facets(RwLock<State>);

#[derive(Debug, Default)]
enum State {
    /// The file answers.
    #[default]
    Absent,
    /// They are being read; these changes come on top.
    Filling(Vec<Change>),
    Ready(Table),
}

#[derive(Debug, Default)]
struct Table {
    /// The keys of each tag, in order.
    tags: HashMap<String, Vec<u32>>,
    /// Numbers of the types.
    kinds: HashMap<String, u32>,
    /// By key: the type and the time.
    rows: Vec<(u32, i64)>,
}

impl Facets {
    /// From now on changes are kept for [`Facets::fill`], which must follow.
    pub(super) fn expect_filling(&self) {
        *self.lock() = State::Filling(Vec::new());
    }

    /// Fills them from `conn`'s snapshot, which must not be older than the first change that was published.
    ///
    /// # Errors
    /// The database refused; the file answers then.
    pub(super) fn fill(&self, conn: &Connection) -> Result<(), StoreError> {
        let read = Table::of(conn);
        let mut held = self.lock();
        let State::Filling(pending) = std::mem::take(&mut *held) else { return read.map(drop) };
        let mut table = read?;
        if let Some(table) = table.as_mut()
            && pending.into_iter().all(|change| table.apply(change))
        {
            *held = State::Ready(std::mem::take(table));
        }
        Ok(())
    }

    /// Makes the changes of a committed transaction visible. Only the writing thread may call it.
    pub(super) fn publish(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let mut held = self.lock();
        let has_room = match &mut *held {
            State::Absent => true,
            State::Filling(pending) => {
                pending.extend(changes);
                true
            }
            State::Ready(table) => changes.into_iter().all(|change| table.apply(change)),
        };
        if !has_room {
            *held = State::Absent;
        }
    }

    /// The memories that pass; `None` while the file answers.
    pub(super) fn passing(&self, filter: &Filter) -> Option<Keys> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            State::Ready(table) => Some(table.passing(filter)),
            State::Absent | State::Filling(_) => None,
        }
    }

    fn lock(&self) -> RwLockWriteGuard<'_, State> {
        // A change that broke off may leave a memory under a tag too many: what is found is looked up.
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn row(key: i64) -> Option<(usize, u32)> {
    let at = usize::try_from(key).ok().filter(|at| *at < KEYS_MAX)?;
    Some((at, u32::try_from(at).ok()?))
}

impl Table {
    /// `None` if a key is too large.
    fn of(conn: &Connection) -> Result<Option<Self>, StoreError> {
        let mut table = Self::default();
        // In the order of the table: SQLite would take an index by time, and then look up memory after memory.
        let sql = "SELECT key, kind, created_at FROM memory NOT INDEXED WHERE deleted_at IS NULL";
        let mut statement = conn.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(found) = rows.next()? {
            let kind = table.kind(found.get_ref(1)?.as_str().unwrap_or_default());
            let Some((at, _)) = row(found.get(0)?) else { return Ok(None) };
            table.set(at, (kind, found.get(2)?));
        }
        let mut statement = conn.prepare("SELECT name, memory FROM tag ORDER BY name, memory")?;
        let mut rows = statement.query([])?;
        let (mut name, mut keys) = (String::new(), Vec::new());
        while let Some(found) = rows.next()? {
            let next = found.get_ref(0)?.as_str().unwrap_or_default();
            if next != name {
                table.tags.insert(std::mem::replace(&mut name, next.to_owned()), keys);
                keys = Vec::new();
            }
            let Some((_, key)) = row(found.get(1)?) else { return Ok(None) };
            keys.push(key);
        }
        table.tags.insert(name, keys);
        table.tags.retain(|_, keys| !keys.is_empty());
        Ok(Some(table))
    }

    fn kind(&mut self, name: &str) -> u32 {
        if let Some(number) = self.kinds.get(name) {
            return *number;
        }
        let number = u32::try_from(self.kinds.len()).unwrap_or(NO_KIND - 1);
        self.kinds.insert(name.to_owned(), number);
        number
    }

    fn set(&mut self, at: usize, row: (u32, i64)) {
        if self.rows.len() <= at {
            self.rows.resize(at + 1, (NO_KIND, 0));
        }
        if let Some(place) = self.rows.get_mut(at) {
            *place = row;
        }
    }

    /// Whether there was room for it.
    fn apply(&mut self, change: Change) -> bool {
        let Change { key, before, after } = change;
        let Some((at, key)) = row(key) else { return after.is_none() };
        for tag in before.iter().flat_map(|facet| &facet.tags) {
            if after.as_ref().is_none_or(|after| !after.tags.contains(tag)) {
                self.untag(tag, key);
            }
        }
        let Some(Facet { tags, kind, created_at }) = after else {
            self.set(at, (NO_KIND, 0));
            return true;
        };
        let kind = self.kind(&kind);
        self.set(at, (kind, created_at));
        for tag in tags {
            let keys = self.tags.entry(tag).or_default();
            if let Err(place) = keys.binary_search(&key) {
                keys.insert(place, key);
            }
        }
        true
    }

    fn untag(&mut self, tag: &str, key: u32) {
        let Some(keys) = self.tags.get_mut(tag) else { return };
        if let Ok(place) = keys.binary_search(&key) {
            keys.remove(place);
        }
        if keys.is_empty() {
            self.tags.remove(tag);
        }
    }

    fn passing(&self, filter: &Filter) -> Keys {
        let Filter { tags, tags_all, memory_type, after, before } = filter;
        let kind = match memory_type.as_ref().map(|name| self.kinds.get(name)) {
            Some(None) => return Keys::default(),
            Some(Some(number)) => Some(*number),
            None => None,
        };
        let times = after.map_or(i64::MIN, |at| at.0)..before.map_or(i64::MAX, |at| at.0);
        let is_within = |created_at: i64| {
            times.contains(&created_at) || (before.is_none() && created_at == i64::MAX)
        };
        let passes = |(of, created_at): &(u32, i64)| {
            *of != NO_KIND && kind.is_none_or(|kind| kind == *of) && is_within(*created_at)
        };
        let mut found = Keys::default();
        if tags.is_empty() {
            for (at, _) in self.rows.iter().enumerate().filter(|(_, row)| passes(row)) {
                found.insert(at);
            }
            return found;
        }
        let mut lists: Vec<&[u32]> =
            tags.iter().filter_map(|tag| Some(self.tags.get(tag)?.as_slice())).collect();
        if *tags_all {
            if lists.len() < tags.len() {
                return found;
            }
            // The shortest chooses, the others are asked.
            lists.sort_unstable_by_key(|list| list.len());
        }
        let n_choosing = if *tags_all { 1 } else { lists.len() };
        let (choosing, asked) = lists.split_at(n_choosing.min(lists.len()));
        for key in choosing.iter().copied().flatten() {
            let at = *key as usize;
            if self.rows.get(at).is_some_and(passes)
                && asked.iter().all(|list| list.binary_search(key).is_ok())
            {
                found.insert(at);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::select::Select;
    use super::super::tests::options;
    use super::super::{Store, memory};
    use super::*;
    use crate::clock::{Micros, SystemClock};
    use crate::model::draft::{Author, Draft};
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::seq::IndexedRandom as _;
    use rand_chacha::ChaCha8Rng;
    use rusqlite::params_from_iter;
    use std::collections::BTreeMap;

    fn filters() -> Vec<Filter> {
        let tags = |names: &[&str], tags_all| Filter {
            tags: names.iter().map(|name| (*name).to_owned()).collect(),
            tags_all,
            ..Filter::default()
        };
        let kind = |kind: &str| Filter { memory_type: Some(kind.to_owned()), ..Filter::default() };
        let times = |after: Option<i64>, before: Option<i64>| Filter {
            after: after.map(Micros),
            before: before.map(Micros),
            ..Filter::default()
        };
        vec![
            tags(&["a"], false),
            tags(&["a", "b"], false),
            tags(&["a", "b"], true),
            tags(&["a", "nobody"], false),
            tags(&["a", "nobody"], true),
            tags(&["nobody"], false),
            kind("note"),
            kind("unheard"),
            times(Some(5), None),
            times(None, Some(9)),
            times(Some(5), Some(9)),
            times(Some(9), Some(5)),
            Filter { memory_type: Some("fact".to_owned()), ..tags(&["a", "c"], false) },
            Filter { after: Some(Micros(4)), ..kind("note") },
        ]
    }

    fn facet() -> impl Strategy<Value = Option<Facet>> {
        let tags = proptest::collection::btree_set("[abc]", 0..3);
        let some = (tags, "(note|fact)", 0_i64..12).prop_map(|(tags, kind, created_at)| Facet {
            tags,
            kind,
            created_at,
        });
        proptest::option::of(some)
    }

    fn passes(facet: &Facet, filter: &Filter) -> bool {
        let n_shared = facet.tags.intersection(&filter.tags).count();
        let needed = if filter.tags_all { filter.tags.len() } else { 1.min(filter.tags.len()) };
        n_shared >= needed
            && filter.memory_type.as_ref().is_none_or(|kind| *kind == facet.kind)
            && filter.after.is_none_or(|at| facet.created_at >= at.0)
            && filter.before.is_none_or(|at| facet.created_at < at.0)
    }

    proptest! {
        #[test]
        fn whatever_was_changed_those_pass_that_pass(
            changes in proptest::collection::vec((0_i64..40, facet()), 0..120),
            n_seen in 0_usize..120,
        ) {
            let (mut truth, mut all) = (BTreeMap::<i64, Facet>::new(), Vec::new());
            for (key, after) in changes {
                let before = match &after {
                    Some(facet) => truth.insert(key, facet.clone()),
                    None => truth.remove(&key),
                };
                all.push(Change { key, before, after });
            }
            // What a filling has read may hold the first of them already.
            let mut table = Table::default();
            for Change { key, before, after } in all.iter().take(n_seen) {
                let (before, after) = (before.clone(), after.clone());
                let has_room = table.apply(Change { key: *key, before, after });
                prop_assert!(has_room);
            }
            let facets = Facets(RwLock::new(State::Ready(table)));
            facets.publish(all);
            for filter in filters() {
                let found = facets.passing(&filter).unwrap();
                let expected: Vec<i64> = truth
                    .iter()
                    .filter(|(_, facet)| passes(facet, &filter))
                    .map(|(key, _)| *key)
                    .collect();
                prop_assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{:?}", filter);
            }
        }
    }

    async fn write(store: &Store, rng: &mut ChaCha8Rng, n: usize) {
        for nth in 0..n {
            let text = format!("Text {}", rng.random_range(0..60));
            let tags: Vec<String> = ["a", "b", "c"]
                .iter()
                .filter(|_| rng.random_bool(0.4))
                .map(|tag| (*tag).to_owned())
                .collect();
            let kind = ["note", "fact"].choose(rng).copied();
            let draft = Draft::check(text, &tags, kind, None, Author::default(), 1 << 20).unwrap();
            let stored = store.write(move |w| memory::store(w, &draft)).await.unwrap();
            if nth % 3 == 0 {
                store.write(move |w| memory::delete(w, &stored.id, "test")).await.unwrap();
            }
        }
    }

    /// What is found here and what the file finds.
    async fn assert_same(store: &Store) {
        store.wait_until_filled();
        for filter in filters() {
            let (here, there) = store
                .read(move |read| {
                    let here = read.indexes.facets.passing(&filter).expect("they are filled");
                    let select = Select::live(&filter);
                    let sql = format!(
                        "SELECT m.key FROM memory m WHERE {} ORDER BY m.key",
                        select.conditions
                    );
                    let mut statement = read.conn.prepare(&sql)?;
                    let there = statement
                        .query_map(params_from_iter(select.params), |row| row.get(0))?
                        .collect::<rusqlite::Result<Vec<i64>>>()?;
                    Ok((here.iter().collect::<Vec<_>>(), there))
                })
                .await
                .unwrap();
            assert_eq!(here, there);
        }
    }

    #[tokio::test]
    async fn memory_and_file_let_the_same_pass_whatever_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..2 {
            let store = Store::open(&options(&dir, "here"), SystemClock::shared()).unwrap();
            write(&store, &mut rng, 150).await;
            assert_same(&store).await;
            // What a transaction took back is nowhere.
            let refused = store.write(|write| {
                let tags = ["a".to_owned()];
                let draft = Draft::check(
                    "refused".to_owned(),
                    &tags,
                    None,
                    None,
                    Author::default(),
                    1 << 20,
                )?;
                memory::store(write, &draft)?;
                Err::<(), _>(StoreError::Closed)
            });
            assert!(refused.await.is_err());
            assert_same(&store).await;
            store.close();
        }
    }

    #[test]
    fn keys_that_are_too_large_are_left_to_the_file() {
        let facets = Facets(RwLock::new(State::Ready(Table::default())));
        let facet = Facet { tags: BTreeSet::new(), kind: "note".to_owned(), created_at: 1 };
        let change = |key, after| Change { key, before: None, after };
        facets.publish(vec![change(i64::MAX, None), change(-3, None)]);
        assert!(facets.passing(&Filter::default()).is_some(), "what it doesn't hold can go");
        facets.publish(vec![change(i64::try_from(KEYS_MAX).unwrap(), Some(facet))]);
        assert!(facets.passing(&Filter::default()).is_none());
    }
}
