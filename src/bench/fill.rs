//! Filling a database fast: through the store itself, in large groups, with vectors from a seed instead
//! of the model. What is written and how it lies on disk is what a daemon would have written; only the
//! meaning of the vectors is made up, which no cost depends on.

use super::text::{Author, TOPICS};
use crate::clock::SystemClock;
use crate::embed::manifest::Model;
use crate::model::draft::{self, Draft, TEXT_DEFAULT_BYTES};
use crate::model::refusal::Refusal;
use crate::model::space::{Space, UnitVector};
use crate::store::error::StoreError;
use crate::store::vector::{self, Embedded};
use crate::store::{Store, StoreOptions, memory};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::path::Path;

/// Versions of a memory that are kept, as by default.
const KEEP_VERSIONS: u32 = 100;
/// Memories of one transaction.
const GROUP: usize = 500;
/// Length of the part of a vector that is its own, against a topic's length of 1. Two vectors of a
/// topic then have a cosine of about a half.
const OWN_SHARE: f32 = 1.0;

/// What the fill says of itself in a report.
pub const NOTE: &str = "memories present before the run were written through the store in groups; their \
     vectors are synthetic (seeded, near 48 topics), those of queries and of measured stores are the model's";

/// Makes vectors near topics.
#[derive(Debug)]
pub struct Vectors {
    rng: ChaCha8Rng,
    topics: Vec<Vec<f32>>,
}

impl Vectors {
    /// Vectors of `dims` components; the same seed gives the same ones.
    pub fn new(seed: u64, dims: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let topics = (0..TOPICS).map(|_| direction(&mut rng, dims)).collect();
        Self { rng, topics }
    }

    /// A unit vector near `topic`.
    pub fn near(&mut self, topic: usize) -> Option<UnitVector> {
        let centre = self.topics.get(topic)?;
        let own = direction(&mut self.rng, centre.len());
        UnitVector::normalise(centre.iter().zip(own).map(|(c, o)| c + OWN_SHARE * o).collect())
    }
}

fn direction(rng: &mut ChaCha8Rng, dims: usize) -> Vec<f32> {
    let values = (0..dims).map(|_| rng.random::<f32>() - 0.5).collect();
    UnitVector::normalise(values).map(|unit| unit.as_slice().to_vec()).unwrap_or_default()
}

/// A store as the daemon has it, opened by the benchmark itself.
pub(super) fn options(path: &Path, seed: u64) -> StoreOptions {
    StoreOptions {
        path: path.to_owned(),
        machine: String::new(),
        seed,
        n_readers: 1,
        vfs: None,
        keep_versions: KEEP_VERSIONS,
        mirror_bytes: 1 << 30,
    }
}

/// Gives all texts that wait a vector, as the embedder would.
///
/// # Errors
/// The store refused.
pub(super) async fn embed(
    store: &Store,
    space: &Space,
    mut vector: impl FnMut() -> Option<UnitVector>,
) -> Result<(), StoreError> {
    loop {
        let waiting = store.read(|read| vector::pending(read, GROUP, usize::MAX)).await?;
        if waiting.is_empty() {
            return Ok(());
        }
        let embedded: Vec<Embedded> = waiting
            .into_iter()
            .map(|one| Embedded {
                key: one.key,
                body: one.body,
                outcome: Ok(vector().into_iter().collect()),
            })
            .collect();
        let space = space.clone();
        store.write(move |write| vector::settle(write, &space, &embedded)).await?;
    }
}

/// Writes `n` memories into a new database at `path`.
///
/// # Errors
/// The store refused.
pub async fn fill(
    path: &Path,
    n: usize,
    author: &mut Author,
    model: &Model,
    seed: u64,
) -> anyhow::Result<()> {
    let store = Store::open(&options(path, seed), SystemClock::shared())?;
    let (space, dims) = (model.space(), model.dims());
    let activated = space.clone();
    store.write(move |write| vector::activate(write, &activated, dims)).await?;
    let mut vectors = Vectors::new(seed, dims);
    let mut n_written = 0;
    while n_written < n {
        let (mut drafts, mut topics) = (Vec::new(), Vec::new());
        for _ in 0..GROUP.min(n - n_written) {
            let passage = author.passage();
            topics.push(passage.topic);
            drafts.push(draft(passage.text, &passage.tags)?);
        }
        n_written += drafts.len();
        store.write(move |write| store_all(write, &drafts)).await?;
        let mut topics = topics.into_iter();
        embed(&store, &space, || vectors.near(topics.next()?)).await?;
    }
    store.close();
    Ok(())
}

fn store_all(write: &mut crate::store::Write<'_>, drafts: &[Draft]) -> Result<(), StoreError> {
    drafts.iter().try_for_each(|draft| memory::store(write, draft).map(drop))
}

/// Who writes.
pub(super) fn by() -> draft::Author {
    draft::Author { client: "bench".to_owned() }
}

/// A memory of this text.
pub(super) fn draft(text: String, tags: &[String]) -> Result<Draft, Refusal> {
    Draft::check(text, tags, None, None, by(), TEXT_DEFAULT_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::stats;

    fn cosine(a: &UnitVector, b: &UnitVector) -> f32 {
        a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| a * b).sum()
    }

    #[test]
    fn vectors_of_a_topic_are_near_each_other() {
        let mut vectors = Vectors::new(1, 384);
        let (a, b, other) = (vectors.near(0), vectors.near(0), vectors.near(1));
        let (a, b, other) = (a.unwrap(), b.unwrap(), other.unwrap());
        assert!((0.3..0.7).contains(&cosine(&a, &b)), "{}", cosine(&a, &b));
        assert!(cosine(&a, &other).abs() < 0.25, "{}", cosine(&a, &other));
        assert_eq!(Vectors::new(1, 384).near(0), Some(a));
        assert!(vectors.near(TOPICS).is_none());
    }

    #[tokio::test]
    async fn a_filled_database_has_all_memories_and_their_vectors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memtide.db");
        let model = crate::embed::manifest::MODELS.first().unwrap();
        let mut author = Author::new(5);
        fill(&path, GROUP + 20, &mut author, model, 5).await.unwrap();
        let store = Store::open(&options(&path, 0), SystemClock::shared()).unwrap();
        let stats = store.read(stats::stats).await.unwrap();
        assert_eq!((stats.memories, stats.unembedded), ((GROUP + 20) as u64, 0));
    }
}
