//! What every subcommand starts from: where the files are, how memtide is set, how the daemon is reached.

use super::args::Global;
use super::failure::Failure;
use super::output;
use crate::api::client::launch::Launch;
use crate::api::client::{Client, launch};
use crate::config::paths::Paths;
use crate::config::settings::Settings;
use crate::config::{Config, process_env};
use crate::embed::embedder::EmbedderOptions;
use crate::embed::manifest::Model;
use crate::embed::pull::Sources;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Time an ordinary answer may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// What a daemon that another command starts gets of the environment. No credential is among it: it
/// reads its own.
const PASSED_ON: &[&str] = &[
    "HOME",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TERM",
    "USER",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "XDG_DATA_HOME",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "MEMTIDE_DATA_DIR",
    "MEMTIDE_CONFIG",
    "MEMTIDE_MODEL_DIR",
    "MEMTIDE_SOCKET",
    "MEMTIDE_LOG",
    "HF_ENDPOINT",
    "ORT_DYLIB_PATH",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
    "http_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "PIP_CONFIG_FILE",
    "PIP_INDEX_URL",
    "PIP_CERT",
    "PIP_PROXY",
    "PIP_TRUSTED_HOST",
    "VIRTUAL_ENV",
    "PYENV_VERSION",
    "RUST_BACKTRACE",
];

/// The start of every subcommand.
pub(super) struct Session {
    pub(super) global: Global,
    pub(super) paths: Paths,
    pub(super) config: Config,
    runtime: tokio::runtime::Runtime,
}

impl Session {
    pub(super) fn open(global: &Global) -> Result<Self, Failure> {
        let paths = Paths::locate(&process_env, global.data_dir.as_deref())?;
        let config = Config::load(&paths.config_file, &process_env, &[])?;
        Self::with(global, paths, config)
    }

    /// The same for a command that needs no setting: a fault of the config file is only mentioned.
    pub(super) fn open_leniently(global: &Global) -> Result<Self, Failure> {
        let paths = Paths::locate(&process_env, global.data_dir.as_deref())?;
        let config = match Config::load(&paths.config_file, &process_env, &[]) {
            Ok(config) => config,
            Err(error) => {
                output::note(&format!("no daemon starts with these settings: {error}"));
                Config::defaults()?
            }
        };
        Self::with(global, paths, config)
    }

    fn with(global: &Global, paths: Paths, config: Config) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { global: global.clone(), paths, config, runtime })
    }

    pub(super) fn settings(&self) -> &Settings {
        self.config.settings()
    }

    /// Runs a future on this thread.
    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Waits.
    pub(super) fn pause(&self, duration: Duration) {
        self.block_on(async move { tokio::time::sleep(duration).await });
    }

    /// How a daemon is reached and started.
    pub(super) fn launch(&self, started_by: &str) -> Result<Launch, Failure> {
        let mut arguments: Vec<OsString> =
            ["daemon", "--started-by", started_by].map(OsString::from).into();
        if self.global.data_dir.is_some() {
            arguments.extend(["--data-dir".into(), self.paths.data_dir.clone().into()]);
        }
        let environment = PASSED_ON
            .iter()
            .filter_map(|name| Some((OsString::from(name), process_env(name)?)))
            .collect();
        Ok(Launch {
            lock_file: self.paths.lock_file.clone(),
            socket: self.paths.socket.clone(),
            log_file: self.paths.log_file.clone(),
            program: std::env::current_exe()?,
            arguments,
            environment,
        })
    }

    /// How the embedder is set.
    pub(super) fn embedder_options(&self) -> Result<EmbedderOptions, Failure> {
        let embedding = &self.settings().embedding;
        let model = Model::named(&embedding.model).map_err(Failure::new)?;
        let mut options = EmbedderOptions::new(model, self.paths.model_dir.clone());
        options.library.clone_from(&embedding.runtime_library);
        options.beside =
            std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.to_owned()));
        options.threads = embedding.threads;
        Ok(options)
    }

    /// Where a model's files come from.
    pub(super) fn sources(&self) -> Sources {
        let mut sources = Sources::default();
        if let Some(hub) = &self.settings().embedding.hub_url {
            sources.hub = Some(hub.clone());
        }
        sources
    }

    /// A client of the running daemon, which is started if none runs and that is allowed.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        let launch = self.launch("client")?;
        let socket = match launch.running() {
            Some(socket) => socket,
            None if self.global.no_spawn => return Err(Failure::no_daemon(&self.paths.socket)),
            None => {
                self.paths.prepare()?;
                launch.ensure()?.0
            }
        };
        self.greeted(socket)
    }

    /// A client of the running daemon; none is started.
    pub(super) fn running_client(&self) -> Result<Client, Failure> {
        let running = self.launch("client")?.running();
        self.greeted(running.ok_or_else(|| Failure::no_daemon(&self.paths.socket))?)
    }

    fn greeted(&self, socket: PathBuf) -> Result<Client, Failure> {
        let client = Client::new(socket, "cli", ANSWER_TIMEOUT);
        self.block_on(launch::hello(&client))?;
        Ok(client)
    }
}
