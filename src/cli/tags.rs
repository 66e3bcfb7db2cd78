//! `memtide tags`.

use super::args;
use super::failure::Failure;
use super::output;
use super::session::Session;
use crate::api::wire::TagsAnswer;
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: &args::JsonOnly) -> Result<ExitCode, Failure> {
    let client = session.client()?;
    let answer: TagsAnswer = session.block_on(client.get("/v1/tags"))?;
    if args.json {
        output::json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    for tag in &answer.tags {
        output::line(&format!("{:>7}  {}", tag.count, output::printable(&tag.tag)))?;
    }
    Ok(ExitCode::SUCCESS)
}
