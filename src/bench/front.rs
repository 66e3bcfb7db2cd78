//! An MCP front-end as a client starts it: a process, JSON lines in, JSON lines out.

use super::rig::{Rig, WithModel};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The revision of MCP that begins with a handshake.
const REVISION: &str = "2025-06-18";

/// A running front-end.
pub struct FrontEnd {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    n_asked: u64,
}

impl FrontEnd {
    /// Starts one; it has said nothing yet.
    ///
    /// # Errors
    /// The system starts no process.
    pub fn spawn(rig: &Rig, model: WithModel) -> anyhow::Result<Self> {
        let mut child = Command::new(rig.program())
            .arg("mcp")
            .env_clear()
            .envs(rig.environment(model))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("the front-end has no standard output")?;
        Ok(Self { child, input, output: BufReader::new(output), n_asked: 0 })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The handshake: what a client does first.
    ///
    /// # Errors
    /// No answer.
    pub fn initialize(&mut self) -> anyhow::Result<()> {
        let client = json!({"name": "bench", "version": env!("CARGO_PKG_VERSION")});
        self.ask(
            "initialize",
            json!({"protocolVersion": REVISION, "capabilities": {}, "clientInfo": client}),
        )?;
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}))
    }

    /// Calls a tool and returns its structured content.
    ///
    /// # Errors
    /// No answer, or the tool failed.
    pub fn call(&mut self, tool: &str, arguments: Value) -> anyhow::Result<Value> {
        let mut answer = self.ask("tools/call", json!({"name": tool, "arguments": arguments}))?;
        let is_error = answer.get("isError").and_then(Value::as_bool).unwrap_or(false);
        anyhow::ensure!(!is_error, "{tool} failed: {answer}");
        let content = answer.get_mut("structuredContent").map(Value::take);
        content.with_context(|| format!("{tool} answered {answer}"))
    }

    /// One request and its result.
    ///
    /// # Errors
    /// The front-end ended, or answers with an error.
    pub fn ask(&mut self, method: &str, params: Value) -> anyhow::Result<Value> {
        self.n_asked += 1;
        let id = self.n_asked;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))?;
        loop {
            let mut line = String::new();
            let n_read = self.output.read_line(&mut line)?;
            anyhow::ensure!(n_read > 0, "the front-end ended without an answer to {method}");
            let mut message: Value = serde_json::from_str(&line)
                .with_context(|| format!("the front-end said {line:?}"))?;
            if message.get("id").and_then(Value::as_u64) != Some(id) {
                continue;
            }
            let result = message.get_mut("result").map(Value::take);
            return result.with_context(|| format!("{method} was answered with {line}"));
        }
    }

    fn send(&mut self, message: &Value) -> anyhow::Result<()> {
        let input = self.input.as_mut().context("the front-end's standard input is closed")?;
        input.write_all(format!("{message}\n").as_bytes())?;
        Ok(input.flush()?)
    }

    /// Closes its input and waits for its end.
    ///
    /// # Errors
    /// It ended with a failure.
    pub fn end(mut self) -> anyhow::Result<()> {
        drop(self.input.take());
        let status = self.child.wait()?;
        anyhow::ensure!(status.success(), "the front-end ended with {status}");
        Ok(())
    }
}

impl Drop for FrontEnd {
    fn drop(&mut self) {
        // Ended already, mostly.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}
