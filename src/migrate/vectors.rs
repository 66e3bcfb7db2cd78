//! Whether the vectors of a source are as good as those that are made here.
//!
//! A database of the service doesn't say which model made a vector. So some are made anew and compared first;
//! one that differs, and none is taken over. The hashes that the service stores while it has no model are
//! known one by one.

use super::layout::VectorTable;
use super::pseudo::is_pseudo;
use super::source::{Source, SourceError};
use crate::embed::manifest::Model;
use crate::embed::status::EmbedderState;
use crate::embed::tokens::TokenCounter;
use crate::model::space::{Space, UnitVector};
use crate::service::Service;
use crate::store::error::StoreError;
use crate::store::vector;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Tokens at which the service's own model code cuts a text: vectors of longer ones are of their beginning.
pub const WINDOW: usize = 128;
/// Vectors that are compared.
const SAMPLED: usize = 32;
/// Rows that are tried for each of them until one can be compared.
const TRIED: usize = 8;
/// How near a vector must be to the one that is made anew. The same model on another runtime gives 0.99999.
const COSINE_MIN: f32 = 0.999;

/// What was found out about a source's vectors.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether they are taken over.
    pub are_reused: bool,
    /// Why, or why not: a sentence.
    pub why: String,
    /// How many were compared.
    pub sampled: u64,
    /// How many of them were right.
    pub agreed: u64,
    /// The worst cosine among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lowest_cosine: Option<f32>,
}

/// What takes vectors over, once it is decided that they are.
pub struct Reuse {
    /// The space they belong to.
    pub space: Space,
    /// Number of components.
    dims: usize,
    counter: TokenCounter,
}

/// What stands in the way of taking one vector over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// It has another number of components.
    Length,
    /// A component is no number, or all are zero.
    Direction,
    /// It was made of a hash, while the service had no model.
    Pseudo,
    /// The text is longer than what the service reads of it.
    Text,
}

impl Reuse {
    /// The vector of `text`, fit for use.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn fit(&self, text: &str, raw: Vec<f32>) -> Result<UnitVector, Unfit> {
        if raw.len() != self.dims {
            return Err(Unfit::Length);
        }
        if is_pseudo(text, &raw) {
            return Err(Unfit::Pseudo);
        }
        let vector = UnitVector::normalise(raw).ok_or(Unfit::Direction)?;
        if self.counter.fits(text, WINDOW) { Ok(vector) } else { Err(Unfit::Text) }
    }
}

fn no(why: impl Into<String>) -> (Verdict, Option<Reuse>) {
    (Verdict { why: why.into(), ..Verdict::default() }, None)
}

/// Decides whether the vectors of `source` are taken over. The source is handed back.
///
/// # Errors
/// The source can't be read, or the store refused.
pub async fn decide(
    service: &Service,
    source: Source,
) -> Result<(Source, Verdict, Option<Reuse>), DecideError> {
    let (verdict, reuse, source) = match prepare(service, source.layout().vectors.clone()).await? {
        Err(why) => {
            let (verdict, reuse) = no(why);
            (verdict, reuse, source)
        }
        Ok(reuse) => {
            let reading = tokio::task::spawn_blocking(move || {
                let samples = samples(&source, &reuse);
                (source, reuse, samples)
            });
            let (source, reuse, samples) = reading.await.map_err(|_| DecideError::Defect)?;
            let verdict = compare(service, &reuse, samples?).await;
            let reuse = verdict.are_reused.then_some(reuse);
            (verdict, reuse, source)
        }
    };
    Ok((source, verdict, reuse))
}

/// Why nothing could be decided.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A thread broke down.
    #[error("a defect of memtide stopped the comparison of vectors")]
    Defect,
}

/// The model and its tokenizer; or a sentence why no vector can be compared.
async fn prepare(
    service: &Service,
    table: Option<VectorTable>,
) -> Result<Result<Reuse, String>, StoreError> {
    let Some(table) = table else {
        return Ok(Err("the source has no vectors".to_owned()));
    };
    let status = service.embedder().settled().await;
    if status.state != EmbedderState::Ready {
        return Ok(Err(format!(
            "the model {} is {}, so that the source's vectors can't be compared: they are made anew once it is there",
            status.model, status.state
        )));
    }
    if table.dims != Some(status.dims) {
        let dims =
            table.dims.map_or_else(|| "another form".to_owned(), |n| format!("{n} components"));
        return Ok(Err(format!(
            "the source's vectors have {dims}, those of {} have {}",
            status.model, status.dims
        )));
    }
    if !table.is_whole {
        return Ok(Err("the source's table of vectors is incomplete".to_owned()));
    }
    let options = service.embedder().options();
    let model: &Model = options.model;
    let counter = match TokenCounter::load(&options.folder(), model) {
        Ok(counter) => counter,
        Err(error) => return Ok(Err(format!("texts can't be measured: {error}"))),
    };
    let (space, dims) = (status.space.clone(), status.dims);
    let active = space.clone();
    let activated =
        service.store().write(move |write| vector::activate(write, &active, dims)).await;
    service.note_write(activated.as_ref().err());
    activated?;
    Ok(Ok(Reuse { space, dims, counter }))
}

/// Texts with their vectors, spread over the source.
fn samples(source: &Source, reuse: &Reuse) -> Result<Vec<(String, UnitVector)>, SourceError> {
    let rows = source.vector_rowids()?;
    let mut samples = Vec::new();
    for n in 0..SAMPLED.min(rows.len()) {
        let start = n * rows.len() / SAMPLED.min(rows.len());
        for row in rows.iter().skip(start).take(TRIED) {
            if let Some(sample) = sample(source, reuse, *row)? {
                samples.push(sample);
                break;
            }
        }
    }
    Ok(samples)
}

fn sample(
    source: &Source,
    reuse: &Reuse,
    rowid: i64,
) -> Result<Option<(String, UnitVector)>, SourceError> {
    let page = source.page(rowid - 1, 1, usize::MAX)?;
    let Some(Ok(memory)) = page.rows.into_iter().next() else { return Ok(None) };
    if memory.rowid != rowid || memory.shown.deleted_at.is_some() || memory.is_embedding_pending {
        return Ok(None);
    }
    let Some(raw) = source.vectors(&[rowid])?.remove(&rowid) else { return Ok(None) };
    Ok(reuse.fit(&memory.content, raw).ok().map(|vector| (memory.content, vector)))
}

async fn compare(service: &Service, reuse: &Reuse, samples: Vec<(String, UnitVector)>) -> Verdict {
    if samples.is_empty() {
        let why = "no vector of the source could be compared".to_owned();
        return Verdict { why, ..Verdict::default() };
    }
    let mut verdict = Verdict::default();
    for (text, vector) in samples {
        // One text after the other, so that a search waits for one at most.
        let made = match service.embedder().fresh(Arc::from(text)).await {
            Ok(made) if made.space == reuse.space => made.texts.into_iter().next(),
            Ok(_) => None,
            Err(error) => {
                verdict.why = format!("the source's vectors can't be compared: {error}");
                return verdict;
            }
        };
        let Some(Ok(windows)) = made else { continue };
        let Some(made) = windows.first().filter(|_| windows.len() == 1) else { continue };
        let cosine = made.as_slice().iter().zip(vector.as_slice()).map(|(a, b)| a * b).sum::<f32>();
        verdict.sampled += 1;
        verdict.agreed += u64::from(cosine > COSINE_MIN);
        verdict.lowest_cosine =
            Some(verdict.lowest_cosine.map_or(cosine, |lowest| lowest.min(cosine)));
    }
    verdict.are_reused = verdict.sampled > 0 && verdict.agreed == verdict.sampled;
    verdict.why = if verdict.are_reused {
        format!("{} of them were made anew and are the same", verdict.sampled)
    } else {
        format!(
            "of {} that were made anew {} differ: another model or none made them",
            verdict.sampled,
            verdict.sampled - verdict.agreed
        )
    };
    verdict
}
