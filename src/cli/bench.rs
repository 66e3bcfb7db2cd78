//! `memtide bench`.

use super::failure::Failure;
use super::session::Session;
use super::{args, output};
use crate::bench::against::{Against, Rival};
use crate::bench::report::Report;
use crate::bench::rig::Bench;
use crate::bench::{against, clients, instructions, migrate, retrieval, search, startup, store};
#[cfg(feature = "emulator")]
use crate::bench::{converge::run as converge, sync::run as sync};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

/// Variables that say where a memtide's files are: a benchmark has its own.
const OWN_PLACES: &[&str] =
    &["MEMTIDE_DATA_DIR", "MEMTIDE_CONFIG", "MEMTIDE_MODEL_DIR", "MEMTIDE_SOCKET", "MEMTIDE_LOG"];

pub(super) fn run(session: &Session, args: args::Bench) -> Result<ExitCode, Failure> {
    if args.set.is_some() && args.what != args::BenchKind::Retrieval {
        return Err(Failure::usage("--set is for `memtide bench retrieval`"));
    }
    if args.what == args::BenchKind::Instructions
        && let [work, n, path] = args.work.as_slice()
    {
        return work_for(session, work, n, path);
    }
    let is_search = args.what == args::BenchKind::Search;
    for (name, is_given) in
        [("--against", !args.against.is_empty()), ("--plot", args.plot.is_some())]
    {
        if is_given && !is_search {
            return Err(Failure::usage(format!("{name} is for `memtide bench search`")));
        }
    }
    let launch = session.launch("client")?;
    let is_passed_on = |name: &OsString| !OWN_PLACES.iter().any(|own| *own == name);
    let environment = launch.environment.into_iter().filter(|(name, _)| is_passed_on(name));
    let options = session.embedder_options()?;
    let bench = Bench {
        program: launch.program,
        environment: environment.collect(),
        model: options.model,
        model_dir: options.models,
        folder: args.dir.clone().unwrap_or_else(std::env::temp_dir),
        seed: args.seed,
        sizes: args.sizes,
        samples: args.samples.max(1),
        say: &|text| output::note(text),
    };
    let rivals: BTreeSet<Rival> = args.against.into_iter().collect();
    let report = if rivals.is_empty() {
        session.block_on(measure(&bench, args.what, args.set.as_deref()))
    } else {
        against::run(&bench, &Against { rivals, dims: args.dims, python: args.python })
    };
    let mut report = report?;
    report.finish();
    if let Some(file) = &args.plot {
        let drawing = if report.bench == search::NAME {
            search::plot(&report)
        } else {
            against::plot(&report)
        };
        std::fs::write(file, drawing)?;
    }
    if args.json {
        output::json(&report)?;
    } else {
        output::line(&report.to_text())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the counted process does.
fn work_for(session: &Session, work: &OsStr, n: &OsStr, path: &OsStr) -> Result<ExitCode, Failure> {
    let model = session.embedder_options()?.model;
    let (work, n) = (work.to_string_lossy(), n.to_string_lossy());
    let done = instructions::work(model, &work, &n, Path::new(path));
    output::line(session.block_on(done)?)?;
    Ok(ExitCode::SUCCESS)
}

async fn measure(
    bench: &Bench<'_>,
    what: args::BenchKind,
    set: Option<&Path>,
) -> anyhow::Result<Report> {
    match what {
        args::BenchKind::Store => store::run(bench).await,
        args::BenchKind::Search => search::run(bench).await,
        args::BenchKind::Retrieval => retrieval::run(bench, set).await,
        args::BenchKind::Clients => clients::run(bench).await,
        args::BenchKind::Startup => startup::run(bench).await,
        args::BenchKind::Sync => sync(bench).await,
        args::BenchKind::Converge => converge(bench).await,
        args::BenchKind::Migrate => migrate::run(bench).await,
        args::BenchKind::Instructions => instructions::run(bench).await,
    }
}

#[cfg(not(feature = "emulator"))]
async fn sync(_: &Bench<'_>) -> anyhow::Result<Report> {
    anyhow::bail!(
        "this build has no emulated cloud; run `cargo run --release --features emulator -- bench …`"
    )
}

#[cfg(not(feature = "emulator"))]
async fn converge(bench: &Bench<'_>) -> anyhow::Result<Report> {
    sync(bench).await
}
