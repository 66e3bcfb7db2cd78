//! What is on the platter, what is only on its way there, and what a power cut makes of both.
//!
//! A change of a file is pending until the file is synced; a name that was made or removed is pending until
//! the folder is. At a cut every pending change may have survived, vanished, overtaken another or been torn
//! at a sector. Bytes that nobody was writing never change: SQLite assumes that of every disk.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes that reach the platter together or not at all.
const SECTOR: usize = 512;

/// The files of a disk that is switched off, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image(pub(super) BTreeMap<Arc<str>, Arc<Vec<u8>>>);

impl Image {
    /// The names and sizes of its files.
    pub fn sizes(&self) -> Vec<(&str, usize)> {
        self.0.iter().map(|(name, bytes)| (&**name, bytes.len())).collect()
    }
}

/// The number of a file within its disk; never used again.
pub(super) type FileId = usize;

/// A change of one file.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// These bytes from `offset` on.
    Write { offset: usize, bytes: Arc<[u8]> },
    /// This many bytes from the start, no more.
    Truncate { len: usize },
}

impl Change {
    /// Carries it out on what a program sees.
    pub(super) fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { offset, bytes: new } => put(bytes, *offset, new),
            // The capacity of a long log isn't worth keeping.
            Self::Truncate { len: 0 } => *bytes = Vec::new(),
            Self::Truncate { len } => bytes.resize(*len, 0),
        }
    }
}

/// Something that happened to a disk, of the kind that a power cut may fall between.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// A new file with this name.
    Create { name: Arc<str>, file: FileId },
    /// The name is gone.
    Delete { name: Arc<str> },
    /// A change of a file.
    Change { file: FileId, change: Change },
    /// The file's pending changes are on the platter.
    Sync { file: FileId },
    /// The pending names are on the platter.
    SyncFolder,
    /// A sync failed: of the pending changes only these reached the platter, the others never will.
    Drop { file: FileId, survivors: Vec<bool> },
}

#[derive(Debug, Clone, Default)]
struct Platter {
    durable: Arc<Vec<u8>>,
    pending: Vec<Change>,
}

/// A disk as the power sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct Medium {
    files: Vec<Platter>,
    folder: BTreeMap<Arc<str>, FileId>,
    /// Names made and removed since the folder was synced.
    moves: Vec<(Arc<str>, Option<FileId>)>,
}

impl Medium {
    /// A disk that holds an image, all of it on the platter. The files are numbered in order of name.
    pub(super) fn holding(image: &Image) -> Self {
        let platter =
            |bytes: &Arc<Vec<u8>>| Platter { durable: Arc::clone(bytes), pending: Vec::new() };
        Self {
            files: image.0.values().map(platter).collect(),
            folder: image.0.keys().cloned().zip(0..).collect(),
            moves: Vec::new(),
        }
    }

    pub(super) fn apply(&mut self, event: &Event) {
        match event {
            Event::Create { name, file } => {
                if self.files.len() <= *file {
                    self.files.resize_with(file + 1, Platter::default);
                }
                self.moves.push((Arc::clone(name), Some(*file)));
            }
            Event::Delete { name } => self.moves.push((Arc::clone(name), None)),
            Event::Change { file, change } => {
                if self.files.len() <= *file {
                    // A file without a name.
                    self.files.resize_with(file + 1, Platter::default);
                }
                self.files[*file].pending.push(change.clone());
            }
            Event::Sync { file } => {
                if let Some(platter) = self.files.get_mut(*file) {
                    platter.settle(|_| true);
                }
            }
            Event::SyncFolder => {
                for (name, file) in std::mem::take(&mut self.moves) {
                    rename(&mut self.folder, name, file);
                }
            }
            Event::Drop { file, survivors } => {
                if let Some(platter) = self.files.get_mut(*file) {
                    platter.settle(|nth| survivors[nth]);
                }
            }
        }
    }

    /// How many changes of `file` are pending.
    pub(super) fn n_pending(&self, file: FileId) -> usize {
        self.files.get(file).map_or(0, |platter| platter.pending.len())
    }

    /// What is on the platter of `file`.
    pub(super) fn durable(&self, file: FileId) -> Vec<u8> {
        self.files.get(file).map(|platter| platter.durable.to_vec()).unwrap_or_default()
    }

    /// What is found when the power is back. Which of the possible answers it is, the seed decides.
    pub(super) fn after_cut(&self, seed: u64) -> Image {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut folder = self.folder.clone();
        let fate = Fate::draw(&mut rng, self.moves.len());
        for (nth, (name, file)) in self.moves.iter().enumerate() {
            if fate.spares(&mut rng, nth) {
                rename(&mut folder, Arc::clone(name), *file);
            }
        }
        let found = |file: FileId, rng: &mut ChaCha8Rng| match self.files.get(file) {
            Some(platter) => platter.after_cut(rng),
            None => Arc::default(),
        };
        Image(folder.into_iter().map(|(name, file)| (name, found(file, &mut rng))).collect())
    }
}

impl Platter {
    fn settle(&mut self, is_kept: impl Fn(usize) -> bool) {
        if self.pending.is_empty() {
            return;
        }
        let durable = Arc::make_mut(&mut self.durable);
        for (nth, change) in self.pending.drain(..).enumerate() {
            if is_kept(nth) {
                change.apply(durable);
            }
        }
    }

    fn after_cut(&self, rng: &mut ChaCha8Rng) -> Arc<Vec<u8>> {
        if self.pending.is_empty() {
            return Arc::clone(&self.durable);
        }
        let mut bytes = self.durable.to_vec();
        let fate = Fate::draw(rng, self.pending.len());
        for (nth, change) in self.pending.iter().enumerate() {
            match change {
                _ if fate.spares(rng, nth) => change.apply(&mut bytes),
                Change::Write { offset, bytes: new } if fate.tears(nth) => {
                    tear(rng, &mut bytes, *offset, new);
                }
                Change::Write { offset, bytes: new } if rng.random_bool(0.1) => {
                    // The new length was written down, the bytes weren't.
                    let end = offset + new.len();
                    if bytes.len() < end {
                        bytes.resize(end, 0);
                    }
                }
                _ => {}
            }
        }
        Arc::new(bytes)
    }
}

/// What a cut does to a row of pending changes.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// All had been written.
    All,
    /// None had.
    None,
    /// Those before this one had; this one was being written.
    Until(usize),
    /// Each had with this probability, whatever became of its neighbours.
    Some(f64),
    /// Each sector had, or not.
    Torn,
}

impl Fate {
    fn draw(rng: &mut ChaCha8Rng, n_pending: usize) -> Self {
        match rng.random_range(0..6) {
            _ if n_pending == 0 => Self::All,
            0 => Self::All,
            1 => Self::None,
            2 => Self::Until(rng.random_range(0..n_pending)),
            3 => Self::Some(0.5),
            4 => Self::Some(if rng.random_bool(0.5) { 0.9 } else { 0.1 }),
            _ => Self::Torn,
        }
    }

    fn spares(self, rng: &mut ChaCha8Rng, nth: usize) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Until(last) => nth < last,
            Self::Some(probability) => rng.random_bool(probability),
            // A folder's names aren't torn, they are there or not; a file's sectors are drawn apart.
            Self::Torn => rng.random_bool(0.2),
        }
    }

    fn tears(self, nth: usize) -> bool {
        match self {
            Self::Until(last) => nth == last,
            Self::Torn => true,
            _ => false,
        }
    }
}

/// Writes some of the sectors of a change; the one that was under the head may hold anything.
fn tear(rng: &mut ChaCha8Rng, bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let probability = [0.1, 0.5, 0.9][rng.random_range(0..3)];
    let garbled: Option<usize> =
        rng.random_bool(0.3).then(|| rng.random_range(0..=new.len() / SECTOR));
    let (mut at, end) = (offset, offset + new.len());
    let mut nth = 0;
    while at < end {
        let next = ((at / SECTOR + 1) * SECTOR).min(end);
        if garbled == Some(nth) {
            let mut rubbish = vec![0; next - at];
            rng.fill(rubbish.as_mut_slice());
            put(bytes, at, &rubbish);
        } else if rng.random_bool(probability) {
            put(bytes, at, &new[at - offset..next - offset]);
        }
        (at, nth) = (next, nth + 1);
    }
}

fn put(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let end = offset + new.len();
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(new);
}

fn rename(folder: &mut BTreeMap<Arc<str>, FileId>, name: Arc<str>, file: Option<FileId>) {
    match file {
        Some(file) => folder.insert(name, file),
        None => folder.remove(&name),
    };
}

/// What happened to a disk since [`super::Disk::record`], so that a cut can fall between any two events of
/// it, as often as one likes, without running the program again.
#[derive(Debug, Clone)]
pub struct Recording {
    pub(super) medium: Medium,
    pub(super) events: Vec<Event>,
    pub(super) next: usize,
}

impl Recording {
    /// How many events there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// What a cut leaves that falls after the first `n` events. Cuts are asked for in order: `n` never
    /// falls.
    pub fn cut_after(&mut self, n: usize, seed: u64) -> Image {
        assert!(n >= self.next && n <= self.events.len(), "event {n} of {}", self.events.len());
        for event in &self.events[self.next..n] {
            self.medium.apply(event);
        }
        self.next = n;
        self.medium.after_cut(seed)
    }
}
