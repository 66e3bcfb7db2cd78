//! How long a search takes beyond the embedding of its query: idle, and while a writer stores as fast
//! as it can.

use super::fill;
use super::plot::{self, Series};
use super::process;
use super::readiness;
use super::report::{Report, megabytes, rate};
use super::rig::{Bench, Daemon, Rig, WithModel};
use super::spread::Spread;
use super::stopwatch::Stopwatch;
use super::store;
use super::text::Author;
use crate::api::client::Client;
use crate::api::wire::{FilterJson, SearchAnswer, SearchRequest};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Its name in a report.
pub const NAME: &str = "search";
/// Where the targets hold.
const TARGET_SIZE: usize = 10_000;
const IDLE_MS: f64 = 1.5;
/// How much slower the 99th percentile may be beside a writer.
const WRITING_MAX: f64 = 2.0;
/// Searches that warm caches before anything is measured.
const WARM_UP: usize = 30;

/// Runs it.
///
/// # Errors
/// A daemon doesn't start or doesn't answer.
pub async fn run(bench: &Bench<'_>) -> anyhow::Result<Report> {
    let mut report = Report::new(NAME, bench.model.name, bench.seed);
    for size in &bench.sizes {
        let mut rig = bench.rig(*size).await?;
        let daemon = rig.start(WithModel::Yes).await?;
        // What it reads into memory at its start would take a processor from the first searches.
        readiness::quiet(&daemon).await;
        let mut run = Run { bench, report: &mut report, daemon: &daemon, size: *size };
        run.all(&mut rig).await?;
        daemon.stop().await?;
        report.figure(
            "database after the writers",
            Some(*size),
            megabytes(rig.bytes_on_disk()),
            "MB",
        );
    }
    report.note("searches return 10 memories and are measured by the client; the time that the query's embedding took is subtracted and shown apart");
    report.note(fill::NOTE);
    Ok(report)
}

/// Draws a report of it.
pub fn plot(report: &Report) -> String {
    let series = Series::of(report, |timing| {
        (!timing.what.starts_with("embedding of")).then(|| timing.what.clone())
    });
    let subtitle = "over the daemon's socket, without the embedding of the query";
    plot::svg("Search in memtide", subtitle, &series)
}

struct Run<'a> {
    bench: &'a Bench<'a>,
    report: &'a mut Report,
    daemon: &'a Daemon,
    size: usize,
}

impl Run<'_> {
    async fn all(&mut self, rig: &mut Rig) -> anyhow::Result<()> {
        for _ in 0..WARM_UP {
            search(&self.daemon.client, &ask(&mut rig.author, "hybrid")).await?;
        }
        (self.bench.say)(&format!("searching {} memories", self.size));
        let idle = self.measure(rig, "hybrid, idle", |author| ask(author, "hybrid")).await?;
        let known = ask(&mut rig.author, "hybrid");
        self.measure(rig, "hybrid, idle, one query again and again", |_| known.clone()).await?;
        self.measure(rig, "semantic, idle", |author| ask(author, "semantic")).await?;
        self.measure(rig, "keyword, idle", |author| ask(author, "keyword")).await?;
        self.measure(rig, "hybrid with a tag, idle", |author| {
            let tags = author.passage().tags.into_iter().take(1).collect();
            let filter = FilterJson { tags, ..FilterJson::default() };
            SearchRequest { filter, ..ask(author, "hybrid") }
        })
        .await?;
        if let Some(memory) = process::resident(self.daemon.pid) {
            let size = Some(self.size);
            self.report.figure("daemon, anonymous", size, megabytes(memory.anonymous), "MB");
            self.report.figure("daemon, mapped files", size, megabytes(memory.mapped), "MB");
        }
        self.daemon.set_paused(true).await?;
        let writing =
            self.beside_writer(rig, 1, "hybrid, beside a writer, embedding paused").await?;
        self.daemon.set_paused(false).await?;
        self.beside_writer(rig, 2, "hybrid, beside a writer and embedding").await?;
        if self.size == TARGET_SIZE {
            self.report.at_most("search p50 at 10000, idle", idle.p50_ms, IDLE_MS, "ms");
            let what = "search p99 at 10000, beside a writer against idle, embedding paused";
            self.report.at_most(what, writing.p99_ms / idle.p99_ms, WRITING_MAX, "x");
        }
        Ok(())
    }

    async fn measure(
        &mut self,
        rig: &mut Rig,
        what: &str,
        mut ask: impl FnMut(&mut Author) -> SearchRequest,
    ) -> anyhow::Result<Spread> {
        let (mut beyond, mut embedding) = (Vec::new(), Vec::new());
        for _ in 0..self.bench.samples {
            let (took, embed) = search(&self.daemon.client, &ask(&mut rig.author)).await?;
            beyond.push(took.saturating_sub(embed));
            embedding.push(embed);
        }
        let size = Some(self.size);
        let spread = self.report.timing(what, size, &beyond, None);
        if embedding.iter().any(|took| *took > Duration::from_micros(100)) {
            let what = format!("embedding of the query: {what}");
            self.report.timing(&what, size, &embedding, None);
        }
        Ok(spread)
    }

    async fn beside_writer(
        &mut self,
        rig: &mut Rig,
        nth: u64,
        what: &str,
    ) -> anyhow::Result<Spread> {
        // An author of its own, with another seed, writes other texts.
        let seed = self.bench.seed.wrapping_mul(1000).wrapping_add(nth);
        let writer = Writer::start(self.daemon.another_client(), seed)?;
        writer.wait_for_first();
        let spread = self.measure(rig, what, |author| ask(author, "hybrid")).await?;
        let (n_stored, took) = writer.stop()?;
        let what = format!("stores beside it: {what}");
        self.report.figure(&what, Some(self.size), rate(n_stored, took), "per second");
        Ok(spread)
    }
}

pub(super) fn ask(author: &mut Author, mode: &str) -> SearchRequest {
    SearchRequest {
        query: author.question(),
        mode: Some(mode.to_owned()),
        n: Some(10),
        ..SearchRequest::default()
    }
}

/// The client's time and, of it, the embedding's.
pub(super) async fn search(
    client: &Client,
    request: &SearchRequest,
) -> anyhow::Result<(Duration, Duration)> {
    let watch = Stopwatch::start();
    let answer: SearchAnswer = client.post("/v1/search", request).await?;
    let took = watch.elapsed();
    let asked = request.mode.as_deref().unwrap_or_default();
    anyhow::ensure!(answer.mode == asked, "asked for {asked}, got {}", answer.mode);
    Ok((took, Duration::from_secs_f64(answer.embed_ms / 1e3)))
}

/// A thread that stores one text after the other until it is stopped.
struct Writer {
    is_stopped: Arc<AtomicBool>,
    has_begun: std::sync::mpsc::Receiver<()>,
    thread: JoinHandle<anyhow::Result<(usize, Duration)>>,
}

impl Writer {
    fn start(client: Client, seed: u64) -> anyhow::Result<Self> {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (begun, has_begun) = std::sync::mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = Arc::clone(&is_stopped);
        let thread =
            std::thread::Builder::new().name("bench-writer".to_owned()).spawn(move || {
                runtime.block_on(async {
                    let mut author = Author::new(seed);
                    let watch = Stopwatch::start();
                    let mut n_stored = 0;
                    while !stop.load(Ordering::Relaxed) {
                        store::store(&client, &mut author).await?;
                        n_stored += 1;
                        // Nobody listens any more after the first.
                        let _heard = begun.send(());
                    }
                    Ok((n_stored, watch.elapsed()))
                })
            })?;
        Ok(Self { is_stopped, has_begun, thread })
    }

    /// Returns also when the writer has failed: stopping it tells why.
    fn wait_for_first(&self) {
        let _failed = self.has_begun.recv();
    }

    /// How many it has stored, in how long.
    fn stop(self) -> anyhow::Result<(usize, Duration)> {
        self.is_stopped.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the writer broke down"))?
    }
}
