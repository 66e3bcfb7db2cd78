//! `memtide migrate import`.

use super::super::failure::Failure;
use super::super::output;
use super::super::session::Session;
use super::{args, place, wait};
use crate::api::migrate::{ImportAsk, JobJson, MigrateAnswer};
use crate::migrate::report::Report;
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: &args::Import) -> Result<ExitCode, Failure> {
    let path = place::database(session, args.path.as_deref())?;
    let client = session.client()?;
    let ask = ImportAsk { path, dry_run: args.dry_run };
    let begun: MigrateAnswer = session.block_on(client.post("/v1/migrate/import", &ask))?;
    let answer = wait::for_job(session, &client, begun)?;
    print(wait::job(&answer)?, args.json)
}

/// Prints a report; it tells whether all is here.
pub(super) fn print(job: &JobJson, is_json: bool) -> Result<ExitCode, Failure> {
    let value = job.report.clone().unwrap_or_default();
    let report: Report = serde_json::from_value(value)
        .map_err(|error| Failure::new(format!("the report is not understood: {error}")))?;
    if is_json {
        output::json(&report)?;
    } else {
        output::line(&output::printable(&report.to_text()))?;
    }
    let agrees = report.reconciled.as_ref().map_or(report.dry_run, |found| found.agrees);
    Ok(if report.complete && agrees { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
