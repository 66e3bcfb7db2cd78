//! The vectors of the active space in memory, one byte a component: what a search by meaning looks at
//! first, so that it need not read every vector from the file.
//!
//! The table `embedding` stays the truth. The mirror only proposes: whoever asks looks its proposals up
//! in the table, on a snapshot of its own, and ranks them by what stands there. So a proposal that is out
//! of date costs a place among the candidates, never a wrong answer.
//!
//! A thread of its own fills the mirror when the store opens. Until then, and where the vectors have no room
//! in it, the index in the file ranks. The writing thread gathers what a group of jobs changes and publishes
//! that after the commit, before anybody of the group is answered: a vector that was acknowledged is
//! proposed. What is published while the mirror is being filled is applied to what the filling has read: each
//! change replaces what stands there, so it doesn't matter which of them the filling has seen already.
//!
//! Readers share chunks with the mirror, and the writer copies a chunk that somebody is reading, so that
//! neither waits for the other's work.

mod assistant;
mod chunk;
mod code;
mod table;

pub(super) use table::Limits;

use super::error::StoreError;
use super::kernel::Kernel;
use super::keys::Keys;
use crate::model::space::UnitVector;
use assistant::Assistant;
use code::{Code, Sought};
use rusqlite::{Connection, OptionalExtension as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use table::Table;

/// Vectors above which one bit a component chooses first: below, looking at every code takes a few
/// milliseconds at most and misses nothing.
const SIGNS_ABOVE: usize = 1 << 18;

/// Places for vectors above which two threads look at them: below, to wake the other one takes as long.
const SHARED_ABOVE: usize = 1 << 14;

/// What ranks the vectors of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// The codes in memory.
    Memory,
    /// The signs in memory, as there is no room for the codes.
    MemoryBits,
    /// The index in the file: there is no room for the signs either, or the mirror is being filled.
    File,
}

impl Served {
    /// As the status names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::MemoryBits => "memory_bits",
            Self::File => "file",
        }
    }
}

/// The mirror.
#[derive(Debug)]
pub(super) struct Mirror {
    limits: Limits,
    assistant: Option<Assistant>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// It is being filled; what was published meanwhile.
    Filling(Vec<Change>),
    /// No space is active.
    Empty,
    /// The vectors.
    Ready(Arc<Table>),
    /// There is no room for the vectors, or they could not be read.
    Absent,
}

/// What a transaction changes.
#[derive(Debug)]
pub(super) enum Change {
    /// Another space is active and has no vectors yet.
    Space { key: i64, dims: usize },
    /// This is the vector of `id`, one of `memory`, from here on.
    Put { id: i64, memory: i64, vector: UnitVector },
    /// There is no vector of `id` any more.
    Remove { id: i64 },
}

/// What the mirror proposes.
#[derive(Debug, PartialEq)]
pub(super) struct Proposals {
    /// Ids by falling bounds: no vector has a cosine above its bound.
    pub(super) by_bound: Vec<(f32, i64)>,
    /// Whether these are all vectors there are.
    pub(super) is_all: bool,
    /// Whether no vector that isn't proposed has a cosine above the last bound.
    pub(super) is_exact: bool,
}

impl Limits {
    /// At most so many bytes of memory, with the fastest instructions there are.
    pub(super) fn of_bytes(bytes: usize) -> Self {
        let kernel = Kernel::best();
        Self { bytes, signs_above: SIGNS_ABOVE, shared_above: SHARED_ABOVE, kernel }
    }
}

impl Mirror {
    /// One that waits to be filled.
    pub(super) fn new(limits: Limits) -> Self {
        let state = Mutex::new(State::Filling(Vec::new()));
        Self { limits, assistant: None, state }
    }

    /// The same with a thread of its own, which helps where the vectors are many.
    pub(super) fn assisted(self) -> Self {
        Self { assistant: Assistant::start(), ..self }
    }

    /// Fills it from the table, on a snapshot that isn't older than the mirror.
    ///
    /// # Errors
    /// The database refused; the index in the file ranks then.
    pub(super) fn fill(&self, conn: &Connection) -> Result<(), StoreError> {
        let read = catch_unwind(AssertUnwindSafe(|| self.read(conn)))
            .unwrap_or_else(|_| Err(StoreError::Panicked("filling the mirror")));
        let mut held = self.lock();
        let published = match &mut *held {
            State::Filling(published) => std::mem::take(published),
            _ => Vec::new(),
        };
        let (state, outcome) = match read {
            Ok(state) => (state, Ok(())),
            Err(error) => (State::Absent, Err(error)),
        };
        *held = state;
        for change in published {
            held.apply(change, self.limits);
        }
        let (kernel, serves) = (self.limits.kernel.name, held.served().as_str());
        tracing::debug!(kernel, serves, "the vectors are read");
        outcome
    }

    fn read(&self, conn: &Connection) -> Result<State, StoreError> {
        let active: Option<(i64, i64)> = conn
            .query_row("SELECT key, dims FROM space WHERE is_active", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let Some((space, dims)) = active else { return Ok(State::Empty) };
        let mut table = Table::new(space, usize::try_from(dims).unwrap_or(0), self.limits);
        let mut statement =
            conn.prepare("SELECT id, memory, vec FROM embedding WHERE space = ?1")?;
        let mut rows = statement.query([space])?;
        let mut values = Vec::new();
        while let Some(row) = rows.next()? {
            values.clear();
            let bytes = row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?;
            values.extend(bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)));
            if !table.put(row.get(0)?, row.get(1)?, &Code::of(&values)) {
                return Ok(State::Absent);
            }
        }
        Ok(State::Ready(Arc::new(table)))
    }

    /// Makes the changes of a committed transaction visible.
    pub(super) fn publish(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let mut held = self.lock();
        for change in changes {
            held.apply(change, self.limits);
        }
    }

    /// Proposals for the `n` vectors of `space` that are nearest to `query`, of the memories that pass. `None`
    /// if the mirror doesn't hold that space.
    pub(super) fn nearest(
        &self,
        space: i64,
        query: &UnitVector,
        n: usize,
        passing: Option<&Keys>,
    ) -> Option<Proposals> {
        let table = self.held(space).filter(|table| table.dims == query.as_slice().len())?;
        let sought = Arc::new(Sought::of(query.as_slice()));
        Some(table.nearest(&sought, n, passing, self.assistant.as_ref()))
    }

    /// What ranks at this moment.
    pub(super) fn served(&self) -> Served {
        self.lock().served()
    }

    /// What multiplies.
    pub(super) fn kernel(&self) -> &'static str {
        self.limits.kernel.name
    }

    /// What stands in it, by ids.
    #[cfg(test)]
    pub(super) fn contents(&self) -> std::collections::BTreeMap<i64, (i64, Vec<i8>, Vec<u64>)> {
        match &*self.lock() {
            State::Ready(table) => table.contents(),
            _ => Default::default(),
        }
    }

    fn held(&self, space: i64) -> Option<Arc<Table>> {
        match &*self.lock() {
            State::Ready(table) if table.space == space => Some(Arc::clone(table)),
            _ => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is a whole one, so a panic leaves nothing half-done that matters.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn served(&self) -> Served {
        match self {
            Self::Empty => Served::Memory,
            Self::Ready(table) if table.is_coded() => Served::Memory,
            Self::Ready(_) => Served::MemoryBits,
            Self::Filling(_) | Self::Absent => Served::File,
        }
    }

    fn apply(&mut self, change: Change, limits: Limits) {
        match (&mut *self, change) {
            (Self::Filling(published), change) => published.push(change),
            (_, Change::Space { key, dims }) => {
                *self = Self::Ready(Arc::new(Table::new(key, dims, limits)));
            }
            (Self::Ready(table), Change::Put { id, memory, vector }) => {
                if !Arc::make_mut(table).put(id, memory, &Code::of(vector.as_slice())) {
                    *self = Self::Absent;
                }
            }
            (Self::Ready(table), Change::Remove { id }) => Arc::make_mut(table).remove(id),
            (Self::Empty | Self::Absent, Change::Put { .. } | Change::Remove { .. }) => {}
        }
    }
}

#[cfg(test)]
mod tests;
