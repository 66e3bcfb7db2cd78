//! The daemon: the only process that opens the database. It wires the parts, tells when it is ready and
//! takes them down in the written order:
//!
//! 1. new requests are refused, those in flight are answered;
//! 2. the replicator drops its request and the embedding pump ends (what they left undone is in the tables);
//! 3. the store finishes its jobs, checkpoints and closes;
//! 4. the socket is removed, the lock released.
//!
//! A second signal skips to step 3. None of it waits for the network.

pub mod database;
pub mod lock;
pub mod run;

mod aside;
mod background;
mod fetch;
mod resident;
mod socket;
