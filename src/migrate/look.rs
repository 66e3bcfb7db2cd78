//! One look at a source that is followed.
//!
//! A look asks first whether anybody has committed since the last one, which costs next to nothing. Then it
//! reads the rows and edges that are behind the last one it knows, and the rows that an index tells as just
//! deleted: that costs what is new, however large the source is. All rows are compared as well, by a hash of
//! their small columns, and the texts of those only are read that have another hash than before: that finds
//! what is edited, gone or put in place of another. It costs a time that grows with the source, 0.2 s for
//! 100,000 rows, and is followed by a rest that lasts as long, so that it takes a part of one processor at
//! most; after an expensive one the rest is longer. All edges are compared when their number tells that some
//! are gone, and else every ten seconds in which something is written, for those that were changed in place.

use super::feed::{Fed, Feed};
use super::graph::{self, FoundEdges, KnownEdges};
use super::import::{self, ImportError, blocking, is_too_many};
use super::job::{self, Migrator, Trouble, patiently};
use super::known::KnownRows;
use super::left_out::LeftOut;
use super::source::{Source, SourceError};
use crate::clock::{Clock, Micros};
use crate::service::Service;
use crate::service::event::Change;
use crate::shutdown::Phase;
use crate::store::pull::Became;
use crate::store::takeover::{self, Batch, Outcome};
use crate::store::{Read, edge, source};
use std::collections::HashSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// After a comparison of all rows, the shortest rest before the next one.
const REST: Duration = Duration::from_millis(100);
/// A comparison that takes no longer is followed by a rest of its own length: what is edited is here within a
/// second.
const QUICK: Duration = Duration::from_millis(500);
/// How many times as long as a longer one has taken the rest after it is.
const REST_SHARE: u32 = 3;
/// The longest rest.
const REST_MAX: Duration = Duration::from_secs(30);
/// Between two comparisons of all edges that nothing has asked for.
const EDGES_EVERY: Duration = Duration::from_secs(10);
/// Changed rows that are taken for what somebody does now, not for something to catch up with.
const LIVE_MAX: usize = 500;
/// Memories by which a file is known again.
pub(super) const KNOWN_BY: u32 = 200;
/// Edges of the store that are read at once.
const EDGES_READ: usize = 2000;

/// Why a look brought nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum FollowError {
    /// It broke off.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// Another file stands in its place.
    #[error(
        "{path} is another database than the one that was followed: {known} of {of} memories are in it"
    )]
    Another { path: PathBuf, known: usize, of: usize },
    /// Nobody says whether they were deleted.
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
    pub(super) fn trouble(&self) -> Trouble {
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

/// What is remembered of a source between two looks.
pub(super) struct Follower {
    feed: Feed,
    identity: Identity,
    /// The source's tables at the time it was opened.
    cookie: i64,
    /// The source's last commit that was looked at.
    version: Option<i64>,
    /// The rows as they were, refused ones included.
    rows: KnownRows,
    /// The source's last commit at which all of them were compared, and when they are again.
    rows_compared: Option<i64>,
    rows_due: Micros,
    /// When the row was deleted, in seconds, that was deleted last.
    last_deletion: f64,
    edges: KnownEdges,
    /// The source's last commit at which all of them were compared, and when they are again.
    edges_compared: Option<i64>,
    edges_due: Micros,
    n_imports: u64,
    /// What waits for a person.
    pub(super) held: Option<FollowError>,
    /// Rows that can't be taken over.
    pub(super) left_out: LeftOut,
}

/// What a look has found.
struct Found {
    version: i64,
    /// Rows to be read, in their order.
    changed: Vec<i64>,
    /// If all rows were compared: those that are gone, and how many there are.
    gone: Option<(Vec<i64>, u64)>,
    last_deletion: f64,
    edges: FoundEdges,
    /// How long comparing all rows took.
    cost: Duration,
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
            rows: KnownRows::default(),
            rows_compared: None,
            rows_due: Micros(0),
            last_deletion: 0.0,
            edges: KnownEdges::default(),
            edges_compared: None,
            edges_due: Micros(0),
            n_imports: 0,
            held: None,
            left_out: LeftOut::default(),
        })
    }

    /// Whether it still reads what stands at the path, with the columns that are there.
    fn is_current(&self, source: &Source) -> Result<bool, SourceError> {
        Ok(identity(source.path())? == self.identity && source.schema_cookie()? == self.cookie)
    }

    /// Begins with what the store holds of the source.
    async fn remember(
        &mut self,
        service: &Service,
        key: i64,
        n_imports: u64,
    ) -> Result<(), FollowError> {
        let store = service.store().aside();
        let known = store.read(move |read| {
            let mut edges = KnownEdges::default();
            each_edge(read, key, |page| edges.add(page))?;
            Ok((source::prints(read, key)?, edges))
        });
        let (rows, edges) = known.await?;
        (self.rows, self.edges, self.n_imports) = (KnownRows::new(rows), edges, n_imports);
        (self.version, self.rows_compared, self.edges_compared) = (None, None, None);
        (self.rows_due, self.edges_due) = (Micros(0), Micros(0));
        Ok(())
    }

    /// When something is to be compared that was not since the last look; `None` if all was.
    pub(super) fn due(&self) -> Option<Micros> {
        let owed = |compared: Option<i64>, due| (compared != self.version).then_some(due);
        let rows = owed(self.rows_compared, self.rows_due);
        let edges = owed(self.edges_compared, self.edges_due);
        rows.into_iter().chain(edges).min()
    }

    /// What has changed since the last look; `None` if nobody has committed anything.
    fn find(&self, clock: &dyn Clock) -> Result<Option<Found>, SourceError> {
        let began = clock.now();
        let version = self.feed.source().data_version()?;
        let is_new = self.version != Some(version);
        let is_owed = |compared, due| compared != Some(version) && due <= began;
        let owes_rows = is_owed(self.rows_compared, self.rows_due);
        let owes_edges = is_owed(self.edges_compared, self.edges_due);
        if !is_new && !owes_rows && !owes_edges {
            return Ok(None);
        }
        self.feed.source().at_one_moment(|source| {
            let mut found = Found {
                version,
                changed: Vec::new(),
                gone: None,
                last_deletion: self.last_deletion,
                edges: FoundEdges::default(),
                cost: Duration::ZERO,
            };
            if owes_rows {
                self.find_in_all(source, &mut found)?;
                found.cost = clock.now().since(began);
            } else if is_new {
                self.find_behind(source, &mut found)?;
            }
            let new = if owes_edges { None } else { self.edges.find_new(&self.feed, owes_rows)? };
            found.edges = match new {
                Some(new) => new,
                // A look at what is new leaves the rest to the next comparison.
                None if owes_edges || owes_rows => self.edges.find_all(&self.feed)?,
                None => FoundEdges::default(),
            };
            Ok(Some(found))
        })
    }

    /// Compares all rows.
    fn find_in_all(&self, source: &Source, found: &mut Found) -> Result<(), SourceError> {
        let now = source.prints(i64::MIN, i64::MAX)?;
        let (changed, gone) = self.rows.compare(&now);
        let total = u64::try_from(now.len()).unwrap_or(u64::MAX);
        (found.changed, found.gone) = (changed, Some((gone, total)));
        found.last_deletion = source.last_deletion()?;
        Ok(())
    }

    /// Finds what is told without comparing all rows.
    fn find_behind(&self, source: &Source, found: &mut Found) -> Result<(), SourceError> {
        let new = source.prints(self.rows.last().unwrap_or(i64::MIN), i64::MAX)?;
        found.changed = new.into_iter().map(|(row, _)| row).collect();
        for (row, at) in source.deleted_after(self.last_deletion)? {
            found.changed.push(row);
            found.last_deletion = found.last_deletion.max(at);
        }
        found.changed.sort_unstable();
        found.changed.dedup();
        Ok(())
    }

    /// Notes that what was found is here.
    fn settle(&mut self, found: &Found, now: Micros) {
        self.version = Some(found.version);
        self.last_deletion = found.last_deletion;
        if found.gone.is_some() {
            self.rows_compared = Some(found.version);
            self.rows_due = now.plus(rest_after(found.cost));
        }
        if found.edges.is_whole {
            self.edges_compared = Some(found.version);
            self.edges_due = now.plus(EDGES_EVERY);
        }
    }
}

fn rest_after(comparison: Duration) -> Duration {
    let rest = if comparison <= QUICK { comparison } else { comparison * REST_SHARE };
    rest.clamp(REST, REST_MAX)
}

/// Reads all edges of a source that the store holds.
fn each_edge(
    read: &Read<'_>,
    key: i64,
    mut page_of: impl FnMut(&[edge::Edge]),
) -> Result<(), crate::store::error::StoreError> {
    let mut after = (String::new(), String::new());
    loop {
        let page = edge::of_source(read, key, (&after.0, &after.1), EDGES_READ)?;
        page_of(&page);
        let Some(last) = page.into_iter().next_back() else { return Ok(()) };
        after = (last.origin, last.target);
    }
}

/// One look at the source: what has changed there is taken over.
pub(super) async fn look(
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
        follower.remember(service, source.key, n_imports).await?;
    }
    let (shutdown, clock) = (inner.shutdown.clone(), service.clock().clone());
    let (mut follower, found) = blocking(move || {
        let is_stopped = || shutdown.phase() != Phase::Running;
        let found = patiently(&is_stopped, || follower.find(&*clock))?;
        Ok((follower, found))
    })
    .await?;
    let Some(mut found) = found else { return Ok(follower) };
    let key = source.key;
    let changed = std::mem::take(&mut found.changed);
    let is_grown = changed.last() > follower.rows.last().as_ref();
    follower = taken(migrator, key, follower, changed, observed_at).await?;
    if inner.shutdown.phase() != Phase::Running {
        // Not all was read: what seems to be gone may stand in a row that wasn't.
        return Ok(follower);
    }
    if found.gone.is_some() || is_grown {
        let n_known = u64::try_from(follower.rows.len()).unwrap_or(u64::MAX);
        let total = found.gone.as_ref().map_or(n_known, |(_, total)| *total);
        import::write(service, move |write| source::set_total(write, key, total)).await?;
    }
    if let Some((gone, _)) = &found.gone {
        follower = without(service, source, follower, gone.clone(), observed_at).await?;
    }
    connected(service, key, &mut follower.edges, &found.edges).await?;
    follower.settle(&found, service.clock().now());
    Ok(follower)
}

/// Takes over the edges that have changed.
async fn connected(
    service: &Service,
    key: i64,
    known: &mut KnownEdges,
    found: &FoundEdges,
) -> Result<(), FollowError> {
    for portion in graph::portions(&found.changed) {
        let portion = Arc::new(portion);
        // The next import counts from the highest number that it finds.
        import::write(service, move |write| edge::put(write, key, 0, &portion)).await?;
    }
    if !found.gone.is_empty() {
        let gone: HashSet<i64> = found.gone.clone();
        let store = service.store().aside();
        let named = store.read(move |read| {
            let mut named = Vec::new();
            each_edge(read, key, |page| {
                let is_gone =
                    |edge: &&edge::Edge| gone.contains(&graph::ends(&edge.origin, &edge.target));
                let ends = |edge: &edge::Edge| (edge.origin.clone(), edge.target.clone());
                named.extend(page.iter().filter(is_gone).map(ends));
            })?;
            Ok(named)
        });
        let named = Arc::new(named.await?);
        import::write(service, move |write| edge::remove(write, key, &named)).await?;
    }
    known.settle(found);
    Ok(())
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
        let Fed { rows, refused, prints, .. } = fed;
        for (row, _) in &prints {
            follower.left_out.forget(*row);
        }
        for refused in &refused {
            follower.left_out.add(refused.rowid, &refused.why);
        }
        let batch =
            Arc::new(Batch { source: key, rows, cursor: None, observed_at, is_live, space: None });
        let outcome = import::write(service, move |write| takeover::take(write, &batch)).await?;
        for one in &outcome.not_taken {
            follower.left_out.add(one.row, &one.why);
        }
        tell(service, &outcome);
        follower.rows.put(prints);
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
    let of = u64::try_from(follower.rows.len()).unwrap_or(u64::MAX);
    if is_deletion && is_too_many(gone.len(), of) {
        let path = PathBuf::from(&source.path);
        follower.held = Some(FollowError::TooManyGone { path, gone: gone.len(), of });
        return Ok(follower);
    }
    follower.rows.remove(&gone);
    for row in &gone {
        follower.left_out.forget(*row);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use rusqlite::Connection;

    const SCHEMA: &str =
        "CREATE TABLE memories(id INTEGER PRIMARY KEY, content_hash TEXT UNIQUE, content TEXT,
         tags TEXT, updated_at REAL, deleted_at REAL);
       CREATE INDEX by_deletion ON memories(deleted_at);
       CREATE TABLE memory_graph(source_hash TEXT, target_hash TEXT, similarity REAL);
       INSERT INTO memories VALUES (1, 'a', 'one', 'x', 1, NULL), (2, 'b', 'two', 'x', 1, NULL),
         (3, 'c', 'three', 'x', 1, 7), (4, 'd', 'four', 'x', 1, NULL);";

    struct Watched {
        _folder: tempfile::TempDir,
        conn: Connection,
        clock: ManualClock,
        follower: Follower,
    }

    impl Watched {
        fn new(schema: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("sqlite_vec.db");
            let conn = Connection::open(&path).unwrap();
            conn.execute_batch(schema).unwrap();
            let follower = Follower::open(&path, &[], &|| false).unwrap();
            let clock = ManualClock::at(Micros(1_750_000_000_000_000));
            Self { _folder: folder, conn, clock, follower }
        }

        fn write(&self, sql: &str) {
            self.conn.execute_batch(sql).unwrap();
        }

        /// Looks, and takes over what was found: changed rows, and gone ones if all rows were compared.
        fn look(&mut self) -> Option<(Vec<i64>, Option<Vec<i64>>)> {
            let found = self.follower.find(&self.clock).unwrap()?;
            for row in &found.changed {
                let prints = self.follower.feed.source().prints(row - 1, *row).unwrap();
                self.follower.rows.put(prints);
            }
            let gone = found.gone.as_ref().map(|(gone, _)| gone.clone());
            self.follower.rows.remove(gone.as_deref().unwrap_or_default());
            self.follower.edges.settle(&found.edges);
            self.follower.settle(&found, self.clock.now());
            Some((found.changed, gone))
        }
    }

    #[test]
    fn what_is_new_is_found_at_once_and_the_rest_at_the_next_comparison() {
        let mut watched = Watched::new(SCHEMA);
        assert_eq!(watched.look(), Some((vec![1, 2, 3, 4], Some(vec![]))));
        assert_eq!((watched.look(), watched.follower.due()), (None, None));
        watched.write("INSERT INTO memories VALUES (5, 'e', 'five', 'x', 1, NULL)");
        watched.write("UPDATE memories SET deleted_at = 9 WHERE id = 2");
        watched.write("UPDATE memories SET tags = 'y' WHERE id = 1");
        watched.write("DELETE FROM memories WHERE id = 4");
        assert_eq!(watched.look(), Some((vec![2, 5], None)));
        assert_eq!(watched.look(), None, "the comparison is not due yet");
        let due = watched.follower.due().unwrap();
        watched.clock.advance(due.since(watched.clock.now()));
        assert_eq!(watched.look(), Some((vec![1], Some(vec![4]))));
        // A row that is used again is no new one.
        watched.write("INSERT INTO memories VALUES (4, 'f', 'six', 'x', 1, NULL)");
        assert_eq!(watched.look(), Some((vec![], None)));
        watched.clock.advance(REST);
        assert_eq!(watched.look(), Some((vec![4], Some(vec![]))));
        watched.clock.advance(EDGES_EVERY);
        watched.look();
        assert_eq!(watched.follower.due(), None);
    }

    #[test]
    fn a_source_without_an_index_of_deletions_is_compared() {
        let mut watched = Watched::new(&SCHEMA.replace("CREATE INDEX", "-- CREATE INDEX"));
        watched.look();
        watched.write("UPDATE memories SET deleted_at = 9 WHERE id = 2");
        assert_eq!(watched.look(), Some((vec![], None)));
        watched.clock.advance(REST);
        assert_eq!(watched.look(), Some((vec![2], Some(vec![]))));
    }

    #[test]
    fn edges_that_only_a_comparison_tells_are_compared_after_a_while() {
        let mut watched = Watched::new(SCHEMA);
        watched.look();
        watched.write("INSERT INTO memory_graph VALUES ('a', 'b', 0.5)");
        let found = watched.follower.find(&watched.clock).unwrap().unwrap();
        assert_eq!((found.edges.changed.len(), found.edges.is_whole), (1, false));
        watched.look();
        watched.clock.advance(REST);
        watched.look();
        watched.write("UPDATE memory_graph SET similarity = 0.7");
        watched.look();
        watched.clock.advance(REST);
        let found = watched.follower.find(&watched.clock).unwrap().unwrap();
        assert!(found.gone.is_some() && found.edges.changed.is_empty());
        watched.look();
        let due = watched.follower.due().unwrap();
        watched.clock.advance(due.since(watched.clock.now()));
        let found = watched.follower.find(&watched.clock).unwrap().unwrap();
        assert_eq!((found.edges.changed.len(), found.edges.is_whole), (1, true));
        watched.look();
        assert_eq!((watched.look(), watched.follower.due()), (None, None));
    }

    #[test]
    fn a_long_comparison_is_followed_by_a_longer_rest() {
        let second = Duration::from_secs(1);
        assert_eq!(rest_after(Duration::ZERO), REST);
        assert_eq!(rest_after(QUICK), QUICK);
        assert_eq!(rest_after(second), second * REST_SHARE);
        assert_eq!(rest_after(second * 60), REST_MAX);
    }
}
