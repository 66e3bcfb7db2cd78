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

/// Puts connections into the database, as an import of the Python service's does. No daemon may run.
fn connect(home: &Home, ends: &[(&Value, &Value)]) {
    let database = crate::lock_file(home).with_file_name("memtide.db");
    let database = rusqlite::Connection::open(database).unwrap();
    database
        .execute(
            "INSERT INTO source(key, path, state, is_followed, cursor, imported, total, began_at, changed_at)
             VALUES (1, '/old.db', 'imported', 0, 0, 0, 0, 0, 0)",
            (),
        )
        .unwrap();
    for (origin, target) in ends {
        let n_new = database.execute(
            "INSERT INTO edge(source, origin, target, similarity, kinds, relation, metadata, pass)
             VALUES (1, ?1, ?2, 0.5, '[\"semantic\"]', 'causes', '{\"n\":1}', 1)",
            (origin.as_str().unwrap(), target.as_str().unwrap()),
        );
        assert_eq!(n_new.unwrap(), 1);
    }
}

#[test]
fn the_graph_is_what_was_imported() {
    let home = Home::new();
    let mut front = legacy(&home, Era::Handshake);
    let hashes: Vec<Value> = ["one", "two", "three"]
        .into_iter()
        .map(|text| {
            done(&mut front, "store_memory", &json!({"content": text}))["content_hash"].take()
        })
        .collect();
    let (one, two, three) = (&hashes[0], &hashes[1], &hashes[2]);
    let around = json!({"action": "connected", "hash": one});
    let nothing = done(&mut front, "memory_graph", &around);
    assert_eq!((&nothing["success"], &nothing["connected"]), (&json!(true), &json!([])));
    let message = nothing["message"].as_str().unwrap();
    assert!(message.contains("imported and makes none by itself"), "{message}");
    home.run(&["down"]);
    connect(&home, &[(one, two), (two, three)]);
    let found = done(&mut front, "memory_graph", &around);
    let expected = json!({"success": true, "count": 2, "connected":
        [{"hash": two, "distance": 1}, {"hash": three, "distance": 2}]});
    assert_eq!(found, expected);
    let path = json!({"action": "path", "hash1": one, "hash2": three});
    let found = done(&mut front, "memory_graph", &path);
    assert_eq!(found, json!({"success": true, "path": [one, two, three], "length": 3}));
    let back = json!({"action": "path", "hash1": three, "hash2": one});
    let none = done(&mut front, "memory_graph", &back);
    assert_eq!((&none["path"], &none["length"]), (&Value::Null, &json!(0)));
    assert!(none["message"].as_str().unwrap().starts_with("No path found within depth limit"));
    let around = json!({"action": "subgraph", "hash": two, "radius": 1});
    let found = done(&mut front, "memory_graph", &around);
    assert_eq!((&found["node_count"], &found["edge_count"]), (&json!(3), &json!(2)));
    let edges = found["edges"].as_array().unwrap();
    let of_one = edges.iter().find(|edge| edge["source"] == *one).unwrap();
    let expected = json!({"source": one, "target": two, "similarity": 0.5,
        "connection_types": ["semantic"], "metadata": {"n": 1}, "relationship_type": "causes"});
    assert_eq!(*of_one, expected);
    let unknown = json!({"action": "connected", "hash": "f".repeat(64)});
    let text = front.refused("memory_graph", &unknown);
    assert!(text.starts_with("Error: there is no memory"), "{text}");
    front.end();
    home.run(&["down"]);
}
