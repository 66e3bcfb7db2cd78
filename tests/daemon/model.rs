//! A model that is missing or damaged: memories are stored and found by their words, `status` says what
//! is wrong, and only a search by meaning is refused.

use crate::home::Home;
use crate::support;
use memtide::embed::manifest::{DEFAULT_MODEL, Model, Runtime};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The weights, the tokenizer and the runtime library, as paths within a model folder.
fn files() -> [PathBuf; 3] {
    let model = Model::named(DEFAULT_MODEL).unwrap();
    let runtime = Runtime::current().expect("a runtime for this system");
    let within = |asset: &memtide::embed::manifest::Asset| asset.path_in(Path::new(""));
    [within(&model.weights), within(&model.tokenizer), within(&runtime.library)]
}

/// Fills the model folder with links to the real files.
fn fill(home: &Home) {
    for file in files() {
        let path = home.models().join(&file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(support::model::folder().join(&file), path).unwrap();
    }
}

fn replace(home: &Home, file: &Path, content: &[u8]) {
    let path = home.models().join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // Otherwise the real file would be written through the link.
    let _absent = fs::remove_file(&path);
    fs::write(path, content).unwrap();
}

fn settled(home: &Home) -> Value {
    loop {
        let status = home.ask("GET", "/v1/status", b"").json;
        if status["embedder"]["state"] != "loading" {
            return status;
        }
        std::thread::yield_now();
    }
}

/// Everything but meaning works, and `status` names the state and the reason.
fn assert_words_only(home: &Home, state: &str, reason: &str) {
    let _daemon = home.daemon();
    let status = settled(home);
    assert_eq!(status["embedder"]["state"], state, "{status}");
    assert_eq!(status["healthy"], false);
    let problem = &status["problems"][0];
    assert_eq!(problem["code"], format!("embedder_{state}"));
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains(reason), "{message}");
    assert!(problem["next_step"].as_str().unwrap().contains("memtide model pull"), "{problem}");

    let id = home.store("the kingfisher dives");
    let said = home.run(&["search", "kingfisher", "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let answer = said.json();
    assert_eq!(
        (&answer["mode"], &answer["hits"][0]["memory"]["id"]),
        (&json!("keyword"), &json!(id))
    );
    assert_eq!(answer["freshness"]["pending_embeddings"], 1);
    let said = home.run(&["search", "kingfisher"]);
    let note = "the model isn't ready: found by words only (see `memtide status`)\n";
    assert_eq!((said.code, said.err.as_str()), (Some(0), note));
    let said = home.run(&["search", "kingfisher", "--mode", "semantic"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    let sentence = said.err.lines().next().unwrap();
    assert!(sentence.starts_with(&format!("error: the embedder is {state}: ")), "{said:?}");
    assert!(sentence.contains(reason), "{said:?}");
    assert!(said.err.ends_with(
        "\nhint: search with mode keyword or hybrid, or get the model with `memtide model pull`\n"
    ));
    let said = home.run(&["status"]);
    assert_eq!(said.code, Some(0));
    assert!(said.out.starts_with("NOT HEALTHY\n"), "{said:?}");
}

#[test]
fn nothing_is_there() {
    let home = Home::new();
    let [_, _, library] = files();
    assert_words_only(
        &home,
        "missing",
        &format!("{} is not in the model folder", library.display()),
    );
}

#[test]
fn the_weights_are_missing() {
    let home = Home::new();
    fill(&home);
    let [weights, _, _] = files();
    fs::remove_file(home.models().join(&weights)).unwrap();
    assert_words_only(
        &home,
        "missing",
        &format!("{} is not in the model folder", weights.display()),
    );
}

#[test]
fn the_weights_are_cut_off() {
    let home = Home::new();
    fill(&home);
    let [weights, _, _] = files();
    replace(&home, &weights, &[0; 1000]);
    let reason = format!("the model is damaged: {} has 1000 bytes instead of ", weights.display());
    assert_words_only(&home, "failed", &reason);
}

#[test]
fn the_tokenizer_is_another_one() {
    let home = Home::new();
    fill(&home);
    let [_, tokenizer, _] = files();
    replace(&home, &tokenizer, b"{\"version\": \"1.0\"}");
    let reason = format!("the model is damaged: {} has 18 bytes instead of ", tokenizer.display());
    assert_words_only(&home, "failed", &reason);
}

#[test]
fn the_library_in_the_model_folder_is_another_one() {
    let home = Home::new();
    fill(&home);
    let [_, _, library] = files();
    replace(&home, &library, b"no library");
    let reason =
        format!("the runtime library is damaged: {} has 10 bytes instead of ", library.display());
    assert_words_only(&home, "failed", &reason);
}

#[test]
fn the_named_library_is_none() {
    let home = Home::new();
    fill(&home);
    let named = home.root().join("libonnxruntime.so");
    fs::write(&named, "no library").unwrap();
    let home = home.with("ORT_DYLIB_PATH", &named);
    assert_words_only(&home, "failed", &format!("load the runtime library {}", named.display()));
    fs::remove_file(&named).unwrap();
    let reason =
        format!("there is no runtime library at {}, which was named explicitly", named.display());
    assert_words_only(&home, "failed", &reason);
}

#[test]
fn what_waited_gets_its_vector_when_the_model_comes() {
    let home = Home::new();
    let _daemon = home.daemon();
    assert_eq!(settled(&home)["embedder"]["state"], "missing");
    let id = home.store("the kingfisher dives");
    fill(&home);
    assert_eq!(home.ask("POST", "/v1/embedder/reload", b"{}").status, 200);
    let status = settled(&home);
    assert_eq!(status["embedder"]["state"], "ready", "{status}");
    let body = json!({"query": "a bird that catches fish", "mode": "semantic"}).to_string();
    let found = loop {
        let answer = home.ask("POST", "/v1/search", body.as_bytes()).json;
        if answer["freshness"]["pending_embeddings"] == 0 {
            break answer;
        }
        std::thread::yield_now();
    };
    assert_eq!(found["hits"][0]["memory"]["id"], id.as_str());
    let status = home.ask("GET", "/v1/status", b"").json;
    assert_eq!((&status["healthy"], &status["problems"]), (&json!(true), &json!([])));
}
