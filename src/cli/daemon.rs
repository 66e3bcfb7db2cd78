//! `memtide daemon`.

use super::failure::{Code, Failure};
use super::session::Session;
use super::{args, diary, output};
use crate::api::client::launch::{BEATEN_LINE, READY_LINE};
use crate::clock::SystemClock;
use crate::config::origin::Origin;
use crate::config::process_env;
use crate::daemon::run::{self, DaemonOptions};
use crate::embed::embedder::Embedder;
use crate::remote::budget::Budget;
use crate::remote::cloudflare::Cloudflare;
use crate::remote::http::HttpTransport;
use crate::replicate::progress::SyncState;
use crate::replicate::session::{Connect, ConnectError};
use crate::secrets::{self, Sources, TOKEN_VARIABLE};
use crate::store::link::Link;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

/// Threads of the daemon's runtime. Its own work is small: SQLite and the model have their own threads.
const WORKERS: usize = 2;

pub(super) fn run(session: &Session, args: &args::Daemon) -> Result<ExitCode, Failure> {
    diary::start(&session.settings().log.filter)?;
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
        connect: connect(session),
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

/// Makes clients of the linked account. What was given to this very process wins over what is stored.
fn connect(session: &Session) -> Connect {
    let data_dir = session.paths.data_dir.clone();
    let credentials = process_env("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let environment = process_env(TOKEN_VARIABLE);
    let given_base = session
        .config
        .entry("cloudflare.api_base_url")
        .ok()
        .filter(|entry| matches!(entry.origin, Origin::Environment(_)))
        .map(|entry| entry.value.clone());
    let allowed = session.settings().replication.request_budget;
    let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
    let set_up = session.config.demand("cloudflare").map_err(ToString::to_string);
    Box::new(move |link: &Link| {
        let misconfigured = |message: String| ConnectError {
            state: SyncState::Misconfigured,
            message,
            next_step: "correct it and start the daemon again".to_owned(),
        };
        let no_token = |message: String| ConnectError {
            state: SyncState::AuthRequired,
            message,
            next_step: "store one with `memtide cloud link --token-file -`".to_owned(),
        };
        set_up.clone().map_err(misconfigured)?;
        let sources = Sources {
            credentials_dir: credentials.as_deref(),
            data_dir: &data_dir,
            environment: environment.as_deref(),
            environment_first: true,
        };
        let (token, _) = secrets::load(&sources)
            .map_err(|error| no_token(error.to_string()))?
            .ok_or_else(|| no_token("no API token is known".to_owned()))?;
        let base = given_base.as_deref().unwrap_or(&link.api_base);
        let transport =
            HttpTransport::new(base, token).map_err(|error| misconfigured(error.to_string()))?;
        let clock = SystemClock::shared();
        Ok(Cloudflare::new(Arc::new(transport), &link.account, clock, Budget::new(allowed)))
    })
}
