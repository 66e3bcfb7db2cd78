use super::super::schema;
use super::super::testing::{execute, sqlite};
use super::*;
use crate::model::digest::shown_digest;

fn id(name: &str) -> String {
    MemoryId::of(name).to_string()
}

/// A database with an entry for each of `names`, whose digest is its place in the list, from 1.
async fn database(names: &[&str]) -> D1 {
    let (d1, _) = sqlite("");
    schema::create(&d1).await.expect("tables");
    execute(&d1, "INSERT INTO mt_meta VALUES ('database', 'uuid-1')", &[]).await;
    let ids = Value::from(names.iter().map(|name| id(name)).collect::<Vec<_>>()).to_string();
    let entries =
        "INSERT INTO mt_entry(id, state, dg) SELECT value, '{}', key + 1 FROM json_each(?1)";
    execute(&d1, entries, &[&ids]).await;
    let feed = "INSERT INTO mt_feed(id) SELECT value FROM json_each(?1) ORDER BY key";
    execute(&d1, feed, &[&ids]).await;
    d1
}

async fn put(d1: &D1, id: &str, digest: &str) {
    let sql = "INSERT INTO mt_entry(id, state, dg) VALUES (?1, '{}', CAST(?2 AS INTEGER))";
    execute(d1, sql, &[id, digest]).await;
    execute(d1, "INSERT INTO mt_feed(id) VALUES (?1)", &[id]).await;
}

#[tokio::test]
async fn sums_agree_with_those_that_are_made_here() {
    let names: Vec<String> = (0..300).map(|n| format!("memory {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let d1 = database(&names).await;
    let (mut few, mut more) = (Sums::default(), Sums::default());
    for (name, digest) in names.iter().zip(1..) {
        few.add(&MemoryId::of(name), FEW_DIGITS, digest);
        more.add(&MemoryId::of(name), MORE_DIGITS, digest);
    }
    let told = sums(&d1, None).await.expect("sums");
    assert_eq!((told.what.clone(), told.cloud.database.as_deref()), (few, Some("uuid-1")));
    let all: Vec<String> = (0..256).map(|n| format!("{n:02x}")).collect();
    assert_eq!(sums_within(&d1, &all, None).await.expect("sums").what, more);
    let one = id("memory 7")[..2].to_owned();
    let within = sums_within(&d1, std::slice::from_ref(&one), None).await.expect("sums").what;
    assert_eq!(within.count(), told.what.get(&one).count);
    let found = entries(&d1, &[id("memory 7")[..4].to_owned()], None).await.expect("entries").what;
    let seven = found.iter().find(|entry| entry.id == id("memory 7")).expect("it is there");
    assert_eq!((seven.digest, seven.seq), (Some(8), 8));
    assert_eq!(seven.memory(), Some(MemoryId::of("memory 7")));
}

#[tokio::test]
async fn what_nobody_should_have_written_is_seen_and_stops_nothing() {
    let d1 = database(&["a"]).await;
    put(&d1, "zzz", "9223372036854775807").await;
    put(&d1, "", "9223372036854775807").await;
    put(&d1, &id("b").to_uppercase(), "-5").await;
    let told = sums(&d1, None).await.expect("sums").what;
    assert_eq!(told.count(), 4);
    let found = entries(&d1, &["zz".to_owned(), String::new()], None).await.expect("entries").what;
    assert_eq!(found.iter().filter(|entry| entry.id == "zzz").count(), 2, "in both groups");
    let upper = id("b").to_uppercase()[..2].to_owned();
    let found = entries(&d1, &[upper], None).await.expect("entries").what;
    assert_eq!((found[0].digest, found[0].memory()), (None, None));
    let page = entries_after(&d1, &id("a")).await.expect("entries").what;
    assert!(page.iter().any(|entry| entry.id == "zzz") && page.iter().all(|e| e.id != id("a")));
}

#[tokio::test]
async fn a_database_that_was_put_back_is_noticed_in_every_answer() {
    let d1 = database(&["a"]).await;
    let gone = Anchor { seq: 1, nonce: "another".to_owned() };
    let one = [id("a")];
    let checks = [
        sums(&d1, Some(&gone)).await.expect("sums").cloud,
        sums_within(&d1, &one, Some(&gone)).await.expect("sums").cloud,
        entries(&d1, &one, Some(&gone)).await.expect("entries").cloud,
        rows(&d1, 0, Some(&gone)).await.expect("rows").cloud,
        known(&d1, &one, Some(&gone)).await.expect("ids").cloud,
        bodies(&d1, &one, Some(&gone)).await.expect("facts").cloud,
    ];
    assert!(checks.iter().all(|check| !check.anchor_holds), "{checks:?}");
    assert!(sums(&d1, None).await.expect("sums").cloud.anchor_holds);
}

#[tokio::test]
async fn rows_are_told_with_what_they_show() {
    let d1 = database(&["stated"]).await;
    let row = "INSERT INTO memories(content_hash, content, memory_type, created_at, created_at_iso, deleted_at) VALUES (?1, ?2, ?3, 1, '', CAST(?4 AS REAL))";
    execute(&d1, row, &[&id("stated"), "née", "note", "5"]).await;
    let sql = "INSERT INTO memories(content_hash, content, created_at, created_at_iso, r2_key) VALUES (?1, '', 1, '', 'k')";
    execute(&d1, sql, &["odd"]).await;
    execute(&d1, "INSERT INTO tags(name) VALUES ('b'), ('a')", &[]).await;
    execute(&d1, "INSERT INTO memory_tags SELECT 1, id FROM tags", &[]).await;
    let page = rows(&d1, 0, None).await.expect("rows").what;
    assert_eq!(page.next, None);
    let [stated, odd] = page.rows.as_slice() else { panic!("{page:?}") };
    assert!(stated.has_state && stated.is_dead && stated.seq > 1);
    assert_eq!((stated.shown, stated.bytes), (shown_digest("note", ["a", "b"]), Some(4)));
    assert_eq!((odd.memory(), odd.has_state, odd.r2_key.as_deref()), (None, false, Some("k")));
    let ids = [id("stated"), "odd".to_owned(), id("nobody's")];
    assert_eq!(known(&d1, &ids, None).await.expect("ids").what, ids[..2]);
}

#[tokio::test]
async fn pages_of_rows_follow_each_other() {
    let d1 = database(&[]).await;
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1001) INSERT INTO memories(content_hash, content, created_at, created_at_iso) SELECT 'row ' || i, '', 1, '' FROM n";
    execute(&d1, many, &[]).await;
    let first = rows(&d1, 0, None).await.expect("rows").what;
    assert_eq!((first.rows.len(), first.next), (1000, Some(1000)));
    let second = rows(&d1, 1000, None).await.expect("rows").what;
    assert_eq!((second.rows.len(), second.next), (1, None));
}

#[tokio::test]
async fn the_facts_of_bodies_come_from_the_states() {
    let d1 = database(&["no state"]).await;
    let stamp = "00000000000a000000000001";
    let state = format!(r#"{{"v":1,"life":["{stamp}",false],"text":["{stamp}","x"]}}"#);
    let sql = "INSERT INTO mt_entry(id, state, dg) VALUES (?1, ?2, 1)";
    execute(&d1, sql, &[&id("dead"), &state]).await;
    execute(&d1, sql, &[&id("damaged"), "{"]).await;
    let ids = [id("dead"), id("damaged"), id("no state"), id("unknown")];
    let facts = bodies(&d1, &ids, None).await.expect("facts").what;
    let [dead] = facts.as_slice() else { panic!("{facts:?}") };
    assert_eq!((dead.id, dead.is_alive, dead.life_at.ms), (MemoryId::of("dead"), false, 10));
    assert_eq!((dead.is_shown, dead.shown_key.clone()), (false, None));
}

#[tokio::test]
async fn a_row_that_no_trigger_told_of_is_announced_once() {
    let d1 = database(&["known"]).await;
    let row = "INSERT INTO memories(content_hash, content, created_at, created_at_iso) VALUES (?1, 'x', 1, '')";
    for name in ["known", "unknown"] {
        execute(&d1, row, &[&id(name)]).await;
    }
    execute(&d1, "DELETE FROM mt_feed WHERE id = ?1", &[&id("unknown")]).await;
    let ids = [id("unknown"), id("nobody's")];
    announce(&d1, &ids, "another").await.expect("an answer");
    let seqs = async || {
        let page = rows(&d1, 0, None).await.expect("rows").what;
        page.rows.iter().map(|row| row.seq).collect::<Vec<_>>()
    };
    let before = seqs().await;
    assert_eq!(before[1], 0);
    announce(&d1, &ids, "uuid-1").await.expect("an answer");
    let after = seqs().await;
    assert!(after[0] == before[0] && after[1] > before[0], "{after:?}");
    let n = d1.run(Statement::plain("SELECT count(*) AS n FROM mt_feed")).await.expect("a count");
    assert_eq!(n.first().and_then(|row| row.integer("n")), Some(2));
}
