//! Moving in by the commands that a person types, against the real daemon.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use super::daemon::{Home, Said};
use super::written::Written;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

/// How often something is looked for, and how long between two looks: a minute in all.
const LOOKS: usize = 3000;
const BETWEEN: Duration = Duration::from_millis(20);

/// Waits until `is_there`.
pub fn until(what: &str, mut is_there: impl FnMut() -> bool) {
    let (_never, nothing) = mpsc::channel::<()>();
    for _ in 0..LOOKS {
        if is_there() {
            return;
        }
        assert_eq!(nothing.recv_timeout(BETWEEN), Err(mpsc::RecvTimeoutError::Timeout));
    }
    panic!("never: {what}");
}

pub fn source_path(home: &Home) -> PathBuf {
    home.root().join("sqlite_vec.db")
}

/// Puts a database in the place of another one and of what that has left.
fn put_back(aside: &Path, path: &Path) {
    for end in ["", "-wal", "-shm"] {
        let _absent = std::fs::remove_file(format!("{}{end}", path.display()));
    }
    std::fs::rename(aside, path).unwrap();
}

fn done(said: Said) -> Value {
    assert_eq!(said.code, Some(0), "{said:?}");
    said.json()
}

fn import(home: &Home, source: &Written, more: &[&str]) -> Value {
    let mut arguments = vec!["migrate", "import", source.path(), "--json"];
    arguments.extend(more);
    done(home.run(&arguments))
}

/// What the store holds, in the form of [`Written::all`].
pub fn held(home: &Home) -> Vec<(String, bool, String)> {
    let conn =
        Connection::open_with_flags(home.database(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut all: Vec<(String, bool, String)> = conn
        .prepare("SELECT id, deleted_at IS NULL, state FROM memory ORDER BY 1")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    for (_, _, state) in &mut all {
        let registers: Value = serde_json::from_str(state).unwrap();
        let tags = registers["tags"].as_object().unwrap().iter();
        let live: Vec<&str> =
            tags.filter(|(_, register)| register[1] == true).map(|(tag, _)| tag.as_str()).collect();
        *state = live.join(",");
    }
    all
}

fn migration(home: &Home) -> Value {
    home.ask("GET", "/v1/status", b"").json["migration"].clone()
}

fn trouble(home: &Home) -> String {
    let problems = home.ask("GET", "/v1/status", b"").json["problems"].clone();
    let of_source = |problem: &&Value| problem["code"] == "migration_source";
    let problem = problems.as_array().unwrap().iter().find(of_source).cloned();
    problem.map_or(String::new(), |problem| {
        format!(
            "{} -> {}",
            problem["message"].as_str().unwrap(),
            problem["next_step"].as_str().unwrap()
        )
    })
}

#[test]
fn a_dry_run_tells_what_the_import_does_and_a_second_one_takes_only_what_is_new() {
    let home = Home::new();
    let mut source = Written::new(&source_path(&home));
    source.fill((0..1200).map(|n| format!("note number {n}")));
    let deleted = source.store("will be deleted", "x");
    source.delete(&deleted);
    let edge = "INSERT INTO memory_graph VALUES ('a', 'b', 0.5, '[]', NULL, 1.5, 'causes')";
    source.conn().execute_batch(edge).unwrap();
    let row = "INSERT INTO memories(content_hash, content, created_at) VALUES ('no hash', 'x', 1)";
    source.conn().execute_batch(row).unwrap();
    let before = std::fs::read(source.path()).unwrap();
    let _daemon = home.daemon();
    let mut told = import(&home, &source, &["--dry-run"]);
    assert!(held(&home).is_empty());
    assert_eq!(migration(&home)["state"], "none");
    let mut was = import(&home, &source, &[]);
    assert_eq!(was["reconciled"]["agrees"], true, "{was}");
    assert_eq!((&was["n_refused"], &was["refused"][0]["hash"]), (&json!(1), &json!("no hash")));
    assert_eq!(was["new_living"], 1200);
    assert_eq!(was["new_deleted"], 1);
    assert_eq!(was["edges"], 1);
    for report in [&mut told, &mut was] {
        let report = report.as_object_mut().unwrap();
        for key in ["dry_run", "reconciled", "took_s", "new_edges"] {
            report.remove(key);
        }
    }
    assert_eq!(told, was);
    let mut expected = source.all();
    expected.retain(|(hash, _, _)| hash != "no hash");
    assert_eq!(held(&home), expected);
    let now = migration(&home);
    assert_eq!((&now["imported"], &now["total"]), (&json!(1201), &json!(1202)));
    assert_eq!((&now["state"], &now["is_imported"]), (&json!("none"), &json!(true)));
    // Nothing of it was written to.
    assert_eq!(std::fs::read(source.path()).unwrap(), before);

    source.store("one more", "new");
    source.retag(&deleted, "of the dead");
    let again = import(&home, &source, &[]);
    let counts = ["new_living", "changed", "unchanged", "rows"].map(|name| again[name].clone());
    assert_eq!(counts, [1, 1, 1200, 1203].map(|n| json!(n)));
    let said = home.run(&["migrate", "status"]);
    assert!(said.out.contains("imported, not followed, 1202 of 1203 rows"), "{said:?}");
    let said = home.run(&["migrate", "import", "/no/such/file"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("there is no file /no/such/file\nhint: "), "{said:?}");
}

#[test]
fn what_the_service_writes_is_followed_through_a_restart_until_the_end() {
    let home = Home::new();
    let mut source = Written::new(&source_path(&home));
    let first = source.store("stored before", "a");
    let daemon = home.daemon();
    let report = done(home.run(&["migrate", "follow", source.path(), "--json"]));
    assert_eq!(report["new_living"], 1);
    assert_eq!(migration(&home)["state"], "following");
    let same = |source: &Written| held(&home) == source.all();
    let second = source.store("stored meanwhile", "b");
    until("a new memory", || same(&source));
    source.retag(&first, "a,c");
    source.delete(&second);
    until("an edit and a deletion", || same(&source));
    source.purge(&second);
    let hash = source.store("stored meanwhile", "again");
    assert_eq!(hash, second);
    until("stored again", || same(&source));
    // Whoever stops following for a while misses nothing.
    daemon.stop();
    source.retag(&first, "d");
    let third = source.store("stored while nobody looked", "e");
    let daemon = home.daemon();
    until("what happened meanwhile", || same(&source));
    assert_eq!(migration(&home)["state"], "following");
    daemon.kill();
    source.delete(&third);
    let _daemon = home.daemon();
    until("what happened after the kill", || same(&source));
    let said = done(home.run(&["migrate", "finish", "--json"]));
    assert_eq!((&said["state"], &said["is_followed"]), (&json!("finished"), &json!(false)));
    let before = held(&home);
    source.store("after the end", "f");
    // The next look would have been made by now: another source is taken over from end to end.
    let mut other = Written::new(&home.root().join("other.db"));
    let other_hash = other.store("of another source", "g");
    import(&home, &other, &[]);
    let mut expected = before;
    expected.push((other_hash, true, "g".to_owned()));
    expected.sort();
    assert_eq!(held(&home), expected);
}

#[test]
fn a_source_that_vanishes_or_is_another_is_told_and_nothing_is_deleted() {
    let home = Home::new();
    let path = source_path(&home);
    let mut source = Written::new(&path);
    source.fill((0..20).map(|n| format!("note number {n}")));
    let _daemon = home.daemon();
    done(home.run(&["migrate", "follow", source.path(), "--json"]));
    let expected = held(&home);
    assert_eq!(expected.len(), 20);
    let aside = home.root().join("aside.db");
    source.conn().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    std::fs::rename(&path, &aside).unwrap();
    until("the source is missing", || trouble(&home).contains("there is no file"));
    assert!(trouble(&home).contains("memtide migrate follow PATH"), "{}", trouble(&home));
    assert_eq!(home.ask("GET", "/v1/status", b"").json["healthy"], false);
    // Another database in its place is not taken for it.
    let mut other = Written::new(&path);
    other.store("of somebody else", "x");
    until("another database", || trouble(&home).contains("is another database"));
    assert_eq!(held(&home), expected);
    drop(other);
    drop(source);
    put_back(&aside, &path);
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("UPDATE memories SET tags = 'back', updated_at = updated_at + 1").unwrap();
    until("it is back", || trouble(&home).is_empty());
    until("what changed", || held(&home).iter().all(|(_, _, tags)| tags == "back"));
}

#[test]
fn a_database_that_is_put_elsewhere_stays_the_same_source() {
    let home = Home::new();
    let path = source_path(&home);
    let mut source = Written::new(&path);
    source.fill((0..20).map(|n| format!("note number {n}")));
    let hash = source.store("edited on both sides", "old");
    let _daemon = home.daemon();
    done(home.run(&["migrate", "follow", source.path(), "--json"]));
    home.ask("PATCH", &format!("/v1/memories/{hash}"), br#"{"tags":["mine"]}"#);
    // The row still shows the old tag, under an instant that is later than the edit of it here.
    let later = "UPDATE memories SET metadata = '{\"k\": 1}', updated_at = unixepoch() + 3600
                 WHERE content LIKE 'edited%'";
    source.conn().execute_batch(later).unwrap();
    let here = || home.ask("GET", &format!("/v1/memories/{hash}"), b"").json;
    until("the edit of the metadata", || here()["metadata"]["k"] == 1);
    assert_eq!(here()["tags"], json!(["mine"]));
    source.conn().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(source);
    let elsewhere = home.root().join("elsewhere.db");
    std::fs::rename(&path, &elsewhere).unwrap();
    let followed = elsewhere.to_str().unwrap();
    done(home.run(&["migrate", "follow", followed, "--json"]));
    assert_eq!(migration(&home)["source"], followed);
    let conn = Connection::open(&elsewhere).unwrap();
    conn.execute_batch("UPDATE memories SET tags = 'new' WHERE content = 'note number 7'").unwrap();
    until("what changed there", || held(&home).iter().any(|(_, _, tags)| tags == "new"));
    assert_eq!(here()["tags"], json!(["mine"]), "what was not edited there is no edit");
}

#[test]
fn a_move_is_finished_only_when_all_is_here() {
    let home = Home::new();
    let path = source_path(&home);
    let mut source = Written::new(&path);
    source.fill((0..20).map(|n| format!("note number {n}")));
    let _daemon = home.daemon();
    done(home.run(&["migrate", "follow", source.path(), "--json"]));
    source.conn().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let aside = home.root().join("aside.db");
    std::fs::rename(&path, &aside).unwrap();
    let mut other = Written::new(&path);
    other.store("of somebody else", "x");
    let said = home.run(&["migrate", "finish"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.err.contains("is another database than the one that was followed"), "{said:?}");
    assert!(
        said.err.contains("or end the move as it stands with `memtide migrate finish --force`")
    );
    assert_eq!(migration(&home)["is_followed"], true);
    drop(other);
    put_back(&aside, &path);
    // The very last thing that was written comes along, whether the follower has seen it or not.
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("UPDATE memories SET tags = 'last', updated_at = updated_at + 1").unwrap();
    let said = done(home.run(&["migrate", "finish", "--json"]));
    assert_eq!(said["state"], "finished");
    assert!(held(&home).iter().all(|(_, _, tags)| tags == "last"));
}

#[test]
fn a_move_that_can_not_be_completed_is_finished_by_force() {
    let home = Home::new();
    let path = source_path(&home);
    let mut source = Written::new(&path);
    source.store("a note", "a");
    let _daemon = home.daemon();
    done(home.run(&["migrate", "follow", source.path(), "--json"]));
    drop(source);
    for end in ["-wal", "-shm"] {
        let _absent = std::fs::remove_file(format!("{}{end}", path.display()));
    }
    std::fs::write(&path, "no database at all").unwrap();
    assert_eq!(home.run(&["migrate", "finish"]).code, Some(1));
    let said = done(home.run(&["migrate", "finish", "--force", "--json"]));
    assert_eq!(said["state"], "finished");
}

#[test]
fn many_rows_that_vanish_without_a_trace_wait_for_a_person() {
    let home = Home::new();
    let mut source = Written::old(&source_path(&home));
    source.fill((0..200).map(|n| format!("note number {n}")));
    let _daemon = home.daemon();
    done(home.run(&["migrate", "follow", source.path(), "--json"]));
    let living = || held(&home).iter().filter(|(_, is_alive, _)| *is_alive).count();
    let one = source.all()[0].0.clone();
    source.purge(&one);
    until("one deletion", || living() == 199);
    source.conn().execute_batch("DELETE FROM memories WHERE id % 2 = 0").unwrap();
    until("the guard", || trouble(&home).contains("rows are gone"));
    assert_eq!(living(), 199);
    let said = home.run(&["migrate", "follow", "--json"]);
    assert_eq!(said.json()["gone_held_back"], true, "{said:?}");
    assert_eq!(living(), 199);
    let report = done(home.run(&["migrate", "follow", "--accept-deletions", "--json"]));
    assert_eq!(report["deleted_as_gone"], json!(199 - living()));
    assert_eq!(living(), source.all().len());
    until("no trouble", || trouble(&home).is_empty());
}
