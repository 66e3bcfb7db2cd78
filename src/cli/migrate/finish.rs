//! `memtide migrate finish`.

use super::super::failure::Failure;
use super::super::output;
use super::super::session::Session;
use super::{args, status};
use crate::api::migrate::MigrateAnswer;
use serde_json::json;
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: &args::JsonOnly) -> Result<ExitCode, Failure> {
    let client = session.client()?;
    let answer: MigrateAnswer = session.block_on(client.post("/v1/migrate/finish", &json!({})))?;
    if args.json {
        output::json(&answer)?;
    } else {
        output::line(&output::printable(&status::told(&answer.migration)))?;
    }
    Ok(ExitCode::SUCCESS)
}
