//! A home of its own for one test: a folder, the program in it with nothing else in its
//! environment, and no daemon left behind.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};
use tempfile::TempDir;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_memtide");

/// A folder with all files of one memtide.
pub struct Home {
    folder: TempDir,
}

impl Home {
    /// One without memories and without a model, and set so that nothing fetches one: search finds
    /// words.
    pub fn new() -> Self {
        // The usual folder for such things can be so deep that a socket's path is too long.
        let folder = tempfile::Builder::new().prefix("memtide-").tempdir_in("/tmp");
        let home = Self { folder: folder.expect("a folder") };
        home.run(&["config", "set", "embedding.fetch", "never"]);
        home
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The variables that MCP clients pass on, and no other.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let folder = self.folder.path().display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        vec![
            ("HOME", folder),
            ("LOGNAME", "tester".to_owned()),
            ("PATH", path),
            ("SHELL", "/bin/sh".to_owned()),
            ("TERM", "dumb".to_owned()),
            ("USER", "tester".to_owned()),
        ]
    }

    /// The program with these variables.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).env_clear().envs(self.environment());
        command
    }

    /// Runs the program to its end, which must be a success.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().expect("the program starts");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {complaint}");
        output
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A test that failed half-way must not leave its daemon running.
        self.command(&["down"]).output().ok();
    }
}
