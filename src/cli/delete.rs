//! `memtide delete`.

use super::args;
use super::failure::Failure;
use super::output;
use super::session::Session;
use crate::api::client::Client;
use crate::api::wire::{DeleteAnswer, DeleteRequest};
use std::process::ExitCode;

/// Ids that a question shows.
const SHOWN: usize = 10;

pub(super) fn run(session: &Session, args: args::Delete) -> Result<ExitCode, Failure> {
    let client = session.client()?;
    let request = |dry_run| DeleteRequest {
        ids: args.ids.clone(),
        filter: args.filter.clone().into(),
        dry_run,
        ..DeleteRequest::default()
    };
    // Looking first also tells which ids are wrong before anything is deleted.
    let found = delete(session, &client, &request(true))?;
    if args.dry_run {
        return print(&args, &found);
    }
    if found.deleted > 1 && !args.yes {
        for id in found.ids.iter().take(SHOWN) {
            output::note(id.get(..output::SHORT_ID).unwrap_or(id));
        }
        if found.ids.len() > SHOWN {
            output::note(&format!("and {} more", found.ids.len() - SHOWN));
        }
        if !output::confirm(&format!("deleting {} memories", found.deleted))? {
            output::note("nothing was deleted");
            return Ok(ExitCode::FAILURE);
        }
    }
    // What was confirmed is deleted, not what the filter finds by now.
    let ids = DeleteRequest { ids: found.ids.clone(), ..DeleteRequest::default() };
    let deleted = if found.ids.is_empty() {
        DeleteAnswer { ids: Vec::new(), deleted: 0, dry_run: false }
    } else {
        delete(session, &client, &ids)?
    };
    print(&args, &deleted)
}

fn delete(
    session: &Session,
    client: &Client,
    request: &DeleteRequest,
) -> Result<DeleteAnswer, Failure> {
    Ok(session.block_on(client.post("/v1/memories/delete", request))?)
}

fn print(args: &args::Delete, answer: &DeleteAnswer) -> Result<ExitCode, Failure> {
    if args.json {
        output::json(answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    for id in &answer.ids {
        output::line(id)?;
    }
    let verb = if answer.dry_run { "would be deleted" } else { "deleted" };
    output::note(&format!("{} {verb}", answer.deleted));
    Ok(ExitCode::SUCCESS)
}
