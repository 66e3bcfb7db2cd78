//! The life of the daemon, from its lock to its last checkpoint.

use super::background::Background;
use super::fetch::{self, FetchNote};
use super::lock::{Lock, LockError};
use super::{aside, database, resident, socket};
use crate::api::PROTOCOL;
use crate::api::client::lockfile::LockInfo;
use crate::api::doors::DoorParts;
use crate::api::routes::parse_mode;
use crate::api::server;
use crate::clock::SharedClock;
use crate::config::paths::Paths;
use crate::config::settings::Settings;
use crate::embed::embedder::Embedder;
use crate::embed::pull::Sources;
use crate::migrate::job::Migrator;
use crate::replicate::handle::ReplicatorHandle;
use crate::replicate::progress::SyncState;
use crate::replicate::replicator::{Listener, Replicator};
use crate::replicate::session::{self, Connect};
use crate::service::backup::Backups;
use crate::service::event::{Change, Event};
use crate::service::{Service, pump, retention};
use crate::shutdown::{self, Phase, Shutdown, Stopper};
use crate::store::error::StoreError;
use crate::store::pull::Became;
use crate::store::{Store, stats};
use anyhow::Context as _;
use metrics_exporter_prometheus::PrometheusBuilder;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Texts that are checked in one look, so that no reader is kept from others for long.
const CHECKED_TEXTS: usize = 500;
/// Time the background tasks have to end.
const TASKS_TIMEOUT: Duration = Duration::from_millis(500);

/// What the daemon is made of, all of it told from outside.
pub struct DaemonOptions {
    /// Where its files are.
    pub paths: Paths,
    /// How it is set.
    pub settings: Settings,
    /// Who started it: `user`, `systemd`, `launchd` or `client`.
    pub started_by: String,
    /// The clock.
    pub clock: SharedClock,
    /// Seeds everything random.
    pub seed: u64,
    /// Where a missing model comes from; `None` leaves it missing.
    pub sources: Option<Sources>,
    /// Makes the client of the linked account.
    pub connect: Connect,
    /// Makes the embedder.
    pub embedder: Box<dyn FnOnce() -> anyhow::Result<Embedder>>,
    /// Called once when it serves.
    pub ready: Box<dyn FnOnce()>,
}

/// Runs until it is told to stop.
///
/// # Errors
/// It can't start: another daemon holds the lock ([`LockError::Held`]), or a file can't be used.
pub async fn run(options: DaemonOptions) -> anyhow::Result<()> {
    let DaemonOptions {
        paths,
        settings,
        started_by,
        clock,
        seed,
        sources,
        connect,
        embedder,
        ready,
    } = options;
    // At the limit of a file's size the system ends a process that doesn't listen for this; with a
    // listener the write fails, as on a full disk.
    let _listener = signal(SignalKind::from_raw(libc::SIGXFSZ))?;
    // Watched from here on, so that a stop that comes with the readiness finds its way.
    let signals = [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?];
    paths.prepare()?;
    let mut lock = Lock::take(&paths.lock_file)?;
    let store = database::open(&paths, &settings, seed, Arc::clone(&clock))?;
    let service =
        Service::new(store.clone(), embedder()?, Arc::clone(&clock), settings.limits.text_bytes);
    let (stopper, shutdown) = shutdown::channel();
    let listener = socket::bind(&paths.socket)
        .with_context(|| format!("listen on {}", paths.socket.display()))?;
    let replicator =
        Replicator::new(store.aside(), connect, Arc::clone(&clock), seed, service.replicate_hint())
            .heard_by(News(service.clone()))
            .keeping_bodies_for(settings.history.keep_for);
    let migrator = Migrator::new(service.clone(), shutdown.clone());
    let backups = Backups::new(
        paths.database.clone(),
        paths.backup_dir.clone(),
        Arc::clone(&clock),
        shutdown.clone(),
    );
    let note = FetchNote::default();
    let fetching = note.clone();
    let mut background = Background::default();
    let broken = background.broken();
    let doors = Arc::new(DoorParts {
        service: service.clone(),
        backups: backups.clone(),
        replicator: replicator.handle(),
        migrator: migrator.clone(),
        fetching: Box::new(move || fetching.get()),
        broken: Box::new(move || broken.all()),
        zone: jiff::tz::TimeZone::system(),
        default_mode: parse_mode(&settings.search.default_mode)
            .map_err(|error| anyhow::anyhow!(error.body.message))?,
        default_limit: i64::try_from(settings.search.default_limit).unwrap_or(10),
        alarm_age: settings.replication.alarm_age,
        started_at: clock.now(),
        started_by,
        socket: paths.socket.clone(),
        rss: resident::bytes,
        metrics: PrometheusBuilder::new().install_recorder()?,
        shutdown: shutdown.clone(),
        stopper: stopper.clone(),
    });
    background.spawn("embedding", pump::run(service.clone(), shutdown.clone()));
    let news = tell_of_sync(replicator.handle(), service.clone(), shutdown.clone());
    background.spawn("sync news", news);
    background.spawn("replication", aside::run("replicator", replicator.run(shutdown.clone()))?);
    background.spawn("migration", migrator.run());
    background.spawn("file check", check_file(service.clone()));
    background.spawn("backup", backups.run(shutdown.clone()));
    if let Some(keep_for) = settings.history.keep_for {
        let dropping =
            retention::run(store.clone(), Arc::clone(&clock), keep_for, shutdown.clone());
        background.spawn("retention", dropping);
    }
    if let Some(sources) = sources {
        let embedder = service.embedder().clone();
        background.spawn("fetch", fetch::run(embedder, sources, note, shutdown.clone()));
    }
    let watch =
        tokio::spawn(watch_for_stop(signals, stopper.clone(), shutdown.clone(), store.clone()));
    lock.announce(&LockInfo {
        pid: std::process::id(),
        socket: paths.socket.clone(),
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })?;
    tracing::info!(socket = %paths.socket.display(), "serving");
    ready();
    tokio::select! {
        () = server::serve(listener, doors) => {}
        () = shutdown.reached(Phase::Stopping) => {}
    }
    stopper.advance(Phase::Stopping);
    background.end(TASKS_TIMEOUT).await;
    watch.abort();
    let is_healthy = store.is_alive();
    // Closing blocks on the writer's last checkpoint.
    tokio::task::spawn_blocking(move || store.close()).await?;
    socket::remove(&paths.socket);
    lock.withdraw()?;
    tracing::info!("stopped");
    anyhow::ensure!(is_healthy, "a thread of the store had died; see the log");
    Ok(())
}

/// Passes on what the replicator changes here.
struct News(Service);

impl Listener for News {
    fn changed(&self, news: &[session::News]) {
        let change = |became| match became {
            Became::Stored => Some(Change::Stored),
            Became::Updated => Some(Change::Updated),
            Became::Deleted => Some(Change::Deleted),
            Became::Unchanged => None,
        };
        self.0.note_changed(news.iter().filter_map(|(id, became)| Some((change(*became)?, *id))));
    }

    fn stored(&self, error: Option<&StoreError>) {
        self.0.note_write(error);
    }
}

/// Tells whoever watches the events what replication is doing.
async fn tell_of_sync(replicator: ReplicatorHandle, service: Service, shutdown: Shutdown) {
    let mut seen = SyncState::default();
    loop {
        tokio::select! {
            state = replicator.other_than(seen) => seen = state,
            () = shutdown.reached(Phase::Draining) => return,
        }
        service.events().send(Event::Sync(seen.as_str().to_owned()));
    }
}

/// Looks over the database once, beside the daily work: its structure, then that each text is still the
/// one that was stored. It begins when vectors and words are in memory: who has just started the daemon waits
/// for these.
async fn check_file(service: Service) {
    let store = service.store().clone();
    if tokio::task::spawn_blocking(move || store.wait_until_filled()).await.is_err() {
        tracing::warn!("nobody told when vectors and words were in memory");
    }
    match service.read(stats::quick_check).await {
        Ok(faults) if faults.is_empty() => {}
        Ok(faults) => service.note_damage(&faults.join("; ")),
        Err(error) => tracing::warn!(%error, "the database's structure was not checked"),
    }
    let mut after = 0;
    loop {
        let checked =
            service.read(move |read| stats::altered_texts(read, after, CHECKED_TEXTS)).await;
        match checked {
            Ok((altered, last)) => {
                for id in altered {
                    service.note_damage(&format!("the text of memory {id} is not what was stored"));
                }
                let Some(last) = last else { return };
                after = last;
            }
            Err(error) => return tracing::warn!(%error, "the texts were not checked"),
        }
    }
}

/// First signal: drain. Second: straight to closing the store. A dead store stops the daemon too: it
/// must not look alive.
async fn watch_for_stop(
    [mut term, mut int]: [Signal; 2],
    stopper: Stopper,
    shutdown: Shutdown,
    store: Store,
) {
    let mut health = tokio::time::interval(Duration::from_secs(5));
    health.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
            _ = health.tick() => {
                if store.is_alive() {
                    continue;
                }
                tracing::error!("a thread of the store has died; the daemon stops");
            }
        }
        let next =
            if shutdown.phase() == Phase::Running { Phase::Draining } else { Phase::Stopping };
        stopper.advance(next);
    }
}

/// Whether the error says that another daemon holds the lock.
pub fn is_beaten(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref::<LockError>(), Some(LockError::Held(_)))
}
