//! Backups: copies of the whole database with the time in their names, one a day by the daemon itself.
//!
//! A backup appears under its name whole, checked and on the disk, or not at all. Of the daily ones those
//! of the [`KEPT_DAYS`] newest days are kept; what a person made, or moved aside, is never removed.

use crate::clock::{Micros, SharedClock};
use crate::shutdown::{Phase, Shutdown};
use crate::store::backup::{self, BackupError, Contents, Copying, GoesOn, folder_of};
use jiff::civil::DateTime;
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

/// Days of which a daily backup is kept.
pub const KEPT_DAYS: usize = 7;
/// Age from which on a daily backup calls for the next one: a day, less what a machine that is started at
/// about the same time each day may be early.
const DAY: Duration = Duration::from_hours(22);
/// Time after a start, and between two looks at whether one is due.
const LOOK_EVERY: Duration = Duration::from_mins(10);
/// How the instant stands in a name.
const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// Why a backup is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Somebody asked for it.
    ByHand,
    /// The daemon made it.
    Daily,
    /// It was the database until another one took its place.
    Replaced,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Daily, Self::Replaced, Self::ByHand];

    /// The name in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ByHand => "by hand",
            Self::Daily => "daily",
            Self::Replaced => "replaced",
        }
    }

    /// What the name of its file begins with.
    fn prefix(self) -> &'static str {
        match self {
            Self::ByHand => "memtide-",
            Self::Daily => "memtide-daily-",
            Self::Replaced => "memtide-replaced-",
        }
    }
}

/// A backup in the folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its file.
    pub path: PathBuf,
    /// Why it is there.
    pub kind: Kind,
    /// When it was made, or moved aside.
    pub at: Micros,
    /// Bytes of the file.
    pub bytes: u64,
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its file.
    pub path: PathBuf,
    /// What it holds.
    pub contents: Contents,
}

/// The backups of a folder, newest first. Other files are no backups; a folder that is missing holds none.
///
/// # Errors
/// The folder can't be read.
pub fn list(folder: &Path) -> Result<Vec<Listed>, BackupError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| BackupError::io(folder, error))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| BackupError::io(folder, error))?;
        let name = entry.file_name();
        let Some((kind, at)) = name.to_str().and_then(read_name) else { continue };
        // Another process may remove it meanwhile.
        let Ok(meta) = entry.metadata() else { continue };
        found.push(Listed { path: entry.path(), kind, at, bytes: meta.len() });
    }
    found.sort_by(|a, b| (b.at, &b.path).cmp(&(a.at, &a.path)));
    Ok(found)
}

/// The newest backup that may be put back when the database is damaged.
pub fn newest(folder: &Path) -> Option<Listed> {
    list(folder).ok()?.into_iter().find(|found| found.kind != Kind::Replaced)
}

/// A name in `folder` that no file has.
pub fn free_name(folder: &Path, kind: Kind, now: Micros) -> PathBuf {
    let mut at = now;
    loop {
        let name = jiff::Timestamp::from_microsecond(at.0).unwrap_or_default().strftime(STAMP);
        let path = folder.join(format!("{}{name}.db", kind.prefix()));
        if !path.exists() {
            return path;
        }
        at = at.plus(Duration::from_secs(1));
    }
}

fn read_name(name: &str) -> Option<(Kind, Micros)> {
    Kind::ALL.into_iter().find_map(|kind| {
        let stamp = name.strip_prefix(kind.prefix())?.strip_suffix(".db")?;
        let at = DateTime::strptime(STAMP, stamp).ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
        Some((kind, Micros(at.timestamp().as_microsecond())))
    })
}

/// Tells how many bytes the owner may still write in a folder.
///
/// # Errors
/// The system doesn't tell.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    let system = rustix::fs::statvfs(folder)?;
    Ok(system.f_bavail.saturating_mul(system.f_frsize))
}

/// Makes the folder of the backups, for its owner alone.
///
/// # Errors
/// It can't be made.
pub fn prepare(folder: &Path) -> Result<(), BackupError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| BackupError::io(folder, error))
}

/// Makes backups of one database, one at a time. Clones share that.
#[derive(Clone)]
pub struct Backups {
    inner: Arc<Inner>,
}

struct Inner {
    database: PathBuf,
    folder: PathBuf,
    clock: SharedClock,
    goes_on: GoesOn,
    one: Mutex<()>,
    failure: Mutex<Option<String>>,
}

impl Backups {
    /// Backups of `database` into `folder`, given up as soon as `shutdown` says so.
    pub fn new(database: PathBuf, folder: PathBuf, clock: SharedClock, shutdown: Shutdown) -> Self {
        let goes_on: GoesOn = Arc::new(move || shutdown.phase() == Phase::Running);
        let inner = Inner {
            database,
            folder,
            clock,
            goes_on,
            one: Mutex::default(),
            failure: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Makes one: into `target`, which may be replaced if that is wanted, else into the folder.
    ///
    /// # Errors
    /// See [`BackupError`]; then no file has changed.
    pub async fn make(
        &self,
        target: Option<PathBuf>,
        is_replaced: bool,
    ) -> Result<Made, BackupError> {
        self.beside_the_work(move |inner| match target {
            Some(path) => inner.make(path, is_replaced),
            None => inner.make_named(Kind::ByHand),
        })
        .await
    }

    /// Makes the daily one if it is due, and removes those of old days. A database without memories isn't
    /// worth one.
    ///
    /// # Errors
    /// See [`BackupError`]; then none is removed.
    pub async fn pass(&self) -> Result<Option<Made>, BackupError> {
        let outcome = self.beside_the_work(Inner::pass).await;
        let failure = match &outcome {
            // Somebody else makes one, or nobody will: the next look tells.
            Err(BackupError::Busy | BackupError::Cancelled) => return outcome,
            Err(error) => Some(error.to_string()),
            Ok(_) => None,
        };
        *self.inner.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        outcome
    }

    /// Why the last daily backup was not made.
    pub fn failure(&self) -> Option<String> {
        self.inner.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks now and then whether a daily backup is due, until draining begins.
    pub async fn run(self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                biased;
                () = shutdown.reached(Phase::Draining) => return,
                () = self.inner.clock.sleep(LOOK_EVERY) => {}
            }
            match self.pass().await {
                Ok(None) | Err(BackupError::Busy | BackupError::Cancelled) => {}
                Ok(Some(made)) => {
                    tracing::info!(path = %made.path.display(), "daily backup made");
                }
                Err(error) => tracing::warn!(%error, "daily backup not made"),
            }
        }
    }

    async fn beside_the_work<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Inner) -> Result<T, BackupError> + Send + 'static,
    ) -> Result<T, BackupError> {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || {
            let _one = match inner.one.try_lock() {
                Err(TryLockError::WouldBlock) => return Err(BackupError::Busy),
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Ok(one) => one,
            };
            job(&inner)
        });
        done.await.unwrap_or(Err(BackupError::Cancelled))
    }
}

impl Inner {
    fn pass(&self) -> Result<Option<Made>, BackupError> {
        let now = self.clock.now();
        let daily = |found: &Listed| found.kind == Kind::Daily;
        let is_recent = |found: &Listed| {
            // One that a wrong clock dated into the future stands for nothing.
            found.at <= now.plus(DAY) && now.since(found.at) < DAY
        };
        let known = list(&self.folder)?;
        if known.iter().any(|found| daily(found) && is_recent(found)) {
            return Ok(None);
        }
        let made = self.make_named(Kind::Daily)?;
        if made.contents.memories + made.contents.tombstones == 0 {
            fs::remove_file(&made.path).map_err(|error| BackupError::io(&made.path, error))?;
            return Ok(None);
        }
        let mut days = BTreeSet::new();
        for old in list(&self.folder)?.into_iter().filter(daily) {
            let is_first_of_day = days.insert(day(old.at));
            if days.len() > KEPT_DAYS || !is_first_of_day {
                fs::remove_file(&old.path).map_err(|error| BackupError::io(&old.path, error))?;
            }
        }
        Ok(Some(made))
    }

    fn make_named(&self, kind: Kind) -> Result<Made, BackupError> {
        prepare(&self.folder)?;
        self.make(free_name(&self.folder, kind, self.clock.now()), false)
    }

    fn make(&self, path: PathBuf, is_replaced: bool) -> Result<Made, BackupError> {
        let same = |one: &Path| one.canonicalize().ok();
        if same(&path).is_some_and(|path| same(&self.database) == Some(path)) {
            return Err(BackupError::InUse(path));
        }
        if path.exists() && !is_replaced {
            return Err(BackupError::Exists(path));
        }
        let mut part = path.clone().into_os_string();
        part.push(".part");
        let part = PathBuf::from(part);
        let contents = backup::copy(&Copying {
            from: &self.database,
            to: &part,
            free: &free_bytes,
            goes_on: &self.goes_on,
        })?;
        let placed = fs::rename(&part, &path)
            .and_then(|()| File::open(folder_of(&path)).and_then(|folder| folder.sync_all()));
        placed.map_err(|error| BackupError::io(&path, error))?;
        Ok(Made { path, contents })
    }
}

/// Days since the epoch, UTC.
fn day(at: Micros) -> i64 {
    at.0.div_euclid(24 * 3600 * 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, ManualClock};
    use crate::model::draft::{Author, Draft};
    use crate::store::{Store, StoreOptions, memory};

    const NOON: Micros = Micros(1_750_000_000_000_000);

    struct Fixture {
        dir: tempfile::TempDir,
        clock: ManualClock,
        store: Store,
        backups: Backups,
        stopper: crate::shutdown::Stopper,
        shutdown: Shutdown,
    }

    fn fixture() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        let clock = ManualClock::at(NOON);
        let path = dir.path().join("memtide.db");
        let options = StoreOptions {
            path: path.clone(),
            machine: "here".to_owned(),
            seed: 1,
            n_readers: 1,
            vfs: None,
            keep_versions: 3,
            mirror_bytes: 1 << 24,
        };
        let store = Store::open(&options, Arc::new(clock.clone())).unwrap();
        let (stopper, shutdown) = crate::shutdown::channel();
        let folder = dir.path().join("backups");
        let backups = Backups::new(path, folder, Arc::new(clock.clone()), shutdown.clone());
        Fixture { dir, clock, store, backups, stopper, shutdown }
    }

    impl Fixture {
        async fn remember(&self, text: &str) {
            let draft = Draft::check(text.to_owned(), &[], None, None, Author::default(), 1 << 20);
            let draft = draft.unwrap();
            self.store.write(move |write| memory::store(write, &draft)).await.unwrap();
        }

        fn names(&self) -> Vec<String> {
            let folder = self.dir.path().join("backups");
            let names = list(&folder).unwrap().into_iter().map(|found| found.path);
            names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
        }
    }

    #[tokio::test]
    async fn the_newest_seven_days_are_kept_and_nothing_that_a_person_made_is_removed() {
        let fixture = fixture();
        assert_eq!(fixture.backups.pass().await.unwrap(), None, "nothing is worth a backup");
        assert_eq!(fixture.names(), [""; 0]);
        fixture.remember("one").await;
        let by_hand = fixture.backups.make(None, false).await.unwrap();
        assert_eq!(by_hand.contents.memories, 1);
        for _ in 0..24 * 30 {
            fixture.backups.pass().await.unwrap();
            fixture.clock.advance(Duration::from_hours(1));
        }
        let names = fixture.names();
        let (daily, rest): (Vec<_>, Vec<_>) =
            names.iter().partition(|name| name.starts_with("memtide-daily-"));
        assert_eq!(rest, ["memtide-20250615T150640Z.db"]);
        assert_eq!(daily.len(), KEPT_DAYS, "{daily:?}");
        let days: BTreeSet<&str> = daily.iter().map(|name| &name[14..22]).collect();
        assert_eq!(days.len(), KEPT_DAYS, "{days:?}");
        assert_eq!(days.last(), Some(&"20250714"), "{daily:?}");
        assert_eq!(fixture.backups.failure(), None);
    }

    #[tokio::test]
    async fn a_backup_dated_into_the_future_holds_up_no_other() {
        let fixture = fixture();
        fixture.remember("one").await;
        fixture.clock.set(Micros(NOON.0 * 2));
        assert!(fixture.backups.pass().await.unwrap().is_some());
        fixture.clock.set(NOON);
        assert!(fixture.backups.pass().await.unwrap().is_some());
        assert_eq!(fixture.names().len(), 2);
    }

    #[tokio::test]
    async fn the_daemon_makes_one_by_itself_when_time_has_come() {
        let fixture = fixture();
        fixture.remember("one").await;
        let running = tokio::spawn(fixture.backups.clone().run(fixture.shutdown.clone()));
        while fixture.names().is_empty() {
            fixture.clock.advance(LOOK_EVERY);
            tokio::task::yield_now().await;
        }
        fixture.stopper.advance(Phase::Draining);
        running.await.unwrap();
        assert!(fixture.clock.now() > NOON);
    }

    #[tokio::test]
    async fn a_daily_backup_that_fails_is_told_until_one_succeeds_and_none_is_removed() {
        let fixture = fixture();
        fixture.remember("one").await;
        let folder = fixture.dir.path().join("backups");
        fs::write(&folder, "a file in its place").unwrap();
        fixture.backups.pass().await.unwrap_err();
        let told = fixture.backups.failure().unwrap();
        assert!(told.contains("backups"), "{told}");
        fs::remove_file(&folder).unwrap();
        fixture.backups.pass().await.unwrap();
        assert_eq!(fixture.backups.failure(), None);
    }

    #[tokio::test]
    async fn a_file_is_only_replaced_on_demand_and_the_database_never() {
        let fixture = fixture();
        fixture.remember("one").await;
        let path = fixture.dir.path().join("mine.db");
        fs::write(&path, "precious").unwrap();
        let error = fixture.backups.make(Some(path.clone()), false).await.unwrap_err();
        assert!(matches!(error, BackupError::Exists(_)), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        fixture.backups.make(Some(path.clone()), true).await.unwrap();
        assert!(fs::read(&path).unwrap().starts_with(b"SQLite format 3"));
        let database = fixture.store.path().to_owned();
        let error = fixture.backups.make(Some(database), true).await.unwrap_err();
        assert!(matches!(error, BackupError::InUse(_)), "{error}");
        fixture.stopper.advance(Phase::Draining);
    }

    #[test]
    fn only_our_names_are_backups() {
        let at = |name| read_name(name).map(|(kind, at)| (kind, at.to_rfc3339()));
        let noon = "2026-01-31T12:00:00.000000Z".to_owned();
        assert_eq!(at("memtide-20260131T120000Z.db"), Some((Kind::ByHand, noon.clone())));
        assert_eq!(at("memtide-daily-20260131T120000Z.db"), Some((Kind::Daily, noon.clone())));
        assert_eq!(at("memtide-replaced-20260131T120000Z.db"), Some((Kind::Replaced, noon)));
        for name in ["memtide-20260131T120000Z.db.part", "memtide-x.db", "memtide.db", "notes.db"] {
            assert_eq!(read_name(name), None, "{name}");
        }
    }
}
