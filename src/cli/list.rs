//! `memtide list`.

use super::args;
use super::failure::Failure;
use super::output;
use super::session::Session;
use crate::api::client::query_string;
use crate::api::wire::ListAnswer;
use std::process::ExitCode;

pub(super) fn run(session: &Session, args: &args::List) -> Result<ExitCode, Failure> {
    let filter = &args.filter;
    let mut pairs: Vec<(&str, String)> =
        filter.tags.iter().map(|tag| ("tag", tag.clone())).collect();
    if filter.tags_all {
        pairs.push(("tags_all", "true".to_owned()));
    }
    let named = [
        ("type", &filter.memory_type),
        ("after", &filter.after),
        ("before", &filter.before),
        ("time", &filter.time),
    ];
    pairs.extend(named.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))));
    pairs.push(("page", args.page.to_string()));
    pairs.push(("page_size", args.page_size.to_string()));
    let client = session.client()?;
    let path = format!("/v1/memories?{}", query_string(&pairs));
    let answer: ListAnswer = session.block_on(client.get(&path))?;
    if args.json {
        output::json(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    for memory in &answer.memories {
        output::line(&output::memory_line(memory))?;
    }
    let shown = answer.memories.len();
    if answer.total == 0 {
        output::note("no memories");
    } else {
        output::note(&format!("{shown} of {}, page {}", answer.total, answer.page));
    }
    if answer.has_more {
        output::note(&format!("more: --page {}", answer.page + 1));
    }
    Ok(ExitCode::SUCCESS)
}
