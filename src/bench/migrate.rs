//! Moving in from a database of the Python service: how long taking it over with its vectors takes and how
//! much memory, and how late what is written there is found here while it is followed.

use super::process;
use super::python_database::{PythonDatabase, Release, Row};
use super::report::{Report, rate};
use super::rig::{Bench, Daemon, Rig, WithModel};
use super::spread::millis;
use super::stopwatch::Stopwatch;
use super::text::Author;
use crate::embed::embedder::{Embedder, EmbedderOptions};
use crate::embed::tokens::TokenCounter;
use crate::migrate::report::Report as ImportReport;
use crate::migrate::vectors::WINDOW;
use crate::model::id::MemoryId;
use anyhow::Context as _;
use serde_json::Value;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Texts whose vectors are made; the memories are variants of them.
const PASSAGES: usize = 200;
/// Memories of a run for which no number is asked, and the bounds that hold for it.
const BOUND_SIZE: usize = 100_000;
/// Seconds that an import of [`BOUND_SIZE`] may take.
const IMPORT_MAX_S: f64 = 60.0;
/// Megabytes that the daemon may have resident at most meanwhile.
const RESIDENT_MAX_MB: f64 = 400.0;
/// Writes a second while it is followed.
const WRITES_A_SECOND: u32 = 50;
/// Milliseconds after its commit at which a write must be here.
const LAG_MAX_MS: f64 = 1000.0;
/// Between two looks for a write.
const LOOK_EVERY: Duration = Duration::from_millis(3);
/// Time that a write is looked for.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs it.
///
/// # Errors
/// A daemon doesn't start, the source can't be written, or not everything arrives.
pub async fn run(bench: &Bench<'_>) -> anyhow::Result<Report> {
    let mut report = Report::new("migrate", bench.model.name, bench.seed);
    let passages = passages(bench).await?;
    for size in &bench.sizes {
        let rig = bench.rig(0).await?;
        let path = rig.scratch().join("sqlite_vec.db");
        (bench.say)(&format!("writing a source of {size} memories"));
        let source = PythonDatabase::create(&path, Release::V12, bench.model.dims())?;
        source.fill(*size, bench.seed, bench.model.dims(), &passages)?;
        let daemon = rig.start(WithModel::Yes).await?;
        let run = Run { bench, size: *size, rig: &rig, daemon: &daemon, path };
        run.import(&mut report)?;
        run.follow(&mut report, &source).await?;
        daemon.stop().await?;
    }
    report.note("the source is generated in the service's schema; its vectors are the model's own, of texts that differ in their spaces");
    report.note("peak memory counts mapped files too: the model and the database");
    Ok(report)
}

/// Texts that the service reads to their end, with their vectors.
async fn passages(bench: &Bench<'_>) -> anyhow::Result<Vec<(String, Vec<f32>)>> {
    let mut options = EmbedderOptions::new(bench.model, bench.model_dir.clone());
    options.beside = bench.program.parent().map(std::path::Path::to_owned);
    let counter = TokenCounter::load(&options.folder(), bench.model)?;
    let embedder = Embedder::start(options)?;
    let status = embedder.settled().await;
    anyhow::ensure!(
        status.state.as_str() == "ready",
        "the model is {}: {}",
        status.state,
        status.error.unwrap_or_default()
    );
    let mut author = Author::new(bench.seed);
    let mut texts = Vec::with_capacity(PASSAGES);
    while texts.len() < PASSAGES {
        let text = author.passage().text;
        if counter.fits(&text, WINDOW) {
            texts.push(text);
        }
    }
    (bench.say)(&format!("embedding {PASSAGES} texts"));
    let asked = texts.iter().map(|text| Arc::from(text.as_str())).collect();
    let made = embedder.documents(asked).await?.texts;
    let mut passages = Vec::with_capacity(PASSAGES);
    for (text, windows) in texts.into_iter().zip(made) {
        let vector = windows?.into_iter().next().context("a text without a vector")?;
        passages.push((text, vector.as_slice().to_vec()));
    }
    embedder.close();
    Ok(passages)
}

struct Run<'a> {
    bench: &'a Bench<'a>,
    size: usize,
    rig: &'a Rig,
    daemon: &'a Daemon,
    path: PathBuf,
}

/// What a write must look like once it is here.
enum Expected {
    Stored,
    Tagged(String),
    Deleted,
}

impl Run<'_> {
    fn import(&self, report: &mut Report) -> anyhow::Result<()> {
        (self.bench.say)(&format!("importing {} memories", self.size));
        let path = self.path.to_str().context("a path that is no text")?;
        let watch = Stopwatch::start();
        let said = self.rig.run(&["migrate", "import", path, "--json"])?;
        let took = watch.elapsed();
        let done: ImportReport = serde_json::from_str(&said)?;
        let verdict = &done.vectors.verdict;
        anyhow::ensure!(verdict.are_reused, "vectors were not taken over: {}", verdict.why);
        let size = Some(self.size);
        report.figure("import", size, took.as_secs_f64(), "s");
        report.figure("memories imported", size, rate(self.size, took), "per second");
        let count = |n: u64| u32::try_from(n).map(f64::from);
        report.figure("vectors taken over", size, count(done.vectors.reused)?, "vectors");
        report.figure("vectors to be made", size, count(done.vectors.to_make)?, "vectors");
        if let Some(peak) = process::peak(self.daemon.pid) {
            let megabytes = f64::from(u32::try_from(peak >> 10)?) / 1000.0;
            report.figure("peak memory", size, megabytes, "MB");
            report.at_most("peak memory of the import", megabytes, RESIDENT_MAX_MB, "MB");
        }
        if self.size >= BOUND_SIZE {
            report.at_most("import", took.as_secs_f64(), IMPORT_MAX_S, "s");
        }
        Ok(())
    }

    async fn follow(&self, report: &mut Report, source: &PythonDatabase) -> anyhow::Result<()> {
        let path = self.path.to_str().context("a path that is no text")?;
        self.rig.run(&["migrate", "follow", path, "--json"])?;
        (self.bench.say)(&format!("following {} writes", self.bench.samples));
        let between = Duration::from_secs(1) / WRITES_A_SECOND;
        let begun = Stopwatch::start();
        let mut waiting: VecDeque<(String, Expected, Stopwatch)> = VecDeque::new();
        let mut stored: VecDeque<String> = VecDeque::new();
        let mut lags = Vec::with_capacity(self.bench.samples);
        let mut n_written = 0;
        while lags.len() < self.bench.samples {
            let due = between * u32::try_from(n_written)?;
            if n_written < self.bench.samples && begun.elapsed() >= due {
                let (id, expected) = write(source, n_written, &mut stored)?;
                waiting.push_back((id, expected, Stopwatch::start()));
                n_written += 1;
                continue;
            }
            let is_here = match waiting.front() {
                Some((id, expected, _)) => self.is_here(id, expected).await?,
                None => false,
            };
            match waiting.pop_front_if(|_| is_here) {
                Some((_, _, since)) => lags.push(since.elapsed()),
                None => tokio::time::sleep(LOOK_EVERY).await,
            }
            let late = waiting.front().is_some_and(|(_, _, since)| since.elapsed() > PATIENCE);
            anyhow::ensure!(!late, "a write didn't arrive within {} s", PATIENCE.as_secs());
        }
        let writes = format!("a write is here, at {WRITES_A_SECOND} writes a second");
        let worst = report.timing(&writes, Some(self.size), &lags, None).max_ms;
        report.at_most("the latest write while following", worst, LAG_MAX_MS, "ms");
        report.figure("following took", Some(self.size), millis(begun.elapsed()), "ms");
        Ok(())
    }

    async fn is_here(&self, id: &str, expected: &Expected) -> anyhow::Result<bool> {
        let found: Result<Value, _> = self.daemon.client.get(&format!("/v1/memories/{id}")).await;
        Ok(match (found, expected) {
            (Ok(_), Expected::Stored) | (Err(_), Expected::Deleted) => true,
            (Ok(memory), Expected::Tagged(tag)) => {
                let tags = memory.get("tags").and_then(Value::as_array);
                tags.is_some_and(|tags| tags.iter().any(|found| found == tag.as_str()))
            }
            _ => false,
        })
    }
}

/// One write of the service: of five three are new memories, one is an edit, one a deletion.
fn write(
    source: &PythonDatabase,
    number: usize,
    stored: &mut VecDeque<String>,
) -> anyhow::Result<(String, Expected)> {
    // Later than whatever the source was filled with.
    let at = 1_900_000_000.0 + f64::from(u32::try_from(number)?);
    let conn = source.conn();
    match (number % 5, stored.pop_front()) {
        (3, Some(id)) => {
            let tag = format!("edit-{number}");
            let sql = "UPDATE memories SET tags = ?2, updated_at = ?3 WHERE content_hash = ?1";
            conn.prepare_cached(sql)?.execute((&id, &tag, at))?;
            Ok((id, Expected::Tagged(tag)))
        }
        (4, Some(id)) => {
            let sql = "UPDATE memories SET deleted_at = ?2 WHERE content_hash = ?1";
            conn.prepare_cached(sql)?.execute((&id, at))?;
            Ok((id, Expected::Deleted))
        }
        (_, earlier) => {
            stored.extend(earlier);
            let text = format!("note {number}, written while memtide follows");
            let row = Row { created_at: at, updated_at: at, ..Row::new(&text) };
            source.add(&row)?;
            let id = MemoryId::of(&text).to_string();
            stored.push_back(id.clone());
            Ok((id, Expected::Stored))
        }
    }
}
