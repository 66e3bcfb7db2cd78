//! The local door: HTTP/1.1 over the Unix socket, its wire types, its server and its client.
//!
//! The wire types are mirrors: neither the model nor the store is serialised directly, so the protocol
//! changes only when this module does. [`PROTOCOL`] is its number; clients compare it.

pub mod audit;
pub mod backup;
pub mod client;
pub mod cloud;
pub mod doors;
pub mod error;
pub mod graph;
pub mod listen;
pub mod migrate;
pub mod oldest;
pub mod percent;
pub mod routes;
pub mod server;
pub mod status;
pub mod transfer;
pub mod verify;
pub mod wire;

mod body;
mod events;
mod query;

/// Number of the protocol; raised when an old client could misread an answer.
pub const PROTOCOL: u32 = 1;
