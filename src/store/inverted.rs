//! The words of all findable memories in memory, as an inverted index that ranks by BM25: what a search by
//! words asks. The table `keyword` is the index of the file, and answers until this one is there.
//!
//! It only proposes, as the mirror of the vectors does: whoever asks looks on a snapshot of its own whether
//! the memories that it names may be found.
//!
//! It is filled in the background when the store opens. What is written meanwhile is kept and put on top, so
//! it holds at any time what was committed. Afterwards the writing thread publishes the changes of each
//! commit. Memories are held in chunks of consecutive keys; a change makes a new chunk, and whoever searches
//! goes on with the old one.

use super::best::Best;
use super::error::StoreError;
use super::keys::Keys;
use super::terms::{Term, Terms};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Memories of one chunk, so that a place in it and a frequency share two bytes.
const CHUNK: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 10;
/// The largest frequency that is told apart: BM25 gives more occurrences hardly more.
const FREQUENCY_MAX: u16 = (1 << (16 - PLACE_BITS)) - 1;
/// Terms between two looks for one, at first: most stand nearer than that to where they are expected.
const NEAR: usize = 32;
/// Keys above are left to the index in the file: a million memories of 500 characters would take some 250 MB, by
/// what 100,000 take.
const KEYS_MAX: usize = 1 << 20;
/// How soon more occurrences of a word stop counting, and how much a long text counts less: the values that
/// FTS5 uses.
const K1: f32 = 1.2;
const B: f32 = 0.75;

/// The words of one memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words {
    /// In order of the terms, with their frequencies.
    counts: Vec<(Term, u16)>,
    length: u16,
}

impl Words {
    pub(super) fn of(content: &str) -> Self {
        Self::read(&mut Terms::new(), content)
    }

    fn read(terms: &mut Terms, content: &str) -> Self {
        let mut all = terms.of(content);
        let length = u16::try_from(all.len()).unwrap_or(u16::MAX);
        all.sort_unstable();
        let count = |run: &[Term]| {
            let n = u16::try_from(run.len()).unwrap_or(u16::MAX).min(FREQUENCY_MAX);
            run.first().map(|term| (*term, n))
        };
        let counts = all.chunk_by(|a, b| a == b).filter_map(count).collect();
        Self { counts, length }
    }
}

/// A change of one memory: its words from here on, or `None` when it can't be found any more.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) key: i64,
    pub(super) words: Option<Words>,
}

/// The index; absent until it is filled.
#[derive(Debug, Default)]
pub(super) struct InvertedIndex(Mutex<State>);

/// Memories in the order of their words.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ranked {
    /// With their BM25, best first.
    pub(super) found: Vec<(i64, f64)>,
    /// The BM25 of a memory of mean length that has every term once.
    pub(super) full: f64,
}

#[derive(Debug, Default)]
enum State {
    /// The file answers.
    #[default]
    Absent,
    /// It is being filled; these changes come on top.
    Filling(Vec<Change>),
    Ready(Table),
}

#[derive(Debug, Default, Clone)]
struct Table {
    chunks: Vec<Arc<Chunk>>,
}

/// The memories of [`CHUNK`] keys in a row.
#[derive(Debug, Default)]
struct Chunk {
    /// Terms of each memory; 0 where there is none.
    lengths: Vec<u16>,
    /// How many memories have terms, and how many terms these have.
    sizes: (u32, u64),
    /// In order; those of `starts` begin their postings, and one more ends the last.
    terms: Vec<Term>,
    starts: Vec<u32>,
    /// The place in the chunk in the low bits, the frequency above.
    postings: Vec<u16>,
}

/// The chunk of a key and its place there; `None` for keys that aren't held.
fn place(key: i64) -> Option<(usize, usize)> {
    let key = usize::try_from(key).ok().filter(|key| *key < KEYS_MAX)?;
    Some((key / CHUNK, key % CHUNK))
}

impl InvertedIndex {
    /// From now on changes are kept for [`InvertedIndex::fill`], which must follow.
    pub(super) fn expect_filling(&self) {
        *self.lock() = State::Filling(Vec::new());
    }

    /// Fills it from the memories of `conn`'s snapshot, which must not be older than the first change that
    /// was published.
    ///
    /// # Errors
    /// The database refused; the index is absent then.
    pub(super) fn fill(&self, conn: &Connection) -> Result<(), StoreError> {
        let _or_absent = OrAbsent(self);
        let mut table = Table::of(conn)?;
        loop {
            let mut held = self.lock();
            let pending = match &mut *held {
                State::Filling(pending) => std::mem::take(pending),
                State::Absent | State::Ready(_) => return Ok(()),
            };
            if pending.is_empty() {
                *held = if table.is_full() { State::Absent } else { State::Ready(table) };
                return Ok(());
            }
            drop(held);
            table.apply(pending);
        }
    }

    /// Makes the changes of a committed transaction visible. Only the writing thread may call it.
    pub(super) fn publish(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let mut table = match &mut *self.lock() {
            State::Absent => return,
            State::Filling(pending) => return pending.extend(changes),
            State::Ready(table) => table.clone(),
        };
        table.apply(changes);
        *self.lock() = if table.is_full() { State::Absent } else { State::Ready(table) };
    }

    /// The `n` memories that rank best for `terms`; of those that are allowed, if some are named. All that
    /// have any of the terms, if they are fewer. `None` while it is absent.
    pub(super) fn best(&self, terms: &[Term], n: usize, allowed: Option<&Keys>) -> Option<Ranked> {
        let table = match &*self.lock() {
            State::Ready(table) => table.clone(),
            State::Absent | State::Filling(_) => return None,
        };
        Some(table.best(terms, n, allowed))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is a whole one, so a panic leaves nothing half-done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whatever ends the filling early: nothing is kept for it any more.
struct OrAbsent<'a>(&'a InvertedIndex);

impl Drop for OrAbsent<'_> {
    fn drop(&mut self) {
        let mut held = self.0.lock();
        if matches!(*held, State::Filling(_)) {
            *held = State::Absent;
        }
    }
}

impl Table {
    fn of(conn: &Connection) -> Result<Self, StoreError> {
        let mut table = Self::default();
        let mut statement = conn.prepare(
            "SELECT key, content FROM memory
             WHERE deleted_at IS NULL AND superseded_by IS NULL ORDER BY key",
        )?;
        let mut rows = statement.query([])?;
        let (mut terms, mut some): (_, Vec<Change>) = (Terms::new(), Vec::new());
        while let Some(row) = rows.next()? {
            let key: i64 = row.get(0)?;
            let content = row.get_ref(1)?.as_str().unwrap_or_default();
            let words = Some(Words::read(&mut terms, content));
            // A chunk is made at once.
            let goes_on = some.last().is_none_or(|last| {
                place(last.key).map(|(chunk, _)| chunk) == place(key).map(|(chunk, _)| chunk)
            });
            if !goes_on {
                table.apply(std::mem::take(&mut some));
            }
            some.push(Change { key, words });
        }
        table.apply(some);
        Ok(table)
    }

    /// Whether a key was given that it doesn't hold: it would miss memories from then on.
    fn is_full(&self) -> bool {
        self.chunks.len() > KEYS_MAX / CHUNK
    }

    fn apply(&mut self, changes: Vec<Change>) {
        let mut by_chunk: BTreeMap<usize, BTreeMap<usize, Option<Words>>> = BTreeMap::new();
        for Change { key, words } in changes {
            let (chunk, place) = match place(key) {
                Some(place) => place,
                None if words.is_some() => (KEYS_MAX / CHUNK, 0),
                None => continue,
            };
            by_chunk.entry(chunk).or_default().insert(place, words);
        }
        for (nth, changes) in by_chunk {
            while self.chunks.len() <= nth {
                self.chunks.push(Arc::default());
            }
            if let Some(chunk) = self.chunks.get_mut(nth) {
                *chunk = Arc::new(chunk.with(&changes));
            }
        }
    }

    fn best(&self, terms: &[Term], n: usize, allowed: Option<&Keys>) -> Ranked {
        let lists: Vec<Vec<Range<usize>>> = self
            .chunks
            .iter()
            .map(|chunk| terms.iter().map(|term| chunk.range(*term)).collect())
            .collect();
        let (n_memories, n_terms) = self
            .chunks
            .iter()
            .map(|chunk| chunk.sizes)
            .fold((0_u32, 0_u64), |(memories, terms), (more, longer)| {
                (memories + more, terms + longer)
            });
        let weights: Vec<f32> = (0..terms.len())
            .map(|nth| {
                let n_with = lists.iter().filter_map(|lists| lists.get(nth)).map(Range::len).sum();
                weight(n_with, n_memories)
            })
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "a mean")]
        let mean_length = n_terms as f32 / n_memories.max(1) as f32;
        let mut best = Best::new(n);
        let mut scores = [0.0; CHUNK];
        for (nth, (chunk, lists)) in self.chunks.iter().zip(&lists).enumerate() {
            let places = allowed.map_or(&EVERYWHERE[..], |keys| keys.words_from(nth * CHUNK / 64));
            let is_barred = places.iter().take(CHUNK / 64).all(|places| *places == 0);
            if is_barred || lists.iter().all(Range::is_empty) {
                continue;
            }
            scores.fill(0.0);
            for (range, weight) in lists.iter().zip(&weights) {
                chunk.score(range.clone(), *weight, mean_length, &mut scores);
            }
            let first = i64::try_from(nth * CHUNK).unwrap_or(i64::MAX);
            offer(&scores, places, first, &mut best);
        }
        let found = best.into_sorted().into_iter().map(|(score, key)| (key, f64::from(score)));
        Ranked { found: found.collect(), full: f64::from(weights.iter().sum::<f32>()) }
    }
}

const EVERYWHERE: [u64; CHUNK / 64] = [u64::MAX; CHUNK / 64];

/// `places` has a bit for each score, and may have more or fewer.
fn offer(scores: &[f32; CHUNK], places: &[u64], first: i64, best: &mut Best<i64>) {
    for (at, (scores, bits)) in (first..).step_by(64).zip(scores.chunks(64).zip(places)) {
        if *bits == 0 {
            continue;
        }
        for (bit, (key, score)) in (at..).zip(scores).enumerate() {
            if *score > 0.0 && bits & (1 << bit) != 0 {
                best.offer(*score, key);
            }
        }
    }
}

/// What a term that `n_with` of `n_memories` have counts for: never less than nothing, as a word that most
/// have would in the original formula.
fn weight(n_with: usize, n_memories: u32) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "a ratio of counts")]
    let n_with = n_with as f64;
    let odds = (f64::from(n_memories) - n_with + 0.5) / (n_with + 0.5);
    #[expect(clippy::cast_possible_truncation, reason = "a weight")]
    let weight = odds.ln_1p() as f32;
    weight
}

impl Chunk {
    /// Where the postings of `term` stand.
    fn range(&self, term: Term) -> Range<usize> {
        let Ok(nth) = self.find(term) else { return 0..0 };
        self.start(nth)..self.start(nth + 1)
    }

    /// The place of a term, or where it would be. Terms are hashes, so each stands about where its share of all
    /// numbers says: fewer places are looked at than by halving.
    fn find(&self, term: Term) -> Result<usize, usize> {
        let n = self.terms.len();
        let share = (u128::from(term) * n as u128) >> Term::BITS;
        let about = usize::try_from(share).unwrap_or(n);
        let (mut from, mut to, mut step) = (about, about, NEAR);
        while from > 0 && self.terms.get(from).is_none_or(|there| *there > term) {
            from = from.saturating_sub(step);
            step *= 2;
        }
        step = NEAR;
        while to < n && self.terms.get(to).is_some_and(|there| *there < term) {
            to = (to + step).min(n);
            step *= 2;
        }
        let end = (to + 1).min(n);
        let found = self.terms.get(from..end).unwrap_or_default().binary_search(&term);
        found.map(|at| from + at).map_err(|at| from + at)
    }

    fn score(&self, range: Range<usize>, weight: f32, mean: f32, scores: &mut [f32; CHUNK]) {
        let shortest = K1 * (1.0 - B);
        let per_term = K1 * B / mean.max(1.0);
        for posting in self.postings.get(range).unwrap_or_default() {
            let place = usize::from(*posting) % CHUNK;
            let frequency = f32::from(*posting >> PLACE_BITS);
            let length = self.lengths.get(place).copied().unwrap_or(0);
            let longer = shortest + per_term * f32::from(length);
            if let Some(score) = scores.get_mut(place) {
                *score += weight * frequency * (K1 + 1.0) / (frequency + longer);
            }
        }
    }

    /// The chunk after `changes` of some places.
    fn with(&self, changes: &BTreeMap<usize, Option<Words>>) -> Self {
        let mut new: Vec<(Term, u16)> = Vec::new();
        let mut lengths = self.lengths.clone();
        lengths.resize(CHUNK, 0);
        let mut is_changed = [false; CHUNK];
        for (place, words) in changes {
            if let (Some(length), Some(changed)) =
                (lengths.get_mut(*place), is_changed.get_mut(*place))
            {
                *changed = true;
                *length = words.as_ref().map_or(0, |words| words.length);
            }
            let low = u16::try_from(*place).unwrap_or(0);
            let counts = words.iter().flat_map(|words| &words.counts);
            new.extend(counts.map(|(term, n)| (*term, low | (n << PLACE_BITS))));
        }
        new.sort_unstable();
        let is_there = |place: &usize| self.lengths.get(*place).is_some_and(|length| *length > 0);
        let mut made = if changes.keys().any(is_there) {
            self.without(&is_changed).and(&new)
        } else {
            self.and(&new)
        };
        let there = lengths.iter().filter(|length| **length > 0);
        made.sizes = there.fold((0, 0), |(n, sum), length| (n + 1, sum + u64::from(*length)));
        made.lengths = lengths;
        made
    }

    /// What is left without some places; their lengths are the caller's to set.
    fn without(&self, places: &[bool; CHUNK]) -> Self {
        let is_among =
            |posting: &u16| places.get(usize::from(*posting) % CHUNK).is_some_and(|is| *is);
        let mut made = Self::with_room(self.terms.len(), self.postings.len());
        for (nth, term) in self.terms.iter().enumerate() {
            let list = self.postings.get(self.start(nth)..self.start(nth + 1)).unwrap_or_default();
            made.postings.extend(list.iter().filter(|posting| !is_among(posting)));
            made.end(*term);
        }
        made
    }

    /// The same with further postings, which are in order of their terms. What lies between two of these
    /// terms is copied as a whole.
    fn and(&self, new: &[(Term, u16)]) -> Self {
        let room = self.postings.len() + new.len();
        let mut made = Self::with_room(self.terms.len() + new.len(), room);
        let mut from = 0;
        for run in new.chunk_by(|a, b| a.0 == b.0) {
            let Some((term, _)) = run.first() else { continue };
            let (to, next) = match self.find(*term) {
                Ok(nth) => (nth, nth + 1),
                Err(nth) => (nth, nth),
            };
            made.copy(self, from..to);
            let list = self.start(to)..self.start(next);
            made.postings.extend_from_slice(self.postings.get(list).unwrap_or_default());
            made.postings.extend(run.iter().map(|(_, posting)| *posting));
            made.end(*term);
            from = next;
        }
        made.copy(self, from..self.terms.len());
        // A chunk that was made at once shares most of its terms.
        if made.terms.capacity() > made.terms.len() + made.terms.len() / 4 {
            made.terms.shrink_to_fit();
            made.starts.shrink_to_fit();
        }
        made
    }

    fn with_room(terms: usize, postings: usize) -> Self {
        let mut starts = Vec::with_capacity(terms + 1);
        starts.push(0);
        let (terms, postings) = (Vec::with_capacity(terms), Vec::with_capacity(postings));
        Self { terms, starts, postings, ..Self::default() }
    }

    /// Where the postings of the `nth` term begin.
    fn start(&self, nth: usize) -> usize {
        self.starts.get(nth).map_or(0, |start| *start as usize)
    }

    /// Appends some terms of another chunk.
    fn copy(&mut self, other: &Self, terms: Range<usize>) {
        let (first, last) = (other.start(terms.start), other.start(terms.end));
        let begin = self.postings.len();
        let ends = other.starts.get(terms.start + 1..=terms.end).unwrap_or_default();
        let moved = |end: &u32| u32::try_from(*end as usize - first + begin).unwrap_or(u32::MAX);
        self.starts.extend(ends.iter().map(moved));
        self.terms.extend_from_slice(other.terms.get(terms).unwrap_or_default());
        self.postings.extend_from_slice(other.postings.get(first..last).unwrap_or_default());
    }

    /// Ends the postings of a term; one that nobody has any more isn't kept.
    fn end(&mut self, term: Term) {
        let end = self.postings.len();
        if end > self.start(self.terms.len()) {
            self.terms.push(term);
            self.starts.push(u32::try_from(end).unwrap_or(u32::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::terms;
    use super::*;
    use proptest::prelude::*;

    const VOCABULARY: [&str; 12] = [
        "alpha", "bravo", "carbon", "delta", "ember", "falcon", "granite", "harbor", "indigo",
        "jungle", "kernel", "lantern",
    ];

    fn ready() -> InvertedIndex {
        let index = InvertedIndex::default();
        *index.lock() = State::Ready(Table::default());
        index
    }

    fn put(index: &InvertedIndex, key: i64, content: &str) {
        index.publish(vec![Change { key, words: Some(Words::of(content)) }]);
    }

    /// BM25 by its definition, over all texts.
    #[expect(clippy::cast_precision_loss, reason = "counts of a test")]
    fn by_definition(texts: &BTreeMap<i64, String>, query: &[Term]) -> Vec<(i64, f64)> {
        let texts: BTreeMap<i64, Vec<Term>> =
            texts.iter().map(|(key, text)| (*key, terms::of(text))).collect();
        let n = texts.values().filter(|text| !text.is_empty()).count() as f64;
        let mean = texts.values().map(Vec::len).sum::<usize>() as f64 / n.max(1.0);
        let mut found = Vec::new();
        for (key, text) in &texts {
            let mut score = 0.0;
            for term in query {
                let with = texts.values().filter(|text| text.contains(term)).count() as f64;
                let weight = ((n - with + 0.5) / (with + 0.5)).ln_1p();
                let f = text.iter().filter(|other| *other == term).count() as f64;
                let length = f64::from(1.0 - B) + f64::from(B) * text.len() as f64 / mean.max(1.0);
                score += weight * f * (f64::from(K1) + 1.0) / (f + f64::from(K1) * length);
            }
            if score > 0.0 {
                found.push((*key, score));
            }
        }
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
        found
    }

    fn text() -> impl Strategy<Value = String> {
        proptest::collection::vec(proptest::sample::select(&VOCABULARY[..]), 0..30)
            .prop_map(|words| words.join(" "))
    }

    proptest! {
        #[test]
        fn it_ranks_as_bm25_is_defined_whatever_was_written(
            groups in proptest::collection::vec(
                proptest::collection::vec((0_i64..2500, proptest::option::weighted(0.8, text())), 1..30),
                1..12,
            ),
            query in proptest::sample::subsequence(VOCABULARY.to_vec(), 1..4),
            n in 1_usize..20,
        ) {
            let (index, mut truth) = (ready(), BTreeMap::new());
            for group in groups {
                let mut changes = Vec::new();
                for (key, text) in group {
                    changes.push(Change { key, words: text.as_deref().map(Words::of) });
                    match text {
                        Some(text) => truth.insert(key, text),
                        None => truth.remove(&key),
                    };
                }
                index.publish(changes);
            }
            let terms = terms::of(&query.join(" "));
            let expected = by_definition(&truth, &terms);
            let all = index.best(&terms, 5000, None).unwrap().found;
            prop_assert_eq!(all.len(), expected.len());
            let expected_of: BTreeMap<i64, f64> = expected.iter().copied().collect();
            for (key, score) in &all {
                prop_assert!((score - expected_of[key]).abs() < 1e-3, "{} {}", score, expected_of[key]);
            }
            let best = index.best(&terms, n, None).unwrap().found;
            prop_assert_eq!(&best[..], &all[..n.min(all.len())]);
            let allowed: Vec<i64> = truth.keys().copied().filter(|key| key % 3 == 0).collect();
            let allowed = Keys::of(&allowed).unwrap();
            let some = index.best(&terms, n, Some(&allowed)).unwrap().found;
            let of_all: Vec<_> = all.iter().copied().filter(|(key, _)| key % 3 == 0).take(n).collect();
            prop_assert_eq!(some, of_all);
        }
    }

    #[test]
    fn a_memory_that_is_removed_leaves_nothing_behind() {
        let index = ready();
        put(&index, 5, "alpha bravo");
        put(&index, 5, "carbon");
        assert_eq!(index.best(&terms::of("alpha"), 9, None).unwrap().found, []);
        index.publish(vec![Change { key: 5, words: None }]);
        assert_eq!(index.best(&terms::of("carbon"), 9, None).unwrap().found, []);
        let State::Ready(table) = &*index.lock() else { panic!("it was ready") };
        assert!(table.chunks[0].terms.is_empty());
        assert_eq!(table.chunks[0].sizes, (0, 0));
    }

    proptest! {
        #[test]
        fn a_term_is_found_wherever_it_stands(
            terms in proptest::collection::btree_set(
                prop_oneof![any::<Term>(), 0..50_u64, u64::MAX - 50..=u64::MAX], 0..400),
            asked in proptest::collection::vec(
                prop_oneof![any::<Term>(), 0..60_u64, u64::MAX - 60..=u64::MAX], 0..50),
        ) {
            let chunk = Chunk { terms: terms.iter().copied().collect(), ..Chunk::default() };
            for term in asked.into_iter().chain(terms) {
                prop_assert_eq!(chunk.find(term), chunk.terms.binary_search(&term));
            }
        }
    }

    #[test]
    fn what_is_written_while_it_is_filled_comes_on_top() {
        let conn = Connection::open_in_memory().unwrap();
        conn.execute_batch(
            "CREATE TABLE memory(key INTEGER PRIMARY KEY, content TEXT, deleted_at INTEGER,
               superseded_by TEXT);
             INSERT INTO memory VALUES (1, 'alpha', NULL, NULL), (2, 'bravo', NULL, NULL),
               (3, 'alpha', 1, NULL), (4, 'alpha', NULL, 'x'), (3000, 'alpha', NULL, NULL)",
        )
        .unwrap();
        let index = InvertedIndex::default();
        put(&index, 9, "alpha");
        assert_eq!(index.best(&terms::of("alpha"), 9, None), None, "the file answers");
        index.expect_filling();
        put(&index, 7, "alpha");
        index.publish(vec![Change { key: 1, words: None }]);
        assert_eq!(index.best(&terms::of("alpha"), 9, None), None, "the file still answers");
        index.fill(&conn).unwrap();
        let keys = |index: &InvertedIndex| {
            let found = index.best(&terms::of("alpha"), 9, None).unwrap().found;
            found.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(keys(&index), [3000, 7]);
        put(&index, 8, "alpha");
        assert_eq!(keys(&index), [3000, 8, 7]);
    }

    #[test]
    fn a_filling_that_fails_leaves_the_answer_to_the_file() {
        let conn = Connection::open_in_memory().unwrap();
        let index = InvertedIndex::default();
        index.expect_filling();
        put(&index, 7, "alpha");
        index.fill(&conn).unwrap_err();
        assert!(matches!(*index.lock(), State::Absent));
    }

    #[test]
    fn a_store_with_too_many_keys_is_left_to_the_file() {
        let index = ready();
        put(&index, i64::try_from(KEYS_MAX).unwrap() - 1, "alpha");
        assert_eq!(index.best(&terms::of("alpha"), 9, None).unwrap().found.len(), 1);
        index.publish(vec![Change { key: i64::MAX, words: None }]);
        assert!(index.best(&terms::of("alpha"), 9, None).is_some(), "what it doesn't hold can go");
        put(&index, i64::try_from(KEYS_MAX).unwrap(), "alpha");
        assert_eq!(index.best(&terms::of("alpha"), 9, None), None);
    }
}
