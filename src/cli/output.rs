//! Printing: data to standard output, the rest to standard error. A reader that goes away early, as
//! `head` does, ends the output without a fuss.

use super::failure::Failure;
use crate::api::wire::MemoryJson;
use serde::Serialize;
use std::io::{ErrorKind, IsTerminal as _, Write as _};

/// Characters of a text that a list shows where the width of the terminal isn't known.
const PREVIEW_CHARS: usize = 72;
/// Characters of a text that a list shows at least.
const PREVIEW_CHARS_MIN: usize = 24;
/// Columns of a line beside the text: a score, an id, and the space between them.
const BESIDE_PREVIEW: usize = 6 + SHORT_ID + 2;
/// Digits of an id that a list shows; enough to be unique, and accepted everywhere.
pub(super) const SHORT_ID: usize = 12;

/// Writes `text` and a line end to standard output.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    line_to_reader(text).map(|_is_read| ())
}

/// The same for output without an end: tells whether somebody still reads it.
pub(super) fn line_to_reader(text: &str) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}

/// Writes a value as one line of JSON to standard output.
pub(super) fn json(value: &impl Serialize) -> Result<(), Failure> {
    line(&serde_json::to_string(value)?)
}

/// Writes a remark to standard error.
pub(super) fn note(text: &str) {
    // Nothing is left to tell it to when standard error is closed.
    let _closed = writeln!(std::io::stderr(), "{text}");
}

/// A number with its noun.
pub(super) fn counted(n: u64, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Asks a question that is answered with yes or no.
///
/// # Errors
/// Standard input is no terminal, so that nobody can answer.
pub(super) fn confirm(question: &str) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(
            Failure::new(format!("{question} needs a confirmation")).with_hint("repeat with --yes")
        );
    }
    let mut err = std::io::stderr().lock();
    write!(err, "{question} [y/N] ")?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// Characters that a preview may have, so that a line fits into a narrow terminal.
fn preview_chars() -> usize {
    let out = std::io::stdout();
    let columns = out.is_terminal().then(|| rustix::termios::tcgetwinsize(&out).ok()).flatten();
    match columns {
        // Some terminals say 0 when they don't know.
        Some(size) if size.ws_col > 0 => usize::from(size.ws_col)
            .saturating_sub(BESIDE_PREVIEW)
            .clamp(PREVIEW_CHARS_MIN, PREVIEW_CHARS),
        _ => PREVIEW_CHARS,
    }
}

/// The start of a text on one line, without control characters: text from elsewhere must not move the
/// cursor of the terminal.
pub(super) fn preview(text: &str) -> String {
    shortened(text, preview_chars())
}

fn shortened(text: &str, chars: usize) -> String {
    let mut flat: String = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    if flat.chars().count() > chars {
        flat = flat.chars().take(chars.saturating_sub(1)).collect();
        flat.push('…');
    }
    flat
}

/// A text as it is, without control characters other than line ends and tabs.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

/// A memory on several lines.
pub(super) fn memory(memory: &MemoryJson) -> String {
    let mut lines = vec![printable(&memory.content), String::new()];
    lines.push(format!("id        {}", memory.id));
    lines.push(format!("type      {}", printable(&memory.memory_type)));
    if !memory.tags.is_empty() {
        lines.push(format!("tags      {}", printable(&memory.tags.join(", "))));
    }
    if !memory.metadata.is_empty() {
        let metadata = serde_json::Value::Object(memory.metadata.clone());
        lines.push(format!("metadata  {metadata}"));
    }
    lines.push(format!("created   {}", memory.created_at));
    if memory.updated_at != memory.created_at {
        lines.push(format!("updated   {}", memory.updated_at));
    }
    if let Some(successor) = &memory.superseded_by {
        lines.push(format!("replaced  by {successor}"));
    }
    let origin = &memory.origin;
    lines.push(format!("origin    {} on device {}", printable(&origin.client), origin.device));
    let vector = match (memory.embedded, &memory.superseded_by) {
        (true, _) => "yes",
        (false, None) => "not yet",
        (false, Some(_)) => "no: a search finds what replaced it",
    };
    lines.push(format!("vector    {vector}"));
    lines.push(format!("in cloud  {}", if memory.synced { "yes" } else { "no" }));
    lines.join("\n")
}

/// A memory on one line.
pub(super) fn memory_line(memory: &MemoryJson) -> String {
    let id = memory.id.get(..SHORT_ID).unwrap_or(&memory.id);
    let replaced = if memory.superseded_by.is_some() { "  (replaced)" } else { "" };
    format!("{id}  {}{}{replaced}", preview(&memory.content), tags(&memory.tags))
}

/// Tags behind a text on the same line.
pub(super) fn tags(tags: &[String]) -> String {
    if tags.is_empty() { String::new() } else { format!("  [{}]", printable(&tags.join(", "))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        assert_eq!(counted(1, "duty", "duties"), "1 duty");
        assert_eq!(counted(0, "duty", "duties"), "0 duties");
    }

    #[test]
    fn text_from_elsewhere_never_moves_the_cursor() {
        assert_eq!(shortened("a\u{1b}[2Jb\nc\td", 30), "a[2Jb c d");
        assert_eq!(printable("a\u{1b}[31m\n\tb\r"), "a[31m\n\tb");
        assert_eq!(shortened(&"é".repeat(100), 30), format!("{}…", "é".repeat(29)));
        assert_eq!(shortened("short", 30), "short");
    }
}
