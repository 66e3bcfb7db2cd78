//! What `memtide import` takes.

use super::format::Format;
use clap::ValueEnum;
use std::path::PathBuf;

/// `import`.
#[derive(Debug, Clone, clap::Args)]
pub struct Import {
    /// The file, or a folder of Markdown files; `-` reads standard input
    pub file: PathBuf,
    /// What it is
    #[arg(long, value_enum, default_value_t = Wanted::Auto)]
    pub format: Wanted,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What the file is said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Wanted {
    /// Tell by the content
    Auto,
    /// What `memtide export` wrote
    Memtide,
    /// The JSON of the Python service's own export
    McpMemoryService,
    /// Markdown files with front matter
    Markdown,
    /// The file of the official MCP memory server
    McpMemoryServer,
}

impl Wanted {
    /// The format that was named.
    pub fn format(self) -> Option<Format> {
        match self {
            Self::Auto => None,
            Self::Memtide => Some(Format::Memtide),
            Self::McpMemoryService => Some(Format::Service),
            Self::Markdown => Some(Format::Markdown),
            Self::McpMemoryServer => Some(Format::Graph),
        }
    }
}
