//! What `memtide backup` takes.

use std::path::PathBuf;

/// `backup`.
#[derive(Debug, Clone, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Backup {
    /// What else to do.
    #[command(subcommand)]
    pub command: Option<BackupCommand>,
    /// The copy to be made.
    #[command(flatten)]
    pub make: BackupMake,
}

/// What there is to do beside making one.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum BackupCommand {
    /// List the backups, newest first
    List(BackupList),
    /// Put a backup in the place of the database, which is moved aside
    Restore(BackupRestore),
}

/// `backup`.
#[derive(Debug, Clone, clap::Args)]
pub struct BackupMake {
    /// The file; `backups/memtide-<time>.db` in the data folder if not given
    pub file: Option<PathBuf>,
    /// Write over the file if it is there
    #[arg(long, requires = "file")]
    pub force: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `backup list`.
#[derive(Debug, Clone, clap::Args)]
pub struct BackupList {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// `backup restore`.
#[derive(Debug, Clone, clap::Args)]
pub struct BackupRestore {
    /// The backup: a file, or a name that `backup list` shows
    pub file: PathBuf,
    /// Don't ask
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}
