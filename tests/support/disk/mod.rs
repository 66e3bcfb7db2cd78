//! A disk in memory, with a file system that SQLite can use and a power supply that fails: what wasn't
//! synced may survive, vanish, overtake or be torn, space runs out, reads, writes and syncs fail. What
//! happens is drawn from a seed.
//!
//! Each disk is a SQLite VFS of its own, [`Disk::vfs_name`]; a file's name is whatever SQLite is given.
//! Connections in one process share a write-ahead log as they do on a real disk.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "files and slots are numbered here; what isn't as expected fails the test"
)]

mod medium;
mod state;
#[cfg(test)]
mod tests;
#[expect(unsafe_code, reason = "SQLite calls a VFS through C functions")]
mod vfs;

pub use medium::{Image, Recording};
pub use state::{Counts, Fault};
pub use vfs::contents;

use state::State;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A disk; clones share it.
#[derive(Clone)]
pub struct Disk(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    memories: vfs::Memories,
    slot: &'static vfs::Slot,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.slot.release();
    }
}

impl Disk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        Self::from_image(&Image::default(), seed)
    }

    /// A disk that was switched on with these files on it.
    pub fn from_image(image: &Image, seed: u64) -> Self {
        Self(Arc::new_cyclic(|disk| Shared {
            state: Mutex::new(State::holding(image, seed)),
            memories: vfs::Memories::default(),
            slot: vfs::Slot::claim(disk.clone()),
        }))
    }

    /// The name of the VFS through which SQLite reaches it. It is good while the disk or a connection to it
    /// lives.
    pub fn vfs_name(&self) -> &str {
        self.0.slot.name()
    }

    /// The files as programs see them: what an orderly stop leaves.
    pub fn image(&self) -> Image {
        self.state().image()
    }

    /// Fails the power, unless it has failed already. Every later operation is refused. Returns what a
    /// restart finds.
    pub fn cut_power(&self) -> Image {
        self.state().cut()
    }

    /// Lets the power fail at the change (see [`Counts::changes`]) after the next `n`, in the middle of it.
    pub fn cut_after(&self, n: u64) {
        self.state().cut_after(n);
    }

    /// Whether the power has failed.
    pub fn is_cut(&self) -> bool {
        self.state().is_cut()
    }

    /// Kills the program that uses the disk: what it has open is dead, its locks and its shared memory are
    /// gone, what it wrote is there, synced or not. New connections are those of the next program.
    pub fn kill(&self) {
        self.state().kill();
        self.0.memories.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Orders a fault at the `nth` operation of its kind from now on, counted from 1.
    pub fn fail(&self, fault: Fault, nth: u64) {
        self.state().order(fault, nth);
    }

    /// Leaves room for so many bytes more; `None` for as many as there may ever be.
    pub fn leave_room(&self, room: Option<u64>) {
        self.state().set_room(room);
    }

    /// Answers syncs without carrying them out, or no longer does.
    pub fn lie(&self, is_lying: bool) {
        self.state().set_lying(is_lying);
    }

    /// Forgets the faults that were ordered, makes room and stops lying.
    pub fn heal(&self) {
        self.state().heal();
    }

    /// What the disk has done.
    pub fn counts(&self) -> Counts {
        self.state().counts()
    }

    /// Writes down from now on what happens.
    pub fn record(&self) {
        self.state().record();
    }

    /// Events recorded so far.
    pub fn n_recorded(&self) -> usize {
        self.state().n_recorded()
    }

    /// Ends the recording and returns it; `None` if there is none.
    pub fn recording(&self) -> Option<Recording> {
        let (medium, events) = self.state().recorded()?;
        Some(Recording { medium, events, next: 0 })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
