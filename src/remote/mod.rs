//! The owner's Cloudflare account, seen from here: D1, Vectorize, R2 and Workers AI over their REST
//! interface.
//!
//! What it is: one [`cloudflare::Cloudflare`] handle through which every request goes. It keeps the
//! request budget, sets the deadline, and turns whatever comes back into a value or into one
//! [`error::RemoteError`] whose disposition answers "what now?". Above it lie one thin client a
//! product, and the pure parts: the database's schema, the batch that pushes memories, the rows that
//! go to the vector index.
//!
//! What it is not: it never retries. An answer that was lost is somebody else's to ask for again, so
//! every write here can be repeated without harm: rows are guarded by a compare-and-swap, objects by
//! their key, vectors by their id.
//!
//! Invariants: the token leaves through one header only and is in no error; message text is looked
//! at in one table only ([`d1_text`]), as D1 says everything else with one code.

pub mod classify;
pub mod d1_text;
pub mod envelope;
pub mod error;
pub mod hint;

pub mod budget;
pub mod cloudflare;
pub mod http;
pub mod transport;
pub mod usage;

pub mod account;
pub mod ai;
pub mod d1;
pub mod r2;
pub mod vector_row;
pub mod vectorize;

pub mod contract;
pub mod digest;
pub mod feed;
pub mod meta;
pub mod permissions;
pub mod poll;
pub mod provision;
pub mod push;
pub mod schema;

#[cfg(test)]
mod testing;
