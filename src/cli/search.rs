//! `memtide search`.

use super::args;
use super::failure::Failure;
use super::output;
use super::session::Session;
use crate::api::wire::{FilterJson, SearchAnswer, SearchRequest};
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: args::Search) -> Result<ExitCode, Failure> {
    let request = SearchRequest {
        query: args.query,
        n: args.n,
        mode: args.mode,
        filter: args.filter.into(),
        ..SearchRequest::default()
    };
    let client = session.client()?;
    let answer: SearchAnswer = session.block_on(client.post("/v1/search", &request))?;
    if args.json {
        output::json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    for hit in &answer.hits {
        output::line(&format!("{:.2}  {}", hit.score, output::memory_line(&hit.memory)))?;
    }
    if answer.hits.is_empty() {
        output::note("nothing found");
    }
    let asked = request.mode.as_deref().unwrap_or(&session.settings().search.default_mode);
    let n_waiting = answer.freshness.pending_embeddings;
    if answer.mode == "keyword" && asked == "hybrid" {
        output::note("the model isn't ready: found by words only (see `memtide status`)");
    } else if n_waiting > 0 && matches!(asked, "hybrid" | "semantic") {
        let waiting = output::counted(n_waiting, "memory waits", "memories wait");
        output::note(&format!("{waiting} for a vector: found by words only until then"));
    }
    Ok(ExitCode::SUCCESS)
}

impl From<args::Filter> for FilterJson {
    fn from(filter: args::Filter) -> Self {
        Self {
            tags: filter.tags,
            tags_all: filter.tags_all,
            memory_type: filter.memory_type,
            after: filter.after,
            before: filter.before,
            time: filter.time,
        }
    }
}
