//! Tells that a database of another program may have changed: its file, its log, or what stands in their
//! place. Only that, as often as the system likes; whoever hears it looks for himself.

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Notify;

/// Endings of the files that SQLite keeps beside a database and writes when it changes.
const BESIDE: [&str; 3] = ["", "-wal", "-journal"];

/// Why a file can't be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// It lies nowhere.
    #[error("{0} has no folder")]
    NoFolder(PathBuf),
    /// The system refuses.
    #[error("watch {folder}: {source}")]
    Refused {
        /// The folder.
        folder: PathBuf,
        /// What the system said.
        source: notify::Error,
    },
}

/// Watches until it is dropped.
pub struct Watch {
    changed: Arc<Notify>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    /// Watches the database `file`. Its folder is what is watched, as files in it come and go.
    ///
    /// # Errors
    /// There is no such folder, or the system has no watch left.
    pub fn start(file: &Path) -> Result<Self, WatchError> {
        // Where a link leads, there is the log.
        let file = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let (Some(folder), Some(name)) = (file.parent(), file.file_name()) else {
            return Err(WatchError::NoFolder(file));
        };
        let names = BESIDE.map(|end| {
            let mut name = name.to_owned();
            name.push(end);
            name
        });
        let changed = Arc::<Notify>::default();
        let told = Arc::clone(&changed);
        let refused = |source| WatchError::Refused { folder: folder.to_owned(), source };
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // What the system could not tell may have been a change.
            if event.as_ref().map_or(true, |event| is_change(event, &names)) {
                told.notify_one();
            }
        })
        .map_err(refused)?;
        watcher.watch(folder, RecursiveMode::NonRecursive).map_err(refused)?;
        Ok(Self { changed, _watcher: watcher })
    }

    /// Completes when something changed since it last did.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

fn is_change(event: &Event, names: &[OsString]) -> bool {
    let is_read = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    };
    let is_ours = |name: &OsStr| names.iter().any(|ours| ours == name);
    let names_us = |path: &PathBuf| path.file_name().is_some_and(is_ours);
    event.need_rescan() || (!is_read && event.paths.iter().any(names_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_write_to_the_log_is_told_and_a_file_beside_it_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("db");
        std::fs::write(&file, "x").unwrap();
        let watch = Watch::start(&file).unwrap();
        std::fs::write(dir.path().join("db-wal"), "y").unwrap();
        watch.changed().await;
        std::fs::remove_file(&file).unwrap();
        watch.changed().await;
        let told = |kind, name: &str| {
            let names = [OsString::from("db"), OsString::from("db-wal")];
            is_change(&Event::new(kind).add_path(dir.path().join(name)), &names)
        };
        assert!(told(EventKind::Any, "db-wal"));
        assert!(!told(EventKind::Any, "other"));
        assert!(!told(EventKind::Access(AccessKind::Read), "db"));
        assert!(told(EventKind::Access(AccessKind::Close(AccessMode::Write)), "db"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = Watch::start(Path::new("/nowhere/at/all/db")).err().unwrap();
        assert!(error.to_string().starts_with("watch /nowhere/at/all"), "{error}");
    }
}
