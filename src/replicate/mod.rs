//! The replicator: carries every duty of the outbox to the owner's account.

pub mod progress;
