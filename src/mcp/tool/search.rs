//! `memory_search`.

use super::super::arguments::Arguments;
use super::super::daemon::{Call, Daemon};
use super::super::failure::Failure;
use super::super::newest;
use super::{Output, wants_all_tags};
use crate::api::wire::{FilterJson, ListAnswer, MemoryJson, SearchAnswer, SearchRequest};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;

/// What may rank.
pub(in crate::mcp) const MODES: &[&str] = &["hybrid", "semantic", "keyword", "exact"];
/// Hits if no number is given.
const LIMIT_DEFAULT: i64 = 10;
/// What the Python service reckons for the lines around a memory's text when it cuts an answer.
const OVERHEAD_CHARS: usize = 200;

pub(super) async fn run(
    daemon: &Daemon,
    client: &str,
    arguments: Arguments,
) -> Result<Output, Failure> {
    let ask = Ask::read(arguments)?;
    let found = match &ask.what {
        What::Search(request) => {
            let call = Call::Post("/v1/search", json!(request));
            Found::from(daemon.call::<SearchAnswer>(client, &call).await?)
        }
        What::Newest(filter) => {
            let call = Call::Get(newest::path(filter, 1, ask.limit()));
            Found::from(daemon.call::<ListAnswer>(client, &call).await?)
        }
    };
    Ok(ask.answer(&found))
}

/// A search in checked form.
#[derive(Debug)]
struct Ask {
    what: What,
    limit: i64,
    max_chars: Option<usize>,
}

#[derive(Debug)]
enum What {
    Search(SearchRequest),
    /// No query: the newest that pass.
    Newest(FilterJson),
}

impl Ask {
    fn read(mut arguments: Arguments) -> Result<Self, Failure> {
        let query = arguments.words("query")?;
        let mode = arguments.choice("mode", MODES)?;
        let filter = FilterJson {
            tags: arguments.tags("tags")?.unwrap_or_default(),
            tags_all: wants_all_tags(&mut arguments)?,
            memory_type: None,
            after: arguments.words("after")?,
            before: arguments.words("before")?,
            time: arguments.words("time_expr")?,
        };
        let limit = arguments.number("limit", 1, 100)?.unwrap_or(LIMIT_DEFAULT);
        let max_chars = arguments.number("max_response_chars", 1, i64::MAX)?;
        let is_filtered = filter.tags.iter().any(|tag| !tag.trim().is_empty())
            || filter.after.is_some()
            || filter.before.is_some()
            || filter.time.is_some();
        let what = match query {
            Some(query) => What::Search(SearchRequest {
                query,
                n: Some(limit),
                mode: mode.map(str::to_owned),
                filter,
                unknown: Map::new(),
            }),
            None if is_filtered => What::Newest(filter),
            None => {
                return Err(Failure::Senseless {
                    sentence: "the search names nothing to look for",
                    hint: "give a query, tags or a time; memory_list shows everything",
                });
            }
        };
        let max_chars = max_chars.and_then(|max| usize::try_from(max).ok());
        Ok(Self { what, limit, max_chars })
    }

    fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(1)
    }

    fn query_words(&self) -> String {
        match &self.what {
            What::Search(request) => format!(" for query: '{}'", request.query),
            What::Newest(_) => String::new(),
        }
    }

    fn answer(&self, found: &Found) -> Output {
        let cut = Cut::of(&found.memories, self.max_chars);
        let shown = found.memories.get(..cut.n_shown).unwrap_or(&found.memories);
        Output { text: self.text(found, shown, &cut), structured: structured(found, shown, &cut) }
    }

    fn text(&self, found: &Found, shown: &[Scored], cut: &Cut) -> String {
        if shown.is_empty() {
            return format!("No memories found{}", self.query_words());
        }
        let mut text = format!(
            "Found {} memories (mode: {}){}\n\n",
            found.memories.len(),
            found.mode,
            self.query_words()
        );
        let numbered = shown.iter().enumerate().map(|(at, scored)| (at + 1, &scored.memory));
        let blocks: Vec<String> = if cut.n_omitted == 0 {
            numbered.map(|(number, memory)| item(number, memory)).collect()
        } else {
            text.push_str(&cut.warning(found.memories.len()));
            numbered.map(|(number, memory)| block(number, memory)).collect()
        };
        text.push_str(&blocks.join(if cut.n_omitted == 0 { "\n\n" } else { "\n" }));
        text
    }
}

/// An answer of either route.
#[derive(Debug)]
struct Found {
    memories: Vec<Scored>,
    mode: String,
    /// How many pass the filter, where no query ranks them.
    total: Option<u64>,
    pending_embeddings: Option<u64>,
}

#[derive(Debug)]
struct Scored {
    memory: MemoryJson,
    score: Option<f64>,
}

impl From<SearchAnswer> for Found {
    fn from(answer: SearchAnswer) -> Self {
        let hits = answer.hits.into_iter();
        Self {
            memories: hits
                .map(|hit| Scored { memory: hit.memory, score: Some(hit.score) })
                .collect(),
            mode: answer.mode,
            total: None,
            pending_embeddings: Some(answer.freshness.pending_embeddings),
        }
    }
}

impl From<ListAnswer> for Found {
    fn from(answer: ListAnswer) -> Self {
        let memories = answer.memories.into_iter();
        Self {
            memories: memories.map(|memory| Scored { memory, score: None }).collect(),
            mode: "newest".to_owned(),
            total: Some(answer.total),
            pending_embeddings: None,
        }
    }
}

/// How much of an answer is shown: whole memories only, the first one always.
#[derive(Debug, PartialEq, Eq)]
struct Cut {
    n_shown: usize,
    n_omitted: usize,
    shown_chars: usize,
    total_chars: usize,
}

impl Cut {
    fn of(memories: &[Scored], max_chars: Option<usize>) -> Self {
        let sizes: Vec<usize> = memories
            .iter()
            .map(|scored| scored.memory.content.chars().count() + OVERHEAD_CHARS)
            .collect();
        let total_chars = sizes.iter().sum();
        let max_chars = max_chars.unwrap_or(usize::MAX);
        let (mut n_shown, mut shown_chars) = (0, 0);
        for size in &sizes {
            if n_shown > 0 && shown_chars + size > max_chars {
                break;
            }
            n_shown += 1;
            shown_chars += size;
        }
        Self { n_shown, n_omitted: sizes.len() - n_shown, shown_chars, total_chars }
    }

    fn warning(&self, n_total: usize) -> String {
        format!(
            "[!] RESPONSE TRUNCATED: Showing {} of {n_total} results ({} of {} chars).\n\
             {} result(s) omitted to prevent context overflow.\n\
             Use specific queries or hash-based retrieval for full content.\n\n\n",
            self.n_shown,
            grouped(self.shown_chars),
            grouped(self.total_chars),
            self.n_omitted
        )
    }
}

/// A number with commas between the thousands.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

fn item(number: usize, memory: &MemoryJson) -> String {
    let mut item = format!(
        "{number}. {}\n   Hash: {}\n   Created: {}",
        memory.content, memory.id, memory.created_at
    );
    if !memory.tags.is_empty() {
        // Writing to a String can't fail.
        let _infallible = write!(item, " [{}]", memory.tags.join(", "));
    }
    item
}

fn block(number: usize, memory: &MemoryJson) -> String {
    let mut block = format!(
        "=== Memory {number} ===\nTimestamp: {}\nContent: {}\nHash: {}\n",
        memory.created_at, memory.content, memory.id
    );
    if !memory.tags.is_empty() {
        // Writing to a String can't fail.
        let _infallible = writeln!(block, "Tags: {}", memory.tags.join(", "));
    }
    block.push_str("---");
    block
}

/// The structured content.
#[derive(Serialize)]
struct Shown<'a> {
    memories: Vec<ShownMemory<'a>>,
    mode: &'a str,
    omitted: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_embeddings: Option<u64>,
}

#[derive(Serialize)]
struct ShownMemory<'a> {
    content: &'a str,
    content_hash: &'a str,
    tags: &'a [String],
    memory_type: &'a str,
    #[serde(skip_serializing_if = "Map::is_empty")]
    metadata: &'a Map<String, Value>,
    created_at_iso: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
}

fn structured(found: &Found, shown: &[Scored], cut: &Cut) -> Value {
    let memories = shown
        .iter()
        .map(|Scored { memory, score }| ShownMemory {
            content: &memory.content,
            content_hash: &memory.id,
            tags: &memory.tags,
            memory_type: &memory.memory_type,
            metadata: &memory.metadata,
            created_at_iso: &memory.created_at,
            score: *score,
        })
        .collect();
    json!(Shown {
        memories,
        mode: &found.mode,
        omitted: cut.n_omitted,
        total: found.total,
        pending_embeddings: found.pending_embeddings,
    })
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
