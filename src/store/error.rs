//! What can go wrong between memtide and its database file, classified where it enters.

use crate::model::refusal::Refusal;
use crate::model::state_text::BadState;
use std::path::PathBuf;

/// An error of the store. Whatever it was, nothing of the failed job was kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The input breaks a rule that only the stored data can tell.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No memory with this id, or none whose id starts so.
    #[error("there is no memory {0}")]
    NotFound(String),
    /// A prefix that several ids share.
    #[error("{prefix} is the start of {count} ids")]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// How many memories it fits.
        count: usize,
    },
    /// The version to restore does not exist.
    #[error("memory {id} has no version {version}")]
    NoVersion {
        /// Which memory.
        id: String,
        /// Which version was asked for.
        version: i64,
    },
    /// The deleted memory's content is no longer kept.
    #[error("the content of {0} is no longer kept")]
    ContentDropped(String),
    /// The store's inbox is full.
    #[error("the store has too many requests waiting")]
    Busy,
    /// A reader or another program holds the file, so that it can't be written just now.
    #[error("the database file is being read or is held by another program: nothing was stored")]
    Held,
    /// No space is left for the database.
    #[error("the disk is full: nothing was stored")]
    DiskFull,
    /// The file is damaged.
    #[error("the database file is damaged: {0}")]
    Corrupt(String),
    /// The file was written by a newer memtide.
    #[error("the database {path} has schema version {found}, this memtide knows up to {known}")]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version known.
        known: i64,
    },
    /// The file is no database of memtide.
    #[error("{0} is not a memtide database")]
    Foreign(PathBuf),
    /// The store is closing or its thread has died.
    #[error("the store is closed")]
    Closed,
    /// A stored state can't be read.
    #[error(transparent)]
    State(#[from] BadState),
    /// Input or output failed below SQLite.
    #[error("the database file can't be read or written: {0}")]
    Io(String),
    /// A job panicked.
    #[error("a defect of memtide stopped {0}")]
    Panicked(&'static str),
    /// Any other answer of SQLite: a fault of memtide.
    #[error("the database refused: {0}")]
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        // The tables are strict: a value of another type or out of range is not what was written.
        if matches!(
            error,
            rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
                | rusqlite::Error::Utf8Error(..)
        ) {
            return Self::Corrupt(error.to_string());
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt(error.to_string())
            }
            Some(
                ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied,
            ) => Self::Io(error.to_string()),
            // Only a closing store interrupts a read.
            Some(ErrorCode::OperationInterrupted) => Self::Closed,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Held,
            _ => Self::Sqlite(error),
        }
    }
}

impl StoreError {
    /// Whether the fault lies in the file or the disk, so that no later write can be trusted to work.
    pub fn is_storage_fault(&self) -> bool {
        matches!(self, Self::DiskFull | Self::Io(_) | Self::Closed) || self.is_damage()
    }

    /// Whether what is stored can't be read as it was written.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Corrupt(_) | Self::State(_))
    }

    /// The stable name of this error in the API and in `status`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::NotFound(_) => "not_found",
            Self::Ambiguous { .. } => "ambiguous_id",
            Self::NoVersion { .. } => "no_version",
            Self::ContentDropped(_) => "content_dropped",
            Self::Busy | Self::Held => "busy",
            Self::DiskFull => "disk_full",
            Self::Corrupt(_) | Self::State(_) | Self::Foreign(_) => "database_damaged",
            Self::Newer { .. } => "database_newer",
            Self::Closed => "stopping",
            Self::Io(_) => "database_unreachable",
            Self::Panicked(_) | Self::Sqlite(_) => "internal",
        }
    }

    /// What the person can do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.hint(),
            Self::NotFound(_) => "look it up with `memtide list` or `memtide search`",
            Self::Ambiguous { .. } => "give more digits of the id",
            Self::NoVersion { .. } => "list the versions with `memtide history`",
            Self::ContentDropped(_) => {
                "a deleted memory's content is kept for a while only; store it again"
            }
            Self::Busy | Self::Held => "try again in a moment",
            Self::DiskFull => "free some space and try again; reading goes on working",
            Self::Corrupt(_) | Self::State(_) => {
                "put a backup back with `memtide backup restore` (`memtide backup list` shows them), or \
                 stop the daemon, move the file away, and import an export"
            }
            Self::Foreign(_) => {
                "move the file away, or choose another folder with MEMTIDE_DATA_DIR"
            }
            Self::Newer { .. } => "install the newer memtide again",
            Self::Closed => "start it again with `memtide up`",
            Self::Io(_) => {
                "check the disk, its free space and quota, and the permissions of the data folder"
            }
            Self::Panicked(_) | Self::Sqlite(_) => "this is a defect of memtide; please report it",
        }
    }
}
