//! memtide: a local-first memory for AI agents.

pub mod backoff;
pub mod clock;
pub mod model;
pub mod shutdown;

pub mod config;
pub mod embed;
pub mod remote;
pub mod secrets;
pub mod store;

pub mod replicate;
pub mod service;

pub mod api;
pub mod mcp;

pub mod bench;
pub mod cli;
pub mod daemon;
#[cfg(feature = "emulator")]
pub mod emulator;
