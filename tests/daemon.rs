//! The running daemon and its command line: what they refuse and how they say it, what they live
//! through, and that nothing acknowledged is ever lost. All of it against the real program.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what isn't as expected fails the test"
)]

#[path = "support/daemon.rs"]
mod home;
#[path = "support/load.rs"]
mod load;
mod support;

#[path = "daemon/accepted.rs"]
mod accepted;
#[path = "daemon/connections.rs"]
mod connections;
#[path = "daemon/damage.rs"]
mod damage;
#[path = "daemon/full_disk.rs"]
mod full_disk;
#[path = "daemon/kill.rs"]
mod kill;
#[path = "daemon/life.rs"]
mod life;
#[path = "daemon/model.rs"]
mod model;
#[path = "daemon/places.rs"]
mod places;
#[path = "daemon/refused.rs"]
mod refused;
#[path = "daemon/typed.rs"]
mod typed;
