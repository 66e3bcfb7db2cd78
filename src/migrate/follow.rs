//! Following a source: the service goes on writing, and what it writes is taken over.
//!
//! A look asks first whether anybody has committed since the last one, which costs next to nothing. Then it
//! hashes the small columns of all rows and reads the texts of those only that have another hash than before.
//! Looks are made when the files change, and once a minute in case the system didn't tell; after an expensive
//! one there is a rest, so that they take a part of one processor at most. Nothing is remembered but what can
//! be read again: a follower that is killed begins with what the store holds.

use super::feed::Feed;
use super::import::{self, ImportError, blocking, is_too_many};
use super::job::{self, JobState, Migrator, Trouble, patiently};
use super::source::{Source, SourceError};
use crate::clock::Micros;
use crate::service::Service;
use crate::service::event::Change;
use crate::shutdown::Phase;
use crate::store::pull::Became;
use crate::store::source::{self, Stage};
use crate::store::takeover::{self, Batch, Outcome};
use crate::watch::Watch;
use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Between two looks that nothing has asked for.
const UNASKED: Duration = Duration::from_secs(60);
/// Between two looks at least.
const REST: Duration = Duration::from_millis(100);
/// A look that takes no longer is followed by a rest of its own length: what is written is here within a second.
const QUICK: Duration = Duration::from_millis(500);
/// How many times as long as a longer look has taken the rest after it is.
const REST_SHARE: u32 = 3;
/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(30);
/// Changed rows that are taken for what somebody does now, not for something to catch up with.
const LIVE_MAX: usize = 500;
/// Memories by which a file is known again.
pub(super) const KNOWN_BY: u32 = 200;

/// Why a look brought nothing.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(
        "{path} is another database than the one that was followed: {known} of {of} memories are in it"
    )]
    Another { path: PathBuf, known: usize, of: usize },
    #[error(
        "{gone} of {of} rows are gone from {path}, which keeps no deletions: none is deleted here yet"
    )]
    TooManyGone { path: PathBuf, gone: usize, of: u64 },
}

impl From<SourceError> for FollowError {
    fn from(error: SourceError) -> Self {
        ImportError::from(error).into()
    }
}

impl From<crate::store::error::StoreError> for FollowError {
    fn from(error: crate::store::error::StoreError) -> Self {
        ImportError::from(error).into()
    }
}

impl FollowError {
    fn trouble(&self) -> Trouble {
        let next_step = match self {
            Self::Import(ImportError::Source(SourceError::Missing(_))) => {
                "put it back, or follow it where it is now: `memtide migrate follow PATH`; if the move is over, `memtide migrate finish`"
            }
            Self::Import(ImportError::Source(error)) => error.hint(),
            Self::Import(ImportError::Store(error)) => error.hint(),
            Self::Import(ImportError::Defect) => "see the daemon's log, and report it",
            Self::Another { .. } => {
                "put the old one back, or follow this one: `memtide migrate follow PATH`"
            }
            Self::TooManyGone { .. } => {
                "put the file back; if they were deleted on purpose, `memtide migrate follow --accept-deletions`"
            }
        };
        Trouble { message: self.to_string(), next_step: next_step.to_owned() }
    }
}

/// Which file it is, whatever its name.
type Identity = (u64, u64);

fn identity(path: &Path) -> Result<Identity, SourceError> {
    match std::fs::metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(SourceError::Missing(path.to_owned()))
        }
        Err(error) => {
            let (path, reason) = (path.to_owned(), error.to_string());
            Err(SourceError::Unreadable { path, reason })
        }
    }
}

/// Follows whatever is to be followed until the daemon stops.
pub(super) async fn run(migrator: &Migrator) {
    let inner = &migrator.inner;
    while inner.shutdown.phase() == Phase::Running {
        match inner.service.read(source::current).await {
            Ok(Some(source)) if source.is_followed => follow(migrator, source).await,
            Ok(_) => {
                migrator.set_trouble(None);
                tokio::select! {
                    () = inner.orders.notified() => {}
                    () = inner.shutdown.reached(Phase::Draining) => {}
                }
            }
            Err(error) => {
                migrator.set_trouble(Some((&error).into()));
                tokio::select! {
                    () = inner.orders.notified() => {}
                    () = inner.service.clock().sleep(UNASKED) => {}
                    () = inner.shutdown.reached(Phase::Draining) => {}
                }
            }
        }
    }
}

enum Step {
    /// An import is at work: it takes over what is there.
    Wait,
    /// An import was stopped by something that may have passed.
    Import,
    Looked(Box<Result<Follower, FollowError>>),
}

/// Follows one source until something else is wanted.
async fn follow(migrator: &Migrator, source: source::Source) {
    let inner = &migrator.inner;
    let clock = inner.service.clock();
    let path = PathBuf::from(&source.path);
    let mut follower: Option<Follower> = None;
    let mut watch: Option<Watch> = None;
    loop {
        if follower.is_none() {
            // A watch may have died with its folder.
            watch = Watch::start(&path)
                .inspect_err(
                    |error| tracing::warn!(%error, "the source is looked at once a minute"),
                )
                .ok();
        }
        let step = {
            let _working = inner.work.lock().await;
            let Some(stage) = stage(&inner.service, &source).await else { return };
            let is_running = migrator.job().is_some_and(|job| job.state == JobState::Running);
            match stage {
                Stage::Importing | Stage::Stopped if is_running => Step::Wait,
                Stage::Importing | Stage::Stopped => Step::Import,
                _ => Step::Looked(Box::new(look(migrator, &source, follower.take()).await)),
            }
        };
        let needs_import = matches!(step, Step::Import);
        match step {
            Step::Looked(looked) => match *looked {
                Ok(back) => {
                    migrator.set_trouble(back.held.as_ref().map(FollowError::trouble));
                    follower = Some(back);
                }
                Err(error) => migrator.set_trouble(Some(error.trouble())),
            },
            Step::Import => migrator.set_trouble(migrator.job().and_then(|job| job.trouble)),
            Step::Wait => {}
        }
        let ended = clock.now();
        let rest = rest_after(follower.as_ref().map(|follower| follower.cost).unwrap_or_default());
        let rested = async {
            changed(watch.as_ref()).await;
            clock.sleep(ended.plus(rest).since(clock.now())).await;
        };
        tokio::select! {
            () = rested => {}
            () = clock.sleep(UNASKED) => {}
            () = inner.orders.notified() => return,
            () = inner.shutdown.reached(Phase::Draining) => return,
        }
        if needs_import && let Err(error) = migrator.import_again(&source.path) {
            tracing::debug!(%error, "an import is at work already");
        }
    }
}

fn rest_after(look: Duration) -> Duration {
    let rest = if look <= QUICK { look } else { look * REST_SHARE };
    rest.clamp(REST, REST_MAX)
}

/// How far the move has come, as long as the source is to be followed.
async fn stage(service: &Service, source: &source::Source) -> Option<Stage> {
    let path = source.path.clone();
    match service.read(move |read| source::at(read, &path)).await {
        Ok(found) => found.filter(|found| found.is_followed).map(|found| found.stage),
        Err(error) => {
            tracing::warn!(%error, "whether the source is to be followed is not known");
            None
        }
    }
}

async fn changed(watch: Option<&Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// What is remembered of a source between two looks.
struct Follower {
    feed: Feed,
    identity: Identity,
    /// The source's tables at the time it was opened.
    cookie: i64,
    /// The source's last commit that was looked at.
    version: Option<i64>,
    /// The rows as they were, refused ones included.
    prints: HashMap<i64, i64>,
    edges: Option<(i64, i64)>,
    n_imports: u64,
    /// Time that the last look for changes took, without what was then taken over.
    cost: Duration,
    /// What waits for a person.
    held: Option<FollowError>,
}

/// What a look has found.
struct Found {
    version: i64,
    changed: Vec<i64>,
    gone: Vec<i64>,
    total: u64,
    edges: (i64, i64),
}

impl Follower {
    fn open(
        path: &Path,
        ids: &[String],
        is_stopped: &dyn Fn() -> bool,
    ) -> Result<Self, FollowError> {
        // Before it is opened: a file that is exchanged in between is noticed at the next look.
        let identity = identity(path)?;
        let source = job::open(path, is_stopped)?;
        let known = patiently(is_stopped, || source.n_known(ids))?;
        if known * 2 < ids.len() {
            return Err(FollowError::Another { path: path.to_owned(), known, of: ids.len() });
        }
        let cookie = patiently(is_stopped, || source.schema_cookie())?;
        Ok(Self {
            feed: Feed::new(source, None),
            identity,
            cookie,
            version: None,
            prints: HashMap::new(),
            edges: None,
            n_imports: 0,
            cost: Duration::ZERO,
            held: None,
        })
    }

    /// Whether it still reads what stands at the path, with the columns that are there.
    fn is_current(&self, source: &Source) -> Result<bool, SourceError> {
        Ok(identity(source.path())? == self.identity && source.schema_cookie()? == self.cookie)
    }

    /// What has changed since the last look; `None` if nobody has committed anything.
    fn find(&self) -> Result<Option<Found>, SourceError> {
        let source = self.feed.source();
        let version = source.data_version()?;
        if self.version == Some(version) {
            return Ok(None);
        }
        let now = source.prints(i64::MIN, i64::MAX)?;
        let is_other = |(row, print): &&(i64, i64)| self.prints.get(row) != Some(print);
        let changed = now.iter().filter(is_other).map(|(row, _)| *row).collect();
        let is_gone = |row: &&i64| now.binary_search_by_key(*row, |(row, _)| *row).is_err();
        let gone: BTreeSet<i64> = self.prints.keys().filter(is_gone).copied().collect();
        let total = u64::try_from(now.len()).unwrap_or(u64::MAX);
        let edges = source.edge_print()?;
        Ok(Some(Found { version, changed, gone: gone.into_iter().collect(), total, edges }))
    }
}

/// Takes over what was committed and not looked at yet, for the last time. A source that is gone has nothing
/// left to tell.
pub(super) async fn look_last(migrator: &Migrator, source: &source::Source) -> Result<(), Trouble> {
    match look(migrator, source, None).await {
        Ok(follower) => follower.held.map_or(Ok(()), |held| Err(held.trouble())),
        Err(FollowError::Import(ImportError::Source(SourceError::Missing(_)))) => Ok(()),
        Err(error) => Err(error.trouble()),
    }
}

/// One look at the source: what has changed there is taken over.
async fn look(
    migrator: &Migrator,
    source: &source::Source,
    follower: Option<Follower>,
) -> Result<Follower, FollowError> {
    let inner = &migrator.inner;
    let service = &inner.service;
    let observed_at = service.clock().now();
    let n_imports = inner.n_imports.load(Ordering::Acquire);
    let mut follower = reopened(migrator, source, follower).await?;
    if follower.version.is_none() || follower.n_imports != n_imports {
        let key = source.key;
        let known = service.read(move |read| source::prints(read, key)).await?;
        follower.prints = known.into_iter().collect();
        (follower.version, follower.n_imports) = (None, n_imports);
    }
    let began = service.clock().now();
    let shutdown = inner.shutdown.clone();
    let (mut follower, found) = blocking(move || {
        let found = patiently(&|| shutdown.phase() != Phase::Running, || follower.find())?;
        Ok((follower, found))
    })
    .await?;
    follower.cost = service.clock().now().since(began);
    let Some(found) = found else { return Ok(follower) };
    let (key, total) = (source.key, found.total);
    import::write(service, move |write| source::set_total(write, key, total)).await?;
    follower = taken(migrator, key, follower, found.changed, observed_at).await?;
    if inner.shutdown.phase() != Phase::Running {
        // Not all was read: what seems to be gone may stand in a row that wasn't.
        return Ok(follower);
    }
    follower = without(service, source, follower, found.gone, observed_at).await?;
    if follower.edges != Some(found.edges) {
        let (feed, _) = import::take_edges(service, follower.feed, Some(key)).await?;
        (follower.feed, follower.edges) = (feed, Some(found.edges));
    }
    follower.version = Some(found.version);
    Ok(follower)
}

/// The follower of what stands at the path now.
async fn reopened(
    migrator: &Migrator,
    source: &source::Source,
    follower: Option<Follower>,
) -> Result<Follower, FollowError> {
    let shutdown = migrator.inner.shutdown.clone();
    let is_stopped = move || shutdown.phase() != Phase::Running;
    let checked = blocking(move || {
        let Some(follower) = follower else { return Ok(None) };
        let is_current = patiently(&is_stopped, || follower.is_current(follower.feed.source()))?;
        Ok(is_current.then_some(follower))
    });
    if let Some(follower) = checked.await? {
        return Ok(follower);
    }
    let key = source.key;
    let ids =
        migrator.inner.service.read(move |read| source::some_ids(read, key, KNOWN_BY)).await?;
    let (path, shutdown) = (PathBuf::from(&source.path), migrator.inner.shutdown.clone());
    let opened =
        blocking(move || Ok(Follower::open(&path, &ids, &|| shutdown.phase() != Phase::Running)));
    opened.await?
}

/// Takes over the rows that have changed.
async fn taken(
    migrator: &Migrator,
    key: i64,
    mut follower: Follower,
    changed: Vec<i64>,
    observed_at: Micros,
) -> Result<Follower, FollowError> {
    let service = &migrator.inner.service;
    let is_live = changed.len() <= LIVE_MAX;
    let changed = Arc::new(changed);
    let mut from = 0;
    while from < changed.len() && migrator.inner.shutdown.phase() == Phase::Running {
        let (wanted, shutdown) = (Arc::clone(&changed), migrator.inner.shutdown.clone());
        let (back, (fed, n_read)) = blocking(move || {
            let wanted = wanted.get(from..).unwrap_or_default();
            let read =
                patiently(&|| shutdown.phase() != Phase::Running, || follower.feed.rows(wanted))?;
            Ok((follower, read))
        })
        .await?;
        (follower, from) = (back, from + n_read.max(1));
        for refused in &fed.refused {
            tracing::warn!(row = refused.rowid, why = refused.why, "a row was not taken over");
        }
        let batch = Arc::new(Batch {
            source: key,
            rows: fed.rows,
            cursor: None,
            observed_at,
            is_live,
            space: None,
        });
        let outcome = import::write(service, move |write| takeover::take(write, &batch)).await?;
        for one in &outcome.not_taken {
            tracing::warn!(id = %one.id, why = one.why, "a memory was not taken over");
        }
        tell(service, &outcome);
        follower.prints.extend(fed.prints);
    }
    Ok(follower)
}

/// What is gone is deleted where nothing else would tell, unless it is suspiciously much.
async fn without(
    service: &Service,
    source: &source::Source,
    mut follower: Follower,
    gone: Vec<i64>,
    observed_at: Micros,
) -> Result<Follower, FollowError> {
    follower.held = None;
    if gone.is_empty() {
        return Ok(follower);
    }
    let is_deletion = !follower.feed.source().layout().keeps_deletions();
    let of = u64::try_from(follower.prints.len()).unwrap_or(u64::MAX);
    if is_deletion && is_too_many(gone.len(), of) {
        let path = PathBuf::from(&source.path);
        follower.held = Some(FollowError::TooManyGone { path, gone: gone.len(), of });
        return Ok(follower);
    }
    for row in &gone {
        follower.prints.remove(row);
    }
    let key = source.key;
    let outcome = import::write(service, move |write| {
        takeover::gone(write, key, &gone, observed_at, is_deletion)
    })
    .await?;
    tell(service, &outcome);
    Ok(follower)
}

/// Passes on what has changed to those who look at memories.
fn tell(service: &Service, outcome: &Outcome) {
    let change = |became| match became {
        Became::Stored => Some(Change::Stored),
        Became::Updated => Some(Change::Updated),
        Became::Deleted => Some(Change::Deleted),
        Became::Unchanged => None,
    };
    if outcome.became.is_empty() {
        return;
    }
    let became = outcome.became.iter();
    service.note_changed(became.filter_map(|(id, became)| Some((change(*became)?, *id))));
    service.replicate_hint().notify_one();
}
