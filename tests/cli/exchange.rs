//! What other programs keep is imported: told by its content, checked, and refused by line.

use crate::home::{Home, Said};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

fn done(home: &Home, arguments: &[&str]) -> Said {
    let said = home.run(arguments);
    assert_eq!(said.code, Some(0), "{arguments:?}: {said:?}");
    said
}

fn import(home: &Home, path: &Path) -> String {
    done(home, &["import", path.to_str().expect("UTF-8")]).err
}

fn refused(home: &Home, path: &Path) -> String {
    let said = home.run(&["import", path.to_str().expect("UTF-8")]);
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{said:?}");
    said.err.replace(&home.root().display().to_string(), "ROOT")
}

fn memories(home: &Home) -> Vec<Value> {
    let listed = done(home, &["list", "--json", "--page-size", "100"]).json();
    let mut memories = listed["memories"].as_array().expect("memories").clone();
    memories.sort_by_key(|memory| memory["content"].to_string());
    memories
}

fn file(home: &Home, name: &str, text: impl AsRef<[u8]>) -> std::path::PathBuf {
    let path = home.root().join(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(&path, text).expect("a file");
    path
}

#[test]
fn the_json_of_the_python_service_is_merged_by_its_own_times() {
    let home = Home::new();
    let _daemon = home.daemon();
    let hash = "ab".repeat(32);
    let export = |updated: f64, tags: Value| {
        json!({"export_metadata": {"source_machine": "x"}, "memories": [
            {"content": "Kept", "content_hash": hash, "tags": tags, "created_at": 1_600_000_000.123_456,
             "updated_at": updated, "memory_type": "My-Type", "metadata": {"k": [1]},
             "store": "work", "export_source": "x"},
            {"content": "Other", "content_hash": "CD".repeat(32), "tags": "a, b",
             "created_at": null, "created_at_iso": "2020-01-02T03:04:05Z", "memory_type": null,
             "metadata": null}]})
        .to_string()
    };
    let first = file(&home, "one.json", export(1_600_000_001.5, json!(["UPPER", "b"])));
    assert_eq!(import(&home, &first), "read as mcp-memory-service: 2 new, 0 merged, 0 unchanged\n");
    assert_eq!(import(&home, &first), "read as mcp-memory-service: 0 new, 0 merged, 2 unchanged\n");
    let found = memories(&home);
    assert_eq!((&found[0]["id"], &found[0]["memory_type"]), (&json!(hash), &json!("My-Type")));
    assert_eq!(found[0]["created_at"], "2020-09-13T12:26:40.123456Z");
    assert_eq!(found[0]["updated_at"], "2020-09-13T12:26:41.500000Z");
    assert_eq!(
        (&found[0]["tags"], &found[0]["metadata"]),
        (&json!(["b", "upper"]), &json!({"k": [1]}))
    );
    assert_eq!(
        (&found[1]["created_at"], &found[1]["tags"]),
        (&json!("2020-01-02T03:04:05.000000Z"), &json!(["a", "b"]))
    );
    // What is decided here since stays.
    done(&home, &["update", &hash, "--tag", "mine"]);
    done(&home, &["delete", &"cd".repeat(32)]);
    let later = file(&home, "two.json", export(1_600_000_002.0, json!(["b", "later"])));
    assert_eq!(import(&home, &later), "read as mcp-memory-service: 0 new, 1 merged, 1 unchanged\n");
    let found = memories(&home);
    assert_eq!(found.len(), 1, "a deleted memory came back");
    assert_eq!(found[0]["tags"], json!(["later", "mine"]));
    let list = file(
        &home,
        "list.json",
        format!("[{{\"content\":\"C\",\"content_hash\":\"{}\",\"created_at\":1}}]", "0".repeat(64)),
    );
    let told = done(&home, &["import", list.to_str().expect("UTF-8"), "--json"]).json();
    assert_eq!(
        told,
        json!({"format": "mcp-memory-service", "new": 1, "merged": 0, "unchanged": 0, "left_out": 0})
    );
}

#[test]
fn a_bad_memory_of_such_a_file_is_named_with_what_was_taken() {
    let home = Home::new();
    let _daemon = home.daemon();
    let taken = |n: u64| format!("{n} memories before it were imported; repeating is harmless");
    let one = |n: usize| json!({"content": format!("text {n}"), "content_hash": format!("{n:064x}"), "created_at": 1.0});
    let mut all: Vec<Value> = (0..450).map(one).collect();
    let mut with = |n: usize, bad: Value| {
        let good = std::mem::replace(&mut all[n], bad);
        let text = json!({"export_metadata": {}, "memories": all}).to_string();
        all[n] = good;
        refused(&home, &file(&home, "bad.json", text))
    };
    let bad = with(3, json!({"content": "x", "content_hash": "12", "created_at": 1}));
    assert_eq!(
        bad,
        format!(
            "error: memory 4, 12: an id is 64 hex digits, this is \"12\"\nhint: {}\n",
            taken(0)
        )
    );
    let bad = with(420, json!({"content": " \n", "content_hash": "0".repeat(64), "created_at": 1}));
    assert!(bad.contains("memory 421, ") && bad.contains(&taken(400)), "{bad}");
    let bad = with(5, json!({"content": "x", "created_at": -5.0}));
    assert!(bad.starts_with("error: memory 6: the created_at of its row is no instant\n"), "{bad}");
    let bad = with(5, json!({"content": "x"}));
    assert!(bad.starts_with("error: memory 6: it has no created_at\n"), "{bad}");
    let bad =
        with(5, json!({"content": "x", "created_at": 1, "tags": vec!["t"; 1], "metadata": [1]}));
    assert!(bad.contains("memory 6: ") && bad.contains("object"), "{bad}");
    let bad = with(7, json!({"content": 5}));
    assert!(
        bad.starts_with("error: memory 8: invalid type: integer `5`, expected a string at line 1 "),
        "{bad}"
    );
    let big = with(2, json!({"content": "x".repeat((1 << 20) + 1), "created_at": 1}));
    assert!(
        big.starts_with("error: memory 3: the text has 1048577 bytes")
            && big.contains("limits.text_bytes"),
        "{big}"
    );
    let cut =
        file(&home, "cut.json", "{\"export_metadata\": {}, \"memories\": [{\"content\": \"x\"");
    assert!(
        refused(&home, &cut).starts_with("error: memory 1: EOF while parsing"),
        "{}",
        refused(&home, &cut)
    );
    let none = file(&home, "none.json", "{\"export_metadata\": {}}");
    assert!(refused(&home, &none).contains("it has no `memories`"));
    assert_eq!(memories(&home).len(), 100, "a page of a list");
    assert_eq!(home.counts()[0], 400);
}

#[test]
fn notes_with_and_without_front_matter_are_imported_from_a_folder() {
    let home = Home::new();
    let _daemon = home.daemon();
    file(
        &home,
        "notes/deploy.md",
        "---\ntitle: Deploy rules\ntags: [Work, on-call]\ntype: decision\ncreated: 2024-01-05T10:20:30Z\nrating: 4\n---\n\nOnly after the smoke tests.\n",
    );
    file(&home, "notes/deep/er/plain.MD", "Just a text\n");
    file(&home, "notes/empty.markdown", " \n");
    file(&home, "notes/picture.png", [0xff, 0xd8]);
    file(&home, "notes/.obsidian/hidden.md", "no note");
    std::os::unix::fs::symlink(home.root().join("notes"), home.root().join("notes/loop"))
        .expect("a link");
    let notes = home.root().join("notes");
    let told = "1 empty file left out\nread as markdown: 2 new, 0 merged, 0 unchanged\n";
    assert_eq!(import(&home, &notes), told);
    let again = "1 empty file left out\nread as markdown: 0 new, 0 merged, 2 unchanged\n";
    assert_eq!(import(&home, &notes), again);
    let found = memories(&home);
    let deploy = &found[0];
    assert_eq!(deploy["content"], "# Deploy rules\n\nOnly after the smoke tests.\n");
    assert_eq!(
        (&deploy["memory_type"], &deploy["tags"]),
        (&json!("decision"), &json!(["on-call", "work"]))
    );
    assert_eq!(
        deploy["metadata"],
        json!({"title": "Deploy rules", "rating": 4, "file": "deploy.md"})
    );
    assert_eq!(
        (&deploy["created_at"], &deploy["origin"]["client"]),
        (&json!("2024-01-05T10:20:30.000000Z"), &json!("markdown"))
    );
    assert_eq!(
        (&found[1]["content"], &found[1]["metadata"]),
        (&json!("Just a text\n"), &json!({"file": "deep/er/plain.MD"}))
    );
    // One file, and one that comes through a pipe.
    let one = file(&home, "one.md", "A single note\n");
    assert_eq!(import(&home, &one), "read as markdown: 1 new, 0 merged, 0 unchanged\n");
    let said = home
        .run_with(&["import", "-"], b"---\ntags: piped\ndate: 2024-01-05T00:00:00Z\n---\npiped\n");
    assert_eq!(said.err, "read as markdown: 1 new, 0 merged, 0 unchanged\n");
    assert_eq!(done(&home, &["list", "--tag", "piped"]).err, "1 of 1, page 1\n");

    file(&home, "notes/z.md", "---\na: 1\nb: [\n---\nx");
    let bad = refused(&home, &notes);
    assert!(bad.starts_with("error: ROOT/notes/z.md, line "), "{bad}");
    assert!(bad.contains("the front matter is no YAML: "), "{bad}");
    file(&home, "notes/z.md", [b'x', 0xff]);
    assert!(
        refused(&home, &notes).starts_with("error: ROOT/notes/z.md: not valid UTF-8 at byte 1\n")
    );
    fs::create_dir(home.root().join("nothing")).expect("a folder");
    assert!(refused(&home, &home.root().join("nothing")).contains("has no Markdown files"));
    let said = home.run(&["import", notes.to_str().expect("UTF-8"), "--format", "memtide"]);
    assert_eq!(said.code, Some(2), "{said:?}");
}

#[test]
fn the_graph_of_the_official_server_becomes_facts_that_are_found() {
    let home = Home::new();
    let _daemon = home.daemon();
    let lines = [
        json!({"type": "entity", "name": "Ada", "entityType": "person", "observations": ["likes tea", "wrote notes"]}),
        json!({"type": "relation", "from": "Ada", "to": "Rome", "relationType": "lives_in"}),
    ]
    .map(|line| line.to_string())
    .join("\n");
    let graph = file(&home, "memory.json", &lines);
    assert_eq!(import(&home, &graph), "read as mcp-memory-server: 3 new, 0 merged, 0 unchanged\n");
    assert_eq!(import(&home, &graph), "read as mcp-memory-server: 0 new, 0 merged, 3 unchanged\n");
    let found = memories(&home);
    let texts: Vec<&Value> = found.iter().map(|memory| &memory["content"]).collect();
    assert_eq!(
        texts,
        [&json!("Ada lives in Rome"), &json!("Ada: likes tea"), &json!("Ada: wrote notes")]
    );
    assert_eq!((&found[1]["tags"], &found[1]["memory_type"]), (&json!(["ada"]), &json!("person")));
    assert_eq!(found[1]["metadata"], json!({"entity": "Ada", "observation": "likes tea"}));
    assert_eq!(found[0]["metadata"], json!({"from": "Ada", "relation": "lives_in", "to": "Rome"}));
    let bad = file(&home, "bad.json", format!("{lines}\n\n{}", json!({"type": "thing"})));
    let said = refused(&home, &bad);
    assert!(
        said.starts_with(
            "error: line 4: neither an entity nor a relation: unknown variant `thing`"
        ),
        "{said}"
    );
}

#[test]
fn what_is_no_export_is_told_for_what_it_is() {
    let home = Home::new();
    let _daemon = home.daemon();
    let told = |name: &str, bytes: &[u8]| refused(&home, &file(&home, name, bytes));
    let database = told("some.db", b"SQLite format 3\0 and more");
    assert!(
        database.starts_with(
            "error: ROOT/some.db is an SQLite database, no export\nhint: `memtide backup restore`"
        ),
        "{database}"
    );
    assert!(told("x.gz", &[0x1f, 0x8b, 8]).contains("is packed\nhint: unpack it first\n"));
    assert!(
        told("x.txt", b"some words")
            .contains("is nothing that is known\nhint: say what it is with --format")
    );
    let broken = told("x.jsonl", b"{\"memtide\": 1, \"id\": \"x\"}\n");
    assert!(broken.starts_with("error: line 1: no record of an export: missing field"), "{broken}");
    let strange = home.run_with(
        &["import", "-"],
        b"\xef\xbb\xbf{\"memtide\":1,\"id\":\"x\",\"content\":null,\"state\":{},\"more\":1}",
    );
    assert!(strange.err.contains("unknown field `more`"), "{strange:?}");
    assert_eq!(
        home.run_with(&["import", "-"], b"").err,
        "read as memtide: 0 new, 0 merged, 0 unchanged\n"
    );
    assert!(
        refused(&home, Path::new("/no/such/file"))
            .starts_with("error: /no/such/file: No such file")
    );
}

#[test]
fn connections_and_carried_columns_survive_the_way_out_and_in() {
    let home = Home::new();
    let _daemon = home.daemon();
    let id = home.store("kept");
    let mut record: Value = serde_json::from_str(&done(&home, &["export"]).out).expect("JSON");
    record["carried"] = json!({"store": "work", "version": 2, "extra": {"later_column": "x"}});
    record["edges"] =
        json!([{"target": "ef".repeat(32), "similarity": 0.75, "relation": "supports"}]);
    let other = Home::new();
    let _other = other.daemon();
    let line = format!("{record}\n");
    let taken = other.run_with(&["import", "-"], line.as_bytes());
    assert_eq!(taken.err, "read as memtide: 1 new, 0 merged, 0 unchanged\n");
    let again = other.run_with(&["import", "-"], line.as_bytes());
    assert_eq!(again.err, "read as memtide: 0 new, 0 merged, 1 unchanged\n");
    let exported: Value = serde_json::from_str(&done(&other, &["export"]).out).expect("JSON");
    assert_eq!((&exported["carried"], &exported["edges"]), (&record["carried"], &record["edges"]));
    let status = done(&other, &["status", "--json"]).json();
    assert_eq!(status["migration"]["state"], "none");
    // Where the memory is and they are not, they are taken alone; what is here stays.
    let joined = home.run_with(&["import", "-"], line.as_bytes());
    assert_eq!(joined.err, "read as memtide: 0 new, 1 merged, 0 unchanged\n");
    record["carried"]["store"] = json!("elsewhere");
    let line = format!("{record}\n");
    let joined = home.run_with(&["import", "-"], line.as_bytes());
    assert_eq!(joined.err, "read as memtide: 0 new, 0 merged, 1 unchanged\n");
    assert_eq!(home.counts(), json!([1, 0, 0]));
    assert_eq!(exported["id"], id);
    record["edges"][0]["target"] = json!("");
    let said = home.run_with(&["import", "-"], format!("{record}\n").as_bytes());
    assert!(said.err.contains("has a connection to nothing"), "{said:?}");
}
