//! How well the real program with the real model finds what is asked for: the set that comes with memtide,
//! stored, embedded and searched by a daemon, with floors below what was measured.

#![expect(clippy::expect_used, clippy::panic, reason = "what isn't as expected fails the test")]

mod support;

use memtide::bench::retrieval::ranking::Ranking;
use memtide::bench::retrieval::set::{Question, Set};
use memtide::bench::retrieval::{Asked, ask, quality};
use memtide::bench::rig::Bench;
use memtide::embed::manifest::{DEFAULT_MODEL, Model};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// The program under test.
const PROGRAM: &str = env!("CARGO_BIN_EXE_memtide");

fn asked(set: &Set) -> Vec<Asked> {
    // The model's runtime writes to its home.
    let home = tempfile::tempdir().expect("a folder");
    let bench = Bench {
        program: PathBuf::from(PROGRAM),
        environment: vec![("HOME".into(), home.path().into())],
        model: Model::named(DEFAULT_MODEL).expect("the default model"),
        model_dir: support::model::folder().to_owned(),
        // The usual folder for such things can be so deep that a socket's path is too long.
        folder: PathBuf::from("/tmp"),
        seed: 1,
        sizes: Vec::new(),
        samples: 1,
        say: &|_| {},
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let found = runtime.expect("a runtime").block_on(ask(&bench, set));
    found.unwrap_or_else(|error| panic!("{error:#}"))
}

#[test]
fn what_is_asked_for_is_found_and_what_was_deleted_is_not() {
    let set = Set::built_in().expect("the own set");
    let asked = asked(&set);
    assert_eq!(asked.len(), set.questions.len());
    let mut n_identifiers = 0;
    for one in &asked {
        let Question { line, query, kind, relevant, .. } = &one.question;
        assert!(one.deleted.is_empty(), "{query:?} found {:?}, deleted", one.deleted);
        assert!(one.list(Ranking::Semantic).len() >= relevant.len(), "nothing ranks {query:?}");
        if kind == "identifier" {
            let found = &one.list(Ranking::Hybrid);
            let is_found = |label| found.iter().take(5).any(|other| other == label);
            assert!(relevant.iter().all(is_found), "line {line}: {query:?} found {found:?}");
            n_identifiers += 1;
        }
    }
    assert!(n_identifiers >= 30, "{n_identifiers} questions with identifiers");

    let all = quality(&asked, Ranking::Hybrid, None);
    assert!(all.recall_10 >= 0.92, "{all:?}");
    for other in [Ranking::Semantic, Ranking::Keyword, Ranking::Fused, Ranking::Relative] {
        let other = quality(&asked, other, None);
        assert!(all.recall_5 >= other.recall_5 && all.mrr >= other.mrr, "{all:?} and {other:?}");
    }
    // The other blends are those that the daemon would have answered.
    let again = quality(&asked, Ranking::Blended(0.75), None);
    assert!((again.recall_10 - all.recall_10).abs() < 0.02, "{all:?} and {again:?}");
}

#[test]
fn a_bad_set_is_refused_in_one_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().display().to_string();
    let refused = |arguments: &[&str]| {
        let output = Command::new(PROGRAM)
            .arg("bench")
            .args(arguments)
            .env_clear()
            .env("HOME", folder.path())
            .output()
            .expect("the program");
        assert!(!output.status.success(), "{arguments:?} is refused");
        String::from_utf8(output.stderr).expect("text")
    };
    let said = refused(&["retrieval", "--set", &path]);
    assert!(said.contains("memories.jsonl: No such file"), "{said}");

    let memories = "{\"id\":\"a\",\"content\":\"one\"}\n\n{\"id\":\"a\",\"content\":\"two\"}\n";
    fs::write(folder.path().join("memories.jsonl"), memories).expect("a file");
    fs::write(folder.path().join("questions.jsonl"), "{}").expect("a file");
    let said = refused(&["retrieval", "--set", &path]);
    assert_eq!(said, "error: memories.jsonl, line 3: the id \"a\" was there before\n");

    let said = refused(&["search", "--set", &path]);
    assert!(said.contains("--set is for `memtide bench retrieval`"), "{said}");
}
