//! A device's files, as far as a crash leaves them.

use std::path::PathBuf;
use tempfile::TempDir;

const FILES: [&str; 2] = ["memtide.db", "memtide.db-wal"];

/// What a disk holds at one moment.
#[derive(Clone)]
pub struct Image(Vec<(&'static str, Vec<u8>)>);

/// A disk of its own.
pub struct Disk {
    folder: TempDir,
}

impl Disk {
    pub fn empty() -> Self {
        // In memory where the system offers it: nothing here tests the real disk.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Self { folder }
    }

    pub fn holding(image: &Image) -> Self {
        let disk = Self::empty();
        for (name, bytes) in &image.0 {
            std::fs::write(disk.folder.path().join(name), bytes).unwrap();
        }
        disk
    }

    pub fn database(&self) -> PathBuf {
        self.folder.path().join(FILES[0])
    }

    /// What a crash would leave now.
    pub fn image(&self) -> Image {
        let read = |name| Some((name, std::fs::read(self.folder.path().join(name)).ok()?));
        Image(FILES.into_iter().filter_map(read).collect())
    }
}
