//! The work of moving in, of which the daemon does one thing at a time: an import, a dry run or a comparison
//! as a job that is asked for, watched and cancelled, and between jobs the following of a source.

use super::follow;
use super::import::{self, Asked, ImportError};
use super::moved;
use super::source::{Source, SourceError};
use crate::clock::Micros;
use crate::service::Service;
use crate::shutdown::{Phase, Shutdown};
use crate::store::error::StoreError;
use crate::store::source::{self, Stage};
use futures_util::FutureExt as _;
use serde_json::Value;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Time for which a source is waited for at once: a stop of the daemon waits no longer.
pub(super) const WAIT_AT_ONCE: Duration = Duration::from_secs(1);
/// How often in a row a locked source is waited for.
pub(super) const WAITS: u64 = 10;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobKind {
    /// Takes a source over.
    Import,
    /// Tells what that would do.
    DryRun,
    /// Compares a source with what is here.
    Verify,
}

impl JobKind {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Import => "import",
            Self::DryRun => "dry_run",
            Self::Verify => "verify",
        }
    }
}

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It is at work.
    Running,
    /// It came to its end.
    Done,
    /// It was told to stop.
    Cancelled,
    /// It could not go on.
    Failed,
}

impl JobState {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

/// Something that went wrong, with what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// A sentence.
    pub message: String,
    /// What a person can do next.
    pub next_step: String,
}

impl From<&SourceError> for Trouble {
    fn from(error: &SourceError) -> Self {
        Self { message: error.to_string(), next_step: error.hint().to_owned() }
    }
}

impl From<&StoreError> for Trouble {
    fn from(error: &StoreError) -> Self {
        Self { message: error.to_string(), next_step: error.hint().to_owned() }
    }
}

/// A job as it is shown.
#[derive(Debug, Clone, PartialEq)]
pub struct JobView {
    /// What it does.
    pub kind: JobKind,
    /// How it stands.
    pub state: JobState,
    /// What it is at.
    pub phase: &'static str,
    /// How much of that is done.
    pub done: u64,
    /// How much there is.
    pub total: u64,
    /// When it began.
    pub began_at: Micros,
    /// When it ended.
    pub ended_at: Option<Micros>,
    /// What it found or did.
    pub report: Option<Value>,
    /// Why it failed.
    pub trouble: Option<Trouble>,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub enum JobEnd {
    /// With what it found or did.
    Done(Value),
    /// Before its end, with what it did.
    Cancelled(Option<Value>),
    /// It could not go on.
    Failed(Trouble),
}

/// Why a job must stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// A person wants it.
    Cancelled,
    /// The daemon stops.
    Daemon,
}

/// What a job is given: it tells its progress and hears when it must stop.
#[derive(Clone)]
pub struct Ticket {
    view: Arc<watch::Sender<Option<JobView>>>,
    is_cancelled: Arc<AtomicBool>,
    shutdown: Shutdown,
}

impl Ticket {
    /// Tells how far it is.
    pub fn progress(&self, phase: &'static str, done: u64, total: u64) {
        self.view.send_if_modified(|view| {
            if let Some(view) = view.as_mut() {
                (view.phase, view.done, view.total) = (phase, done, total);
            }
            view.is_some()
        });
    }

    /// Whether it must stop.
    pub fn stop(&self) -> Option<Stop> {
        if self.shutdown.phase() != Phase::Running {
            return Some(Stop::Daemon);
        }
        self.is_cancelled.load(Ordering::Acquire).then_some(Stop::Cancelled)
    }
}

/// Why a request was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// One thing at a time.
    #[error("a job is at work already: {}", .0.as_str())]
    Running(JobKind),
    /// Nothing was imported or followed yet.
    #[error("nothing was imported yet")]
    NoSource,
    /// The source can't be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Not all of the source is here.
    #[error("the move is not complete: {}", .0.message)]
    Incomplete(Trouble),
    /// A thread broke down.
    #[error("a defect of memtide stopped the reading of the source")]
    Defect,
}

/// The handle; clones share it.
#[derive(Clone)]
pub struct Migrator {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) service: Service,
    pub(super) shutdown: Shutdown,
    /// Held by whoever is at work on a source.
    pub(super) work: tokio::sync::Mutex<()>,
    /// Wakes the follower: something else is wanted of it.
    pub(super) orders: Notify,
    /// Imports that ended: what the follower remembers of the source is old then.
    pub(super) n_imports: AtomicU64,
    view: Arc<watch::Sender<Option<JobView>>>,
    is_cancelled: Mutex<Arc<AtomicBool>>,
    trouble: Mutex<Option<Trouble>>,
    left_out: Mutex<Option<Trouble>>,
}

impl Migrator {
    /// A migrator that is doing nothing.
    pub fn new(service: Service, shutdown: Shutdown) -> Self {
        Self {
            inner: Arc::new(Inner {
                service,
                shutdown,
                work: tokio::sync::Mutex::default(),
                orders: Notify::new(),
                n_imports: AtomicU64::new(0),
                view: Arc::new(watch::Sender::new(None)),
                is_cancelled: Mutex::default(),
                trouble: Mutex::default(),
                left_out: Mutex::default(),
            }),
        }
    }

    /// Goes on with what was begun before the daemon started, then follows for as long as it runs.
    pub async fn run(self) {
        match self.inner.service.read(source::interrupted).await {
            Ok(Some(source)) => {
                if let Err(error) = self.begin_import(source.path, Asked::default()) {
                    tracing::warn!(%error, "the interrupted import doesn't go on");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "an interrupted import was not looked for"),
        }
        follow::run(&self).await;
    }

    /// The job at work, or the last one.
    pub fn job(&self) -> Option<JobView> {
        self.inner.view.borrow().clone()
    }

    /// Why the source is not being followed as it should be.
    pub fn trouble(&self) -> Option<Trouble> {
        lock(&self.inner.trouble).clone()
    }

    pub(super) fn set_trouble(&self, trouble: Option<Trouble>) {
        let mut held = lock(&self.inner.trouble);
        if *held != trouble {
            if let Some(trouble) = &trouble {
                tracing::warn!(message = trouble.message, "the source is not followed");
            }
            *held = trouble;
        }
    }

    /// What there is to say of rows of the followed source that can't be taken over.
    pub fn left_out(&self) -> Option<Trouble> {
        lock(&self.inner.left_out).clone()
    }

    pub(super) fn set_left_out(&self, left_out: Option<Trouble>) {
        *lock(&self.inner.left_out) = left_out;
    }

    /// Begins to take over the source at `path`.
    ///
    /// # Errors
    /// The source can't be read, or another job is at work.
    pub async fn import(&self, path: &Path, dry_run: bool) -> Result<(), MigrateError> {
        let path = self.look_at(path).await?;
        if !dry_run {
            self.recognise(&path).await?;
        }
        self.begin_import(path, Asked { dry_run, accepts_deletions: false })
    }

    /// Takes over what is missing of the source at `path`, or of the last one, then follows it.
    ///
    /// # Errors
    /// The source can't be read, another job is at work, or the store refused.
    pub async fn follow(
        &self,
        path: Option<&Path>,
        accepts_deletions: bool,
    ) -> Result<(), MigrateError> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => PathBuf::from(self.current().await?.path),
        };
        self.refuse_while_running()?;
        let path = self.look_at(&path).await?;
        self.recognise(&path).await?;
        let begun = path.clone();
        let wrote = self
            .inner
            .service
            .store()
            .write(move |write| {
                let total = source::at_path(write, &begun)?.map_or(0, |known| known.total);
                let source = source::begin(write, &begun, total)?;
                source::set_followed(write, source.key, true)
            })
            .await;
        self.inner.service.note_write(wrote.as_ref().err());
        wrote?;
        let begun = self.begin_import(path, Asked { dry_run: false, accepts_deletions });
        self.inner.orders.notify_one();
        begun
    }

    /// Stops the job at work. Returns whether there was one.
    pub fn cancel(&self) -> bool {
        lock(&self.inner.is_cancelled).store(true, Ordering::Release);
        self.is_running().is_some()
    }

    /// Records that the move is over and stops following, once the source was looked at for the last time.
    /// With `is_forced` whatever stands in the way of that.
    ///
    /// # Errors
    /// Nothing was imported, not all of it was, its last changes can't be taken over, a job is at work, or the
    /// store refused.
    pub async fn finish(&self, is_forced: bool) -> Result<source::Source, MigrateError> {
        self.current().await?;
        self.refuse_while_running()?;
        // What the follower is just taking over is taken over to its end.
        let working = self.inner.work.lock().await;
        let source = self.current().await?;
        let key = source.key;
        if !is_forced {
            self.complete(&source).await.map_err(MigrateError::Incomplete)?;
        }
        let wrote = self.inner.service.store().write(move |write| source::finish(write, key)).await;
        self.inner.service.note_write(wrote.as_ref().err());
        wrote?;
        drop(working);
        self.set_trouble(None);
        self.set_left_out(None);
        self.inner.orders.notify_one();
        self.current().await
    }

    /// Sees to it that all of a source is here, as far as that can be told.
    async fn complete(&self, source: &source::Source) -> Result<(), Trouble> {
        if matches!(source.stage, Stage::Importing | Stage::Stopped) {
            return Err(Trouble {
                message: format!(
                    "the import came to no end: {} of {} rows are here",
                    source.imported, source.total
                ),
                next_step: "go on with `memtide migrate import`".to_owned(),
            });
        }
        if source.is_followed { follow::look_last(self, source).await } else { Ok(()) }
    }

    /// Starts a job; whatever it does, nobody else is at work on a source meanwhile.
    ///
    /// # Errors
    /// Another job is at work.
    pub fn start<F>(
        &self,
        kind: JobKind,
        job: impl FnOnce(Ticket) -> F + Send + 'static,
    ) -> Result<(), MigrateError>
    where
        F: Future<Output = JobEnd> + Send + 'static,
    {
        let inner = &self.inner;
        let now = inner.service.clock().now();
        let mut running = None;
        let mut is_cancelled = lock(&inner.is_cancelled);
        inner.view.send_modify(|view| {
            running = view.as_ref().filter(|view| view.state == JobState::Running).map(|v| v.kind);
            if running.is_none() {
                *view = Some(JobView {
                    kind,
                    state: JobState::Running,
                    phase: "begin",
                    done: 0,
                    total: 0,
                    began_at: now,
                    ended_at: None,
                    report: None,
                    trouble: None,
                });
            }
        });
        if let Some(running) = running {
            return Err(MigrateError::Running(running));
        }
        *is_cancelled = Arc::default();
        let ticket = Ticket {
            view: Arc::clone(&inner.view),
            is_cancelled: Arc::clone(&is_cancelled),
            shutdown: inner.shutdown.clone(),
        };
        drop(is_cancelled);
        let inner = Arc::clone(inner);
        tokio::spawn(async move {
            let end = {
                let _working = inner.work.lock().await;
                // Nothing of a job that broke down is used any more; what it wrote is whole.
                let caught = AssertUnwindSafe(job(ticket)).catch_unwind().await;
                // Before the follower can take a look that would have to be repeated.
                inner.n_imports.fetch_add(1, Ordering::AcqRel);
                caught.unwrap_or_else(|_| JobEnd::Failed(ImportError::Defect.trouble()))
            };
            let ended_at = inner.service.clock().now();
            inner.view.send_modify(|view| {
                let Some(view) = view.as_mut() else { return };
                view.ended_at = Some(ended_at);
                (view.state, view.report, view.trouble) = match end {
                    JobEnd::Done(report) => (JobState::Done, Some(report), None),
                    JobEnd::Cancelled(report) => (JobState::Cancelled, report, None),
                    JobEnd::Failed(trouble) => (JobState::Failed, None, Some(trouble)),
                };
            });
            inner.orders.notify_one();
        });
        Ok(())
    }

    /// Goes on with an import that something has stopped.
    pub(super) fn import_again(&self, path: &str) -> Result<(), MigrateError> {
        self.begin_import(path.to_owned(), Asked::default())
    }

    fn begin_import(&self, path: String, asked: Asked) -> Result<(), MigrateError> {
        let kind = if asked.dry_run { JobKind::DryRun } else { JobKind::Import };
        let service = self.inner.service.clone();
        self.start(kind, move |ticket| async move {
            match import::run(&service, &path, asked, &ticket).await {
                Ok(report) => {
                    let is_complete = report.complete;
                    let report = serde_json::to_value(report).unwrap_or_default();
                    if is_complete { JobEnd::Done(report) } else { JobEnd::Cancelled(Some(report)) }
                }
                Err(error) => {
                    tracing::warn!(%error, "the import has failed");
                    JobEnd::Failed(error.trouble())
                }
            }
        })
    }

    fn is_running(&self) -> Option<JobKind> {
        let view = self.inner.view.borrow();
        view.as_ref().filter(|view| view.state == JobState::Running).map(|view| view.kind)
    }

    fn refuse_while_running(&self) -> Result<(), MigrateError> {
        self.is_running().map_or(Ok(()), |kind| Err(MigrateError::Running(kind)))
    }

    pub(super) async fn current(&self) -> Result<source::Source, MigrateError> {
        self.inner.service.read(source::current).await?.ok_or(MigrateError::NoSource)
    }

    /// A source that was moved to `path` stays the one that it was.
    async fn recognise(&self, path: &str) -> Result<(), MigrateError> {
        self.refuse_while_running()?;
        // The follower's look at the old path is over before the new one counts.
        let _working = self.inner.work.lock().await;
        let shutdown = self.inner.shutdown.clone();
        let is_stopped = move || shutdown.phase() != Phase::Running;
        moved::recognise(&self.inner.service, path, is_stopped).await.map_err(|error| match error {
            ImportError::Source(error) => error.into(),
            ImportError::Store(error) => error.into(),
            ImportError::Defect => MigrateError::Defect,
        })
    }

    /// Opens the source once, so that whoever asks hears at once what is wrong with it. Returns its real path.
    pub(super) async fn look_at(&self, path: &Path) -> Result<String, MigrateError> {
        let path = path.to_owned();
        let shutdown = self.inner.shutdown.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let path = std::fs::canonicalize(&path).unwrap_or(path);
            open(&path, &|| shutdown.phase() != Phase::Running)?;
            Ok::<_, SourceError>(path.display().to_string())
        });
        Ok(looked.await.map_err(|_| MigrateError::Defect)??)
    }
}

/// Opens a source, and waits a while for one that is locked, unless `is_stopped`.
pub(super) fn open(path: &Path, is_stopped: &dyn Fn() -> bool) -> Result<Source, SourceError> {
    patiently(is_stopped, || Source::open_within(path, WAIT_AT_ONCE))
}

/// Repeats what a lock has kept from being read.
pub(super) fn patiently<T>(
    is_stopped: &dyn Fn() -> bool,
    job: impl Fn() -> Result<T, SourceError>,
) -> Result<T, SourceError> {
    for _ in 1..WAITS {
        match job() {
            Err(SourceError::Locked { .. }) if !is_stopped() => {}
            other => return other,
        }
    }
    job().map_err(|error| match error {
        SourceError::Locked { path, waited_s } => {
            SourceError::Locked { path, waited_s: waited_s.saturating_mul(WAITS) }
        }
        other => other,
    })
}

impl ImportError {
    fn trouble(&self) -> Trouble {
        match self {
            Self::Source(error) => error.into(),
            Self::Store(error) => error.into(),
            Self::Defect => Trouble {
                message: self.to_string(),
                next_step: "see the daemon's log, and report it".to_owned(),
            },
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
