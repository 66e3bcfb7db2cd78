//! What happened, for those who watch: a stream that may lag and then says so. Nothing depends on it.

use crate::model::id::MemoryId;
use tokio::sync::broadcast;

/// What became of a memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is new, or back.
    Stored,
    /// It changed.
    Updated,
    /// It was deleted.
    Deleted,
}

/// One happening.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A memory changed.
    Memory(Change, MemoryId),
    /// Replication moved to this state.
    Sync(String),
}

/// The stream of happenings.
#[derive(Debug, Clone)]
pub struct Events(broadcast::Sender<Event>);

impl Default for Events {
    fn default() -> Self {
        Self(broadcast::Sender::new(256))
    }
}

impl Events {
    pub(super) fn publish(&self, change: Change, id: &MemoryId) {
        self.send(Event::Memory(change, *id));
    }

    /// Tells whoever listens.
    pub fn send(&self, event: Event) {
        // Nobody listening is no fault.
        let _unheard = self.0.send(event);
    }

    /// Everything from here on.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.subscribe()
    }
}
