//! memtide itself: its store on a file, filled as a daemon fills it, asked as the service asks it.

use super::vectors::Vectors;
use super::{Answer, Case, K, Rows, Shape, Side, TAG};
use crate::bench::stopwatch::Stopwatch;
use crate::clock::{ManualClock, Micros};
use crate::model::draft::{self, Draft, TEXT_DEFAULT_BYTES};
use crate::model::filter::Filter;
use crate::model::id::MemoryId;
use crate::model::space::{Space, UnitVector};
use crate::store::error::StoreError;
use crate::store::neighbours::{n_proposed, neighbours};
use crate::store::search::{self, Mode, Search};
use crate::store::vector::{self, Embedded};
use crate::store::{Read, Served, Store, StoreOptions, memory};
use anyhow::Context as _;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// The nearest memories.
pub const NEAREST: &str = "memtide";
/// Of these, looking at the codes in memory.
pub const SCAN: &str = "memtide, its scan in memory alone";
/// The nearest ones with a rare tag.
pub const TAGGED: &str = "memtide, with a tag";
/// The nearest ones of late.
pub const LATE: &str = "memtide, since a time";
/// The nearest ones with their texts and all they have.
pub const RETRIEVE: &str = "memtide, whole retrieve";

const SHAPES: &[Shape] = &[
    Shape { name: NEAREST, case: Case::All, answers: true },
    Shape { name: SCAN, case: Case::All, answers: false },
    Shape { name: TAGGED, case: Case::Tagged, answers: true },
    Shape { name: LATE, case: Case::Late, answers: true },
    Shape { name: RETRIEVE, case: Case::All, answers: true },
];
/// Memories of one transaction.
const GROUP: usize = 500;
/// When the memories were stored: first those of before, then those of late.
const BEFORE: Micros = Micros(1_700_000_000_000_000);
const OF_LATE: Micros = Micros(1_750_000_000_000_000);

/// A store with the vectors.
pub struct Ours {
    runtime: Runtime,
    store: Store,
    space: Space,
    keys: Arc<Vec<i64>>,
    rows: HashMap<MemoryId, usize>,
    queries: Arc<Vec<UnitVector>>,
    /// How long it took until the vectors were in memory, from the opening of the file.
    pub ready_in: Duration,
}

impl Ours {
    /// Fills a store in `folder` and opens it again.
    ///
    /// # Errors
    /// The store refused.
    pub fn fill(folder: &Path, vectors: &Vectors, texts: Rows) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let options = StoreOptions {
            path: folder.join("memtide.db"),
            machine: String::new(),
            seed: 1,
            n_readers: 1,
            vfs: None,
            keep_versions: u32::MAX,
            mirror_bytes: 1 << 32,
        };
        let space = Space::new("comparison", "1", "mean", 256, vectors.dims);
        let clock = ManualClock::at(BEFORE);
        let store = Store::open(&options, Arc::new(clock.clone()))?;
        let written = runtime.block_on(write(&store, &space, vectors, texts, &clock))?;
        store.close();
        drop(store);
        let watch = Stopwatch::start();
        let store = Store::open(&options, Arc::new(clock))?;
        while store.served() == Served::File {
            std::thread::yield_now();
        }
        let ready_in = watch.elapsed();
        store.wait_until_filled();
        let queries = Arc::new(vectors.queries.clone());
        let Written { keys, rows } = written;
        let keys = Arc::new(keys);
        Ok(Self { runtime, store, space, keys, rows, queries, ready_in })
    }

    /// Runs `find` for each query on one reading thread and notes how long that took there.
    fn each<F>(&self, queries: &[usize], find: F) -> anyhow::Result<Vec<Answer>>
    where
        F: Fn(&Read<'_>, &UnitVector) -> Result<Vec<i64>, StoreError> + Send + 'static,
    {
        let (all, keys, queries) =
            (Arc::clone(&self.queries), Arc::clone(&self.keys), queries.to_vec());
        let answers = self.store.read(move |read| {
            let asked = queries.iter().filter_map(|query| all.get(*query));
            let answer = |query| {
                let watch = Stopwatch::start();
                let found = find(read, query)?;
                let took = watch.elapsed();
                let rows = found.iter().filter_map(|key| keys.binary_search(key).ok()).collect();
                Ok(Answer { rows, took })
            };
            asked.map(answer).collect::<Result<Vec<Answer>, StoreError>>()
        });
        Ok(self.runtime.block_on(answers)?)
    }

    /// Searches as the service does, the way to the reading thread and back included.
    fn retrieve(&self, query: usize) -> anyhow::Result<Answer> {
        let vector = self.queries.get(query).context("no such query")?.clone();
        let search = Search {
            query: String::new(),
            vector: Some((self.space.clone(), vector)),
            mode: Mode::Semantic,
            filter: Filter::default(),
            limit: K,
        };
        let watch = Stopwatch::start();
        let hits =
            self.runtime.block_on(self.store.read(move |read| search::run(read, &search)))?;
        let took = watch.elapsed();
        let rows = hits.iter().filter_map(|hit| self.rows.get(&hit.memory.id).copied()).collect();
        Ok(Answer { rows, took })
    }
}

impl Side for Ours {
    fn shapes(&self) -> &'static [Shape] {
        SHAPES
    }

    fn ask(&mut self, shape: &Shape, queries: &[usize]) -> anyhow::Result<Vec<Answer>> {
        match shape.name {
            SCAN => self.each(queries, |read, query| {
                n_proposed(read, query, K)?;
                Ok(Vec::new())
            }),
            RETRIEVE => queries.iter().map(|query| self.retrieve(*query)).collect(),
            _ => {
                let filter = filter(shape.case);
                self.each(queries, move |read, query| {
                    let found = neighbours(read, query, K, &filter)?;
                    Ok(found.into_iter().map(|(key, _)| key).collect())
                })
            }
        }
    }
}

fn filter(case: Case) -> Filter {
    match case {
        Case::All => Filter::default(),
        Case::Tagged => Filter { tags: BTreeSet::from([TAG.to_owned()]), ..Filter::default() },
        Case::Late => Filter { after: Some(OF_LATE), ..Filter::default() },
    }
}

/// Which memories have which vectors.
#[derive(Default)]
struct Written {
    /// Row after row.
    keys: Vec<i64>,
    rows: HashMap<MemoryId, usize>,
}

/// Writes the memories as texts and then their vectors, group by group.
async fn write(
    store: &Store,
    space: &Space,
    vectors: &Vectors,
    mut texts: Rows,
    clock: &ManualClock,
) -> anyhow::Result<Written> {
    let (activated, dims, n) = (space.clone(), vectors.dims, vectors.len());
    store.write(move |write| vector::activate(write, &activated, dims)).await?;
    let mut written = Written::default();
    let first_late = (0..n).find(|row| Case::Late.passes(*row, n)).unwrap_or(n);
    while written.keys.len() < n {
        let first = written.keys.len();
        let (now, end) = if first < first_late { (BEFORE, first_late) } else { (OF_LATE, n) };
        clock.set(now);
        let draft = |(text, tags): (String, Vec<String>)| {
            let author = draft::Author { client: "bench".to_owned() };
            Draft::check(text, &tags, None, None, author, TEXT_DEFAULT_BYTES)
        };
        let group = texts.by_ref().take(GROUP.min(end - first));
        let drafts = group.map(draft).collect::<Result<Vec<Draft>, _>>()?;
        written.rows.extend(drafts.iter().map(|draft| draft.text.id).zip(first..));
        let n_stored = drafts.len();
        let stored = store.write(move |write| {
            drafts.iter().try_for_each(|draft| memory::store(write, draft).map(drop))
        });
        stored.await?;
        let waiting = store.read(|read| vector::pending(read, GROUP, usize::MAX)).await?;
        anyhow::ensure!(waiting.len() == n_stored, "two texts are one memory");
        let mut embedded = Vec::with_capacity(waiting.len());
        for (one, row) in waiting.into_iter().zip(first..) {
            written.keys.push(one.key);
            let vector = UnitVector::normalise(vectors.row(row).to_vec());
            let outcome = Ok(vector.into_iter().collect());
            embedded.push(Embedded { key: one.key, body: one.body, outcome });
        }
        let space = space.clone();
        store.write(move |write| vector::settle(write, &space, &embedded)).await?;
    }
    anyhow::ensure!(written.keys.is_sorted(), "memories have their keys in another order");
    Ok(written)
}
