//! `memtide history`.

use super::args;
use super::failure::Failure;
use super::output;
use super::session::Session;
use crate::api::percent;
use crate::api::wire::HistoryAnswer;
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: &args::OneId) -> Result<ExitCode, Failure> {
    let client = session.client()?;
    let path = format!("/v1/memories/{}/history", percent::encode(&args.id));
    let answer: HistoryAnswer = session.block_on(client.get(&path))?;
    if args.json {
        output::json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    for version in &answer.versions {
        let text = output::preview(&version.content);
        let (number, at, cause) = (version.version, &version.replaced_at, &version.cause);
        let tags = output::tags(&version.tags);
        output::line(&format!("{number:>4}  {at}  {cause:<7}  {text}{tags}"))?;
    }
    if answer.versions.is_empty() {
        output::note("no earlier version");
    }
    Ok(ExitCode::SUCCESS)
}
