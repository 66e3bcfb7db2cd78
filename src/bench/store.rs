//! How long a store takes until it is acknowledged, against a bare commit of the same run.
//!
//! A bare commit and a store take turns, so that both meet the same disk and the same neighbours.

use super::bare::Bare;
use super::fill;
use super::process;
use super::report::{Report, megabytes, rate};
use super::rig::{Bench, Daemon, Rig, WithModel};
use super::spread::Spread;
use super::stopwatch::Stopwatch;
use super::text::Author;
use crate::api::client::Client;
use crate::api::wire::{StoreAnswer, StoreRequest};
use std::time::Duration;

/// What a store may cost beyond the bare commit.
const OVERHEAD_MS: f64 = 0.6;
/// What 100,000 memories may cost against 10,000.
const GROWTH: f64 = 1.3;
/// Connections that store at once.
const CROWD: usize = 8;
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
        measure(&mut report, bench, &mut rig, &daemon, *size, "embedding paused").await?;
        crowd(&mut report, bench, &daemon, &mut rig, *size).await?;
        by_size.push((*size, ack.p50_ms));
        if let Some(memory) = process::resident(daemon.pid) {
            report.figure("daemon, anonymous", Some(*size), megabytes(memory.anonymous), "MB");
            report.figure("daemon, mapped files", Some(*size), megabytes(memory.mapped), "MB");
        }
        daemon.stop().await?;
        report.figure("database", Some(*size), megabytes(rig.bytes_on_disk()), "MB");
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

/// Bare commits and stores in turn. Returns the spread of the stores.
async fn measure(
    report: &mut Report,
    bench: &Bench<'_>,
    rig: &mut Rig,
    daemon: &Daemon,
    size: usize,
    state: &str,
) -> anyhow::Result<Spread> {
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
    let per_second = Some(rate(acks.len(), total));
    let ack = report.timing(&format!("store, {state}"), Some(size), &acks, per_second);
    let bound = commit.p50_ms + OVERHEAD_MS;
    let what = format!("store p50 at {size}, {state} (bare commit + {OVERHEAD_MS} ms)");
    report.at_most(&what, ack.p50_ms, bound, "ms");
    Ok(ack)
}

/// Several connections at once, which share commits.
async fn crowd(
    report: &mut Report,
    bench: &Bench<'_>,
    daemon: &Daemon,
    rig: &mut Rig,
    size: usize,
) -> anyhow::Result<()> {
    let n_each = bench.samples.div_ceil(CROWD);
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
    let per_second = Some(rate(acks.len(), watch.elapsed()));
    let what = format!("store, {CROWD} connections, embedding paused");
    report.timing(&what, Some(size), &acks, per_second);
    Ok(())
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
