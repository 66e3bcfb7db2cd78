//! `memtide get`.

use super::args;
use super::failure::Failure;
use super::output;
use super::session::Session;
use crate::api::percent;
use crate::api::wire::MemoryJson;
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: &args::OneId) -> Result<ExitCode, Failure> {
    let client = session.client()?;
    let path = format!("/v1/memories/{}", percent::encode(&args.id));
    let memory: MemoryJson = session.block_on(client.get(&path))?;
    if args.json {
        output::json(&memory)?;
    } else {
        output::line(&output::memory(&memory))?;
    }
    Ok(ExitCode::SUCCESS)
}
