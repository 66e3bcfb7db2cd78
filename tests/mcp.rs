//! The MCP front-end as a client meets it: the real program over pipes, in both eras of the
//! protocol, without a daemon, through one, and while it is replaced.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[path = "mcp/front.rs"]
mod front;
#[path = "mcp/full.rs"]
mod full;
#[path = "support/home.rs"]
mod home;
#[path = "mcp/legacy.rs"]
mod legacy;

use front::{Era, Front};
use home::Home;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;

const ERAS: [Era; 2] = [Era::Stateless, Era::Handshake];

/// Where the daemon of this home keeps its files; the folder differs by system.
fn lock_file(home: &Home) -> std::path::PathBuf {
    let candidates = [".local/share/memtide", "Library/Application Support/memtide"];
    let folder = candidates.iter().map(|name| home.folder().join(name)).find(|path| path.exists());
    folder.unwrap().join("memtide.lock")
}

fn daemon_pid(home: &Home) -> i32 {
    let lock: Value = serde_json::from_slice(&std::fs::read(lock_file(home)).unwrap()).unwrap();
    i32::try_from(lock["pid"].as_i64().unwrap()).unwrap()
}

/// What lies at the top of the home.
fn files(home: &Home) -> BTreeSet<std::ffi::OsString> {
    std::fs::read_dir(home.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect()
}

fn signal(name: &str, pid: i32) {
    let sent = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(sent.unwrap().success());
}

#[test]
fn tools_are_listed_without_a_daemon() {
    for era in ERAS {
        let home = Home::new();
        let before = files(&home);
        let mut front = Front::with(&home, era, &["mcp", "--no-spawn"]);
        let listed = front.ask("tools/list", json!({}));
        assert!(listed.to_string().len() <= 6_000, "{} bytes", listed.to_string().len());
        assert_eq!(listed["result"]["tools"].as_array().unwrap().len(), 6);
        let text = front.refused("memory_search", &json!({"query": "tea"}));
        assert!(text.starts_with("Error: no memtide daemon is running\nNext step: "), "{text}");
        front.end();
        assert_eq!(files(&home), before, "files were made");
    }
}

#[test]
fn every_tool_works_through_a_daemon_that_it_starts() {
    for era in ERAS {
        let home = Home::new();
        let mut front = Front::open(&home, era);
        let (text, stored) = front.done(
            "memory_store",
            &json!({"content": "The user drinks Darjeeling", "metadata":
                {"tags": "drink, Preference", "type": "preference", "source": "chat"}}),
        );
        let hash = stored["content_hash"].as_str().unwrap().to_owned();
        assert_eq!(text, format!("Memory stored successfully (hash: {hash})"));
        assert_eq!(stored["created"], true);
        let (text, found) = front.done("memory_search", &json!({"query": "darjeeling"}));
        assert!(text.starts_with(
            "Found 1 memories (mode: keyword) for query: 'darjeeling'\n\n\
             1. The user drinks Darjeeling\n   Hash: "
        ));
        assert_eq!(found["memories"][0]["tags"], json!(["drink", "preference"]));
        assert_eq!(found["memories"][0]["metadata"], json!({"source": "chat"}));
        let (_, found) = front.done("memory_search", &json!({"query": "JEEL", "mode": "exact"}));
        assert_eq!(found["memories"][0]["content_hash"], hash);
        let (_, found) =
            front.done("memory_search", &json!({"tags": ["drink"], "time_expr": "today"}));
        assert_eq!(found["mode"], "newest");
        assert_eq!(found["total"], 1);
        let (text, listed) = front.done("memory_list", &json!({"memory_type": "preference"}));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), listed);
        assert_eq!(listed["memories"][0]["memory_type"], "preference");
        let change = json!({"content_hash": hash, "updates": {"tags": ["tea"], "sure": true}});
        let (text, _) = front.done("memory_update", &change);
        let said = "Successfully updated memory metadata. Updated fields: tags, sure, updated_at";
        assert_eq!(text, said);
        let (_, listed) = front.done("memory_list", &json!({"tags": "tea"}));
        assert_eq!(listed["memories"][0]["metadata"], json!({"source": "chat", "sure": true}));
        let (_, planned) = front.done("memory_delete", &json!({"tags": ["tea"], "dry_run": true}));
        assert_eq!(planned["hashes"], json!([hash]));
        let (text, _) = front.done("memory_delete", &json!({"content_hash": hash}));
        let said = format!("Successfully deleted memory {hash}\n\nDeleted 1 memories");
        assert_eq!(text, said);
        let (text, health) = front.done("memory_health", &json!({}));
        assert!(text.starts_with("Database Health Check Results:\n{"), "{text}");
        assert_eq!(health["statistics"]["total_memories"], 0);
        assert_eq!(health["statistics"]["deleted_memories"], 1);
        front.end();
        home.run(&["down"]);
    }
}

#[test]
fn the_author_of_a_memory_is_the_client_that_called() {
    let home = Home::new();
    for era in ERAS {
        let mut front = Front::open(&home, era);
        front.done("memory_store", &json!({"content": format!("by {era:?}")}));
        front.end();
    }
    let output = home.run(&["list", "--json"]);
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    let memories = listed["memories"].as_array().unwrap();
    assert_eq!(memories.len(), 2);
    assert!(memories.iter().all(|memory| memory["origin"]["client"] == "hand"), "{memories:?}");
    home.run(&["down"]);
}

#[test]
fn calls_go_on_when_the_daemon_was_replaced() {
    for era in ERAS {
        let home = Home::new();
        let mut front = Front::open(&home, era);
        let text = json!({"content": "kept through stops and kills"});
        let (_, first) = front.done("memory_store", &text);
        let before = daemon_pid(&home);
        home.run(&["down"]);
        let (_, found) = front.done("memory_search", &json!({"query": "stops", "mode": "keyword"}));
        assert_eq!(found["memories"][0]["content_hash"], first["content_hash"]);
        let after = daemon_pid(&home);
        assert_ne!(before, after, "no other daemon took over");
        signal("-9", after);
        let (_, again) = front.done("memory_store", &text);
        assert_eq!(again["content_hash"], first["content_hash"]);
        assert_eq!(again["created"], false);
        assert_ne!(daemon_pid(&home), after, "no other daemon took over");
        front.end();
        home.run(&["down"]);
    }
}

#[test]
fn a_daemon_that_is_stopping_loses_no_call() {
    for round in 0..8 {
        let home = Home::new();
        let mut front = Front::open(&home, Era::Stateless);
        front.done("memory_health", &json!({}));
        // The call meets the daemon still serving, on its way down, or gone.
        signal("-TERM", daemon_pid(&home));
        let text = format!("stored in round {round}");
        let (_, stored) = front.done("memory_store", &json!({"content": text}));
        let (_, listed) = front.done("memory_list", &json!({}));
        assert_eq!(listed["total"], 1);
        assert_eq!(listed["memories"][0]["content_hash"], stored["content_hash"]);
        front.end();
    }
}

#[test]
fn front_ends_that_start_together_share_one_daemon() {
    let home = Home::new();
    let mut fronts: Vec<Front> = (0..8).map(|_| Front::open(&home, Era::Stateless)).collect();
    // All calls are under way before the first answer is read.
    for (at, front) in fronts.iter_mut().enumerate() {
        let arguments = json!({"content": format!("memory of front-end {at}")});
        front.request("tools/call", json!({"name": "memory_store", "arguments": arguments}));
    }
    let mut hashes = BTreeSet::new();
    for front in &mut fronts {
        let answer = front.read();
        assert_eq!(answer["result"]["isError"], false, "{answer}");
        let hash = &answer["result"]["structuredContent"]["content_hash"];
        hashes.insert(hash.as_str().unwrap().to_owned());
    }
    assert_eq!(hashes.len(), 8);
    let (_, listed) = fronts[0].done("memory_list", &json!({}));
    assert_eq!(listed["total"], 8);
    fronts.into_iter().for_each(Front::end);
    home.run(&["down"]);
}

#[test]
fn the_end_of_the_input_ends_the_front_end_with_success() {
    let home = Home::new();
    for era in ERAS {
        Front::silent(&home, era, &["mcp", "--no-spawn"]).end();
        Front::with(&home, era, &["mcp", "--no-spawn"]).end();
    }
    // Also while a daemon is starting, which then goes on by itself.
    Front::silent(&home, Era::Stateless, &["mcp"]).end();
    home.run(&["store", "so that the daemon is up for certain"]);
    home.run(&["down"]);
}

#[test]
fn what_was_asked_before_the_input_ended_is_answered() {
    let home = Home::new();
    let mut front = Front::open(&home, Era::Handshake);
    front.done("memory_health", &json!({}));
    let arguments = json!({"content": "the last words of a session"});
    let id = front.request("tools/call", json!({"name": "memory_store", "arguments": arguments}));
    front.end_input();
    let answer = front.read();
    assert_eq!(answer["id"], id);
    assert_eq!(answer["result"]["structuredContent"]["created"], true);
    front.end();
    home.run(&["down"]);
}

#[test]
fn what_can_not_be_done_is_told_with_the_next_step() {
    let home = Home::new();
    let mut front = Front::open(&home, Era::Stateless);
    let unknown = "f".repeat(64);
    for (tool, arguments, start) in [
        (
            "memory_store",
            json!({"content": "x", "agent_id": "a"}),
            "memory_store has no argument \"agent_id\"",
        ),
        (
            "memory_search",
            json!({"query": "x", "quality_boost": 0.5}),
            "memory_search has no argument \"quality_boost\"",
        ),
        (
            "memory_search",
            json!({"query": "x", "rerank": false}),
            "memory_search has no argument \"rerank\"",
        ),
        ("memory_list", json!({"stale_days": 3}), "memory_list has no argument \"stale_days\""),
        ("memory_store", json!({"content": " \n"}), "the text is empty (only white space)"),
        ("memory_store", json!({"content": "a\0b"}), "the text has a NUL character at byte 1"),
        (
            "memory_store",
            json!({"content": "x".repeat((1 << 20) + 1)}),
            "the text has 1048577 bytes, the limit is 1048576",
        ),
        (
            "memory_store",
            json!({"content": "x", "metadata": "y"}),
            "metadata is a JSON string, it must be an object",
        ),
        (
            "memory_search",
            json!({"query": "x", "time_expr": "when pigs fly"}),
            "the time \"when pigs fly\" is not understood",
        ),
        (
            "memory_search",
            json!({"query": "x", "limit": 101}),
            "limit is 101, it must be between 1 and 100",
        ),
        ("memory_search", json!({"query": "x", "mode": "semantic"}), "the embedder is missing"),
        (
            "memory_search",
            json!({"query": "x".repeat(8193)}),
            "the query has 8193 bytes, the limit is 8192",
        ),
        ("memory_search", json!({}), "the search names nothing to look for"),
        ("memory_delete", json!({}), "the deletion names no memory"),
        ("memory_delete", json!({"content_hash": unknown}), "there is no memory"),
        (
            "memory_update",
            json!({"content_hash": unknown, "updates": {"tags": []}}),
            "there is no memory",
        ),
        (
            "memory_update",
            json!({"content_hash": "../status", "updates": {"tags": []}}),
            "\"../status\" is not an id",
        ),
    ] {
        let text = front.refused(tool, &arguments);
        assert!(text.starts_with(&format!("Error: {start}")), "{tool} {text}");
        assert!(text.contains("\nNext step: "), "{tool} {text}");
    }
    let (_, stored) = front.done("memory_store", &json!({"content": "x".repeat(1 << 20)}));
    assert_eq!(stored["created"], true);
    front.end();
    home.run(&["down"]);
}

#[test]
fn lines_that_are_no_messages_do_no_harm() {
    let home = Home::new();
    for era in ERAS {
        let mut front = Front::silent(&home, era, &["mcp", "--no-spawn"]);
        for line in [
            b"not json".as_slice(),
            b"",
            b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/list\"",
            b"\xff\xfe{}",
            b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{\"requestId\":9}}",
        ] {
            front.send_line(line);
        }
        // Well-formed, but nothing that the protocol knows: that is answered.
        front.send_line(b"{\"hello\":\"world\"}");
        assert_eq!(front.read()["error"]["code"], -32600);
        match era {
            Era::Stateless => {
                let listed = front.ask("tools/list", json!({}));
                assert_eq!(listed["result"]["ttlMs"], 3_600_000);
            }
            Era::Handshake => {
                let params = json!({"protocolVersion": "2024-11-05", "capabilities": {},
                    "clientInfo": {"name": "hand", "version": "1"}});
                let agreed = front.ask("initialize", params);
                assert_eq!(agreed["result"]["protocolVersion"], "2024-11-05");
            }
        }
        front.end();
    }
}

#[test]
fn an_unknown_revision_is_told_which_ones_there_are() {
    let home = Home::new();
    let mut front = Front::silent(&home, Era::Handshake, &["mcp", "--no-spawn"]);
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2099-01-01",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let answer = front.ask("server/discover", json!({"_meta": meta}));
    assert_eq!(answer["error"]["code"], -32022);
    let supported = answer["error"]["data"]["supported"].as_array().unwrap();
    assert!(supported.contains(&json!("2026-07-28")), "{answer}");
    let answer = front.ask("server/discover", json!({}));
    assert_eq!(answer["error"]["code"], -32602);
    front.end();
}
