//! What a benchmark answers: timings, figures and targets, with everything one needs to know to compare
//! them with another run. One shape for the table and for JSON.

use super::process;
use super::spread::Spread;
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;
use std::time::Duration;

/// The outcome of one benchmark.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Which benchmark.
    pub bench: &'static str,
    /// Version of memtide.
    pub version: &'static str,
    /// `release` or `debug`: figures of a debug build say nothing about the product.
    pub build: &'static str,
    /// Version of SQLite.
    pub sqlite: &'static str,
    /// The embedding model.
    pub model: &'static str,
    /// Seed of texts and vectors.
    pub seed: u64,
    /// Where it ran.
    pub machine: Machine,
    /// How long things took.
    pub timings: Vec<Timing>,
    /// What else was counted.
    pub figures: Vec<Figure>,
    /// What was compared.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub grids: Vec<Grid>,
    /// What was to be reached.
    pub targets: Vec<Target>,
    /// What one must know to read the figures.
    pub notes: Vec<String>,
}

/// The machine and how busy it was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Machine {
    /// Operating system.
    pub os: &'static str,
    /// Processor architecture.
    pub arch: &'static str,
    /// Processors this process may use.
    pub cores: usize,
    /// Load average of one minute before the run; above 0 others were at work.
    pub load_before: Option<f64>,
    /// The same after it, the benchmark's own load included.
    pub load_after: Option<f64>,
}

/// How long one thing took, many times.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timing {
    /// What was timed.
    pub what: String,
    /// Memories that were present, where it matters.
    pub memories: Option<usize>,
    /// The percentiles.
    #[serde(flatten)]
    pub spread: Spread,
    /// How many a second there were in all, where that was measured.
    pub per_second: Option<f64>,
}

/// A single number.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What was counted.
    pub what: String,
    /// Memories that were present, where it matters.
    pub memories: Option<usize>,
    /// The number.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
}

/// Several things, each by the same numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Grid {
    /// What the rows are.
    pub what: &'static str,
    /// What the numbers of a row are.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<GridRow>,
}

/// One thing by its numbers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GridRow {
    /// What it is.
    pub name: String,
    /// A number for each column.
    pub values: Vec<f64>,
}

/// A figure that has a bound.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Target {
    /// What is bounded.
    pub what: String,
    /// What was measured.
    pub measured: f64,
    /// What it may be at most (or at least, see `is_ceiling`).
    pub bound: f64,
    /// Whether the bound is the most it may be; else it is the least.
    pub is_ceiling: bool,
    /// Unit of both.
    pub unit: &'static str,
    /// Whether it is kept.
    pub is_met: bool,
}

impl Report {
    /// An empty report of `bench`.
    pub fn new(bench: &'static str, model: &'static str, seed: u64) -> Self {
        Self {
            bench,
            version: env!("CARGO_PKG_VERSION"),
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
            sqlite: rusqlite::version(),
            model,
            seed,
            machine: Machine {
                os: std::env::consts::OS,
                arch: std::env::consts::ARCH,
                cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
                load_before: process::load(),
                load_after: None,
            },
            timings: Vec::new(),
            figures: Vec::new(),
            grids: Vec::new(),
            targets: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a timing and returns its spread.
    pub fn timing(
        &mut self,
        what: &str,
        memories: Option<usize>,
        durations: &[Duration],
        per_second: Option<f64>,
    ) -> Spread {
        let spread = Spread::of(durations);
        let per_second = per_second.map(rounded);
        self.timings.push(Timing { what: what.to_owned(), memories, spread, per_second });
        spread
    }

    /// Adds a number.
    pub fn figure(&mut self, what: &str, memories: Option<usize>, value: f64, unit: &'static str) {
        let value = rounded(value);
        self.figures.push(Figure { what: what.to_owned(), memories, value, unit });
    }

    /// Adds a comparison: names with a number for each column.
    pub fn grid(&mut self, what: &'static str, columns: &[&str], rows: Vec<(String, Vec<f64>)>) {
        let row = |(name, values): (String, Vec<f64>)| GridRow {
            name,
            values: values.into_iter().map(rounded).collect(),
        };
        let rows = rows.into_iter().map(row).collect();
        let columns = columns.iter().map(|&column| column.to_owned()).collect();
        self.grids.push(Grid { what, columns, rows });
    }

    /// Adds a bound from above.
    pub fn at_most(&mut self, what: &str, measured: f64, bound: f64, unit: &'static str) {
        self.target(what, measured, bound, unit, true);
    }

    /// Adds a bound from below.
    pub fn at_least(&mut self, what: &str, measured: f64, bound: f64, unit: &'static str) {
        self.target(what, measured, bound, unit, false);
    }

    fn target(
        &mut self,
        what: &str,
        measured: f64,
        bound: f64,
        unit: &'static str,
        is_ceiling: bool,
    ) {
        self.targets.push(Target {
            what: what.to_owned(),
            measured: rounded(measured),
            bound: rounded(bound),
            is_ceiling,
            unit,
            is_met: if is_ceiling { measured <= bound } else { measured >= bound },
        });
    }

    /// Adds what one must know.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Notes how busy the machine is at the end.
    pub fn finish(&mut self) {
        self.machine.load_after = process::load();
    }

    /// Tables for people, in a form that can be pasted into Markdown.
    pub fn to_text(&self) -> String {
        let load = |load: Option<f64>| load.map_or_else(|| "?".to_owned(), |load| load.to_string());
        let mut text = format!(
            "bench {}: memtide {} ({} build), SQLite {}, {}, {} cores, {} {}, load {} before and {} after, seed {}\n",
            self.bench,
            self.version,
            self.build,
            self.sqlite,
            self.model,
            self.machine.cores,
            self.machine.os,
            self.machine.arch,
            load(self.machine.load_before),
            load(self.machine.load_after),
            self.seed,
        );
        if !self.timings.is_empty() {
            let head = ["ms", "memories", "p50", "p95", "p99", "max", "n", "per second"];
            let rows = self.timings.iter().map(Timing::cells).collect();
            text.push_str(&format!("\n{}\n", table(&head, rows)));
        }
        if !self.figures.is_empty() {
            let rows = self.figures.iter().map(Figure::cells).collect();
            text.push_str(&format!(
                "\n{}\n",
                table(&["figure", "memories", "value", "unit"], rows)
            ));
        }
        for grid in &self.grids {
            let head: Vec<&str> =
                std::iter::once(grid.what).chain(grid.columns.iter().map(String::as_str)).collect();
            let rows = grid.rows.iter().map(GridRow::cells).collect();
            text.push_str(&format!("\n{}\n", table(&head, rows)));
        }
        if !self.targets.is_empty() {
            let rows = self.targets.iter().map(Target::cells).collect();
            let head = ["target", "measured", "bound", "unit", "kept"];
            text.push_str(&format!("\n{}\n", table(&head, rows)));
        }
        for note in &self.notes {
            text.push_str(&format!("\n- {note}"));
        }
        text
    }
}

fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN).set_header(head.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for n in 1..head.len() {
        if let Some(column) = table.column_mut(n) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

impl Timing {
    fn cells(&self) -> Vec<String> {
        let spread = &self.spread;
        vec![
            self.what.clone(),
            count(self.memories),
            ms(spread.p50_ms),
            ms(spread.p95_ms),
            ms(spread.p99_ms),
            ms(spread.max_ms),
            spread.n.to_string(),
            self.per_second.map(number).unwrap_or_default(),
        ]
    }
}

impl Figure {
    fn cells(&self) -> Vec<String> {
        vec![self.what.clone(), count(self.memories), number(self.value), self.unit.to_owned()]
    }
}

impl GridRow {
    fn cells(&self) -> Vec<String> {
        let values = self.values.iter().copied().map(number);
        std::iter::once(self.name.clone()).chain(values).collect()
    }
}

impl Target {
    fn cells(&self) -> Vec<String> {
        let sign = if self.is_ceiling { "≤" } else { "≥" };
        vec![
            self.what.clone(),
            number(self.measured),
            format!("{sign} {}", number(self.bound)),
            self.unit.to_owned(),
            if self.is_met { "yes" } else { "NO" }.to_owned(),
        ]
    }
}

fn count(n: Option<usize>) -> String {
    n.map(|n| n.to_string()).unwrap_or_default()
}

fn ms(value: f64) -> String {
    format!("{value:.3}")
}

/// As many digits as say something.
fn number(value: f64) -> String {
    match value.abs() {
        size if size.fract().abs() < f64::EPSILON => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// Bytes in megabytes of 10^6.
#[expect(clippy::cast_precision_loss, reason = "a size is shown with three digits")]
pub fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// How many of `n` there were in each second of `time`.
#[expect(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
pub fn rate(n: usize, time: Duration) -> f64 {
    n as f64 / time.as_secs_f64().max(1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::new("store", "some-model", 7);
        let durations = [1, 2, 3].map(Duration::from_millis);
        let spread = report.timing("store", Some(1000), &durations, Some(512.25));
        report.figure("database", None, 12.0, "MB");
        report.grid("order", &["recall"], vec![("by age".to_owned(), vec![0.123_456])]);
        report.at_most("store p50", spread.p50_ms, 2.5, "ms");
        report.at_least("throughput", 512.0, 600.0, "stores/s");
        report.note("vectors are synthetic");
        report
    }

    #[test]
    fn json_has_stable_names() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["bench"], "store");
        assert_eq!(json["timings"][0]["what"], "store");
        assert_eq!(json["timings"][0]["memories"], 1000);
        assert_eq!(json["timings"][0]["p50_ms"], 2.0);
        assert_eq!(json["timings"][0]["per_second"], 512.25);
        assert_eq!(json["figures"][0]["unit"], "MB");
        assert_eq!(json["grids"][0]["rows"][0]["values"][0], 0.1235);
        assert_eq!(json["targets"][0]["is_met"], true);
        assert_eq!(json["targets"][1]["is_met"], false);
        assert!(json["machine"]["cores"].as_u64().unwrap() >= 1);
        assert_eq!(json["notes"][0], "vectors are synthetic");
    }

    #[test]
    fn the_text_shows_every_row() {
        let text = report().to_text();
        for part in [
            "some-model",
            "2.000",
            "1000",
            "512",
            " 12 |",
            "| order ",
            "by age",
            "0.123",
            "≤ 2.500",
            "≥ 600",
            "NO",
            "seed 7",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
        assert!(text.ends_with("- vectors are synthetic"), "{text}");
    }

    #[test]
    fn rates_and_sizes() {
        assert!((rate(50, Duration::from_millis(500)) - 100.0).abs() < 1e-9);
        assert!((megabytes(2_500_000) - 2.5).abs() < 1e-9);
    }
}
