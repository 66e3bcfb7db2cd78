//! Waiting for a job of the daemon: progress on a terminal, and Ctrl-C stops the job, not only the waiting.

use super::super::failure::Failure;
use super::super::session::Session;
use crate::api::client::Client;
use crate::api::migrate::{JobJson, MigrateAnswer};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::io::IsTerminal as _;
use std::time::Duration;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(200);

/// Waits for the end of the job that `begun` shows.
pub(super) fn for_job(
    session: &Session,
    client: &Client,
    begun: MigrateAnswer,
) -> Result<MigrateAnswer, Failure> {
    let bar = std::io::stderr().is_terminal().then(bar);
    let answer = session.block_on(watch(client, begun, bar.as_ref()));
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    answer
}

async fn watch(
    client: &Client,
    begun: MigrateAnswer,
    bar: Option<&ProgressBar>,
) -> Result<MigrateAnswer, Failure> {
    let mut answer = begun;
    while let Some(job) = answer.job.as_ref().filter(|job| job.state == "running") {
        if let Some(bar) = bar {
            show(bar, job);
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => answer = client.get("/v1/migrate").await?,
            _ = tokio::signal::ctrl_c() => {
                answer = client.post("/v1/migrate/cancel", &json!({})).await?;
            }
        }
    }
    Ok(answer)
}

/// The job of an answer, unless it has failed.
pub(super) fn job(answer: &MigrateAnswer) -> Result<&JobJson, Failure> {
    let job = answer.job.as_ref();
    let job = job.ok_or_else(|| {
        Failure::new("the daemon has stopped meanwhile")
            .with_hint("an import goes on when it starts again; see `memtide migrate status`")
    })?;
    match &job.trouble {
        Some(trouble) => Err(Failure::new(&trouble.message).with_hint(&trouble.next_step)),
        None => Ok(job),
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style =
        ProgressStyle::with_template("{msg:10} {bar:30} {pos}/{len}  {per_sec}  {eta} left");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar
}

fn show(bar: &ProgressBar, job: &JobJson) {
    bar.set_message(job.phase.clone());
    bar.set_length(job.total);
    bar.set_position(job.done);
}
