//! The benchmarks: what memtide promises about speed and size, measured on a real daemon process over
//! its socket, on generated text, next to a yardstick of the same run where there is one; and how well it
//! finds what is asked for, on text written by hand.
//!
//! It knows nothing that a user could not do as well: it starts the program, speaks to its socket and
//! reads what the system tells about its processes. Only the filling of a database goes past the
//! daemon, through the store itself, since a hundred thousand texts would take the model minutes.

pub mod plot;
pub mod report;
pub mod rig;

pub mod against;
pub mod clients;
#[cfg(feature = "emulator")]
pub mod converge;
pub mod instructions;
pub mod migrate;
pub mod retrieval;
pub mod search;
pub mod startup;
pub mod store;
#[cfg(feature = "emulator")]
pub mod sync;

mod bare;
mod durability;
pub mod fill;
mod front;
mod growth;
mod process;
pub mod python_database;
mod readiness;
mod spread;
mod stopwatch;
pub mod text;
mod words;
