//! A database file that isn't what memtide wrote: refused untouched, or read as far as it can be, and
//! never called healthy.

use crate::home::{Home, Said};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::sync::OnceLock;

const PAGE: usize = 4096;

/// A database with some hundred memories, as a stopped daemon leaves it, and its texts by id.
fn sound() -> &'static (Vec<u8>, BTreeMap<String, String>) {
    static SOUND: OnceLock<(Vec<u8>, BTreeMap<String, String>)> = OnceLock::new();
    SOUND.get_or_init(|| {
        let home = Home::new();
        let daemon = home.daemon();
        let mut texts = BTreeMap::new();
        for n in 0..200 {
            let text =
                format!("memory {n} of the heron {}", "wades in the shallows ".repeat(n % 40));
            texts.insert(home.store(&text), text);
        }
        daemon.stop();
        (fs::read(home.database()).unwrap(), texts)
    })
}

fn home_with(database: &[u8]) -> Home {
    let home = Home::new();
    DirBuilder::new().mode(0o700).create(home.data()).unwrap();
    fs::write(home.database(), database).unwrap();
    home
}

fn refused_untouched(database: &[u8], sentence: &str, hint: &str) {
    let home = home_with(database);
    let sentence = sentence.replace("{path}", &home.database().display().to_string());
    let err = format!("error: {sentence}\nhint: {hint}\n");
    assert_eq!(home.refusal(), Said { code: Some(1), out: String::new(), err });
    let said = home.run(&["list"]);
    let err = format!("error: the daemon ended while starting: {sentence}\nhint: {hint}\n");
    assert_eq!(said, Said { code: Some(1), out: String::new(), err });
    assert!(fs::read(home.database()).unwrap() == database, "the file was changed");
    assert!(!home.socket().exists());
}

#[test]
fn a_newer_database_is_left_alone() {
    let scratch = home_with(&sound().0);
    let conn = rusqlite::Connection::open(scratch.database()).unwrap();
    conn.pragma_update(None, "user_version", 999).unwrap();
    drop(conn);
    refused_untouched(
        &fs::read(scratch.database()).unwrap(),
        "the database {path} has schema version 999, this memtide knows up to 2",
        "install the newer memtide again",
    );
}

#[test]
fn a_foreign_database_is_left_alone() {
    let scratch = Home::new();
    let path = scratch.root().join("other.db");
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TABLE memories(id); INSERT INTO memories VALUES (1)").unwrap();
    drop(conn);
    refused_untouched(
        &fs::read(&path).unwrap(),
        "{path} is not a memtide database",
        "move the file away, or choose another folder with MEMTIDE_DATA_DIR",
    );
}

#[test]
fn a_file_of_rubbish_is_left_alone() {
    // A linear congruence: any bytes will do, the same ones each time.
    let mut state = 1_u32;
    let rubbish: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(20_000)
    .collect();
    for length in [15, 100, 600, 20_000] {
        refused_untouched(
            &rubbish[..length],
            "the database file is damaged: file is not a database",
            "stop the daemon, copy the database file away, and restore an export or a backup",
        );
    }
}

fn problem(home: &Home, code: &str) -> Option<Value> {
    let status = home.ask("GET", "/v1/status", b"").json;
    let problems = status["problems"].as_array().unwrap_or_else(|| panic!("{status}")).clone();
    assert_eq!(status["healthy"], problems.is_empty());
    problems.into_iter().find(|problem| problem["code"] == code)
}

/// The check of the file runs beside the daily work: its finding is waited for.
fn damage(home: &Home) -> Value {
    (0..100_000)
        .find_map(|_| problem(home, "database_damaged"))
        .unwrap_or_else(|| panic!("the damage was never told: {}", home.stderr()))
}

/// Every text as the daemon tells it; `None` if it can't tell one.
fn told(home: &Home) -> Option<BTreeMap<String, String>> {
    let mut texts = BTreeMap::new();
    for page in 1.. {
        let answer = home.ask("GET", &format!("/v1/memories?page_size=100&page={page}"), b"");
        if answer.status != 200 {
            assert!(answer.line().starts_with("500 database_damaged: "), "{answer:?}");
            return None;
        }
        for memory in answer.json["memories"].as_array().unwrap() {
            let text = |name: &str| memory[name].as_str().unwrap().to_owned();
            texts.insert(text("id"), text("content"));
        }
        if answer.json["has_more"] != true {
            break;
        }
    }
    Some(texts)
}

#[test]
fn any_page_may_be_damaged() {
    let (sound, texts) = sound();
    let n_pages = sound.len() / PAGE;
    assert!(n_pages > 40, "{n_pages}");
    let (mut n_refused, mut n_unreadable, mut n_intact) = (0, 0, 0);
    // The first pages hold the schema and the roots of the tables, the rest mostly texts.
    for page in (0..12).chain((12..n_pages).step_by(n_pages / 8)) {
        let mut database = sound.clone();
        for byte in &mut database[page * PAGE + 200..page * PAGE + 3900] {
            *byte ^= 0xa5;
        }
        let home = home_with(&database);
        let Some(mut daemon) = home.daemon_if_it_serves() else {
            let said = home.refusal();
            assert_eq!(said.code, Some(1), "page {page}: {said:?}");
            assert!(said.err.starts_with("error: the database file is damaged: "), "{said:?}");
            n_refused += 1;
            continue;
        };
        let found = told(&home);
        for (method, path, body) in [
            ("GET", "/v1/tags", json!({})),
            ("GET", "/v1/export", json!({})),
            ("GET", "/v1/outbox", json!({})),
            ("POST", "/v1/search", json!({"query": "heron shallows"})),
            ("POST", "/v1/search", json!({"query": "heron", "mode": "exact"})),
            ("POST", "/v1/memories", json!({"content": "stored into a damaged file"})),
            ("DELETE", "/v1/memories/abcdef", json!({})),
        ] {
            let answer = home.ask(method, path, body.to_string().as_bytes());
            if answer.status >= 500 {
                let line = answer.line();
                assert!(line.starts_with("500 database_damaged: "), "page {page}: {line}");
            }
        }
        if found.as_ref() == Some(texts) {
            n_intact += 1;
        } else {
            damage(&home);
            n_unreadable += 1;
        }
        assert!(daemon.is_alive(), "page {page}");
        assert!(!home.stderr().contains("panicked"), "page {page}: {}", home.stderr());
    }
    assert!(n_refused > 0 && n_unreadable > 3, "{n_refused} {n_unreadable} {n_intact}");
}

#[test]
fn half_a_file_is_never_called_healthy() {
    let (sound, _) = sound();
    let pages = sound.len() / PAGE / 2;
    let home = home_with(&sound[..pages * PAGE]);
    let said = home.run(&["list"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("the database file is damaged: "), "{said:?}");
    assert!(said.err.contains("hint: stop the daemon, copy the database file away"), "{said:?}");
}

#[test]
fn a_single_letter_that_changed_is_noticed() {
    let (sound, texts) = sound();
    let (id, _) = texts.iter().find(|(_, text)| text.starts_with("memory 7 ")).unwrap();
    let mut database = sound.clone();
    let at = database.windows(17).position(|window| window == b"memory 7 of the h").unwrap();
    database[at] = b'M';
    let home = home_with(&database);
    let _daemon = home.daemon();
    assert_eq!(
        damage(&home),
        json!({
            "code": "database_damaged",
            "message": format!(
                "the database file is damaged: the text of memory {id} is not what was stored"
            ),
            "next_step":
                "stop the daemon, copy the database file away, and restore an export or a backup",
        })
    );
}
