//! A file on its way into the model folder. It grows under the name `*.part`, and gets its real
//! name only when its bytes have the pinned hash and are on the disk; so a reader never sees half
//! a file, and a broken download can go on where it stopped.

use super::assets::{ModelFolder, create_folder};
use super::manifest::Asset;
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

/// Why a file did not arrive.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// The disk refused.
    #[error("write {path}")]
    Io {
        /// The part file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// More bytes came than the pinned file has.
    #[error("sent more than the {0} bytes of the pinned file")]
    TooLong(u64),
    /// The bytes ended early. They are kept, so that a later attempt can go on.
    #[error("ended after {done} of {bytes} bytes")]
    TooShort {
        /// Bytes that are there.
        done: u64,
        /// Bytes there should be.
        bytes: u64,
    },
    /// The bytes are not the pinned ones. They are thrown away.
    #[error("has sha256 {found} instead of {pinned}")]
    Hash {
        /// The hash of what came.
        found: String,
        /// The hash in the manifest.
        pinned: &'static str,
    },
}

/// A file that is being written.
#[derive(Debug)]
pub struct Part {
    asset: Asset,
    target: PathBuf,
    path: PathBuf,
    file: File,
    hash: Sha256,
    done: u64,
}

impl Part {
    /// Starts `asset` from its first byte.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn create(folder: &ModelFolder, asset: &Asset) -> Result<Self, PartError> {
        let mut part = Self::open(folder, asset)?;
        part.restart()?;
        Ok(part)
    }

    /// Goes on where an earlier attempt stopped, or starts from the first byte.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn resume(folder: &ModelFolder, asset: &Asset) -> Result<Self, PartError> {
        let mut part = Self::open(folder, asset)?;
        part.rehash().map_err(|source| part.refused(source))?;
        if part.done > asset.bytes {
            part.restart()?;
        }
        Ok(part)
    }

    fn open(folder: &ModelFolder, asset: &Asset) -> Result<Self, PartError> {
        let target = folder.path_of(asset);
        let path = target.with_file_name(format!("{}.part", asset.name));
        let opened = create_folder(target.parent().unwrap_or(folder.root())).and_then(|()| {
            File::options().read(true).write(true).create(true).truncate(false).open(&path)
        });
        let file = opened.map_err(|source| PartError::Io { path: path.clone(), source })?;
        Ok(Self { asset: *asset, target, path, file, hash: Sha256::new(), done: 0 })
    }

    /// Number of bytes that are there.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Throws away what is there.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn restart(&mut self) -> Result<(), PartError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        emptied.map_err(|source| self.refused(source))?;
        self.hash = Sha256::new();
        self.done = 0;
        Ok(())
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    /// The file would grow beyond its pinned size, or the disk refuses.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), PartError> {
        let done = self.done + bytes.len() as u64;
        if done > self.asset.bytes {
            self.restart()?;
            return Err(PartError::TooLong(self.asset.bytes));
        }
        self.file.write_all(bytes).map_err(|source| self.refused(source))?;
        self.hash.update(bytes);
        self.done = done;
        Ok(())
    }

    /// Checks the bytes, makes them durable and gives the file its name.
    ///
    /// # Errors
    /// The bytes are too few or not the pinned ones, or the disk refuses.
    pub fn finish(self, folder: &ModelFolder) -> Result<(), PartError> {
        if self.done < self.asset.bytes {
            return Err(PartError::TooShort { done: self.done, bytes: self.asset.bytes });
        }
        let found = hex::encode(self.hash.clone().finalize());
        if found != self.asset.sha256 {
            fs::remove_file(&self.path).map_err(|source| self.refused(source))?;
            return Err(PartError::Hash { found, pinned: self.asset.sha256 });
        }
        let named = self
            .file
            .sync_all()
            .and_then(|()| fs::rename(&self.path, &self.target))
            .and_then(|()| sync_folder(&self.target));
        named.map_err(|source| self.refused(source))?;
        folder.remember(&self.asset, &found);
        Ok(())
    }

    fn rehash(&mut self) -> io::Result<()> {
        let mut chunk = vec![0; 1 << 16];
        loop {
            let read = self.file.read(&mut chunk)?;
            if read == 0 {
                return Ok(());
            }
            self.hash.update(chunk.get(..read).unwrap_or_default());
            self.done += read as u64;
        }
    }

    fn refused(&self, source: io::Error) -> PartError {
        PartError::Io { path: self.path.clone(), source }
    }
}

/// Makes the name of `file` durable.
fn sync_folder(file: &Path) -> io::Result<()> {
    file.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::super::assets::Condition;
    use super::*;

    fn asset(text: &str) -> Asset {
        let sha256 = hex::encode(Sha256::digest(text)).leak();
        Asset { folder: "tiny", name: "weights", sha256, bytes: text.len() as u64 }
    }

    #[test]
    fn a_broken_download_goes_on_where_it_stopped() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = ModelFolder::new(root.path().to_owned());
        let asset = asset("half and half");
        let mut part = Part::create(&folder, &asset).expect("created");
        part.write(b"half").expect("written");
        assert!(matches!(part.finish(&folder), Err(PartError::TooShort { done: 4, bytes: 13 })));
        assert_eq!(folder.condition(&asset).expect("readable"), Condition::Missing);

        let mut part = Part::resume(&folder, &asset).expect("resumed");
        assert_eq!(part.done(), 4);
        part.write(b" and half").expect("written");
        part.finish(&folder).expect("complete");
        assert_eq!(folder.condition(&asset).expect("readable"), Condition::Complete);
    }

    #[test]
    fn wrong_bytes_never_get_the_name_and_are_thrown_away() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = ModelFolder::new(root.path().to_owned());
        let asset = asset("right");
        let mut part = Part::create(&folder, &asset).expect("created");
        part.write(b"wrong").expect("written");
        assert!(matches!(part.finish(&folder), Err(PartError::Hash { .. })));
        assert_eq!(folder.condition(&asset).expect("readable"), Condition::Missing);
        assert_eq!(Part::resume(&folder, &asset).expect("resumed").done(), 0);
    }

    #[test]
    fn a_source_that_never_ends_is_cut_off() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = ModelFolder::new(root.path().to_owned());
        let asset = asset("right");
        let mut part = Part::create(&folder, &asset).expect("created");
        part.write(b"righ").expect("written");
        assert!(matches!(part.write(b"t and more"), Err(PartError::TooLong(5))));
        assert_eq!(part.done(), 0);
    }
}
