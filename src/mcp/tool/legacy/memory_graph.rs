//! `memory_graph`.

use super::Output;
use crate::mcp::arguments::Arguments;
use crate::mcp::daemon::Daemon;
use crate::mcp::failure::Failure;
use std::future::Future;

pub(super) fn run(
    _daemon: &Daemon,
    _client: &str,
    _arguments: Arguments,
) -> impl Future<Output = Result<Output, Failure>> {
    std::future::ready(Err(Failure::Senseless {
        sentence: "memtide keeps no graph of memories",
        hint: "search for what belongs together with retrieve_memory or search_by_tag",
    }))
}
