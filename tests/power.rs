//! Power loss: placeholder while the disk is built.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "support/disk/mod.rs"]
mod disk;
