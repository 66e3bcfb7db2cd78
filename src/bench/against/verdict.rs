//! What the comparison was to show, and whether it does.

use super::measure::Measured;
use super::{bandwidth, ours, python_service, sqlite_vec, usearch};
use crate::bench::report::Report;
use std::time::Duration;

/// Numbers of vectors for which times have targets.
const SIZES: std::ops::RangeInclusive<usize> = 10_000..=100_000;
/// Beyond so many vectors one bit a component chooses first.
const MANY: usize = 1_000_000;
/// The share of the nearest rows that must be found, up to 100,000 vectors and beyond.
const RECALL: f64 = 0.999;
const RECALL_OF_MANY: f64 = 0.97;
/// What a search may take beyond reading the codes.
const OVER_READING: f64 = 1.25;
/// How many times faster than sqlite-vec's table of single precision.
const OVER_SQLITE_VEC: f64 = 25.0;
/// How many times faster than the Python service's statements, for a search that is filtered.
const OVER_FILTERED: f64 = 100.0;
/// The same for a whole search, at 10,000 memories and from 100,000 on.
const OVER_RETRIEVE: f64 = 20.0;
const OVER_RETRIEVE_OF_MANY: f64 = 40.0;
/// How many times faster than usearch's exact search, and than its graph.
const OVER_USEARCH: f64 = 5.0;
const OVER_HNSW: f64 = 1.0;
/// How many times faster the vectors are in memory than its graph is built.
const OVER_BUILDING: f64 = 50.0;
/// Milliseconds for a million vectors of 384 components.
const MANY_MS: f64 = 10.0;

/// Adds recalls and ratios, each with its bound.
pub fn targets(report: &mut Report, all: &[Measured], n: usize, dims: usize) {
    let of = |name: &str| all.iter().find(|one| one.shape.name == name);
    let rows = all.iter().filter(|one| one.shape.answers);
    for one in rows {
        let what = format!("recall at 10: {}, {dims}", one.shape.name);
        if one.shape.name.starts_with("memtide") {
            let bound = if n > *SIZES.end() { RECALL_OF_MANY } else { RECALL };
            report.at_least(&format!("{what} x {n}"), one.recall(), bound, "");
            if one.n_lacking > 0 {
                let what = format!("rows that answers lack: {}, {dims} x {n}", one.shape.name);
                report.at_most(&what, number(one.n_lacking), 0.0, "rows");
            }
        } else {
            report.figure(&what, Some(n), one.recall(), "");
        }
    }
    let p50 = |name: &str| of(name).map(Measured::p50_ms);
    let ratio = |slow: &str, fast: &str| Some(p50(slow)? / p50(fast)?.max(f64::MIN_POSITIVE));
    let has_targets = SIZES.contains(&n);
    let of = |what: &str| format!("{what}, {dims} x {n}");
    if let Some(ratio) = ratio(ours::NEAREST, bandwidth::READ) {
        let what = of("memtide against reading its codes");
        if has_targets {
            report.at_most(&what, ratio, OVER_READING, "x");
        }
        if let Some(read) = p50(bandwidth::READ) {
            let gigabytes = number(n * dims) / 1e6 / read.max(f64::MIN_POSITIVE);
            report.figure(&format!("read by one thread, {dims}"), Some(n), gigabytes, "GB/s");
        }
    }
    let retrieve = if n < *SIZES.end() { OVER_RETRIEVE } else { OVER_RETRIEVE_OF_MANY };
    for (slow, fast, bound) in [
        (sqlite_vec::STRAIGHT, ours::NEAREST, OVER_SQLITE_VEC),
        (sqlite_vec::COSINE, ours::NEAREST, OVER_SQLITE_VEC),
        (python_service::RETRIEVE, ours::RETRIEVE, retrieve),
        (python_service::TAGGED, ours::TAGGED, OVER_FILTERED),
        (python_service::LATE, ours::LATE, OVER_FILTERED),
        (usearch::EXACT, ours::NEAREST, OVER_USEARCH),
        (usearch::HNSW, ours::NEAREST, OVER_HNSW),
    ] {
        if let Some(ratio) = ratio(slow, fast).filter(|_| has_targets) {
            report.at_least(&of(&format!("{fast}, against {slow}")), ratio, bound, "x");
        }
    }
    for (slow, fast) in [
        (sqlite_vec::MAPPED, ours::NEAREST),
        (python_service::NEAREST, ours::NEAREST),
        (python_service::TAGGED_12, ours::TAGGED),
    ] {
        if let Some(ratio) = ratio(slow, fast) {
            report.figure(&format!("{fast}, against {slow}, {dims}"), Some(n), ratio, "x");
        }
    }
    if let Some(took) = p50(ours::NEAREST).filter(|_| n == MANY && dims == 384) {
        report.at_most(&of("memtide"), took, MANY_MS, "ms");
    }
}

/// Adds how soon after its start a store has its vectors in memory, and how long a graph takes to build.
pub fn building(
    report: &mut Report,
    ready_in: Duration,
    built_in: Option<Duration>,
    n: usize,
    dims: usize,
) {
    let ready_in = ready_in.as_secs_f64();
    let what = format!("vectors in memory after the start, {dims}");
    report.figure(&what, Some(n), ready_in * 1e3, "ms");
    let Some(built_in) = built_in else { return };
    let built_in = built_in.as_secs_f64();
    report.figure(&format!("{} built, {dims}", usearch::HNSW), Some(n), built_in * 1e3, "ms");
    if SIZES.contains(&n) {
        let what = format!("memtide in memory, against {} built, {dims} x {n}", usearch::HNSW);
        report.at_least(&what, built_in / ready_in.max(f64::MIN_POSITIVE), OVER_BUILDING, "x");
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure is shown with three digits")]
fn number(n: usize) -> f64 {
    n as f64
}

/// What one must know to read the figures.
pub fn notes(report: &mut Report) {
    for note in [
        "the names end with the components of the vectors; all sides hold the same ones and answer the same queries for the nearest 10, in turns, one at a time",
        "the vectors are the model's, of short texts; beyond those a + 0.7 (b - c) of them, b and c of one topic; queries are texts of their own. Twice the model's components are those of two texts of one topic, as the built-in model has 384",
        "above 16,000 vectors memtide has a second thread look at a part of them where a processor is idle; everybody else uses one, the reading of the codes too",
        "memtide is its store on a file, its codes in memory, ranked by the vectors in the file; nothing of the daemon, the socket or the model is in its times",
        "the Python service is its SQL statements alone, without Python: the service itself is slower",
        "usearch is asked through Python; what a call by itself takes, on an index of one vector, is taken off",
        "a tag is on 1.6 of 100 rows, 3.3 of 100 are of late",
    ] {
        report.note(note);
    }
}
