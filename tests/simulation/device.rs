//! A laptop: the library's store and replicator on a disk of its own, with a clock of its own.

use super::account::{DIMS, ready, space};
use super::network::Network;
use super::time::DeviceClock;
use super::view::{Local, States};
use crate::disk::{Disk, Image};
use futures_util::future::BoxFuture;
use memtide::clock::{Clock as _, Micros};
use memtide::model::draft::{Draft, Patch};
use memtide::model::id::MemoryId;
use memtide::model::space::UnitVector;
use memtide::remote::budget::Budget;
use memtide::remote::cloudflare::Cloudflare;
use memtide::replicate::replicator::{Replicator, Step};
use memtide::replicate::verify::VerifyError;
use memtide::replicate::verify::report::Report;
use memtide::store::error::StoreError;
use memtide::store::vector::{self, Embedded};
use memtide::store::{Store, StoreOptions, Write, memory, outbox, pull};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::sync::Notify;

/// The database's name on its disk.
const FILE: &str = "memtide.db";

/// What the disk of a device without a database holds, once `make` has put one there.
pub fn formatted(make: impl FnOnce(&StoreOptions)) -> Image {
    let disk = Disk::new(0);
    make(&options(&disk, "template", 1));
    disk.image()
}

fn options(disk: &Disk, machine: &str, seed: u64) -> StoreOptions {
    StoreOptions {
        path: Path::new(FILE).to_owned(),
        machine: machine.to_owned(),
        seed,
        n_readers: 0,
        vfs: Some(disk.vfs_name().to_owned()),
        keep_versions: 100,
        mirror_bytes: 1 << 24,
    }
}

/// How a device dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// The process ends; what it wrote is there.
    Kill,
    /// The power fails; of what wasn't synced anything may be there, torn or in another order.
    PowerCut,
}

/// What a device is besides its disk.
#[derive(Clone)]
pub struct Make {
    /// Its number in the world.
    pub number: usize,
    /// What tells the machine from others; a copied database notices it.
    pub machine: String,
    pub clock: DeviceClock,
    pub network: Network,
    pub seed: u64,
    pub requests: usize,
}

/// What came of comparing a device with the cloud and repairing that.
pub type Audit = Result<Report, VerifyError>;

/// A device that runs.
pub struct Device {
    pub make: Make,
    // Dropped in this order: whoever uses the store before the store, the store before its files.
    step: Option<BoxFuture<'static, Result<Step, StoreError>>>,
    audit: Option<BoxFuture<'static, Audit>>,
    replicator: Arc<Replicator>,
    store: Store,
    spectator: Connection,
    seen_version: i64,
    disk: Disk,
    n_lives: u64,
}

impl Device {
    /// Starts a device on what `image` holds.
    pub fn start(make: Make, image: &Image) -> Self {
        let disk = Disk::from_image(image, make.seed);
        Self::live(make, disk, 1)
    }

    fn live(make: Make, disk: Disk, n_lives: u64) -> Self {
        let options = options(&disk, &make.machine, make.seed);
        let clock = Arc::new(make.clock.clone());
        let store = Store::open(&options, Arc::clone(&clock) as _).expect("the store opens");
        let (line, budget) = (make.network.line(make.number), make.requests);
        let remote_clock = Arc::clone(&clock);
        let connect = move |link: &memtide::store::link::Link| {
            let clock = Arc::clone(&remote_clock);
            Ok(Cloudflare::new(Arc::clone(&line), &link.account, clock, Budget::new(budget)))
        };
        let (seed, hint) = (make.seed.wrapping_add(n_lives), Arc::new(Notify::new()));
        let replicator = Replicator::new(store.clone(), Box::new(connect), clock as _, seed, hint);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
        let spectator = Connection::open_with_flags_and_vfs(FILE, flags, disk.vfs_name()).unwrap();
        let replicator = Arc::new(replicator);
        Self {
            make,
            step: None,
            audit: None,
            replicator,
            store,
            spectator,
            seen_version: -1,
            disk,
            n_lives,
        }
    }

    /// Dies at once, whatever was under way, and starts again on what the disk holds.
    pub fn crash(self, death: Death) -> Self {
        let image = match death {
            Death::Kill => self.disk.image(),
            Death::PowerCut => self.disk.cut_power(),
        };
        self.rise_on(&image)
    }

    /// Stops at once and starts again on another disk's content.
    pub fn rise_on(self, image: &Image) -> Self {
        self.make.network.hang_up(self.make.number);
        let (make, n_lives) = (self.make.clone(), self.n_lives + 1);
        let disk = Disk::from_image(image, make.seed.wrapping_add(n_lives));
        drop(self);
        Self::live(make, disk, n_lives)
    }

    /// What the disk holds now.
    pub fn image(&self) -> Image {
        self.disk.image()
    }

    pub fn now(&self) -> Micros {
        self.make.clock.now()
    }

    pub fn is_stepping(&self) -> bool {
        self.step.is_some()
    }

    /// Begins a step, or goes on with the one that waits. `None` while it waits for answers.
    pub fn advance(&mut self) -> Option<Result<Step, StoreError>> {
        let replicator = &self.replicator;
        let step = self.step.get_or_insert_with(|| {
            let replicator = Arc::clone(replicator);
            Box::pin(async move { replicator.step().await })
        });
        let mut context = Context::from_waker(Waker::noop());
        let outcome = match step.as_mut().poll(&mut context) {
            Poll::Pending => return None,
            Poll::Ready(outcome) => outcome,
        };
        self.step = None;
        Some(outcome)
    }

    /// Begins to compare itself with the cloud, as `cloud verify --repair` does.
    pub fn begin_audit(&mut self) {
        let handle = self.replicator.handle();
        self.audit = Some(Box::pin(async move { handle.verify(true).await }));
    }

    /// Goes on with the comparison. `None` while it waits for answers, or if there is none.
    pub fn advance_audit(&mut self) -> Option<Audit> {
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(outcome) = self.audit.as_mut()?.as_mut().poll(&mut context) else {
            return None;
        };
        self.audit = None;
        Some(outcome)
    }

    /// Asks for everything to be sent now, as `cloud sync` does.
    pub fn sync_now(&self) {
        self.replicator.handle().sync_now();
    }

    /// Whether nothing is owed and everything is read, up to the position `last`.
    pub async fn is_drained(&self, last: i64) -> bool {
        let counts = self.store.read(outbox::counts).await.unwrap();
        let cursor = self.store.read(pull::cursor).await.unwrap();
        counts.pending + counts.waiting_for_embedding == 0 && cursor == Some(last)
    }

    /// What stands in the way, for the message of a failure.
    pub fn progress(&self) -> String {
        format!("{:?}", self.replicator.handle().progress())
    }

    /// The database, if it changed since the last look.
    pub fn look(&mut self, states: &mut States) -> Option<Local> {
        let version: i64 =
            self.spectator.pragma_query_value(None, "data_version", |row| row.get(0)).unwrap();
        if version == self.seen_version {
            return None;
        }
        self.seen_version = version;
        Some(Local::read(&self.spectator, states).unwrap())
    }

    fn write<T: Send + 'static>(
        &self,
        job: impl FnMut(&mut Write<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        ready(self.store.write(job))
    }

    pub fn store(&self, draft: Draft) -> Result<MemoryId, StoreError> {
        self.write(move |write| memory::store(write, &draft)).map(|stored| stored.id)
    }

    pub fn update(&self, id: MemoryId, patch: Patch) -> Result<MemoryId, StoreError> {
        self.write(move |write| memory::update(write, &id, &patch))
    }

    pub fn delete(&self, id: MemoryId) -> Result<(), StoreError> {
        self.write(move |write| memory::delete(write, &id, "person"))
    }

    pub fn restore(&self, id: MemoryId) -> Result<(), StoreError> {
        self.write(move |write| memory::restore(write, &id, None, "person"))
    }

    /// Gives every text that waits for one a vector. Returns how many there were.
    pub fn embed(&self) -> usize {
        let pending = ready(self.store.read(|read| vector::pending(read, 1000, 1 << 24))).unwrap();
        if pending.is_empty() {
            return 0;
        }
        let embedded: Vec<Embedded> = pending
            .into_iter()
            .map(|one| {
                let values = one.body.bytes().take(DIMS).map(|byte| f32::from(byte) - 80.5);
                let outcome = Ok(vec![UnitVector::normalise(values.collect()).unwrap()]);
                Embedded { key: one.key, body: one.body, outcome }
            })
            .collect();
        self.write(move |write| vector::settle(write, &space(), &embedded)).unwrap()
    }
}
