//! The real program in a home of its own: a cleared environment, an empty model folder, nothing fetched.
//! Whatever a test starts ends with it.

#![expect(clippy::expect_used, clippy::panic, reason = "what isn't as expected fails the test")]

use memtide::api::client::launch::READY_LINE;
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;
use tempfile::TempDir;

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_memtide");

/// A folder with everything that one memtide has.
pub struct Home {
    root: TempDir,
    variables: Vec<(OsString, OsString)>,
}

/// What a command left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    /// Standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// A home without any file of memtide but the settings.
    pub fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let home = Self { root, variables: Vec::new() };
        fs::create_dir(home.root().join("models")).expect("a folder");
        fs::write(home.root().join("config.toml"), "[embedding]\nfetch = \"never\"\n")
            .expect("settings");
        home
    }

    /// The same with a variable in the environment; it wins over one that was set before.
    pub fn with(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.variables.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// The folder that holds all of it.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// The data folder, which memtide makes.
    pub fn data(&self) -> PathBuf {
        self.root().join("data")
    }

    /// The model folder, empty unless a test fills it.
    pub fn models(&self) -> PathBuf {
        self.root().join("models")
    }

    /// The socket.
    pub fn socket(&self) -> PathBuf {
        self.data().join("memtide.sock")
    }

    /// The database file.
    pub fn database(&self) -> PathBuf {
        self.data().join("memtide.db")
    }

    /// What daemons in the foreground wrote to standard error.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.root().join("stderr")).expect("text")
    }

    /// The program, or another one, with the environment of this home.
    pub fn program(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("HOME", self.root())
            // Nothing that a fetch could use is found here.
            .env("PATH", self.root().join("bin"))
            .env("HF_ENDPOINT", "http://127.0.0.1:9")
            .env("MEMTIDE_DATA_DIR", self.data())
            .env("MEMTIDE_CONFIG", self.root().join("config.toml"))
            .env("MEMTIDE_MODEL_DIR", self.models())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command of memtide to its end.
    pub fn run(&self, arguments: &[&str]) -> Said {
        self.run_with(arguments, b"")
    }

    /// Runs a command of memtide with something on its standard input.
    pub fn run_with(&self, arguments: &[&str], input: &[u8]) -> Said {
        let mut command = self.program(PROGRAM, arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program");
        let mut stdin = child.stdin.take().expect("standard input");
        let input = input.to_vec();
        // A command that has seen enough closes its input early.
        let writing = std::thread::spawn(move || stdin.write_all(&input).is_ok());
        let output = child.wait_with_output().expect("an end");
        writing.join().expect("no panic");
        said(output)
    }

    /// Starts the daemon in the foreground and waits until it serves.
    pub fn daemon(&self) -> Daemon {
        self.daemon_if_it_serves().unwrap_or_else(|| panic!("{}", self.stderr()))
    }

    /// Starts the daemon in the foreground; `None` if it ends instead of serving.
    pub fn daemon_if_it_serves(&self) -> Option<Daemon> {
        Daemon::start(self, &mut self.program(PROGRAM, &["daemon"]))
    }

    /// Starts the daemon and kills it after a while, whether it serves by then or not.
    pub fn killed_while_it_starts(&self, after: Duration) {
        let mut command = self.program(PROGRAM, &["daemon"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = Running(child.expect("the program"));
        let (never, nothing) = mpsc::channel::<()>();
        assert_eq!(nothing.recv_timeout(after), Err(RecvTimeoutError::Timeout));
        drop((never, child));
    }

    /// Starts the daemon by a line of shell, in which `$0` is the program.
    pub fn daemon_by(&self, script: &str) -> Daemon {
        Daemon::start(self, &mut self.program("/bin/sh", &["-c", script, PROGRAM]))
            .unwrap_or_else(|| panic!("{}", self.stderr()))
    }

    /// Starts the daemon, which is expected to refuse.
    pub fn refusal(&self) -> Said {
        let mut command = self.program(PROGRAM, &["daemon"]);
        command.env("MEMTIDE_LOG", "off").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Running(command.spawn().expect("the program"));
        let mut out = String::new();
        let mut output = BufReader::new(child.0.stdout.take().expect("standard output"));
        output.read_line(&mut out).expect("UTF-8");
        assert_ne!(out.trim_end(), READY_LINE, "it serves");
        output.read_to_string(&mut out).expect("UTF-8");
        let mut err = String::new();
        let mut errors = child.0.stderr.take().expect("standard error");
        errors.read_to_string(&mut err).expect("UTF-8");
        Said { code: child.0.wait().expect("an end").code(), out, err }
    }

    /// One request on a connection of its own.
    pub fn ask(&self, method: &str, path: &str, body: &[u8]) -> Answer {
        ask(&self.socket(), method, path, body)
    }

    /// Live and deleted memories and duties, as `status` counts them.
    pub fn counts(&self) -> Value {
        let status = self.ask("GET", "/v1/status", b"").json;
        json!([
            status["store"]["memories"],
            status["store"]["tombstones"],
            status["replication"]["outbox"]["pending"]
        ])
    }

    /// Stores a text and gives its id.
    pub fn store(&self, content: &str) -> String {
        let body = json!({"content": content}).to_string();
        let answer = self.ask("POST", "/v1/memories", body.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json["id"].as_str().expect("an id").to_owned()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // A daemon that a client started is nobody's child.
        let lock = fs::read(self.data().join("memtide.lock")).unwrap_or_default();
        if !lock.is_empty() {
            self.run(&["down"]);
        }
    }
}

fn said(output: std::process::Output) -> Said {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Said { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// A daemon in the foreground; it is killed when it is dropped.
pub struct Daemon {
    child: Running,
    output: Option<BufReader<std::process::ChildStdout>>,
}

impl Daemon {
    /// `None` if it ends instead of serving.
    fn start(home: &Home, command: &mut Command) -> Option<Self> {
        let errors = File::options()
            .create(true)
            .append(true)
            .open(home.root().join("stderr"))
            .expect("a file");
        let child = command.stdout(Stdio::piped()).stderr(errors).spawn().expect("the program");
        let mut child = Running(child);
        let mut output = BufReader::new(child.0.stdout.take().expect("standard output"));
        let mut line = String::new();
        output.read_line(&mut line).expect("UTF-8");
        (line.trim_end() == READY_LINE).then_some(Self { child, output: Some(output) })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let pid = i32::try_from(self.child.0.id()).ok().and_then(rustix::process::Pid::from_raw);
        rustix::process::kill_process(pid.expect("a pid"), rustix::process::Signal::TERM)
            .expect("a living process");
    }

    /// Waits for its end.
    pub fn wait(mut self) -> ExitStatus {
        let mut rest = String::new();
        self.output.take().expect("read once").read_to_string(&mut rest).expect("UTF-8");
        assert_eq!(rest, "", "only the first line is said on standard output");
        self.child.0.wait().expect("an end")
    }

    /// Stops it in order.
    pub fn stop(self) {
        self.terminate();
        assert!(self.wait().success());
    }

    /// Kills it without a chance to do anything.
    pub fn kill(mut self) {
        self.child.0.kill().expect("a living process");
        self.child.0.wait().expect("an end");
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.child.0.try_wait().expect("a child").is_none()
    }
}

/// A process that is killed when it is dropped.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// What the daemon answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// HTTP status; 0 if it closed the connection without a word.
    pub status: u16,
    /// The body, or null if it is no JSON.
    pub json: Value,
}

impl Answer {
    /// An error on one line: status, code, sentence, hint.
    pub fn line(&self) -> String {
        let part = |name: &str| {
            self.json["error"][name].as_str().unwrap_or_else(|| panic!("no {name}: {self:?}"))
        };
        format!("{} {}: {} | {}", self.status, part("code"), part("message"), part("hint"))
    }
}

/// One request on a connection of its own.
pub fn ask(socket: &Path, method: &str, path: &str, body: &[u8]) -> Answer {
    let mut request = format!(
        "{method} {path} HTTP/1.1\r\nhost: memtide\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    raw(socket, &request)
}

/// Sends bytes and reads until the daemon closes the connection.
pub fn raw(socket: &Path, request: &[u8]) -> Answer {
    let mut stream = UnixStream::connect(socket).expect("a daemon");
    // A daemon that has heard enough answers early and closes.
    let _heard_enough = stream.write_all(request);
    read_answer(&mut stream)
}

/// Reads until the daemon closes the connection.
pub fn read_answer(stream: &mut UnixStream) -> Answer {
    let mut bytes = Vec::new();
    // A connection that was closed on what we still sent ends with an error, after the answer.
    let _reset = stream.read_to_end(&mut bytes);
    let text = String::from_utf8(bytes).expect("UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).map_or(0, |status| status.parse().expect("a status"));
    Answer { status, json: serde_json::from_str(body).unwrap_or_default() }
}
