//! How near memtide's search by meaning is to what the machine can do, and how others compare: on the same
//! vectors, in the same run, in turns, one at a time.
//!
//! Everybody answers the same queries for the nearest 10 of the same rows. Answers are held against the truth,
//! which is worked out here. Times of a run are worth comparing with each other only.

pub mod bandwidth;
pub mod exact;
pub mod ours;
pub mod python_service;
pub mod sqlite_vec;
pub mod usearch;
pub mod vectors;

mod measure;
mod verdict;

use super::plot::{self, Role, Series};
use super::report::{Report, Timing};
use super::rig::Bench;
use super::text::Author;
use anyhow::Context as _;
use bandwidth::Bandwidth;
use clap::ValueEnum;
use exact::Truth;
use ours::Ours;
use python_service::PythonService;
use sqlite_vec::SqliteVec;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;
use usearch::{Python, Usearch};
use vectors::{Texts, Vectors};

/// Its name in a report.
pub const NAME: &str = "search --against";
/// Rows that an answer has.
pub const K: usize = 10;
/// What one row in 64 is tagged with.
pub const TAG: &str = "rare";

/// Whom to compare with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Rival {
    /// The `vec0` table of sqlite-vec.
    SqliteVec,
    /// usearch, exact and HNSW, through Python.
    Usearch,
    /// Reading the bytes that are scanned, nothing else.
    Bandwidth,
    /// The statements of mcp-memory-service.
    PythonService,
    /// All of them.
    All,
}

/// What is compared.
#[derive(Debug, Clone)]
pub struct Against {
    /// With whom.
    pub rivals: BTreeSet<Rival>,
    /// Components of the vectors, one comparison for each.
    pub dims: Vec<usize>,
    /// The interpreter of Python that has usearch.
    pub python: PathBuf,
}

impl Against {
    fn has(&self, rival: Rival) -> bool {
        self.rivals.contains(&rival) || self.rivals.contains(&Rival::All)
    }
}

/// Which rows may be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// All.
    All,
    /// Those with [`TAG`], 1.6 of 100.
    Tagged,
    /// The last thirtieth.
    Late,
}

impl Case {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::All, Self::Tagged, Self::Late];

    /// Whether a row of `n` may be found.
    pub fn passes(self, row: usize, n: usize) -> bool {
        match self {
            Self::All => row < n,
            Self::Tagged => row < n && row % 64 == 5,
            Self::Late => row < n && row >= n - n / 30,
        }
    }
}

/// One way of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// What the report calls it.
    pub name: &'static str,
    /// Which rows it asks for.
    pub case: Case,
    /// Whether rows come back, which are held against the truth.
    pub answers: bool,
}

/// What one query found, and how long that took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The rows, nearest first.
    pub rows: Vec<usize>,
    /// How long it took.
    pub took: Duration,
}

/// Somebody who holds all vectors and answers queries.
pub trait Side {
    /// The ways in which it can be asked.
    fn shapes(&self) -> &'static [Shape];

    /// Answers queries, by their numbers, one after the other.
    ///
    /// # Errors
    /// It can't.
    fn ask(&mut self, shape: &Shape, queries: &[usize]) -> anyhow::Result<Vec<Answer>>;
}

/// Texts and tags of the rows, in their order.
pub struct Rows {
    author: Author,
    row: usize,
    n: usize,
}

impl Rows {
    /// Those of `n` rows.
    pub fn new(seed: u64, n: usize) -> Self {
        Self { author: Author::new(seed), row: 0, n }
    }
}

impl Iterator for Rows {
    type Item = (String, Vec<String>);

    fn next(&mut self) -> Option<Self::Item> {
        let (row, n) = (self.row, self.n);
        self.row += 1;
        (row < n).then(|| {
            let passage = self.author.passage();
            let rare = Case::Tagged.passes(row, n).then(|| TAG.to_owned());
            (passage.text, passage.tags.into_iter().chain(rare).collect())
        })
    }
}

/// Runs it.
///
/// # Errors
/// The model isn't there, or somebody refuses the vectors.
pub fn run(bench: &Bench<'_>, against: &Against) -> anyhow::Result<Report> {
    let mut report = Report::new(NAME, bench.model.name, bench.seed);
    let python = Python { program: against.python.clone(), environment: bench.environment.clone() };
    if against.has(Rival::Usearch) {
        python.check()?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let texts = runtime.block_on(Texts::embed(bench))?;
    for dims in &against.dims {
        for size in &bench.sizes {
            let vectors = texts.vectors(*dims, *size, bench.seed)?;
            compare(bench, against, &python, &vectors, &mut report)?;
        }
    }
    verdict::notes(&mut report);
    Ok(report)
}

/// What is drawn: searches of one kind.
const DRAWN: &[&str] = &[
    ours::NEAREST,
    bandwidth::READ,
    sqlite_vec::STRAIGHT,
    sqlite_vec::COSINE,
    python_service::NEAREST,
    python_service::RETRIEVE,
    usearch::EXACT,
    usearch::HNSW,
];

/// Draws a report of it: the vectors of the fewest components.
pub fn plot(report: &Report) -> String {
    let parts = |timing: &Timing| {
        let (name, dims) = timing.what.rsplit_once(", ")?;
        let is_drawn = DRAWN.contains(&name);
        is_drawn.then_some((name.to_owned(), dims.parse::<usize>().ok()?))
    };
    let fewest = report.timings.iter().filter_map(|one| Some(parts(one)?.1)).min().unwrap_or(0);
    let series = Series::of(report, |timing| {
        parts(timing).filter(|(_, dims)| *dims == fewest).map(|(name, _)| name)
    });
    let in_role = |one: Series| {
        one.in_role(ours::NEAREST, Role::Subject).in_role(bandwidth::READ, Role::Limit)
    };
    let series: Vec<Series> = series.into_iter().map(in_role).collect();
    let subtitle = format!("vectors of {fewest} components, all in one run");
    plot::svg("The nearest 10 memories", &subtitle, &series)
}

/// Compares all on one set of vectors.
fn compare(
    bench: &Bench<'_>,
    against: &Against,
    python: &Python,
    vectors: &Vectors,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (n, dims) = (vectors.len(), vectors.dims);
    let folder = tempfile::Builder::new()
        .prefix("memtide-bench-")
        .tempdir_in(&bench.folder)
        .with_context(|| format!("make a folder in {}", bench.folder.display()))?;
    let say = |what: &str| (bench.say)(&format!("{what} {n} vectors of {dims}"));
    say("ranking exactly");
    let truth = Truth::of(vectors, K, &Case::ALL);
    say("writing memtide's store of");
    let ours = Ours::fill(folder.path(), vectors, Rows::new(bench.seed, n))?;
    let ready_in = ours.ready_in;
    let mut sides: Vec<Box<dyn Side>> = vec![Box::new(ours)];
    if against.has(Rival::Bandwidth) {
        sides.push(Box::new(Bandwidth::new(n, dims)));
    }
    if against.has(Rival::SqliteVec) {
        say("writing sqlite-vec's tables of");
        sides.push(Box::new(SqliteVec::fill(folder.path(), vectors)?));
    }
    if against.has(Rival::PythonService) {
        say("writing the Python service's file of");
        let texts = Rows::new(bench.seed, n);
        sides.push(Box::new(PythonService::fill(folder.path(), vectors, texts)?));
    }
    let mut built_in = None;
    if against.has(Rival::Usearch) {
        say("building usearch's indexes of");
        let usearch = Usearch::fill(folder.path(), vectors, python)?;
        built_in = usearch.built_in;
        sides.push(Box::new(usearch));
    }
    say("searching");
    let measured = measure::all(&mut sides, vectors, &truth, bench.samples)?;
    for one in &measured {
        one.tell(report, n, dims);
    }
    verdict::targets(report, &measured, n, dims);
    verdict::building(report, ready_in, built_in, n, dims);
    Ok(())
}

#[cfg(test)]
mod tests;
