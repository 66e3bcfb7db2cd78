//! The embedder: turns text into unit vectors on threads of its own, with a model and a runtime
//! library that are fetched once, checked by hash, and mapped into memory.
//!
//! What it is not: it knows no store, no cloud and no configuration. Whoever holds an
//! [`embedder::Embedder`] asks for vectors and is told at once when there are none to be had; a
//! model that is missing, loading or broken is a state to be read, never a crash.
//!
//! Invariants: a vector is always handed out together with the space it belongs to; a file is
//! used only after its bytes had the pinned hash; nothing that a package brings is installed or
//! run, apart from the one shared library.

pub mod manifest;

pub mod graph;
pub mod onnx;
pub mod safetensors;

pub mod assets;
pub mod hub;
pub mod local;
pub mod packages;
pub mod part;
pub mod progress;
pub mod pull;
pub mod wheel;

pub mod engine;
pub mod runtime;
pub mod tokens;
pub mod windows;

mod backlog;
pub mod embedder;
pub mod query_cache;
pub mod status;
mod worker;

#[cfg(test)]
mod loopback;
