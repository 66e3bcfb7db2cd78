//! `memory_cleanup`, the prompt: it reports and deletes nothing.

use crate::api::wire::{FilterJson, MemoryJson};
use crate::mcp::arguments::Arguments;
use crate::mcp::daemon::Daemon;
use crate::mcp::failure::Failure;
use crate::mcp::newest::{ANSWER_MAX, Newest};
use std::collections::HashSet;

/// Pairs that are named.
const PAIRS_SHOWN: usize = 20;
/// Without a threshold, texts that begin with the same characters and are about as long look alike.
const SAME_START_CHARS: usize = 50;
const ABOUT_CHARS: usize = 10;

pub(super) async fn text(
    daemon: &Daemon,
    client: &str,
    mut arguments: Arguments,
) -> Result<String, Failure> {
    let threshold = threshold(&mut arguments)?;
    let older_than = arguments.words("older_than")?;
    let newest = Newest::read(daemon, client, &FilterJson::default(), ANSWER_MAX).await?;
    let mut text = told(&pairs(&newest.memories, threshold), &newest);
    if let Some(age) = older_than {
        let filter = FilterJson { before: Some(point(&age)), ..FilterJson::default() };
        let old = Newest::read(daemon, client, &filter, 1).await?;
        text.push_str(&format!("\nMemories older than {age} can be archived: {}\n", old.total));
    }
    Ok(text)
}

fn threshold(arguments: &mut Arguments) -> Result<Option<f64>, Failure> {
    let Some(words) = arguments.words("similarity_threshold")? else { return Ok(None) };
    let number = words.trim().parse::<f64>().ok().filter(|number| (0.0..=1.0).contains(number));
    number.map(Some).ok_or(Failure::Senseless {
        sentence: "similarity_threshold must be a number between 0.0 and 1.0",
        hint: "0.9 finds texts that share nine tenths of their words",
    })
}

/// The instant that an age speaks of: `6 months` is `6 months ago`.
fn point(age: &str) -> String {
    let age = age.trim();
    let is_age = age.starts_with(|c: char| c.is_ascii_digit())
        && age.contains(' ')
        && !age.to_lowercase().ends_with("ago");
    if is_age { format!("{age} ago") } else { age.to_owned() }
}

fn told(pairs: &[(&MemoryJson, &MemoryJson)], looked_at: &Newest) -> String {
    let mut text =
        format!("Memory Cleanup Report:\n\nFound {} potential duplicate pairs\n", pairs.len());
    for (one, other) in pairs.iter().take(PAIRS_SHOWN) {
        text.push_str(&format!("- {} and {}\n", one.id, other.id));
    }
    if pairs.len() > PAIRS_SHOWN {
        text.push_str(&format!("... and {} more\n", pairs.len() - PAIRS_SHOWN));
    }
    let n_looked_at = looked_at.memories.len();
    if usize::try_from(looked_at.total).is_ok_and(|total| total > n_looked_at) {
        text.push_str(&format!("Looked at the newest {n_looked_at} of {}\n", looked_at.total));
    }
    text
}

/// The memories that look alike.
fn pairs(memories: &[MemoryJson], threshold: Option<f64>) -> Vec<(&MemoryJson, &MemoryJson)> {
    let looks: Vec<Look> = memories.iter().map(|memory| Look::at(&memory.content)).collect();
    let mut pairs = Vec::new();
    for (at, (one, look)) in memories.iter().zip(&looks).enumerate() {
        for (other, another) in memories.iter().zip(&looks).skip(at + 1) {
            let is_alike = match threshold {
                None => look.begins_as(another),
                Some(threshold) => look.common_words(another) >= threshold,
            };
            if is_alike {
                pairs.push((one, other));
            }
        }
    }
    pairs
}

/// What of a text is compared.
struct Look<'a> {
    n_chars: usize,
    start: String,
    words: HashSet<&'a str>,
}

impl<'a> Look<'a> {
    fn at(text: &'a str) -> Self {
        Self {
            n_chars: text.chars().count(),
            start: text.chars().take(SAME_START_CHARS).collect(),
            words: text.split_whitespace().collect(),
        }
    }

    fn begins_as(&self, other: &Self) -> bool {
        self.n_chars.abs_diff(other.n_chars) < ABOUT_CHARS && self.start == other.start
    }

    /// Words of both in words of either.
    fn common_words(&self, other: &Self) -> f64 {
        let n_common = self.words.intersection(&other.words).count();
        let n_either = self.words.len() + other.words.len() - n_common;
        let count = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
        if n_either == 0 { 0.0 } else { count(n_common) / count(n_either) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Prompt, given};
    use super::*;
    use crate::mcp::form::sample;
    use serde_json::json;

    #[test]
    fn texts_that_begin_alike_are_pairs() {
        let start = "x".repeat(60);
        let memories = [
            sample(&format!("{start} one"), &[]),
            sample(&format!("{start} two!"), &[]),
            sample(&format!("{start} and a longer end"), &[]),
            sample("something else", &[]),
        ];
        let found = pairs(&memories, None);
        assert_eq!(found.len(), 1);
        let newest = Newest { memories: Vec::new(), total: 0 };
        let hash = "ab".repeat(32);
        assert_eq!(
            told(&found, &newest),
            format!(
                "Memory Cleanup Report:\n\nFound 1 potential duplicate pairs\n- {hash} and {hash}\n"
            )
        );
    }

    #[test]
    fn a_threshold_counts_common_words() {
        let memories = [sample("a b c d", &[]), sample("a b c e", &[]), sample("f g", &[])];
        assert_eq!(pairs(&memories, Some(0.6)).len(), 1);
        assert_eq!(pairs(&memories, Some(0.7)).len(), 0);
        let read = |value: &str| {
            threshold(&mut given(Prompt::Cleanup, json!({"similarity_threshold": value})))
        };
        assert_eq!(read("0.9").unwrap(), Some(0.9));
        assert!(read("2").is_err() && read("high").is_err());
    }

    #[test]
    fn an_age_is_an_instant() {
        assert_eq!(point("6 months"), "6 months ago");
        assert_eq!(point("2 days ago"), "2 days ago");
        assert_eq!(point("2026-01-01"), "2026-01-01");
        assert_eq!(point("last year"), "last year");
    }
}
