//! `memtide migrate finish`.

use super::super::failure::Failure;
use super::super::output;
use super::super::session::Session;
use super::{args, status};
use crate::api::migrate::{FinishAsk, MigrateAnswer};
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: &args::Finish) -> Result<ExitCode, Failure> {
    let client = session.client()?;
    let ask = FinishAsk { force: args.force };
    let answer: MigrateAnswer = session.block_on(client.post("/v1/migrate/finish", &ask))?;
    if args.json {
        output::json(&answer)?;
    } else {
        output::line(&output::printable(&status::told(&answer.migration)))?;
    }
    Ok(ExitCode::SUCCESS)
}
