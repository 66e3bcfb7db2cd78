//! Changes of a followed source that are hard to see: rows that are used again or move, edits that leave the
//! time of the last change, edges that come, go and are others.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::daemon::Home;
use super::moving::{held, source_path, until};
use super::written::Written;
use rusqlite::{Connection, OpenFlags};

/// An edge: its ends, and how near they are in hundredths.
type Edges = Vec<(String, String, i64)>;

fn edges(conn: &Connection, sql: &str) -> Edges {
    let mut statement = conn.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

fn edges_there(source: &Written) -> Edges {
    let sql = "SELECT source_hash, target_hash, CAST(round(similarity * 100) AS INTEGER)
               FROM memory_graph ORDER BY 1, 2";
    edges(source.conn(), sql)
}

fn edges_here(home: &Home) -> Edges {
    let conn =
        Connection::open_with_flags(home.database(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let sql = "SELECT origin, target, CAST(round(similarity * 100) AS INTEGER) FROM edge
               ORDER BY 1, 2";
    edges(&conn, sql)
}

fn follow(home: &Home, source: &Written) {
    let said = home.run(&["migrate", "follow", source.path(), "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
}

#[test]
fn edges_that_come_go_and_are_others_are_followed() {
    let home = Home::new();
    let mut source = Written::new(&source_path(&home));
    source.fill((0..30).map(|n| format!("note number {n}")));
    let write = |source: &Written, sql: &str| source.conn().execute_batch(sql).unwrap();
    let link = "INSERT INTO memory_graph
                SELECT content_hash, 'target', 0.5, '[]', NULL, 1.5, 'related' FROM memories";
    write(&source, link);
    let daemon = home.daemon();
    follow(&home, &source);
    let same = |source: &Written| edges_here(&home) == edges_there(source);
    assert!(same(&source) && edges_here(&home).len() == 30);
    write(&source, "INSERT INTO memory_graph VALUES ('b', 'c', 0.1, '[]', NULL, 1.5, 'causes')");
    until("a new edge", || same(&source));
    write(&source, "DELETE FROM memory_graph WHERE rowid % 5 = 0");
    until("edges that are gone", || same(&source));
    // Neither the number of the edges nor the last row tells of these.
    write(&source, "UPDATE memory_graph SET similarity = 0.7 WHERE rowid = 7");
    until("an edge that is another", || same(&source));
    write(
        &source,
        "BEGIN; DELETE FROM memory_graph WHERE source_hash = 'b';
         INSERT INTO memory_graph VALUES ('d', 'e', 0.1, '[]', NULL, 1.5, 'causes'); COMMIT",
    );
    until("another edge in its row", || same(&source));
    daemon.stop();
    write(&source, "DELETE FROM memory_graph WHERE rowid < 10");
    write(&source, "INSERT INTO memory_graph VALUES ('f', 'g', 0.1, '[]', NULL, 1.5, 'causes')");
    let _daemon = home.daemon();
    until("what happened while nobody looked", || same(&source));
}

fn n_alive(home: &Home) -> usize {
    held(home).iter().filter(|(_, is_alive, _)| *is_alive).count()
}

fn n_tagged(home: &Home, tag: &str) -> usize {
    held(home).iter().filter(|(_, _, tags)| tags == tag).count()
}

#[test]
fn edits_that_leave_the_time_and_rows_that_are_used_again_are_followed() {
    let home = Home::new();
    let mut source = Written::new(&source_path(&home));
    source.fill((0..30).map(|n| format!("note number {n}")));
    let _daemon = home.daemon();
    follow(&home, &source);
    let (n_here, tag) = (|| n_alive(&home), |tag: &str| n_tagged(&home, tag));
    let write = |sql: &str| source.conn().execute_batch(sql).unwrap();
    // As long as the tag before.
    write("UPDATE memories SET tags = 'edited' WHERE id = 12");
    until("an edit that leaves the time", || tag("edited") == 1);
    // This schema keeps deletions: a row that is gone was cleared away, its memory stays.
    write(
        "BEGIN; CREATE TEMP TABLE other AS SELECT * FROM memories WHERE id = 12;
         DELETE FROM memories WHERE id = 12;
         UPDATE other SET tags = 'of another', content = 'x', content_hash = printf('%064d', 7);
         INSERT INTO memories SELECT * FROM other; COMMIT",
    );
    until("another memory in its row", || tag("of another") == 1);
    assert_eq!((tag("edited"), n_here()), (1, 31));
    write("VACUUM");
    write("UPDATE memories SET tags = 'compact' WHERE id = 30");
    until("an edit of a file that was written anew", || tag("compact") == 1);
}

#[test]
fn a_memory_that_moves_to_another_row_is_not_deleted() {
    let home = Home::new();
    let mut source = Written::old(&source_path(&home));
    source.fill((0..30).map(|n| format!("note number {n}")));
    let _daemon = home.daemon();
    follow(&home, &source);
    let (n_here, tag) = (|| n_alive(&home), |tag: &str| n_tagged(&home, tag));
    let write = |sql: &str| source.conn().execute_batch(sql).unwrap();
    write("DELETE FROM memories WHERE id = 2");
    until("a deletion", || n_here() == 29);
    write("UPDATE memories SET id = 2 WHERE id = 9; UPDATE memories SET id = 77 WHERE id = 10");
    write("UPDATE memories SET tags = 'moved' WHERE id IN (2, 77)");
    until("the edits of those that moved", || tag("moved") == 2);
    write("DELETE FROM memories WHERE id = 77");
    until("the deletion of one that moved", || n_here() == 28);
    assert_eq!(tag("moved"), 2);
}

#[test]
fn a_row_that_can_not_be_taken_over_is_a_problem_until_it_is_mended_or_gone() {
    let home = Home::new();
    let mut source = Written::new(&source_path(&home));
    source.fill((0..5).map(|n| format!("note number {n}")));
    let daemon = home.daemon();
    follow(&home, &source);
    let told = || {
        let status = home.ask("GET", "/v1/status", b"").json;
        let problems = status["problems"].as_array().unwrap().clone();
        let of_rows = problems.into_iter().find(|problem| problem["code"] == "migration_rows");
        assert_eq!(status["migration"]["left_out"].is_null(), of_rows.is_none());
        of_rows.map_or(String::new(), |one| one["message"].as_str().unwrap().to_owned())
    };
    let write = |sql: &str| source.conn().execute_batch(sql).unwrap();
    assert_eq!(told(), "");
    write(
        "INSERT INTO memories(id, content_hash, content) VALUES (70, 'no hash', 'a'), (71, '', 'b')",
    );
    until("two rows that are no memories", || told().starts_with("2 rows of the source"));
    assert!(told().contains("the first is row 70, "), "{}", told());
    let said = home.run(&["migrate", "status"]);
    assert!(said.out.contains("\nLEFT OUT     2 rows of the source"), "{said:?}");
    let said = home.run(&["migrate", "finish"]);
    assert!(said.code == Some(1) && said.err.contains("2 rows of the source"), "{said:?}");
    // A daemon that starts anew knows of them again.
    daemon.stop();
    let _daemon = home.daemon();
    until("what was known before", || told().starts_with("2 rows of the source"));
    write("DELETE FROM memories WHERE id = 70");
    let hash = memtide::model::id::MemoryId::of("b");
    write(&format!(
        "UPDATE memories SET content_hash = '{hash}', created_at = 1.5e9 WHERE id = 71"
    ));
    until("one row mended, the other gone", || n_alive(&home) == 6);
    until("nothing left to tell", || told().is_empty());
}
