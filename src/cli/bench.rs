//! `memtide bench`.

use super::failure::Failure;
use super::session::Session;
use super::{args, output};
use crate::bench::rig::Bench;
use crate::bench::{clients, instructions, migrate, retrieval, search, startup, store};
#[cfg(feature = "emulator")]
use crate::bench::{converge::run as converge, sync::run as sync};
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
    if let [work, n, path] = args.work.as_slice() {
        return work_for(session, work, n, path);
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
    let report = session.block_on(async {
        match args.what {
            args::BenchKind::Store => store::run(&bench).await,
            args::BenchKind::Search => search::run(&bench).await,
            args::BenchKind::Retrieval => retrieval::run(&bench, args.set.as_deref()).await,
            args::BenchKind::Clients => clients::run(&bench).await,
            args::BenchKind::Startup => startup::run(&bench).await,
            args::BenchKind::Sync => sync(&bench).await,
            args::BenchKind::Converge => converge(&bench).await,
            args::BenchKind::Migrate => migrate::run(&bench).await,
            args::BenchKind::Instructions => instructions::run(&bench).await,
        }
    });
    let mut report = report?;
    report.finish();
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

#[cfg(not(feature = "emulator"))]
async fn sync(_: &Bench<'_>) -> anyhow::Result<crate::bench::report::Report> {
    anyhow::bail!(
        "this build has no emulated cloud; run `cargo run --release --features emulator -- bench …`"
    )
}

#[cfg(not(feature = "emulator"))]
async fn converge(bench: &Bench<'_>) -> anyhow::Result<crate::bench::report::Report> {
    sync(bench).await
}
