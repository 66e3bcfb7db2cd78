//! The vectors of the comparison: those of real texts, by the model, and as many more as are wanted that are
//! made of them.
//!
//! A made vector is `a + 0.7 (b - c)`, of unit length again, where `b` and `c` are of one topic: it differs from
//! `a` as texts of a topic differ from each other. So it lies where real ones lie, which vectors of random
//! components don't.

use crate::bench::retrieval::set::Set as Written;
use crate::bench::rig::Bench;
use crate::bench::text::{Author, TOPICS};
use crate::embed::embedder::{Embedder, EmbedderOptions};
use crate::model::space::UnitVector;
use anyhow::Context as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Texts of the generator that are embedded.
const GENERATED: usize = 3000;
/// Sentences of each: about 130 characters.
const SENTENCES: usize = 2;
/// Bytes that a text may have: the model reads it whole, and soon.
const BYTES_MAX: usize = 600;
/// Queries.
const QUERIES: usize = 256;
/// What a made vector takes of the difference of two.
const DIFFERENCE: f32 = 0.7;

/// Vectors of texts, each with what its text is about.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Real {
    topics: Vec<usize>,
    vectors: Vec<Vec<f32>>,
}

/// Vectors of texts to be found, and of others that ask for them.
#[derive(Debug, Clone, PartialEq)]
pub struct Texts {
    base: Real,
    queries: Real,
}

/// What is searched, and what for.
#[derive(Debug, Clone, PartialEq)]
pub struct Vectors {
    /// Components of each.
    pub dims: usize,
    /// Row after row.
    pub base: Vec<f32>,
    /// The queries; none of them is a row.
    pub queries: Vec<UnitVector>,
}

impl Texts {
    /// Has the model embed the texts. Half of the queries are generated as the texts are, half are the questions
    /// of the set that comes with memtide, whose memories are among the texts.
    ///
    /// # Errors
    /// The model isn't there, or fails.
    pub async fn embed(bench: &Bench<'_>) -> anyhow::Result<Self> {
        let mut options = EmbedderOptions::new(bench.model, bench.model_dir.clone());
        options.beside = bench.program.parent().map(std::path::Path::to_owned);
        let embedder = Embedder::start(options)?;
        let status = embedder.settled().await;
        anyhow::ensure!(
            status.state.as_str() == "ready",
            "the model is {}: {}; fetch it with `memtide model pull`",
            status.state,
            status.error.unwrap_or_default()
        );
        let (texts, questions) = texts(bench.seed)?;
        (bench.say)(&format!("embedding {} texts", texts.len() + questions.len()));
        let base = embed(&embedder, texts).await?;
        let queries = embed(&embedder, questions).await?;
        embedder.close();
        Ok(Self { base, queries })
    }

    /// `n` vectors of `dims` components with their queries: the real ones first, then made ones. The same seed
    /// gives the same ones. Twice the model's components are those of two texts of one topic.
    ///
    /// # Errors
    /// The model's vectors don't have these components, nor half of them.
    pub fn vectors(&self, dims: usize, n: usize, seed: u64) -> anyhow::Result<Vectors> {
        let own = self.base.vectors.first().map_or(0, Vec::len);
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let (base, queries) = match dims {
            dims if dims == own => (self.base.clone(), self.queries.clone()),
            dims if dims == 2 * own => {
                (self.base.paired(&mut chance), self.queries.paired(&mut chance))
            }
            _ => anyhow::bail!(
                "vectors of {dims} components can't be had: the model's have {own}, two of them {}",
                2 * own
            ),
        };
        let queries = queries.vectors.into_iter().filter_map(UnitVector::normalise).collect();
        Ok(Vectors { dims, base: base.grown(n, &mut chance), queries })
    }
}

impl Real {
    fn by_topic(&self) -> BTreeMap<usize, Vec<&[f32]>> {
        let mut topics: BTreeMap<usize, Vec<&[f32]>> = BTreeMap::new();
        for (topic, vector) in self.topics.iter().zip(&self.vectors) {
            topics.entry(*topic).or_default().push(vector);
        }
        topics
    }

    /// Each vector followed by another of its topic.
    fn paired(&self, chance: &mut ChaCha8Rng) -> Self {
        let topics = self.by_topic();
        let mut pair = |topic: &usize, vector: &Vec<f32>| {
            let other = topics.get(topic).and_then(|all| any(all, chance).copied());
            let other = other.unwrap_or(vector);
            UnitVector::normalise(vector.iter().chain(other).copied().collect())
                .map(|unit| unit.as_slice().to_vec())
        };
        let both = self.topics.iter().zip(&self.vectors);
        let vectors = both.filter_map(|(topic, vector)| pair(topic, vector)).collect();
        Self { topics: self.topics.clone(), vectors }
    }

    /// The first `n`, row after row, and made ones if there are fewer.
    fn grown(&self, n: usize, chance: &mut ChaCha8Rng) -> Vec<f32> {
        let dims = self.vectors.first().map_or(0, Vec::len);
        let mut rows = Vec::with_capacity(n * dims);
        self.vectors.iter().take(n).for_each(|vector| rows.extend_from_slice(vector));
        let topics: Vec<Vec<&[f32]>> =
            self.by_topic().into_values().filter(|all| all.len() > 1).collect();
        while rows.len() < n * dims {
            let Some((a, (b, c))) = any(&self.vectors, chance).zip(two(&topics, chance)) else {
                break;
            };
            let differences = b.iter().zip(c).map(|(b, c)| DIFFERENCE * (b - c));
            let made = a.iter().zip(differences).map(|(a, difference)| a + difference).collect();
            if let Some(unit) = UnitVector::normalise(made) {
                rows.extend_from_slice(unit.as_slice());
            }
        }
        rows
    }
}

impl Vectors {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.base.len() / self.dims.max(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.base.is_empty()
    }

    /// A row; empty beyond the last.
    pub fn row(&self, row: usize) -> &[f32] {
        self.base.get(row * self.dims..(row + 1) * self.dims).unwrap_or_default()
    }
}

fn any<'a, T>(all: &'a [T], chance: &mut ChaCha8Rng) -> Option<&'a T> {
    if all.is_empty() { None } else { all.get(chance.random_range(0..all.len())) }
}

fn two<'a>(topics: &[Vec<&'a [f32]>], chance: &mut ChaCha8Rng) -> Option<(&'a [f32], &'a [f32])> {
    let topic = any(topics, chance)?;
    Some((any(topic, chance)?, any(topic, chance)?))
}

async fn embed(embedder: &Embedder, texts: Vec<(usize, String)>) -> anyhow::Result<Real> {
    let mut real = Real::default();
    for (topic, text) in texts {
        let made = embedder.fresh(Arc::from(text)).await?.texts;
        let windows = made.into_iter().next().context("a text without an answer")??;
        let vector = windows.first().context("a text without a vector")?;
        real.topics.push(topic);
        real.vectors.push(vector.as_slice().to_vec());
    }
    Ok(real)
}

/// Texts with their topics; no two are the same.
type Told = Vec<(usize, String)>;

/// The texts to be found, and those that ask.
fn texts(seed: u64) -> anyhow::Result<(Told, Told)> {
    let written = Written::built_in()?;
    let mut topics: BTreeMap<String, usize> = BTreeMap::new();
    let mut topic = |name: &str| {
        let next = TOPICS + topics.len();
        *topics.entry(name.to_owned()).or_insert(next)
    };
    let mut known: BTreeSet<String> = BTreeSet::new();
    let (mut base, mut queries) = (Vec::new(), Vec::new());
    let memories = written.memories.iter().filter(|one| one.content.len() <= BYTES_MAX);
    for memory in memories {
        if known.insert(memory.content.clone()) {
            let tag = memory.tags.first().map_or("", String::as_str);
            base.push((topic(tag), memory.content.clone()));
        }
    }
    for question in written.questions.iter().take(QUERIES / 2) {
        if known.insert(question.query.clone()) {
            queries.push((topic(&question.kind), question.query.clone()));
        }
    }
    let mut author = Author::new(seed);
    while base.len() < GENERATED || queries.len() < QUERIES {
        let passage = author.passage();
        // Without its number, which would make all texts a little alike.
        let text = passage.text.split_once(": ").map_or("", |(_, text)| text);
        let text: String = text.split_inclusive(". ").take(SENTENCES).collect();
        if !known.insert(text.clone()) {
            continue;
        }
        let into = if queries.len() < QUERIES { &mut queries } else { &mut base };
        into.push((passage.topic, text));
    }
    Ok((base, queries))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::fill;

    /// Vectors near topics, as if a model had made them of texts.
    pub(in crate::bench::against) fn made_up(dims: usize) -> Texts {
        let mut vectors = fill::Vectors::new(3, dims);
        let mut real = |n: usize| {
            let topics: Vec<usize> = (0..n).map(|one| one % 6).collect();
            let near = |topic: &usize| vectors.near(*topic).unwrap().as_slice().to_vec();
            Real { vectors: topics.iter().map(near).collect(), topics }
        };
        Texts { base: real(60), queries: real(12) }
    }

    #[test]
    fn made_vectors_are_of_unit_length_and_the_same_for_the_same_seed() {
        let texts = made_up(16);
        let made = texts.vectors(16, 500, 7).unwrap();
        assert_eq!((made.len(), made.queries.len(), made.is_empty()), (500, 12, false));
        for row in 0..500 {
            let square: f32 = made.row(row).iter().map(|one| one * one).sum();
            assert!((square - 1.0).abs() < 1e-5, "{square}");
        }
        assert_eq!(made.row(59), texts.base.vectors[59], "the real ones come first");
        assert!(made.row(500).is_empty());
        assert_eq!(made, texts.vectors(16, 500, 7).unwrap());
        assert_ne!(made, texts.vectors(16, 500, 8).unwrap());
        assert_eq!(texts.vectors(16, 40, 7).unwrap().base, made.base[..40 * 16]);
    }

    #[test]
    fn a_made_vector_lies_nearer_to_real_ones_than_chance_would_put_it() {
        let texts = made_up(64);
        let made = texts.vectors(64, 200, 7).unwrap();
        for row in 60..200 {
            let cosine = |real: &Vec<f32>| -> f32 {
                made.row(row).iter().zip(real).map(|(a, b)| a * b).sum()
            };
            let nearest = texts.base.vectors.iter().map(cosine).fold(-1.0, f32::max);
            assert!(nearest > 0.6, "{nearest}");
        }
    }

    #[test]
    fn twice_the_components_are_those_of_two_texts() {
        let texts = made_up(16);
        let made = texts.vectors(32, 60, 7).unwrap();
        let (first, real) = (&made.row(5)[..16], &texts.base.vectors[5]);
        for (half, whole) in first.iter().zip(real) {
            assert!((half * std::f32::consts::SQRT_2 - whole).abs() < 1e-5);
        }
        let said = texts.vectors(24, 60, 7).unwrap_err().to_string();
        assert_eq!(
            said,
            "vectors of 24 components can't be had: the model's have 16, two of them 32"
        );
    }

    #[test]
    fn texts_are_distinct_and_no_query_is_among_them() {
        let (base, queries) = texts(1).unwrap();
        let distinct: BTreeSet<&str> =
            base.iter().chain(&queries).map(|(_, text)| text.as_str()).collect();
        assert_eq!(distinct.len(), base.len() + queries.len());
        assert_eq!((base.len(), queries.len()), (GENERATED, QUERIES));
        assert!(distinct.iter().all(|text| (5..=BYTES_MAX).contains(&text.len())));
        assert_eq!(texts(1).unwrap(), (base, queries));
    }
}
