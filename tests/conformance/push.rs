//! The statements of a push: the tables that another program shares, the feed with its triggers,
//! and one batch that is a compare-and-swap for each memory.

use crate::case::{Case, case};
use crate::subject::{Subject, ask, ask_with, prepare, row, rows};
use serde_json::{Value, json};

/// The tables of the Python service.
const SHARED: [&str; 3] = [
    "CREATE TABLE IF NOT EXISTS memories (id INTEGER PRIMARY KEY AUTOINCREMENT, content_hash TEXT UNIQUE NOT NULL, content TEXT NOT NULL, memory_type TEXT, created_at REAL NOT NULL, created_at_iso TEXT NOT NULL, updated_at REAL, updated_at_iso TEXT, metadata_json TEXT, vector_id TEXT UNIQUE, content_size INTEGER DEFAULT 0, r2_key TEXT, tags TEXT, deleted_at REAL DEFAULT NULL)",
    "CREATE TABLE IF NOT EXISTS tags (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE NOT NULL)",
    "CREATE TABLE IF NOT EXISTS memory_tags (memory_id INTEGER, tag_id INTEGER, PRIMARY KEY (memory_id, tag_id), FOREIGN KEY (memory_id) REFERENCES memories(id) ON DELETE CASCADE, FOREIGN KEY (tag_id) REFERENCES tags(id) ON DELETE CASCADE)",
];

/// memtide's tables beside them.
const BESIDE: [&str; 5] = [
    "CREATE TABLE IF NOT EXISTS mt_entry(id TEXT PRIMARY KEY, state TEXT NOT NULL, dg INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS mt_feed(seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, at INTEGER NOT NULL DEFAULT (unixepoch()))",
    "CREATE TABLE IF NOT EXISTS mt_heads(seq INTEGER PRIMARY KEY, n TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS mt_stage(j TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS mt_meta(k TEXT PRIMARY KEY, v TEXT NOT NULL)",
];

/// A trigger that moves a memory to the feed's end, unless a push of ours is going on.
fn mover(name: &str, event: &str, id: &str, also: &str) -> String {
    format!(
        "CREATE TRIGGER IF NOT EXISTS {name} AFTER {event} WHEN NOT EXISTS (SELECT 1 FROM mt_stage){also} \
         BEGIN DELETE FROM mt_feed WHERE id = {id}; INSERT INTO mt_feed(id) VALUES ({id}); END;"
    )
}

fn set_up(subject: &mut dyn Subject) {
    prepare(subject, &SHARED);
    prepare(subject, &BESIDE);
    let of_tag =
        |row: &str| format!("(SELECT content_hash FROM memories WHERE id = {row}.memory_id)");
    let (tagged, untagged) = (of_tag("NEW"), of_tag("OLD"));
    let triggers = [
        "CREATE TRIGGER IF NOT EXISTS mt_t0 AFTER INSERT ON mt_feed BEGIN INSERT INTO mt_heads VALUES (NEW.seq, hex(randomblob(8))); END;".to_owned(),
        mover("mt_t1", "INSERT ON memories", "NEW.content_hash", ""),
        mover("mt_t2", "UPDATE ON memories", "NEW.content_hash", ""),
        mover("mt_t3", "DELETE ON memories", "OLD.content_hash", ""),
        mover("mt_t4", "INSERT ON memory_tags", &tagged, &format!(" AND {tagged} IS NOT NULL")),
        mover("mt_t5", "DELETE ON memory_tags", &untagged, &format!(" AND {untagged} IS NOT NULL")),
    ];
    for trigger in &triggers {
        prepare(subject, &[trigger]);
    }
}

const SWAPS: &str = "COALESCE((SELECT seq FROM mt_feed WHERE id = j.value ->> 'h'), 0) = CAST(j.value ->> 'exp' AS INTEGER)";

/// One push: pairs of id and expected position, with a text and a tag for all.
fn push(subject: &mut dyn Subject, ids: &[(&str, u32)], text: &str) -> Result<Value, String> {
    let staged: Vec<Value> = ids
        .iter()
        .map(|(id, expected)| {
            json!({"h": id, "exp": expected, "body": text, "tags": ["pushed"], "state": format!("s:{text}"), "dg": 7})
        })
        .collect();
    let from = "FROM mt_stage s, json_each(s.j) j";
    let now = "unixepoch('subsec')";
    let batch = [
        ask_with("INSERT INTO mt_stage VALUES(?1)", json!([Value::from(staged).to_string()])),
        ask(&format!(
            "INSERT INTO memories(content_hash, content, created_at, created_at_iso, updated_at, tags) SELECT j.value ->> 'h', j.value ->> 'body', 1.5, 'iso', {now}, j.value ->> '$.tags[0]' {from} WHERE {SWAPS} ON CONFLICT(content_hash) DO UPDATE SET content = excluded.content, updated_at = excluded.updated_at, tags = excluded.tags"
        )),
        ask(&format!(
            "DELETE FROM memory_tags WHERE memory_id IN (SELECT m.id {from} JOIN memories m ON m.content_hash = j.value ->> 'h' WHERE {SWAPS})"
        )),
        ask(&format!(
            "INSERT OR IGNORE INTO tags(name) SELECT t.value {from}, json_each(j.value, '$.tags') t WHERE {SWAPS}"
        )),
        ask(&format!(
            "INSERT OR IGNORE INTO memory_tags(memory_id, tag_id) SELECT m.id, g.id {from}, json_each(j.value, '$.tags') t JOIN memories m ON m.content_hash = j.value ->> 'h' JOIN tags g ON g.name = t.value WHERE {SWAPS}"
        )),
        ask(&format!(
            "INSERT INTO mt_entry(id, state, dg) SELECT j.value ->> 'h', j.value ->> 'state', j.value ->> 'dg' {from} WHERE {SWAPS} ON CONFLICT(id) DO UPDATE SET state = excluded.state, dg = excluded.dg"
        )),
        ask(&format!(
            "INSERT OR REPLACE INTO mt_feed(id) SELECT j.value ->> 'h' {from} WHERE {SWAPS} RETURNING id, seq"
        )),
        ask("DELETE FROM mt_stage"),
    ];
    Ok(subject.d1(&batch)?[6]["results"].clone())
}

fn feed(subject: &mut dyn Subject) -> Value {
    rows(subject, "SELECT seq, id FROM mt_feed ORDER BY seq", json!([]))
}

/// What the Python service does to store a memory with a tag; returns the id it was told.
fn store_as_python(subject: &mut dyn Subject, hash: &str, tag: &str) -> Value {
    let insert = "INSERT INTO memories (content_hash, content, memory_type, created_at, created_at_iso, updated_at, updated_at_iso, metadata_json, vector_id, content_size, r2_key, tags) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let params = json!([hash, "text", "note", 1.5, "iso", 1.5, "iso", "{}", hash, 4, null, tag]);
    let told = subject.d1(&[ask_with(insert, params)]).unwrap()[0]["meta"]["last_row_id"].clone();
    subject.d1(&[ask_with("INSERT OR IGNORE INTO tags (name) VALUES (?)", json!([tag]))]).unwrap();
    let link = "INSERT OR IGNORE INTO memory_tags (memory_id, tag_id) SELECT ?, id FROM tags WHERE name = ?";
    subject.d1(&[ask_with(link, json!([told, tag]))]).unwrap();
    told
}

pub fn cases() -> Vec<Case> {
    [feeds(), swaps(), documents()].concat()
}

fn feeds() -> Vec<Case> {
    vec![case(
        "the Python service's writes move the feed and it still learns its ids",
        |subject| {
            set_up(subject);
            let told = [("h1", "a"), ("h2", "a"), ("h3", "b")]
                .map(|(hash, tag)| store_as_python(subject, hash, tag));
            let stored = feed(subject);
            let link = "INSERT OR IGNORE INTO memory_tags (memory_id, tag_id) SELECT ?, id FROM tags WHERE name = ?";
            // The link exists already: ignored, so nothing moves. The next one is new.
            subject.d1(&[ask_with(link, json!([1, "a"]))]).unwrap();
            let unmoved = feed(subject) == stored;
            subject.d1(&[ask_with(link, json!([1, "b"]))]).unwrap();
            prepare(subject, &["UPDATE memories SET deleted_at = 2.5 WHERE content_hash = 'h2'"]);
            let moved = feed(subject);
            prepare(subject, &["DELETE FROM memories WHERE content_hash = 'h1'"]);
            let heads = row(
                subject,
                "SELECT count(*) n, max(seq) s, max(length(n)) l FROM mt_heads",
                json!([]),
            );
            json!([told, stored, unmoved, moved, feed(subject), heads])
        },
        json!([
            [1, 2, 3],
            [{"seq": 2, "id": "h1"}, {"seq": 4, "id": "h2"}, {"seq": 6, "id": "h3"}],
            true,
            [{"seq": 6, "id": "h3"}, {"seq": 7, "id": "h1"}, {"seq": 8, "id": "h2"}],
            [{"seq": 6, "id": "h3"}, {"seq": 8, "id": "h2"}, {"seq": 9, "id": "h1"}],
            {"n": 9, "s": 9, "l": 16},
        ]),
    )]
}

fn swaps() -> Vec<Case> {
    vec![
        case(
            "a push swaps what it expected and leaves the rest",
            |subject| {
                set_up(subject);
                store_as_python(subject, "theirs", "a");
                let first = push(subject, &[("h1", 0), ("h2", 0), ("theirs", 0)], "one");
                let second = push(subject, &[("h1", 1), ("h2", 4)], "two");
                let state = rows(
                    subject,
                    "SELECT m.content_hash h, m.content c, e.state s FROM memories m LEFT JOIN mt_entry e ON e.id = m.content_hash ORDER BY 1",
                    json!([]),
                );
                let tags = row(subject, "SELECT count(*) n FROM memory_tags", json!([]));
                let staged = row(subject, "SELECT count(*) n FROM mt_stage", json!([]));
                json!([first.unwrap(), second.unwrap(), state, feed(subject), tags, staged])
            },
            json!([
                [{"id": "h1", "seq": 3}, {"id": "h2", "seq": 4}],
                [{"id": "h2", "seq": 5}],
                [{"h": "h1", "c": "one", "s": "s:one"}, {"h": "h2", "c": "two", "s": "s:two"}, {"h": "theirs", "c": "text", "s": null}],
                [{"seq": 2, "id": "theirs"}, {"seq": 3, "id": "h1"}, {"seq": 5, "id": "h2"}],
                {"n": 3},
                {"n": 0},
            ]),
        ),
        case(
            "a push sent twice is settled by what the row says",
            |subject| {
                set_up(subject);
                let once = push(subject, &[("h1", 0)], "one").unwrap();
                // The answer was lost, so the same batch comes again and loses to itself.
                let twice = push(subject, &[("h1", 0)], "one").unwrap();
                let found = row(
                    subject,
                    "SELECT f.seq, e.state FROM mt_feed f JOIN mt_entry e USING (id) WHERE id = 'h1'",
                    json!([]),
                );
                json!([once, twice, found])
            },
            json!([[{"id": "h1", "seq": 1}], [], {"seq": 1, "state": "s:one"}]),
        ),
        case(
            "a poisoned push leaves nothing behind",
            |subject| {
                set_up(subject);
                prepare(
                    subject,
                    &[
                        "CREATE TRIGGER poison BEFORE INSERT ON mt_entry WHEN NEW.id = 'bad' BEGIN SELECT RAISE(ABORT, 'poison'); END",
                    ],
                );
                let failed = push(subject, &[("h1", 0), ("bad", 0)], "one").unwrap_err();
                let left = row(
                    subject,
                    "SELECT (SELECT count(*) FROM memories) m, (SELECT count(*) FROM mt_stage) s, (SELECT count(*) FROM mt_feed) f",
                    json!([]),
                );
                // The next one is as if nothing had been.
                let good = push(subject, &[("h1", 0)], "one").unwrap();
                json!([failed, left, good])
            },
            json!([
                "poison: SQLITE_CONSTRAINT (extended: SQLITE_CONSTRAINT_TRIGGER)",
                {"m": 0, "s": 0, "f": 0},
                [{"id": "h1", "seq": 1}],
            ]),
        ),
        case(
            "a position is never used again",
            |subject| {
                set_up(subject);
                push(subject, &[("h1", 0)], "one").unwrap();
                prepare(subject, &["DELETE FROM mt_feed"]);
                push(subject, &[("h2", 0)], "one").unwrap()
            },
            json!([{"id": "h2", "seq": 2}]),
        ),
    ]
}

fn documents() -> Vec<Case> {
    vec![
        case(
            "five hundred rows of a megabyte come through one parameter",
            |subject| {
                prepare(
                    subject,
                    &["CREATE TABLE t(id TEXT PRIMARY KEY, rev INTEGER, body TEXT) WITHOUT ROWID"],
                );
                let upsert = "INSERT INTO t(id, rev, body) SELECT value ->> 'id', value ->> 'rev', value ->> 'body' FROM json_each(?1) WHERE true ON CONFLICT(id) DO UPDATE SET rev = excluded.rev, body = excluded.body WHERE excluded.rev > t.rev";
                let rows: Vec<Value> = (0..500)
                    .map(|n| json!({"id": n.to_string(), "rev": 1, "body": "b".repeat(2_000)}))
                    .collect();
                let document = Value::from(rows).to_string();
                assert!(document.len() > 1_000_000);
                let mut written = || {
                    subject.d1(&[ask_with(upsert, json!([document]))]).unwrap()[0]["meta"]["rows_written"].clone()
                };
                // A replay writes nothing.
                json!([written(), written()])
            },
            json!([500, 0]),
        ),
        case(
            "sums beyond 2^53 need to be text",
            |subject| {
                prepare(
                    subject,
                    &[
                        "CREATE TABLE t(dg INTEGER)",
                        "INSERT INTO t SELECT 281474976710655 FROM json_each('[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35]')",
                    ],
                );
                row(
                    subject,
                    "SELECT sum(dg) AS plain, CAST(sum(dg) AS TEXT) AS exact FROM t",
                    json!([]),
                )
            },
            json!({"plain": 9_851_624_184_872_924_i64, "exact": "9851624184872925"}),
        ),
    ]
}
