//! Power loss: the real store on a disk whose power fails in the middle of anything. What was acknowledged
//! is there afterwards, and every job is there as a whole or not at all.
//!
//! `MEMTIDE_SEED` replays one life, `MEMTIDE_SOAK` runs so many times as many.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a helper that fails is a test that fails"
)]

#[path = "support/disk/mod.rs"]
mod disk;

#[path = "power/laptop.rs"]
mod laptop;
#[path = "power/ledger.rs"]
mod ledger;
#[path = "power/sound.rs"]
mod sound;
#[path = "power/work.rs"]
mod work;

#[path = "power/course.rs"]
mod course;

#[path = "power/lives.rs"]
mod lives;
#[path = "power/space.rs"]
mod space;
#[path = "power/steps.rs"]
mod steps;
#[path = "power/syncs.rs"]
mod syncs;
