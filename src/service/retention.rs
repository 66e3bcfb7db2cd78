//! Once a day the texts of long deleted memories are dropped.

use crate::clock::{Micros, SharedClock};
use crate::shutdown::{Phase, Shutdown};
use crate::store::error::StoreError;
use crate::store::{Store, Write, retention};
use std::time::Duration;

/// How often.
const EVERY: Duration = Duration::from_hours(24);
/// Memories in one write, so that nobody waits for it.
const PORTION: usize = 200;

/// Drops the texts and the history of every memory that was deleted longer than `keep_for` ago. Returns
/// how many there were.
///
/// # Errors
/// The store refused; what was dropped before stays so.
pub async fn pass(store: &Store, now: Micros, keep_for: Duration) -> Result<usize, StoreError> {
    let deleted_before = Micros(now.0.saturating_sub(Micros(0).plus(keep_for).0));
    let mut n_dropped = 0;
    loop {
        let write =
            move |write: &mut Write<'_>| retention::drop_texts(write, deleted_before, PORTION);
        let n = store.write(write).await?;
        n_dropped += n;
        if n < PORTION {
            return Ok(n_dropped);
        }
    }
}

/// Repeats [`pass`] until draining begins.
pub async fn run(store: Store, clock: SharedClock, keep_for: Duration, shutdown: Shutdown) {
    loop {
        match pass(&store, clock.now(), keep_for).await {
            Ok(0) => {}
            Ok(memories) => {
                tracing::info!(memories, "the texts of long deleted memories were dropped");
            }
            Err(StoreError::Closed) => return,
            Err(error) => {
                tracing::warn!(%error, "the texts of long deleted memories were not dropped");
            }
        }
        tokio::select! {
            biased;
            () = shutdown.reached(Phase::Draining) => return,
            () = clock.sleep(EVERY) => {}
        }
    }
}
