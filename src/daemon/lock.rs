//! The lock file: the authority on which process is the daemon of a data folder.

use crate::api::client::lockfile::LockInfo;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error("another daemon{} serves this data folder", pid_text(.0.as_ref()))]
    Held(Option<LockInfo>),
    /// The file can't be opened or locked.
    #[error("the lock file {} can't be used: {error}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

fn pid_text(info: Option<&LockInfo>) -> String {
    info.map(|info| format!(" (pid {})", info.pid)).unwrap_or_default()
}

/// The held lock; dropping it, or the process's end, releases it.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock of `path` without waiting.
    ///
    /// # Errors
    /// Another process holds it, or the file can't be used.
    pub fn take(path: &Path) -> Result<Self, LockError> {
        let io = |error| LockError::Io { path: path.to_owned(), error };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file }),
            Err(TryLockError::WouldBlock) => Err(LockError::Held(LockInfo::read(path))),
            Err(TryLockError::Error(error)) => Err(io(error)),
        }
    }

    /// Tells clients who holds the lock.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn announce(&mut self, info: &LockInfo) -> std::io::Result<()> {
        let text = serde_json::to_vec(info)?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&text)?;
        self.file.flush()
    }

    /// Says that nobody serves any more. The file stays: removing it would let two processes hold two
    /// locks of one name.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn withdraw(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_the_first_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memtide.lock");
        let mut lock = Lock::take(&path).unwrap();
        let info = LockInfo {
            pid: 42,
            socket: dir.path().join("s"),
            protocol: 1,
            version: "0".to_owned(),
        };
        lock.announce(&info).unwrap();
        match Lock::take(&path) {
            Err(LockError::Held(Some(found))) => assert_eq!(found, info),
            other => panic!("{other:?}"),
        }
        lock.withdraw().unwrap();
        drop(lock);
        assert_eq!(LockInfo::read(&path), None);
        Lock::take(&path).unwrap();
    }
}
