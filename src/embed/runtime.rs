//! The runtime library: where it is, and loading it.
//!
//! It is loaded by absolute path before anything else asks for it, since a library that is not
//! found is otherwise a panic. A process has one runtime; the first that loads stays.

use super::assets::{Condition, FolderError, ModelFolder};
use super::manifest::Runtime;
use ort::environment::Environment;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Why there is no runtime.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The library that was named is not there.
    #[error("there is no runtime library at {0}, which was named explicitly")]
    Explicit(PathBuf),
    /// There is none for this platform.
    #[error(
        "no runtime library is published for {0}: memories are found by keyword; a library of version 1.24 or newer can be named explicitly"
    )]
    Platform(String),
    /// It was not fetched yet.
    #[error("{0} is not in the model folder {1}")]
    Missing(&'static str, PathBuf),
    /// It is not the pinned file.
    #[error("the runtime library is damaged: {0}")]
    Damaged(String),
    /// The model folder can't be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The system can't load it, or it is too old.
    #[error("load the runtime library {path}")]
    Load {
        /// The library.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ort::LoadDynamicError,
    },
    /// It was loaded and then failed to start.
    #[error("start the runtime library {path}: {reason}")]
    Start {
        /// The library.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
}

/// Finds the library: the one named explicitly, else one in the folder `beside` (the executable's),
/// else the one in the model folder.
///
/// # Errors
/// There is none, or the one in the model folder is damaged.
pub fn find(
    explicit: Option<&Path>,
    beside: Option<&Path>,
    folder: &ModelFolder,
) -> Result<PathBuf, RuntimeError> {
    if let Some(path) = explicit {
        let there = path.is_file().then(|| path.to_owned());
        return there.ok_or_else(|| RuntimeError::Explicit(path.to_owned()));
    }
    let runtime = Runtime::current().ok_or_else(|| {
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        RuntimeError::Platform(format!("{os} on {arch}"))
    })?;
    if let Some(path) = beside.and_then(|beside| library_beside(beside, runtime)) {
        return Ok(path);
    }
    match folder.condition(&runtime.library)? {
        Condition::Complete => Ok(folder.path_of(&runtime.library)),
        Condition::Missing => {
            Err(RuntimeError::Missing(runtime.library.name, folder.root().to_owned()))
        }
        Condition::Damaged(how) => Err(RuntimeError::Damaged(how)),
    }
}

/// The library that a package put beside the executable; with it none need be fetched.
pub fn library_beside(beside: &Path, runtime: &Runtime) -> Option<PathBuf> {
    let names = [runtime.library.name, runtime.plain_name];
    names.into_iter().map(|name| beside.join(name)).find(|path| path.is_file())
}

/// The runtime of this process.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What sessions are made in.
    pub environment: Environment,
    /// The library it came from.
    pub library: PathBuf,
}

static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

/// Loads the library at `path`, unless one is loaded already, which then stays.
///
/// # Errors
/// It can't be loaded or does not start.
pub fn load(path: &Path) -> Result<Loaded, RuntimeError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(loaded) = loaded.as_ref() {
        return Ok(loaded.clone());
    }
    let start = |reason| RuntimeError::Start { path: path.to_owned(), reason };
    // The binding asserts what a sound library keeps; a broken one must not take the daemon along.
    let environment = catch_unwind(AssertUnwindSafe(|| {
        let builder = ort::init_from(path)
            .map_err(|source| RuntimeError::Load { path: path.to_owned(), source })?;
        builder.with_telemetry(false).build().map_err(|error| start(error.to_string()))
    }))
    .unwrap_or_else(|panic| Err(start(panic_text(panic.as_ref()))))?;
    Ok(loaded.insert(Loaded { environment, library: path.to_owned() }).clone())
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("it panicked")
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn an_explicit_library_comes_first_and_must_exist() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = ModelFolder::new(root.path().to_owned());
        let named = root.path().join("named.so");
        let error = find(Some(&named), None, &folder).expect_err("not there");
        assert!(matches!(error, RuntimeError::Explicit(path) if path == named));
        fs::write(&named, "").expect("written");
        assert_eq!(find(Some(&named), Some(root.path()), &folder).ok(), Some(named));
    }

    #[test]
    fn a_library_beside_the_executable_comes_before_the_model_folder() {
        let Some(runtime) = Runtime::current() else { return };
        let root = tempfile::tempdir().expect("a folder");
        let folder = ModelFolder::new(root.path().join("models"));
        let beside = root.path().join("bin");
        fs::create_dir(&beside).expect("created");
        let error = find(None, Some(&beside), &folder).expect_err("nowhere");
        assert!(matches!(error, RuntimeError::Missing(name, _) if name == runtime.library.name));
        fs::write(beside.join(runtime.plain_name), "").expect("written");
        assert_eq!(find(None, Some(&beside), &folder).ok(), Some(beside.join(runtime.plain_name)));
    }

    #[test]
    fn a_file_that_is_no_library_is_an_error() {
        let root = tempfile::tempdir().expect("a folder");
        let path = root.path().join("libonnxruntime.so");
        fs::write(&path, "not a library").expect("written");
        assert!(matches!(load(&path), Err(RuntimeError::Load { .. })));
    }
}
