//! The own request budget. Cloudflare blocks a whole user for five minutes at 1,200 calls in five
//! minutes and its headers don't tell in time, so memtide counts by itself and stays at half.

use crate::clock::Micros;
use std::collections::VecDeque;
use std::time::Duration;

/// Requests that are allowed in one [`WINDOW`] unless configured otherwise.
pub const REQUESTS: usize = 600;
/// The length of the sliding window.
pub const WINDOW: Duration = Duration::from_mins(5);
/// Requests that may be under way at the same time.
pub const IN_FLIGHT: usize = 6;

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lane {
    /// A change that was just made, or a person who waits.
    #[default]
    Live,
    /// The upload of what was there before.
    Backfill,
}

/// When the last requests were sent.
#[derive(Debug, Clone)]
pub struct Budget {
    sent: VecDeque<Micros>,
    allowed: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(REQUESTS)
    }
}

impl Budget {
    /// A budget of `allowed` requests in one [`WINDOW`].
    pub fn new(allowed: usize) -> Self {
        Self { sent: VecDeque::new(), allowed }
    }

    /// Remembers `sent`, the instants that [`Budget::sent_at`] gave before a restart.
    pub fn restore(&mut self, mut sent: Vec<Micros>) {
        sent.sort_unstable();
        let excess = sent.len().saturating_sub(self.allowed);
        self.sent = sent.into_iter().skip(excess).collect();
    }

    /// Requests that are allowed in one [`WINDOW`].
    pub fn allowed(&self) -> usize {
        self.allowed
    }

    /// Of those, the ones that the backfill may send: a fifth is kept for live changes.
    pub fn allowed_for_backfill(&self) -> usize {
        self.allowed - self.allowed.div_ceil(5)
    }

    /// The instants of the requests that still count, oldest first.
    pub fn sent_at(&self) -> Vec<Micros> {
        self.sent.iter().copied().collect()
    }

    /// Requests that count at `now`.
    pub fn used(&mut self, now: Micros) -> usize {
        self.forget(now);
        self.sent.len()
    }

    /// Takes one request out of the budget.
    ///
    /// # Errors
    /// How long to wait until `lane` may send its next one.
    pub fn reserve(&mut self, now: Micros, lane: Lane) -> Result<(), Duration> {
        if let Some(wait) = self.wait(now, lane) {
            return Err(wait);
        }
        self.sent.push_back(now);
        Ok(())
    }

    /// How long `lane` must wait until it may send its next request; `None` if it need not.
    pub fn wait(&mut self, now: Micros, lane: Lane) -> Option<Duration> {
        self.forget(now);
        let allowed = match lane {
            Lane::Live => self.allowed,
            Lane::Backfill => self.allowed_for_backfill(),
        };
        // The request that must leave the window before the next one may enter.
        let blocking = self.sent.len().checked_sub(allowed).and_then(|n| self.sent.get(n));
        blocking.map(|sent| sent.plus(WINDOW).since(now))
    }

    fn forget(&mut self, now: Micros) {
        while self.sent.front().is_some_and(|sent| now.since(*sent) >= WINDOW) {
            self.sent.pop_front();
        }
        // A clock that was set back would else keep old requests for as long as it lags behind.
        for sent in self.sent.iter_mut().rev().take_while(|sent| **sent > now) {
            *sent = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Micros {
        Micros(seconds * 1_000_000)
    }

    fn spend(budget: &mut Budget, now: Micros, lane: Lane) -> usize {
        (0..10_000).take_while(|_| budget.reserve(now, lane).is_ok()).count()
    }

    #[test]
    fn a_smaller_budget_keeps_a_fifth_for_live_changes() {
        let mut budget = Budget::new(10);
        assert_eq!(spend(&mut budget, at(0), Lane::Backfill), 8);
        assert_eq!(spend(&mut budget, at(0), Lane::Live), 2);
        budget.restore((0..20).map(at).collect());
        assert_eq!(budget.used(at(20)), 10, "no more are remembered than are allowed");
    }

    #[test]
    fn the_window_slides() {
        let mut budget = Budget::default();
        assert_eq!(spend(&mut budget, at(0), Lane::Live), REQUESTS);
        assert_eq!(budget.reserve(at(100), Lane::Live), Err(Duration::from_secs(200)));
        assert_eq!(budget.used(at(299)), REQUESTS);
        assert_eq!(budget.reserve(at(300), Lane::Live), Ok(()));
        assert_eq!(budget.used(at(300)), 1);
    }

    #[test]
    fn no_five_minutes_ever_hold_more_than_the_limit() {
        let mut budget = Budget::default();
        let mut sent = Vec::new();
        for step in 0..4000 {
            let now = Micros(step * 400_000);
            if budget.reserve(now, Lane::Live).is_ok() {
                sent.push(now);
            }
        }
        let most = sent
            .iter()
            .map(|start| sent.iter().filter(|t| **t >= *start && t.since(*start) < WINDOW).count())
            .max();
        assert_eq!(most, Some(REQUESTS));
    }

    #[test]
    fn the_backfill_leaves_a_fifth_to_live_changes() {
        let mut budget = Budget::default();
        assert_eq!(spend(&mut budget, at(0), Lane::Backfill), 480);
        assert_eq!(spend(&mut budget, at(1), Lane::Live), 120);
        assert_eq!(budget.reserve(at(2), Lane::Backfill), Err(Duration::from_secs(298)));
        assert_eq!(budget.reserve(at(2), Lane::Live), Err(Duration::from_secs(298)));
    }

    #[test]
    fn a_restart_remembers_and_a_clock_set_back_does_not_block_for_ever() {
        let mut budget = Budget::default();
        spend(&mut budget, at(1000), Lane::Live);
        let mut restored = Budget::default();
        restored.restore(budget.sent_at());
        assert!(restored.reserve(at(1001), Lane::Live).is_err());
        assert_eq!(restored.reserve(at(10), Lane::Live), Err(WINDOW));
        assert_eq!(restored.reserve(at(310), Lane::Live), Ok(()));
    }
}
