//! `memtide restore`.

use super::args;
use super::failure::Failure;
use super::output;
use super::session::Session;
use crate::api::percent;
use crate::api::wire::{MemoryJson, RestoreRequest};
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: &args::Restore) -> Result<ExitCode, Failure> {
    let client = session.client()?;
    let path = format!("/v1/memories/{}/restore", percent::encode(&args.id));
    let request = RestoreRequest { version: args.version };
    let memory: MemoryJson = session.block_on(client.post(&path, &request))?;
    if args.json {
        output::json(&memory)?;
    } else {
        output::line(&memory.id)?;
    }
    Ok(ExitCode::SUCCESS)
}
