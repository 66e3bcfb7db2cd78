//! The thread that fills the mirror when the store opens.

use super::Mirror;
use crate::store::connection;
use crate::store::error::StoreError;
use crate::store::writer::lock;
use crate::store::{StoreOptions, reader::PROGRESS_STEPS};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// The thread, which ends by itself.
pub(in crate::store) struct Filler {
    thread: Mutex<Option<JoinHandle<()>>>,
    is_given_up: Arc<AtomicBool>,
}

impl Filler {
    /// Begins to fill `mirror`. The writer must have opened the file before.
    ///
    /// # Errors
    /// The file can't be opened, or the system has no thread.
    pub(in crate::store) fn start(
        options: &StoreOptions,
        mirror: &Arc<Mirror>,
    ) -> Result<Self, StoreError> {
        let is_given_up = Arc::new(AtomicBool::new(false));
        if options.n_readers == 0 {
            // The writer, which is no thread, has filled it.
            return Ok(Self { thread: Mutex::default(), is_given_up });
        }
        let conn = connection::open_reader(&options.path, options.vfs.as_deref())?;
        let is_stopped = Arc::clone(&is_given_up);
        let asks = move || is_stopped.load(Ordering::Acquire);
        conn.progress_handler(PROGRESS_STEPS, Some(asks))?;
        let mirror = Arc::clone(mirror);
        let fills = move || mirror.fill_or_tell(&conn);
        let thread = std::thread::Builder::new()
            .name("store-mirror".to_owned())
            .spawn(fills)
            .map_err(|error| StoreError::Io(error.to_string()))?;
        Ok(Self { thread: Mutex::new(Some(thread)), is_given_up })
    }

    /// Doesn't wait for a long filling.
    pub(in crate::store) fn close(&self) {
        self.is_given_up.store(true, Ordering::Release);
        if let Some(thread) = lock(&self.thread).take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that fills the mirror had died");
        }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.close();
    }
}
