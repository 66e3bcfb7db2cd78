//! What can be typed after `memtide migrate`.

use clap::Subcommand;
use std::path::PathBuf;

/// `migrate`.
#[derive(Debug, Clone, Subcommand)]
pub enum Migrate {
    /// Tell what a database of mcp-memory-service holds; changes nothing
    Inspect(Inspect),
}

/// `migrate inspect`.
#[derive(Debug, Clone, clap::Args)]
pub struct Inspect {
    /// The database (default: where the service keeps it)
    pub path: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
