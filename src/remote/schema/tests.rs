use super::super::error::Pause;
use super::super::testing::{execute, failure, ruled, sqlite};
use super::*;

async fn feed(d1: &D1) -> Vec<(i64, String)> {
    let sql = "SELECT f.seq, f.id FROM mt_feed f JOIN mt_heads h ON h.seq = f.seq ORDER BY f.seq";
    let result = d1.run(Statement::plain(sql)).await.expect("the feed");
    result
        .rows()
        .map(|r| (r.integer("seq").expect("seq"), r.text("id").expect("id").to_owned()))
        .collect()
}

async fn newest(d1: &D1) -> String {
    feed(d1).await.pop().expect("a position").1
}

/// The statements of the Python service's store.
async fn python_stores(d1: &D1, hash: &str) -> i64 {
    let sql = "INSERT INTO memories (content_hash, content, memory_type, created_at, created_at_iso, updated_at, updated_at_iso, metadata_json, vector_id, content_size, r2_key, tags) VALUES (?1, 'text', 'note', 1.5, 'iso', 1.5, 'iso', '{}', ?1, 4, NULL, 'a')";
    execute(d1, sql, &[hash]).await;
    let row = d1.run(Statement::plain("SELECT last_insert_rowid() AS id")).await.expect("an id");
    row.first().and_then(|row| row.integer("id")).expect("an id")
}

#[tokio::test]
async fn a_fresh_database_gets_everything_once() {
    let (d1, _) = sqlite("");
    assert!(!inspect(&d1).await.expect("a look").has_memories());
    let report = create(&d1).await.expect("created");
    assert_eq!(report.created.len(), TABLES.len() + TRIGGERS.len());
    assert_eq!(report.triggers, Triggers::Complete);
    assert!(inspect(&d1).await.expect("a look").missing().is_empty());
    let again = create(&d1).await.expect("nothing to do");
    assert_eq!((again.created.len(), again.filled), (0, 0));
}

#[tokio::test]
async fn an_old_python_database_gets_its_late_columns_and_its_memories_into_the_feed() {
    let (d1, _) = sqlite("");
    let old = "CREATE TABLE memories (id INTEGER PRIMARY KEY AUTOINCREMENT, content_hash TEXT UNIQUE NOT NULL, content TEXT NOT NULL, memory_type TEXT, created_at REAL NOT NULL, created_at_iso TEXT NOT NULL, updated_at REAL, updated_at_iso TEXT, metadata_json TEXT, vector_id TEXT UNIQUE, content_size INTEGER DEFAULT 0, r2_key TEXT)";
    execute(&d1, old, &[]).await;
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2300) INSERT INTO memories (content_hash, content, created_at, created_at_iso) SELECT 'h' || i, 'x', 1, 'iso' FROM n";
    execute(&d1, many, &[]).await;
    let existing = inspect(&d1).await.expect("a look");
    assert!(existing.has_memories() && !existing.has_side_tables());
    assert!(existing.missing().contains(&"deleted_at"));

    let report = create(&d1).await.expect("created");
    assert!(report.created.iter().any(|name| name == "tags"));
    assert!(inspect(&d1).await.expect("a look").missing().is_empty());
    let positions = feed(&d1).await;
    assert_eq!((positions.len(), report.filled), (2300, 2300));
    assert_eq!(positions[2299], (2300, "h2300".to_owned()), "in the order of the rows");
    assert_eq!(create(&d1).await.expect("nothing to do").filled, 0);
    assert_eq!(feed(&d1).await.len(), 2300);
}

#[tokio::test]
async fn a_fill_that_was_stopped_goes_on() {
    let (d1, _) = sqlite("");
    create(&d1).await.expect("created");
    for hash in ["a", "b", "c"] {
        python_stores(&d1, hash).await;
    }
    execute(&d1, "DELETE FROM mt_feed", &[]).await;
    execute(&d1, "UPDATE mt_meta SET v = '1' WHERE k = 'feed_filled'", &[]).await;
    create(&d1).await.expect("filled");
    let ids: Vec<String> = feed(&d1).await.into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids, ["b", "c"], "what comes after the place where it was stopped");
}

#[tokio::test]
async fn every_write_of_the_python_service_moves_the_feed() {
    let (d1, _) = sqlite("");
    create(&d1).await.expect("created");
    let first = python_stores(&d1, "a").await;
    assert_eq!(newest(&d1).await, "a");
    let second = python_stores(&d1, "b").await;
    assert_eq!(second, first + 1, "the id of the memory, not that of the feed");

    execute(&d1, "INSERT OR IGNORE INTO tags (name) VALUES ('t')", &[]).await;
    let tag = "INSERT OR IGNORE INTO memory_tags (memory_id, tag_id) SELECT CAST(?1 AS INTEGER), id FROM tags WHERE name = 't'";
    execute(&d1, tag, &[&first.to_string()]).await;
    assert_eq!(feed(&d1).await, [(2, "b".to_owned()), (3, "a".to_owned())]);
    execute(&d1, tag, &[&first.to_string()]).await;
    assert_eq!(newest(&d1).await, "a");
    assert_eq!(feed(&d1).await.len(), 2, "a tag that was there moves nothing");

    execute(&d1, "UPDATE memories SET metadata_json = '{}' WHERE content_hash = 'b'", &[]).await;
    assert_eq!(newest(&d1).await, "b");
    execute(
        &d1,
        "DELETE FROM memory_tags WHERE memory_id = CAST(?1 AS INTEGER)",
        &[&first.to_string()],
    )
    .await;
    assert_eq!(newest(&d1).await, "a");
    execute(&d1, "DELETE FROM memories WHERE content_hash = 'b'", &[]).await;
    assert_eq!(feed(&d1).await, [(5, "a".to_owned()), (6, "b".to_owned())]);
}

#[tokio::test]
async fn a_deleted_top_position_is_never_used_again() {
    let (d1, _) = sqlite("");
    create(&d1).await.expect("created");
    python_stores(&d1, "a").await;
    execute(&d1, "DELETE FROM mt_feed", &[]).await;
    python_stores(&d1, "b").await;
    assert_eq!(feed(&d1).await, [(2, "b".to_owned())]);
}

#[tokio::test]
async fn deleting_a_memory_with_tags_leaves_its_feed_row() {
    let (d1, _) = sqlite("");
    create(&d1).await.expect("created");
    python_stores(&d1, "a").await;
    execute(&d1, "INSERT INTO tags (name) VALUES ('t')", &[]).await;
    execute(&d1, "INSERT INTO memory_tags VALUES (1, 1)", &[]).await;
    execute(&d1, "DELETE FROM memories WHERE id = 1", &[]).await;
    assert_eq!(newest(&d1).await, "a", "the cascade finds no memory and stays quiet");
    let left = d1.run(Statement::plain("SELECT * FROM memory_tags")).await.expect("rows");
    assert!(left.first().is_none(), "the cascade did run");
}

#[tokio::test]
async fn a_database_that_refuses_triggers_is_told_apart() {
    let (d1, _) = sqlite("CREATE TRIGGER");
    let report = create(&d1).await.expect("the rest is made");
    let Triggers::Refused(error) = &report.triggers else { panic!("{report:?}") };
    assert!(error.message.contains("SQLITE_AUTH"), "{error}");
    assert!(report.created.iter().all(|name| !name.starts_with("mt_t")), "{:?}", report.created);
    assert!(inspect(&d1).await.expect("a look").has_side_tables());

    let (remote, ..) = ruled(|_| failure(401, 10000, "Authentication error"));
    let error = create(&D1::new(remote, "db")).await.expect_err("no access");
    assert_eq!(error.disposition, Disposition::Pause(Pause::Auth));
}

#[tokio::test]
async fn old_marks_are_pruned() {
    let (d1, _) = sqlite("");
    create(&d1).await.expect("created");
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10010) INSERT INTO mt_feed(id) SELECT 'h' || i FROM n";
    execute(&d1, many, &[]).await;
    d1.run(prune_heads()).await.expect("pruned");
    let sql = "SELECT count(*) AS n, min(seq) AS first FROM mt_heads";
    let left = d1.run(Statement::plain(sql)).await.expect("a count");
    let row = left.first().expect("a row");
    assert_eq!((row.integer("n"), row.integer("first")), (Some(10_000), Some(11)));
}

#[test]
fn trigger_texts_keep_the_rules_of_d1s_parser() {
    for (name, sql) in TRIGGERS {
        assert!(!sql.contains(['\n', '\r']), "{name} is one line");
        assert!(sql.contains(" BEGIN ") && sql.ends_with(" END;"), "{name}");
        assert!(!sql.contains("OR REPLACE") && !sql.contains("CASE"), "{name}");
    }
}
