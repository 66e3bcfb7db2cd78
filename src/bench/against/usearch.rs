//! usearch, exact and by its graph, in a process of Python: that is how it can be had on a machine without a
//! compiler of C++. What a call from Python costs by itself is measured as well and taken off.

use super::vectors::Vectors;
use super::{Answer, Case, K, Shape, Side};
use crate::model::space::UnitVector;
use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// Every vector is looked at.
pub const EXACT: &str = "usearch, exact f32";
/// Its graph.
pub const HNSW: &str = "usearch, HNSW M 16 ef 128";

const SHAPES: &[Shape] = &[
    Shape { name: EXACT, case: Case::All, answers: true },
    Shape { name: HNSW, case: Case::All, answers: true },
];
/// Beyond so many vectors the graph would take many minutes to build.
const HNSW_MAX: usize = 100_000;
/// Calls by which the cost of one is known.
const CALLS: usize = 200;
const SCRIPT: &str = include_str!("usearch.py");

/// An interpreter of Python that has usearch.
#[derive(Debug, Clone)]
pub struct Python {
    /// The program.
    pub program: PathBuf,
    /// Its environment.
    pub environment: Vec<(OsString, OsString)>,
}

/// A process that holds the vectors.
pub struct Usearch {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    shapes: &'static [Shape],
    /// What a call costs by itself.
    call: Duration,
    /// How long the graph took to build, if it was.
    pub built_in: Option<Duration>,
}

#[derive(Deserialize)]
struct Built {
    seconds: f64,
}

#[derive(Deserialize)]
struct Asked {
    ns: Vec<u64>,
    rows: Vec<Vec<usize>>,
}

impl Python {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(self.environment.iter().cloned()).env("PYTHONUTF8", "1");
        command
    }

    /// Makes sure that usearch is there.
    ///
    /// # Errors
    /// It isn't.
    pub fn check(&self) -> anyhow::Result<()> {
        let program = self.program.display();
        let output = self
            .command()
            .args(["-c", "import numpy, usearch.index"])
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("run {program}, which --python names"))?;
        anyhow::ensure!(
            output.status.success(),
            "{program} has no usearch; get it with `{program} -m pip install usearch numpy`, or name another \
             interpreter with --python"
        );
        Ok(())
    }
}

impl Usearch {
    /// Gives it the vectors through files in `folder`.
    ///
    /// # Errors
    /// The process ends or answers something else.
    pub fn fill(folder: &Path, vectors: &Vectors, python: &Python) -> anyhow::Result<Self> {
        let base = folder.join("base.f32");
        write(&base, &vectors.base)?;
        let queries = folder.join("queries.f32");
        let all: Vec<f32> =
            vectors.queries.iter().flat_map(UnitVector::as_slice).copied().collect();
        write(&queries, &all)?;
        let mut child = python
            .command()
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let orders = child.stdin.take().context("no way in")?;
        let answers = BufReader::new(child.stdout.take().context("no way out")?);
        let shapes = if vectors.len() > HNSW_MAX { SHAPES.split_at(1).0 } else { SHAPES };
        let call = Duration::ZERO;
        let mut held = Self { child, orders, answers, shapes, call, built_in: None };
        held.order(json!({"vectors": base, "queries": queries, "dims": vectors.dims}))?;
        held.build("one")?;
        let mut calls: Vec<Duration> = held.asked("one", &vec![0; CALLS])?.1;
        calls.sort_unstable();
        held.call = calls.get(CALLS / 2).copied().unwrap_or_default();
        held.build("exact")?;
        if shapes.len() == SHAPES.len() {
            held.built_in = Some(held.build("hnsw")?);
        }
        Ok(held)
    }

    fn order(&mut self, order: Value) -> anyhow::Result<String> {
        writeln!(self.orders, "{order}")?;
        let mut answer = String::new();
        let n = self.answers.read_line(&mut answer)?;
        anyhow::ensure!(n > 0, "the process with usearch has ended");
        Ok(answer)
    }

    fn build(&mut self, what: &str) -> anyhow::Result<Duration> {
        let answer = self.order(json!({ "build": what }))?;
        let built: Built = serde_json::from_str(&answer)?;
        Ok(Duration::try_from_secs_f64(built.seconds)?)
    }

    fn asked(
        &mut self,
        what: &str,
        queries: &[usize],
    ) -> anyhow::Result<(Vec<Vec<usize>>, Vec<Duration>)> {
        let answer = self.order(json!({"ask": what, "queries": queries, "k": K}))?;
        let asked: Asked = serde_json::from_str(&answer)?;
        Ok((asked.rows, asked.ns.into_iter().map(Duration::from_nanos).collect()))
    }
}

impl Side for Usearch {
    fn shapes(&self) -> &'static [Shape] {
        self.shapes
    }

    fn ask(&mut self, shape: &Shape, queries: &[usize]) -> anyhow::Result<Vec<Answer>> {
        let what = if shape.name == HNSW { "hnsw" } else { "exact" };
        let (rows, took) = self.asked(what, queries)?;
        let call = self.call;
        let answer = |(rows, took): (_, Duration)| Answer { rows, took: took.saturating_sub(call) };
        Ok(rows.into_iter().zip(took).map(answer).collect())
    }
}

impl Drop for Usearch {
    fn drop(&mut self) {
        // Nothing is left to do for it; it may have ended by itself.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn write(path: &Path, values: &[f32]) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for value in values {
        file.write_all(&value.to_le_bytes())?;
    }
    Ok(file.flush()?)
}

#[cfg(test)]
mod tests {
    use super::super::vectors::tests::made_up;
    use super::*;

    /// A process that answers as the script would, without usearch.
    fn stand_in(folder: &Path, says: &str) -> Python {
        let program = folder.join("python");
        std::fs::write(&program, format!("#!/bin/sh\n{says}\n")).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&program, executable).unwrap();
        Python { program, environment: Vec::new() }
    }

    const ANSWERS: &str = r#"while read -r order; do case "$order" in
        *vectors*) echo '{"version": "0"}' ;;
        *build*) echo '{"seconds": 1.5}' ;;
        *'"one"'*) echo '{"ns": [40], "rows": [[0]]}' ;;
        *) echo '{"ns": [1000, 30], "rows": [[4, 2], [7]]}' ;;
    esac; done"#;

    #[test]
    fn what_a_call_costs_is_taken_off() {
        let folder = tempfile::tempdir().unwrap();
        // As if two hundred calls had been asked for.
        let forty = vec!["40"; CALLS].join(",");
        let python = stand_in(folder.path(), &ANSWERS.replace("[40]", &format!("[{forty}]")));
        python.check().unwrap();
        let vectors = made_up(16).vectors(16, 20, 1).unwrap();
        let mut side = Usearch::fill(folder.path(), &vectors, &python).unwrap();
        assert_eq!(side.built_in, Some(Duration::from_millis(1500)));
        let answers = side.ask(&SHAPES[0], &[0, 1]).unwrap();
        let took: Vec<u128> = answers.iter().map(|one| one.took.as_nanos()).collect();
        assert_eq!(took, [960, 0]);
        assert_eq!(answers[0].rows, [4, 2]);
        let bytes = std::fs::read(folder.path().join("base.f32")).unwrap();
        let first = vectors.base[0].to_le_bytes();
        assert_eq!((bytes.len(), &bytes[..4]), (20 * 16 * 4, &first[..]));
    }

    #[test]
    fn one_that_is_missing_or_ends_is_told_of() {
        let folder = tempfile::tempdir().unwrap();
        let python = stand_in(folder.path(), "exit 1");
        let said = python.check().unwrap_err().to_string();
        let program = python.program.display();
        assert_eq!(
            said,
            format!(
                "{program} has no usearch; get it with `{program} -m pip install usearch numpy`, or name \
                 another interpreter with --python"
            )
        );
        let vectors = made_up(16).vectors(16, 20, 1).unwrap();
        assert!(Usearch::fill(folder.path(), &vectors, &python).is_err());
        let nobody = Python { program: "/nowhere/python".into(), environment: Vec::new() };
        let said = nobody.check().unwrap_err().to_string();
        assert_eq!(said, "run /nowhere/python, which --python names");
    }
}
