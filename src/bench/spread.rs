//! Many durations in five numbers.

use serde::Serialize;
use std::time::Duration;

/// Percentiles of durations, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// How many were measured.
    pub n: usize,
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// 95 of 100 took no longer.
    pub p95_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Spread {
    /// The spread of `durations`; all zero if there are none.
    pub fn of(durations: &[Duration]) -> Self {
        let mut sorted = durations.to_vec();
        sorted.sort_unstable();
        let at = |percent| millis(nearest_rank(&sorted, percent));
        Self { n: sorted.len(), p50_ms: at(50), p95_ms: at(95), p99_ms: at(99), max_ms: at(100) }
    }
}

/// The smallest of the sorted values that `percent` of 100 don't exceed.
fn nearest_rank(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

/// Milliseconds, to a tenth of a microsecond.
pub fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e7).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let durations: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        let spread = Spread::of(&durations);
        assert_eq!(
            (spread.n, spread.p50_ms, spread.p95_ms, spread.p99_ms, spread.max_ms),
            (200, 100.0, 190.0, 198.0, 200.0)
        );
    }

    #[test]
    fn one_value_is_every_percentile_and_none_is_zero() {
        let one = Spread::of(&[Duration::from_micros(1500)]);
        assert_eq!((one.n, one.p50_ms, one.p99_ms, one.max_ms), (1, 1.5, 1.5, 1.5));
        assert!(Spread::of(&[]).max_ms.abs() < f64::EPSILON);
    }
}
