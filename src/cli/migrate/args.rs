//! What can be typed after `memtide migrate`.

use clap::Subcommand;
use std::path::PathBuf;

/// `migrate`.
#[derive(Debug, Clone, Subcommand)]
pub enum Migrate {
    /// Tell what a database of mcp-memory-service holds; changes nothing
    Inspect(Inspect),
    /// Take over all memories of such a database; repeating it takes over what is new
    Import(Import),
    /// Take over what is missing, then every change as it comes, until `finish`
    Follow(Follow),
    /// Tell how far the move has come
    Status(JsonOnly),
    /// Compare every memory with what is here, and with the cloud if one is linked; changes nothing
    Verify(Verify),
    /// End the move: nothing of the database is taken over any more
    Finish(Finish),
}

/// `migrate import`.
#[derive(Debug, Clone, clap::Args)]
pub struct Import {
    /// The database (default: where the service keeps it)
    pub path: Option<PathBuf>,
    /// Only tell what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `migrate follow`.
#[derive(Debug, Clone, clap::Args)]
pub struct Follow {
    /// The database (default: that of the last import, else where the service keeps it)
    pub path: Option<PathBuf>,
    /// Delete even many memories that are gone from a database which keeps no deletions
    #[arg(long)]
    pub accept_deletions: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `migrate verify`.
#[derive(Debug, Clone, clap::Args)]
pub struct Verify {
    /// The database (default: that of the last import, else where the service keeps it)
    pub path: Option<PathBuf>,
    /// Ask both sides the queries of this file, one a line, and compare what they find
    #[arg(long, value_name = "FILE")]
    pub queries: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `migrate finish`.
#[derive(Debug, Clone, clap::Args)]
pub struct Finish {
    /// Even if not all of the database is here
    #[arg(long)]
    pub force: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `--json` alone.
#[derive(Debug, Clone, clap::Args)]
pub struct JsonOnly {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
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
