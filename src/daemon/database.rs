//! The database at the daemon's start: opened, made if there never was one, and never begun anew over what
//! is damaged, half replaced or missing.

use crate::clock::SharedClock;
use crate::config::paths::Paths;
use crate::config::settings::Settings;
use crate::service::backup::{self, Listed};
use crate::store::error::StoreError;
use crate::store::{Store, StoreOptions, replace};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Readers of the store.
const N_READERS: usize = 3;

/// Why the daemon doesn't open its database. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The file is damaged, and there is a backup.
    #[error("{error}")]
    Damaged {
        /// What is wrong with it.
        error: StoreError,
        /// The newest backup.
        backup: Listed,
    },
    /// A backup was being put back when something stopped that.
    #[error("{file} was being put in the place of the database, and that was not finished")]
    HalfReplaced {
        /// The file that was to be put back.
        file: String,
    },
    /// The file is gone or empty, and something tells that it held memories.
    #[error("the database {} is {what}, though {trace} is there", path.display())]
    Lost {
        /// Which file.
        path: PathBuf,
        /// `missing` or `empty`.
        what: &'static str,
        /// What tells so.
        trace: String,
        /// The newest backup.
        backup: Option<Listed>,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DatabaseError {
    /// What the person can do next.
    pub fn hint(&self) -> String {
        match self {
            Self::Damaged { backup, .. } => put_back(backup, "the damaged file is kept"),
            Self::HalfReplaced { file } => {
                format!("repeat `memtide backup restore {file:?}`")
            }
            Self::Lost { backup: Some(backup), .. } => {
                put_back(backup, "to begin anew, move the folder of the backups away")
            }
            Self::Lost { path, .. } => format!(
                "put {} back beside its log; to begin anew, move the log away",
                path.display()
            ),
            Self::Store(error) => error.hint().to_owned(),
        }
    }
}

fn put_back(backup: &Listed, rest: &str) -> String {
    let name = backup.path.file_name().unwrap_or_default().display();
    let at = backup.at.to_rfc3339();
    let at = at.get(..10).unwrap_or_default();
    format!("put back the newest backup, of {at}, with `memtide backup restore {name}`; {rest}")
}

/// Opens the store in a file that only its owner can read.
pub(super) fn open(
    paths: &Paths,
    settings: &Settings,
    seed: u64,
    clock: SharedClock,
) -> Result<Store, DatabaseError> {
    let path = &paths.database;
    refuse_to_begin_anew(path, &paths.backup_dir)?;
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| StoreError::Io(format!("{}: {error}", path.display())))?;
    let options = StoreOptions {
        path: path.clone(),
        machine: machine(),
        seed,
        n_readers: N_READERS,
        vfs: None,
        keep_versions: settings
            .history
            .keep_versions
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(u32::MAX),
        mirror_bytes: settings.search.mirror_max_bytes,
    };
    Store::open(&options, clock).map_err(|error| match backup::newest(&paths.backup_dir) {
        Some(backup) if error.is_damage() => DatabaseError::Damaged { error, backup },
        _ => error.into(),
    })
}

fn refuse_to_begin_anew(path: &Path, backups: &Path) -> Result<(), DatabaseError> {
    if let Some(file) = replace::interrupted(path) {
        return Err(DatabaseError::HalfReplaced { file });
    }
    let what = match path.metadata() {
        Ok(meta) if meta.len() > 0 => return Ok(()),
        Ok(_) => "empty",
        Err(_) => "missing",
    };
    let backup = backup::newest(backups);
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let has_log = Path::new(&log).metadata().is_ok_and(|meta| meta.len() > 0);
    let trace = match &backup {
        Some(backup) => format!("a backup of it, {},", backup.path.display()),
        // SQLite would throw the log away.
        None if has_log => "its log".to_owned(),
        None => return Ok(()),
    };
    Err(DatabaseError::Lost { path: path.to_owned(), what, trace, backup })
}

/// What identifies this machine; empty where the system doesn't tell, so that no clone is noticed.
fn machine() -> String {
    ["/etc/machine-id", "/var/lib/dbus/machine-id"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}
