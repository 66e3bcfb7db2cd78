//! Several MCP front-ends at once, as several agents on one machine run them, against a single one.

use super::fill;
use super::front::FrontEnd;
use super::process;
use super::readiness;
use super::report::{Report, megabytes, rate};
use super::rig::{Bench, Daemon, Rig, WithModel};
use super::stopwatch::Stopwatch;
use super::text::Author;
use crate::api::wire::MemoryJson;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// Front-ends at once.
const CROWD: usize = 8;
/// Stores of each.
const STORES: usize = 500;

/// Queries of one front-end, asked again and again.
const QUERIES: usize = 50;
/// What the answer to one that was asked before may take.
const SEARCH_MS: f64 = 1.5;

/// Runs it.
///
/// # Errors
/// A daemon or a front-end doesn't start, a store fails, or an acknowledged memory is not there.
pub async fn run(bench: &Bench<'_>) -> anyhow::Result<Report> {
    let mut report = Report::new("clients", bench.model.name, bench.seed);
    let size = bench.sizes.first().copied().unwrap_or(0);
    let rig = bench.rig(size).await?;
    let daemon = rig.start(WithModel::Yes).await?;
    (bench.say)(&format!("one front-end searches {size} memories"));
    searches(&mut report, bench, &rig, &daemon, size).await?;
    for is_paused in [false, true] {
        daemon.set_paused(is_paused).await?;
        let state = if is_paused { "embedding paused" } else { "embedding" };
        (bench.say)(&format!("one front-end, then {CROWD}, {state}"));
        let seed = bench.seed.wrapping_add(u64::from(is_paused) * 100 + 1);
        let alone = crowd(&rig, 1, seed).await?;
        let together = crowd(&rig, CROWD, seed + 1).await?;
        report.timing(&format!("1 front-end, {state}"), Some(size), &alone.acks, Some(alone.rate));
        let what = format!("{CROWD} front-ends, {state}");
        report.timing(&what, Some(size), &together.acks, Some(together.rate));
        let n_lost = lost(&daemon, &alone).await? + lost(&daemon, &together).await?;
        report.at_most(&format!("lost acknowledgements, {state}"), n_lost, 0.0, "memories");
        let what = format!("{CROWD} front-ends / 1 front-end, {state}");
        report.at_least(&what, together.rate / alone.rate.max(1e-9), 1.0, "times the rate");
    }
    let n_stored = 2 * (CROWD + 1) * STORES;
    let n_there = daemon.status().await?.store.memories;
    let expected = u64::try_from(size + n_stored)?;
    anyhow::ensure!(n_there == expected, "{n_there} memories are there, not {expected}");
    if let Some(memory) = process::resident(daemon.pid) {
        report.figure("daemon, anonymous", None, megabytes(memory.anonymous), "MB");
    }
    daemon.stop().await?;
    report.note(format!("each front-end is a process that stores {STORES} texts, one after the other; every acknowledged id was looked up afterwards"));
    report.note(fill::NOTE);
    Ok(report)
}

/// One front-end that searches, while nothing else happens.
async fn searches(
    report: &mut Report,
    bench: &Bench<'_>,
    rig: &Rig,
    daemon: &Daemon,
    size: usize,
) -> anyhow::Result<()> {
    readiness::quiet(daemon).await;
    let mut front = FrontEnd::spawn(rig, WithModel::Yes)?;
    front.initialize()?;
    let (seed, n) = (bench.seed, bench.samples);
    let search = move || search_many(front, seed, n);
    let (new, known) = tokio::task::spawn_blocking(search).await??;
    report.timing("memory_search, a new query", Some(size), &new, None);
    let what = "memory_search, a query that was asked before";
    let spread = report.timing(what, Some(size), &known, None);
    let what = format!("{what}, p50 at {size}");
    report.at_most(&what, spread.p50_ms, SEARCH_MS, "ms");
    Ok(())
}

/// The times of queries that are asked for the first time, and of the same ones `n` times again.
fn search_many(
    mut front: FrontEnd,
    seed: u64,
    n: usize,
) -> anyhow::Result<(Vec<Duration>, Vec<Duration>)> {
    let mut author = Author::new(seed.wrapping_add(1));
    let queries: Vec<String> = (0..QUERIES).map(|_| author.question()).collect();
    let mut ask = |query: &String| {
        let watch = Stopwatch::start();
        let answer = front.call("memory_search", json!({"query": query}))?;
        let took = watch.elapsed();
        let n_found = answer.get("memories").and_then(Value::as_array).map_or(0, Vec::len);
        anyhow::ensure!(n_found > 0, "nothing was found for {query:?}: {answer}");
        anyhow::Ok(took)
    };
    let new: Vec<Duration> = queries.iter().map(&mut ask).collect::<anyhow::Result<_>>()?;
    let known = queries.iter().cycle().take(n).map(&mut ask).collect::<anyhow::Result<_>>()?;
    front.end()?;
    Ok((new, known))
}

struct Crowd {
    acks: Vec<Duration>,
    ids: Vec<String>,
    rate: f64,
}

/// `n` front-ends that store at the same time, each on a thread of its own.
async fn crowd(rig: &Rig, n: usize, seed: u64) -> anyhow::Result<Crowd> {
    let mut fronts = Vec::new();
    for _ in 0..n {
        let mut front = FrontEnd::spawn(rig, WithModel::Yes)?;
        front.initialize()?;
        fronts.push(front);
    }
    let watch = Stopwatch::start();
    let mut tasks = tokio::task::JoinSet::new();
    for (nth, front) in (0_u64..).zip(fronts) {
        let author = Author::new(seed.wrapping_mul(1000) + nth);
        tasks.spawn_blocking(move || store_many(front, author));
    }
    let mut crowd = Crowd { acks: Vec::new(), ids: Vec::new(), rate: 0.0 };
    while let Some(done) = tasks.join_next().await {
        let (acks, ids) = done??;
        crowd.acks.extend(acks);
        crowd.ids.extend(ids);
    }
    crowd.rate = rate(crowd.acks.len(), watch.elapsed());
    Ok(crowd)
}

fn store_many(
    mut front: FrontEnd,
    mut author: Author,
) -> anyhow::Result<(Vec<Duration>, Vec<String>)> {
    let (mut acks, mut ids) = (Vec::new(), Vec::new());
    for _ in 0..STORES {
        let passage = author.passage();
        let arguments = json!({"content": passage.text, "metadata": {"tags": passage.tags}});
        let watch = Stopwatch::start();
        let answer = front.call("memory_store", arguments)?;
        acks.push(watch.elapsed());
        ids.push(id_in(&answer).with_context(|| format!("no id in {answer}"))?);
    }
    front.end()?;
    Ok((acks, ids))
}

fn id_in(answer: &Value) -> Option<String> {
    ["id", "content_hash"].iter().find_map(|name| answer.get(name)?.as_str().map(str::to_owned))
}

/// How many of the acknowledged memories are not there, or are there under the id of another.
async fn lost(daemon: &Daemon, crowd: &Crowd) -> anyhow::Result<f64> {
    let distinct: BTreeSet<&String> = crowd.ids.iter().collect();
    let mut n_lost = crowd.ids.len() - distinct.len();
    for id in distinct {
        let found: Result<MemoryJson, _> = daemon.client.get(&format!("/v1/memories/{id}")).await;
        n_lost += usize::from(found.is_err());
    }
    Ok(f64::from(u32::try_from(n_lost)?))
}
