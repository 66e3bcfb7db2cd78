//! The machine's limit: how long one thread takes to read, from memory, the bytes that a scan of all codes reads.

use super::{Answer, Case, Shape, Side};
use crate::bench::stopwatch::Stopwatch;
use std::hint::black_box;

/// Its name in the report.
pub const READ: &str = "reading the codes, nothing else";

const SHAPES: &[Shape] = &[Shape { name: READ, case: Case::All, answers: false }];
/// Words that are summed up side by side: enough that no addition waits for another.
const LANES: usize = 64;

/// As many bytes as the codes have.
pub struct Bandwidth {
    words: Vec<u64>,
}

impl Bandwidth {
    /// One byte for each component of `n` vectors.
    pub fn new(n: usize, dims: usize) -> Self {
        let n_words = u64::try_from(n * dims / size_of::<u64>()).unwrap_or(0);
        // Written, so that every page is there.
        Self { words: (0..n_words).collect() }
    }

    fn sum(&self) -> u64 {
        let (groups, rest) = self.words.as_chunks::<LANES>();
        let mut sums = [0_u64; LANES];
        for group in groups {
            for (sum, word) in sums.iter_mut().zip(group) {
                *sum = sum.wrapping_add(*word);
            }
        }
        sums.iter().chain(rest).fold(0, |sum, word| sum.wrapping_add(*word))
    }
}

impl Side for Bandwidth {
    fn shapes(&self) -> &'static [Shape] {
        SHAPES
    }

    fn ask(&mut self, _: &Shape, queries: &[usize]) -> anyhow::Result<Vec<Answer>> {
        let read = |_: &usize| {
            let watch = Stopwatch::start();
            black_box(black_box(&*self).sum());
            Answer { rows: Vec::new(), took: watch.elapsed() }
        };
        Ok(queries.iter().map(read).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_read() {
        let limit = Bandwidth::new(100, 24);
        assert_eq!(limit.words.len() * 8, 2400);
        assert_eq!(limit.sum(), (0..300).sum::<u64>());
        assert_eq!(Bandwidth::new(0, 24).sum(), 0);
    }
}
