//! A daemon to measure: its own process, its own folder, reached over its socket like any other.

use super::fill;
use super::process;
use super::text::Author;
use crate::api::client::Client;
use crate::api::client::launch::{Launch, hello};
use crate::api::client::lockfile::LockInfo;
use crate::api::status::StatusJson;
use crate::config::paths::Paths;
use crate::embed::manifest::Model;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Time any answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Time a daemon has to stop, and a model to load.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What every benchmark is told from outside.
pub struct Bench<'a> {
    /// The program to measure: this one.
    pub program: PathBuf,
    /// What it gets of the environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The model.
    pub model: &'static Model,
    /// Where its files are.
    pub model_dir: PathBuf,
    /// Where temporary folders are made; their file system decides what a commit costs.
    pub folder: PathBuf,
    /// Seed of texts and vectors.
    pub seed: u64,
    /// Numbers of memories present.
    pub sizes: Vec<usize>,
    /// Measurements of each kind.
    pub samples: usize,
    /// Tells a person how far it is.
    pub say: &'a dyn Fn(&str),
}

impl Bench<'_> {
    /// A rig whose database holds `n` memories; no daemon runs yet.
    ///
    /// # Errors
    /// The folder can't be made, or the store refused.
    pub async fn rig(&self, n: usize) -> anyhow::Result<Rig> {
        let folder = tempfile::Builder::new()
            .prefix("memtide-bench-")
            .tempdir_in(&self.folder)
            .with_context(|| format!("make a folder in {}", self.folder.display()))?;
        let mut author = Author::new(self.seed);
        let rig = Rig::new(self, folder)?;
        if n > 0 {
            (self.say)(&format!("writing {n} memories"));
            fill::fill(&rig.paths.database, n, &mut author, self.model, self.seed).await?;
        }
        Ok(Rig { author, ..rig })
    }
}

/// A data folder and what is needed to serve it.
pub struct Rig {
    /// Continues where the filling ended, so that what it writes is new.
    pub author: Author,
    paths: Paths,
    program: PathBuf,
    environment: Vec<(OsString, OsString)>,
    folder: TempDir,
}

/// Whether a daemon finds the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WithModel {
    /// It does.
    Yes,
    /// Its model folder is empty.
    No,
}

impl Rig {
    fn new(bench: &Bench<'_>, folder: TempDir) -> anyhow::Result<Self> {
        let data_dir = folder.path().join("data");
        let paths = Paths::locate(&|_| None, Some(&data_dir))?;
        paths.prepare()?;
        // A benchmark measures what is here; it downloads nothing.
        std::fs::write(&paths.config_file, "[embedding]\nfetch = \"never\"\n")?;
        let mut environment = bench.environment.clone();
        environment.push(("MEMTIDE_DATA_DIR".into(), data_dir.into()));
        environment.push(("MEMTIDE_MODEL_DIR".into(), bench.model_dir.clone().into()));
        let program = bench.program.clone();
        Ok(Self { author: Author::new(bench.seed), paths, program, environment, folder })
    }

    /// The environment of a process that shall use this folder.
    pub fn environment(&self, model: WithModel) -> Vec<(OsString, OsString)> {
        let mut environment = self.environment.clone();
        if model == WithModel::No {
            let empty = self.folder.path().join("no-models");
            environment.push(("MEMTIDE_MODEL_DIR".into(), empty.into()));
        }
        environment
    }

    /// Sets a variable of every process that uses this folder from here on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.into(), value.into()));
    }

    /// Adds settings to the configuration of every process that uses this folder from here on.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn configure(&self, settings: &str) -> anyhow::Result<()> {
        let present = std::fs::read_to_string(&self.paths.config_file)?;
        Ok(std::fs::write(&self.paths.config_file, format!("{present}{settings}"))?)
    }

    /// Runs a subcommand to its end and returns what it printed.
    ///
    /// # Errors
    /// It failed.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let output = Command::new(&self.program)
            .args(arguments)
            .env_clear()
            .envs(self.environment(WithModel::Yes))
            .stdin(Stdio::null())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "memtide {}: {said}", arguments.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    fn launch(&self, model: WithModel) -> Launch {
        Launch {
            lock_file: self.paths.lock_file.clone(),
            socket: self.paths.socket.clone(),
            log_file: self.paths.log_file.clone(),
            program: self.program.clone(),
            arguments: ["daemon", "--started-by", "client"].map(OsString::from).into(),
            environment: self.environment(model),
        }
    }

    /// Starts a daemon and waits until it serves; with a model, until that is loaded.
    ///
    /// # Errors
    /// It does not start, or its model can't be loaded.
    pub async fn start(&self, model: WithModel) -> anyhow::Result<Daemon> {
        let daemon = self.serve(model)?;
        if model == WithModel::Yes {
            daemon.loaded().await?;
        }
        Ok(daemon)
    }

    /// Starts a daemon and waits until it serves. Its model and its vectors may still be on their way.
    ///
    /// # Errors
    /// It does not start.
    pub fn serve(&self, model: WithModel) -> anyhow::Result<Daemon> {
        self.launch(model).ensure()?;
        let info = LockInfo::read(&self.paths.lock_file);
        Ok(self.attach(info.context("the daemon's lock file names nobody")?))
    }

    /// The daemon that a front-end has started here, once it serves.
    ///
    /// # Errors
    /// None comes in time.
    pub async fn started_by_another(&self) -> anyhow::Result<Daemon> {
        for _ in 0..PATIENCE.as_millis() / LOOK_EVERY.as_millis() {
            // It listens a moment before it says in the lock file who it is.
            if let Some(info) = LockInfo::read(&self.paths.lock_file) {
                return Ok(self.attach(info));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        anyhow::bail!("no daemon was started within {} s", PATIENCE.as_secs())
    }

    fn attach(&self, info: LockInfo) -> Daemon {
        let client = Client::new(info.socket, "bench", ANSWER_TIMEOUT);
        let lock_file = self.paths.lock_file.clone();
        Daemon { pid: info.pid, client, lock_file, is_running: true }
    }

    /// Bytes of the database with its write-ahead log.
    pub fn bytes_on_disk(&self) -> u64 {
        [self.paths.database.clone(), self.log()]
            .iter()
            .filter_map(|path| std::fs::metadata(path).ok())
            .map(|meta| meta.len())
            .sum()
    }

    /// The database's file.
    pub fn database(&self) -> &Path {
        &self.paths.database
    }

    /// The database's write-ahead log.
    pub fn log(&self) -> PathBuf {
        self.paths.database.with_extension("db-wal")
    }

    /// A folder on the same file system that nobody else uses.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }
}

/// A running daemon; it is stopped with the value.
pub struct Daemon {
    /// Its process id.
    pub pid: u32,
    /// A client of it.
    pub client: Client,
    lock_file: PathBuf,
    is_running: bool,
}

impl Daemon {
    /// Its status.
    ///
    /// # Errors
    /// No answer.
    pub async fn status(&self) -> anyhow::Result<StatusJson> {
        Ok(serde_json::from_value(hello(&self.client).await?)?)
    }

    /// Another connection to it.
    pub fn another_client(&self) -> Client {
        Client::new(self.client.socket().to_owned(), "bench", ANSWER_TIMEOUT)
    }

    /// Holds back the embedding of stored texts, or lets it go on.
    ///
    /// # Errors
    /// No answer.
    pub async fn set_paused(&self, is_paused: bool) -> anyhow::Result<()> {
        let path = if is_paused { "/v1/embedder/pause" } else { "/v1/embedder/resume" };
        let _state: Value = self.client.post(path, &json!({})).await?;
        Ok(())
    }

    /// Waits until every text has its vector.
    ///
    /// # Errors
    /// No answer.
    pub async fn drained(&self) -> anyhow::Result<()> {
        while self.status().await?.store.unembedded > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Waits until the model is loaded.
    ///
    /// # Errors
    /// It can't be loaded, or no answer.
    pub async fn loaded(&self) -> anyhow::Result<()> {
        self.wait_for(|status| status.embedder.state != "loading").await?;
        let embedder = self.status().await?.embedder;
        anyhow::ensure!(
            embedder.state == "ready",
            "the model is {}: {}; fetch it with `memtide model pull`",
            embedder.state,
            embedder.error.unwrap_or_default()
        );
        Ok(())
    }

    /// Waits until its status is like that.
    ///
    /// # Errors
    /// It isn't within a while, or no answer.
    pub async fn wait_for(
        &self,
        mut is_enough: impl FnMut(&StatusJson) -> bool,
    ) -> anyhow::Result<()> {
        for _ in 0..PATIENCE.as_millis() / LOOK_EVERY.as_millis() {
            if is_enough(&self.status().await?) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        anyhow::bail!("the daemon didn't settle within {} s", PATIENCE.as_secs())
    }

    /// Stops it and waits for its end.
    ///
    /// # Errors
    /// It is still there after a while.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        let _stopping: Value = self.client.post("/v1/daemon/stop", &json!({})).await?;
        for _ in 0..PATIENCE.as_millis() / LOOK_EVERY.as_millis() {
            if LockInfo::read(&self.lock_file).is_none() && process::has_ended(self.pid) {
                self.is_running = false;
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        anyhow::bail!("the daemon {} didn't stop within {} s", self.pid, PATIENCE.as_secs())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw);
        if let (true, Some(pid)) = (self.is_running, pid) {
            // It may have ended by itself; nothing of its folder is needed any more.
            let _ended = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}
