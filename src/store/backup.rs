//! A copy of the whole database in a file of its own, made while it is written to, and checked before
//! anybody relies on it.

use super::connection;
use super::error::StoreError;
use super::indexes::Indexes;
use super::mirror::Limits;
use super::reader::Read;
use super::stats;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OptionalExtension as _};
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Pages copied between two looks at whether to go on: 4 MiB, some milliseconds.
const STEP_PAGES: i32 = 1000;
/// Steps of SQLite's machine between two such looks while the copy is checked.
const CHECK_STEPS: i32 = 100_000;
/// Texts that are compared with their hashes in one look.
const CHECKED_TEXTS: usize = 500;
/// Bytes that a copy leaves free: the daemon must be able to go on writing.
const SPARE_BYTES: u64 = 64 << 20;
/// What stands in place of the machine's mark in a database that was put back: no machine has it, so that
/// the database is given a new device number when it is opened.
const RESTORED: &str = "restored from a backup";
/// What SQLite keeps beside a file while it writes to it.
const COMPANIONS: [&str; 3] = ["-journal", "-wal", "-shm"];

/// What a copy holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Live memories.
    pub memories: u64,
    /// Deleted ones.
    pub tombstones: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// The Cloudflare account it is linked to.
    pub account: Option<String>,
}

/// Why no copy was made. Nothing is left of one that was begun.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is nothing to copy.
    #[error("there is no file {}", .0.display())]
    Missing(PathBuf),
    /// The file is something else.
    #[error("{} is no memtide database", .0.display())]
    Foreign(PathBuf),
    /// The file was written by a newer memtide.
    #[error(
        "{} has schema version {found}, this memtide knows up to {known}",
        path.display()
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest version known.
        known: i64,
    },
    /// The file can't be read as it was written.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// The file system is too full.
    #[error(
        "a copy needs {needed} bytes and {SPARE_BYTES} to spare, {} has {free} free",
        folder.display()
    )]
    NoSpace {
        /// Where the copy was to be.
        folder: PathBuf,
        /// Bytes of the copy.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// A file of this name is there.
    #[error("{} exists already", .0.display())]
    Exists(PathBuf),
    /// The copy would take the place of the database that is in use.
    #[error("{} is the database itself", .0.display())]
    InUse(PathBuf),
    /// A copy is being made already.
    #[error("another backup is being made at the moment")]
    Busy,
    /// Whoever asked for it has given up.
    #[error("the backup was given up, as the daemon stops")]
    Cancelled,
    /// A file can't be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for BackupError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Store(error.into())
    }
}

impl BackupError {
    /// An error of a file.
    pub fn io(path: &Path, error: io::Error) -> Self {
        Self::Io { path: path.to_owned(), error }
    }

    /// What the person can do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Missing(_) => "`memtide backup list` shows what there is",
            Self::Foreign(_) => {
                "give a file that `memtide backup` made; `memtide import` takes exports"
            }
            Self::Newer { .. } => "install the newer memtide again",
            Self::Damaged { .. } => {
                "use another backup, or what `memtide export` still reads of the database"
            }
            Self::NoSpace { .. } => "free some space, or give a file on another disk",
            Self::Exists(_) => "give another name, or write over it with --force",
            Self::InUse(_) => "give another name",
            Self::Busy => "try again in a moment",
            Self::Cancelled => "start the daemon again with `memtide up`",
            Self::Io { .. } => "check the path, its permissions and the disk",
            Self::Store(error) => error.hint(),
        }
    }

    /// The stable name of this error in the API.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "not_found",
            Self::Foreign(_) | Self::Damaged { .. } => "database_damaged",
            Self::Newer { .. } => "database_newer",
            Self::NoSpace { .. } => "disk_full",
            Self::Exists(_) | Self::InUse(_) => "file_exists",
            Self::Busy => "busy",
            Self::Cancelled => "stopping",
            Self::Io { .. } => "file_unusable",
            Self::Store(error) => error.code(),
        }
    }
}

/// Tells whether work that takes a while shall go on.
pub type GoesOn = Arc<dyn Fn() -> bool + Send + Sync>;

/// A copy to be made.
pub struct Copying<'a> {
    /// The database, in use or not.
    pub from: &'a Path,
    /// The new file; what is left of an earlier attempt of this name is removed.
    pub to: &'a Path,
    /// Tells how many bytes are free in a folder.
    pub free: &'a (dyn Fn(&Path) -> io::Result<u64> + Sync),
    /// Asked now and then.
    pub goes_on: &'a GoesOn,
}

/// Copies a database as it is at one moment, checks the copy, its texts included, and answers once it is
/// on the disk. Writers go on meanwhile. The copy is one file, readable by its owner alone.
///
/// # Errors
/// See [`BackupError`]; then no copy is left.
pub fn copy(copying: &Copying<'_>) -> Result<Contents, BackupError> {
    let outcome = attempt(copying);
    if outcome.is_err() {
        remove(copying.to)?;
    }
    outcome
}

/// Makes a copy one that may take the place of its original: it gets a device number of its own when it is
/// opened. With the old one it could give stamps that were given since it was made.
///
/// # Errors
/// The copy can't be written.
pub fn disown(copy: &Path) -> Result<(), BackupError> {
    let conn = connection::open_copy(copy)?;
    conn.execute("UPDATE device SET fingerprint = ?1", [RESTORED])?;
    drop(conn);
    sync(copy)
}

fn attempt(copying: &Copying<'_>) -> Result<Contents, BackupError> {
    let Copying { from, to, free, goes_on } = copying;
    let source = open(from)?;
    // One snapshot for all steps: what is written meanwhile would make the copy begin anew.
    source.execute_batch("BEGIN")?;
    let pages: u64 = source.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    let page: u64 = source.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let needed = pages.saturating_mul(page);
    let folder = folder_of(to);
    let free = free(folder).map_err(|error| BackupError::io(folder, error))?;
    if free < needed.saturating_add(SPARE_BYTES) {
        return Err(BackupError::NoSpace { folder: folder.to_owned(), needed, free });
    }
    remove(to)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    drop(options.open(to).map_err(|error| BackupError::io(to, error))?);
    let mut target = connection::open_copy(to)?;
    let damaged = |error: rusqlite::Error| in_file(from, error.into());
    let backup = Backup::new(&source, &mut target)?;
    loop {
        match backup.step(STEP_PAGES).map_err(damaged)? {
            StepResult::Done => break,
            StepResult::More if goes_on() => {}
            StepResult::More => return Err(BackupError::Cancelled),
            // Both are ours alone: there is nobody to wait for.
            _ => return Err(StoreError::Held.into()),
        }
    }
    drop(backup);
    drop(source);
    // One file, without a log beside it.
    target.pragma_update(None, "journal_mode", "DELETE")?;
    let contents = check(&target, from, goes_on)?;
    drop(target);
    sync(to)?;
    Ok(contents)
}

fn open(path: &Path) -> Result<Connection, BackupError> {
    // Who writes keeps a log beside the file. Without one nobody does, and nothing is made beside it.
    let is_still = !beside(path, "-wal").exists() && !beside(path, "-journal").exists();
    // Closing a file drops every lock that this process has on it, SQLite's own too: one that may be in use
    // is left to SQLite.
    if is_still {
        judge(path)?;
    }
    let conn = connection::open_apart(path, is_still)?;
    connection::refuse_unknown(&conn, path).map_err(|error| in_file(path, error))?;
    Ok(conn)
}

/// Refuses what isn't there, and what is no database at all.
fn judge(path: &Path) -> Result<(), BackupError> {
    let mut magic = [0; 16];
    let read = File::open(path).and_then(|mut file| io::Read::read_exact(&mut file, &mut magic));
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(BackupError::Missing(path.to_owned()))
        }
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => Err(BackupError::io(path, error)),
        Ok(()) if magic == *b"SQLite format 3\0" => Ok(()),
        Ok(()) | Err(_) => Err(BackupError::Foreign(path.to_owned())),
    }
}

/// Looks over a whole copy: its structure, then each text.
fn check(copy: &Connection, of: &Path, goes_on: &GoesOn) -> Result<Contents, BackupError> {
    let damaged = |what: String| BackupError::Damaged { path: of.to_owned(), what };
    let failed = |error: StoreError| match error {
        StoreError::Closed => BackupError::Cancelled,
        error => in_file(of, error),
    };
    let is_given_up = {
        let goes_on = Arc::clone(goes_on);
        move || !goes_on()
    };
    copy.progress_handler(CHECK_STEPS, Some(is_given_up))?;
    let indexes = Indexes::new(Limits::of_bytes(0));
    let read = Read { conn: copy, indexes: &indexes };
    let faults = stats::full_check(&read).map_err(failed)?;
    if !faults.is_empty() {
        return Err(damaged(faults.join("; ")));
    }
    let mut after = 0;
    loop {
        let (altered, last) = stats::altered_texts(&read, after, CHECKED_TEXTS).map_err(failed)?;
        if let Some(id) = altered.first() {
            return Err(damaged(format!("the text of memory {id} is not what was stored")));
        }
        let Some(last) = last else { break };
        after = last;
    }
    let stats = stats::stats(&read).map_err(failed)?;
    let account = copy.query_row("SELECT account FROM link", [], |row| row.get(0)).optional();
    let account = account.map_err(|error| failed(error.into()))?;
    Ok(Contents {
        memories: stats.memories,
        tombstones: stats.tombstones,
        bytes: stats.bytes,
        account,
    })
}

/// An error of the database, told of this file.
fn in_file(path: &Path, error: StoreError) -> BackupError {
    let path = path.to_owned();
    match error {
        StoreError::Foreign(_) => BackupError::Foreign(path),
        StoreError::Newer { found, known, .. } => BackupError::Newer { path, found, known },
        StoreError::Corrupt(what) => BackupError::Damaged { path, what },
        StoreError::State(error) => BackupError::Damaged { path, what: error.to_string() },
        error => error.into(),
    }
}

/// The file and what SQLite left beside it: a journal would be played back into the next file of its name.
fn remove(path: &Path) -> Result<(), BackupError> {
    let beside = COMPANIONS.iter().map(|end| beside(path, end));
    for path in std::iter::once(path.to_owned()).chain(beside) {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(BackupError::io(&path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The name of a file with something at its end.
pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// The folder that a file lies in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync(path: &Path) -> Result<(), BackupError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| BackupError::io(path, error))
}
