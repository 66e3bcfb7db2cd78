//! `status --json` in every state of replication, as snapshots. Each state is reached: the real daemon in
//! front of an emulated account that fails in the way in question. There is no model in these homes, so
//! `embedder_missing` is among the problems of each, and vectors are waited for.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what isn't as expected fails the test"
)]

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "support/daemon.rs"]
mod home;

#[path = "states/device.rs"]
mod device;
#[path = "states/masked.rs"]
mod masked;

#[path = "states/cloud.rs"]
mod cloud;
#[path = "states/entries.rs"]
mod entries;
