//! `memtide daemon`.

use super::failure::{Code, Failure};
use super::session::Session;
use super::{args, output};
use crate::api::client::launch::{BEATEN_LINE, READY_LINE};
use crate::clock::SystemClock;
use crate::config::process_env;
use crate::daemon::run::{self, DaemonOptions};
use crate::embed::embedder::Embedder;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

/// Threads of the daemon's runtime. Its own work is small: SQLite and the model have their own threads.
const WORKERS: usize = 2;

pub(super) fn run(session: &Session, args: &args::Daemon) -> Result<ExitCode, Failure> {
    let filter = EnvFilter::try_new(&session.settings().log.filter)
        .map_err(|error| Failure::new(format!("log.filter is not understood: {error}")))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
    let is_background = args.started_by == args::StartedBy::Client
        || !std::io::IsTerminal::is_terminal(&std::io::stdout());
    let started_by =
        if process_env("INVOCATION_ID").is_some() && process_env("NOTIFY_SOCKET").is_some() {
            "systemd"
        } else {
            match args.started_by {
                args::StartedBy::User => "user",
                args::StartedBy::Systemd => "systemd",
                args::StartedBy::Launchd => "launchd",
                args::StartedBy::Client => "client",
            }
        };
    let embedder_options = session.embedder_options()?;
    let options = DaemonOptions {
        paths: session.paths.clone(),
        settings: session.settings().clone(),
        started_by: started_by.to_owned(),
        clock: SystemClock::shared(),
        seed: uuid::Uuid::new_v4().as_u64_pair().0,
        sources: session.settings().embedding.is_fetched.then(|| session.sources()),
        embedder: Box::new(move || Ok(Embedder::start(embedder_options)?)),
        ready: Box::new(move || {
            // Whoever started us may have gone; then nobody waits for this.
            let _gone = output::line(if is_background { READY_LINE } else { "serving" });
            let _no_systemd = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
        }),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .thread_name("memtide")
        .enable_all()
        .build()?;
    match runtime.block_on(run::run(options)) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            if run::is_beaten(&error) {
                output::line(BEATEN_LINE)?;
            }
            Err(Failure { code: Code::Failed, ..Failure::from(error) })
        }
    }
}
