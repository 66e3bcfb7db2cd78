//! `memtide migrate follow`.

use super::super::failure::Failure;
use super::super::output;
use super::super::session::Session;
use super::{args, import, place, wait};
use crate::api::migrate::{FollowAsk, MigrateAnswer};
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: &args::Follow) -> Result<ExitCode, Failure> {
    let client = session.client()?;
    let now: MigrateAnswer = session.block_on(client.get("/v1/migrate"))?;
    let path = match (&args.path, &now.migration.source) {
        (None, Some(_)) => None,
        (path, _) => Some(place::database(session, path.as_deref())?),
    };
    let ask = FollowAsk { path, accept_deletions: args.accept_deletions };
    let begun: MigrateAnswer = session.block_on(client.post("/v1/migrate/follow", &ask))?;
    let answer = wait::for_job(session, &client, begun)?;
    let code = import::print(wait::job(&answer)?, args.json)?;
    if answer.migration.is_followed {
        output::note(
            "from here on every change of it is taken over, until `memtide migrate finish`",
        );
    }
    Ok(code)
}
