//! `memtide cloud sync`, `pause`, `resume` and `usage`.

use super::super::failure::Failure;
use super::super::session::Session;
use super::super::{args, output};
use crate::api::client::Client;
use crate::api::cloud::{PauseAnswer, SyncAnswer, SyncRequest};
use crate::api::status::StatusJson;
use crate::remote::usage::FREE;
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

/// What the daemon's answer may take beyond the time it was told to wait.
const ANSWER_MARGIN: Duration = Duration::from_secs(10);

pub(super) fn run(session: &Session, args: &args::CloudSync) -> Result<ExitCode, Failure> {
    let timeout = Duration::from_secs(args.timeout);
    let ordinary = session.client()?;
    let patient = Client::new(ordinary.socket().to_owned(), "cli", timeout + ANSWER_MARGIN);
    let request =
        SyncRequest { timeout_s: Some(args.timeout), accept_deletions: args.accept_deletions };
    let answer: SyncAnswer = session.block_on(patient.post("/v1/cloud/sync", &request))?;
    if args.json {
        output::json(&answer)?;
    } else if answer.drained {
        output::line("everything is in the cloud, and everything of other devices is here")?;
    } else {
        let pending = output::counted(answer.pending, "duty", "duties");
        output::line(&format!("{pending} still pending: {}", answer.state))?;
    }
    if answer.parked + answer.conflicts > 0 {
        output::note(&format!(
            "{} parked, {} in conflict: see `memtide outbox list`",
            output::counted(answer.parked, "duty", "duties"),
            answer.conflicts
        ));
    }
    if let Some(message) = &answer.message {
        output::note(message);
    }
    let is_done = answer.drained && answer.parked + answer.conflicts == 0;
    Ok(if is_done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) fn pause(session: &Session, paused: bool) -> Result<ExitCode, Failure> {
    let client = session.client()?;
    let path = if paused { "/v1/cloud/pause" } else { "/v1/cloud/resume" };
    let answer: PauseAnswer = session.block_on(client.post(path, &json!({})))?;
    output::note(if answer.paused {
        "paused: writes stay here until `memtide cloud resume`"
    } else {
        "syncing goes on"
    });
    Ok(ExitCode::SUCCESS)
}

pub(super) fn usage(session: &Session, args: &args::JsonOnly) -> Result<ExitCode, Failure> {
    let client = session.client()?;
    let status: StatusJson = session.block_on(client.get("/v1/status"))?;
    let budget = &status.replication.budget;
    if args.json {
        output::json(budget)?;
        return Ok(ExitCode::SUCCESS);
    }
    let used = |name: &str, n: u64, what: &str, limit: u64| {
        let over = if n > limit { ": MORE than it has" } else { "" };
        output::line(&format!("{name:<14}{n} {what}; the free plan has {limit}{over}"))
    };
    output::line(&format!(
        "requests      {} in the last five minutes, memtide's own limit is {}",
        budget.requests_5min, budget.requests_limit
    ))?;
    used("rows written", budget.d1_rows_written_today, "today", FREE.rows_written_per_day)?;
    used("rows read", budget.d1_rows_read_today, "today", FREE.rows_read_per_day)?;
    used("neurons", budget.neurons_today, "today, estimated", FREE.neurons_per_day)?;
    let stored = budget.vector_dimensions_stored;
    used("dimensions", stored, "stored in the index", FREE.vector_dimensions)?;
    output::note(
        "counted by this device; limits are the account's, those of a day end at 00:00 UTC",
    );
    Ok(ExitCode::SUCCESS)
}
