//! The old tools through the real front-end and a daemon: their answers are dictionaries.

use crate::front::{Era, Front};
use crate::home::Home;
use serde_json::{Value, json};

fn legacy(home: &Home, era: Era) -> Front {
    Front::with(home, era, &["mcp", "--tools", "legacy"])
}

/// A call that must succeed; its text is its structured content.
fn done(front: &mut Front, tool: &str, arguments: &Value) -> Value {
    let (text, structured) = front.done(tool, arguments);
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), structured, "{tool}");
    structured
}

#[test]
fn the_old_tools_answer_as_they_did() {
    for era in [Era::Stateless, Era::Handshake] {
        let home = Home::new();
        let mut front = legacy(&home, era);
        let arguments = json!({"content": "The user drinks Darjeeling", "tags": "drink",
            "memory_type": "preference", "metadata": {"tags": ["Tea"], "n": 1},
            "client_hostname": "box"});
        let stored = done(&mut front, "store_memory", &arguments);
        let hash = stored["content_hash"].clone();
        let expected = json!({"success": true, "message": "Memory stored successfully",
            "content_hash": hash});
        assert_eq!(stored, expected);
        let found = done(&mut front, "retrieve_memory", &json!({"query": "darjeeling"}));
        assert_eq!((&found["query"], &found["count"]), (&json!("darjeeling"), &json!(1)));
        let memory = &found["memories"][0];
        assert_eq!(memory["content_hash"], hash);
        assert!(memory["similarity_score"].is_number(), "{memory}");
        assert_eq!(memory["metadata"], json!({"hostname": "box", "n": 1}));
        assert_eq!(memory["memory_type"], "preference");
        assert!(memory["created_at"].is_number() && memory["created_at_iso"].is_string());
        let tagged = json!({"tags": "TEA, source:box", "match_all": true});
        let tagged = done(&mut front, "search_by_tag", &tagged);
        assert_eq!(tagged["tags"], json!(["tea", "source:box"]));
        assert_eq!((&tagged["match_type"], &tagged["count"]), (&json!("ALL"), &json!(1)));
        let any = done(&mut front, "search_by_tag", &json!({"tags": ["tea", "none"]}));
        assert_eq!((&any["match_type"], &any["count"]), (&json!("ANY"), &json!(1)));
        let listed = done(&mut front, "list_memories", &json!({"tag": "drink"}));
        assert_eq!(listed["memories"][0]["content_hash"], hash);
        let page = (&listed["page"], &listed["page_size"], &listed["total"]);
        assert_eq!(page, (&json!(1), &json!(10), &json!(1)));
        assert_eq!((&listed["total_pages"], &listed["has_more"]), (&json!(1), &json!(false)));
        let health = done(&mut front, "check_database_health", &json!({}));
        assert_eq!(
            (&health["storage_type"], &health["backend"]),
            (&json!("memtide"), &json!("memtide"))
        );
        assert_eq!((&health["total_memories"], &health["unique_tags"]), (&json!(1), &json!(3)));
        // Without a model the memory is not well, and says so where the Python service says it is.
        assert_eq!(health["healthy"], false);
        assert_eq!(health["problems"][0]["code"], "embedder_missing");
        let stats = done(&mut front, "get_cache_stats", &json!({}));
        assert_eq!(stats["total_calls"], 0);
        assert_eq!(stats["storage_cache"]["keys"], json!([]));
        let deleted = done(&mut front, "delete_memory", &json!({"content_hash": hash}));
        assert_eq!(deleted, json!({"success": true, "content_hash": hash}));
        front.end();
        home.run(&["down"]);
    }
}

#[test]
fn what_the_old_tools_hid_is_an_error() {
    let home = Home::new();
    let mut front = legacy(&home, Era::Stateless);
    let unknown = "f".repeat(64);
    let stored = done(&mut front, "store_memory", &json!({"content": "to go"}));
    done(&mut front, "delete_memory", &json!({"content_hash": stored["content_hash"]}));
    for (tool, arguments, start) in [
        ("store_memory", json!({"content": " "}), "the text is empty (only white space)"),
        (
            "store_memory",
            json!({"content": "to go", "restore_deleted": false}),
            "Not stored: this content was deleted on 20",
        ),
        (
            "store_memory",
            json!({"content": "x", "agent_id": "a"}),
            "store_memory has no argument \"agent_id\"",
        ),
        ("retrieve_memory", json!({"query": " "}), "the query is empty"),
        (
            "retrieve_memory",
            json!({"query": "x", "n_results": 0}),
            "n_results is 0, it must be between 1 and 100",
        ),
        ("search_by_tag", json!({"tags": []}), "the search names no tag"),
        ("delete_memory", json!({"content_hash": unknown}), "there is no memory"),
        ("delete_memory", json!({"content_hash": ""}), "content_hash is empty"),
        ("list_memories", json!({"page": 0}), "page is 0, it must be between 1 and"),
    ] {
        let text = front.refused(tool, &arguments);
        assert!(text.starts_with(&format!("Error: {start}")), "{tool} {text}");
        assert!(text.contains("\nNext step: "), "{tool} {text}");
    }
    let answer = front.ask("tools/call", json!({"name": "memory_store", "arguments": {}}));
    assert_eq!(answer["error"]["code"], -32602);
    front.end();
    home.run(&["down"]);
}
