//! The real mcp-memory-service, from its registry, in two of its major releases: its own storage classes
//! write databases and clouds for tests.
//!
//! ```text
//! let mut service = PythonService::start(Release::V12);
//! service.open(&path);                                   // its local database
//! let hash = service.store("text", json!({"tags": ["a"], "memory_type": "note", "metadata": {"k": 1}}));
//! service.local("delete", json!({"content_hash": hash}));
//! service.local("update_memory_metadata", json!({"content_hash": hash, "updates": {"tags": ["b"]}}));
//! service.local("update_memory_versioned", json!({"content_hash": hash, "new_content": "text 2"}));
//! service.graph("store_association", json!({…}));
//! service.teach(&[("text", vector)]);                    // vectors of a real model
//! service.dump();                                        // {"memories": [{column: value}], "vectors": {row: hex}}
//! service.open_cloud(json!({"token", "account", "index", "database", "bucket", "api"}));
//! service.cloud("store", json!({"memory": {…}}));
//! service.close();                                       // the file is closed as when the service ends
//! ```
//!
//! Every method of the package's classes can be called by its name; `tests/python_service/drive.py` tells
//! how arguments are given.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use super::npm;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Releases that are installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// 10.59: one store, no schema version, the successor kept in the metadata.
    V10,
    /// 12.4: stores, a schema version, a log of events.
    V12,
}

/// A process with the package's storage classes.
pub struct PythonService {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    _home: tempfile::TempDir,
}

/// A Python that can make virtual environments and whose `sqlite3` can load extensions: not every one can.
fn python() -> &'static str {
    const CANDIDATES: [&str; 4] =
        ["python3", "/usr/bin/python3", "/opt/homebrew/bin/python3", "/usr/local/bin/python3"];
    const QUESTION: &str =
        "import venv, ensurepip, sqlite3; sqlite3.connect(':memory:').enable_load_extension(True)";
    CANDIDATES
        .into_iter()
        .find(|python| {
            let asked = Command::new(python).args(["-c", QUESTION]).output();
            asked.is_ok_and(|output| output.status.success())
        })
        .unwrap_or_else(|| {
            panic!(
                "no Python with venv and a sqlite3 that loads extensions among {CANDIDATES:?}; \
                 Debian's packages python3 and python3-venv are such"
            )
        })
}

fn run(command: &mut Command) {
    let output = command.output().expect("the program starts");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaint}");
}

fn install(folder: &Path, requirements: &str) {
    run(Command::new(python()).args(["-m", "venv", "venv"]).current_dir(folder));
    run(Command::new(folder.join("venv/bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"])
        .args(["--requirement", requirements])
        .current_dir(folder));
}

/// The folder into which the release is installed, once.
fn installed(release: Release) -> PathBuf {
    match release {
        Release::V10 => npm::installed("python_service", &["release_10.txt"], |folder| {
            install(folder, "release_10.txt");
        }),
        Release::V12 => npm::installed("python_service", &["release_12.txt"], |folder| {
            install(folder, "release_12.txt");
        }),
    }
}

impl PythonService {
    /// Starts the process; the first time for each release it installs the package.
    pub fn start(release: Release) -> Self {
        let folder = installed(release);
        let home = tempfile::tempdir().expect("a folder");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python_service/drive.py");
        let mut child = Command::new(folder.join("venv/bin/python"))
            .arg("-s")
            .arg(script)
            .env_clear()
            .env("HOME", home.path())
            .env("PATH", std::env::var("PATH").unwrap_or_default())
            // The package reads a file `.env` where it is started.
            .current_dir(home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("its output"));
        Self { child, requests, answers, _home: home }
    }

    /// Sends a request and waits for its answer; a failure of the package ends the test with its trace.
    pub fn request(&mut self, request: &Value) -> Value {
        let requests = self.requests.as_mut().expect("the process takes requests");
        writeln!(requests, "{request}").expect("the process listens");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the process answers");
        let mut answer: Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("no answer to {request}"));
        if let Some(trace) = answer.get("error") {
            panic!("{request}: {}", trace.as_str().unwrap_or_default());
        }
        answer["ok"].take()
    }

    /// Opens the local database, made if it is missing; texts get vectors that depend on their words.
    pub fn open(&mut self, path: &Path) {
        self.request(&json!({"op": "open", "path": path}));
    }

    /// The same as a service without a model does it, with the package's own pseudo-vectors.
    pub fn open_without_model(&mut self, path: &Path) {
        self.request(&json!({"op": "open", "path": path, "embedding": "hash"}));
    }

    /// Opens the cloud: an object with `token`, `account`, `index`, `database`, `bucket` and `api`.
    pub fn open_cloud(&mut self, mut cloud: Value) {
        cloud["op"] = json!("open_cloud");
        self.request(&cloud);
    }

    /// The vectors that these texts get from now on.
    pub fn teach(&mut self, vectors: &[(&str, &[f32])]) {
        self.request(&json!({"op": "teach", "vectors": vectors}));
    }

    /// Calls a method of the local storage.
    pub fn local(&mut self, method: &str, args: Value) -> Value {
        self.request(&json!({"op": "call", "on": "local", "method": method, "args": args}))
    }

    /// Calls a method of the graph of the local database.
    pub fn graph(&mut self, method: &str, args: Value) -> Value {
        self.request(&json!({"op": "call", "on": "graph", "method": method, "args": args}))
    }

    /// Calls a method of the cloud storage.
    pub fn cloud(&mut self, method: &str, args: Value) -> Value {
        self.request(&json!({"op": "call", "on": "cloud", "method": method, "args": args}))
    }

    /// Stores a text locally; `more` may have tags, `memory_type`, metadata, `created_at`, `updated_at`
    /// and hash. Answers the hash.
    pub fn store(&mut self, content: &str, more: Value) -> String {
        let mut memory = more;
        memory["content"] = json!(content);
        let stored = self.local("store", json!({"memory": memory}));
        assert_eq!(stored[0], true, "{content:?}: {stored}");
        let hash = memory["hash"].as_str().map(str::to_owned);
        hash.unwrap_or_else(|| memtide::model::id::MemoryId::of(content).to_string())
    }

    /// Runs a statement through the package's connection and commits.
    pub fn sql(&mut self, sql: &str, args: Value) -> Value {
        self.request(&json!({"op": "sql", "sql": sql, "args": args}))
    }

    /// All rows of the memories with their columns, and all vectors in hexadecimal digits by row.
    pub fn dump(&mut self) -> Value {
        self.request(&json!({"op": "dump"}))
    }

    /// Closes what is open; the process can open again.
    pub fn close(&mut self) {
        self.request(&json!({"op": "close"}));
    }

    /// The process, for tests that kill it.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for PythonService {
    fn drop(&mut self) {
        // At the end of its input the process ends by itself.
        drop(self.requests.take());
        self.child.wait().ok();
    }
}
