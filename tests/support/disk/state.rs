//! A disk as a program sees it: files in a folder, locks, and faults that were ordered.

use super::medium::{Change, Event, FileId, Image, Medium};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rusqlite::ffi;
use std::collections::BTreeMap;
use std::ffi::c_int;
use std::sync::Arc;

/// What goes wrong, once, at an operation of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A read fails.
    Read,
    /// A write or a truncation fails; some of the bytes may have been taken.
    Write,
    /// A write finds no space; some of the bytes may have been taken.
    Full,
    /// A sync fails, and what it should have written is dropped: the program may go on reading it, but it
    /// will never reach the platter.
    Sync,
}

/// What a disk has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Truncations.
    pub truncates: u64,
    /// Syncs of a file.
    pub syncs: u64,
    /// Names made or removed.
    pub names: u64,
    /// Faults that happened, by [`Fault`]: read, write, full, sync. A write beyond the room counts as full.
    pub faults: [u64; 4],
}

impl Counts {
    /// Operations after which a power cut may find something else than before.
    pub fn changes(&self) -> u64 {
        self.writes + self.truncates + self.syncs + self.names
    }
}

/// An operation's refusal: SQLite's code.
pub(super) type Refused = c_int;

/// How much of a file a connection has locked, in the order of SQLite's levels.
pub(super) type Level = c_int;

#[derive(Debug, Default)]
struct File {
    bytes: Vec<u8>,
    locks: BTreeMap<u64, Level>,
}

#[derive(Debug)]
pub(super) struct State {
    files: Vec<File>,
    folder: BTreeMap<Arc<str>, FileId>,
    medium: Medium,
    rng: ChaCha8Rng,
    /// Of the program that runs: handles of an older one are dead.
    pub(super) life: u64,
    last_handle: u64,
    faults: Vec<(Fault, u64)>,
    /// Bytes by which the files may still grow together.
    room: Option<u64>,
    is_lying: bool,
    counts: Counts,
    /// Changes until the power fails.
    cut_in: Option<u64>,
    /// What the power left when it failed.
    left: Option<Image>,
    recorded: Option<(Medium, Vec<Event>)>,
}

impl State {
    pub(super) fn holding(image: &Image, seed: u64) -> Self {
        let file = |bytes: &Arc<Vec<u8>>| File { bytes: bytes.to_vec(), locks: BTreeMap::new() };
        Self {
            files: image.0.values().map(file).collect(),
            folder: image.0.keys().cloned().zip(0..).collect(),
            medium: Medium::holding(image),
            rng: ChaCha8Rng::seed_from_u64(seed),
            life: 0,
            last_handle: 0,
            faults: Vec::new(),
            room: None,
            is_lying: false,
            counts: Counts::default(),
            cut_in: None,
            left: None,
            recorded: None,
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    pub(super) fn image(&self) -> Image {
        let file = |(name, file): (&Arc<str>, &FileId)| {
            (Arc::clone(name), Arc::new(self.files[*file].bytes.clone()))
        };
        Image(self.folder.iter().map(file).collect())
    }

    pub(super) fn cut(&mut self) -> Image {
        if self.left.is_none() {
            let image = self.medium.after_cut(self.rng.random());
            self.left = Some(image);
        }
        self.left.clone().unwrap_or_default()
    }

    pub(super) fn is_cut(&self) -> bool {
        self.left.is_some()
    }

    pub(super) fn cut_after(&mut self, n: u64) {
        self.cut_in = Some(n);
    }

    pub(super) fn kill(&mut self) {
        self.life += 1;
        for file in &mut self.files {
            file.locks.clear();
        }
    }

    pub(super) fn order(&mut self, fault: Fault, nth: u64) {
        self.faults.push((fault, nth.max(1)));
    }

    pub(super) fn heal(&mut self) {
        self.faults.clear();
        self.room = None;
        self.is_lying = false;
    }

    pub(super) fn set_room(&mut self, room: Option<u64>) {
        self.room = room;
    }

    pub(super) fn set_lying(&mut self, is_lying: bool) {
        self.is_lying = is_lying;
    }

    pub(super) fn record(&mut self) {
        self.recorded = Some((self.medium.clone(), Vec::new()));
    }

    pub(super) fn n_recorded(&self) -> usize {
        self.recorded.as_ref().map_or(0, |(_, events)| events.len())
    }

    pub(super) fn recorded(&mut self) -> Option<(Medium, Vec<Event>)> {
        self.recorded.take()
    }

    /// A number for a new handle.
    pub(super) fn handle(&mut self) -> u64 {
        self.last_handle += 1;
        self.last_handle
    }

    pub(super) fn exists(&self, name: &str) -> bool {
        self.folder.contains_key(name)
    }

    /// Opens a file, makes it if it may be made; one without a name is always made.
    pub(super) fn open(&mut self, name: Option<&str>, may_make: bool) -> Result<FileId, Refused> {
        if self.is_cut() {
            return Err(ffi::SQLITE_CANTOPEN);
        }
        let Some(name) = name else {
            self.files.push(File::default());
            return Ok(self.files.len() - 1);
        };
        match self.folder.get(name) {
            Some(file) => Ok(*file),
            None if may_make => {
                self.counts.names += 1;
                let (name, file): (Arc<str>, _) = (name.into(), self.files.len());
                self.spend_power(Event::Create { name: Arc::clone(&name), file })
                    .map_err(|_| ffi::SQLITE_CANTOPEN)?;
                self.files.push(File::default());
                self.folder.insert(name, file);
                Ok(file)
            }
            None => Err(ffi::SQLITE_CANTOPEN),
        }
    }

    pub(super) fn delete(&mut self, name: &str, sync_folder: bool) -> Result<(), Refused> {
        if self.is_cut() {
            return Err(ffi::SQLITE_IOERR_DELETE);
        }
        let Some(name) = self.folder.keys().find(|key| &***key == name).cloned() else {
            return Err(ffi::SQLITE_IOERR_DELETE_NOENT);
        };
        self.counts.names += 1;
        self.spend_power(Event::Delete { name: Arc::clone(&name) })?;
        let gone = self.folder.remove(&name);
        self.give_room(gone.map_or(0, |file| self.files[file].bytes.len()));
        if sync_folder { self.sync_folder() } else { Ok(()) }
    }

    pub(super) fn len(&self, file: FileId) -> usize {
        self.files[file].bytes.len()
    }

    /// Reads what is there. Returns how many bytes that were.
    pub(super) fn read(
        &mut self,
        file: FileId,
        offset: usize,
        into: &mut [u8],
    ) -> Result<usize, Refused> {
        if self.is_cut() {
            return Err(ffi::SQLITE_IOERR_READ);
        }
        self.counts.reads += 1;
        if self.strikes(Fault::Read) {
            return Err(ffi::SQLITE_IOERR_READ);
        }
        let bytes = &self.files[file].bytes;
        let there = bytes.get(offset.min(bytes.len())..).unwrap_or_default();
        let n = there.len().min(into.len());
        into[..n].copy_from_slice(&there[..n]);
        into[n..].fill(0);
        Ok(n)
    }

    pub(super) fn write(
        &mut self,
        file: FileId,
        offset: usize,
        bytes: &[u8],
    ) -> Result<(), Refused> {
        if self.is_cut() {
            return Err(ffi::SQLITE_IOERR_WRITE);
        }
        self.counts.writes += 1;
        let growth = (offset + bytes.len()).saturating_sub(self.len(file));
        let free = self.room.map_or(usize::MAX, |room| usize::try_from(room).unwrap_or(usize::MAX));
        let refusal = if self.strikes(Fault::Write) {
            Some(ffi::SQLITE_IOERR_WRITE)
        } else if self.strikes(Fault::Full) {
            Some(ffi::SQLITE_FULL)
        } else if growth > free {
            self.counts.faults[Fault::Full as usize] += 1;
            Some(ffi::SQLITE_FULL)
        } else {
            None
        };
        let n = match refusal {
            None => bytes.len(),
            Some(_) => {
                self.rng.random_range(0..=bytes.len().saturating_sub(growth) + growth.min(free))
            }
        };
        let taken = &bytes[..n.min(bytes.len())];
        let grown = (offset + taken.len()).saturating_sub(self.len(file)).min(free);
        self.room = self.room.map(|room| room.saturating_sub(grown as u64));
        if !taken.is_empty() {
            self.change(file, Change::Write { offset, bytes: taken.into() })?;
        }
        refusal.map_or(Ok(()), Err)
    }

    pub(super) fn truncate(&mut self, file: FileId, len: usize) -> Result<(), Refused> {
        if self.is_cut() {
            return Err(ffi::SQLITE_IOERR_TRUNCATE);
        }
        self.counts.truncates += 1;
        if self.strikes(Fault::Write) {
            return Err(ffi::SQLITE_IOERR_TRUNCATE);
        }
        self.give_room(self.len(file).saturating_sub(len));
        self.change(file, Change::Truncate { len })
    }

    pub(super) fn sync(&mut self, file: FileId, with_folder: bool) -> Result<(), Refused> {
        if self.is_cut() {
            return Err(ffi::SQLITE_IOERR_FSYNC);
        }
        self.counts.syncs += 1;
        if self.strikes(Fault::Sync) {
            self.drop_pending(file)?;
            return Err(ffi::SQLITE_IOERR_FSYNC);
        }
        if self.is_lying {
            return Ok(());
        }
        self.spend_power(Event::Sync { file })?;
        if with_folder { self.sync_folder() } else { Ok(()) }
    }

    fn sync_folder(&mut self) -> Result<(), Refused> {
        if self.is_lying { Ok(()) } else { self.spend_power(Event::SyncFolder) }
    }

    /// What a kernel does whose write to the disk failed: it forgets that the bytes are unwritten. Programs
    /// go on reading the new ones, or from now on the old ones.
    fn drop_pending(&mut self, file: FileId) -> Result<(), Refused> {
        let share = [0.0, 0.5, 1.0][self.rng.random_range(0..3)];
        let n_pending = self.medium.n_pending(file);
        let survivors = (0..n_pending).map(|_| self.rng.random_bool(share)).collect();
        self.spend_power(Event::Drop { file, survivors })?;
        if self.rng.random_bool(0.5) {
            self.files[file].bytes = self.medium.durable(file);
        }
        Ok(())
    }

    fn change(&mut self, file: FileId, change: Change) -> Result<(), Refused> {
        let event = Event::Change { file, change };
        self.spend_power(event.clone())?;
        if let Event::Change { change, .. } = event {
            change.apply(&mut self.files[file].bytes);
        }
        Ok(())
    }

    /// Lets an event happen, unless the power fails with it: then it is on its way at most.
    fn spend_power(&mut self, event: Event) -> Result<(), Refused> {
        let is_last = self.cut_in == Some(0);
        self.cut_in = self.cut_in.map(|n| n.saturating_sub(1));
        if is_last {
            if matches!(event, Event::Create { .. } | Event::Delete { .. } | Event::Change { .. }) {
                self.medium.apply(&event);
            }
            self.cut();
            return Err(ffi::SQLITE_IOERR);
        }
        self.medium.apply(&event);
        if let Some((_, events)) = &mut self.recorded {
            events.push(event);
        }
        Ok(())
    }

    fn give_room(&mut self, bytes: usize) {
        self.room = self.room.map(|room| room + bytes as u64);
    }

    /// Whether a fault of this kind happens now.
    fn strikes(&mut self, fault: Fault) -> bool {
        for (_, nth) in self.faults.iter_mut().filter(|(kind, _)| *kind == fault) {
            *nth -= 1;
        }
        let n_ordered = self.faults.len();
        self.faults.retain(|(_, nth)| *nth > 0);
        let is_now = self.faults.len() < n_ordered;
        self.counts.faults[fault as usize] += u64::from(is_now);
        is_now
    }

    /// Raises a handle's lock to `level`.
    pub(super) fn lock(&mut self, file: FileId, handle: u64, level: Level) -> Result<(), Refused> {
        let locks = &mut self.files[file].locks;
        let others = locks.iter().filter(|(other, _)| **other != handle).map(|(_, level)| *level);
        let highest = others.max().unwrap_or(ffi::SQLITE_LOCK_NONE);
        let limit = match level {
            ffi::SQLITE_LOCK_SHARED => ffi::SQLITE_LOCK_RESERVED,
            ffi::SQLITE_LOCK_RESERVED => ffi::SQLITE_LOCK_SHARED,
            _ => ffi::SQLITE_LOCK_NONE,
        };
        if highest <= limit {
            locks.insert(handle, level);
            return Ok(());
        }
        if level == ffi::SQLITE_LOCK_EXCLUSIVE && highest == ffi::SQLITE_LOCK_SHARED {
            // Nobody new may read while those who read finish.
            locks.insert(handle, ffi::SQLITE_LOCK_PENDING);
        }
        Err(ffi::SQLITE_BUSY)
    }

    /// Lowers a handle's lock to `level`.
    pub(super) fn unlock(&mut self, file: FileId, handle: u64, level: Level) {
        let locks = &mut self.files[file].locks;
        if level == ffi::SQLITE_LOCK_NONE {
            locks.remove(&handle);
        } else {
            locks.insert(handle, level);
        }
    }

    pub(super) fn is_reserved(&self, file: FileId) -> bool {
        self.files[file].locks.values().any(|level| *level >= ffi::SQLITE_LOCK_RESERVED)
    }
}
