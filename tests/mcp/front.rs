//! The front-end as a child process, spoken to in hand-written JSON-RPC.

use crate::home::Home;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

/// A protocol revision of each era.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// Every request carries what the handshake used to settle.
    Stateless,
    /// `initialize` first.
    Handshake,
}

/// One running front-end.
pub struct Front {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    era: Era,
    last_id: u64,
}

impl Front {
    /// Starts one that may start a daemon, and opens the conversation.
    pub fn open(home: &Home, era: Era) -> Self {
        Self::with(home, era, &["mcp"])
    }

    /// Starts one with these arguments, and opens the conversation.
    pub fn with(home: &Home, era: Era, arguments: &[&str]) -> Self {
        let mut front = Self::silent(home, era, arguments);
        match era {
            Era::Stateless => {
                let found = front.ask("server/discover", json!({}));
                assert_eq!(found["result"]["supportedVersions"][4], "2026-07-28");
            }
            Era::Handshake => {
                let agreed = front.ask(
                    "initialize",
                    json!({"protocolVersion": "2025-11-25", "capabilities": {},
                        "clientInfo": {"name": "hand", "version": "1"}}),
                );
                assert_eq!(agreed["result"]["protocolVersion"], "2025-11-25");
                front.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
            }
        }
        front
    }

    /// Starts one and says nothing yet.
    pub fn silent(home: &Home, era: Era, arguments: &[&str]) -> Self {
        let mut process = home
            .command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, input, output, era, last_id: 0 }
    }

    /// Sends one line as it is.
    pub fn send_line(&mut self, line: &[u8]) {
        let input = self.input.as_mut().unwrap();
        input.write_all(line).unwrap();
        input.write_all(b"\n").unwrap();
        input.flush().unwrap();
    }

    /// Sends a message.
    pub fn send(&mut self, message: &Value) {
        self.send_line(message.to_string().as_bytes());
    }

    /// Sends a request and returns its id.
    pub fn request(&mut self, method: &str, mut params: Value) -> u64 {
        self.last_id += 1;
        if self.era == Era::Stateless {
            params["_meta"] = json!({
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": {"name": "hand", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            });
        }
        let id = self.last_id;
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        id
    }

    /// The next message, which must be JSON-RPC.
    pub fn read(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(!line.is_empty(), "the front-end has ended");
        let message: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(message["jsonrpc"], "2.0");
        message
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        let id = self.request(method, params);
        let answer = self.read();
        assert_eq!(answer["id"], id, "{answer}");
        answer
    }

    /// Calls a tool; the result may be a failure.
    pub fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let mut answer = self.ask("tools/call", json!({"name": tool, "arguments": arguments}));
        assert!(answer.get("result").is_some(), "{answer}");
        answer["result"].take()
    }

    /// Calls a tool that must succeed; returns its text and its structured content.
    pub fn done(&mut self, tool: &str, arguments: &Value) -> (String, Value) {
        let mut result = self.call(tool, arguments);
        assert_eq!(result["isError"], false, "{result}");
        let text = result["content"][0]["text"].as_str().unwrap().to_owned();
        (text, result["structuredContent"].take())
    }

    /// Calls a tool that must fail; returns what it says.
    pub fn refused(&mut self, tool: &str, arguments: &Value) -> String {
        let result = self.call(tool, arguments);
        assert_eq!(result["isError"], true, "{result}");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }

    /// Ends the input without waiting.
    pub fn end_input(&mut self) {
        drop(self.input.take());
    }

    /// Ends the input. The process must end with success and must have said nothing more.
    pub fn end(mut self) {
        self.end_input();
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
        assert_eq!(self.process.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        // Of a test that failed half-way; the others have waited for it.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
