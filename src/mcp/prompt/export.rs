//! `knowledge_export`.

use super::{NEWEST, parts};
use crate::api::wire::{FilterJson, MemoryJson, SearchAnswer, SearchRequest};
use crate::mcp::arguments::Arguments;
use crate::mcp::daemon::{Call, Daemon};
use crate::mcp::failure::Failure;
use crate::mcp::form::{flat, indented};
use crate::mcp::newest::Newest;
use serde_json::{Value, json};

const FORMATS: &[&str] = &["json", "markdown", "text"];

pub(super) async fn text(
    daemon: &Daemon,
    client: &str,
    mut arguments: Arguments,
) -> Result<String, Failure> {
    let format = arguments.needed_choice("format", FORMATS)?;
    let memories = match arguments.words("filter")? {
        Some(words) if !words.contains(',') => searched(daemon, client, words).await?,
        tags => {
            let tags = tags.unwrap_or_default();
            let filter = FilterJson {
                tags: parts(&tags).map(str::to_owned).collect(),
                ..FilterJson::default()
            };
            Newest::read(daemon, client, &filter, NEWEST).await?.memories
        }
    };
    Ok(told(format, &memories))
}

async fn searched(
    daemon: &Daemon,
    client: &str,
    query: String,
) -> Result<Vec<MemoryJson>, Failure> {
    let n = i64::try_from(NEWEST).ok();
    let request = SearchRequest { query, n, ..SearchRequest::default() };
    let found: SearchAnswer =
        daemon.call(client, &Call::Post("/v1/search", json!(request))).await?;
    Ok(found.hits.into_iter().map(|hit| hit.memory).collect())
}

fn told(format: &str, memories: &[MemoryJson]) -> String {
    let mut text = format!("Exported {} memories in {format} format:\n\n", memories.len());
    match format {
        "markdown" => memories.iter().for_each(|memory| {
            text.push_str(&format!("## {}\n{}\n", memory.created_at, memory.content));
            if !memory.tags.is_empty() {
                text.push_str(&format!("*Tags: {}*\n", memory.tags.join(", ")));
            }
            text.push('\n');
        }),
        "text" => memories.iter().for_each(|memory| {
            text.push_str(&format!("[{}] {}\n", memory.created_at, memory.content));
        }),
        _ => text.push_str(&indented(&memories.iter().map(flat).collect::<Value>())),
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{Prompt, given};
    use super::*;
    use crate::mcp::form::sample;

    #[test]
    fn exports_have_the_python_services_words() {
        let memories = [sample("one", &["a", "b"]), sample("two", &[])];
        let at = "2026-05-04T03:02:01.000500Z";
        assert_eq!(
            told("markdown", &memories),
            format!(
                "Exported 2 memories in markdown format:\n\n\
                 ## {at}\none\n*Tags: a, b*\n\n## {at}\ntwo\n\n"
            )
        );
        assert_eq!(
            told("text", &memories),
            format!("Exported 2 memories in text format:\n\n[{at}] one\n[{at}] two\n")
        );
        let json = told("json", &memories);
        let (head, body) = json.split_once("\n\n").unwrap();
        assert_eq!(head, "Exported 2 memories in json format:");
        let read: Value = serde_json::from_str(body).unwrap();
        assert_eq!(read[0]["tags_str"], "a,b");
    }

    #[test]
    fn an_unknown_format_is_refused() {
        let mut arguments = given(Prompt::Export, json!({"format": "pdf"}));
        let text = arguments.needed_choice("format", FORMATS).unwrap_err().to_string();
        assert_eq!(text, "format is \"pdf\", it must be one of json, markdown, text");
    }
}
