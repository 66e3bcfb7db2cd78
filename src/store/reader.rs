//! The reading threads: each owns a read-only connection and takes jobs from one shared inbox. One more, of lower
//! priority and with an inbox of its own, reads what nobody waits for.

use super::StoreOptions;
use super::connection;
use super::error::StoreError;
use super::indexes::Indexes;
use super::writer::lock;
use crate::priority;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Jobs that may wait; more are refused as busy.
const INBOX: usize = 1024;
/// Steps of SQLite's machine between two looks at whether the store closes: a fraction of a millisecond.
pub(super) const PROGRESS_STEPS: i32 = 10_000;
/// The same for the thread that gives way to others: some ten microseconds.
const ASIDE_STEPS: i32 = 1000;

/// What a reading job works with: a snapshot that no write moves.
pub struct Read<'a> {
    pub(super) conn: &'a Connection,
    pub(super) indexes: &'a Indexes,
}

type Job = Box<dyn FnOnce(&Read<'_>) + Send>;

/// The handles of those that read.
pub(super) enum Readers {
    /// Threads of their own.
    Threads(Threads),
    /// Whoever gives a job.
    Inline(Mutex<Option<Inline>>),
}

pub(super) struct Inline {
    conn: Connection,
    indexes: Arc<Indexes>,
}

pub(super) struct Threads {
    inbox: Mutex<Option<Sender<Job>>>,
    aside: Mutex<Option<Sender<Job>>>,
    handles: Mutex<Vec<JoinHandle<()>>>,
    is_closing: Arc<AtomicBool>,
}

impl Readers {
    pub(super) fn start(
        options: &StoreOptions,
        indexes: &Arc<Indexes>,
    ) -> Result<Self, StoreError> {
        let open = || connection::open_reader(&options.path, options.vfs.as_deref());
        if options.n_readers == 0 {
            let inline = Inline { conn: open()?, indexes: Arc::clone(indexes) };
            return Ok(Self::Inline(Mutex::new(Some(inline))));
        }
        let (inbox, jobs) = bounded::<Job>(INBOX);
        let (aside, aside_jobs) = bounded::<Job>(INBOX);
        let names =
            (0..options.n_readers).map(|n| (format!("store-reader-{n}"), jobs.clone(), false));
        let aside_name = ("store-aside".to_owned(), aside_jobs, true);
        let mut threads = Vec::new();
        let is_closing = Arc::new(AtomicBool::new(false));
        for (name, jobs, is_aside) in names.chain([aside_name]) {
            let conn = open()?;
            let is_closing = Arc::clone(&is_closing);
            let is_given_up = Arc::clone(&is_closing);
            let asks = move || {
                if is_aside {
                    priority::give_way();
                }
                is_given_up.load(Ordering::Acquire)
            };
            conn.progress_handler(if is_aside { ASIDE_STEPS } else { PROGRESS_STEPS }, Some(asks))?;
            let indexes = Arc::clone(indexes);
            let reads = move || {
                if is_aside {
                    priority::step_back(priority::BACKGROUND);
                }
                run(&Read { conn: &conn, indexes: &indexes }, &jobs, &is_closing);
            };
            let thread = std::thread::Builder::new().name(name).spawn(reads);
            threads.push(thread.map_err(|error| StoreError::Io(error.to_string()))?);
        }
        let (inbox, aside) = (Mutex::new(Some(inbox)), Mutex::new(Some(aside)));
        Ok(Self::Threads(Threads { inbox, aside, handles: Mutex::new(threads), is_closing }))
    }

    pub(super) fn submit<T, F>(
        &self,
        job: F,
        is_aside: bool,
    ) -> Result<oneshot::Receiver<Result<T, StoreError>>, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Read<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let run = move |read: &Read<'_>| {
            let outcome = catch_unwind(AssertUnwindSafe(|| in_snapshot(read, job)))
                .unwrap_or_else(|_| Err(StoreError::Panicked("a read")));
            // A caller that has gone away doesn't need its answer.
            let _gone = reply.send(outcome);
        };
        let inbox = match self {
            Self::Threads(threads) => {
                let inbox = if is_aside { &threads.aside } else { &threads.inbox };
                lock(inbox).clone().ok_or(StoreError::Closed)?
            }
            Self::Inline(inline) => {
                let inline = lock(inline);
                let Inline { conn, indexes } = inline.as_ref().ok_or(StoreError::Closed)?;
                run(&Read { conn, indexes });
                return Ok(answer);
            }
        };
        match inbox.try_send(Box::new(run)) {
            Ok(()) => Ok(answer),
            Err(TrySendError::Full(_)) => Err(StoreError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(StoreError::Closed),
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        match self {
            Self::Threads(threads) => {
                let threads = lock(&threads.handles);
                !threads.is_empty() && threads.iter().all(|thread| !thread.is_finished())
            }
            Self::Inline(inline) => lock(inline).is_some(),
        }
    }

    /// Doesn't wait for long reads: nothing depends on them.
    pub(super) fn close(&self) {
        match self {
            Self::Threads(threads) => threads.close(),
            Self::Inline(inline) => drop(lock(inline).take()),
        }
    }
}

impl Threads {
    fn close(&self) {
        drop((lock(&self.inbox).take(), lock(&self.aside).take()));
        self.is_closing.store(true, Ordering::Release);
        for thread in lock(&self.handles).drain(..) {
            if thread.join().is_err() {
                tracing::error!("a reading thread of the store had died");
            }
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.close();
    }
}

/// Jobs that still wait when the store closes are dropped, which answers them.
fn run(read: &Read<'_>, jobs: &Receiver<Job>, is_closing: &AtomicBool) {
    for job in jobs {
        if is_closing.load(Ordering::Acquire) {
            return;
        }
        job(read);
    }
}

fn in_snapshot<T>(
    read: &Read<'_>,
    job: impl FnOnce(&Read<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    let conn = read.conn;
    conn.prepare_cached("BEGIN")?.execute([])?;
    let outcome = catch_unwind(AssertUnwindSafe(|| job(read)));
    // The snapshot must not outlive the job, or the WAL could never be checkpointed.
    if !conn.is_autocommit() {
        conn.prepare_cached("COMMIT")?.execute([])?;
    }
    outcome.unwrap_or_else(|_| Err(StoreError::Panicked("a read")))
}
