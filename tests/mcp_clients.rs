//! Clients that other people wrote, against the real program: the Python SDK and the MCP
//! Inspector, each in every way it settles the protocol's revision. Both come from their
//! registries, through pip and npm, at the versions in `tests/mcp_clients`.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

#[path = "support/home.rs"]
mod home;
#[path = "support/npm.rs"]
mod npm;

use home::{Home, PROGRAM};
use memtide::mcp::ToolSet;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};

const TOOLS: [&str; 6] = [
    "memory_delete",
    "memory_health",
    "memory_list",
    "memory_search",
    "memory_store",
    "memory_update",
];

/// Installs what `requirements.txt` names, beside it.
fn pip(folder: &Path) {
    let output = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
        .args(["--requirement", "requirements.txt", "--target", "packages"])
        .current_dir(folder)
        .output()
        .expect("python3 is installed");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "pip in {}: {complaint}", folder.display());
}

fn json_of(output: &Output) -> Value {
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the client failed: {complaint}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_python_sdk_stores_and_finds_in_every_mode() {
    let files = ["requirements.txt", "python_client.py"];
    let folder = npm::installed("mcp_clients", &files, pip);
    let home = Home::new();
    for (mode, revision) in
        [("legacy", "2025-11-25"), ("2026-07-28", "2026-07-28"), ("auto", "2026-07-28")]
    {
        let output = Command::new("python3")
            .arg("-s")
            .arg(folder.join("python_client.py"))
            .args([PROGRAM, mode])
            .env_clear()
            .envs(home.environment())
            .env("PYTHONPATH", folder.join("packages"))
            .current_dir(home.folder())
            .output()
            .unwrap();
        let seen = json_of(&output);
        assert_eq!(seen["revision"], revision);
        assert_eq!(seen["tools"], json!(TOOLS));
        assert_eq!(seen["stored"]["created"], true);
        let found = seen["found"]["memories"].as_array().unwrap();
        let newest = found.iter().any(|hit| hit["content_hash"] == seen["stored"]["content_hash"]);
        assert!(newest, "{seen}");
        assert!(seen["text"].as_str().unwrap().contains(&format!("in mode {mode} likes oolong")));
        assert_eq!(seen["refused"][0], true);
        let text = seen["refused"][1].as_str().unwrap();
        assert!(text.contains("memory_search has no argument \"entity\""), "{text}");
        assert_eq!(seen["together"], json!(vec![false; 20]));
    }
    home.run(&["down"]);
}

#[test]
fn the_python_sdk_reads_prompts_and_resources_in_every_mode() {
    let files = ["requirements.txt", "python_client.py"];
    let folder = npm::installed("mcp_clients", &files, pip);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mcp_clients/python_full.py");
    let home = Home::new();
    for mode in ["legacy", "2026-07-28", "auto"] {
        let output = Command::new("python3")
            .arg("-s")
            .arg(&script)
            .args([PROGRAM, mode])
            .env_clear()
            .envs(home.environment())
            .env("PYTHONPATH", folder.join("packages"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .current_dir(home.folder())
            .output()
            .unwrap();
        let seen = json_of(&output);
        let text = format!("The full client in mode {mode} likes rooibos");
        assert_eq!(seen["got"]["content"], text);
        assert_eq!(seen["session"]["turns"], 1);
        assert_eq!(seen["stats"]["hit_rate"], 0.0);
        assert_eq!(seen["cleanup"], "No duplicate memories found");
        assert_eq!(seen["tools"], json!(ToolSet::Full.names()));
        assert_eq!(seen["prompts"], json!(ToolSet::Full.prompts()));
        let needed = json!([["time_period"], [], ["format"], [], ["topic", "key_points"]]);
        assert_eq!(seen["needed"], needed);
        let review = seen["review"].as_str().unwrap();
        assert!(review.contains(&format!("- {text}\n  Tags: tea\n")), "{review}");
        let templates =
            json!(["memory://recent/{n}", "memory://tag/{tag}", "memory://search/{query}"]);
        assert_eq!(seen["templates"], templates);
        let read = seen["read"].as_object().unwrap();
        assert_eq!(read["memory://agent/default/bootstrap"][0], "text/markdown");
        let tagged: Value =
            serde_json::from_str(read["memory://tag/tea"][1].as_str().unwrap()).unwrap();
        assert_eq!(tagged["memories"][0]["content"], text);
        assert_eq!(seen["unknown"], "Resource not found: memory://nothing");
    }
    home.run(&["down"]);
}

/// One run of the Inspector against a set of tools.
fn inspect_set(home: &Home, folder: &Path, set: &str, era: &str, arguments: &[&str]) -> Output {
    Command::new(npm::node(folder))
        .arg(folder.join("node_modules/.bin/mcp-inspector"))
        .args(["--cli", PROGRAM, "mcp", "--tools", set])
        .args(["--protocol-era", era, "--format", "json"])
        .args(arguments)
        .env_clear()
        .envs(home.environment())
        .current_dir(home.folder())
        .output()
        .unwrap()
}

/// One run of the Inspector against the lean tools.
fn inspect(home: &Home, folder: &Path, era: &str, arguments: &[&str]) -> Output {
    inspect_set(home, folder, "lean", era, arguments)
}

#[test]
fn the_inspector_finds_no_fault_in_any_set_prompt_or_resource() {
    let files = ["package.json", "package-lock.json", ".npmrc"];
    let folder = npm::installed("mcp_clients", &files, npm::npm);
    let home = Home::new();
    home.run(&["store", "The inspector likes gunpowder", "--tag", "tea"]);
    for era in ["legacy", "modern"] {
        for (set, names) in [("full", ToolSet::Full.names()), ("legacy", ToolSet::Legacy.names())] {
            let listed = json_of(&inspect_set(
                &home,
                &folder,
                set,
                era,
                &["--method", "tools/list", "--strict"],
            ));
            let tools = listed["result"]["tools"].as_array().unwrap();
            let listed: Vec<&str> =
                tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
            assert_eq!(listed, names);
        }
        let run =
            |arguments: &[&str]| json_of(&inspect_set(&home, &folder, "full", era, arguments));
        let prompts = run(&["--method", "prompts/list"]);
        assert_eq!(prompts["result"]["prompts"].as_array().unwrap().len(), 5);
        let get = ["--method", "prompts/get", "--prompt-name", "knowledge_export"];
        let exported = run(&[&get[..], &["--prompt-args", "format=text", "filter=tea,"]].concat());
        let text = &exported["result"]["messages"][0]["content"]["text"];
        assert!(text.as_str().unwrap().ends_with("] The inspector likes gunpowder\n"), "{text}");
        let resources = run(&["--method", "resources/list"]);
        let resources = resources["result"]["resources"].as_array().unwrap();
        assert!(resources.iter().any(|entry| entry["uri"] == "memory://tag/tea"), "{resources:?}");
        let read = run(&["--method", "resources/read", "--uri", "memory://recent/1"]);
        let text = read["result"]["contents"][0]["text"].as_str().unwrap();
        let recent: Value = serde_json::from_str(text).unwrap();
        assert_eq!(recent["memories"][0]["content"], "The inspector likes gunpowder");
    }
    home.run(&["down"]);
}

#[test]
fn the_inspector_finds_no_fault_and_stores_and_finds_in_every_era() {
    let files = ["package.json", "package-lock.json", ".npmrc"];
    let folder = npm::installed("mcp_clients", &files, npm::npm);
    let home = Home::new();
    for era in ["legacy", "modern", "auto"] {
        let run = |arguments: &[&str]| inspect(&home, &folder, era, arguments);
        // A schema that some client would refuse ends this with another exit code.
        let listed = run(&["--method", "tools/list", "--strict"]);
        let listed = json_of(&listed);
        let tools = listed["result"]["tools"].as_array().unwrap();
        let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert_eq!(names, TOOLS);
        let call = |tool: &str, arguments: &Value| {
            let arguments = arguments.to_string();
            let call = ["--method", "tools/call", "--tool-name", tool];
            run(&[&call[..], &["--quiet", "--tool-args-json", &arguments]].concat())
        };
        let content = format!("The inspector of era {era} likes sencha");
        let stored = json_of(&call("memory_store", &json!({"content": content})));
        let hash = &stored["result"]["structuredContent"]["content_hash"];
        let query = json!({"query": format!("{era} sencha"), "mode": "keyword", "limit": 1});
        let found = json_of(&call("memory_search", &query));
        let hit = &found["result"]["structuredContent"]["memories"][0];
        assert_eq!((&hit["content_hash"], &hit["content"]), (hash, &json!(content)));
        let refused = call("memory_delete", &json!({}));
        assert!(!refused.status.success(), "a refusal passed as success");
    }
    home.run(&["down"]);
}
