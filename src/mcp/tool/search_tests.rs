use super::super::{Kind, given};
use super::*;
use crate::mcp::form::sample;

fn ask(value: Value) -> Ask {
    Ask::read(given(Kind::Search, value)).unwrap()
}

fn found(contents: &[&str], tags: &[&str]) -> Found {
    let memories = contents.iter().map(|content| sample(content, tags));
    Found {
        memories: memories.map(|memory| Scored { memory, score: Some(0.5) }).collect(),
        mode: "keyword".to_owned(),
        total: None,
        pending_embeddings: Some(2),
    }
}

#[test]
fn arguments_become_a_search() {
    let ask = ask(json!({
        "query": "who likes tea?", "mode": "exact", "tags": "a,b", "tag_match": "all", "limit": 3,
        "after": "2026-01-01", "before": "", "time_expr": "last week",
    }));
    let What::Search(request) = ask.what else { panic!("not a search: {ask:?}") };
    let expected = json!({
        "query": "who likes tea?", "n": 3, "mode": "exact", "tags": ["a", "b"], "tags_all": true,
        "after": "2026-01-01", "time": "last week",
    });
    assert_eq!(json!(request), expected);
}

#[test]
fn without_a_query_the_newest_that_pass_are_listed() {
    let what = ask(json!({"query": " ", "tags": ["a"]})).what;
    let What::Newest(filter) = what else { panic!("not a list: {what:?}") };
    assert_eq!(filter.tags, ["a"]);
    for nothing in [json!({}), json!({"tags": ""}), json!({"query": "", "tags": [" "]})] {
        let failure = Ask::read(given(Kind::Search, nothing)).unwrap_err();
        assert_eq!(failure.to_string(), "the search names nothing to look for");
    }
}

#[test]
fn hits_are_told_in_the_python_services_words() {
    let hash = "ab".repeat(32);
    let output =
        ask(json!({"query": "tea"})).answer(&found(&["I like tea", "Two\nlines"], &["x", "y"]));
    assert_eq!(
        output.text,
        format!(
            "Found 2 memories (mode: keyword) for query: 'tea'\n\n\
             1. I like tea\n   Hash: {hash}\n   Created: 2026-05-04T03:02:01.000500Z [x, y]\n\n\
             2. Two\nlines\n   Hash: {hash}\n   Created: 2026-05-04T03:02:01.000500Z [x, y]"
        )
    );
    assert_eq!(output.structured["memories"][0]["content"], "I like tea");
    assert_eq!(output.structured["memories"][1]["score"], 0.5);
    assert_eq!(output.structured["pending_embeddings"], 2);
    assert_eq!(output.structured["omitted"], 0);
    let nothing = ask(json!({"query": "tea"})).answer(&found(&[], &[]));
    assert_eq!(nothing.text, "No memories found for query: 'tea'");
    let nothing = ask(json!({"tags": "a"})).answer(&found(&[], &[]));
    assert_eq!(nothing.text, "No memories found");
}

#[test]
fn a_long_answer_is_cut_at_memories() {
    let (first, second) = ("ä".repeat(1000), "b".repeat(300));
    let found = found(&[&first, &second], &["t"]);
    let hash = "ab".repeat(32);
    let output = ask(json!({"query": "q", "max_response_chars": 1200})).answer(&found);
    assert_eq!(
        output.text,
        format!(
            "Found 2 memories (mode: keyword) for query: 'q'\n\n\
             [!] RESPONSE TRUNCATED: Showing 1 of 2 results (1,200 of 1,700 chars).\n\
             1 result(s) omitted to prevent context overflow.\n\
             Use specific queries or hash-based retrieval for full content.\n\n\n\
             === Memory 1 ===\nTimestamp: 2026-05-04T03:02:01.000500Z\nContent: {first}\n\
             Hash: {hash}\nTags: t\n---"
        )
    );
    assert_eq!(output.structured["memories"].as_array().unwrap().len(), 1);
    assert_eq!(output.structured["omitted"], 1);
    let whole = ask(json!({"query": "q", "max_response_chars": 1700})).answer(&found);
    assert!(whole.text.starts_with("Found 2 memories (mode: keyword) for query: 'q'\n\n1. ä"));
    let tiny = ask(json!({"query": "q", "max_response_chars": 1})).answer(&found);
    assert!(tiny.text.contains("Showing 1 of 2"));
}

#[test]
fn thousands_are_grouped() {
    let shown: Vec<String> = [0, 999, 1000, 1_234_567].into_iter().map(grouped).collect();
    assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
}
