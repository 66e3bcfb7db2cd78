//! What the commands print, word for word, when they do what they were asked: the real program against
//! a real daemon, in a home of its own.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "what isn't as expected fails the test"
)]

#[expect(dead_code, reason = "other tests use the rest")]
#[path = "support/daemon.rs"]
mod home;

#[path = "cli/audit.rs"]
mod audit;
#[path = "cli/backup.rs"]
mod backup;
#[path = "cli/cloud.rs"]
mod cloud;
#[path = "cli/exchange.rs"]
mod exchange;
#[path = "cli/memories.rs"]
mod memories;
#[path = "cli/settings.rs"]
mod settings;
