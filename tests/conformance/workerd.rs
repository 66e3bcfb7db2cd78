//! Cloudflare's own engine: workerd, started by Miniflare on Node 22, both from npm at the
//! versions of `tests/miniflare/package-lock.json`. The first run installs them.

use crate::npm;
use crate::subject::Subject;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
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
        let folder = npm::installed("miniflare", &FILES, npm::npm);
        let mut process = Command::new(npm::node(&folder))
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
