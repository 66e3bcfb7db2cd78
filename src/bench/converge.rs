//! Carrying many memories up into an emulated account and down into empty devices, and how searches fare
//! meanwhile.

use super::fill;
use super::readiness;
use super::report::{Report, rate};
use super::rig::{Bench, Daemon, Rig, WithModel};
use super::search::{ask, search};
use super::spread::millis;
use super::stopwatch::Stopwatch;
use crate::api::client::Client;
use crate::api::cloud::SyncAnswer;
use crate::clock::SystemClock;
use crate::emulator::options::Options;
use crate::emulator::product::Product;
use crate::emulator::server::{self, Running};
use crate::priority;
use serde_json::json;
use std::time::Duration;

/// Slower searches than by this factor, at the 99th percentile, are too many while memories are carried.
const SLOWER_MAX: f64 = 1.5;
/// Searches that warm caches before anything is measured.
const WARM_UP: usize = 30;
/// Requests to link an account, whatever it holds; with 10,000 memories they may be 60 in all.
const REQUESTS_LINK: u32 = 25;
/// Time from one search to the next, in which the account works.
const BETWEEN: Duration = Duration::from_millis(5);
/// Time that carrying everything may take.
const PATIENCE: Duration = Duration::from_hours(1);
/// The largest budget that a configuration allows: memtide's own brake is not what is measured.
const SETTINGS: &str = "[replication]\nrequest_budget = 1200\n";

/// Runs it.
///
/// # Errors
/// A daemon doesn't start, or not everything arrives.
pub async fn run(bench: &Bench<'_>) -> anyhow::Result<Report> {
    let mut report = Report::new("converge", bench.model.name, bench.seed);
    for size in &bench.sizes {
        let cloud = account(bench.seed)?;
        let mut run = Run { bench, report: &mut report, cloud: &cloud, size: *size };
        run.up().await?;
        run.down(WithModel::No, "without embedding").await?;
        run.down(WithModel::Yes, "with embedding").await?;
        let cloud = account(bench.seed)?;
        Run { bench, report: &mut report, cloud: &cloud, size: *size }.searches_beside().await?;
    }
    report.note("the account is emulated in this process, on the same machine: requests count, time doesn't include a network, and the emulator runs on the same processors, while nobody else wants them");
    report.note("searches beside carrying: the account stands for machines elsewhere, so it executes no request while a search is measured");
    report.note(fill::NOTE);
    Ok(report)
}

/// The account stands for machines elsewhere: it gets the processor only while nobody here wants it.
fn account(seed: u64) -> anyhow::Result<Running> {
    let mut options = Options::default();
    options.limits.requests_per_5min = None;
    let starting = std::thread::spawn(move || {
        // The thread that serves is started from this one, and gets its priority.
        priority::yield_to_all();
        server::start(SystemClock::shared(), seed, options)
    });
    Ok(starting.join().map_err(|_| anyhow::anyhow!("the account was not made"))??)
}

struct Run<'a> {
    bench: &'a Bench<'a>,
    report: &'a mut Report,
    cloud: &'a Running,
    size: usize,
}

impl Run<'_> {
    async fn rig(&self, n: usize) -> anyhow::Result<Rig> {
        let mut rig = self.bench.rig(n).await?;
        rig.configure(SETTINGS)?;
        rig.set("CLOUDFLARE_API_BASE_URL", &self.cloud.base_url());
        rig.set("CLOUDFLARE_ACCOUNT_ID", Options::ACCOUNT_ID);
        rig.set("CLOUDFLARE_API_TOKEN", Options::TOKEN);
        Ok(rig)
    }

    /// A full device is linked to an empty account.
    async fn up(&mut self) -> anyhow::Result<()> {
        let rig = self.rig(self.size).await?;
        let daemon = rig.start(WithModel::Yes).await?;
        rig.run(&["cloud", "init", "--yes"])?;
        (self.bench.say)(&format!("carrying {} memories up", self.size));
        self.cloud.core().clear_requests();
        let took = carry(&rig)?;
        self.count("up", took)?;
        self.again(&rig)?;
        daemon.stop().await
    }

    /// The same once more, with somebody who searches meanwhile.
    async fn searches_beside(&mut self) -> anyhow::Result<()> {
        let mut rig = self.rig(self.size).await?;
        let daemon = rig.start(WithModel::Yes).await?;
        readiness::quiet(&daemon).await;
        rig.run(&["cloud", "init", "--yes"])?;
        for _ in 0..WARM_UP {
            search(&daemon.client, &ask(&mut rig.author, "hybrid")).await?;
        }
        let n = self.bench.samples;
        (self.bench.say)("searching while nothing is carried");
        let mut idle = Vec::new();
        while idle.len() < n {
            idle.push(self.search_alone(&mut rig, &daemon).await?);
        }
        (self.bench.say)(&format!("searching while {} memories are carried up", self.size));
        let (mut busy, mut n_times) = (Vec::new(), 0);
        while busy.len() < n {
            if n_times > 0 {
                self.empty(&rig)?;
            }
            // A command is a process: the one that links has ended when the first search begins.
            rig.run(&["cloud", "link", "--yes"])?;
            let patient = Client::new(daemon.client.socket().to_owned(), "bench", PATIENCE);
            let wish = json!({"timeout_s": PATIENCE.as_secs()});
            let synced = tokio::spawn(async move { patient.post("/v1/cloud/sync", &wish).await });
            while !synced.is_finished() {
                busy.push(self.search_alone(&mut rig, &daemon).await?);
            }
            let synced: SyncAnswer = synced.await??;
            anyhow::ensure!(synced.drained, "carrying stopped: {}", synced.state);
            n_times += 1;
        }
        let size = Some(self.size);
        let idle = self.report.timing("hybrid, idle", size, &idle, None).p99_ms;
        let what = "hybrid, while memories are carried up";
        let busy = self.report.timing(what, size, &busy, None).p99_ms;
        self.report.figure("times all were carried for it", size, f64::from(n_times), "times");
        let what = "search p99 while carrying, against idle";
        self.report.at_most(what, busy / idle, SLOWER_MAX, "x");
        daemon.stop().await
    }

    /// The same device is linked to an account that holds all of its memories, in rows that memtide's tables
    /// know nothing of: as the Python service leaves one.
    fn again(&mut self, rig: &Rig) -> anyhow::Result<()> {
        (self.bench.say)(&format!("linking {} memories that are there already", self.size));
        rig.run(&["cloud", "unlink", "--yes"])?;
        let core = self.cloud.core();
        for table in ["mt_entry", "mt_feed", "mt_heads"] {
            core.d1_rows("memtide", &format!("DELETE FROM {table}"))?;
        }
        core.d1_rows("memtide", "DELETE FROM mt_meta WHERE k = 'feed_filled'")?;
        let rows = "SELECT count(*) || ' ' || max(updated_at) AS n FROM memories";
        let before = core.d1_rows("memtide", rows)?;
        core.clear_requests();
        let took = carry(rig)?;
        anyhow::ensure!(core.d1_rows("memtide", rows)? == before, "linking wrote rows again");
        self.report.figure("time, linked again", Some(self.size), millis(took), "ms");
        let n_requests = f64::from(u32::try_from(core.requests().len())?);
        let what = format!("requests to link {} memories that are there", self.size);
        // For each 2,000 a page of the feed, its texts, two of the index's list and less than two of states.
        let most = REQUESTS_LINK + 7 * u32::try_from(self.size.div_ceil(2000))?;
        self.report.at_most(&what, n_requests, f64::from(most), "requests");
        Ok(())
    }

    /// An empty device is linked to the full account.
    async fn down(&mut self, model: WithModel, what: &str) -> anyhow::Result<()> {
        (self.bench.say)(&format!("carrying {} memories down, {what}", self.size));
        let rig = self.rig(0).await?;
        let daemon = rig.start(model).await?;
        self.cloud.core().clear_requests();
        let watch = Stopwatch::start();
        carry(&rig)?;
        if model == WithModel::Yes {
            daemon.drained().await?;
        }
        self.count(&format!("down, {what}"), watch.elapsed())?;
        let n_here = usize::try_from(daemon.status().await?.store.memories)?;
        anyhow::ensure!(n_here == self.size, "{n_here} memories are here, not {}", self.size);
        daemon.stop().await
    }

    /// Searches while the account executes nothing, then lets it work for a while. Returns what the search took
    /// beyond the embedding of its query.
    async fn search_alone(&self, rig: &mut Rig, daemon: &Daemon) -> anyhow::Result<Duration> {
        let asked = ask(&mut rig.author, "hybrid");
        let still = self.cloud.core().still();
        let (all, embedding) = search(&daemon.client, &asked).await?;
        drop(still);
        tokio::time::sleep(BETWEEN).await;
        Ok(all.saturating_sub(embedding))
    }

    /// Takes everything out of the account, so that it can be carried there once more.
    fn empty(&self, rig: &Rig) -> anyhow::Result<()> {
        rig.run(&["cloud", "unlink", "--yes"])?;
        for table in ["mt_entry", "mt_feed", "mt_heads", "memories"] {
            self.cloud.core().d1_rows("memtide", &format!("DELETE FROM {table}"))?;
        }
        Ok(())
    }

    fn count(&mut self, what: &str, took: Duration) -> anyhow::Result<()> {
        let size = Some(self.size);
        let mut n_requests = 0;
        for product in [Product::D1, Product::Vectorize, Product::R2, Product::Ai] {
            let n = u32::try_from(self.cloud.core().n_requests(product))?;
            n_requests += n;
            let name = format!("requests to {}, {what}", product.as_str());
            self.report.figure(&name, size, f64::from(n), "requests");
        }
        let thousands = f64::from(u32::try_from(self.size)?) / 1000.0;
        let per_thousand = f64::from(n_requests) / thousands;
        let name = format!("requests for 1000 memories, {what}");
        self.report.figure(&name, size, per_thousand, "requests");
        self.report.figure(&format!("time, {what}"), size, millis(took), "ms");
        let per_second = rate(self.size, took);
        self.report.figure(&format!("memories, {what}"), size, per_second, "per second");
        Ok(())
    }
}

/// Links a device and waits until everything is in the account.
fn carry(rig: &Rig) -> anyhow::Result<Duration> {
    let watch = Stopwatch::start();
    rig.run(&["cloud", "link", "--yes"])?;
    rig.run(&["cloud", "sync", "--timeout", &PATIENCE.as_secs().to_string()])?;
    Ok(watch.elapsed())
}
