//! How long a store takes until it is acknowledged, against a bare commit of the same run.
//!
//! A bare commit and a store take turns, so that both meet the same disk and the same neighbours.

use super::bare::Bare;
use super::durability;
use super::fill;
use super::growth;
use super::process;
use super::report::{Report, megabytes, rate};
use super::rig::{Bench, Daemon, Rig, WithModel};
use super::spread::Spread;
use super::stopwatch::Stopwatch;
use super::text::Author;
use crate::api::client::Client;
use crate::api::wire::{StoreAnswer, StoreRequest};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a store may cost beyond the bare commit.
const OVERHEAD_MS: f64 = 0.6;
/// What 100,000 memories may cost against 10,000.
const GROWTH: f64 = 1.3;
/// Connections that store at once.
const CROWD: usize = durability::CROWD;
/// Stores of each of them at least, so that the log is long enough to be checkpointed.
const EACH_MIN: usize = 100;
/// Size that the log stays under.
const LOG_MB: f64 = 16.0;
/// Between two looks at the log.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Stores that warm caches before anything is measured.
const WARM_UP: usize = 50;
/// Bare commits between two checkpoints of their log.
const CHECKPOINT_EVERY: usize = 500;

/// Runs it.
///
/// # Errors
/// A daemon doesn't start or doesn't answer.
pub async fn run(bench: &Bench<'_>) -> anyhow::Result<Report> {
    let mut report = Report::new("store", bench.model.name, bench.seed);
    let mut by_size: Vec<(usize, f64)> = Vec::new();
    for size in &bench.sizes {
        let mut rig = bench.rig(*size).await?;
        let daemon = rig.start(WithModel::Yes).await?;
        for _ in 0..WARM_UP {
            store(&daemon.client, &mut rig.author).await?;
        }
        daemon.drained().await?;
        (bench.say)(&format!("storing at {size} memories"));
        let ack = measure(&mut report, bench, &mut rig, &daemon, *size, "embedding").await?;
        daemon.set_paused(true).await?;
        let alone =
            measure(&mut report, bench, &mut rig, &daemon, *size, "embedding paused").await?;
        crowd(&mut report, bench, &daemon, &mut rig, *size, alone.1).await?;
        by_size.push((*size, ack.0.p50_ms));
        if let Some(memory) = process::resident(daemon.pid) {
            report.figure("daemon, anonymous", Some(*size), megabytes(memory.anonymous), "MB");
            report.figure("daemon, mapped files", Some(*size), megabytes(memory.mapped), "MB");
        }
        daemon.stop().await?;
        report.figure("database", Some(*size), megabytes(rig.bytes_on_disk()), "MB");
        (bench.say)(&format!("what flushing costs at {size} memories"));
        durability::measure(&mut report, &mut rig, *size, bench.samples).await?;
    }
    if let Some(size) = bench.sizes.first() {
        let mut rig = bench.rig(*size).await?;
        growth::measure(&mut report, bench, &mut rig, *size).await?;
    }
    let p50_at = |size| by_size.iter().find(|(n, _)| *n == size).map(|(_, p50)| *p50);
    if let (Some(small), Some(large)) = (p50_at(10_000), p50_at(100_000)) {
        report.at_most(
            "store p50 at 100,000 / at 10,000",
            large / small.max(1e-9),
            GROWTH,
            "times",
        );
    }
    report.note(fill::NOTE);
    report.note("a bare commit inserts the same text as one row, WAL, synchronous=FULL; it and a store take turns");
    Ok(report)
}

/// Bare commits and stores in turn. Returns the spread of the stores, and how many there were a second.
async fn measure(
    report: &mut Report,
    bench: &Bench<'_>,
    rig: &mut Rig,
    daemon: &Daemon,
    size: usize,
    state: &str,
) -> anyhow::Result<(Spread, f64)> {
    let scratch = tempfile::tempdir_in(rig.scratch())?;
    let bare = Bare::create(scratch.path())?;
    let (mut commits, mut acks) = (Vec::new(), Vec::new());
    for n in 0..bench.samples {
        let text = rig.author.passage().text;
        let watch = Stopwatch::start();
        bare.commit(&text)?;
        commits.push(watch.elapsed());
        if n % CHECKPOINT_EVERY == CHECKPOINT_EVERY - 1 {
            bare.checkpoint()?;
        }
        acks.push(store(&daemon.client, &mut rig.author).await?);
    }
    let commit = report.timing(&format!("bare commit, {state}"), Some(size), &commits, None);
    let total = acks.iter().sum();
    let per_second = rate(acks.len(), total);
    let ack = report.timing(&format!("store, {state}"), Some(size), &acks, Some(per_second));
    let bound = commit.p50_ms + OVERHEAD_MS;
    let what = format!("store p50 at {size}, {state} (bare commit + {OVERHEAD_MS} ms)");
    report.at_most(&what, ack.p50_ms, bound, "ms");
    Ok((ack, per_second))
}

/// Several connections at once, which share commits; `alone` is how many a second one has stored.
async fn crowd(
    report: &mut Report,
    bench: &Bench<'_>,
    daemon: &Daemon,
    rig: &mut Rig,
    size: usize,
    alone: f64,
) -> anyhow::Result<()> {
    let n_each = bench.samples.div_ceil(CROWD).max(EACH_MIN);
    let log = LogWatch::start(rig.log())?;
    let watch = Stopwatch::start();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CROWD {
        let client = daemon.another_client();
        let requests: Vec<StoreRequest> = (0..n_each).map(|_| request(&mut rig.author)).collect();
        tasks.spawn(async move {
            let mut acks = Vec::with_capacity(requests.len());
            for request in &requests {
                acks.push(acknowledged(&client, request).await?);
            }
            anyhow::Ok(acks)
        });
    }
    let mut acks = Vec::new();
    while let Some(done) = tasks.join_next().await {
        acks.extend(done??);
    }
    let per_second = rate(acks.len(), watch.elapsed());
    let what = format!("store, {CROWD} connections, embedding paused");
    report.timing(&what, Some(size), &acks, Some(per_second));
    let what = format!("{CROWD} connections / 1 connection, {size} memories, embedding paused");
    report.at_least(&what, per_second / alone.max(1e-9), durability::SHARED, "times the rate");
    let what = format!("largest log beside {CROWD} connections, {size} memories");
    report.at_most(&what, megabytes(log.stop()?), LOG_MB, "MB");
    Ok(())
}

/// A thread that looks at the size of the write-ahead log until it is stopped.
struct LogWatch {
    is_stopped: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl LogWatch {
    fn start(log: PathBuf) -> std::io::Result<Self> {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&is_stopped);
        let watch = move || {
            let mut largest = 0;
            while !stop.load(Ordering::Relaxed) {
                largest = largest.max(log.metadata().map_or(0, |meta| meta.len()));
                std::thread::sleep(LOOK_EVERY);
            }
            largest.max(log.metadata().map_or(0, |meta| meta.len()))
        };
        let thread = std::thread::Builder::new().name("bench-log".to_owned()).spawn(watch)?;
        Ok(Self { is_stopped, thread })
    }

    /// The largest size seen.
    fn stop(self) -> anyhow::Result<u64> {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the watch over the log broke down"))
    }
}

/// A new text with its tags.
pub(super) fn request(author: &mut Author) -> StoreRequest {
    let passage = author.passage();
    StoreRequest { content: passage.text, tags: passage.tags, ..StoreRequest::default() }
}

/// Stores a new text and returns the time to its acknowledgement.
pub(super) async fn store(client: &Client, author: &mut Author) -> anyhow::Result<Duration> {
    acknowledged(client, &request(author)).await
}

async fn acknowledged(client: &Client, request: &StoreRequest) -> anyhow::Result<Duration> {
    let watch = Stopwatch::start();
    let answer: StoreAnswer = client.post("/v1/memories", request).await?;
    let took = watch.elapsed();
    anyhow::ensure!(answer.created, "a text was there already: {}", answer.id);
    Ok(took)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_size_of_the_log_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("wal");
        let watch = LogWatch::start(log.clone()).unwrap();
        std::fs::write(&log, vec![0; 100]).unwrap();
        assert_eq!(watch.stop().unwrap(), 100);
        let none = LogWatch::start(dir.path().join("none")).unwrap();
        assert_eq!(none.stop().unwrap(), 0);
    }
}
