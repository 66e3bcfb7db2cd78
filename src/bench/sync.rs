//! How many requests it takes to carry memories to the cloud, counted by an emulated account on this
//! machine. The time says what memtide itself needs: there is no network in it.

use super::report::{Report, megabytes, rate};
use super::rig::{Bench, WithModel};
use super::spread::millis;
use super::stopwatch::Stopwatch;
use super::store;
use crate::clock::SystemClock;
use crate::emulator::options::Options;
use crate::emulator::product::Product;
use crate::emulator::server;
use serde_json::Value;

/// Memories that are pushed, each with three tags.
const MEMORIES: usize = 1000;
/// Requests that the push may take.
const REQUESTS_MAX: u32 = 60;
/// Seconds that the push may take.
const TIMEOUT_S: &str = "300";

/// Runs it.
///
/// # Errors
/// A daemon doesn't start, or the push doesn't end with everything in the cloud.
pub async fn run(bench: &Bench<'_>) -> anyhow::Result<Report> {
    let mut report = Report::new("sync", bench.model.name, bench.seed);
    let cloud = server::start(SystemClock::shared(), bench.seed, Options::default())?;
    let mut rig = bench.rig(0).await?;
    rig.set("CLOUDFLARE_API_BASE_URL", &cloud.base_url());
    rig.set("CLOUDFLARE_ACCOUNT_ID", Options::ACCOUNT_ID);
    rig.set("CLOUDFLARE_API_TOKEN", Options::TOKEN);
    let daemon = rig.start(WithModel::Yes).await?;
    let made: Value = serde_json::from_str(&rig.run(&["cloud", "init", "--yes", "--json"])?)?;
    rig.run(&["cloud", "link", "--yes"])?;
    rig.run(&["cloud", "sync", "--timeout", TIMEOUT_S])?;
    rig.run(&["cloud", "pause"])?;

    (bench.say)(&format!("storing {MEMORIES} memories and waiting for their vectors"));
    for _ in 0..MEMORIES {
        store::store(&daemon.client, &mut rig.author).await?;
    }
    daemon.drained().await?;
    (bench.say)("pushing them");
    cloud.core().clear_requests();
    let watch = Stopwatch::start();
    rig.run(&["cloud", "resume"])?;
    rig.run(&["cloud", "sync", "--timeout", TIMEOUT_S])?;
    let took = watch.elapsed();

    let requests = cloud.core().requests();
    for product in [Product::D1, Product::Vectorize, Product::R2, Product::Ai, Product::Tokens] {
        let n = u32::try_from(cloud.core().n_requests(product))?;
        report.figure(&format!("requests to {}", product.as_str()), None, f64::from(n), "requests");
    }
    let n_bytes: usize = requests.iter().map(|request| request.request_bytes).sum();
    report.figure("bytes sent", None, megabytes(u64::try_from(n_bytes)?), "MB");
    report.figure("time", None, millis(took), "ms");
    report.figure("memories pushed", None, rate(MEMORIES, took), "per second");
    let n_requests = f64::from(u32::try_from(requests.len())?);
    let what = format!("requests to push {MEMORIES} memories with three tags each");
    report.at_most(&what, n_requests, f64::from(REQUESTS_MAX), "requests");

    let database = made.pointer("/database/id").and_then(Value::as_str).unwrap_or_default();
    let sql = "SELECT content_hash FROM memories WHERE deleted_at IS NULL";
    let n_there = cloud.core().d1_rows(database, sql)?.len();
    anyhow::ensure!(n_there == MEMORIES, "{n_there} memories are in the cloud, not {MEMORIES}");
    daemon.stop().await?;
    report.note("the account is emulated in this process, on the same machine: requests count, time doesn't include a network");
    Ok(report)
}
