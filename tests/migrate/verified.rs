//! `memtide migrate verify`: that it sees every difference, and takes for none what is meant to differ.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use super::daemon::{Home, Said};
use super::model;
use super::python_service::{PythonService, Release as Real};
use super::real::live;
use memtide::bench::python_database::{PythonDatabase, Release, Row};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// How often something is looked for, and how long between two looks: a minute in all.
const LOOKS: usize = 1200;
const BETWEEN: Duration = Duration::from_millis(50);

pub fn source_path(home: &Home) -> PathBuf {
    home.root().join("sqlite_vec.db")
}

pub fn done(said: Said) -> Said {
    assert_eq!(said.code, Some(0), "{said:?}");
    said
}

pub fn import(home: &Home) {
    let path = source_path(home);
    done(home.run(&["migrate", "import", path.to_str().unwrap(), "--json"]));
}

/// Waits until every memory has its vector.
pub fn embedded(home: &Home) {
    let (_never, nothing) = mpsc::channel::<()>();
    for _ in 0..LOOKS {
        let status = home.ask("GET", "/v1/status", b"").json;
        if status["store"]["unembedded"] == 0 {
            return;
        }
        assert_eq!(nothing.recv_timeout(BETWEEN), Err(RecvTimeoutError::Timeout));
    }
    panic!("vectors are not made");
}

fn verify(home: &Home) -> (Option<i32>, Value) {
    let said = home.run(&["migrate", "verify", "--json"]);
    (said.code, said.json())
}

/// The kinds of what was found, with how often.
fn kinds(report: &Value) -> Vec<(&str, u64)> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings.map(|one| (one["kind"].as_str().unwrap(), one["count"].as_u64().unwrap())).collect()
}

#[test]
fn everything_agrees_after_an_import_and_each_kind_of_difference_is_seen() {
    let home = Home::new().with("MEMTIDE_MODEL_DIR", model::folder());
    let daemon = home.daemon();
    let path = source_path(&home);
    let mut service = PythonService::start(Real::V12);
    service.open(&path);
    live(&mut service, Real::V12);
    let n_rows = service.dump()["memories"].as_array().unwrap().len() as u64;

    // Before the import nothing of it is here.
    let said = home.run(&["migrate", "verify", path.to_str().unwrap(), "--json"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let before = said.json();
    assert_eq!(kinds(&before)[0], ("missing", n_rows));

    import(&home);
    embedded(&home);
    let (code, report) = verify(&home);
    assert_eq!(
        (code, &report["agrees"], kinds(&report)),
        (Some(0), &json!(true), vec![]),
        "{report}"
    );
    let compared = &report["compared"];
    assert_eq!(
        (compared["rows"].as_u64(), compared["texts"].as_u64()),
        (Some(n_rows), Some(n_rows))
    );
    assert!(compared["sampled"].as_u64().unwrap() >= 10, "{report}");
    assert!(compared["edges"].as_u64().unwrap() >= 1);
    assert_eq!(home.ask("GET", "/v1/status", b"").json["migration"]["state"], "verified");

    // A search of the service, an edit and a new memory here: no fault.
    service.local("retrieve", json!({"query": "tide tables", "n_results": 2}));
    let edited = memtide::model::id::MemoryId::of("To be edited").to_string();
    done(home.run(&["update", &edited, "--tag", "changed-here"]));
    home.store("Only here");
    let (code, report) = verify(&home);
    assert_eq!(code, Some(0), "{report}");
    let found: Vec<&str> = kinds(&report).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(found, ["changed_since", "volatile"], "{report}");
    assert_eq!(report["compared"]["only_here"], 1);

    // An edit and a memory there: not yet taken over, and then taken over.
    let note = memtide::model::id::MemoryId::of("An old note without tags").to_string();
    let edit = json!({"content_hash": note, "updates": {"tags": ["newly"]}});
    service.local("update_memory_metadata", edit);
    service.store("Newly stored there", json!({}));
    let (code, report) = verify(&home);
    assert_eq!(code, Some(1), "{report}");
    assert_eq!(kinds(&report)[..2], [("missing", 1), ("not_taken_over", 1)]);
    import(&home);
    embedded(&home);
    assert_eq!(verify(&home).0, Some(0));

    // A row that the service has purged tells of nothing.
    service.sql("DELETE FROM memories WHERE content_hash = ?", json!([note]));
    let (code, report) = verify(&home);
    assert_eq!(code, Some(0), "{report}");
    assert!(kinds(&report).contains(&("gone_there", 1)), "{report}");

    // Damage here, in the database itself.
    daemon.stop();
    let conn = Connection::open(home.database()).unwrap();
    let text = memtide::model::id::MemoryId::of("Newly stored there").to_string();
    conn.execute("UPDATE memory SET content = content || '!' WHERE id = ?1", [&text]).unwrap();
    let drop_vector = "DELETE FROM embedding WHERE memory = (SELECT key FROM memory WHERE id = ?1)";
    assert_eq!(conn.execute(drop_vector, [&edited]).unwrap(), 1);
    let swap =
        "UPDATE embedding SET vec = (SELECT e.vec FROM embedding e WHERE e.id <> embedding.id
                AND e.memory <> embedding.memory ORDER BY e.id LIMIT 1)
                WHERE memory = (SELECT key FROM memory WHERE id = ?1)";
    assert_eq!(conn.execute(swap, [&text]).unwrap(), 1);
    assert!(conn.execute("DELETE FROM edge", ()).unwrap() >= 1);
    conn.execute("DELETE FROM carried", ()).unwrap();
    drop(conn);
    let _daemon = home.daemon();
    let (code, report) = verify(&home);
    assert_eq!(code, Some(1));
    let found: Vec<&str> = kinds(&report).into_iter().map(|(kind, _)| kind).collect();
    for kind in ["text_missing", "vector_differs", "edge_missing", "carried"] {
        assert!(found.contains(&kind), "{kind} in {report}");
    }
    assert!(found.contains(&"vector_missing") || found.contains(&"vector_pending"), "{report}");
    service.close();
}

#[test]
fn the_same_queries_find_the_same_on_both_sides() {
    // The vectors of the source are made here, in another home: they are the model's own.
    let texts: Vec<String> = [
        "The tide comes in twice a day at the harbour",
        "Our database is backed up every night at two",
        "Espresso needs finely ground coffee and nine bars",
        "The deployment failed since the token had expired",
        "A fox crossed the road near the old mill",
        "Invoices are sent on the first of each month",
        "The cache was too small for the new index",
        "Sailing needs wind, a boat and some patience",
        "Never commit secrets into a repository",
        "The garden needs water in dry summers",
        "A unit test must be able to fail",
        "Mountains look blue from a distance",
    ]
    .map(str::to_owned)
    .into();
    let maker = Home::new().with("MEMTIDE_MODEL_DIR", model::folder());
    let made = {
        let _daemon = maker.daemon();
        for text in &texts {
            maker.store(text);
        }
        embedded(&maker);
        let conn = Connection::open(maker.database()).unwrap();
        let sql = "SELECT m.content, e.vec FROM memory m JOIN embedding e ON e.memory = m.key";
        let mut statement = conn.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<Vec<(String, Vec<u8>)>, _>>().unwrap()
    };
    assert_eq!(made.len(), texts.len());
    let home = Home::new().with("MEMTIDE_MODEL_DIR", model::folder());
    let source = PythonDatabase::create(&source_path(&home), Release::V12, 384).unwrap();
    for (content, bytes) in made {
        let vector =
            bytes.as_chunks::<4>().0.iter().map(|part| f32::from_le_bytes(*part)).collect();
        source.add(&Row { vector: Some(vector), ..Row::new(&content) }).unwrap();
    }
    let queries = home.root().join("queries.txt");
    let asked =
        "# what was asked\nwhen is high water\nhow do I make coffee\n\nwhy did the release break\n";
    std::fs::write(&queries, asked).unwrap();
    let _daemon = home.daemon();
    import(&home);
    embedded(&home);
    let arguments = ["migrate", "verify", "--queries", queries.to_str().unwrap(), "--json"];
    let report = done(home.run(&arguments)).json();
    let found = &report["queries"];
    assert_eq!((&found["asked"], &found["kind"]), (&json!(3), &json!("meaning")), "{report}");
    assert_eq!(found["alike"]["overlap_at_5"], 1.0, "{report}");
    assert_eq!(found["alike"]["same_first"], 1.0, "{report}");
    // Here what has nothing to do with the query is equally far from it; there it still has an order.
    assert!(found["alike"]["overlap_at_10"].as_f64().unwrap() > 0.9, "{report}");
    assert!(found["default"]["overlap_at_10"].as_f64().unwrap() > 0.7, "{report}");
    // By words, where the vectors are not the model's.
    source.conn().execute_batch("DELETE FROM memory_embeddings").unwrap();
    for rowid in 1..=12 {
        let mut other = vec![0.0; 384];
        other[usize::try_from(rowid).unwrap()] = 1.0;
        source.set_vector(rowid, &other, "default").unwrap();
    }
    let words = home.root().join("words.txt");
    std::fs::write(&words, "harbour\ncoffee\n").unwrap();
    let said = home.run(&["migrate", "verify", "--queries", words.to_str().unwrap()]);
    let said = done(said).out;
    assert!(said.contains("2 queries asked by words on both sides"), "{said}");
    assert!(said.contains("  search of that kind   overlap at 5 1.000, at 10 1.000"), "{said}");
    assert!(said.contains("all of the source is here"), "{said}");
    let none =
        home.run(&["migrate", "verify", "--queries", home.root().join("no").to_str().unwrap()]);
    assert_eq!(none.code, Some(1));
}

#[test]
fn without_a_model_vectors_are_on_the_way_and_it_says_so() {
    let home = Home::new();
    let _daemon = home.daemon();
    let source = PythonDatabase::create(&source_path(&home), Release::V10, 8).unwrap();
    source.fill(40, 3, 8, &[]).unwrap();
    import(&home);
    let (code, report) = verify(&home);
    assert_eq!((code, &report["differences"]), (Some(1), &json!(0)), "{report}");
    let kinds = kinds(&report);
    assert_eq!(kinds.len(), 1);
    assert_eq!(kinds[0].0, "vector_pending");
    // A database that can't be read says why.
    let path = home.root().join("none.db");
    let missing = home.run(&["migrate", "verify", path.to_str().unwrap()]);
    assert_eq!(missing.code, Some(1));
    assert!(missing.err.contains("there is no file"), "{missing:?}");
}
