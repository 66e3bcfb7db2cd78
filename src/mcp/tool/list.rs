//! `memory_list`.

use super::super::arguments::Arguments;
use super::super::daemon::{Call, Daemon};
use super::super::failure::Failure;
use super::super::form::{indented, nested};
use super::super::newest;
use super::{Output, wants_all_tags};
use crate::api::wire::{FilterJson, ListAnswer};
use serde_json::{Value, json};

pub(super) async fn run(
    daemon: &Daemon,
    client: &str,
    arguments: Arguments,
) -> Result<Output, Failure> {
    let call = Call::Get(ask(arguments)?);
    Ok(answer(&daemon.call(client, &call).await?))
}

fn ask(mut arguments: Arguments) -> Result<String, Failure> {
    let filter = FilterJson {
        tags: arguments.tags("tags")?.unwrap_or_default(),
        tags_all: wants_all_tags(&mut arguments)?,
        memory_type: arguments.words("memory_type")?,
        ..FilterJson::default()
    };
    Ok(newest::path(&filter, page(&mut arguments)?, page_size(&mut arguments, 20)?))
}

/// Which page is asked for.
pub(super) fn page(arguments: &mut Arguments) -> Result<usize, Failure> {
    let page = arguments.number("page", 1, i64::MAX)?.unwrap_or(1);
    Ok(usize::try_from(page).unwrap_or(usize::MAX))
}

/// How many memories a page shall have.
pub(super) fn page_size(arguments: &mut Arguments, default: usize) -> Result<usize, Failure> {
    let size = arguments.number("page_size", 1, 100)?;
    Ok(size.and_then(|size| usize::try_from(size).ok()).unwrap_or(default))
}

/// A page in the Python service's words.
pub(super) fn answer(listed: &ListAnswer) -> Output {
    let n_per_page = u64::try_from(listed.page_size).unwrap_or(1).max(1);
    let structured = json!({
        "memories": listed.memories.iter().map(nested).collect::<Vec<Value>>(),
        "page": listed.page,
        "page_size": listed.page_size,
        "total": listed.total,
        "total_pages": listed.total.div_ceil(n_per_page),
        "has_more": listed.has_more,
    });
    Output { text: indented(&structured), structured }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, given};
    use super::*;
    use crate::mcp::form::sample;

    #[test]
    fn arguments_become_a_query() {
        let value = json!({"page": 2, "page_size": 5, "tags": ["a b", "ä"], "tag_match": "all",
            "memory_type": "note"});
        assert_eq!(
            ask(given(Kind::List, value)).unwrap(),
            "/v1/memories?page=2&page_size=5&tag=a%20b&tag=%C3%A4&tags_all=true&type=note"
        );
        let defaults = ask(given(Kind::List, json!({}))).unwrap();
        assert_eq!(defaults, "/v1/memories?page=1&page_size=20");
        assert!(ask(given(Kind::List, json!({"page_size": 101}))).is_err());
    }

    #[test]
    fn the_text_is_the_python_services_json() {
        let mut memory = sample("text", &["a"]);
        memory.metadata.insert("agent_id".to_owned(), json!("claude"));
        let listed = ListAnswer {
            memories: vec![memory],
            page: 1,
            page_size: 20,
            total: 41,
            has_more: true,
        };
        let output = answer(&listed);
        let read: Value = serde_json::from_str(&output.text).unwrap();
        assert_eq!(read, output.structured);
        assert!(output.text.starts_with("{\n  \""), "not indented by 2: {}", output.text);
        assert_eq!(read["total_pages"], 3);
        let memory = &read["memories"][0];
        assert_eq!(memory["created_at"], json!(1_777_863_721.000_5));
        assert_eq!(memory["created_at_iso"], "2026-05-04T03:02:01.000500Z");
        assert_eq!(memory["content_hash"], "ab".repeat(32));
        assert_eq!(memory["agent_id"], "claude");
    }
}
