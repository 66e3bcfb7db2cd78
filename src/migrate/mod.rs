//! Moving in from the Python service: what its local database holds, read without a trace.
//!
//! The database belongs to a program that may be running. It is opened for reading only, with its log of
//! recent writes, and never as `immutable`, which would overlook them; no statement of memtide can change a
//! byte of it. Columns are addressed by name only: their order differs between databases, and most of them
//! may be missing. Its keyword index is never believed, its vectors only after they were compared.
//!
//! Only a live log needs company: SQLite keeps the files `-wal` and `-shm` beside a database in that mode
//! while anybody has it open, and creates them, empty, if nobody had.

pub mod compare;
pub mod edge;
pub mod feed;
pub mod inspect;
pub mod job;
pub mod keyword;
pub mod layout;
pub mod locate;
pub mod prints;
pub mod pseudo;
pub mod queries;
pub mod report;
pub mod row;
pub mod source;
pub mod vectors;
pub mod verify;

mod chunks;
mod follow;
mod graph;
mod import;
mod known;
mod left_out;
mod look;
mod moved;
