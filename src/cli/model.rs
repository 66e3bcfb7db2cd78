//! `memtide model`.

use super::failure::{Code, Failure};
use super::session::Session;
use super::{args, output};
use crate::config::edit;
use crate::embed::assets::Condition;
use crate::embed::embedder::EmbedderOptions;
use crate::embed::manifest::{MODELS, Model};
use crate::embed::progress::Progress;
use crate::embed::pull::{Pulled, Sources};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

pub(super) fn run(session: &Session, command: args::Model) -> Result<ExitCode, Failure> {
    match command {
        args::Model::List(args) => list(session, &args)?,
        args::Model::Pull(args) => {
            let pulled = pull_missing(session, args.from)?;
            if pulled.fetched.is_empty() {
                output::note("every file is here");
            }
            reload(session, &json!({}))?;
        }
        args::Model::Use(args) => choose(session, &args.name)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(session: &Session, args: &args::JsonOnly) -> Result<(), Failure> {
    let chosen = session.embedder_options()?.model.name;
    let folder = session.embedder_options()?.folder();
    for model in MODELS {
        let mut is_here = true;
        for asset in [&model.weights, &model.tokenizer] {
            is_here &= folder.condition(asset)? == Condition::Complete;
        }
        let is_chosen = model.name == chosen;
        if args.json {
            output::json(&json!({
                "name": model.name, "dims": model.dims(), "window": model.window,
                "chosen": is_chosen, "here": is_here,
            }))?;
        } else {
            let mark = if is_chosen { "*" } else { " " };
            let here = if is_here { "here" } else { "not fetched" };
            output::line(&format!(
                "{mark} {:<20} {:>4} dimensions  {here}",
                model.name,
                model.dims()
            ))?;
        }
    }
    Ok(())
}

fn choose(session: &Session, name: &str) -> Result<(), Failure> {
    let model = Model::named(name)
        .map_err(|error| Failure { code: Code::NotFound, ..Failure::new(error) })?;
    let mut options = session.embedder_options()?;
    options.model = model;
    pull(session, &options, None)?;
    session.paths.prepare()?;
    edit::set(&session.paths.config_file, "embedding.model", name)?;
    reload(session, &json!({"model": name}))?;
    output::note("every memory is embedded anew; `memtide status` tells how many wait");
    Ok(())
}

/// Tells a running daemon to load the model; without one there is nobody to tell.
fn reload(session: &Session, body: &Value) -> Result<(), Failure> {
    match session.running_client() {
        Ok(client) => {
            let _state: Value = session.block_on(client.post("/v1/embedder/reload", body))?;
            Ok(())
        }
        Err(failure) if failure.code == Code::NoDaemon => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Fetches whatever the chosen model lacks.
pub(super) fn pull_missing(session: &Session, from: Option<PathBuf>) -> Result<Pulled, Failure> {
    pull(session, &session.embedder_options()?, from)
}

fn pull(
    session: &Session,
    options: &EmbedderOptions,
    from: Option<PathBuf>,
) -> Result<Pulled, Failure> {
    let sources = Sources { local: from, ..session.sources() };
    let bars = Bars::default();
    let shown = bars.clone();
    let progress: Progress = Arc::new(move |file, done, total| shown.show(file, done, total));
    let pulled = session.block_on(options.pull(&sources, &progress));
    bars.finish();
    let pulled = pulled?;
    for file in &pulled.fetched {
        output::note(&format!("fetched {file}"));
    }
    Ok(pulled)
}

/// A bar for each file; they show on a terminal only.
#[derive(Clone, Default)]
struct Bars {
    all: MultiProgress,
    by_file: Arc<Mutex<BTreeMap<String, ProgressBar>>>,
}

impl Bars {
    fn show(&self, file: &str, done: u64, total: u64) {
        let mut bars = self.by_file.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = bars.entry(file.to_owned()).or_insert_with(|| {
            let style =
                ProgressStyle::with_template("{msg:32} {bar:30} {bytes}/{total_bytes} {eta}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
            self.all.add(ProgressBar::new(total).with_style(style).with_message(file.to_owned()))
        });
        bar.set_length(total);
        bar.set_position(done);
    }

    fn finish(&self) {
        for bar in self.by_file.lock().unwrap_or_else(PoisonError::into_inner).values() {
            bar.finish_and_clear();
        }
    }
}
