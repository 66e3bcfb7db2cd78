//! Memories from the first store to the last export.

use crate::home::{Home, PROGRAM};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

/// A command that must succeed: standard output and standard error.
#[track_caller]
fn done(home: &Home, arguments: &[&str]) -> (String, String) {
    let said = home.run(arguments);
    assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
    (said.out, said.err)
}

/// The same for a command that says nothing on standard error.
#[track_caller]
fn printed(home: &Home, arguments: &[&str]) -> String {
    let (out, err) = done(home, arguments);
    assert_eq!(err, "", "{arguments:?}");
    out
}

/// Stores through the command line and gives the id.
fn stored(home: &Home, arguments: &[&str]) -> String {
    let id = printed(home, &[&["store"], arguments].concat());
    assert_eq!(id.trim_end().len(), 64, "{id}");
    id.trim_end().to_owned()
}

const POSTGRES: &str = "Postgres listens on port 5433 on staging";
const POSTGRES_ID: &str = "342b0f1f13577e32cb7f6f527fc9c222c65e8ac4af15a41432a84f7371a4be7a";

#[test]
fn a_memory_is_stored_found_shown_and_listed() {
    let home = Home::new();
    let _daemon = home.daemon();
    let id = stored(&home, &[POSTGRES, "--tag", "Infra", "--tag", "db", "--meta", "port=5433"]);
    assert_eq!(id, POSTGRES_ID);
    stored(&home, &["Ann likes tabs", "--type", "preference"]);

    let (out, err) = done(&home, &["store", POSTGRES, "--tag", "staging"]);
    assert_eq!(out, format!("{id}\n"));
    assert_eq!(err, "it was there already and has been updated\n");
    let (_, err) = done(&home, &["store", POSTGRES]);
    assert_eq!(err, "it was there already\n");

    let short = &id[..12];
    let line = format!("{short}  {POSTGRES}  [db, infra, staging]\n");
    let (out, err) = done(&home, &["search", "postgres"]);
    assert_eq!(out, format!("1.00  {line}"));
    assert_eq!(err, "the model isn't ready: found by words only (see `memtide status`)\n");
    let (out, _) = done(&home, &["search", "postgres", "--mode", "exact"]);
    assert_eq!(out, format!("1.00  {line}"));
    let (out, err) = done(&home, &["search", "elephants", "--mode", "keyword"]);
    assert_eq!((out.as_str(), err.as_str()), ("", "nothing found\n"));

    let (out, err) = done(&home, &["list", "--tag", "db"]);
    assert_eq!((out, err.as_str()), (line, "1 of 1, page 1\n"));
    let (out, err) = done(&home, &["list", "--page-size", "1", "--page", "1"]);
    assert!(out.ends_with("  Ann likes tabs\n"), "{out}");
    assert_eq!(err, "1 of 2, page 1\nmore: --page 2\n");
    let (out, err) = done(&home, &["list", "--type", "none"]);
    assert_eq!((out.as_str(), err.as_str()), ("", "no memories\n"));
    assert_eq!(printed(&home, &["tags"]), "      1  db\n      1  infra\n      1  staging\n");

    let shown = printed(&home, &["get", short]);
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(
        lines[..6],
        [
            POSTGRES,
            "",
            &format!("id        {id}"),
            "type      note",
            "tags      db, infra, staging",
            "metadata  {\"port\":5433}",
        ]
    );
    assert!(shown.contains("\norigin    cli on device "), "{shown}");
    assert!(shown.ends_with("\nvector    not yet\nin cloud  no\n"), "{shown}");
    let memory: Value = serde_json::from_str(&printed(&home, &["get", short, "--json"])).unwrap();
    assert_eq!(memory["metadata"], json!({"port": 5433}));
    assert_eq!(memory["origin"]["client"], json!("cli"));
}

#[test]
fn a_changed_text_replaces_the_memory_and_an_old_version_comes_back() {
    let home = Home::new();
    let _daemon = home.daemon();
    let id = stored(&home, &["the cache holds 10 entries", "--tag", "cache"]);
    assert_eq!(
        printed(&home, &["update", &id[..8], "--no-tags", "--meta", "by=Ann"]),
        format!("{id}\n")
    );
    let (out, err) = done(&home, &["history", &id[..8]]);
    assert!(out.starts_with("   1  20"), "{out}");
    assert!(out.ends_with("Z  update   the cache holds 10 entries  [cache]\n"), "{out}");
    assert_eq!(err, "");
    let new = printed(&home, &["update", &id, "--content", "the cache holds 20 entries"]);
    let new = new.trim_end();
    assert_ne!(new, id);
    let shown = printed(&home, &["get", &id]);
    assert!(shown.contains(&format!("\nreplaced  by {new}\n")), "{shown}");
    assert!(shown.contains("\nvector    no: a search finds what replaced it\n"), "{shown}");
    let (out, _) = done(&home, &["list"]);
    let (short, short_new) = (&id[..12], &new[..12]);
    assert_eq!(
        out,
        format!(
            "{short_new}  the cache holds 20 entries\n{short}  the cache holds 10 entries  (replaced)\n"
        )
    );
    let (out, _) = done(&home, &["search", "cache entries"]);
    assert_eq!(out, format!("1.00  {short_new}  the cache holds 20 entries\n"));

    assert_eq!(printed(&home, &["restore", &id, "--version", "1"]), format!("{id}\n"));
    let restored: Value = serde_json::from_str(&printed(&home, &["get", &id, "--json"])).unwrap();
    assert_eq!(restored["tags"], json!(["cache"]));
    let (out, err) = done(&home, &["history", new]);
    assert_eq!((out.as_str(), err.as_str()), ("", "no earlier version\n"));
}

#[test]
fn deletions_are_told_and_can_be_taken_back() {
    let home = Home::new();
    let _daemon = home.daemon();
    let one = stored(&home, &["the first note", "--tag", "old"]);
    let two = stored(&home, &["the second note", "--tag", "old"]);
    let both = [format!("{two}\n{one}\n"), format!("{one}\n{two}\n")];

    let (out, err) = done(&home, &["delete", "--tag", "old", "--dry-run"]);
    assert!(both.contains(&out), "{out}");
    assert_eq!(err, "2 would be deleted\n");
    let asked = home.run(&["delete", "--tag", "old"]);
    assert_eq!((asked.code, asked.out.as_str()), (Some(1), ""));
    let hint = "error: deleting 2 memories needs a confirmation\nhint: repeat with --yes\n";
    assert!(asked.err.ends_with(hint), "{asked:?}");
    assert_eq!(home.counts()[0], json!(2), "nothing was deleted without a confirmation");

    let (out, err) = done(&home, &["delete", &one[..8]]);
    assert_eq!((out, err.as_str()), (format!("{one}\n"), "1 deleted\n"));
    let gone = home.run(&["get", &one]);
    assert_eq!(gone.code, Some(5));
    assert!(gone.err.ends_with("\nhint: bring it back with `memtide restore`\n"), "{gone:?}");
    assert_eq!(printed(&home, &["restore", &one]), format!("{one}\n"));
    let (out, err) = done(&home, &["delete", "--tag", "old", "--yes"]);
    assert!(both.contains(&out), "{out}");
    assert_eq!(err, "2 deleted\n");
    let (out, err) = done(&home, &["delete", "--tag", "old", "--yes"]);
    assert_eq!((out.as_str(), err.as_str()), ("", "0 deleted\n"));
    assert_eq!(home.counts(), json!([0, 2, 0]));
}

#[test]
fn an_export_comes_back_as_it_was() {
    let home = Home::new();
    let daemon = home.daemon();
    let one = stored(&home, &["snow ☃ and \"quotes\"", "--tag", "a tag", "--meta", "n=1"]);
    let two = stored(&home, &["a text that is deleted"]);
    done(&home, &["update", &one, "--type", "fact"]);
    done(&home, &["delete", &two]);
    let (exported, err) = done(&home, &["export"]);
    assert_eq!(err, "2 memories exported\n");
    let file = home.root().join("all.jsonl");
    done(&home, &["export", file.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), exported);
    let (_, err) = done(&home, &["import", file.to_str().unwrap()]);
    assert_eq!(err, "read as memtide: 0 new, 0 merged, 2 unchanged\n");
    daemon.stop();

    let other = Home::new();
    let _daemon = other.daemon();
    let said = other.run_with(&["import", "-"], exported.as_bytes());
    assert_eq!(
        (said.code, said.err.as_str()),
        (Some(0), "read as memtide: 2 new, 0 merged, 0 unchanged\n")
    );
    assert_eq!(done(&other, &["export"]).0, exported);
    let (out, _) = done(&other, &["history", &two]);
    assert!(out.ends_with("  delete   a text that is deleted\n"), "{out}");
}

#[test]
fn a_reader_that_goes_away_ends_the_output() {
    let home = Home::new();
    let _daemon = home.daemon();
    let long = "x".repeat(4000);
    for n in 0..40 {
        home.store(&format!("{n} {long}"));
    }
    // More than a pipe holds, and output without an end.
    for arguments in
        [&["export"][..], &["status", "--watch"], &["list", "--json", "--page-size", "40"]]
    {
        let mut child = home
            .program(PROGRAM, arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut reader = BufReader::with_capacity(16, child.stdout.take().unwrap());
        assert!(!reader.fill_buf().unwrap().is_empty(), "{arguments:?}");
        drop(reader);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    }
}
