//! The processor's instructions that one search and one store take, counted by valgrind. They say what a change
//! of the program costs where times don't: on a machine that is busy.
//!
//! The program counts itself: it runs under valgrind twice, the second time with a few operations more, and the
//! difference is theirs. The operations go to the store as the daemon gives them, without socket and model. Valgrind
//! knows no AVX-512, and the program chooses what it multiplies with by what the processor says it can.

use super::fill::{self, Vectors};
use super::report::Report;
use super::rig::{Bench, Rig};
use super::text::{Author, TOPICS};
use crate::clock::SystemClock;
use crate::embed::manifest::Model;
use crate::model::filter::Filter;
use crate::store::search::{self, Mode, Search};
use crate::store::{Store, memory, vector};
use anyhow::Context as _;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Stdio};

/// Operations that both processes do, so that what is done once is done.
const WARM_UP: usize = 5;
/// Operations of the second process alone.
const COUNTED: usize = 20;
/// Best hits of a search.
const HITS: usize = 10;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Searches by meaning and words.
    Search,
    /// Stores, each with its commit.
    Store,
}

impl Work {
    const ALL: [Self; 2] = [Self::Search, Self::Store];

    /// Its name on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Store => "store",
        }
    }

    /// The one of this name.
    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|work| work.name() == name)
    }
}

/// Runs it.
///
/// # Errors
/// There is no valgrind, or the counted process fails.
pub async fn run(bench: &Bench<'_>) -> anyhow::Result<Report> {
    let mut report = Report::new("instructions", bench.model.name, bench.seed);
    let version = version()?;
    let mut kernel = String::new();
    for size in &bench.sizes {
        let rig = bench.rig(*size).await?;
        for work in Work::ALL {
            (bench.say)(&format!("counting: {}, {size} memories", work.name()));
            let few = count(&rig, work, WARM_UP)?;
            let many = count(&rig, work, WARM_UP + COUNTED)?;
            let what = format!("instructions of one {}", work.name());
            report.figure(&what, Some(*size), per_operation(few.0, many.0), "thousand");
            kernel = many.1;
        }
    }
    report.note(format!("counted by {version}: a process with {WARM_UP} operations against one with {COUNTED} more; all threads of the store, no socket, no model; vectors of queries are synthetic, and multiplied with {kernel}"));
    report.note(fill::NOTE);
    Ok(report)
}

fn version() -> anyhow::Result<String> {
    match Command::new("valgrind").arg("--version").output() {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Err(error) if error.kind() == ErrorKind::NotFound => anyhow::bail!(
            "valgrind, which counts, is not on the PATH; install the package `valgrind` of your system"
        ),
        Err(error) => Err(error).context("run valgrind"),
    }
}

/// Instructions of a process that does `n` operations on a copy of the rig's memories, and what it said.
fn count(rig: &Rig, work: Work, n: usize) -> anyhow::Result<(u64, String)> {
    let folder = tempfile::tempdir_in(rig.scratch())?;
    let (database, log) = (folder.path().join("counted.db"), folder.path().join("log"));
    std::fs::copy(rig.database(), &database)?;
    let output = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"])
        .arg(format!("--log-file={}", log.display()))
        .arg(rig.program())
        .args(["bench", "instructions", "--work", work.name(), &n.to_string()])
        .arg(&database)
        .env_clear()
        .envs(rig.environment(super::rig::WithModel::No))
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let log = std::fs::read_to_string(&log).unwrap_or_default();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    anyhow::ensure!(output.status.success(), "the counted process failed: {complaint}{log}");
    let n = counted(&log).with_context(|| format!("valgrind told no number: {log}"))?;
    Ok((n, said))
}

/// The number in the summary of valgrind.
fn counted(log: &str) -> Option<u64> {
    let number = log.lines().find_map(|line| {
        let (name, number) = line.rsplit_once(':')?;
        let is_it = name.split_whitespace().rev().take(2).eq(["refs", "I"]);
        is_it.then_some(number)
    })?;
    number.trim().replace(',', "").parse().ok()
}

/// Thousands for one operation.
#[expect(clippy::cast_precision_loss, reason = "a count is shown with three digits")]
fn per_operation(few: u64, many: u64) -> f64 {
    many.saturating_sub(few) as f64 / COUNTED as f64 / 1e3
}

/// What the counted process does: `n` times `work` on the database at `path`. Tells what multiplies.
///
/// # Errors
/// The work has no such name, or the store refuses.
pub async fn work(model: &Model, work: &str, n: &str, path: &Path) -> anyhow::Result<&'static str> {
    let work = Work::named(work).with_context(|| format!("there is no work {work:?}"))?;
    let n: usize = n.parse()?;
    let store = Store::open(&fill::options(path, 0), SystemClock::shared())?;
    store.wait_until_filled();
    // Other texts than those that are there.
    let mut author = Author::new(u64::MAX);
    let mut vectors = Vectors::new(1, model.dims());
    for nth in 0..n {
        match work {
            Work::Search => {
                let vector = vectors.near(nth % TOPICS).context("a vector without direction")?;
                let search = Search {
                    query: author.question(),
                    vector: Some((model.space(), vector)),
                    mode: Mode::Hybrid,
                    filter: Filter::default(),
                    limit: HITS,
                };
                let found = store
                    .read(move |read| Ok((search::run(read, &search)?, vector::n_waiting(read)?)));
                anyhow::ensure!(!found.await?.0.is_empty(), "nothing was found");
            }
            Work::Store => {
                let passage = author.passage();
                let draft = fill::draft(format!("new {}", passage.text), &passage.tags)?;
                store.write(move |write| memory::store(write, &draft)).await?;
            }
        }
    }
    store.close();
    Ok(store.kernel())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_in_what_valgrind_says() {
        let log = "==7== Cachegrind, a high-precision tracing profiler\n==7== Command: memtide\n==7== \n==7== I refs:        1,234,567\n";
        assert_eq!(counted(log), Some(1_234_567));
        assert_eq!(counted("==7== I   refs:      12\n==7== I1  misses:   3"), Some(12));
        assert_eq!(counted("==7== Command: memtide"), None);
        assert!((per_operation(1_000_000, 1_000_000 + 20 * 5_000) - 5.0).abs() < 1e-9);
        assert!(per_operation(5, 4).abs() < 1e-9);
    }

    #[tokio::test]
    async fn the_counted_process_does_its_work_on_the_file_that_it_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memtide.db");
        let model = crate::embed::manifest::MODELS.first().unwrap();
        fill::fill(&path, 60, &mut Author::new(5), model, 5).await.unwrap();
        for name in Work::ALL.map(Work::name) {
            assert!(!work(model, name, "2", &path).await.unwrap().is_empty());
        }
        assert!(work(model, "sing", "2", &path).await.is_err());
        let store = Store::open(&fill::options(&path, 0), SystemClock::shared()).unwrap();
        let n = store.read(|read| Ok(crate::store::stats::stats(read)?.memories)).await.unwrap();
        assert_eq!(n, 62);
    }
}
