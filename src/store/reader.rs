//! The reading threads: each owns a read-only connection and takes jobs from one shared inbox.

use super::connection;
use super::error::StoreError;
use super::writer::lock;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rusqlite::Connection;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Jobs that may wait; more are refused as busy.
const INBOX: usize = 1024;

/// What a reading job works with: a snapshot that no write moves.
pub struct Read<'a> {
    pub(super) conn: &'a Connection,
}

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// The handles of the reading threads.
pub(super) struct Readers {
    inbox: Mutex<Option<Sender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Readers {
    pub(super) fn start(path: &Path, n_readers: usize) -> Result<Self, StoreError> {
        let (inbox, jobs) = bounded::<Job>(INBOX);
        let mut threads = Vec::new();
        for n in 0..n_readers.max(1) {
            let conn = connection::open_reader(path)?;
            let jobs = jobs.clone();
            let thread = std::thread::Builder::new()
                .name(format!("store-reader-{n}"))
                .spawn(move || run(&conn, &jobs))
                .map_err(|error| StoreError::Io(error.to_string()))?;
            threads.push(thread);
        }
        Ok(Self { inbox: Mutex::new(Some(inbox)), threads: Mutex::new(threads) })
    }

    pub(super) fn submit<T, F>(
        &self,
        job: F,
    ) -> Result<oneshot::Receiver<Result<T, StoreError>>, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Read<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let run = move |conn: &Connection| {
            let outcome = catch_unwind(AssertUnwindSafe(|| in_snapshot(conn, job)))
                .unwrap_or_else(|_| Err(StoreError::Panicked("a read")));
            // A caller that has gone away doesn't need its answer.
            let _gone = reply.send(outcome);
        };
        let inbox = lock(&self.inbox).clone().ok_or(StoreError::Closed)?;
        match inbox.try_send(Box::new(run)) {
            Ok(()) => Ok(answer),
            Err(TrySendError::Full(_)) => Err(StoreError::Busy),
            Err(TrySendError::Disconnected(_)) => Err(StoreError::Closed),
        }
    }

    pub(super) fn is_alive(&self) -> bool {
        let threads = lock(&self.threads);
        !threads.is_empty() && threads.iter().all(|thread| !thread.is_finished())
    }

    pub(super) fn close(&self) {
        drop(lock(&self.inbox).take());
        for thread in lock(&self.threads).drain(..) {
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

fn run(conn: &Connection, jobs: &Receiver<Job>) {
    for job in jobs {
        job(conn);
    }
}

fn in_snapshot<T>(
    conn: &Connection,
    job: impl FnOnce(&Read<'_>) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    conn.prepare_cached("BEGIN")?.execute([])?;
    let outcome = catch_unwind(AssertUnwindSafe(|| job(&Read { conn })));
    // The snapshot must not outlive the job, or the WAL could never be checkpointed.
    if !conn.is_autocommit() {
        conn.prepare_cached("COMMIT")?.execute([])?;
    }
    outcome.unwrap_or_else(|_| Err(StoreError::Panicked("a read")))
}
