//! Programs of other people that tests run: installed by the tests themselves, once, below
//! `target`, at the versions that lie beside the test.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder that holds `files` of `tests/{name}` and what `install` made of them. Another content
/// of a file makes another folder. Only one process installs; the others wait for it.
pub fn installed(name: &str, files: &[&str], install: fn(&Path)) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    let read = |file: &str| {
        let path = source.join(file);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let mut hash = Sha256::new();
    for file in files {
        hash.update(read(file));
    }
    let version: String = hex::encode(hash.finalize()).chars().take(16).collect();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name).join(version);
    fs::create_dir_all(&folder).expect("a folder for what is installed");
    let lock = File::create(folder.join("lock")).expect("a lock file");
    lock.lock().expect("the lock");
    let done = folder.join("installed");
    if !done.exists() {
        for file in files {
            fs::write(folder.join(file), read(file)).expect("a copy");
        }
        install(&folder);
        fs::write(&done, "").expect("the mark");
    }
    folder
}

/// Installs what `package-lock.json` names.
pub fn npm(folder: &Path) {
    let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let output = Command::new(npm)
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(folder)
        .output()
        .expect("npm, which comes with Node, is installed");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "npm ci in {}: {complaint}", folder.display());
}

/// Node 22 of this platform, one of the optional packages.
pub fn node(folder: &Path) -> PathBuf {
    let modules = folder.join("node_modules");
    fs::read_dir(&modules)
        .expect("installed packages")
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("node-"))
        .map(|entry| entry.path().join("bin/node"))
        .find(|path| path.exists())
        .unwrap_or_else(|| {
            panic!("npm brought no Node 22 for this platform to {}", modules.display())
        })
}
