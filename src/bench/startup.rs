//! How long a front-end takes to answer after it was started, and what the processes cost while
//! nothing happens.

use super::front::FrontEnd;
use super::process::{self, Resident};
use super::readiness;
use super::report::{Report, megabytes};
use super::rig::{Bench, Daemon, Rig, WithModel};
use super::search;
use super::spread::{Spread, millis};
use super::stopwatch::Stopwatch;
use super::store;
use serde_json::json;
use std::time::Duration;

/// Front-ends started one after the other while a daemon runs.
const STARTS: usize = 40;
/// The same while none does; each time one is started and stopped.
const COLD_STARTS: usize = 10;
/// Time over which the idle daemon is watched.
const IDLE: Duration = Duration::from_secs(10);
/// Processor time that counts as none: timers that fire now and then.
const IDLE_CPU_MS: f64 = 10.0;
/// Stores and searches after which memory is read again.
const WORK: usize = 200;

/// Runs it.
///
/// # Errors
/// A daemon or a front-end doesn't start.
pub async fn run(bench: &Bench<'_>) -> anyhow::Result<Report> {
    let mut report = Report::new("startup", bench.model.name, bench.seed);
    let size = bench.sizes.first().copied().unwrap_or(0);
    let bytes = std::fs::metadata(&bench.program)?.len();
    report.figure("executable", None, megabytes(bytes), "MB");
    if !cfg!(debug_assertions) {
        report.at_most("executable", megabytes(bytes), 25.0, "MB");
    }
    let mut rig = bench.rig(size).await?;

    (bench.say)("the daemon without the model");
    let daemon = rig.start(WithModel::No).await?;
    let figure = Idle { report: &mut report, size, name: "without the model", bound_mb: 40.0 };
    figure.watch(&daemon).await;
    daemon.stop().await?;

    (bench.say)("starts after a clean stop");
    readiness::measure(&mut report, &mut rig, size).await?;

    (bench.say)("the daemon with the model");
    let daemon = rig.start(WithModel::Yes).await?;
    let figure = Idle { report: &mut report, size, name: "with the model", bound_mb: 200.0 };
    let memory = figure.watch(&daemon).await;
    readiness::memory(&mut report, bench, size, memory.map_or(0, |m| m.anonymous)).await?;
    work(&daemon, &mut rig).await?;
    let name = "with the model, after work";
    Idle { report: &mut report, size, name, bound_mb: 200.0 }.watch(&daemon).await;

    (bench.say)("front-ends beside a running daemon");
    let (mut starts, mut resident) = (Vec::new(), None);
    for nth in 1..=STARTS {
        let (took, mut front) = start_front(&rig)?;
        starts.push(took);
        if nth == STARTS {
            front.call("memory_health", json!({}))?;
            resident = process::resident(front.pid());
            idle(&mut report, "front-end", front.pid()).await;
        }
        front.end()?;
    }
    daemon.stop().await?;
    started(&mut report, "front-end, from start to discovery, daemon up", &starts);
    if let Some(memory) = resident {
        report.figure(
            "front-end, mapped files, after a call",
            None,
            megabytes(memory.mapped),
            "MB",
        );
        report.at_most(
            "front-end, anonymous, after a call",
            megabytes(memory.anonymous),
            12.0,
            "MB",
        );
    }

    (bench.say)("front-ends that find no daemon");
    let mut starts = Vec::new();
    for _ in 0..COLD_STARTS {
        let (took, front) = start_front(&rig)?;
        starts.push(took);
        let daemon = rig.started_by_another().await?;
        front.end()?;
        daemon.stop().await?;
    }
    started(&mut report, "front-end, from start to discovery, daemon down", &starts);
    report.note("anonymous memory is what only swap could take back; mapped files (executable, model, database) are shown apart");
    Ok(report)
}

fn start_front(rig: &Rig) -> anyhow::Result<(Duration, FrontEnd)> {
    let watch = Stopwatch::start();
    let mut front = FrontEnd::spawn(rig, WithModel::Yes)?;
    front.initialize()?;
    Ok((watch.elapsed(), front))
}

fn started(report: &mut Report, what: &str, starts: &[Duration]) -> Spread {
    let spread = report.timing(what, None, starts, None);
    report.at_most(&format!("{what}, p50"), spread.p50_ms, 30.0, "ms");
    spread
}

async fn work(daemon: &Daemon, rig: &mut Rig) -> anyhow::Result<()> {
    for _ in 0..WORK {
        store::store(&daemon.client, &mut rig.author).await?;
    }
    daemon.drained().await?;
    for _ in 0..WORK {
        search::search(&daemon.client, &search::ask(&mut rig.author, "hybrid")).await?;
    }
    Ok(())
}

/// A daemon to which nobody speaks.
struct Idle<'a> {
    report: &'a mut Report,
    size: usize,
    name: &'a str,
    bound_mb: f64,
}

impl Idle<'_> {
    async fn watch(self, daemon: &Daemon) -> Option<Resident> {
        let Self { report, size, name, bound_mb } = self;
        readiness::quiet(daemon).await;
        idle(report, &format!("daemon {name}"), daemon.pid).await;
        let memory = process::resident(daemon.pid)?;
        let mapped = megabytes(memory.mapped);
        report.figure(&format!("daemon {name}: mapped files"), Some(size), mapped, "MB");
        let anonymous = megabytes(memory.anonymous);
        report.at_most(&format!("daemon {name}: anonymous"), anonymous, bound_mb, "MB");
        Some(memory)
    }
}

/// What a process works while nobody wants anything of it.
async fn idle(report: &mut Report, who: &str, pid: u32) {
    let before = process::cpu_time(pid);
    tokio::time::sleep(IDLE).await;
    if let (Some(before), Some(after)) = (before, process::cpu_time(pid)) {
        let what = format!("{who}: processor time in {} s idle", IDLE.as_secs());
        report.at_most(&what, millis(after.saturating_sub(before)), IDLE_CPU_MS, "ms");
    }
}
