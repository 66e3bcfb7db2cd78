//! `memory_analysis`.

use super::{NEWEST, parts};
use crate::api::wire::{FilterJson, MemoryJson};
use crate::mcp::arguments::Arguments;
use crate::mcp::daemon::Daemon;
use crate::mcp::failure::Failure;
use crate::mcp::newest::{ANSWER_MAX, Newest};

/// Tags that are shown.
const TAGS_SHOWN: usize = 10;
/// A time that narrows nothing.
const ALL_TIME: &str = "all time";

pub(super) async fn text(
    daemon: &Daemon,
    client: &str,
    mut arguments: Arguments,
) -> Result<String, Failure> {
    let tags = arguments.words("tags")?.unwrap_or_default();
    let time = arguments.words("time_range")?.filter(|time| time.trim() != ALL_TIME);
    let filter = FilterJson {
        tags: parts(&tags).map(str::to_owned).collect(),
        time,
        ..FilterJson::default()
    };
    let is_narrow = !filter.tags.is_empty() || filter.time.is_some();
    let limit = if is_narrow { ANSWER_MAX } else { NEWEST };
    let found = Newest::read(daemon, client, &filter, limit).await?;
    Ok(told(&filter, &found))
}

fn told(filter: &FilterJson, found: &Newest) -> String {
    let mut text = "Memory Analysis".to_owned();
    if !filter.tags.is_empty() {
        text.push_str(&format!(" for tags: {}", filter.tags.join(", ")));
    }
    if let Some(time) = &filter.time {
        text.push_str(&format!(" from {time}"));
    }
    let n_analysed = found.memories.len();
    text.push_str(&format!("\n\nTotal memories analyzed: {n_analysed}"));
    if usize::try_from(found.total).is_ok_and(|total| total > n_analysed) {
        text.push_str(&format!(" (the newest of {})", found.total));
    }
    text.push_str("\n\nTop tags:\n");
    let mut tags = counted(found.memories.iter().flat_map(|memory| &memory.tags));
    tags.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (tag, count) in tags.iter().take(TAGS_SHOWN) {
        text.push_str(&format!("  - {tag}: {count} occurrences\n"));
    }
    text.push_str("\nMemory types:\n");
    for (kind, count) in counted(found.memories.iter().map(kind_of)) {
        text.push_str(&format!("  - {kind}: {count} memories\n"));
    }
    text
}

fn kind_of(memory: &MemoryJson) -> &String {
    &memory.memory_type
}

/// How often each word comes, in the order of their first coming.
fn counted<'a>(words: impl Iterator<Item = &'a String>) -> Vec<(&'a str, usize)> {
    let mut places = std::collections::HashMap::new();
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for word in words {
        let place = *places.entry(word.as_str()).or_insert(counts.len());
        match counts.get_mut(place) {
            Some((_, count)) => *count += 1,
            None => counts.push((word, 1)),
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::form::sample;

    #[test]
    fn an_analysis_has_the_python_services_words() {
        let mut last = sample("three", &["b"]);
        last.memory_type = "fact".to_owned();
        let memories = vec![sample("one", &["a"]), sample("two", &["b", "c"]), last];
        let filter = FilterJson {
            tags: vec!["a".to_owned(), "b".to_owned()],
            time: Some("last month".to_owned()),
            ..FilterJson::default()
        };
        assert_eq!(
            told(&filter, &Newest { memories, total: 3 }),
            "Memory Analysis for tags: a, b from last month\n\nTotal memories analyzed: 3\n\n\
             Top tags:\n  - b: 2 occurrences\n  - a: 1 occurrences\n  - c: 1 occurrences\n\n\
             Memory types:\n  - note: 2 memories\n  - fact: 1 memories\n"
        );
        let cut = told(&FilterJson::default(), &Newest { memories: Vec::new(), total: 7 });
        assert_eq!(
            cut,
            "Memory Analysis\n\nTotal memories analyzed: 0 (the newest of 7)\n\nTop tags:\n\n\
             Memory types:\n"
        );
    }
}
