//! `memtide outbox`.

use super::args;
use super::failure::Failure;
use super::output;
use super::session::Session;
use crate::api::wire::{OutboxAnswer, RetryAnswer, RetryRequest};
use std::process::ExitCode;

pub(super) fn run(session: &Session, command: args::Outbox) -> Result<ExitCode, Failure> {
    let client = session.client()?;
    match command {
        args::Outbox::List(args) => {
            let path = format!("/v1/outbox?parked={}", args.parked);
            let answer: OutboxAnswer = session.block_on(client.get(&path))?;
            if args.json {
                output::json(&answer)?;
            } else {
                print(&answer)?;
            }
        }
        args::Outbox::Export => {
            let answer: OutboxAnswer = session.block_on(client.get("/v1/outbox"))?;
            answer.entries.iter().try_for_each(output::json)?;
        }
        args::Outbox::Retry(args) => {
            let request = RetryRequest { ids: args.ids, all: args.all };
            let answer: RetryAnswer =
                session.block_on(client.post("/v1/outbox/retry", &request))?;
            if args.json {
                output::json(&answer)?;
            } else if answer.retried == 0 {
                output::note("no parked duty was found");
            } else {
                let duties = output::counted(answer.retried, "parked duty", "parked duties");
                output::note(&format!("{duties} put back"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(answer: &OutboxAnswer) -> Result<(), Failure> {
    for entry in &answer.entries {
        let id = entry.id.get(..output::SHORT_ID).unwrap_or(&entry.id);
        let error = entry.error.as_deref().map(output::printable).unwrap_or_default();
        output::line(&format!(
            "{id}  {:<9}  {:<21}  since {}  tries {}  {error}",
            entry.product, entry.state, entry.since, entry.attempts
        ))?;
    }
    if answer.entries.is_empty() {
        output::note("no duties");
    }
    Ok(())
}
