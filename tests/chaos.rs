//! The real daemon behind a network that fails by a seed, killed at random while clients write: what was
//! acknowledged reaches the account, once and whole, and what the account asks for is respected. Judged
//! from the account's tables and the local database, not from messages.
//!
//! `MEMTIDE_SEED=n` runs one seed, `MEMTIDE_SOAK=n` runs n times as many.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what isn't as expected fails the test"
)]

#[path = "support/chaos.rs"]
mod chaos;
#[expect(dead_code, reason = "other tests use the rest")]
#[path = "support/daemon.rs"]
mod home;
#[path = "support/load.rs"]
mod load;

#[path = "chaos/device.rs"]
mod device;
#[path = "chaos/judge.rs"]
mod judge;
#[path = "chaos/manners.rs"]
mod manners;
#[path = "chaos/seeds.rs"]
mod seeds;

#[path = "chaos/alone.rs"]
mod alone;
#[path = "chaos/devices.rs"]
mod devices;
#[path = "chaos/kills.rs"]
mod kills;
#[path = "chaos/linking.rs"]
mod linking;
#[path = "chaos/patience.rs"]
mod patience;
