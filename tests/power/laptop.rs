//! A store on a disk that fails, driven without threads.

use crate::disk::{self, Disk, Image};
use futures_util::FutureExt as _;
use memtide::clock::{ManualClock, Micros};
use memtide::model::draft::{Author, Draft};
use memtide::model::space::{Space, UnitVector};
use memtide::store::error::StoreError;
use memtide::store::transfer::{self, Record};
use memtide::store::vector::{self, Embedded};
use memtide::store::{Read, Store, StoreOptions, Write, memory};
use rusqlite::{Connection, OpenFlags};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// The database's name on its disk.
pub const FILE: &str = "memtide.db";

const NOON: Micros = Micros(1_750_000_000_000_000);
/// The laptop's clock is ahead of the other device's, so that its stamps are the later ones.
const AHEAD: Duration = Duration::from_secs(3600);
const DIMS: usize = 8;

pub fn clock() -> ManualClock {
    ManualClock::at(NOON.plus(AHEAD))
}

pub fn space() -> Space {
    Space::new("toy", "1", "mean", 128, DIMS)
}

/// Windows of a text, as an embedder would make them.
pub fn windows(content: &str) -> Vec<UnitVector> {
    let n_windows = 1 + content.len() / 2000;
    let vector = |nth: usize| {
        let bytes = content.bytes().skip(nth * 7).chain([1]);
        let values = bytes.cycle().take(DIMS).map(|byte| f32::from(byte) + 1.0);
        UnitVector::normalise(values.collect()).unwrap()
    };
    (0..n_windows).map(vector).collect()
}

pub fn draft(content: &str, tags: &[String]) -> Draft {
    let author = Author { client: "power".to_owned() };
    Draft::check(content.to_owned(), tags, None, None, author, 1 << 20).unwrap()
}

pub struct Laptop {
    store: Store,
    /// Looks into the database from beside.
    pub probe: Connection,
}

impl Laptop {
    pub fn open(disk: &Disk, clock: &ManualClock) -> Result<Self, StoreError> {
        Self::open_as(disk, clock, "laptop")
    }

    fn open_as(disk: &Disk, clock: &ManualClock, machine: &str) -> Result<Self, StoreError> {
        let options = StoreOptions {
            path: FILE.into(),
            machine: machine.to_owned(),
            seed: 1,
            n_readers: 0,
            vfs: Some(disk.vfs_name().to_owned()),
            keep_versions: 3,
            mirror_bytes: 1 << 24,
        };
        let store = Store::open(&options, Arc::new(clock.clone()))?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let probe = Connection::open_with_flags_and_vfs(FILE, flags, disk.vfs_name())?;
        Ok(Self { store, probe })
    }

    pub fn write<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Write<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.store.write(job).now_or_never().unwrap()
    }

    pub fn read<T, F>(&self, job: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Read<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.store.read(job).now_or_never().unwrap()
    }

    /// The whole database, page by page; nothing if it can't be read.
    pub fn contents(&self) -> Vec<u8> {
        disk::contents(&self.probe).unwrap_or_default()
    }

    /// Makes vectors of at most `limit` texts that wait for them.
    pub fn embed(&self, limit: usize) -> Result<usize, StoreError> {
        let embedded = self.embedded(limit)?;
        self.write(move |write| vector::settle(write, &space(), &embedded))
    }

    pub fn embedded(&self, limit: usize) -> Result<Vec<Embedded>, StoreError> {
        let pending = self.read(move |read| vector::pending(read, limit, 1 << 20))?;
        let embed = |one: vector::Pending| Embedded {
            key: one.key,
            outcome: Ok(windows(&one.content)),
            body: one.body,
        };
        Ok(pending.into_iter().map(embed).collect())
    }

    /// An orderly stop.
    pub fn stop(self) {
        drop(self.probe);
        self.store.close();
    }
}

/// A disk with a store on it that knows its space and nothing else.
pub fn template() -> &'static Image {
    static TEMPLATE: OnceLock<Image> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let disk = Disk::new(0);
        let laptop = Laptop::open(&disk, &clock()).unwrap();
        laptop.write(|write| vector::activate(write, &space(), DIMS)).unwrap();
        laptop.stop();
        disk.image()
    })
}

/// What another device would send: memories with history, some of them deleted.
pub fn records() -> &'static [Record] {
    static RECORDS: OnceLock<Vec<Record>> = OnceLock::new();
    RECORDS.get_or_init(|| {
        let (disk, clock) = (Disk::new(0), ManualClock::at(NOON));
        let laptop = Laptop::open_as(&disk, &clock, "elsewhere").unwrap();
        laptop.write(|write| vector::activate(write, &space(), DIMS)).unwrap();
        for n in 0..400 {
            let text = format!("From elsewhere, foreign{n}, {}", "word ".repeat(n % 40));
            let (first, again) =
                (draft(&text, &[tag(n)]), draft(&text.to_uppercase(), &[tag(n + 1)]));
            laptop
                .write(move |write| {
                    let id = memory::store(write, &first)?.id;
                    if n % 3 == 0 {
                        memory::store(write, &again)?;
                    }
                    if n % 5 == 0 {
                        memory::delete(write, &id, "power")?;
                    }
                    Ok(())
                })
                .unwrap();
        }
        laptop.read(|read| Ok(transfer::page(read, 0, 1000, 1 << 24)?.0)).unwrap()
    })
}

/// One of a few tags.
pub fn tag(n: usize) -> String {
    ["alpha", "beta", "gamma", "delta"][n % 4].to_owned()
}
