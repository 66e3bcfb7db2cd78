//! The only door to SQLite. One thread owns the connection that writes, a few own connections that can
//! only read; everybody else sends them closures and awaits the answer.
//!
//! **The commit point.** [`Store::write`] answers after the transaction that holds the job has been
//! committed with `synchronous=FULL`: from then on the change, its keyword row, its duty to be embedded
//! and its duties to the cloud survive a kill and a power loss together. Before that nothing of it exists.
//! Jobs that wait at the same time share one commit; each runs in a savepoint of its own, so that one
//! that fails takes nobody with it.
//!
//! **What may disagree after a crash.** Nothing within the file. The `vec_*` and `keyword` tables are
//! written in the transaction of the memory they speak of and could be rebuilt from `embedding` and
//! `memory`. Hints to the embedder and the replicator may be lost; the tables
//! `pending_embedding` and `outbox` are the truth and are looked at again at start.
//!
//! **What is held in memory** (`indexes`). The vectors, one byte a component (`mirror`), the words (`inverted`),
//! and the tags, types and times (`facets`). All follow the file: they are filled when the store opens, while the
//! indexes of the file answer, and the writing thread publishes each commit to them before it answers. They
//! propose; what is found stands on the reader's snapshot of the file.
//!
//! **What is deliberately absent.** No read writes: no access counters, no last-seen times. No network.
//! No second process: the daemon's lock guards the file.

pub mod backup;
pub mod carried;
pub mod digest;
pub mod duplicate;
pub mod edge;
pub mod enrolment;
pub mod error;
pub mod graph;
pub mod held;
pub mod link;
pub mod memory;
pub mod neighbours;
pub mod oldest;
pub mod outbox;
pub mod pull;
pub mod reconcile;
pub mod repair;
pub mod replace;
pub mod retention;
pub mod search;
pub mod source;
pub mod stats;
pub mod survey;
pub mod takeover;
pub mod transfer;
pub mod unconfirmed;
pub mod vector;

mod best;
mod column;
mod connection;
mod device;
mod facets;
mod filler;
mod history;
mod indexes;
mod inverted;
mod kernel;
mod keys;
mod keyword;
mod mirror;
mod nearest;
mod owed;
mod ranking;
mod reader;
mod row;
mod select;
mod sieve;
mod terms;
mod writer;

#[cfg(test)]
mod full_disk_tests;
#[cfg(test)]
mod tests;

pub use history::Version;
pub use mirror::Served;
pub use reader::Read;
pub use writer::Write;

use crate::clock::SharedClock;
use connection::Flush;
use error::StoreError;
use filler::Filler;
use indexes::Indexes;
use mirror::Limits;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Lets every SQLite connection that this process opens from now on know tables of vectors (`vec0`), those
/// of other databases too.
pub fn know_vector_tables() {
    connection::register_sqlite_vec();
}

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The database file.
    pub path: PathBuf,
    /// What identifies this machine; a database copied elsewhere gets a new device id.
    pub machine: String,
    /// Seeds the device id of a new database.
    pub seed: u64,
    /// Number of reading threads. 0 makes a store without any thread: every job runs where it is given,
    /// and its future is ready at once. That is how a simulation drives it.
    pub n_readers: usize,
    /// The name of a registered SQLite VFS; `None` for the system's files.
    pub vfs: Option<String>,
    /// Versions kept in the history of one memory.
    pub keep_versions: u32,
    /// Bytes of memory that the vectors may take; what has no room is ranked in the file.
    pub mirror_bytes: usize,
}

/// A handle to the store; clones share it. The store closes when the last one is dropped or when
/// [`Store::close`] is called.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// Whether nobody waits for what is read by this handle.
    is_aside: bool,
}

struct Inner {
    path: PathBuf,
    indexes: Arc<Indexes>,
    // Those who read are declared first: they are joined before the writer closes the file.
    filler: Filler,
    readers: reader::Readers,
    writer: writer::Writer,
}

impl Store {
    /// Opens the file, creates it if it is missing, migrates it if it is older.
    ///
    /// # Errors
    /// The file is newer, foreign, damaged or can't be opened.
    pub fn open(options: &StoreOptions, clock: SharedClock) -> Result<Self, StoreError> {
        Self::open_as(options, clock, Flush::Commits)
    }

    /// The same, but a commit that was answered may be lost with the power: it is flushed to the disk by a
    /// later checkpoint. It is there to measure what the promise of [`Store::write`] costs.
    ///
    /// # Errors
    /// See [`Store::open`].
    pub fn open_unflushed(options: &StoreOptions, clock: SharedClock) -> Result<Self, StoreError> {
        Self::open_as(options, clock, Flush::Checkpoints)
    }

    fn open_as(
        options: &StoreOptions,
        clock: SharedClock,
        flush: Flush,
    ) -> Result<Self, StoreError> {
        let indexes = Indexes::new(Limits::of_bytes(options.mirror_bytes));
        let indexes = Arc::new(if options.n_readers > 0 { indexes.assisted() } else { indexes });
        if options.n_readers > 0 {
            indexes.expect_filling();
        }
        let writer = writer::Writer::start(options, flush, clock, Arc::clone(&indexes))?;
        let readers = reader::Readers::start(options, &indexes)?;
        let filler = Filler::start(options, &indexes)?;
        let inner = Inner { path: options.path.clone(), indexes, filler, readers, writer };
        Ok(Self { inner: Arc::new(inner), is_aside: false })
    }

    /// The same store for work that nobody waits for: it reads on a thread of its own, of lower priority, so that
    /// those who search never stand behind it.
    #[must_use]
    pub fn aside(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), is_aside: true }
    }

    /// Runs `job` in a transaction and answers once it is durable. The job may run more than once (each
    /// time after a full rollback), so it must not move its captures away.
    ///
    /// # Errors
    /// What the job answers, or why it could not be committed; nothing is kept then. A full inbox is
    /// [`StoreError::Busy`] at once.
    pub async fn write<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Write<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.inner.writer.submit(job)?.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Runs `job` on a snapshot of the database.
    ///
    /// # Errors
    /// What the job answers. A full inbox is [`StoreError::Busy`] at once.
    pub async fn read<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Read<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.inner.readers.submit(job, self.is_aside)?.await.unwrap_or(Err(StoreError::Closed))
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    /// What ranks the vectors of a search at this moment.
    pub fn served(&self) -> Served {
        self.inner.indexes.mirror.served()
    }

    /// What multiplies the vectors that are in memory.
    pub fn kernel(&self) -> &'static str {
        self.inner.indexes.mirror.kernel()
    }

    /// Waits until facets, vectors and words are in memory, or are known to stay in the file alone: they are read when
    /// the store opens.
    pub fn wait_until_filled(&self) {
        self.inner.filler.wait();
    }

    /// Whether both kinds of threads are alive.
    pub fn is_alive(&self) -> bool {
        self.inner.writer.is_alive() && self.inner.readers.is_alive()
    }

    /// Finishes the jobs that wait, checkpoints and closes the file. Later jobs are refused with
    /// [`StoreError::Closed`].
    pub fn close(&self) {
        self.inner.filler.close();
        self.inner.readers.close();
        self.inner.writer.close();
    }
}
