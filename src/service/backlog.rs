//! How far the vectors lag behind the writes, so that a search can wait for a few of them.

use super::{FRESHNESS_PENDING, FRESHNESS_WAIT};
use crate::clock::SharedClock;
use tokio::sync::{Notify, watch};

/// Counts writes that may need a vector and those that are known to have theirs.
#[derive(Debug)]
pub struct Backlog {
    level: watch::Sender<Level>,
    wake: Notify,
}

#[derive(Debug, Clone, Copy, Default)]
struct Level {
    raised: u64,
    settled: u64,
}

impl Default for Backlog {
    fn default() -> Self {
        Self { level: watch::Sender::new(Level::default()), wake: Notify::new() }
    }
}

impl Backlog {
    /// A write was acknowledged.
    pub(super) fn raise(&self) {
        self.level.send_modify(|level| level.raised += 1);
        self.wake.notify_one();
    }

    /// Completes when there may be something to embed.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The number of writes so far; whoever then finds nothing pending may settle up to it.
    pub(super) fn raised(&self) -> u64 {
        self.level.borrow().raised
    }

    /// Everything up to the `raised`th write has its vector.
    pub(super) fn settle(&self, raised: u64) {
        self.level.send_modify(|level| level.settled = level.settled.max(raised));
    }

    /// Waits for the vectors of the writes so far, if they are few, and not for long.
    pub(super) async fn wait_for_fresh(&self, clock: &SharedClock) {
        let Level { raised, settled } = *self.level.borrow();
        if raised == settled || raised - settled > FRESHNESS_PENDING {
            return;
        }
        let mut receiver = self.level.subscribe();
        tokio::select! {
            // The sender lives as long as we do.
            _settled = receiver.wait_for(|level| level.settled >= raised) => {}
            () = clock.sleep(FRESHNESS_WAIT) => {}
        }
    }
}
