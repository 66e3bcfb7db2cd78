//! No room for the database: the daemon says so, goes on reading, keeps what it has acknowledged, and
//! stores again once there is room. A limit on the size of its files stands for the disk.

use crate::home::{Answer, Home};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Blocks of 512 bytes, or of 1024 in some shells: room for a new database and a few texts.
const WITH_LITTLE_ROOM: &str = "ulimit -f 1200; exec \"$0\" daemon";
const TEXT_BYTES: usize = 20_000;

fn store(home: &Home, text: &str) -> Answer {
    home.ask("POST", "/v1/memories", json!({"content": text, "tags": ["t"]}).to_string().as_bytes())
}

fn text(name: &str) -> String {
    format!("{name} {}", "x ".repeat(TEXT_BYTES / 2))
}

fn is_refusal(answer: &Answer) -> bool {
    let expected = [
        "507 disk_full: the disk is full: nothing was stored | free some space and try again; \
         reading goes on working",
        "500 database_unreachable: the database file can't be read or written: disk I/O error | \
         check the disk, its free space and quota, and the permissions of the data folder",
        // What a full disk left in the log can't be emptied while a slow machine still reads from it.
        "503 busy: the database file is being read or is held by another program: nothing was stored | try \
         again in a moment",
    ];
    answer.status != 200 && {
        let line = answer.line();
        assert!(expected.contains(&line.as_str()), "{line}");
        true
    }
}

fn problem_codes(home: &Home) -> Vec<Value> {
    let status = home.ask("GET", "/v1/status", b"").json;
    let problems = status["problems"].as_array().unwrap();
    problems.iter().map(|problem| problem["code"].clone()).collect()
}

fn is_storage_problem(code: &Value) -> bool {
    ["disk_full", "database_unreachable"].contains(&code.as_str().unwrap())
}

/// Everything acknowledged is there as it was stored, and nothing else.
fn assert_holds(home: &Home, acknowledged: &BTreeMap<String, String>) {
    let said = home.run(&["export"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let found: BTreeMap<String, String> = said
        .out
        .lines()
        .map(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            let text = |name: &str| record[name].as_str().unwrap().to_owned();
            (text("id"), text("content"))
        })
        .collect();
    assert!(found == *acknowledged, "{} instead of {}", found.len(), acknowledged.len());
    let page = home.ask("GET", "/v1/memories?tag=t", b"").json;
    assert_eq!(page["total"], acknowledged.len());
}

#[test]
fn a_full_disk_refuses_stores_and_loses_nothing() {
    let home = Home::new();
    let mut daemon = home.daemon_by(WITH_LITTLE_ROOM);
    let mut acknowledged = BTreeMap::new();
    let mut refused = None;
    for n in 0..1000 {
        let text = text(&format!("wren {n}"));
        let answer = store(&home, &text);
        if is_refusal(&answer) {
            refused = Some(text);
            break;
        }
        acknowledged.insert(answer.json["id"].as_str().unwrap().to_owned(), text);
    }
    let refused = refused.expect("the disk was never full");
    assert!(!acknowledged.is_empty());
    let codes = problem_codes(&home);
    assert!(codes.iter().any(is_storage_problem), "{codes:?}");
    // Reading goes on.
    assert_holds(&home, &acknowledged);
    for (id, text) in &acknowledged {
        let found = home.ask("GET", &format!("/v1/memories/{id}"), b"").json;
        assert!(found["content"] == text.as_str());
    }
    let body = json!({"query": "wren", "n": 100}).to_string();
    let hits = home.ask("POST", "/v1/search", body.as_bytes()).json;
    assert_eq!(hits["hits"].as_array().unwrap().len(), acknowledged.len());
    assert!(daemon.is_alive());
    daemon.stop();
    // There is room again.
    let daemon = home.daemon();
    assert_holds(&home, &acknowledged);
    let answer = store(&home, &refused);
    assert_eq!(answer.status, 200, "{answer:?}");
    acknowledged.insert(answer.json["id"].as_str().unwrap().to_owned(), refused);
    assert_holds(&home, &acknowledged);
    assert!(!problem_codes(&home).iter().any(is_storage_problem));
    daemon.stop();
    let conn = rusqlite::Connection::open(home.database()).unwrap();
    let said: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(said, "ok");
    assert!(!home.stderr().contains("panicked"), "{}", home.stderr());
}

#[test]
fn of_stores_that_share_a_commit_only_the_kept_ones_are_acknowledged() {
    let home = Home::new();
    let daemon = home.daemon_by(WITH_LITTLE_ROOM);
    let outcomes: Vec<Vec<(String, Answer)>> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8)
            .map(|client| {
                let home = &home;
                scope.spawn(move || {
                    let named = |n: usize| text(&format!("client {client} text {n}"));
                    (0..20).map(named).map(|text| (text.clone(), store(home, &text))).collect()
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let mut acknowledged = BTreeMap::new();
    let mut n_refused = 0;
    for (text, answer) in outcomes.into_iter().flatten() {
        if is_refusal(&answer) {
            n_refused += 1;
        } else {
            acknowledged.insert(answer.json["id"].as_str().unwrap().to_owned(), text);
        }
    }
    assert!(n_refused > 0 && !acknowledged.is_empty(), "{n_refused} refused");
    assert_holds(&home, &acknowledged);
    // What was acknowledged on a full disk survives a kill on it.
    daemon.kill();
    let _daemon = home.daemon();
    assert_holds(&home, &acknowledged);
}

#[test]
fn a_daemon_that_has_no_room_to_start_says_so() {
    let home = Home::new();
    let mut command =
        home.program("/bin/sh", &["-c", "ulimit -f 8; exec \"$0\" daemon", crate::home::PROGRAM]);
    let output = command.output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    let last: Vec<&str> = err.lines().rev().take(2).collect();
    assert!(last[1].starts_with("error: "), "{err}");
    assert!(last[0].starts_with("hint: "), "{err}");
    assert!(last[1].contains("disk"), "{err}");
    // Nothing of it stands in the way of the next start.
    home.daemon().stop();
}
