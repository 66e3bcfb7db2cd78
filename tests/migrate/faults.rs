//! An import and a follower that are killed, and a disk that is full: none is lost, none is twice, and it
//! goes on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::home::{Daemon, Home};
use super::moving::{held, source_path, until};
use super::written::Written;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rusqlite::Connection;
use serde_json::{Value, json};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Memories of the source: several pages, so that a kill comes between two of them.
const N_ROWS: usize = 8000;
const IMPORT_KILLS: usize = 4;
const FOLLOW_KILLS: usize = 8;
/// Blocks of 512 bytes, or of 1024 in some shells: room for a part of the source.
const WITH_LITTLE_ROOM: &str = "ulimit -f 6000; exec \"$0\" daemon";

fn wait(moment: Duration) {
    let (_never, nothing) = mpsc::channel::<()>();
    assert_eq!(nothing.recv_timeout(moment), Err(RecvTimeoutError::Timeout));
}

fn migrate(home: &Home) -> Value {
    home.ask("GET", "/v1/migrate", b"").json
}

fn begin(home: &Home, what: &str, source: &Written) {
    let body = json!({"path": source.path()}).to_string();
    let answer = home.ask("POST", &format!("/v1/migrate/{what}"), body.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// Everything is here once, and every table agrees with that.
fn check(home: &Home, source: &Written) {
    assert_eq!(held(home), source.all());
    let conn = Connection::open(home.database()).unwrap();
    let one = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let n_rows = i64::try_from(source.all().len()).unwrap();
    let n_living = i64::try_from(source.all().iter().filter(|row| row.1).count()).unwrap();
    assert_eq!(one("SELECT count(*) FROM source_row WHERE row IS NOT NULL"), n_rows);
    assert_eq!(one("SELECT imported FROM source"), n_rows);
    assert_eq!(one("SELECT count(*) FROM keyword_docsize"), n_living);
    assert_eq!(one("SELECT count(*) FROM pending_embedding"), n_living);
    assert_eq!(one("SELECT count(DISTINCT generation) FROM memory"), n_rows);
    let said: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(said, "ok");
}

#[test]
fn an_import_that_is_killed_again_and_again_takes_everything_once() {
    let home = Home::new();
    let mut source = Written::new(&source_path(&home));
    source.fill((0..N_ROWS).map(|n| format!("note number {n}")));
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let mut daemon = home.daemon();
    begin(&home, "import", &source);
    let imported = || migrate(&home)["imported"].as_u64().unwrap();
    let mut before = 0;
    for kill in 1..=IMPORT_KILLS {
        until("another page", || imported() > before);
        wait(Duration::from_micros(rng.random_range(0..60_000)));
        before = imported();
        daemon.kill();
        let n_here = held(&home).len() as u64;
        assert!(n_here >= before, "{n_here} of {before}");
        assert!(n_here < N_ROWS as u64, "kill {kill} met no import at work");
        before = n_here;
        daemon = home.daemon();
    }
    until("it goes on by itself to its end", || migrate(&home)["is_imported"] == true);
    let report = migrate(&home)["report"].clone();
    assert_eq!(report["reconciled"]["agrees"], true, "{report}");
    daemon.stop();
    check(&home, &source);
    let conn = Connection::open(home.database()).unwrap();
    let n_versions: i64 =
        conn.query_row("SELECT count(*) FROM history", [], |row| row.get(0)).unwrap();
    assert_eq!(n_versions, 0, "some row was taken over twice");
}

#[test]
fn a_follower_that_is_killed_again_and_again_misses_nothing() {
    let home = Home::new();
    let mut source = Written::new(&source_path(&home));
    source.fill((0..300).map(|n| format!("note number {n}")));
    let mut daemon = home.daemon();
    begin(&home, "follow", &source);
    until("it follows", || migrate(&home)["state"] == "following");
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut n_behind = 0;
    let mut known: Vec<String> = source.all().into_iter().map(|(hash, ..)| hash).collect();
    for kill in 0..FOLLOW_KILLS {
        for n in 0..40 {
            let place = rng.random_range(0..known.len());
            match n % 4 {
                0 => source.retag(&known[place], &format!("round-{kill}-{n}")),
                1 => {
                    let hash = known.swap_remove(place);
                    source.delete(&hash);
                }
                _ => known.push(source.store(&format!("round {kill}, note {n}"), "new")),
            }
            wait(Duration::from_millis(rng.random_range(0..12)));
        }
        daemon.kill();
        n_behind += usize::from(held(&home) != source.all());
        daemon = home.daemon();
    }
    assert!(n_behind > 0, "no kill came before something was taken over");
    until("everything is here", || held(&home) == source.all());
    let now = migrate(&home);
    assert_eq!((&now["state"], &now["trouble"]), (&json!("following"), &Value::Null));
    daemon.stop();
    check(&home, &source);
}

#[test]
fn a_disk_that_is_full_stops_the_import_and_room_lets_it_go_on() {
    let home = Home::new();
    let mut source = Written::new(&source_path(&home));
    source.fill((0..N_ROWS).map(|n| format!("note number {n} {}", "word ".repeat(100))));
    let daemon: Daemon = home.daemon_by(WITH_LITTLE_ROOM);
    let said = home.run(&["migrate", "import", source.path(), "--json"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let is_told = ["the disk is full", "can't be read or written"];
    assert!(is_told.iter().any(|told| said.err.contains(told)), "{said:?}");
    assert!(said.err.contains("hint: "), "{said:?}");
    let now = migrate(&home);
    assert_eq!(now["job"]["state"], "failed", "{now}");
    assert_ne!(now["state"], "importing");
    let imported = now["imported"].as_u64().unwrap();
    assert!((1..N_ROWS as u64).contains(&imported), "{imported} were imported");
    assert_eq!(held(&home).len() as u64, imported, "a page is taken over whole or not at all");
    let problems = home.ask("GET", "/v1/status", b"").json["problems"].clone();
    assert_ne!(problems, json!([]));
    daemon.stop();
    let daemon = home.daemon();
    let said = home.run(&["migrate", "import", source.path(), "--json"]);
    if said.code != Some(0) {
        // It may have gone on by itself already.
        assert!(said.err.contains("a job is at work already"), "{said:?}");
        until("it goes on", || migrate(&home)["is_imported"] == true);
    }
    daemon.stop();
    check(&home, &source);
}
