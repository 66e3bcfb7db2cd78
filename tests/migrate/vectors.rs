//! Stored vectors are taken over when they are the model's, and only those that are.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use super::daemon::Home;
use super::model;
use memtide::bench::python_database::{PythonDatabase, Release, Row};
use memtide::embed::embedder::{Embedder, EmbedderOptions};
use memtide::embed::manifest::{DEFAULT_MODEL, Model};
use memtide::model::id::MemoryId;
use rusqlite::Connection;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::path::Path;
use std::sync::Arc;

const DIMS: usize = 384;

fn embedded(texts: &[String]) -> Vec<(String, Vec<f32>)> {
    let model = Model::named(DEFAULT_MODEL).unwrap();
    let embedder =
        Embedder::start(EmbedderOptions::new(model, model::folder().to_owned())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let asked = texts.iter().map(|text| Arc::from(text.as_str())).collect();
    let made = runtime.block_on(async {
        embedder.settled().await;
        embedder.documents(asked).await.unwrap().texts
    });
    let vector = |windows: Result<Vec<_>, _>| {
        let windows: Vec<memtide::model::space::UnitVector> = windows.unwrap();
        windows[0].as_slice().to_vec()
    };
    texts.iter().cloned().zip(made.into_iter().map(vector)).collect()
}

/// What the service stores while it has no model.
fn pseudo(text: &str) -> Vec<f32> {
    let numbers = (0_u32..).flat_map(|counter| {
        let mut hash = Sha256::new();
        hash.update(text.as_bytes());
        hash.update(b"\x1f");
        hash.update(counter.to_le_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let number = |bytes: &[u8; 4]| f64::from(i32::from_le_bytes(*bytes)) / 2_147_483_648.0;
        digest.as_chunks::<4>().0.iter().map(number).collect::<Vec<f64>>()
    });
    #[expect(clippy::cast_possible_truncation, reason = "as it is stored")]
    let vector = numbers.take(DIMS).map(|number| number as f32).collect();
    vector
}

fn import(home: &Home, path: &Path) -> Value {
    let said = home.run(&["migrate", "import", path.to_str().unwrap(), "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    said.json()
}

#[test]
fn true_vectors_are_taken_over_and_every_other_one_is_made_anew() {
    let texts: Vec<String> =
        (0..6).map(|n| format!("The tide at harbour {n} turns before the ferry leaves")).collect();
    let long = "the tide turns before the ferry leaves the harbour ".repeat(30);
    let true_ones = embedded(&texts);
    let home = Home::new().with("MEMTIDE_MODEL_DIR", model::folder());
    let path = home.root().join("true.db");
    let source = PythonDatabase::create(&path, Release::V12, DIMS).unwrap();
    source.fill(60, 3, DIMS, &true_ones).unwrap();
    let add = |text: &str, vector: Option<Vec<f32>>| {
        source.add(&Row { vector, ..Row::new(text) }).unwrap();
    };
    add("made while the service had no model", Some(pseudo("made while the service had no model")));
    add("no number", Some(vec![f32::NAN; DIMS]));
    add(&long, Some(true_ones[0].1.clone()));
    add("without a vector", None);
    let _daemon = home.daemon();
    let report = import(&home, &path);
    let vectors = &report["vectors"];
    assert_eq!(vectors["verdict"]["are_reused"], true, "{vectors}");
    let named = ["pseudo", "unusable", "of_long_texts", "missing", "to_make"];
    let counts = named.map(|name| vectors[name].as_u64().unwrap());
    assert_eq!(counts, [1, 1, 1, 1, 4], "{vectors}");
    assert_eq!(
        vectors["unusable_ids"],
        json!([MemoryId::of("no number").to_string()]),
        "it is named"
    );
    assert_eq!(vectors["reused"], json!(report["new_living"].as_u64().unwrap() - 4));
    // They are the same, bit for bit, but for their length.
    let conn = Connection::open(home.database()).unwrap();
    let kept: Vec<u8> = conn
        .query_row(
            "SELECT e.vec FROM embedding e JOIN memory m ON m.key = e.memory WHERE m.content = ?1",
            [&texts[1]],
            |row| row.get(0),
        )
        .unwrap();
    let kept = kept.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four));
    let cosine: f32 = kept.zip(&true_ones[1].1).map(|(a, b)| a * b).sum();
    assert!(cosine > 0.99999, "{cosine}");
}

#[test]
fn vectors_of_another_model_are_found_out() {
    let home = Home::new().with("MEMTIDE_MODEL_DIR", model::folder());
    let path = home.root().join("other.db");
    PythonDatabase::create(&path, Release::V10, DIMS).unwrap().fill(50, 4, DIMS, &[]).unwrap();
    let _daemon = home.daemon();
    let vectors = import(&home, &path)["vectors"].clone();
    let verdict = &vectors["verdict"];
    assert_eq!((&verdict["are_reused"], &verdict["agreed"]), (&json!(false), &json!(0)));
    assert!(verdict["why"].as_str().unwrap().contains("another model"), "{verdict}");
    assert_eq!(vectors["reused"], 0);
    // Of other dimensions they aren't even compared.
    let path = home.root().join("wide.db");
    PythonDatabase::create(&path, Release::V8, 768).unwrap().fill(5, 5, 768, &[]).unwrap();
    let why = import(&home, &path)["vectors"]["verdict"]["why"].clone();
    assert!(why.as_str().unwrap().contains("have 768 components"), "{why}");
}
