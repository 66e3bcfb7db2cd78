//! Starting the daemon in the background and waiting until it is ready.
//!
//! The started daemon says one line on its standard output when it serves, or why it doesn't. Two
//! clients that start one at the same time are no problem: the lock decides, and the loser's client
//! connects to the winner.

use super::lockfile::LockInfo;
use super::{Client, ClientError};
use backon::{BlockingRetryable as _, ConstantBuilder};
use serde_json::Value;
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Time a daemon has to become ready. It opens its database before that, not its model.
const READY_TIMEOUT: Duration = Duration::from_secs(20);
/// Time after which the holder of the lock is taken to be stopping, and the start is tried again.
const BEATEN_WAIT: Duration = Duration::from_millis(500);
/// Pause between two looks for it.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Stack of a thread that waits for a daemon's first word or its end.
const REAPER_STACK_BYTES: usize = 64 << 10;

/// How to reach the daemon, and how to start it.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The daemon's lock file.
    pub lock_file: PathBuf,
    /// Where its socket is expected if the lock file doesn't say.
    pub socket: PathBuf,
    /// Where a started daemon logs.
    pub log_file: PathBuf,
    /// The program to start.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// All it gets of the environment.
    pub environment: Vec<(OsString, OsString)>,
}

/// Why no daemon could be reached or started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// It could not be started at all.
    #[error("the daemon could not be started: {0}")]
    Spawn(std::io::Error),
    /// It ended before it was ready.
    #[error("the daemon ended while starting: {}", said.as_deref().unwrap_or("it said nothing"))]
    Died {
        /// What it said.
        said: Option<String>,
        /// What it said to do next.
        hint: Option<String>,
    },
    /// It doesn't become ready.
    #[error("the daemon isn't ready after {} s; its log is {}", READY_TIMEOUT.as_secs(), .0.display())]
    Late(PathBuf),
}

impl Launch {
    /// The socket of this data folder's daemon, if it answers now. Only the lock file tells: whoever
    /// listens elsewhere may serve another folder.
    pub fn running(&self) -> Option<PathBuf> {
        let socket = LockInfo::read(&self.lock_file)?.socket;
        UnixStream::connect(&socket).is_ok().then_some(socket)
    }

    /// The socket of a daemon that answers, which is started if none does. Blocks until it is ready.
    /// The flag tells whether it was started.
    ///
    /// # Errors
    /// It can't be started, or doesn't become ready in time.
    pub fn ensure(&self) -> Result<(PathBuf, bool), LaunchError> {
        for _ in 0..READY_TIMEOUT.as_millis() / BEATEN_WAIT.as_millis() {
            if let Some(socket) = self.running() {
                return Ok((socket, false));
            }
            if let Some(socket) = self.start(READY_TIMEOUT)? {
                return Ok((socket, true));
            }
            // Who holds the lock is on its way up, or on its way down: then nobody else will serve.
            let looks = usize::try_from(BEATEN_WAIT.as_millis() / LOOK_EVERY.as_millis());
            let policy = ConstantBuilder::default()
                .with_delay(LOOK_EVERY)
                .with_max_times(looks.unwrap_or(10));
            if let Ok(socket) = (|| self.running().ok_or(())).retry(policy).call() {
                return Ok((socket, false));
            }
        }
        Err(self.late())
    }

    /// Starts a daemon and waits until it serves; `None` if another one holds the lock.
    fn start(&self, timeout: Duration) -> Result<Option<PathBuf>, LaunchError> {
        let log = self.open_log().map_err(LaunchError::Spawn)?;
        let log_start = log.metadata().map_or(0, |meta| meta.len());
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            // A group of its own, so that a client's Ctrl-C doesn't reach it.
            .process_group(0)
            .spawn()
            .map_err(LaunchError::Spawn)?;
        let Ok(said) = first_line(&mut child, timeout) else {
            // It may still come up, for the next who asks.
            reap(child);
            return Err(self.late());
        };
        if said.as_deref() == Some(READY_LINE) {
            reap(child);
            let socket = self.running();
            return socket.map(Some).ok_or_else(|| self.late());
        }
        let _status = child.wait();
        if said.as_deref() == Some(BEATEN_LINE) {
            return Ok(None);
        }
        let (said, hint) = last_words(&self.log_file, log_start);
        Err(LaunchError::Died { said, hint })
    }

    fn late(&self) -> LaunchError {
        LaunchError::Late(self.log_file.clone())
    }

    fn open_log(&self) -> std::io::Result<File> {
        if let Some(folder) = self.log_file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        OpenOptions::new().create(true).append(true).mode(0o600).open(&self.log_file)
    }
}

/// What a started daemon says when it serves.
pub const READY_LINE: &str = "ready";
/// What it says when another daemon holds the lock.
pub const BEATEN_LINE: &str = "another daemon holds the lock";

/// Waits for the daemon's end in the background: a starter that lives long would otherwise keep its
/// entry in the table of processes.
fn reap(mut child: Child) {
    let waiting = std::thread::Builder::new().name("daemon-reaper".to_owned());
    let started = waiting.stack_size(REAPER_STACK_BYTES).spawn(move || child.wait());
    if let Err(error) = started {
        tracing::debug!(%error, "nobody waits for the daemon's end");
    }
}

/// What the child says first: nothing if it ends without a word. An error if it neither speaks nor ends.
fn first_line(child: &mut Child, timeout: Duration) -> Result<Option<String>, ()> {
    let Some(output) = child.stdout.take() else { return Ok(None) };
    let (tell, told) = mpsc::channel();
    // A pipe can't be read with a deadline. This thread ends when the child speaks or ends.
    let reading = std::thread::Builder::new().name("daemon-listener".to_owned());
    let started = reading.stack_size(REAPER_STACK_BYTES).spawn(move || {
        let mut line = String::new();
        let read = BufReader::with_capacity(256, output).read_line(&mut line);
        // Whoever asked may have stopped waiting.
        let _unheard = tell.send(read.ok().map(|_| line.trim_end().to_owned()));
    });
    if let Err(error) = started {
        tracing::debug!(%error, "nobody listens to the daemon");
    }
    told.recv_timeout(timeout).map_err(|_| ())
}

/// The error and the hint that the daemon wrote to its log since it was started, or else its last line.
fn last_words(path: &Path, start: u64) -> (Option<String>, Option<String>) {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(start.max(end.saturating_sub(1 << 16))))?;
        file.read_to_end(&mut bytes)
    });
    if read.is_err() {
        return (None, None);
    }
    let text = String::from_utf8_lossy(&bytes);
    let marked = |mark: &str| text.lines().rev().find_map(|line| line.strip_prefix(mark));
    let last = || text.lines().rfind(|line| !line.trim().is_empty());
    let said = marked("error: ").or_else(last).map(str::to_owned);
    (said, marked("hint: ").map(str::to_owned))
}

/// The status of the daemon behind `client`, checked for the protocol.
///
/// # Errors
/// No answer, or one of another protocol.
pub async fn hello(client: &Client) -> Result<Value, ClientError> {
    let status: Value = client.get("/v1/status").await?;
    let spoken = status.get("protocol").and_then(Value::as_u64);
    if spoken != Some(u64::from(super::super::PROTOCOL)) {
        return Err(ClientError::Protocol(format!(
            "it speaks protocol {}, this memtide speaks {}; restart it with `memtide down` and `memtide up`",
            spoken.map_or_else(|| "unknown".to_owned(), |n| n.to_string()),
            super::super::PROTOCOL
        )));
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launch(folder: &Path, script: &str) -> Launch {
        Launch {
            lock_file: folder.join("lock"),
            socket: folder.join("socket"),
            log_file: folder.join("log"),
            program: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("FOLDER".into(), folder.into())],
        }
    }

    #[test]
    fn a_daemon_that_neither_serves_nor_ends_is_not_waited_for_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let silent = launch(dir.path(), "read line < \"$FOLDER/pipe\"");
        let error = silent.start(Duration::from_millis(1)).unwrap_err();
        assert!(matches!(error, LaunchError::Late(_)), "{error}");
        // It ends once somebody has opened the pipe.
        drop(OpenOptions::new().write(true).open(&pipe).unwrap());
    }

    #[test]
    fn the_last_words_of_a_daemon_are_its_error_and_its_hint() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("log"), "error: of an earlier start\nhint: old\n").unwrap();
        let words = |script: &str| match launch(dir.path(), script).ensure() {
            Err(LaunchError::Died { said, hint }) => (said, hint),
            other => panic!("{other:?}"),
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(words("true"), (None, None));
        assert_eq!(words("echo went wrong >&2"), (some("went wrong"), None));
        let all = words("echo INFO >&2; echo error: no room >&2; echo hint: make some >&2");
        assert_eq!(all, (some("no room"), some("make some")));
    }
}
