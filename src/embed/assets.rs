//! The model folder: which files are there, and whether their bytes are the pinned ones.
//!
//! A file is hashed once. Its size and modification time are then remembered in a record beside
//! it, so that a start needn't read 90 MB. The record is a cache and nothing more: if it is lost,
//! or disagrees with the file, the file is hashed again.

use super::manifest::Asset;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

const RECORD: &str = ".checked.json";
const LOCK: &str = ".lock";

/// How much of a file is read at a time.
const CHUNK: usize = 1 << 16;

/// Why the model folder can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{action} {path}")]
pub struct FolderError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl FolderError {
    pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { action, path: path.to_owned(), source }
    }
}

/// The condition of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It is there and has the pinned hash.
    Complete,
    /// It is not there.
    Missing,
    /// It is there and is not the pinned file; the sentence says how it differs.
    Damaged(String),
}

/// What was true of a file when it was hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Checked {
    sha256: String,
    bytes: u64,
    modified: (i64, i64),
}

/// A folder that holds models and the runtime library.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    root: PathBuf,
}

/// Held while files are being put into a model folder.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

impl ModelFolder {
    /// Names the folder; it need not exist yet.
    pub fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where `asset` lies.
    pub fn path_of(&self, asset: &Asset) -> PathBuf {
        asset.path_in(&self.root)
    }

    /// Tells the condition of `asset`, and hashes it if that was not done since it last changed.
    ///
    /// # Errors
    /// The file is there and can't be read.
    pub fn condition(&self, asset: &Asset) -> Result<Condition, FolderError> {
        let path = self.path_of(asset);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Condition::Missing),
            Err(error) => return Err(FolderError::at("look at", &path)(error)),
        };
        if metadata.len() != asset.bytes {
            let sentence =
                format!("{} has {} bytes instead of {}", asset.key(), metadata.len(), asset.bytes);
            return Ok(Condition::Damaged(sentence));
        }
        let known = self.record().remove(&asset.key());
        let sha256 = if let Some(known) = known
            && known == checked(&metadata, &known.sha256)
        {
            known.sha256
        } else {
            let sha256 = sha256_of(&path).map_err(FolderError::at("read", &path))?;
            self.remember(asset, &sha256);
            sha256
        };
        if sha256 == asset.sha256 {
            return Ok(Condition::Complete);
        }
        Ok(Condition::Damaged(format!(
            "{} has sha256 {sha256} instead of {}",
            asset.key(),
            asset.sha256
        )))
    }

    /// Creates the folder if need be and waits until no other process puts files into it.
    ///
    /// # Errors
    /// The folder can't be created or written to.
    pub fn lock(&self) -> Result<FolderLock, FolderError> {
        create_folder(&self.root).map_err(FolderError::at("create", &self.root))?;
        let path = self.root.join(LOCK);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(FolderError::at("open", &path))?;
        file.lock().map_err(FolderError::at("lock", &path))?;
        Ok(FolderLock { _file: file })
    }

    /// Remembers that the file of `asset`, as it lies there now, hashes to `sha256`. A folder that
    /// can't be written to only costs the next start its time.
    pub(super) fn remember(&self, asset: &Asset, sha256: &str) {
        let written = fs::metadata(self.path_of(asset)).and_then(|metadata| {
            let mut record = self.record();
            record.insert(asset.key(), checked(&metadata, sha256));
            let mut file = tempfile::NamedTempFile::new_in(&self.root)?;
            file.write_all(&serde_json::to_vec_pretty(&record)?)?;
            file.persist(self.root.join(RECORD))?;
            Ok(())
        });
        if let Err(error) = written {
            tracing::debug!(%error, folder = %self.root.display(), "check not remembered");
        }
    }

    /// The record; empty if there is none or it can't be read, since it is only a cache.
    fn record(&self) -> BTreeMap<String, Checked> {
        fs::read(self.root.join(RECORD))
            .ok()
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default()
    }
}

fn checked(metadata: &Metadata, sha256: &str) -> Checked {
    Checked {
        sha256: sha256.to_owned(),
        bytes: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    }
}

/// Creates a folder that only its owner can enter, with those above it.
pub(super) fn create_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = file.read(&mut chunk)?;
        if read == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(chunk.get(..read).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with a hash that no text in these tests has.
    const WEIGHTS: Asset = Asset {
        folder: "tiny",
        name: "model.safetensors",
        sha256: "0000000000000000000000000000000000000000000000000000000000000000",
        bytes: 7,
    };

    fn put(folder: &ModelFolder, text: &str) {
        let path = folder.path_of(&WEIGHTS);
        create_folder(path.parent().expect("a parent")).expect("created");
        fs::write(path, text).expect("written");
    }

    #[test]
    fn a_file_is_missing_then_damaged_then_complete() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = ModelFolder::new(root.path().join("models"));
        let asset = Asset { sha256: leaked_hash("weights"), ..WEIGHTS };
        assert_eq!(folder.condition(&asset).expect("readable"), Condition::Missing);
        put(&folder, "weight");
        let short = folder.condition(&asset).expect("readable");
        assert_eq!(
            short,
            Condition::Damaged("tiny/model.safetensors has 6 bytes instead of 7".to_owned())
        );
        put(&folder, "WEIGHTS");
        assert!(
            matches!(folder.condition(&asset), Ok(Condition::Damaged(why)) if why.contains(asset.sha256))
        );
        put(&folder, "weights");
        assert_eq!(folder.condition(&asset).expect("readable"), Condition::Complete);
    }

    #[test]
    fn a_remembered_file_is_not_read_again_until_it_changes() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = ModelFolder::new(root.path().to_owned());
        put(&folder, "weights");
        folder.remember(&WEIGHTS, "what was found");
        let known = folder.condition(&WEIGHTS).expect("readable");
        assert!(matches!(known, Condition::Damaged(why) if why.contains("what was found")));
        let later = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_hours(24);
        File::options()
            .write(true)
            .open(folder.path_of(&WEIGHTS))
            .and_then(|file| file.set_modified(later))
            .expect("touched");
        let asset = Asset { sha256: leaked_hash("weights"), ..WEIGHTS };
        assert_eq!(folder.condition(&asset).expect("readable"), Condition::Complete);
    }

    #[test]
    fn a_damaged_record_costs_only_a_second_look() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = ModelFolder::new(root.path().to_owned());
        put(&folder, "weights");
        fs::write(root.path().join(RECORD), "{").expect("written");
        let asset = Asset { sha256: leaked_hash("weights"), ..WEIGHTS };
        assert_eq!(folder.condition(&asset).expect("readable"), Condition::Complete);
        assert_eq!(folder.record().len(), 1, "the record was not written anew");
    }

    #[test]
    fn the_lock_makes_a_second_holder_wait() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = ModelFolder::new(root.path().join("new"));
        let held = folder.lock().expect("locked");
        let second = File::open(folder.root().join(LOCK)).expect("the lock file");
        assert!(second.try_lock().is_err(), "two holders");
        drop(held);
        assert!(second.try_lock().is_ok());
    }

    fn leaked_hash(text: &str) -> &'static str {
        hex::encode(Sha256::digest(text)).leak()
    }
}
