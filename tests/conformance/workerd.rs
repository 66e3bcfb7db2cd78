//! Cloudflare's own engine: workerd, started by Miniflare on Node 22, both from npm at the
//! versions of `tests/miniflare/package-lock.json`. The first run installs them.

use crate::subject::Subject;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The files that make the installation; a change of one makes another.
const FILES: [&str; 4] = ["package.json", "package-lock.json", ".npmrc", "serve.mjs"];

/// One running engine.
pub struct Workerd {
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Workerd {
    /// Installs what is missing and starts the engine.
    pub fn start() -> Self {
        let folder = installed();
        let mut process = Command::new(node(&folder))
            .arg("serve.mjs")
            .current_dir(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Node 22 starts");
        let questions = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut workerd = Self { process, questions, answers };
        assert_eq!(workerd.read(), json!({"ready": true}));
        workerd
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("workerd's answer");
        assert!(!line.is_empty(), "workerd ended; its complaint is above");
        serde_json::from_str(&line).expect("JSON")
    }

    fn ask(&mut self, question: &Value) -> Result<Value, String> {
        let pipe = self.questions.as_mut().expect("workerd listens");
        writeln!(pipe, "{question}").expect("workerd listens");
        let mut answer = self.read();
        match answer["error"].as_str() {
            // The binding puts its own name in front of the engine's text.
            Some(text) => Err(text.trim_start_matches("D1_ERROR: ").to_owned()),
            None => Ok(answer["ok"].take()),
        }
    }
}

impl Drop for Workerd {
    fn drop(&mut self) {
        // The end of its input is the script's sign to stop.
        drop(self.questions.take());
        self.process.wait().ok();
    }
}

/// The folder with everything in it. Only one process installs; the others wait for it.
fn installed() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/miniflare");
    let read = |name: &str| fs::read(source.join(name)).expect("a file of tests/miniflare");
    let mut hash = Sha256::new();
    for name in FILES {
        hash.update(read(name));
    }
    let version: String = hex::encode(hash.finalize()).chars().take(16).collect();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("miniflare").join(version);
    fs::create_dir_all(&folder).expect("a folder for Miniflare");
    let lock = File::create(folder.join("lock")).expect("a lock file");
    lock.lock().expect("the lock");
    let done = folder.join("installed");
    if !done.exists() {
        for name in FILES {
            fs::write(folder.join(name), read(name)).expect("a copy");
        }
        let npm = if cfg!(windows) { "npm.cmd" } else { "npm" };
        let output = Command::new(npm)
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&folder)
            .output()
            .expect("npm, which comes with Node, is installed");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "npm ci in {}: {complaint}", folder.display());
        fs::write(&done, "").expect("the mark");
    }
    folder
}

/// Node 22 of this platform, one of the optional packages.
fn node(folder: &Path) -> PathBuf {
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

impl Subject for Workerd {
    fn name(&self) -> &'static str {
        "workerd"
    }

    fn d1(&mut self, batch: &[Value]) -> Result<Vec<Value>, String> {
        let answer = self.ask(&json!({"op": "d1", "batch": batch}))?;
        Ok(answer.as_array().expect("a list").clone())
    }

    fn d1_raw(&mut self, sql: &str) -> Result<Value, String> {
        self.ask(&json!({"op": "d1_raw", "sql": sql}))
    }

    fn r2_put(&mut self, key: &str, bytes: &[u8]) -> Value {
        self.ask(&json!({"op": "r2_put", "key": key, "bytes": bytes})).expect("a stored object")
    }

    fn r2_get(&mut self, key: &str) -> Option<(String, Vec<u8>)> {
        let found = self.ask(&json!({"op": "r2_get", "key": key})).expect("an answer");
        let etag = found["etag"].as_str()?.to_owned();
        let bytes = serde_json::from_value(found["bytes"].clone()).expect("bytes");
        Some((etag, bytes))
    }

    fn r2_list(&mut self, prefix: &str) -> Value {
        self.ask(&json!({"op": "r2_list", "prefix": prefix})).expect("a list")
    }

    fn r2_delete(&mut self, key: &str) {
        self.ask(&json!({"op": "r2_delete", "key": key})).expect("an answer");
    }

    fn pass_time(&mut self) {}
}
