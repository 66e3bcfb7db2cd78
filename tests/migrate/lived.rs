//! What the real package writes arrives field by field, and goes on arriving while it works.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::daemon::Home;
use super::moving::until;
use super::python_service::{PythonService, Release};
use super::real::live;
use memtide::clock::Micros;
use memtide::model::shown::VOLATILE;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// What the package does while it is followed.
const EDITS: usize = 40;
/// After so many both sides are compared.
const LOOK_AFTER: usize = 8;

/// A memory by its fields, in one form for both sides; `None` for a deleted one.
type Fields = BTreeMap<String, Option<Value>>;

fn metadata(value: &Value) -> Map<String, Value> {
    let mut metadata = value.as_object().cloned().unwrap_or_default();
    metadata.retain(|key, _| !VOLATILE.contains(&key.as_str()) && key != "superseded_by");
    metadata
}

/// All that the service has, as its own rows have it.
fn there(service: &mut PythonService) -> Fields {
    let dump = service.dump();
    let instant = |seconds: &Value| {
        #[expect(clippy::cast_possible_truncation, reason = "an instant")]
        Micros((seconds.as_f64().unwrap() * 1e6).round() as i64).to_rfc3339()
    };
    let mut all = Fields::new();
    for row in dump["memories"].as_array().unwrap() {
        let id = row["content_hash"].as_str().unwrap().to_owned();
        if !row["deleted_at"].is_null() {
            all.insert(id, None);
            continue;
        }
        let tags = row["tags"].as_str().unwrap_or_default().to_lowercase();
        let mut tags: Vec<&str> = tags.split(',').filter(|tag| !tag.is_empty()).collect();
        tags.sort_unstable();
        let kept: Value = serde_json::from_str(row["metadata"].as_str().unwrap_or("{}")).unwrap();
        let named = row["superseded_by"].as_str().filter(|hash| !hash.is_empty());
        let fields = json!({
            "content": row["content"], "tags": tags,
            "memory_type": row["memory_type"].as_str().unwrap_or("note"),
            "created_at": instant(&row["created_at"]), "metadata": metadata(&kept),
            "superseded_by": named.or(kept["superseded_by"].as_str()),
        });
        all.insert(id, Some(fields));
    }
    all
}

/// The same memories here, as a client gets them.
fn here(home: &Home, wanted: &Fields) -> Fields {
    let one = |id: &String| {
        let answer = home.ask("GET", &format!("/v1/memories/{id}"), b"");
        let memory = &answer.json;
        let fields = (answer.status == 200).then(|| {
            json!({
                "content": memory["content"], "tags": memory["tags"],
                "memory_type": memory["memory_type"], "created_at": memory["created_at"],
                "metadata": metadata(&memory["metadata"]),
                "superseded_by": memory["superseded_by"],
            })
        });
        (id.clone(), fields)
    };
    wanted.keys().map(one).collect()
}

fn n_here(home: &Home) -> u64 {
    let store = &home.ask("GET", "/v1/status", b"").json["store"];
    store["memories"].as_u64().unwrap() + store["tombstones"].as_u64().unwrap()
}

/// Something that a client of the service does.
fn edit(service: &mut PythonService, n: usize, chance: &mut ChaCha8Rng) {
    let all = there(service);
    let pick = |is_alive: bool, chance: &mut ChaCha8Rng| {
        let fitting: Vec<&String> =
            all.iter().filter(|(_, one)| one.is_some() == is_alive).map(|(id, _)| id).collect();
        fitting[chance.random_range(0..fitting.len())].clone()
    };
    let hash = pick(true, chance);
    match chance.random_range(0..6) {
        0 => {
            service.store(&format!("Written meanwhile, number {n}"), json!({"tags": ["later"]}));
        }
        1 => {
            service.local("delete", json!({"content_hash": hash}));
            // Sometimes the same text is stored again at once.
            let text = all[&hash].as_ref().and_then(|one| one["content"].as_str()).unwrap();
            let is_of_its_text = memtide::model::id::MemoryId::of(text).to_string() == hash;
            if is_of_its_text && chance.random_bool(0.5) {
                service.store(text, json!({"tags": ["again"]}));
            }
        }
        2 => {
            let content = format!("A version of number {n}");
            let ask = json!({"content_hash": hash, "new_content": content});
            service.local("update_memory_versioned", ask);
        }
        _ => {
            let updates = json!({"tags": [format!("tag{}", n % 5), "edited"],
                "memory_type": "learning", "metadata": {"edit": n}});
            // Most edits of the service leave the time of the last change as it is.
            let keeps = chance.random_bool(0.7);
            let ask =
                json!({"content_hash": hash, "updates": updates, "preserve_timestamps": keeps});
            service.local("update_memory_metadata", ask);
        }
    }
}

fn lives_on(release: Release) {
    let home = Home::new();
    let _daemon = home.daemon();
    let path = home.root().join("sqlite_vec.db");
    let mut service = PythonService::start(release);
    service.open(&path);
    live(&mut service, release);
    let said = home.run(&["migrate", "follow", path.to_str().unwrap(), "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let wanted = there(&mut service);
    assert_eq!(here(&home, &wanted), wanted, "after the import");
    assert_eq!(n_here(&home), wanted.len() as u64);
    let mut chance = ChaCha8Rng::seed_from_u64(12);
    for n in 1..=EDITS {
        edit(&mut service, n, &mut chance);
        if n % LOOK_AFTER == 0 {
            let wanted = there(&mut service);
            until("every edit", || here(&home, &wanted) == wanted);
            assert_eq!(n_here(&home), wanted.len() as u64);
        }
    }
    service.close();
}

#[test]
fn what_release_10_holds_and_goes_on_writing_is_here() {
    lives_on(Release::V10);
}

#[test]
fn what_release_12_holds_and_goes_on_writing_is_here() {
    lives_on(Release::V12);
}
