//! What becomes of a duty after it was tried: one total function.

use crate::backoff::Policy;
use crate::clock::Micros;
use crate::remote::error::{Disposition, RemoteError};
use crate::store::outbox::Setback;
use rand::Rng;

/// How a try ended.
#[derive(Debug, Clone, Copy)]
pub enum Outcome<'a> {
    /// The product took it, or held it already.
    Done,
    /// The request failed, or this entry was refused.
    Refused(&'a RemoteError),
    /// The cloud holds another state, which only a merge can resolve.
    Differs,
    /// The cloud didn't take it and gave no reason; it is tried again.
    NotTaken,
    /// It can't be sent at all.
    Unsendable,
}

/// What is recorded of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Move {
    /// The duty is done.
    Settle,
    /// The duty stays.
    SetBack(Setback),
}

/// Decides from the tries so far and how this one ended.
pub fn transition(attempts: u32, outcome: Outcome<'_>, now: Micros, rng: &mut impl Rng) -> Move {
    let mut later = || {
        let due_at = now.plus(Policy::OUTBOX.delay(attempts.saturating_add(1), rng));
        Setback::Defer { due_at, counts: true }
    };
    let setback = match outcome {
        Outcome::Done => return Move::Settle,
        Outcome::Differs => Setback::Conflict,
        Outcome::NotTaken => later(),
        Outcome::Unsendable => Setback::Park,
        Outcome::Refused(error) => match error.disposition {
            Disposition::Retry => later(),
            Disposition::RetryAfter(after) => {
                Setback::Defer { due_at: now.plus(after), counts: true }
            }
            // The gate says when; the entry is not at fault.
            Disposition::Pause(_) => Setback::Defer { due_at: now, counts: false },
            Disposition::Park => Setback::Park,
        },
    };
    Move::SetBack(setback)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::error::{Pause, Product};
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;
    use std::time::Duration;

    const NOW: Micros = Micros(1_700_000_000_000_000);

    fn after(disposition: Disposition) -> Move {
        let error = RemoteError::local(Product::D1, disposition, "x", "y");
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        transition(3, Outcome::Refused(&error), NOW, &mut rng)
    }

    #[test]
    fn the_table() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut of = |outcome| transition(0, outcome, NOW, &mut rng);
        assert_eq!(of(Outcome::Done), Move::Settle);
        assert_eq!(of(Outcome::Differs), Move::SetBack(Setback::Conflict));
        assert_eq!(of(Outcome::Unsendable), Move::SetBack(Setback::Park));
        assert_eq!(after(Disposition::Park), Move::SetBack(Setback::Park));
        let wait = Duration::from_secs(90);
        let due_at = NOW.plus(wait);
        let told = Move::SetBack(Setback::Defer { due_at, counts: true });
        assert_eq!(after(Disposition::RetryAfter(wait)), told);
    }

    #[test]
    fn pauses_burn_no_attempt_and_park_nothing() {
        let pauses = [
            Pause::Auth,
            Pause::Misconfigured,
            Pause::Quota { until: NOW },
            Pause::Throttled { after: None, every_product: true },
        ];
        for pause in pauses {
            let kept = Move::SetBack(Setback::Defer { due_at: NOW, counts: false });
            assert_eq!(after(Disposition::Pause(pause)), kept, "{pause:?}");
        }
    }

    #[test]
    fn failures_wait_within_the_policys_ceiling_and_by_the_seed() {
        let error = RemoteError::local(Product::D1, Disposition::Retry, "x", "y");
        let waits = |seed| -> Vec<Duration> {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let one = |attempts| match transition(attempts, Outcome::Refused(&error), NOW, &mut rng)
            {
                Move::SetBack(Setback::Defer { due_at, counts: true }) => due_at.since(NOW),
                other => panic!("{other:?}"),
            };
            (0..12).map(one).collect()
        };
        for (attempts, wait) in (0..12).zip(waits(1)) {
            assert!(wait <= Policy::OUTBOX.ceiling(attempts + 1), "{attempts}: {wait:?}");
        }
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}
