//! `search_by_tag`.

use super::{Output, dictionary};
use crate::api::wire::FilterJson;
use crate::mcp::arguments::Arguments;
use crate::mcp::daemon::Daemon;
use crate::mcp::failure::Failure;
use crate::mcp::form::{nested, with};
use crate::mcp::newest::{ANSWER_MAX, Newest};
use crate::model::draft::normalise_tag;
use serde_json::{Value, json};

pub(super) async fn run(
    daemon: &Daemon,
    client: &str,
    arguments: Arguments,
) -> Result<Output, Failure> {
    let filter = ask(arguments)?;
    let found = Newest::read(daemon, client, &filter, ANSWER_MAX).await?;
    Ok(answer(&filter, &found))
}

fn ask(mut arguments: Arguments) -> Result<FilterJson, Failure> {
    let given = arguments.tags("tags")?.unwrap_or_default();
    let mut tags: Vec<String> = Vec::with_capacity(given.len());
    for tag in given.iter().filter_map(|tag| normalise_tag(tag)) {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    if tags.is_empty() {
        return Err(Failure::Senseless {
            sentence: "the search names no tag",
            hint: "give at least one tag; list_memories shows everything",
        });
    }
    Ok(FilterJson { tags, tags_all: arguments.flag("match_all")?, ..FilterJson::default() })
}

/// `total` stands only where there are more than one answer carries.
fn answer(filter: &FilterJson, found: &Newest) -> Output {
    let n_shown = found.memories.len();
    let structured = json!({
        "memories": found.memories.iter().map(nested).collect::<Vec<Value>>(),
        "tags": filter.tags,
        "match_type": if filter.tags_all { "ALL" } else { "ANY" },
        "count": n_shown,
    });
    let is_cut = usize::try_from(found.total).is_ok_and(|total| total > n_shown);
    dictionary(if is_cut { with(structured, "total", json!(found.total)) } else { structured })
}

#[cfg(test)]
mod tests {
    use super::super::super::{Kind, given};
    use super::super::Legacy;
    use super::*;
    use crate::mcp::form::sample;

    fn filter(value: Value) -> Result<FilterJson, Failure> {
        ask(given(Kind::Legacy(Legacy::SearchByTag), value))
    }

    #[test]
    fn tags_are_told_as_they_are_looked_for() {
        let filter = filter(json!({"tags": " A, b ,a", "match_all": true})).unwrap();
        let memories = vec![sample("x", &["a", "b"])];
        let output = answer(&filter, &Newest { memories, total: 1 });
        assert_eq!(output.structured["tags"], json!(["a", "b"]));
        assert_eq!(output.structured["match_type"], "ALL");
        assert_eq!(output.structured["count"], 1);
        assert_eq!(output.structured.get("total"), None);
        assert_eq!(serde_json::from_str::<Value>(&output.text).unwrap(), output.structured);
    }

    #[test]
    fn an_answer_that_is_cut_says_so() {
        let filter = filter(json!({"tags": ["a"]})).unwrap();
        let output = answer(&filter, &Newest { memories: vec![sample("x", &["a"])], total: 5000 });
        assert_eq!(output.structured["count"], 1);
        assert_eq!(output.structured["total"], 5000);
    }

    #[test]
    fn a_search_for_no_tag_is_refused() {
        for value in [json!({}), json!({"tags": []}), json!({"tags": " ,"})] {
            assert_eq!(filter(value).unwrap_err().to_string(), "the search names no tag");
        }
    }
}
