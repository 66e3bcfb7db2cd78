//! The full set through the real front-end and a daemon: what the Python service's clients call, and the
//! words that they get.

use crate::front::{Era, Front};
use crate::home::Home;
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::Stdio;

fn full(home: &Home, era: Era) -> Front {
    Front::with(home, era, &["mcp", "--tools", "full"])
}

/// A prompt that must succeed; its one message.
fn prompt(front: &mut Front, name: &str, arguments: &Value) -> String {
    let answer = front.ask("prompts/get", json!({"name": name, "arguments": arguments}));
    let result = &answer["result"];
    assert_eq!(result["description"], format!("Result of {name} prompt"), "{answer}");
    assert_eq!(result["messages"].as_array().unwrap().len(), 1);
    assert_eq!(result["messages"][0]["role"], "user");
    result["messages"][0]["content"]["text"].as_str().unwrap().to_owned()
}

/// A resource that must be there; its text.
fn text_at(front: &mut Front, uri: &str) -> String {
    let answer = front.ask("resources/read", json!({"uri": uri}));
    let contents = &answer["result"]["contents"][0];
    assert_eq!(contents["uri"], uri, "{answer}");
    contents["text"].as_str().unwrap().to_owned()
}

fn json_at(front: &mut Front, uri: &str) -> Value {
    let text = text_at(front, uri);
    assert!(text.starts_with("{\n  \""), "not indented by 2: {text}");
    serde_json::from_str(&text).unwrap()
}

/// Takes in records as a file would hold them.
fn import(home: &Home, records: &[Value]) {
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    let mut child =
        home.command(&["import", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.join("\n").as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
}

fn exported(home: &Home) -> Vec<Value> {
    let output = home.run(&["export"]);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn one_memory_is_read_whole() {
    let home = Home::new();
    let mut front = full(&home, Era::Stateless);
    let (_, stored) = front.done(
        "memory_store",
        &json!({"content": "Two\n\nparagraphs", "metadata": {"tags": "a,b", "type": "fact"},
            "conversation_id": "c1", "agent_id": "codex"}),
    );
    let hash = stored["content_hash"].as_str().unwrap();
    let (text, memory) = front.done("memory_get", &json!({"content_hash": &hash[..12]}));
    assert!(text.starts_with(&format!(
        "Hash: {hash}\nType: fact\nTags: a, b\n\
         Metadata: {{\"agent_id\":\"codex\",\"conversation_id\":\"c1\"}}\nCreated: "
    )));
    assert!(text.ends_with("\n\nTwo\n\nparagraphs"), "{text}");
    assert_eq!(memory["content_hash"], hash);
    assert_eq!(memory["origin"]["client"], "hand");
    front.done("memory_delete", &json!({"content_hash": hash}));
    let text = front.refused("memory_get", &json!({"content_hash": hash}));
    assert!(text.starts_with(&format!("Error: memory {hash} was deleted at ")), "{text}");
    front.end();
    home.run(&["down"]);
}

#[test]
fn deleted_texts_come_back_unless_the_caller_says_no() {
    let home = Home::new();
    let mut front = full(&home, Era::Handshake);
    let (_, stored) = front.done("memory_store", &json!({"content": "gone and back"}));
    front.done("memory_delete", &json!({"content_hash": stored["content_hash"]}));
    let refused = front
        .refused("memory_store", &json!({"content": "Gone and back", "restore_deleted": false}));
    let start = "Error: Not stored: this content was deleted on 20";
    assert!(refused.starts_with(start), "{refused}");
    assert!(refused.contains("; pass restore_deleted=true to bring it back\nNext step: "));
    let new = json!({"content": "never seen", "restore_deleted": false});
    assert_eq!(front.done("memory_store", &new).1["created"], true);
    let back = json!({"content": "gone and back", "restore_deleted": true});
    assert_eq!(front.done("memory_store", &back).1["created"], true);
    front.end();
    home.run(&["down"]);
}

#[test]
fn a_session_is_kept_together() {
    let home = Home::new();
    let mut front = full(&home, Era::Stateless);
    let turns = json!([{"role": "user", "content": "How do I set up Redis?"},
        {"role": "assistant", "content": "Set REDIS_URL."}]);
    let (text, stored) = front.done(
        "memory_store_session",
        &json!({"turns": turns, "session_id": "s-1", "tags": "redis"}),
    );
    let hash = stored["content_hashes"][0].as_str().unwrap();
    assert_eq!(
        text,
        format!("Session stored successfully (session_id: s-1, hash: {hash}, turns: 2)")
    );
    let (_, memory) = front.done("memory_get", &json!({"content_hash": hash}));
    assert_eq!(memory["content"], "[user] How do I set up Redis?\n[assistant] Set REDIS_URL.");
    assert_eq!(memory["memory_type"], "session");
    assert_eq!(memory["tags"], json!(["redis", "session:s-1"]));
    let turn =
        |n: usize| json!({"role": "user", "content": format!("{n} {}", "word ".repeat(120))});
    let long = json!({"turns": [turn(1), turn(2), turn(3)]});
    let (text, first) = front.done("memory_store_session", &long);
    let id = first["session_id"].as_str().unwrap();
    assert_eq!(
        text,
        format!("Session stored successfully (session_id: {id}, chunks: 2/2, turns: 3)")
    );
    // The same again is the same session.
    assert_eq!(front.done("memory_store_session", &long).1, first);
    let (_, listed) = front.done("memory_list", &json!({"tags": [format!("session:{id}")]}));
    assert_eq!(listed["total"], 2);
    assert_eq!(listed["memories"][0]["tags"][0], "chunk:2/2");
    front.end();
    home.run(&["down"]);
}

#[test]
fn a_session_that_is_stored_by_half_says_how_to_go_on() {
    let home = Home::new();
    let mut front = full(&home, Era::Stateless);
    let too_long = "x".repeat((1 << 20) + 1);
    let turns =
        json!([{"role": "user", "content": "short"}, {"role": "user", "content": too_long}]);
    let arguments = json!({"turns": turns, "session_id": "half"});
    let text = front.refused("memory_store_session", &arguments);
    assert!(text.starts_with("Error: session chunk 2/2 is not stored: the text has 104"), "{text}");
    assert!(text.contains("then call again with session_id \"half\": the 1 that are stored"));
    front.end();
    home.run(&["down"]);
}

#[test]
fn duplicates_go_and_leave_what_they_had() {
    let home = Home::new();
    let mut front = full(&home, Era::Stateless);
    let nothing = front.done("memory_cleanup", &json!({}));
    assert_eq!(nothing.0, "No duplicate memories found");
    front.done(
        "memory_store",
        &json!({"content": "said twice", "tags": "old", "metadata": {"n": 1}}),
    );
    // The same text under another id, as the Python service's early releases made them.
    let mut record = exported(&home).remove(0);
    let native = record["id"].as_str().unwrap().to_owned();
    front.done(
        "memory_update",
        &json!({"content_hash": native, "updates":
        {"tags": ["new"], "metadata": {"n": null}}}),
    );
    let strange = "d".repeat(64);
    record["id"] = json!(strange);
    import(&home, &[record]);
    let (text, cleaned) = front.done("memory_cleanup", &json!({}));
    assert_eq!(text, "Successfully soft-deleted 1 duplicate memories");
    assert_eq!(cleaned, json!({"deleted": 1, "hashes": [strange], "kept": [native]}));
    let (_, kept) = front.done("memory_get", &json!({"content_hash": native}));
    assert_eq!(kept["tags"], json!(["new", "old"]));
    assert_eq!(kept["metadata"], json!({"n": 1}));
    assert_eq!(front.done("memory_cleanup", &json!({})).0, "No duplicate memories found");
    front.end();
    home.run(&["down"]);
}

#[test]
fn numbers_are_true_where_the_python_service_counts_caches() {
    let home = Home::new();
    let mut front = full(&home, Era::Stateless);
    front.done("memory_store", &json!({"content": "one", "tags": "a,b"}));
    let (text, stats) = front.done("memory_stats", &json!({}));
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), stats);
    let message = stats["message"].as_str().unwrap();
    assert!(message.starts_with("MCP server caching is INACTIVE with 0.0% hit rate"), "{message}");
    assert_eq!(stats["backend_info"]["storage_backend"], "memtide");
    assert_eq!(stats["statistics"]["total_memories"], 1);
    assert_eq!(stats["statistics"]["unique_tags"], 2);
    assert_eq!(stats["statistics"]["memories_this_week"], 1);
    assert_eq!(json_at(&mut front, "memory://stats"), stats["statistics"]);
    front.end();
    home.run(&["down"]);
}

#[test]
fn what_memtide_does_not_have_is_refused_by_name() {
    let home = Home::new();
    let mut front = full(&home, Era::Stateless);
    let hash = "f".repeat(64);
    for (tool, arguments, name) in [
        ("memory_store", json!({"content": "x", "store": "docs"}), "store"),
        ("memory_search", json!({"query": "x", "rerank": true}), "rerank"),
        ("memory_search", json!({"query": "x", "include_beliefs": false}), "include_beliefs"),
        ("memory_list", json!({"stale_days": 3}), "stale_days"),
        (
            "memory_update",
            json!({"content_hash": hash, "updates": {"tags": []}, "preserve_timestamps": true}),
            "preserve_timestamps",
        ),
        ("memory_store_session", json!({"turns": [], "store": "docs"}), "store"),
        ("memory_cleanup", json!({"dry_run": true}), "dry_run"),
    ] {
        let text = front.refused(tool, &arguments);
        assert!(text.starts_with(&format!("Error: {tool} has no argument {name:?}")), "{text}");
    }
    let answer = front.ask("tools/call", json!({"name": "memory_consolidate", "arguments": {}}));
    assert_eq!(answer["error"]["code"], -32602);
    front.end();
    home.run(&["down"]);
}

#[test]
fn prompts_show_memories_in_the_python_services_words() {
    for era in [Era::Stateless, Era::Handshake] {
        let home = Home::new();
        let mut front = full(&home, era);
        for (content, tags) in [("first", "work,a"), ("second", "")] {
            front.done("memory_store", &json!({"content": content, "tags": tags}));
        }
        let (review, focus) = (json!({"time_period": "last 2 days", "focus_area": "work"}), "work");
        assert_eq!(
            prompt(&mut front, "memory_review", &review),
            format!(
                "Review of memories from last 2 days (focusing on {focus}):\n\n\
                 - second\n- first\n  Tags: a, work\n"
            )
        );
        assert_eq!(
            prompt(
                &mut front,
                "memory_analysis",
                &json!({"tags": "work", "time_range": "last 2 days"})
            ),
            "Memory Analysis for tags: work from last 2 days\n\nTotal memories analyzed: 1\n\n\
             Top tags:\n  - a: 1 occurrences\n  - work: 1 occurrences\n\nMemory types:\n  \
             - note: 1 memories\n"
        );
        // A time that the Python service names in the heading and then forgets.
        let before = json!({"time_range": "last year"});
        let analysis = prompt(&mut front, "memory_analysis", &before);
        assert!(analysis.contains("Total memories analyzed: 0\n"), "{analysis}");
        let exported = prompt(&mut front, "knowledge_export", &json!({"format": "text"}));
        assert!(exported.starts_with("Exported 2 memories in text format:\n\n[20"), "{exported}");
        assert!(exported.ends_with("] first\n"), "{exported}");
        let found = json!({"format": "json", "filter": "second"});
        let exported = prompt(&mut front, "knowledge_export", &found);
        assert!(exported.starts_with("Exported 1 memories in json format:\n\n["), "{exported}");
        let report = json!({"older_than": "6 months"});
        assert_eq!(
            prompt(&mut front, "memory_cleanup", &report),
            "Memory Cleanup Report:\n\nFound 0 potential duplicate pairs\n\n\
             Memories older than 6 months can be archived: 0\n"
        );
        let wrong = json!({"name": "memory_review", "arguments": {"time_period": "when pigs fly"}});
        let message = front.ask("prompts/get", wrong)["error"].take();
        assert_eq!(message["code"], -32602);
        let said = message["message"].as_str().unwrap();
        assert!(said.starts_with("Error: the time \"when pigs fly\" is not understood"), "{said}");
        front.end();
        home.run(&["down"]);
    }
}

#[test]
fn a_learning_session_is_stored_once_its_values_are_there() {
    let home = Home::new();
    let mut front = full(&home, Era::Handshake);
    let preview = json!({"topic": "$1", "key_points": "moves", "questions": "$3"});
    let text = prompt(&mut front, "learning_session", &preview);
    assert!(
        text.starts_with(
            "Preview only — not persisted. Unresolved CLI placeholder argument(s): topic, questions."
        ),
        "{text}"
    );
    assert_eq!(front.done("memory_list", &json!({})).1["total"], 0);
    let session = json!({"topic": "Rust Basics", "key_points": "moves, borrows"});
    let text = prompt(&mut front, "learning_session", &session);
    let start =
        "Learning session stored successfully!\n\n# Learning Session: Rust Basics\n\nDate: ";
    assert!(text.starts_with(start), "{text}");
    assert!(text.ends_with("## Key Points:\n- moves\n- borrows\n"), "{text}");
    let (_, listed) = front.done("memory_list", &json!({"memory_type": "learning"}));
    assert_eq!(listed["memories"][0]["tags"], json!(["learning", "rust_basics"]));
    let note = text.split_once("!\n\n").unwrap().1;
    assert_eq!(listed["memories"][0]["content"], note);
    front.end();
    home.run(&["down"]);
}

#[test]
fn resources_show_what_is_there() {
    let home = Home::new();
    let mut front = full(&home, Era::Stateless);
    for (content, tags) in [("about tea", "drink,a b"), ("about coffee", "drink")] {
        let arguments = json!({"content": content, "tags": tags, "metadata": {"source": "chat"}});
        front.done("memory_store", &arguments);
    }
    let listed = front.ask("resources/list", json!({}));
    let listed = listed["result"]["resources"].as_array().unwrap();
    let uris: Vec<&str> = listed.iter().map(|entry| entry["uri"].as_str().unwrap()).collect();
    assert_eq!(
        uris,
        [
            "memory://stats",
            "memory://tags",
            "memory://recent/10",
            "memory://onboarding/generic",
            "memory://agent/default/bootstrap",
            "memory://tag/drink",
            "memory://tag/a%20b",
        ]
    );
    let templates = front.ask("resources/templates/list", json!({}));
    let uris: Vec<&str> = templates["result"]["resourceTemplates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|template| template["uriTemplate"].as_str().unwrap())
        .collect();
    assert_eq!(uris, ["memory://recent/{n}", "memory://tag/{tag}", "memory://search/{query}"]);
    let tags = json_at(&mut front, "memory://tags");
    assert_eq!(tags, json!({"tags": ["drink", "a b"], "count": 2}));
    let recent = json_at(&mut front, "memory://recent/1");
    assert_eq!(recent["count"], 1);
    let memory = &recent["memories"][0];
    assert_eq!((&memory["content"], &memory["type"]), (&json!("about coffee"), &json!("note")));
    assert_eq!((&memory["tags_str"], &memory["source"]), (&json!("drink"), &json!("chat")));
    assert_eq!(memory["timestamp"], memory["created_at"]);
    let tagged = json_at(&mut front, "memory://tag/a%20b");
    assert_eq!((&tagged["tag"], &tagged["count"]), (&json!("a b"), &json!(1)));
    let found = json_at(&mut front, "memory://search/tea");
    assert_eq!((&found["query"], &found["count"]), (&json!("tea"), &json!(1)));
    let hit = &found["results"][0];
    assert_eq!(hit["memory"]["content"], "about tea");
    assert_eq!(hit["relevance_score"], hit["similarity_score"]);
    let guide = text_at(&mut front, "memory://onboarding/claude-code");
    assert!(guide.starts_with("## Integration Guide: memtide\n"), "{guide}");
    let profile = text_at(&mut front, "memory://agent/default/bootstrap");
    assert!(profile.contains("No data available yet."), "{profile}");
    for (content, agent) in
        [("Never push on Fridays", "codex"), ("Never skip the tests", "default")]
    {
        let arguments = json!({"content": content, "memory_type": "mistake", "agent_id": agent});
        front.done("memory_store", &arguments);
    }
    let profile = text_at(&mut front, "memory://agent/default/bootstrap");
    assert!(profile.contains("DO NOT ignore)\n- Never skip the tests\n\n"), "{profile}");
    assert!(!profile.contains("Fridays"), "another agent's: {profile}");
    let answer = front.ask("resources/read", json!({"uri": "memory://recent/0"}));
    assert_eq!(answer["error"]["message"], "Resource not found: memory://recent/0");
    front.end();
    home.run(&["down"]);
}

#[test]
fn more_than_a_page_is_read_page_by_page() {
    let home = Home::new();
    let mut front = full(&home, Era::Stateless);
    for n in 0..205 {
        front.request(
            "tools/call",
            json!({"name": "memory_store", "arguments": {"content": format!("memory {n}"), "tags": "many"}}),
        );
    }
    for _ in 0..205 {
        assert_eq!(front.read()["result"]["isError"], false);
    }
    let tagged = json_at(&mut front, "memory://tag/many");
    assert_eq!(tagged["count"], 205);
    assert_eq!(tagged.get("total"), None);
    let recent = json_at(&mut front, "memory://recent/150");
    assert_eq!(recent["memories"].as_array().unwrap().len(), 150);
    let analysis = prompt(&mut front, "memory_analysis", &json!({}));
    let said = "Total memories analyzed: 100 (the newest of 205)";
    assert!(analysis.contains(said), "{analysis}");
    front.end();
    home.run(&["down"]);
}
