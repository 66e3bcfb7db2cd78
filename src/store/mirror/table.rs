//! The vectors of one space, and the search among them.
//!
//! Each vector has an upper bound of its cosine to the query: the product of the codes, and by how much that
//! may be wrong at most, but for odds that `code` tells. What the search proposes comes by falling bounds, so whoever looks the proposals up
//! can stop as soon as it has found enough that is better than the next bound: nothing else can be.
//!
//! Among very many vectors that would read more than is worth while. There one bit a component chooses some
//! thousands first, which is not exact.

use super::Proposals;
use super::assistant::{Assistant, Pieces};
use super::chunk::{CHUNK, Chunk, Coded, NOBODY};
use super::code::{Code, Sought};
use crate::store::best::Best;
use crate::store::kernel::Kernel;
use crate::store::keys::Keys;
use std::ops::Range;
use std::sync::Arc;

/// Vectors that signs choose at least, for each one that is asked for, and one of how many that are there.
const CHOSEN_MIN: usize = 8000;
const CHOSEN_EACH: usize = 2;
const CHOSEN_OF: usize = 64;
/// Stands for the difference of a vector that isn't offered: more than a vector has components.
const NOT_OFFERED: u16 = u16::MAX;
/// The same where there are no codes to look at next, but the file.
const CHOSEN_MIN_BARE: usize = 500;
const CHOSEN_EACH_BARE: usize = 4;
/// Counters of one number of signs. A chunk has a multiple of it.
const COUNTERS: usize = 4;
/// How many vectors are asked for before they are needed.
const AHEAD: usize = 16;
/// Scores that are compared with the best at once.
const GROUP: usize = 16;

/// How large a table may become, and how it is searched.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Limits {
    /// Bytes of memory.
    pub(in crate::store) bytes: usize,
    /// Vectors above which signs choose first.
    pub(in crate::store) signs_above: usize,
    /// Places for vectors above which two threads look at them.
    pub(in crate::store) shared_above: usize,
    /// What multiplies.
    pub(in crate::store) kernel: Kernel,
}

/// The vectors of one space, by their ids.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) space: i64,
    pub(super) dims: usize,
    limits: Limits,
    is_coded: bool,
    chunks: Vec<Arc<Chunk>>,
}

impl Table {
    pub(super) fn new(space: i64, dims: usize, limits: Limits) -> Self {
        Self { space, dims, limits, is_coded: true, chunks: Vec::new() }
    }

    /// Whether there are codes, not signs alone.
    pub(super) fn is_coded(&self) -> bool {
        self.is_coded
    }

    /// Places for vectors.
    pub(super) fn len(&self) -> usize {
        self.chunks.len() * CHUNK
    }

    /// Whether there was room for it.
    pub(super) fn put(&mut self, id: i64, memory: i64, code: &Code) -> bool {
        let slot = usize::try_from(id).ok().filter(|_| code.codes.len() == self.dims);
        let Some(slot) = slot else { return false };
        let n_chunks = (slot / CHUNK + 1).max(self.chunks.len());
        if !self.make_room(n_chunks) {
            return false;
        }
        while self.chunks.len() < n_chunks {
            self.chunks.push(Arc::new(Chunk::empty(self.dims, self.is_coded)));
        }
        if let Some(chunk) = self.chunks.get_mut(slot / CHUNK) {
            Arc::make_mut(chunk).put(slot % CHUNK, memory, code);
        }
        true
    }

    pub(super) fn remove(&mut self, id: i64) {
        let Ok(slot) = usize::try_from(id) else { return };
        if let Some(chunk) = self.chunks.get_mut(slot / CHUNK) {
            Arc::make_mut(chunk).remove(slot % CHUNK);
        }
    }

    /// Whether so many chunks may be there, if need be without codes.
    fn make_room(&mut self, n_chunks: usize) -> bool {
        let has_room = |is_coded| {
            n_chunks.saturating_mul(Chunk::bytes(self.dims, is_coded)) <= self.limits.bytes
        };
        if self.is_coded && !has_room(true) {
            if !has_room(false) {
                return false;
            }
            self.is_coded = false;
            for chunk in &mut self.chunks {
                let Chunk { memories, signs, .. } = chunk.as_ref();
                let (memories, signs) = (memories.clone(), signs.clone());
                *chunk = Arc::new(Chunk { memories, signs, coded: None });
            }
        }
        has_room(self.is_coded)
    }

    /// About the `n` vectors that are nearest to the query, of the memories that pass; all of them if there are
    /// fewer.
    pub(super) fn nearest(
        self: &Arc<Self>,
        sought: &Arc<Sought>,
        n: usize,
        passing: Option<&Keys>,
        assistant: Option<&Assistant>,
    ) -> Proposals {
        let n_ranked = passing.map_or(self.len(), Keys::len);
        if !self.is_coded {
            let n_chosen = CHOSEN_MIN_BARE.max(n.saturating_mul(CHOSEN_EACH_BARE));
            let chosen = self.by_signs(sought, n_chosen, passing, assistant);
            let is_all = chosen.len() < n_chosen;
            let proposals = chosen.into_iter().map(|slot| (f32::INFINITY, id(slot))).collect();
            return Proposals { by_bound: proposals, is_all, is_exact: false };
        }
        let mut best = Best::new(n);
        if n_ranked > self.limits.signs_above {
            let n_chosen = CHOSEN_MIN.max(n.saturating_mul(CHOSEN_EACH)).max(n_ranked / CHOSEN_OF);
            let chosen = self.by_signs(sought, n_chosen, passing, assistant);
            let is_all = chosen.len() <= n && chosen.len() < n_chosen;
            self.offer_each(sought, &chosen, &mut best);
            return Proposals { by_bound: sorted(best), is_all, is_exact: false };
        }
        match passing {
            None => self.offer_shared(sought, n, assistant, &mut best),
            Some(keys) => {
                let slots: Vec<usize> = self.slots_of(keys).collect();
                self.offer_each(sought, &slots, &mut best);
            }
        }
        let by_bound = sorted(best);
        let is_all = by_bound.len() < n;
        Proposals { by_bound, is_all, is_exact: true }
    }

    /// The memory, the codes and the signs of each id.
    #[cfg(test)]
    pub(super) fn contents(&self) -> std::collections::BTreeMap<i64, (i64, Vec<i8>, Vec<u64>)> {
        let (n_words, mut contents) = (self.dims.div_ceil(64), std::collections::BTreeMap::new());
        for slot in 0..self.len() {
            let (chunk, place) = (&self.chunks[slot / CHUNK], slot % CHUNK);
            let codes =
                chunk.coded.as_ref().unwrap().codes[place * self.dims..][..self.dims].to_vec();
            let signs = chunk.signs[place * n_words..][..n_words].to_vec();
            if chunk.memories[place] != NOBODY {
                contents.insert(id(slot), (chunk.memories[place], codes, signs));
            }
        }
        contents
    }

    /// Offers every vector; of many, the assistant looks at some.
    fn offer_shared(
        self: &Arc<Self>,
        sought: &Arc<Sought>,
        n: usize,
        assistant: Option<&Assistant>,
        best: &mut Best<usize>,
    ) {
        let end = self.chunks.len();
        let Some(assistant) = assistant.filter(|_| self.len() > self.limits.shared_above) else {
            return self.offer_all(sought, 0..end, best);
        };
        let pieces = Arc::new(Pieces::of(end));
        let help = assistant.help({
            let (table, sought, pieces) =
                (Arc::clone(self), Arc::clone(sought), Arc::clone(&pieces));
            move || {
                let mut best = Best::new(n);
                table.offer_pieces(&sought, &pieces, &mut best);
                best
            }
        });
        let n_offered = self.offer_pieces(sought, &pieces, best);
        let Some(help) = help.filter(|_| n_offered < end) else { return };
        if let Ok(found) = help.recv() {
            for (bound, slot) in found.into_kept() {
                best.offer(bound, slot);
            }
        } else {
            // It broke down, and nobody knows at which piece. What was offered twice must not stand there twice.
            *best = Best::new(n);
            self.offer_all(sought, 0..end, best);
        }
    }

    /// Offers the vectors of those pieces that nobody else takes. Tells how many chunks these were.
    fn offer_pieces(&self, sought: &Sought, pieces: &Pieces, best: &mut Best<usize>) -> usize {
        let mut n_offered = 0;
        while let Some(chunks) = pieces.take() {
            n_offered += chunks.len();
            self.offer_all(sought, chunks, best);
        }
        n_offered
    }

    /// Offers every vector of these chunks.
    fn offer_all(&self, sought: &Sought, chunks: Range<usize>, best: &mut Best<usize>) {
        let (mut dots, mut bounds) = ([0; CHUNK], [0.0; CHUNK]);
        let first = chunks.start * CHUNK;
        let chunks = self.chunks.get(chunks).unwrap_or_default();
        for (first, chunk) in (first..).step_by(CHUNK).zip(chunks) {
            let Some(coded) = &chunk.coded else { continue };
            self.limits.kernel.dots(&coded.codes, &sought.query, &mut dots);
            let numbers = dots.iter().zip(&coded.scales).zip(&coded.errors);
            for (bound, ((dot, scale), error)) in bounds.iter_mut().zip(numbers) {
                *bound = bound_of(*dot, scale * sought.scale, error + sought.error);
            }
            offer(&bounds, best, |place| Some(first + place));
        }
    }

    /// Offers the vectors in these places, one by one.
    fn offer_each(&self, sought: &Sought, slots: &[usize], best: &mut Best<usize>) {
        for (n, slot) in slots.iter().enumerate() {
            // They lie apart: the processor would wait for each of them.
            if let Some((_, codes)) = slots.get(n + AHEAD).and_then(|slot| self.coded(*slot)) {
                Kernel::prefetch(codes);
            }
            let Some((coded, codes)) = self.coded(*slot) else { continue };
            let place = slot % CHUNK;
            if let (Some(scale), Some(error)) = (coded.scales.get(place), coded.errors.get(place)) {
                let mut dot = [0];
                self.limits.kernel.dots(codes, &sought.query, &mut dot);
                let [dot] = dot;
                best.offer(bound_of(dot, scale * sought.scale, error + sought.error), *slot);
            }
        }
    }

    fn coded(&self, slot: usize) -> Option<(&Coded, &[i8])> {
        let coded = self.chunks.get(slot / CHUNK)?.coded.as_ref()?;
        let start = slot % CHUNK * self.dims;
        Some((coded, coded.codes.get(start..start + self.dims)?))
    }

    /// The places whose memories are among `keys`.
    fn slots_of(&self, keys: &Keys) -> impl Iterator<Item = usize> {
        let memories = self.chunks.iter().flat_map(|chunk| &chunk.memories);
        memories.enumerate().filter(|(_, memory)| keys.contains(**memory)).map(|(slot, _)| slot)
    }

    /// In how many signs each vector differs from the query; [`NOT_OFFERED`] for those that don't pass. Without a
    /// filter the assistant looks at some of many.
    fn differences(
        self: &Arc<Self>,
        sought: &Arc<Sought>,
        passing: Option<&Keys>,
        assistant: Option<&Assistant>,
    ) -> Vec<u16> {
        let (mut all, end) = (vec![NOT_OFFERED; self.len()], self.chunks.len());
        let is_shared = passing.is_none() && self.len() > self.limits.shared_above;
        let Some(assistant) = assistant.filter(|_| is_shared) else {
            self.compare_signs(sought, passing, 0..end, &mut all);
            return all;
        };
        let pieces = Arc::new(Pieces::of(end));
        let help = assistant.help({
            let (table, sought, pieces) =
                (Arc::clone(self), Arc::clone(sought), Arc::clone(&pieces));
            move || {
                let mut some = Vec::new();
                while let Some(chunks) = pieces.take() {
                    let (first, mut these) =
                        (chunks.start * CHUNK, vec![NOT_OFFERED; chunks.len() * CHUNK]);
                    table.compare_signs(&sought, None, chunks, &mut these);
                    some.push((first, these));
                }
                some
            }
        });
        let mut n_compared = 0;
        while let Some(chunks) = pieces.take() {
            n_compared += chunks.len();
            if let Some(these) = all.get_mut(chunks.start * CHUNK..chunks.end * CHUNK) {
                self.compare_signs(sought, None, chunks, these);
            }
        }
        let Some(help) = help.filter(|_| n_compared < end) else { return all };
        match help.recv() {
            Ok(some) => {
                for (first, these) in some {
                    if let Some(place) = all.get_mut(first..first + these.len()) {
                        place.copy_from_slice(&these);
                    }
                }
            }
            // It broke down, and nobody knows at which piece.
            Err(_) => self.compare_signs(sought, None, 0..end, &mut all),
        }
        all
    }

    /// The same of these chunks, into `all`.
    fn compare_signs(
        &self,
        sought: &Sought,
        passing: Option<&Keys>,
        chunks: Range<usize>,
        all: &mut [u16],
    ) {
        let mut differences = [0; CHUNK];
        let chunks = self.chunks.get(chunks).unwrap_or_default();
        for (chunk, all) in chunks.iter().zip(all.chunks_mut(CHUNK)) {
            self.limits.kernel.differences(&chunk.signs, &sought.signs, &mut differences);
            for ((count, memory), one) in differences.iter().zip(&chunk.memories).zip(all) {
                let passes = passing.is_none_or(|keys| keys.contains(*memory));
                if *memory != NOBODY && passes {
                    *one = u16::try_from(*count).unwrap_or(NOT_OFFERED);
                }
            }
        }
    }

    /// The places of the `n` vectors that pass whose signs differ least from the query's, in the order of the
    /// places. There are few different numbers of signs, so they are counted instead of being put in order.
    fn by_signs(
        self: &Arc<Self>,
        sought: &Arc<Sought>,
        n: usize,
        passing: Option<&Keys>,
        assistant: Option<&Assistant>,
    ) -> Vec<usize> {
        let all = self.differences(sought, passing, assistant);
        // Several counters for each number: one that is raised again at once makes the processor wait.
        let mut counts = vec![[0; COUNTERS]; self.dims + 1];
        for some in all.as_chunks::<COUNTERS>().0 {
            for (nth, difference) in some.iter().enumerate() {
                let count = counts.get_mut(usize::from(*difference));
                if let Some(count) = count.and_then(|counters| counters.get_mut(nth)) {
                    *count += 1;
                }
            }
        }
        // All below `most` are chosen, and the first few of those that differ by as much.
        let (mut most, mut n_left) = (0_u16, n);
        for counters in &counts {
            let Some(fewer) = n_left.checked_sub(counters.iter().sum()) else { break };
            (most, n_left) = (most.saturating_add(1), fewer);
        }
        let mut slots = Vec::with_capacity(n.min(all.len()));
        for (first, group) in (0..).step_by(GROUP).zip(all.as_chunks::<GROUP>().0) {
            let least = group.iter().fold(NOT_OFFERED, |a, b| a.min(*b));
            if least > most || least == NOT_OFFERED {
                continue;
            }
            for (slot, difference) in (first..).zip(group) {
                let is_last = *difference == most && n_left > 0;
                if (*difference < most || is_last) && *difference != NOT_OFFERED {
                    n_left -= usize::from(is_last);
                    slots.push(slot);
                }
            }
        }
        slots
    }
}

#[expect(clippy::cast_precision_loss, reason = "the error has room for it")]
fn bound_of(dot: i32, scale: f32, error: f32) -> f32 {
    dot as f32 * scale + error
}

/// Offers those scores that could be among the best, if they stand for something.
fn offer(scores: &[f32; CHUNK], best: &mut Best<usize>, slot: impl Fn(usize) -> Option<usize>) {
    for (n, group) in scores.as_chunks::<GROUP>().0.iter().enumerate() {
        let largest = group.iter().fold(f32::NEG_INFINITY, |a, b| if *b > a { *b } else { a });
        if !best.wants(largest) {
            continue;
        }
        for (place, score) in (n * GROUP..).zip(group) {
            if best.wants(*score)
                && let Some(slot) = slot(place)
            {
                best.offer(*score, slot);
            }
        }
    }
}

fn sorted(best: Best<usize>) -> Vec<(f32, i64)> {
    best.into_sorted().into_iter().map(|(bound, slot)| (bound, id(slot))).collect()
}

fn id(slot: usize) -> i64 {
    i64::try_from(slot).unwrap_or(i64::MAX)
}
