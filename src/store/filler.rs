//! The thread that reads vectors, facets and words into memory when the store opens.

use super::StoreOptions;
use super::connection;
use super::error::StoreError;
use super::indexes::Indexes;
use super::reader::PROGRESS_STEPS;
use super::writer::lock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// The thread, which ends by itself.
pub(super) struct Filler {
    thread: Mutex<Option<JoinHandle<()>>>,
    is_given_up: Arc<AtomicBool>,
}

impl Filler {
    /// Begins to fill the indexes. The writer must have opened the file before.
    ///
    /// # Errors
    /// The file can't be opened, or the system has no thread.
    pub(super) fn start(
        options: &StoreOptions,
        indexes: &Arc<Indexes>,
    ) -> Result<Self, StoreError> {
        let is_given_up = Arc::new(AtomicBool::new(false));
        if options.n_readers == 0 {
            // The writer, which is no thread, has filled the mirror; all else is looked up in the file.
            return Ok(Self { thread: Mutex::default(), is_given_up });
        }
        let conn = connection::open_reader(&options.path, options.vfs.as_deref())?;
        let is_stopped = Arc::clone(&is_given_up);
        let asks = move || is_stopped.load(Ordering::Acquire);
        conn.progress_handler(PROGRESS_STEPS, Some(asks))?;
        let indexes = Arc::clone(indexes);
        let fills = move || {
            indexes.fill(&conn);
            drop(conn);
            give_back();
        };
        let thread = std::thread::Builder::new()
            .name("store-filler".to_owned())
            .spawn(fills)
            .map_err(|error| StoreError::Io(error.to_string()))?;
        Ok(Self { thread: Mutex::new(Some(thread)), is_given_up })
    }

    /// Doesn't wait for a long filling.
    pub(super) fn close(&self) {
        self.is_given_up.store(true, Ordering::Release);
        self.wait();
    }

    /// Waits until it has ended.
    pub(super) fn wait(&self) {
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that reads vectors, facets and words into memory had died");
        }
    }
}

/// Gives back to the system what was needed only for filling; the allocator would keep it for later.
fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[expect(unsafe_code, reason = "the allocator is told by a C function")]
        // SAFETY: it touches nothing that is in use, and may be called at any time by any thread.
        unsafe {
            libc::malloc_trim(0);
        }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.close();
    }
}
