//! The newest memories that pass a filter, beyond what one page holds.

use super::daemon::{Call, Daemon};
use super::failure::Failure;
use crate::api::percent;
use crate::api::wire::{FilterJson, ListAnswer, MemoryJson};
use std::collections::HashSet;

/// Memories of the largest page.
const PAGE_MAX: usize = 100;
/// Memories that one answer carries at most: with texts of common length about a megabyte.
pub(super) const ANSWER_MAX: usize = 1000;

/// Memories that pass a filter.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// Newest first.
    pub(super) memories: Vec<MemoryJson>,
    /// How many pass.
    pub(super) total: u64,
}

impl Newest {
    /// Reads at most `limit` of those that pass `filter`.
    pub(super) async fn read(
        daemon: &Daemon,
        client: &str,
        filter: &FilterJson,
        limit: usize,
    ) -> Result<Self, Failure> {
        let mut newest = Self::default();
        let mut seen = HashSet::new();
        let per_page = limit.clamp(1, PAGE_MAX);
        for page in 1..=limit.div_ceil(per_page) {
            let answer: ListAnswer =
                daemon.call(client, &Call::Get(path(filter, page, per_page))).await?;
            newest.total = answer.total;
            // One that was stored meanwhile moves the last of a page to the next one.
            newest.memories.extend(
                answer.memories.into_iter().filter(|memory| seen.insert(memory.id.clone())),
            );
            if !answer.has_more {
                break;
            }
        }
        newest.memories.truncate(limit);
        Ok(newest)
    }
}

/// The path of a page of the memories that pass `filter`.
pub(super) fn path(filter: &FilterJson, page: usize, page_size: usize) -> String {
    let mut path = format!("/v1/memories?page={page}&page_size={page_size}");
    let mut add = |name: &str, value: &str| {
        path.push_str(&format!("&{name}={}", percent::encode(value)));
    };
    for tag in &filter.tags {
        add("tag", tag);
    }
    if filter.tags_all {
        add("tags_all", "true");
    }
    let texts = [
        ("type", &filter.memory_type),
        ("after", &filter.after),
        ("before", &filter.before),
        ("time", &filter.time),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            add(name, text);
        }
    }
    path
}
