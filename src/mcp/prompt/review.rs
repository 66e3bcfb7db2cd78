//! `memory_review`.

use crate::api::wire::{FilterJson, MemoryJson};
use crate::mcp::arguments::Arguments;
use crate::mcp::daemon::Daemon;
use crate::mcp::failure::Failure;
use crate::mcp::newest::Newest;

/// Memories that are shown, as in the Python service.
const SHOWN: usize = 20;

pub(super) async fn text(
    daemon: &Daemon,
    client: &str,
    mut arguments: Arguments,
) -> Result<String, Failure> {
    let period = arguments.needed_text("time_period")?;
    let focus = arguments.words("focus_area")?;
    let filter = FilterJson { time: Some(period.clone()), ..FilterJson::default() };
    let found = Newest::read(daemon, client, &filter, SHOWN).await?;
    Ok(told(&period, focus.as_deref(), &found.memories))
}

fn told(period: &str, focus: Option<&str>, memories: &[MemoryJson]) -> String {
    let mut text = format!("Review of memories from {period}");
    if let Some(focus) = focus {
        text.push_str(&format!(" (focusing on {focus})"));
    }
    text.push_str(":\n\n");
    for memory in memories {
        text.push_str(&format!("- {}\n", memory.content));
        if !memory.tags.is_empty() {
            text.push_str(&format!("  Tags: {}\n", memory.tags.join(", ")));
        }
    }
    if memories.is_empty() {
        text.push_str("No memories found for this time period.");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::form::sample;

    #[test]
    fn a_review_has_the_python_services_words() {
        let memories = [sample("one", &["a", "b"]), sample("two", &[])];
        assert_eq!(
            told("last week", Some("work"), &memories),
            "Review of memories from last week (focusing on work):\n\n\
             - one\n  Tags: a, b\n- two\n"
        );
        assert_eq!(
            told("today", None, &[]),
            "Review of memories from today:\n\nNo memories found for this time period."
        );
    }
}
