//! `memory_get`.

use super::super::arguments::Arguments;
use super::super::daemon::{Call, Daemon};
use super::super::failure::Failure;
use super::super::form::nested;
use super::Output;
use crate::api::percent;
use crate::api::wire::MemoryJson;
use serde_json::{Value, json};
use std::fmt::Write as _;

pub(super) async fn run(
    daemon: &Daemon,
    client: &str,
    mut arguments: Arguments,
) -> Result<Output, Failure> {
    let hash = hash(&mut arguments)?;
    let call = Call::Get(format!("/v1/memories/{}", percent::encode(&hash)));
    Ok(answer(&daemon.call(client, &call).await?))
}

/// The hash that a call names.
pub(super) fn hash(arguments: &mut Arguments) -> Result<String, Failure> {
    let hash = arguments.needed_text("content_hash")?.trim().to_ascii_lowercase();
    if hash.is_empty() {
        return Err(Failure::Senseless {
            sentence: "content_hash is empty",
            hint: "give the hash that a search or a list shows",
        });
    }
    Ok(hash)
}

/// What is known of it first, then the text to its end: the text may look like anything.
fn answer(memory: &MemoryJson) -> Output {
    let mut text = format!("Hash: {}\nType: {}\n", memory.id, memory.memory_type);
    let mut line = |name: &str, value: &str| {
        // Writing to a String can't fail.
        let _infallible = writeln!(text, "{name}: {value}");
    };
    if !memory.tags.is_empty() {
        line("Tags", &memory.tags.join(", "));
    }
    if !memory.metadata.is_empty() {
        line("Metadata", &json!(memory.metadata).to_string());
    }
    line("Created", &memory.created_at);
    line("Updated", &memory.updated_at);
    if let Some(successor) = &memory.superseded_by {
        line("Superseded by", successor);
    }
    text.push('\n');
    text.push_str(&memory.content);
    Output { text, structured: structured(memory) }
}

fn structured(memory: &MemoryJson) -> Value {
    let mut structured = nested(memory);
    if let Value::Object(members) = &mut structured {
        members.insert(
            "origin".to_owned(),
            json!({"device": memory.origin.device, "client": memory.origin.client}),
        );
        members.insert("synced".to_owned(), json!(memory.synced));
        members.insert("embedded".to_owned(), json!(memory.embedded));
        if let Some(successor) = &memory.superseded_by {
            members.insert("superseded_by".to_owned(), json!(successor));
        }
    }
    structured
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::form::sample;

    #[test]
    fn the_text_comes_last_and_whole() {
        let mut memory = sample("Two\n\nlines", &["a", "b"]);
        memory.metadata.insert("n".to_owned(), json!(1));
        memory.superseded_by = Some("cd".repeat(32));
        let output = answer(&memory);
        let (hash, successor) = ("ab".repeat(32), "cd".repeat(32));
        assert_eq!(
            output.text,
            format!(
                "Hash: {hash}\nType: note\nTags: a, b\nMetadata: {{\"n\":1}}\n\
                 Created: 2026-05-04T03:02:01.000500Z\nUpdated: 2026-05-04T03:02:02.000000Z\n\
                 Superseded by: {successor}\n\nTwo\n\nlines"
            )
        );
        assert_eq!(output.structured["superseded_by"], successor);
        assert_eq!(output.structured["origin"]["client"], "t");
        let plain = answer(&sample("x", &[]));
        assert!(!plain.text.contains("Tags:") && !plain.text.contains("Metadata:"));
        assert_eq!(plain.structured.get("superseded_by"), None);
    }
}
