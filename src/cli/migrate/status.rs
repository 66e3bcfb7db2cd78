//! `memtide migrate status`.

use super::super::failure::Failure;
use super::super::output;
use super::super::session::Session;
use super::args;
use crate::api::migrate::{MigrateAnswer, MigrationJson};
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: &args::JsonOnly) -> Result<ExitCode, Failure> {
    let client = session.client()?;
    let answer: MigrateAnswer = session.block_on(client.get("/v1/migrate"))?;
    if args.json {
        output::json(&answer)?;
    } else {
        output::line(&output::printable(&text(&answer)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn text(answer: &MigrateAnswer) -> String {
    let mut lines = vec![told(&answer.migration)];
    if let Some(job) = answer.job.as_ref().filter(|job| job.state == "running") {
        lines.push(format!(
            "at work      {}: {} {} of {}, for {:.0} s",
            job.kind, job.phase, job.done, job.total, job.elapsed_s
        ));
    }
    if let Some(at) = &answer.migration.changed_at {
        lines.push(format!("last change  {at}"));
    }
    if let Some(trouble) = &answer.migration.trouble {
        lines.push(format!("NOT GOING ON {}", trouble.message));
        lines.push(format!("  -> {}", trouble.next_step));
    }
    if let Some(rows) = &answer.migration.left_out {
        lines.push(format!("LEFT OUT     {}", rows.message));
        lines.push(format!("  -> {}", rows.next_step));
    }
    lines.join("\n")
}

/// How the move stands, in one line.
pub(in crate::cli) fn told(migration: &MigrationJson) -> String {
    let Some(source) = &migration.source else {
        return "nothing was imported yet (see `memtide migrate --help`)".to_owned();
    };
    let how = match migration.state.as_str() {
        "importing" => "being imported",
        "verified" if migration.is_followed => "all of it was compared and agrees; it is followed",
        "verified" => "all of it was compared and agrees",
        "finished" => "the move is over",
        "following" => "followed",
        _ if migration.is_imported => "imported, not followed",
        _ => "not imported to its end",
    };
    format!("{source}: {how}, {} of {} rows are here", migration.imported, migration.total)
}
