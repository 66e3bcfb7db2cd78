//! The vectors of the active space in memory, one byte a component: what a search by meaning looks at
//! first, so that it need not read every vector from the file.
//!
//! The table `embedding` stays the truth. The mirror only proposes: whoever asks looks its proposals up
//! in the table, on a snapshot of its own, and ranks them by what stands there. So a proposal that is out
//! of date costs a place among the candidates, never a wrong answer.
//!
//! The writing thread owns the changes. It fills the mirror when it starts, gathers what a group of jobs
//! changes, and publishes that after the commit, before anybody of the group is answered: a vector that
//! was acknowledged is proposed. Readers share chunks with the mirror, and the writer copies a chunk that
//! somebody is reading, so that neither waits for the other's work.

use super::error::StoreError;
use crate::model::space::UnitVector;
use rusqlite::{Connection, OptionalExtension as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Vectors of one chunk: the unit in which the writer copies.
const CHUNK: usize = 1024;
/// Vectors that are mirrored at most, 100 MB of 384 dimensions. A larger space is ranked by the index in
/// the file.
const SLOTS_MAX: usize = 1 << 18;
/// The largest code.
const CODE_MAX: f32 = 127.0;

/// The mirror; empty until it is filled.
#[derive(Debug, Default)]
pub(super) struct Mirror(Mutex<Option<Table>>);

/// The vectors of one space, by their ids.
#[derive(Debug, Clone)]
struct Table {
    space: i64,
    dims: usize,
    chunks: Vec<Arc<Chunk>>,
}

/// The vectors of [`CHUNK`] ids in a row.
#[derive(Debug, Clone)]
struct Chunk {
    /// What a code of 1 stands for; 0 where there is no vector.
    scales: Vec<f32>,
    codes: Vec<i8>,
}

/// A vector in the mirror's form.
#[derive(Debug, Clone, PartialEq)]
struct Code {
    scale: f32,
    codes: Vec<i8>,
}

/// What a transaction changes.
#[derive(Debug)]
pub(super) enum Change {
    /// Another space is active and has no vectors yet.
    Space { key: i64, dims: usize },
    /// This is the vector of `id` from here on.
    Put { id: i64, vector: UnitVector },
    /// There is no vector of `id` any more.
    Remove { id: i64 },
}

impl Mirror {
    /// Fills it from the table.
    ///
    /// # Errors
    /// The database refused; the mirror is empty then.
    pub(super) fn load(&self, conn: &Connection) -> Result<(), StoreError> {
        *self.lock() = None;
        let active: Option<(i64, i64)> = conn
            .query_row("SELECT key, dims FROM space WHERE is_active", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let Some((space, dims)) = active else { return Ok(()) };
        let dims = usize::try_from(dims).unwrap_or(0);
        let mut table = Table { space, dims, chunks: Vec::new() };
        let mut statement = conn.prepare("SELECT id, vec FROM embedding WHERE space = ?1")?;
        let mut rows = statement.query([space])?;
        while let Some(row) = rows.next()? {
            let bytes: Vec<u8> = row.get(1)?;
            if !table.put(row.get(0)?, &Code::of(&floats(&bytes))) {
                return Ok(());
            }
        }
        *self.lock() = Some(table);
        Ok(())
    }

    /// Makes the changes of a committed transaction visible.
    pub(super) fn publish(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let mut held = self.lock();
        for change in changes {
            match (change, held.as_mut()) {
                (Change::Space { key, dims }, _) => {
                    *held = Some(Table { space: key, dims, chunks: Vec::new() });
                }
                (Change::Put { id, vector }, Some(table)) => {
                    if !table.put(id, &Code::of(vector.as_slice())) {
                        *held = None;
                    }
                }
                (Change::Remove { id }, Some(table)) => table.remove(id),
                (_, None) => {}
            }
        }
    }

    /// The ids of the `n` vectors of `space` that are nearest to `query`, about; all of them if there
    /// are fewer. `None` if the mirror doesn't hold that space.
    pub(super) fn nearest(&self, space: i64, query: &UnitVector, n: usize) -> Option<Vec<i64>> {
        let is_held = |table: &&Table| table.space == space && table.dims == query.as_slice().len();
        let table = self.lock().as_ref().filter(is_held).cloned()?;
        Some(table.nearest(&Code::of(query.as_slice()), n))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Table>> {
        // Every change of the table is a whole one, so a panic leaves nothing half-done that matters.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Whether there was room for it.
    fn put(&mut self, id: i64, code: &Code) -> bool {
        let slot = usize::try_from(id).ok().filter(|slot| *slot < SLOTS_MAX);
        let Some(slot) = slot.filter(|_| code.codes.len() == self.dims) else { return false };
        while self.chunks.len() <= slot / CHUNK {
            self.chunks.push(Arc::new(Chunk::empty(self.dims)));
        }
        if let Some(chunk) = self.chunks.get_mut(slot / CHUNK) {
            Arc::make_mut(chunk).put(slot % CHUNK, code);
        }
        true
    }

    fn remove(&mut self, id: i64) {
        let Ok(slot) = usize::try_from(id) else { return };
        if let Some(chunk) = self.chunks.get_mut(slot / CHUNK)
            && let Some(scale) = Arc::make_mut(chunk).scales.get_mut(slot % CHUNK)
        {
            *scale = 0.0;
        }
    }

    fn nearest(&self, query: &Code, n: usize) -> Vec<i64> {
        // Wider than the codes, so that it need not be widened anew for each of them.
        let query: Vec<i16> = query.codes.iter().map(|code| i16::from(*code)).collect();
        let mut best = Best::new(n);
        for (first_id, chunk) in (0_i64..).step_by(CHUNK).zip(&self.chunks) {
            scan(chunk, &query, first_id, &mut best);
        }
        best.into_ids()
    }
}

impl Chunk {
    fn empty(dims: usize) -> Self {
        Self { scales: vec![0.0; CHUNK], codes: vec![0; CHUNK * dims] }
    }

    fn put(&mut self, place: usize, code: &Code) {
        let dims = code.codes.len();
        let codes = self.codes.get_mut(place * dims..(place + 1) * dims);
        if let (Some(scale), Some(codes)) = (self.scales.get_mut(place), codes) {
            *scale = code.scale;
            codes.copy_from_slice(&code.codes);
        }
    }
}

impl Code {
    /// The vector's components as multiples of its own largest one: unit vectors of many dimensions
    /// would use few of the codes otherwise.
    fn of(values: &[f32]) -> Self {
        let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let scale = largest / CODE_MAX;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most 127 by the choice of the scale"
        )]
        let code = |value: &f32| if scale > 0.0 { (value / scale).round() as i8 } else { 0 };
        Self { scale, codes: values.iter().map(code).collect() }
    }
}

/// Offers every vector of a chunk, with the instructions that this processor has.
fn scan(chunk: &Chunk, query: &[i16], first_id: i64, best: &mut Best) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[expect(unsafe_code, reason = "a function for other processors than the oldest")]
        // SAFETY: the processor has just been asked for the one feature that the function needs.
        unsafe {
            scan_avx2(chunk, query, first_id, best);
        }
        return;
    }
    scan_with(chunk, query, first_id, best);
}

/// The same code, which the compiler may turn into wider instructions: a third of the time.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn scan_avx2(chunk: &Chunk, query: &[i16], first_id: i64, best: &mut Best) {
    scan_with(chunk, query, first_id, best);
}

#[expect(clippy::inline_always, reason = "a call from `scan_avx2` would lose its instructions")]
#[inline(always)]
fn scan_with(chunk: &Chunk, query: &[i16], first_id: i64, best: &mut Best) {
    let vectors = chunk.scales.iter().zip(chunk.codes.chunks_exact(query.len().max(1)));
    for (id, (scale, codes)) in (first_id..).zip(vectors) {
        if *scale > 0.0 {
            best.offer(*scale * dot(codes, query), id);
        }
    }
}

/// The compiler makes vector instructions of it, which an overflow check would forbid.
#[expect(clippy::inline_always, reason = "a call from `scan_avx2` would lose its instructions")]
#[inline(always)]
fn dot(a: &[i8], b: &[i16]) -> f32 {
    let products = a.iter().zip(b).map(|(a, b)| i32::from(*a).wrapping_mul(i32::from(*b)));
    #[expect(clippy::cast_precision_loss, reason = "a score that only orders candidates")]
    let score = products.fold(0_i32, i32::wrapping_add) as f32;
    score
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect()
}

/// The `n` best of what it is offered.
pub(super) struct Best {
    n: usize,
    kept: Vec<(f32, i64)>,
    /// Nothing below it can be among the best.
    floor: f32,
}

/// Best first, of equals the one with the larger id.
fn by_rank(a: &(f32, i64), b: &(f32, i64)) -> std::cmp::Ordering {
    b.0.total_cmp(&a.0).then(b.1.cmp(&a.1))
}

impl Best {
    pub(super) fn new(n: usize) -> Self {
        Self { n, kept: Vec::with_capacity(2 * n), floor: f32::NEG_INFINITY }
    }

    pub(super) fn offer(&mut self, score: f32, id: i64) {
        if score < self.floor || self.n == 0 {
            return;
        }
        self.kept.push((score, id));
        if self.kept.len() == 2 * self.n {
            self.cut();
            self.floor =
                self.kept.iter().fold(f32::INFINITY, |floor, (score, _)| floor.min(*score));
        }
    }

    fn cut(&mut self) {
        if self.kept.len() > self.n {
            self.kept.select_nth_unstable_by(self.n, by_rank);
            self.kept.truncate(self.n);
        }
    }

    /// In the order of their ranks.
    pub(super) fn into_ranked(mut self) -> Vec<(f32, i64)> {
        self.cut();
        self.kept.sort_unstable_by(by_rank);
        self.kept
    }

    fn into_ids(mut self) -> Vec<i64> {
        self.cut();
        self.kept.into_iter().map(|(_, id)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const DIMS: usize = 16;

    fn unit() -> impl Strategy<Value = UnitVector> {
        proptest::collection::vec(-1.0_f32..1.0, DIMS)
            .prop_filter_map("no direction", UnitVector::normalise)
    }

    fn cosine(a: &UnitVector, b: &UnitVector) -> f32 {
        a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| a * b).sum()
    }

    proptest! {
        #[test]
        fn what_it_proposes_is_about_the_nearest(
            steps in proptest::collection::vec((0_i64..3000, proptest::option::weighted(0.8, unit())), 1..120),
            query in unit(),
            n in 1_usize..20,
        ) {
            let mirror = Mirror::default();
            mirror.publish(vec![Change::Space { key: 1, dims: DIMS }]);
            let mut truth: BTreeMap<i64, UnitVector> = BTreeMap::new();
            for (id, vector) in steps {
                let change = if let Some(vector) = vector {
                    truth.insert(id, vector.clone());
                    Change::Put { id, vector }
                } else {
                    truth.remove(&id);
                    Change::Remove { id }
                };
                mirror.publish(vec![change]);
            }
            let found = mirror.nearest(1, &query, n).unwrap();
            prop_assert_eq!(found.len(), n.min(truth.len()));
            let worst = found.iter().map(|id| cosine(&truth[id], &query)).fold(1.0, f32::min);
            for (id, vector) in &truth {
                let is_missed = !found.contains(id) && cosine(vector, &query) > worst + 0.05;
                prop_assert!(!is_missed, "{} is nearer than {}", cosine(vector, &query), worst);
            }
        }
    }

    #[test]
    fn it_answers_for_its_own_space_only() {
        let mirror = Mirror::default();
        let query = UnitVector::normalise(vec![1.0; DIMS]).unwrap();
        assert_eq!(mirror.nearest(1, &query, 5), None);
        mirror.publish(vec![
            Change::Space { key: 1, dims: DIMS },
            Change::Put { id: 7, vector: query.clone() },
        ]);
        assert_eq!(mirror.nearest(1, &query, 5), Some(vec![7]));
        assert_eq!(mirror.nearest(2, &query, 5), None);
        let short = UnitVector::normalise(vec![1.0; 4]).unwrap();
        assert_eq!(mirror.nearest(1, &short, 5), None);
        mirror.publish(vec![Change::Space { key: 2, dims: DIMS }]);
        assert_eq!(mirror.nearest(2, &query, 5), Some(vec![]));
    }

    #[test]
    fn a_space_that_is_too_large_is_left_to_the_file() {
        let mirror = Mirror::default();
        let vector = UnitVector::normalise(vec![1.0; DIMS]).unwrap();
        mirror.publish(vec![Change::Space { key: 1, dims: DIMS }]);
        let id = i64::try_from(SLOTS_MAX).unwrap();
        mirror.publish(vec![Change::Put { id, vector: vector.clone() }]);
        assert_eq!(mirror.nearest(1, &vector, 5), None);
    }
}
