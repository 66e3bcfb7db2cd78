//! Replication end to end: a real store, real HTTP, the emulated account. Steps are taken by hand and
//! time stands still unless a test moves it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a helper that fails is a test that fails"
)]

#[path = "support/npm.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod npm;
#[path = "support/python_service.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod python_service;

#[path = "replication/announcements.rs"]
mod announcements;
#[path = "replication/budgets.rs"]
mod budgets;
#[path = "replication/confirmations.rs"]
mod confirmations;
#[path = "replication/contracts.rs"]
mod contracts;
#[path = "replication/devices.rs"]
mod devices;
#[path = "replication/faults.rs"]
mod faults;
#[path = "replication/intake.rs"]
mod intake;
#[path = "replication/loops.rs"]
mod loops;
#[path = "replication/promises/mod.rs"]
mod promises;
#[path = "replication/retention.rs"]
mod retention;
#[path = "replication/rivals.rs"]
mod rivals;
#[path = "replication/service.rs"]
mod service;
#[path = "replication/takeover/mod.rs"]
mod takeover;
#[path = "replication/uploads.rs"]
mod uploads;
#[path = "replication/verify.rs"]
mod verify;

use memtide::clock::{Clock as _, ManualClock, Micros};
use memtide::emulator::faults::{Effect, Rule};
use memtide::emulator::inspect::VisibleVector;
use memtide::emulator::options::Options;
use memtide::emulator::product::Product;
use memtide::emulator::server::{self, Running};
use memtide::model::draft::{Author, Draft, Patch};
use memtide::model::id::MemoryId;
use memtide::model::memory::Memory;
use memtide::model::space::{Space, UnitVector};
use memtide::remote::budget::Budget;
use memtide::remote::cloudflare::Cloudflare;
use memtide::remote::contract::Contract;
use memtide::remote::http::HttpTransport;
use memtide::remote::provision::{self, DatabaseName, Names};
use memtide::replicate::linking::{self, LinkPlan, LinkRefusal, LinkSettings};
use memtide::replicate::progress::SyncState;
use memtide::replicate::replicator::{Replicator, Step};
use memtide::replicate::session::{Connect, ConnectError};
use memtide::store::link::{self, LinkMode};
use memtide::store::outbox::{self, Counts, Entry};
use memtide::store::vector::{self, Embedded};
use memtide::store::{Store, StoreOptions, memory};
use secrecy::SecretString;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::Notify;

/// 2023-11-14T22:13:20Z.
const NOON: Micros = Micros(1_700_000_000_000_000);
/// Bytes of text that stay in a row.
const INLINE: usize = 4000;
const DIMS: usize = 8;

/// A device and the account it is linked to.
struct World {
    account: Arc<Running>,
    clock: ManualClock,
    store: Store,
    replicator: Replicator,
    hint: Arc<Notify>,
    token: Arc<Mutex<String>>,
    mode: LinkMode,
    dir: Arc<TempDir>,
}

fn space() -> Space {
    Space::new("test", "1", "mean", 256, DIMS)
}

fn names() -> Names {
    Names {
        database: DatabaseName::Name("memories".to_owned()),
        index: "vectors".to_owned(),
        bucket: Some("bodies".to_owned()),
    }
}

fn connect(clock: &ManualClock, token: &Arc<Mutex<String>>) -> Connect {
    let (clock, token) = (clock.clone(), Arc::clone(token));
    Box::new(move |link| {
        let token = SecretString::from(token.lock().unwrap().clone());
        let transport =
            HttpTransport::new(&link.api_base, token).map_err(|error| ConnectError {
                state: SyncState::AuthRequired,
                message: error.to_string(),
                next_step: "give another token".to_owned(),
            })?;
        let clock = Arc::new(clock.clone());
        Ok(Cloudflare::new(Arc::new(transport), &link.account, clock, Budget::default()))
    })
}

impl World {
    /// A device beside an empty account.
    fn unlinked(options: Options) -> Self {
        let clock = ManualClock::at(NOON);
        let account = server::start(Arc::new(clock.clone()), 7, options).unwrap();
        Self::device(Arc::new(account), clock, 1)
    }

    fn device(account: Arc<Running>, clock: ManualClock, seed: u64) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let options = StoreOptions {
            path: dir.path().join("memtide.db"),
            machine: "here".to_owned(),
            seed,
            n_readers: 2,
            vfs: None,
            keep_versions: 3,
            mirror_bytes: 1 << 24,
        };
        let store = Store::open(&options, Arc::new(clock.clone())).unwrap();
        let token = Arc::new(Mutex::new(account.token().to_owned()));
        let hint = Arc::new(Notify::new());
        let replicator = Replicator::new(
            store.clone(),
            connect(&clock, &token),
            Arc::new(clock.clone()),
            seed,
            Arc::clone(&hint),
        );
        Self { account, clock, store, replicator, hint, token, mode: LinkMode::Shadow, dir }
    }

    /// A device that is linked to a fresh account whose index holds the device's own vectors.
    async fn linked() -> Self {
        let world = Self::unlinked(Options::default());
        world.provision(&Contract::local(space()).unwrap()).await;
        world.activate().await;
        world.link().await.unwrap();
        world
    }

    async fn provision(&self, contract: &Contract) {
        provision::init(&self.remote(), &names(), contract, "uuid-1").await.unwrap();
        self.account.core().clear_requests();
    }

    /// A client of its own, whose requests count in no replicator's budget.
    fn remote(&self) -> Cloudflare {
        let token = SecretString::from(self.account.token());
        let transport = HttpTransport::new(&self.account.base_url(), token).unwrap();
        let clock = Arc::new(self.clock.clone());
        Cloudflare::new(Arc::new(transport), self.account.account_id(), clock, Budget::default())
    }

    async fn prepare(&self) -> Result<LinkPlan, LinkRefusal> {
        let settings = LinkSettings {
            api_base: self.account.base_url(),
            inline_bytes: INLINE,
            mode: self.mode,
            linked_at: self.clock.now(),
            fresh_uuid: "uuid-2".to_owned(),
        };
        linking::prepare(&self.remote(), &names(), &space(), settings).await
    }

    async fn link(&self) -> Result<LinkPlan, LinkRefusal> {
        let plan = self.prepare().await?;
        let link = plan.link.clone();
        self.store.write(move |write| link::link(write, &link)).await.unwrap();
        self.account.core().clear_requests();
        Ok(plan)
    }

    /// Another replicator on the same store, as after a restart.
    fn restart(&mut self) {
        let connect = connect(&self.clock, &self.token);
        let clock = Arc::new(self.clock.clone());
        let hint = Arc::clone(&self.hint);
        self.replicator = Replicator::new(self.store.clone(), connect, clock, 99, hint);
    }

    async fn activate(&self) {
        self.store.write(|write| vector::activate(write, &space(), DIMS)).await.unwrap();
    }

    async fn remember(&self, content: &str, tags: &[&str]) -> MemoryId {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let author = Author { client: "test".to_owned() };
        let draft = Draft::check(content.to_owned(), &tags, None, None, author, 1 << 22).unwrap();
        self.store.write(move |write| memory::store(write, &draft)).await.unwrap().id
    }

    async fn remember_many(&self, n: usize) -> Vec<MemoryId> {
        let drafts: Vec<Draft> = (0..n)
            .map(|n| {
                let tags = [format!("t{}", n % 7), format!("u{}", n % 50), "all".to_owned()];
                let text = format!("memory {n}: {}", "some words that fill a line. ".repeat(12));
                Draft::check(text, &tags, None, None, Author::default(), 1 << 20).unwrap()
            })
            .collect();
        let ids = drafts.iter().map(|draft| draft.text.id).collect();
        let job = move |write: &mut memtide::store::Write<'_>| {
            drafts.iter().try_for_each(|draft| memory::store(write, draft).map(|_| ()))
        };
        self.store.write(job).await.unwrap();
        ids
    }

    async fn retag(&self, id: MemoryId, tags: &[&str]) {
        let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        self.patch(id, Patch::check(None, Some(&tags), None, None, Author::default(), 1).unwrap())
            .await;
    }

    async fn patch(&self, id: MemoryId, patch: Patch) -> MemoryId {
        self.store.write(move |write| memory::update(write, &id, &patch)).await.unwrap()
    }

    async fn forget(&self, id: MemoryId) {
        self.store.write(move |write| memory::delete(write, &id, "test")).await.unwrap();
    }

    async fn get(&self, id: MemoryId) -> Memory {
        self.store.read(move |read| memory::get(read, &id)).await.unwrap()
    }

    /// Gives every memory that waits for one a vector.
    async fn embed(&self) -> usize {
        let pending = self.store.read(|read| vector::pending(read, 5000, 1 << 24)).await.unwrap();
        let embedded: Vec<Embedded> = pending
            .into_iter()
            .map(|one| {
                let values: Vec<f32> =
                    one.body.bytes().take(DIMS).map(|byte| f32::from(byte) - 80.0).collect();
                let outcome = Ok(vec![UnitVector::normalise(values).unwrap()]);
                Embedded { key: one.key, body: one.body, outcome }
            })
            .collect();
        self.store.write(move |write| vector::settle(write, &space(), &embedded)).await.unwrap()
    }

    async fn counts(&self) -> Counts {
        self.store.read(outbox::counts).await.unwrap()
    }

    async fn entries(&self) -> Vec<Entry> {
        self.store.read(|read| outbox::list(read, false, 10_000)).await.unwrap()
    }

    async fn step(&self) -> Step {
        self.replicator.step().await.unwrap()
    }

    /// Takes a step whose next request to `product` is answered late, and does `change` in between.
    async fn step_around(&self, product: Product, change: impl Future<Output = ()>) -> Step {
        let late = Rule::new(Effect::Delay(Duration::from_secs(3))).on(product).times(1);
        let late = self.account.core().inject(late);
        let change = async {
            while self.account.core().fired(late) == 0 {
                tokio::task::yield_now().await;
            }
            change.await;
            // The emulator may only now begin to wait.
            loop {
                self.clock.advance(Duration::from_secs(3));
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            step = self.step() => step,
            () = change => unreachable!("it moves the clock for ever"),
        }
    }

    fn state(&self) -> SyncState {
        self.replicator.handle().progress().state
    }

    /// Steps until nothing moves any more at this instant.
    async fn settle(&self) -> Step {
        for _ in 0..200 {
            let step = self.step().await;
            if !step.tally.has_moved() {
                return step;
            }
        }
        panic!("the replicator never comes to rest: {:?}", self.entries().await);
    }

    /// Steps, and moves the clock to each next attempt, until nothing is owed.
    async fn drain(&self) {
        for _ in 0..60 {
            let step = self.settle().await;
            if self.counts().await.pending == 0 {
                return;
            }
            let next = step.next_at.expect("what is pending has a next attempt");
            // R2 takes one write of a key a second.
            self.clock.advance(next.since(self.clock.now()).max(Duration::from_secs(1)));
        }
        panic!("the outbox never drains: {:?}", self.entries().await);
    }

    /// The rows of a statement on the account's database, columns joined by `|`.
    fn rows(&self, sql: &str) -> Vec<String> {
        use rusqlite::types::Value;
        let text = |value: Value| match value {
            Value::Null => "NULL".to_owned(),
            Value::Integer(number) => number.to_string(),
            Value::Real(number) => number.to_string(),
            Value::Text(text) => text,
            Value::Blob(_) => "blob".to_owned(),
        };
        let rows = self.account.core().d1_rows("memories", sql).expect(sql);
        let line = |row: std::collections::BTreeMap<String, Value>| -> String {
            row.into_values().map(text).collect::<Vec<_>>().join("|")
        };
        rows.into_iter().map(line).collect()
    }

    /// The vectors that can be found once the index has caught up.
    fn vectors(&self) -> Vec<VisibleVector> {
        self.clock.advance(Duration::from_mins(2));
        self.account.core().visible_vectors("vectors").unwrap()
    }

    fn n_requests(&self) -> usize {
        self.account.core().requests().len()
    }
}
