//! What a person types wrong: the exit code and the words on standard error. Standard output stays empty.

use crate::home::{Home, PROGRAM, Said};
use serde_json::json;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

const TIMES: &str = "try `yesterday`, `last week`, `3 days ago`, `in March`, `between 2026-01-01 and \
                     2026-02-01` or a date";

fn refused(home: &Home, arguments: &[&str], input: &[u8], code: i32, err: &str) {
    let before = home.counts();
    let said = home.run_with(arguments, input);
    let start: Vec<String> = arguments.iter().map(|text| text.chars().take(40).collect()).collect();
    let expected = Said { code: Some(code), out: String::new(), err: err.to_owned() };
    assert_eq!(said, expected, "{start:?}");
    assert_eq!(home.counts(), before, "{start:?} changed something");
}

#[test]
fn what_can_not_be_stored() {
    let home = Home::new();
    let _daemon = home.daemon();
    let store: &[&str] = &["store"];
    let empty = "hint: give some text to remember\n";
    let large = vec![b'x'; 1_048_577];
    let cases: [(&[&str], &[u8], String); 9] = [
        (store, b"", format!("error: the text is empty\n{empty}")),
        (store, b"\n", format!("error: the text is empty\n{empty}")),
        (store, b" \t \n", format!("error: the text is empty (only white space)\n{empty}")),
        (&["store", ""], b"", format!("error: the text is empty\n{empty}")),
        (
            store,
            b"gr\xfcn\n",
            "error: the text is not valid UTF-8 at byte 2\nhint: convert it, for example with \
             `iconv -t UTF-8`\n"
                .to_owned(),
        ),
        (
            store,
            b"a\0b\n",
            "error: the text has a NUL character at byte 1\nhint: remove the NUL character; binary \
             data can't be stored\n"
                .to_owned(),
        ),
        (
            &["store", "a", "--tag", "ok", "--type", "a type of more than a hundred characters, \
              which is a whole sentence and no longer the name of anything at all"],
            b"",
            "error: the memory type has 109 characters, the limit is 100\nhint: use a short word; \
             longer notes belong in the text or the metadata\n"
                .to_owned(),
        ),
        (
            store,
            &large,
            "error: the text has 1048577 bytes, the limit is 1048576\nhint: store it in parts, or \
             raise `limits.text_bytes` in config.toml (up to 26214400)\n"
                .to_owned(),
        ),
        (
            &["update", "abcd"],
            b"",
            "error: the update names nothing to change\nhint: give a new text, tags, a type or \
             metadata\n"
                .to_owned(),
        ),
    ];
    for (arguments, input, err) in cases {
        refused(&home, arguments, input, 1, &err);
    }
    // Cut at 32 MiB, this would end within a character and look like broken UTF-8.
    let huge = "€".repeat(12 << 20);
    let err = "error: the text has more than 33554432 bytes\nhint: store it in parts of at most \
               26214400 bytes\n";
    refused(&home, store, huge.as_bytes(), 1, err);
    refused(
        &home,
        &["store", "a", "--meta", "novalue"],
        b"",
        2,
        "error: --meta \"novalue\" is no KEY=VALUE\nhint: write it as in `--meta env=staging`\n",
    );
}

#[test]
fn what_is_not_there() {
    let home = Home::new();
    let _daemon = home.daemon();
    let look = "hint: look it up with `memtide list` or `memtide search`\n";
    let copy = "hint: copy the id from `memtide list` or from a search\n";
    for command in ["get", "history", "restore", "delete"] {
        refused(
            &home,
            &[command, "abcd"],
            b"",
            5,
            &format!("error: there is no memory abcd\n{look}"),
        );
        let err = format!(
            "error: \"a/b\" is not an id: an id, or the start of one, is 4 to 64 hex digits\n{copy}"
        );
        refused(&home, &[command, "a/b"], b"", 1, &err);
    }
    let id = home.store("here");
    let err = format!(
        "error: memory {id} has no version 3\nhint: list the versions with `memtide history`\n"
    );
    refused(&home, &["restore", &id, "--version", "3"], b"", 5, &err);
    let err = "error: there is no model gpt; choose one of all-MiniLM-L6-v2, bge-small-en-v1.5, \
               bge-base-en-v1.5\n";
    refused(&home, &["model", "use", "gpt"], b"", 5, err);
}

#[test]
fn searches_and_lists_out_of_range() {
    let home = Home::new();
    let _daemon = home.daemon();
    let range = |name: &str, n: &str| {
        format!(
            "error: {name} is {n}, it must be between 1 and 100\nhint: choose a value in this range\n"
        )
    };
    for n in ["0", "-1", "101"] {
        refused(&home, &["search", "a", "-n", n], b"", 1, &range("n", n));
        refused(&home, &["list", "--page-size", n], b"", 1, &range("page_size", n));
    }
    refused(
        &home,
        &["search", ""],
        b"",
        1,
        "error: the query is empty\nhint: give a few words to search for\n",
    );
    for (option, text) in [("--time", "sometime"), ("--after", "2026-13-01"), ("--before", "")] {
        let err = format!("error: the time {text:?} is not understood\nhint: {TIMES}\n");
        refused(&home, &["search", "a", option, text], b"", 1, &err);
        refused(&home, &["list", option, text], b"", 1, &err);
    }
}

#[test]
fn deletions_ask_first() {
    let home = Home::new();
    let _daemon = home.daemon();
    for n in 0..3 {
        let body = json!({"content": format!("text {n}"), "tags": ["t"]}).to_string();
        assert_eq!(home.ask("POST", "/v1/memories", body.as_bytes()).status, 200);
    }
    let before = home.counts();
    let said = home.run(&["delete", "--tag", "t"]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    let last = "error: deleting 3 memories needs a confirmation\nhint: repeat with --yes\n";
    assert!(said.err.ends_with(last), "{said:?}");
    assert_eq!(home.counts(), before);
    refused(
        &home,
        &["delete"],
        b"",
        1,
        "error: a deletion by filter needs a tag, a type or a time\nhint: name the ids, or give a \
         tag, a type, `after` or `before`\n",
    );
    refused(
        &home,
        &["delete", "--tag", "", "--type", "note", "--yes"],
        b"",
        1,
        "error: the tag to delete by is empty\nhint: name it, or leave it out\n",
    );
    let said = home.run(&["delete", "--tag", "t", "--yes"]);
    assert_eq!((said.code, said.err.as_str()), (Some(0), "3 deleted\n"));
    assert_eq!(home.counts(), json!([0, 3, 0]));
}

#[test]
fn wrong_usage_exits_with_2() {
    let home = Home::new();
    for arguments in [
        &["frobnicate"][..],
        &["get"],
        &["get", ""],
        &["store", "a", "--colour"],
        &["search", "a", "-n", "x"],
        &["search", "a", "--mode", "fuzzy"],
        &[],
    ] {
        let said = home.run(arguments);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(said.err.contains("--help"), "{said:?}");
    }
    let output =
        home.program(PROGRAM, &["store"]).arg(OsStr::from_bytes(b"gr\xfcn")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("error: invalid UTF-8"));
    assert!(!home.data().exists(), "wrong usage makes no files");
}

#[test]
fn settings_that_are_wrong_stop_every_command_with_their_place() {
    let home = Home::new();
    let file = home.root().join("config.toml");
    let shown = file.display();
    for (text, err) in [
        (
            "[limits]\ntext_byte = 5\n",
            format!(
                "error: {shown}:2: unknown key `limits.text_byte`; did you mean `limits.text_bytes`?\n"
            ),
        ),
        (
            "[limits]\ntext_bytes = 26214401\n",
            format!(
                "error: {shown}:2: `limits.text_bytes` is 26214401, it must be a whole number from 1 \
                 to 26214400\n"
            ),
        ),
    ] {
        std::fs::write(&file, text).unwrap();
        for arguments in [&["store", "a"][..], &["daemon"], &["list"]] {
            let said = home.run(arguments);
            let expected = Said { code: Some(1), out: String::new(), err: err.clone() };
            assert_eq!(said, expected);
        }
    }
    assert!(!home.data().exists());
}
