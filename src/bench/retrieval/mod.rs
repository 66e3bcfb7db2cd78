//! How well memories are found: a set of memories is stored, what is to be deleted is deleted, and
//! questions are asked whose answers are known. The product's own ranking is compared with others that
//! are made of its answers.
//!
//! The set that comes with memtide was written by hand, as agents of several projects would write: near
//! duplicates, long documents, deleted memories and other languages are in it on purpose. [`set`] tells
//! the form, which a set of one's own has as well.

pub mod quality;
pub mod ranking;
pub mod set;

mod asked;

pub use asked::Asked;

use super::report::Report;
use super::rig::{Bench, Daemon, WithModel};
use crate::api::transfer::{ImportAnswer, ImportRequest, RecordJson};
use crate::api::wire::{DeleteAnswer, StoreAnswer, StoreRequest};
use crate::clock::{Clock as _, Micros, SystemClock};
use crate::model::id::BodyHash;
use crate::model::shown::Shown;
use crate::model::takeover::newborn;
use crate::store::transfer::Record;
use anyhow::Context as _;
use asked::Labels;
use quality::Quality;
use ranking::Ranking;
use set::{MEMORIES, Memory, QUESTIONS, Set};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// Records of one import.
const PAGE_RECORDS: usize = 200;
/// What the answers are scored by.
const COLUMNS: [&str; 5] = ["questions", "recall at 5", "recall at 10", "hit at 5", "MRR"];

/// Runs it on the set in `folder`, or on memtide's own.
///
/// # Errors
/// The set can't be read, or a daemon doesn't start or doesn't answer.
pub async fn run(bench: &Bench<'_>, folder: Option<&Path>) -> anyhow::Result<Report> {
    let set = folder.map_or_else(Set::built_in, Set::open)?;
    let mut report = Report::new("retrieval", bench.model.name, bench.seed);
    let asked = ask(bench, &set).await?;
    sum_up(&mut report, &set, &asked);
    Ok(report)
}

/// Stores the set in a new daemon and asks every question.
///
/// # Errors
/// The daemon doesn't start, refuses a line of the set, or doesn't answer.
pub async fn ask(bench: &Bench<'_>, set: &Set) -> anyhow::Result<Vec<Asked>> {
    let rig = bench.rig(0).await?;
    let daemon = rig.start(WithModel::Yes).await?;
    (bench.say)(&format!("storing {} memories", set.memories.len()));
    store(&daemon, set).await?;
    // What is deleted had its place in every index before.
    daemon.drained().await?;
    let deleted = || set.memories.iter().filter(|memory| memory.deleted);
    for memory in deleted() {
        let gone: DeleteAnswer =
            daemon.client.delete(&format!("/v1/memories/{}", memory.name())).await?;
        anyhow::ensure!(gone.deleted == 1, "{MEMORIES}: {:?} was not deleted", memory.id);
    }
    daemon.drained().await?;
    let labels = Labels {
        all: set.memories.iter().map(|m| (m.name().to_string(), m.id.clone())).collect(),
        deleted: deleted().map(|memory| memory.id.clone()).collect(),
    };
    (bench.say)(&format!("asking {} questions", set.questions.len()));
    let mut all = Vec::with_capacity(set.questions.len());
    for question in &set.questions {
        let asked = Asked::ask(&daemon.client, &labels, question).await;
        all.push(asked.with_context(|| format!("{QUESTIONS}, line {}", question.line))?);
    }
    daemon.stop().await?;
    Ok(all)
}

/// What was written before comes in as records, the rest as an agent stores it.
async fn store(daemon: &Daemon, set: &Set) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let records: Vec<RecordJson> = set
        .memories
        .iter()
        .filter_map(|memory| Some(record(memory, memory.stored_at(now)?).into()))
        .collect();
    let mut n_new = 0;
    for page in records.chunks(PAGE_RECORDS) {
        let request = ImportRequest { records: page.to_vec() };
        let answer: ImportAnswer = daemon.client.post("/v1/import", &request).await?;
        n_new += answer.new;
    }
    for memory in set.memories.iter().filter(|memory| memory.stored_at(now).is_none()) {
        let request = StoreRequest {
            content: memory.content.clone(),
            tags: memory.tags.clone(),
            memory_type: memory.memory_type.clone(),
            metadata: None,
        };
        let answer: StoreAnswer = daemon
            .client
            .post("/v1/memories", &request)
            .await
            .with_context(|| format!("{MEMORIES}, the memory {:?}", memory.id))?;
        n_new += u64::from(answer.created);
    }
    let n = set.memories.len();
    anyhow::ensure!(u64::try_from(n) == Ok(n_new), "{n_new} of {n} memories were stored");
    Ok(())
}

fn record(memory: &Memory, at: Micros) -> Record {
    let mut shown = Shown::new(at, at);
    shown.tags = memory.tags.iter().cloned().collect();
    if let Some(memory_type) = &memory.memory_type {
        shown.kind.clone_from(memory_type);
    }
    Record {
        id: memory.name(),
        state: newborn(&shown, BodyHash::of(&memory.content)),
        content: Some(memory.content.clone()),
        versions: Vec::new(),
        carried: None,
        edges: Vec::new(),
    }
}

/// How well `ranking` answered those of the questions that are of `kind`, or all.
pub fn quality(asked: &[Asked], ranking: Ranking, kind: Option<&str>) -> Quality {
    let is_meant = |asked: &&Asked| kind.is_none_or(|kind| asked.question.kind == kind);
    let answers = asked.iter().filter(is_meant);
    Quality::of(answers.map(|asked| (asked.list(ranking), &asked.question.relevant)))
}

fn sum_up(report: &mut Report, set: &Set, asked: &[Asked]) {
    let size = Some(set.n_alive());
    let took: Vec<Duration> = asked.iter().map(|asked| asked.took).collect();
    report.timing("hybrid search, with the query's embedding", size, &took, None);
    let rankings = Ranking::all();
    let rows = rankings.iter().map(|one| (one.name(), cells(quality(asked, *one, None))));
    report.grid("ranking", &COLUMNS, rows.collect());
    let kinds: BTreeSet<&str> = asked.iter().map(|asked| asked.question.kind.as_str()).collect();
    let of_kind = |kind: &&str, one: &Ranking| quality(asked, *one, Some(kind));
    let rows =
        kinds.iter().map(|kind| ((*kind).to_owned(), cells(of_kind(kind, &Ranking::Hybrid))));
    report.grid("hybrid, by kind", &COLUMNS, rows.collect());
    let rows = kinds.iter().map(|kind| {
        let recalls = rankings.iter().map(|one| of_kind(kind, one).recall_5);
        ((*kind).to_owned(), recalls.collect())
    });
    let names: Vec<String> = rankings.iter().map(|one| one.name()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    report.grid("recall at 5, by kind", &names, rows.collect());
    let n_deleted = asked.iter().map(|asked| asked.deleted.len()).sum();
    report.at_most("deleted memories in any answer", float(n_deleted), 0.0, "memories");
    let recall = |ranking| quality(asked, ranking, None).recall_5;
    let hybrid = recall(Ranking::Hybrid);
    for other in [Ranking::Semantic, Ranking::Keyword, Ranking::Fused] {
        let what = format!("recall at 5 of hybrid, against {}", other.name());
        report.at_least(&what, hybrid, recall(other), "");
    }
    report.note(format!(
        "{} memories, {} of them deleted, and {} questions; SHA-256 of both files {}",
        set.memories.len(),
        set.memories.len() - set.n_alive(),
        set.questions.len(),
        set.sha256
    ));
    report.note("`hybrid` are searches for 10 memories; the other rankings are made of answers with 50 memories each");
    report.note("`fusion` is reciprocal rank fusion of `semantic` and `keyword` with k = 60; `largest` is 0.7 of the cosine and 0.3 of BM25 divided by the largest; `0.50 / 0.50` are the shares of the cosine and of the words as a hit tells them, of which `hybrid` has 0.75 / 0.25");
    report.note("questions that nothing answers count for the deleted memories only");
}

fn cells(quality: Quality) -> Vec<f64> {
    let Quality { n, recall_5, recall_10, hit_5, mrr } = quality;
    vec![float(n), recall_5, recall_10, hit_5, mrr]
}

#[expect(clippy::cast_precision_loss, reason = "a count of questions is far from 2^52")]
fn float(n: usize) -> f64 {
    n as f64
}
