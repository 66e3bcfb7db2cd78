//! Asking all sides in turns: so that whatever else the machine does meanwhile meets each of them.

use super::exact::Truth;
use super::vectors::Vectors;
use super::{Answer, Shape, Side};
use crate::bench::report::Report;
use crate::bench::spread::Spread;
use std::time::Duration;

/// Turns that each shape has.
const TURNS: usize = 10;
/// Queries of a turn that warm caches.
const WARM_UP: usize = 2;
/// Queries of a turn at least, however long they take.
const ASKED_MIN: usize = 3;
/// How long all turns of one shape may take together.
const PATIENCE: Duration = Duration::from_secs(8);

/// What came of one shape.
#[derive(Debug, Clone)]
pub struct Measured {
    /// Which.
    pub shape: Shape,
    /// How long the queries took.
    pub times: Vec<Duration>,
    /// Rows that were found of those that had to be.
    pub n_found: usize,
    /// Rows that had to be found.
    pub n_expected: usize,
    /// Rows that an answer lacks, whatever the others are.
    pub n_lacking: usize,
}

impl Measured {
    fn of(shape: Shape) -> Self {
        Self { shape, times: Vec::new(), n_found: 0, n_expected: 0, n_lacking: 0 }
    }

    /// The share of the rows that was found.
    #[expect(clippy::cast_precision_loss, reason = "some thousand rows")]
    pub fn recall(&self) -> f64 {
        self.n_found as f64 / self.n_expected.max(1) as f64
    }

    /// Milliseconds at the median.
    pub fn p50_ms(&self) -> f64 {
        Spread::of(&self.times).p50_ms
    }

    fn count(&mut self, vectors: &Vectors, truth: &Truth, query: usize, answer: &Answer) {
        self.times.push(answer.took);
        if self.shape.answers {
            let n_expected = truth.n_expected(self.shape.case, query);
            self.n_expected += n_expected;
            self.n_found += truth.n_found(vectors, self.shape.case, query, &answer.rows);
            self.n_lacking += n_expected.saturating_sub(answer.rows.len());
        }
    }

    /// Puts it into the report.
    pub fn tell(&self, report: &mut Report, n: usize, dims: usize) {
        let what = format!("{}, {dims}", self.shape.name);
        report.timing(&what, Some(n), &self.times, None);
    }
}

/// Asks each shape of each side, `samples` times at most.
///
/// # Errors
/// A side can't answer.
pub fn all(
    sides: &mut [Box<dyn Side>],
    vectors: &Vectors,
    truth: &Truth,
    samples: usize,
) -> anyhow::Result<Vec<Measured>> {
    let mut measured: Vec<Measured> =
        sides.iter().flat_map(|side| side.shapes()).map(|shape| Measured::of(*shape)).collect();
    let n_queries = vectors.queries.len().max(1);
    for turn in 0..TURNS {
        let mut into = measured.iter_mut();
        for side in sides.iter_mut() {
            for (shape, measured) in side.shapes().iter().zip(into.by_ref()) {
                let first = turn * n_queries / TURNS;
                let warm: Vec<usize> = (0..WARM_UP).map(|n| (first + n) % n_queries).collect();
                let took = side.ask(shape, &warm)?.iter().map(|answer| answer.took).max();
                let n = n_asked(samples, took.unwrap_or_default());
                let queries: Vec<usize> = (first..first + n).map(|n| n % n_queries).collect();
                for (query, answer) in queries.iter().zip(side.ask(shape, &queries)?) {
                    measured.count(vectors, truth, *query, &answer);
                }
            }
        }
    }
    Ok(measured)
}

/// How many queries a turn has if one takes so long.
fn n_asked(samples: usize, took: Duration) -> usize {
    let turns = u32::try_from(TURNS).unwrap_or(1);
    let n = (PATIENCE / turns).as_nanos() / took.as_nanos().max(1);
    usize::try_from(n).unwrap_or(usize::MAX).min(samples.div_ceil(TURNS)).max(ASKED_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_asked_less_often() {
        assert_eq!(n_asked(500, Duration::from_micros(100)), 50);
        assert_eq!(n_asked(500, Duration::from_millis(32)), 25);
        assert_eq!(n_asked(500, Duration::from_secs(9)), ASKED_MIN);
        assert_eq!(n_asked(1, Duration::ZERO), ASKED_MIN);
    }
}
