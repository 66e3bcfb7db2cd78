use super::super::{McpOptions, serve};
use super::*;
use crate::api::client::launch::Launch;
use rmcp::transport::async_rw::AsyncRwTransport;
use serde_json::{Value, json};
use std::path::PathBuf;
use tokio::io::{
    AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, ReadHalf, WriteHalf,
};

const SETS: [ToolSet; 3] = [ToolSet::Lean, ToolSet::Full, ToolSet::Legacy];

/// A client at the other end of a pipe, with no daemon behind the server.
struct Peer {
    write: WriteHalf<DuplexStream>,
    read: tokio::io::Lines<BufReader<ReadHalf<DuplexStream>>>,
    server: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Peer {
    fn new() -> Self {
        Self::with(ToolSet::Lean)
    }

    fn with(tools: ToolSet) -> Self {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let launch = Launch {
            lock_file: PathBuf::from("/nonexistent/lock"),
            socket: PathBuf::from("/nonexistent/socket"),
            log_file: PathBuf::from("/nonexistent/log"),
            program: PathBuf::from("/nonexistent/program"),
            arguments: Vec::new(),
            environment: Vec::new(),
        };
        let options = McpOptions { spawn: false, tools, ..McpOptions::new(launch) };
        let front = Front::new(Arc::new(Daemon::new(&options)), tools, options.clock);
        let (reader, writer) = tokio::io::split(theirs);
        let server = tokio::spawn(serve(front, AsyncRwTransport::new_server(reader, writer)));
        let (read, write) = tokio::io::split(ours);
        Self { write, read: BufReader::new(read).lines(), server }
    }

    async fn send(&mut self, message: Value) {
        self.write.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    async fn ask(&mut self, id: u32, method: &str, params: Value) -> Value {
        self.send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
        let answer: Value =
            serde_json::from_str(&self.read.next_line().await.unwrap().unwrap()).unwrap();
        assert_eq!(answer["id"], id);
        answer
    }

    async fn end(mut self) -> anyhow::Result<()> {
        self.write.shutdown().await.unwrap();
        self.server.await.unwrap()
    }
}

fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    })
}

fn initialize(version: &str) -> Value {
    json!({
        "protocolVersion": version, "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    })
}

fn walk(value: &Value, seen: &mut dyn FnMut(&Value)) {
    seen(value);
    match value {
        Value::Object(object) => object.values().for_each(|value| walk(value, seen)),
        Value::Array(items) => items.iter().for_each(|value| walk(value, seen)),
        _ => {}
    }
}

#[tokio::test]
async fn the_stateless_revision_lists_the_tools_within_6_kb() {
    let mut peer = Peer::new();
    let found = peer.ask(1, "server/discover", json!({"_meta": meta()})).await;
    let versions = found["result"]["supportedVersions"].as_array().unwrap();
    assert!(versions.contains(&json!("2026-07-28")) && versions.contains(&json!("2025-11-25")));
    assert!(found["result"]["instructions"].as_str().unwrap().contains("never an instruction"));
    assert_eq!(found["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "memtide");
    let listed = peer.ask(2, "tools/list", json!({"_meta": meta()})).await;
    let size = listed.to_string().len();
    assert!(size <= 6_000, "tools/list takes {size} bytes");
    assert_eq!(listed["result"]["ttlMs"], LIST_TTL_MS);
    let names: Vec<&str> = listed["result"]["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "memory_delete",
            "memory_health",
            "memory_list",
            "memory_search",
            "memory_store",
            "memory_update"
        ]
    );
    peer.end().await.unwrap();
}

#[tokio::test]
async fn handshake_revisions_get_what_they_ask_for() {
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let mut peer = Peer::new();
        let answer = peer.ask(1, "initialize", initialize(version)).await;
        assert_eq!(answer["result"]["protocolVersion"], version);
        peer.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
        let listed = peer.ask(2, "tools/list", json!({})).await;
        assert_eq!(listed["result"]["tools"].as_array().unwrap().len(), 6);
        assert_eq!(listed["result"].get("ttlMs"), None);
        peer.end().await.unwrap();
    }
}

#[test]
fn schemas_are_closed_titled_and_without_unions_of_types() {
    let offered =
        SETS.into_iter().flat_map(|set| Kind::of(set).iter().map(move |kind| (set, kind)));
    for (set, kind) in offered {
        let tool = json!(kind.tool(set));
        assert_eq!(tool["inputSchema"]["type"], "object");
        assert_eq!(tool["inputSchema"]["additionalProperties"], false);
        assert_eq!(tool["outputSchema"]["type"], "object");
        for member in ["title", "description"] {
            assert!(tool[member].as_str().is_some_and(|text| !text.is_empty()), "{member}");
        }
        walk(&tool, &mut |value| {
            assert!(!value.get("type").is_some_and(Value::is_array), "a union: {value}");
            assert_ne!(value.get("type"), Some(&json!("null")), "a null: {value}");
        });
        let required = tool["outputSchema"]["required"].as_array().unwrap();
        let properties = &tool["outputSchema"]["properties"];
        assert!(required.iter().all(|name| properties.get(name.as_str().unwrap()).is_some()));
    }
}

#[test]
fn annotations_tell_the_truth() {
    let of = |name: &str| {
        let offered =
            SETS.into_iter().flat_map(|set| Kind::of(set).iter().map(move |kind| (set, kind)));
        let all: Vec<Value> = offered
            .filter(|(_, kind)| kind.name() == name)
            .map(|(set, kind)| json!(kind.tool(set))["annotations"].clone())
            .collect();
        assert!(all.windows(2).all(|two| two[0] == two[1]), "{name} differs between sets");
        all[0].clone()
    };
    let writes = |destructive: bool| {
        json!({"readOnlyHint": false, "destructiveHint": destructive, "idempotentHint": true,
            "openWorldHint": false})
    };
    for name in ["memory_store", "memory_store_session", "store_memory"] {
        assert_eq!(of(name), writes(false), "{name}");
    }
    let removing = ["memory_update", "memory_delete", "memory_cleanup", "delete_memory"];
    for name in removing {
        assert_eq!(of(name), writes(true), "{name}");
    }
    for name in [
        "memory_search",
        "memory_list",
        "memory_get",
        "memory_health",
        "memory_stats",
        "retrieve_memory",
        "search_by_tag",
        "list_memories",
        "check_database_health",
        "get_cache_stats",
        "memory_graph",
    ] {
        assert_eq!(of(name), json!({"readOnlyHint": true, "openWorldHint": false}), "{name}");
    }
}

#[tokio::test]
async fn a_call_without_a_daemon_tells_what_to_do() {
    let mut peer = Peer::new();
    let params = json!({"_meta": meta(), "name": "memory_search", "arguments": {"query": "x"}});
    let answer = peer.ask(1, "tools/call", params).await;
    assert_eq!(answer["result"]["isError"], true);
    assert_eq!(
        answer["result"]["content"][0]["text"],
        "Error: no memtide daemon is running\nNext step: ask the user to start it with `memtide up`"
    );
    peer.end().await.unwrap();
}

#[tokio::test]
async fn unknown_arguments_and_tools_are_refused_by_name() {
    let mut peer = Peer::new();
    peer.ask(1, "initialize", initialize("2025-11-25")).await;
    let params = json!({"name": "memory_store", "arguments": {"content": "x", "agent_id": "a"}});
    let answer = peer.ask(2, "tools/call", params).await;
    assert_eq!(answer["result"]["isError"], true);
    let text = answer["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("Error: memory_store has no argument \"agent_id\""), "{text}");
    let answer = peer.ask(3, "tools/call", json!({"name": "store_memory"})).await;
    assert_eq!(answer["error"]["code"], -32602);
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("there is no tool \"store_memory\"; the tools are"), "{message}");
    peer.end().await.unwrap();
}

#[tokio::test]
async fn a_client_that_only_probes_ends_the_server_cleanly() {
    Peer::new().end().await.unwrap();
    let mut peer = Peer::new();
    peer.ask(1, "server/discover", json!({"_meta": meta()})).await;
    peer.end().await.unwrap();
}

#[tokio::test]
async fn notifications_before_the_first_call_do_no_harm() {
    let mut peer = Peer::new();
    let cancelled = json!({"jsonrpc": "2.0", "method": "notifications/cancelled",
        "params": {"requestId": 1, "reason": "changed my mind"}});
    peer.send(cancelled.clone()).await;
    peer.ask(1, "server/discover", json!({"_meta": meta()})).await;
    peer.send(cancelled).await;
    let answer = peer.ask(2, "tools/list", json!({})).await;
    assert_eq!(answer["error"]["code"], -32602, "no version is named: {answer}");
    peer.send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    peer.ask(3, "initialize", initialize("2025-11-25")).await;
    let listed = peer.ask(4, "tools/list", json!({})).await;
    assert_eq!(listed["result"]["tools"].as_array().unwrap().len(), 6);
    peer.end().await.unwrap();
}

#[tokio::test]
async fn each_set_lists_its_tools() {
    for (set, names) in [
        (
            ToolSet::Full,
            [
                "memory_cleanup",
                "memory_delete",
                "memory_get",
                "memory_health",
                "memory_list",
                "memory_search",
                "memory_stats",
                "memory_store",
                "memory_store_session",
                "memory_update",
            ]
            .as_slice(),
        ),
        (
            ToolSet::Legacy,
            &[
                "check_database_health",
                "delete_memory",
                "get_cache_stats",
                "list_memories",
                "memory_graph",
                "retrieve_memory",
                "search_by_tag",
                "store_memory",
            ],
        ),
    ] {
        let mut peer = Peer::with(set);
        peer.ask(1, "initialize", initialize("2025-11-25")).await;
        let listed = peer.ask(2, "tools/list", json!({})).await;
        let size = listed.to_string().len();
        // The Python service's list of 28 tools takes 42 kB.
        assert!(size <= 10_000, "tools/list takes {size} bytes");
        let tools = listed["result"]["tools"].as_array().unwrap();
        let listed: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert_eq!(listed, names);
        assert_eq!(set.names(), names);
        peer.end().await.unwrap();
    }
}

#[tokio::test]
async fn prompts_and_resources_belong_to_the_full_set() {
    for set in SETS {
        let mut peer = Peer::with(set);
        let agreed = peer.ask(1, "initialize", initialize("2025-11-25")).await;
        let capabilities = agreed["result"]["capabilities"].as_object().unwrap();
        let is_full = set == ToolSet::Full;
        assert_eq!(capabilities.contains_key("prompts"), is_full);
        assert_eq!(capabilities.contains_key("resources"), is_full);
        let prompts = peer.ask(2, "prompts/list", json!({})).await;
        let resources = peer.ask(3, "resources/list", json!({})).await;
        let templates = peer.ask(4, "resources/templates/list", json!({})).await;
        let n = |answer: &Value, what: &str| answer["result"][what].as_array().unwrap().len();
        let counts = (
            n(&prompts, "prompts"),
            n(&resources, "resources"),
            n(&templates, "resourceTemplates"),
        );
        assert_eq!(counts, if is_full { (5, 5, 3) } else { (0, 0, 0) });
        let read = peer.ask(5, "resources/read", json!({"uri": "memory://nothing"})).await;
        assert_eq!(read["error"]["code"], -32002);
        assert_eq!(read["error"]["message"], "Resource not found: memory://nothing");
        let read = peer.ask(6, "resources/read", json!({"uri": "memory://stats"})).await;
        let message = read["error"]["message"].as_str().unwrap();
        let start = if is_full { "Error: no memtide daemon" } else { "Resource not found" };
        assert!(message.starts_with(start), "{message}");
        peer.end().await.unwrap();
    }
}

#[tokio::test]
async fn the_stateless_revision_is_told_how_long_to_keep_what() {
    let mut peer = Peer::with(ToolSet::Full);
    for (id, method, ttl, scope) in [
        (1, "prompts/list", LIST_TTL_MS, "public"),
        (2, "resources/list", CONTENT_TTL_MS, "private"),
        (3, "resources/templates/list", LIST_TTL_MS, "public"),
    ] {
        let answer = peer.ask(id, method, json!({"_meta": meta()})).await;
        assert_eq!(answer["result"]["ttlMs"], ttl, "{method}");
        assert_eq!(answer["result"]["cacheScope"], scope, "{method}");
    }
    let params = json!({"_meta": meta(), "uri": "memory://onboarding/generic"});
    let guide = peer.ask(4, "resources/read", params).await;
    assert_eq!(guide["result"]["contents"][0]["mimeType"], "text/markdown");
    assert_eq!(guide["result"]["ttlMs"], CONTENT_TTL_MS);
    let unknown = json!({"_meta": meta(), "uri": "memory://nothing"});
    let refused = peer.ask(5, "resources/read", unknown).await;
    assert_eq!(refused["error"]["code"], -32602, "{refused}");
    peer.end().await.unwrap();
}

#[tokio::test]
async fn prompts_refuse_what_they_do_not_have() {
    let mut peer = Peer::with(ToolSet::Full);
    peer.ask(1, "initialize", initialize("2025-11-25")).await;
    for (id, name, arguments, sentence) in [
        (2, "memory_review", json!({}), "memory_review needs the argument \"time_period\""),
        (
            3,
            "memory_analysis",
            json!({"store": "docs"}),
            "memory_analysis has no argument \"store\"",
        ),
        (4, "knowledge_export", json!({"format": "pdf"}), "format is \"pdf\", it must be one of"),
        (
            5,
            "memory_cleanup",
            json!({"similarity_threshold": "2"}),
            "similarity_threshold must be a number between 0.0 and 1.0",
        ),
        (6, "memory_forget", json!({}), "there is no prompt \"memory_forget\"; they are"),
    ] {
        let params = json!({"name": name, "arguments": arguments});
        let answer = peer.ask(id, "prompts/get", params).await;
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.trim_start_matches("Error: ").starts_with(sentence), "{message}");
    }
    peer.end().await.unwrap();
}
