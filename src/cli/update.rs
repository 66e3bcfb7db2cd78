//! `memtide update`.

use super::failure::Failure;
use super::session::Session;
use super::{args, output, store};
use crate::api::percent;
use crate::api::wire::{MemoryJson, UpdateRequest};
use serde_json::Value;
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: args::Update) -> Result<ExitCode, Failure> {
    let metadata = store::entries(&args.metadata, true)?;
    let sets_tags = args.no_tags || !args.tags.is_empty();
    let request = UpdateRequest {
        content: args.content,
        tags: sets_tags.then_some(args.tags),
        memory_type: args.memory_type,
        metadata: (!metadata.is_empty()).then_some(Value::Object(metadata)),
    };
    let client = session.client()?;
    let path = format!("/v1/memories/{}", percent::encode(&args.id));
    let memory: MemoryJson = session.block_on(client.patch(&path, &request))?;
    if args.json {
        output::json(&memory)?;
    } else {
        output::line(&memory.id)?;
    }
    Ok(ExitCode::SUCCESS)
}
