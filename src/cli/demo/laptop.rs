//! A laptop of the story: a data folder of its own, a daemon process, and a client of its socket.

use super::super::failure::Failure;
use super::super::session::Session;
use crate::api::client::Client;
use crate::api::client::launch::READY_LINE;
use crate::emulator::options::Options;
use crate::emulator::server::Running;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Time an answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) struct Laptop {
    data_dir: PathBuf,
    model_dir: PathBuf,
    cloud_base: String,
    daemon: Option<Child>,
}

impl Laptop {
    pub(super) fn new(
        session: &Session,
        folder: &Path,
        name: &str,
        cloud: &Running,
    ) -> Result<Self, Failure> {
        let data_dir = folder.join(name);
        let mut laptop = Self {
            data_dir,
            model_dir: session.paths.model_dir.clone(),
            cloud_base: cloud.base_url(),
            daemon: None,
        };
        laptop.start()?;
        Ok(laptop)
    }

    /// The program itself with this laptop's folders and the emulated account, and nothing else.
    fn command(&self) -> Result<Command, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .env_clear()
            .env("HOME", &self.data_dir)
            .env("PATH", "/usr/bin:/bin")
            .env("MEMTIDE_DATA_DIR", &self.data_dir)
            .env("MEMTIDE_MODEL_DIR", &self.model_dir)
            .env("CLOUDFLARE_API_BASE_URL", &self.cloud_base)
            .env("CLOUDFLARE_ACCOUNT_ID", Options::ACCOUNT_ID)
            .env("CLOUDFLARE_API_TOKEN", Options::TOKEN);
        Ok(command)
    }

    /// Starts the daemon and waits until it serves.
    pub(super) fn start(&mut self) -> Result<(), Failure> {
        let mut child = self
            .command()?
            .args(["daemon", "--started-by", "client"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        self.daemon = Some(child);
        if line.trim_end() == READY_LINE {
            Ok(())
        } else {
            Err(Failure::new("the daemon didn't start"))
        }
    }

    /// Ends the daemon as a power cut would end it for its processes: no signal it could handle.
    pub(super) fn kill(&mut self) -> Result<(), Failure> {
        if let Some(mut child) = self.daemon.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Runs a subcommand to its end.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<String, Failure> {
        let output = self.command()?.args(arguments).stdin(Stdio::null()).output()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Failure::new(format!("memtide {}: {}", arguments.join(" "), said.trim())))
    }

    pub(super) fn client(&self) -> Client {
        Client::new(self.data_dir.join("memtide.sock"), "demo", ANSWER_TIMEOUT)
    }
}

impl Drop for Laptop {
    fn drop(&mut self) {
        if let Err(failure) = self.kill() {
            tracing::warn!(failure.message, "demo daemon not ended");
        }
    }
}
