//! How long to wait before the next attempt: a pure function of the attempt, the policy and chance.

use rand::{Rng, RngExt as _};
use std::time::Duration;

/// Exponential growth with full jitter: the delay is drawn evenly between zero and the ceiling, so
/// that many entries that failed together don't come back together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Ceiling of the first delay.
    pub base: Duration,
    /// Ceiling of every delay.
    pub cap: Duration,
}

impl Policy {
    /// The one policy of the outbox: 1 s, doubling, at most 5 min.
    pub const OUTBOX: Self = Self { base: Duration::from_secs(1), cap: Duration::from_secs(300) };

    /// The longest delay that may precede attempt `attempt + 1`; attempts count from 1.
    pub fn ceiling(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(31);
        self.base.saturating_mul(1_u32 << doublings).min(self.cap)
    }

    /// The delay before attempt `attempt + 1`, drawn from `rng`.
    pub fn delay(&self, attempt: u32, rng: &mut impl Rng) -> Duration {
        self.ceiling(attempt).mul_f64(rng.random::<f64>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let seconds: Vec<u64> =
            [1, 2, 3, 9, 10, 4_000_000].map(|n| Policy::OUTBOX.ceiling(n).as_secs()).to_vec();
        assert_eq!(seconds, [1, 2, 4, 256, 300, 300]);
    }

    #[test]
    fn delays_fill_the_range_and_stay_inside_it() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let delays: Vec<Duration> = (0..1000).map(|_| Policy::OUTBOX.delay(4, &mut rng)).collect();
        assert!(delays.iter().all(|d| *d <= Duration::from_secs(8)));
        assert!(delays.iter().any(|d| *d < Duration::from_secs(1)), "no short delay was drawn");
        assert!(delays.iter().any(|d| *d > Duration::from_secs(7)), "no long delay was drawn");
    }
}
