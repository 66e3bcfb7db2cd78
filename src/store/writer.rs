//! The writing thread: takes the jobs that wait, gives each a savepoint, commits once, then answers.

use super::StoreOptions;
use super::connection::{self, Flush};
use super::device::Device;
use super::error::StoreError;
use super::facets;
use super::indexes::{Changes, Indexes};
use super::inverted;
use super::link::Link;
use super::mirror;
use crate::clock::{Micros, SharedClock};
use crate::model::stamp::{DeviceId, Stamp};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use rusqlite::{Connection, ErrorCode};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Jobs that may wait; more are refused as busy.
const INBOX: usize = 1024;
/// Jobs that share one commit. Measured: 32 in a group cost a third of 32 commits, 128 gain little more.
const GROUP: usize = 64;
/// Time that a statement waits for another process's lock on the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Pages of WAL after which the writer checkpoints, once it has answered: 4 MiB.
const CHECKPOINT_PAGES: i32 = 1000;
/// Quiet time after which the WAL is truncated.
const IDLE: Duration = Duration::from_secs(2);

/// What a writing job works with: the transaction, and the device's identity and counters.
pub struct Write<'a> {
    pub(super) conn: &'a Connection,
    device: &'a mut Device,
    link: &'a mut Option<Link>,
    changes: &'a mut Changes,
    now: Micros,
    pub(super) keep_versions: u32,
}

impl Write<'_> {
    /// The wall clock when the group began.
    pub fn now(&self) -> Micros {
        self.now
    }

    /// This device.
    pub fn device(&self) -> DeviceId {
        self.device.id
    }

    /// A stamp that beats every one given before and `seen`.
    pub(super) fn stamp(&mut self, seen: Stamp) -> Stamp {
        self.device.stamp(self.now, seen)
    }

    /// A generation that was never given before.
    pub(super) fn generation(&mut self) -> i64 {
        self.device.generation()
    }

    /// Notes a change of the mirror, which becomes visible with the commit.
    pub(super) fn mirror(&mut self, change: mirror::Change) {
        self.changes.mirror.push(change);
    }

    /// Notes a change of the words in memory, which becomes visible with the commit.
    pub(super) fn index(&mut self, change: inverted::Change) {
        self.changes.words.push(change);
    }

    /// Notes a change of the facets in memory, which becomes visible with the commit.
    pub(super) fn facet(&mut self, change: facets::Change) {
        self.changes.facets.push(change);
    }

    /// The account this store is linked to.
    pub fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    /// Replaces the remembered link; the row is written by the caller in the same transaction.
    pub(super) fn remember_link(&mut self, link: Option<Link>) {
        *self.link = link;
    }
}

pub(super) trait Job: Send {
    fn run(&mut self, write: &mut Write<'_>) -> Result<(), StoreError>;
    fn answer(self: Box<Self>, outcome: Result<(), StoreError>);
}

struct Call<T, F> {
    job: F,
    value: Option<T>,
    reply: oneshot::Sender<Result<T, StoreError>>,
}

impl<T: Send, F> Job for Call<T, F>
where
    F: FnMut(&mut Write<'_>) -> Result<T, StoreError> + Send,
{
    fn run(&mut self, write: &mut Write<'_>) -> Result<(), StoreError> {
        self.value = None;
        self.value = Some((self.job)(write)?);
        Ok(())
    }

    fn answer(self: Box<Self>, outcome: Result<(), StoreError>) {
        let Self { value, reply, .. } = *self;
        // A caller that has gone away doesn't need its answer; the change stays.
        let _gone = reply.send(outcome.and_then(|()| value.ok_or(StoreError::Closed)));
    }
}

/// The handle of the one that writes.
pub(super) enum Writer {
    /// A thread of its own.
    Thread(Mutex<Option<Sender<Box<dyn Job>>>>, Mutex<Option<JoinHandle<()>>>),
    /// Whoever gives a job.
    Inline(Mutex<Option<Box<Owner>>>),
}

impl Writer {
    pub(super) fn start(
        options: &StoreOptions,
        flush: Flush,
        clock: SharedClock,
        indexes: Arc<Indexes>,
    ) -> Result<Self, StoreError> {
        let conn = connection::open_writer(&options.path, options.vfs.as_deref())?;
        if flush == Flush::Checkpoints {
            conn.pragma_update(None, "synchronous", "NORMAL")?;
        }
        let device = Device::load(&conn, &options.machine, options.seed)?;
        let link = Link::load(&conn)?;
        let keep_versions = options.keep_versions;
        let mut owner = Owner {
            conn,
            device,
            link,
            indexes,
            changes: Changes::default(),
            clock,
            keep_versions,
            checkpointed: 0,
            is_log_safe: false,
        };
        owner.prepare();
        if options.n_readers == 0 {
            owner.indexes.fill_mirror(&owner.conn);
            return Ok(Self::Inline(Mutex::new(Some(Box::new(owner)))));
        }
        let (inbox, jobs) = bounded(INBOX);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || owner.run(&jobs))
            .map_err(|error| StoreError::Io(error.to_string()))?;
        Ok(Self::Thread(Mutex::new(Some(inbox)), Mutex::new(Some(thread))))
    }

    pub(super) fn submit<T, F>(
        &self,
        job: F,
    ) -> Result<oneshot::Receiver<Result<T, StoreError>>, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Write<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = Box::new(Call { job, value: None, reply });
        let inbox = match self {
            Self::Thread(inbox, _) => lock(inbox).clone().ok_or(StoreError::Closed)?,
            Self::Inline(owner) => {
                lock(owner).as_mut().ok_or(StoreError::Closed)?.take(call);
                return Ok(answer);
            }
        };
        match inbox.try_send(call) {
            Ok(()) => Ok(answer),
            Err(TrySendError::Full(_)) => Err(StoreError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(StoreError::Closed),
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        match self {
            Self::Thread(_, thread) => {
                lock(thread).as_ref().is_some_and(|thread| !thread.is_finished())
            }
            Self::Inline(owner) => lock(owner).is_some(),
        }
    }

    pub(super) fn close(&self) {
        match self {
            Self::Thread(inbox, thread) => {
                drop(lock(inbox).take());
                if let Some(thread) = lock(thread).take()
                    && thread.join().is_err()
                {
                    tracing::error!("the store's writing thread had died");
                }
            }
            Self::Inline(owner) => {
                if let Some(owner) = lock(owner).take() {
                    owner.checkpoint("TRUNCATE");
                }
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

/// A poisoned mutex guards nothing that a panic could have left half-changed here.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

pub(super) struct Owner {
    conn: Connection,
    device: Device,
    link: Option<Link>,
    indexes: Arc<Indexes>,
    /// What the transaction that is open changes in them.
    changes: Changes,
    clock: SharedClock,
    keep_versions: u32,
    /// Pages of the log at the last checkpoint.
    checkpointed: i32,
    /// Whether all that the system shows of the log is on the disk. A commit whose sync failed may be shown
    /// and not be there, or be there and not be shown: a power cut would take with it what was appended
    /// after it, or bring it back over a newer file. Such a log is emptied before anything else is written.
    is_log_safe: bool,
}

thread_local! {
    /// Pages of the log after this thread's last commit. The size of its file doesn't tell: it stays when
    /// the log begins anew.
    static WAL_PAGES: Cell<i32> = const { Cell::new(0) };
}

impl Owner {
    fn prepare(&mut self) {
        self.conn.wal_hook(Some(|_, pages| {
            WAL_PAGES.set(pages);
            Ok(())
        }));
        // The log of a program that was killed may be one of those. Nobody reads yet, so it can be emptied;
        // a disk that is too full for it doesn't keep the store from being read.
        self.is_log_safe = self.checkpoint("TRUNCATE");
    }

    /// Takes one job to its end.
    fn take(&mut self, job: Box<dyn Job>) {
        // Another store of this thread may have committed last.
        WAL_PAGES.set(0);
        self.commit(vec![job]);
        self.checkpoint_if_long();
    }

    fn run(&mut self, jobs: &Receiver<Box<dyn Job>>) {
        let mut is_wal_empty = false;
        loop {
            let first = if is_wal_empty {
                jobs.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                jobs.recv_timeout(IDLE)
            };
            match first {
                Ok(first) => {
                    let mut group = vec![first];
                    group.extend(jobs.try_iter().take(GROUP - 1));
                    self.commit(group);
                    self.checkpoint_if_long();
                    is_wal_empty = false;
                }
                Err(RecvTimeoutError::Timeout) => is_wal_empty = self.checkpoint("TRUNCATE"),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.checkpoint("TRUNCATE");
    }

    /// Runs a group in one transaction. A job's own error rolls back its savepoint only. An error that
    /// ended the transaction (a full disk does, released savepoints included), or a failed commit, means
    /// that nobody's change was kept: then the jobs run again one by one, so that only those are
    /// refused that fail alone.
    fn commit(&mut self, mut group: Vec<Box<dyn Job>>) {
        match self.attempt(&mut group) {
            Ok(outcomes) => {
                self.indexes.publish(std::mem::take(&mut self.changes));
                for (job, outcome) in group.into_iter().zip(outcomes) {
                    job.answer(outcome);
                }
            }
            Err(_) if group.len() > 1 => group.into_iter().for_each(|job| self.commit(vec![job])),
            Err(error) => {
                tracing::error!(%error, "write refused by the database");
                if let Some(job) = group.pop() {
                    job.answer(Err(error));
                }
            }
        }
    }

    fn attempt(
        &mut self,
        group: &mut [Box<dyn Job>],
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        if !self.is_log_safe && !self.try_checkpoint("TRUNCATE")? {
            return Err(StoreError::Held);
        }
        self.is_log_safe = true;
        let link_before = self.link.clone();
        let result = self.attempt_in_transaction(group);
        if result.is_err() {
            self.link = link_before;
            self.changes = Changes::default();
            if !self.conn.is_autocommit() {
                self.conn.execute_batch("ROLLBACK")?;
            }
            // At once: a kill would leave it to the next program.
            self.is_log_safe = self.is_log_safe || self.checkpoint("TRUNCATE");
        }
        result
    }

    fn attempt_in_transaction(
        &mut self,
        group: &mut [Box<dyn Job>],
    ) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        self.conn.execute_batch("BEGIN IMMEDIATE")?;
        let mut outcomes = Vec::with_capacity(group.len());
        for job in group {
            outcomes.push(self.run_in_savepoint(job.as_mut())?);
        }
        self.device.save(&self.conn)?;
        if let Err(error) = self.conn.execute_batch("COMMIT") {
            self.is_log_safe = error.sqlite_error_code() != Some(ErrorCode::SystemIoFailure);
            return Err(error.into());
        }
        Ok(outcomes)
    }

    /// The outer error means that the whole transaction is gone.
    fn run_in_savepoint(
        &mut self,
        job: &mut dyn Job,
    ) -> Result<Result<(), StoreError>, StoreError> {
        self.conn.prepare_cached("SAVEPOINT job")?.execute([])?;
        let link_before = self.link.clone();
        let mark = self.changes.mark();
        let mut write = Write {
            conn: &self.conn,
            device: &mut self.device,
            link: &mut self.link,
            changes: &mut self.changes,
            now: self.clock.now(),
            keep_versions: self.keep_versions,
        };
        let outcome = catch_unwind(AssertUnwindSafe(|| job.run(&mut write)))
            .unwrap_or_else(|_| Err(StoreError::Panicked("a write")));
        if outcome.is_err() {
            self.link = link_before;
            self.changes.back_to(mark);
        }
        match outcome {
            Err(error) if self.conn.is_autocommit() => Err(error),
            Err(error) => {
                self.conn.execute_batch("ROLLBACK TO job; RELEASE job")?;
                Ok(Err(error))
            }
            Ok(()) => {
                self.conn.prepare_cached("RELEASE job")?.execute([])?;
                Ok(Ok(()))
            }
        }
    }

    /// Moves the log into the file once it has grown by enough. What a reader still needs stays in the
    /// log; then it is tried again when the log has grown as much once more.
    fn checkpoint_if_long(&mut self) {
        let pages = WAL_PAGES.get();
        if pages < self.checkpointed {
            // The log began anew.
            self.checkpointed = 0;
        }
        if pages >= self.checkpointed + CHECKPOINT_PAGES {
            self.checkpoint("PASSIVE");
            self.checkpointed = pages;
        }
    }

    /// What can't be done now is done at another quiet moment. Tells whether all was copied.
    fn checkpoint(&self, mode: &str) -> bool {
        self.try_checkpoint(mode).unwrap_or_else(|error| {
            tracing::warn!(%error, "checkpoint deferred");
            false
        })
    }

    /// Never waits for a reader. Tells whether all was copied.
    fn try_checkpoint(&self, mode: &str) -> rusqlite::Result<bool> {
        let result = self.conn.busy_timeout(Duration::ZERO).and_then(|()| {
            self.conn.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| {
                row.get::<_, i64>(0)
            })
        });
        let unset = self.conn.busy_timeout(BUSY_TIMEOUT);
        result.and_then(|busy| unset.map(|()| busy == 0))
    }
}
