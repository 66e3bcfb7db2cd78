//! What `memtide export` takes.

use clap::ValueEnum;
use std::path::PathBuf;

/// `export`.
#[derive(Debug, Clone, clap::Args)]
pub struct Export {
    /// The file; standard output if not given
    pub file: Option<PathBuf>,
    /// For whom
    #[arg(long, value_enum, default_value_t = Format::Memtide)]
    pub format: Format,
}

/// Who can read an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON lines of everything, for `memtide import`
    Memtide,
    /// The live memories as JSON, for the importer of the Python service
    McpMemoryService,
}
