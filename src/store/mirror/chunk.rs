//! The vectors of a number of ids in a row: the unit in which the writer copies.

use super::code::Code;

/// Vectors of one chunk.
pub(super) const CHUNK: usize = 1024;
/// The memory of a place without a vector.
pub(super) const NOBODY: i64 = i64::MIN;

/// The vectors of [`CHUNK`] ids in a row.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    /// Whose vector it is.
    pub(super) memories: Vec<i64>,
    /// One bit a component.
    pub(super) signs: Vec<u64>,
    /// One byte a component; `None` where there is no room for that.
    pub(super) coded: Option<Coded>,
}

/// Vectors as codes.
#[derive(Debug, Clone)]
pub(super) struct Coded {
    /// What a code of 1 stands for.
    pub(super) scales: Vec<f32>,
    /// How far a product may be from the truth; so far below where there is no vector that nothing is.
    pub(super) errors: Vec<f32>,
    pub(super) codes: Vec<i8>,
}

impl Chunk {
    pub(super) fn empty(dims: usize, is_coded: bool) -> Self {
        let coded = is_coded.then(|| Coded {
            scales: vec![0.0; CHUNK],
            errors: vec![f32::NEG_INFINITY; CHUNK],
            codes: vec![0; CHUNK * dims],
        });
        Self { memories: vec![NOBODY; CHUNK], signs: vec![0; CHUNK * words(dims)], coded }
    }

    /// Bytes of one chunk.
    pub(super) fn bytes(dims: usize, is_coded: bool) -> usize {
        let coded = if is_coded { 2 * size_of::<f32>() + dims } else { 0 };
        CHUNK.saturating_mul(size_of::<i64>() + words(dims) * size_of::<u64>() + coded)
    }

    pub(super) fn put(&mut self, place: usize, memory: i64, code: &Code) {
        let (dims, n_words) = (code.codes.len(), code.signs.len());
        let signs = self.signs.get_mut(place * n_words..(place + 1) * n_words);
        if let (Some(owner), Some(signs)) = (self.memories.get_mut(place), signs) {
            *owner = memory;
            signs.copy_from_slice(&code.signs);
        }
        let Some(coded) = &mut self.coded else { return };
        let codes = coded.codes.get_mut(place * dims..(place + 1) * dims);
        let numbers = (coded.scales.get_mut(place), coded.errors.get_mut(place));
        if let (Some(codes), (Some(scale), Some(error))) = (codes, numbers) {
            codes.copy_from_slice(&code.codes);
            (*scale, *error) = (code.scale, code.error);
        }
    }

    pub(super) fn remove(&mut self, place: usize) {
        if let Some(owner) = self.memories.get_mut(place) {
            *owner = NOBODY;
        }
        if let Some(coded) = &mut self.coded
            && let (Some(scale), Some(error)) =
                (coded.scales.get_mut(place), coded.errors.get_mut(place))
        {
            (*scale, *error) = (0.0, f32::NEG_INFINITY);
        }
    }
}

/// Words for one bit a component.
fn words(dims: usize) -> usize {
    dims.div_ceil(u64::BITS as usize)
}
