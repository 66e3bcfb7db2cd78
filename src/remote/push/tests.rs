use super::super::d1::D1;
use super::super::feed::{self, FeedEntry};
use super::super::testing::{execute, sqlite};
use super::super::{digest, meta, poll, schema};
use super::*;
use crate::remote::contract::Contract;
use serde_json::Value;

fn row(text: &str, expected_seq: i64) -> PushRow {
    PushRow {
        id: MemoryId::of(text),
        expected_seq,
        alive: true,
        is_row_right: false,
        content: text.to_owned(),
        memory_type: "note".to_owned(),
        tags: vec!["a".to_owned(), "b c".to_owned()],
        metadata_json: r#"{"k":"v"}"#.to_owned(),
        created_at: Micros(1_600_000_000_123_456),
        deleted_at: None,
        r2_key: None,
        content_size: text.len(),
        state_text: format!("{{\"of\":{text:?}}}"),
        digest: (1 << 48) - 1,
    }
}

fn dead(text: &str, expected_seq: i64) -> PushRow {
    let deleted_at = Some(Micros(1_650_000_000_500_000));
    PushRow {
        alive: false,
        deleted_at,
        state_text: "{\"dead\":1}".to_owned(),
        ..row(text, expected_seq)
    }
}

async fn ready() -> D1 {
    let (d1, _) = sqlite("");
    schema::create(&d1).await.expect("created");
    meta::write(&d1, "uuid-1", &Contract::python()).await.expect("written");
    d1
}

/// Whether the row is alive; `None` where there is none.
fn life(entry: &FeedEntry) -> Option<bool> {
    entry.row.as_ref().map(|row| row.deleted_at.is_none())
}

async fn push_with(d1: &D1, rows: &[PushRow], anchor: Option<&Anchor>) -> PushAnswer {
    let (batches, oversized) = split(rows);
    assert_eq!((batches.len(), oversized.len()), (1, 0));
    let answer = super::push(d1, &batches[0], anchor, "uuid-1").await.expect("applied");
    assert!(all(d1, "SELECT * FROM mt_stage").await.is_empty(), "the stage is empty again");
    answer
}

async fn push(d1: &D1, rows: &[PushRow]) -> PushAnswer {
    push_with(d1, rows, None).await
}

async fn all(d1: &D1, sql: &'static str) -> Vec<Vec<Value>> {
    let result = d1.run(Statement::plain(sql)).await.expect(sql);
    let n = result.rows().count();
    // Columns are read by position here, so that a test can compare whole rows.
    let names: Vec<String> = (0..20).map(|n| format!("c{n}")).collect();
    let values = |row: super::super::d1::Row<'_>| {
        names
            .iter()
            .map_while(|name| row.has(name).then(|| row.value(name).cloned().unwrap_or_default()))
            .collect()
    };
    let rows: Vec<Vec<Value>> = result.rows().map(values).collect();
    assert_eq!(rows.len(), n);
    rows
}

async fn fetched(d1: &D1, id: MemoryId) -> FeedEntry {
    feed::fetch(d1, &[id], None).await.expect("fetched").0.remove(0)
}

async fn tags_of(d1: &D1, text: &str) -> Vec<String> {
    let sql = "SELECT t.name AS name FROM memories m JOIN memory_tags x ON x.memory_id = m.id JOIN tags t ON t.id = x.tag_id WHERE m.content_hash = ?1 ORDER BY t.name";
    let id = Some(MemoryId::of(text).to_string());
    let result = d1.run(Statement::new(sql, vec![id])).await.expect("tags");
    result.rows().map(|row| row.text("name").expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn a_row_is_what_the_python_service_reads() {
    let d1 = ready().await;
    let mut long = row("long", 0);
    long.content = placeholder("content/long-1.txt");
    long.r2_key = Some("content/long-1.txt".to_owned());
    long.content_size = 2_000_000;
    long.tags.clear();
    let answer = push(&d1, &[row("It's \"x\" \\ 🦀", 0), long]).await;
    assert_eq!((answer.winners.len(), answer.losers.len()), (2, 0));
    let rows = all(&d1, "SELECT content_hash AS c0, content AS c1, memory_type AS c2, created_at AS c3, created_at_iso AS c4, metadata_json AS c5, vector_id AS c6, content_size AS c7, r2_key AS c8, tags AS c9, deleted_at AS c10, typeof(created_at) AS c11, typeof(updated_at) AS c12, typeof(content_size) AS c13, abs(updated_at - unixepoch()) < 60 AS c14, substr(updated_at_iso, 1, 13) = strftime('%Y-%m-%dT%H', updated_at, 'unixepoch') AS c15, length(updated_at_iso) AS c16 FROM memories ORDER BY id").await;
    let id = MemoryId::of("It's \"x\" \\ 🦀").to_string();
    let tail = ["real".into(), "real".into(), "integer".into(), 1.into(), 1.into(), 24.into()];
    let mut expected: Vec<Value> = vec![
        id.clone().into(),
        "It's \"x\" \\ 🦀".into(),
        "note".into(),
        1_600_000_000.123_456.into(),
        "2020-09-13T12:26:40.123456Z".into(),
        r#"{"k":"v"}"#.into(),
        id.into(),
        15.into(),
        Value::Null,
        "a,b c".into(),
        Value::Null,
    ];
    expected.extend(tail.clone());
    assert_eq!(rows[0], expected);
    assert_eq!(rows[1][1], "[R2 Content: content/long-1.txt]");
    assert_eq!(rows[1][7], 2_000_000);
    assert_eq!(rows[1][8..10], ["content/long-1.txt", ""]);
    assert_eq!(tags_of(&d1, "It's \"x\" \\ 🦀").await, ["a", "b c"]);
    assert!(tags_of(&d1, "long").await.is_empty());
    let entries = all(&d1, "SELECT state AS c0, CAST(dg AS TEXT) AS c1, typeof(dg) AS c2 FROM mt_entry e JOIN memories m ON m.content_hash = e.id ORDER BY m.id LIMIT 1").await;
    assert_eq!(
        entries,
        [[row("It's \"x\" \\ 🦀", 0).state_text.as_str(), "281474976710655", "integer"]]
    );
}

#[tokio::test]
async fn winners_get_positions_in_order_and_their_marks() {
    let d1 = ready().await;
    let answer = push(&d1, &[row("x", 0), row("y", 0), dead("z", 0)]).await;
    let ids: Vec<_> = answer.winners.iter().map(|winner| (winner.id, winner.seq)).collect();
    assert_eq!(ids, [("x", 1), ("y", 2), ("z", 3)].map(|(t, seq)| (MemoryId::of(t), seq)));
    assert!(answer.winners.iter().all(|winner| winner.nonce.len() == 16));
    assert_eq!(answer.cloud.database.as_deref(), Some("uuid-1"));
    let again = push(&d1, &[row("y", 2)]).await;
    assert_eq!(again.winners[0].seq, 4, "the feed has each memory once, at its newest position");
    assert_eq!(all(&d1, "SELECT seq AS c0 FROM mt_feed ORDER BY seq").await, [[1], [3], [4]]);
}

#[tokio::test]
async fn a_memory_that_somebody_else_moved_loses_and_stays_as_it_is() {
    let d1 = ready().await;
    push(&d1, &[row("x", 0), row("y", 0)]).await;
    execute(
        &d1,
        "UPDATE memories SET metadata_json = '{\"python\":1}' WHERE content_hash = ?1",
        &[&MemoryId::of("x").to_string()],
    )
    .await;
    let mut mine = row("x", 1);
    mine.metadata_json = r#"{"mine":1}"#.to_owned();
    mine.state_text = "mine".to_owned();
    mine.tags = vec!["z".to_owned()];
    let answer = push(&d1, &[mine, row("y", 2)]).await;
    assert_eq!(answer.losers, [MemoryId::of("x")]);
    assert_eq!(answer.winners.len(), 1, "one that lost doesn't hold up the others");
    let kept =
        all(&d1, "SELECT metadata_json AS c0, tags AS c1 FROM memories ORDER BY id LIMIT 1").await;
    assert_eq!(kept, [["{\"python\":1}", "a,b c"]]);
    assert_eq!(tags_of(&d1, "x").await, ["a", "b c"]);
    let entry = fetched(&d1, MemoryId::of("x")).await;
    assert_eq!((entry.seq, life(&entry)), (3, Some(true)));
    assert_eq!(entry.state_text, Some(row("x", 0).state_text));
}

#[tokio::test]
async fn a_batch_whose_answer_was_lost_is_found_applied_and_changes_nothing() {
    let d1 = ready().await;
    let rows = [row("x", 0), dead("y", 0)];
    let first = push(&d1, &rows).await;
    let before = all(&d1, "SELECT updated_at AS c0 FROM memories").await;
    let second = push(&d1, &rows).await;
    assert_eq!((second.winners.len(), second.losers.len()), (0, 2));
    assert_eq!(all(&d1, "SELECT updated_at AS c0 FROM memories").await, before);
    for (sent, won) in rows.iter().zip(first.winners) {
        let found = fetched(&d1, sent.id).await;
        assert_eq!(found.state_text.as_deref(), Some(sent.state_text.as_str()), "it is our own");
        assert_eq!((found.seq, found.nonce), (won.seq, Some(won.nonce)));
    }
}

#[tokio::test]
async fn only_the_difference_of_tags_is_written() {
    let d1 = ready().await;
    push(&d1, &[row("x", 0)]).await;
    let before = all(&d1, "SELECT x.rowid AS c0 FROM memory_tags x JOIN tags t ON t.id = x.tag_id WHERE t.name = 'b c'").await;
    let mut changed = row("x", 1);
    changed.tags = vec!["b c".to_owned(), "new".to_owned()];
    push(&d1, &[changed]).await;
    assert_eq!(tags_of(&d1, "x").await, ["b c", "new"]);
    let after = all(&d1, "SELECT x.rowid AS c0 FROM memory_tags x JOIN tags t ON t.id = x.tag_id WHERE t.name = 'b c'").await;
    assert_eq!(after, before, "the tag that stayed was not written again");
    assert_eq!(all(&d1, "SELECT tags AS c0 FROM memories").await, [["b c,new"]]);
    assert_eq!(all(&d1, "SELECT count(*) AS c0 FROM tags").await, [[3]]);
}

#[tokio::test]
async fn a_tag_of_the_python_service_moves_the_feed_and_makes_an_older_push_lose() {
    let d1 = ready().await;
    push(&d1, &[row("x", 0)]).await;
    execute(&d1, "INSERT OR IGNORE INTO tags (name) VALUES ('late')", &[]).await;
    execute(&d1, "INSERT OR IGNORE INTO memory_tags (memory_id, tag_id) SELECT 1, id FROM tags WHERE name = 'late'", &[]).await;
    assert_eq!(fetched(&d1, MemoryId::of("x")).await.seq, 2);
    assert_eq!(push(&d1, &[row("x", 1)]).await.losers, [MemoryId::of("x")]);
    assert_eq!(tags_of(&d1, "x").await, ["a", "b c", "late"]);
}

#[tokio::test]
async fn a_row_that_the_service_restored_names_our_vector_again() {
    let d1 = ready().await;
    push(&d1, &[row("x", 0)]).await;
    execute(&d1, "UPDATE memories SET vector_id = 'restore-1', r2_key = 'k', deleted_at = 1", &[])
        .await;
    push(&d1, &[row("x", 2)]).await;
    let sql = "SELECT vector_id AS c0, r2_key AS c1, deleted_at AS c2 FROM memories";
    let id = MemoryId::of("x").to_string();
    assert_eq!(all(&d1, sql).await, [[id.into(), Value::Null, Value::Null]]);
}

#[tokio::test]
async fn the_dead_keep_their_row_and_get_none() {
    let d1 = ready().await;
    push(&d1, &[row("x", 0)]).await;
    let answer = push(&d1, &[dead("x", 1), dead("never there", 0)]).await;
    assert_eq!(answer.winners.len(), 2);
    let rows = all(
        &d1,
        "SELECT content AS c0, deleted_at AS c1, updated_at > created_at AS c2 FROM memories",
    )
    .await;
    assert_eq!(rows, [[Value::from("x"), 1_650_000_000.5.into(), 1.into()]]);
    assert_eq!(life(&fetched(&d1, MemoryId::of("x")).await), Some(false));
    let gone = fetched(&d1, MemoryId::of("never there")).await;
    assert_eq!((life(&gone), gone.state_text.as_deref()), (None, Some("{\"dead\":1}")));

    execute(&d1, "DELETE FROM memories", &[]).await;
    let seq = fetched(&d1, MemoryId::of("x")).await.seq;
    push(&d1, &[dead("x", seq)]).await;
    assert!(
        all(&d1, "SELECT id AS c0 FROM memories").await.is_empty(),
        "a purged row stays purged"
    );

    let seq = fetched(&d1, MemoryId::of("x")).await.seq;
    push(&d1, &[row("x", seq)]).await;
    assert_eq!(life(&fetched(&d1, MemoryId::of("x")).await), Some(true), "stored anew");
}

#[tokio::test]
async fn a_row_that_the_feed_does_not_know_is_not_overwritten() {
    let d1 = ready().await;
    push(&d1, &[row("x", 0)]).await;
    execute(&d1, "DELETE FROM mt_feed", &[]).await;
    let answer = push(&d1, &[row("x", 0), row("y", 0)]).await;
    assert_eq!(answer.losers, [MemoryId::of("x")]);
    assert_eq!(fetched(&d1, MemoryId::of("x")).await.seq, 0);
    let unknown = fetched(&d1, MemoryId::of("nobody")).await;
    assert_eq!((unknown.seq, life(&unknown), unknown.state_text), (0, None, None));
    assert!(!unknown.is_cut);
}

#[tokio::test]
async fn a_database_that_was_put_back_is_noticed() {
    let d1 = ready().await;
    let won = push(&d1, &[row("x", 0)]).await.winners.remove(0);
    let anchor = Anchor { seq: won.seq, nonce: won.nonce };
    assert!(push_with(&d1, &[row("y", 0)], Some(&anchor)).await.cloud.anchor_holds);
    execute(&d1, "UPDATE mt_heads SET n = 'other' WHERE seq = 1", &[]).await;
    let answer = push_with(&d1, &[row("z", 0)], Some(&anchor)).await;
    assert!(!answer.cloud.anchor_holds && answer.winners.is_empty());
    assert_eq!(life(&fetched(&d1, MemoryId::of("z")).await), None, "nothing is mixed");
    execute(&d1, "DELETE FROM mt_heads WHERE seq = 1", &[]).await;
    let (_, check) = feed::fetch(&d1, &[won.id], Some(&anchor)).await.expect("fetched");
    assert!(!check.anchor_holds);
    assert_eq!(check.database.as_deref(), Some("uuid-1"));
}

#[tokio::test]
async fn nothing_is_written_into_another_database() {
    let d1 = ready().await;
    let (batches, _) = split(&[row("x", 0), dead("y", 0)]);
    let answer = super::push(&d1, &batches[0], None, "uuid-2").await.expect("an answer");
    assert_eq!((answer.winners.len(), answer.losers.len()), (0, 2));
    assert_eq!(answer.cloud.database.as_deref(), Some("uuid-1"));
    for sql in ["SELECT id AS c0 FROM memories", "SELECT id AS c0 FROM mt_entry"] {
        assert!(all(&d1, sql).await.is_empty(), "{sql}");
    }
    assert!(all(&d1, "SELECT seq AS c0 FROM mt_feed").await.is_empty());
}

#[tokio::test]
async fn where_triggers_are_refused_every_position_has_its_mark() {
    const UNMARKED: &str =
        "SELECT f.id AS c0 FROM mt_feed f LEFT JOIN mt_heads h ON h.seq = f.seq WHERE h.n IS NULL";
    const ROW: &str = "INSERT INTO memories(content_hash, content, created_at, created_at_iso, updated_at) VALUES (?1, 'x', 1, '', 1)";
    let (d1, _) = sqlite("CREATE TRIGGER");
    schema::create(&d1).await.expect("created");
    meta::write(&d1, "uuid-1", &Contract::python()).await.expect("written");
    execute(&d1, ROW, &["filled"]).await;
    execute(&d1, "UPDATE mt_meta SET v = '0' WHERE k = 'feed_filled'", &[]).await;
    assert_eq!(schema::create(&d1).await.expect("filled").filled, 1);
    execute(&d1, ROW, &["polled"]).await;
    let look = poll::Look::Latest { after: 0, since: 0 };
    assert_eq!(poll::poll(&d1, &look, "uuid-1").await.expect("a look").announced, 1);
    assert_eq!(all(&d1, "SELECT max(seq) AS c0 FROM mt_feed").await, [[2]]);
    assert!(all(&d1, UNMARKED).await.is_empty());
    execute(&d1, ROW, &["announced"]).await;
    digest::announce(&d1, &["announced".to_owned()], "uuid-1").await.expect("announced");
    assert_eq!(all(&d1, "SELECT max(seq) AS c0 FROM mt_feed").await, [[3]]);
    assert!(all(&d1, UNMARKED).await.is_empty());

    let won = push(&d1, &[row("x", 0), dead("y", 0)]).await.winners;
    assert_eq!(
        won.iter().map(|one| (one.seq, one.nonce.len())).collect::<Vec<_>>(),
        [(4, 16), (5, 16)]
    );
    assert_ne!(won[0].nonce, won[1].nonce);
    let anchor = Anchor { seq: won[1].seq, nonce: won[1].nonce.clone() };
    assert!(push_with(&d1, &[row("z", 0)], Some(&anchor)).await.cloud.anchor_holds);

    // Put back to before the push, and written to by another device.
    execute(&d1, "DELETE FROM mt_feed WHERE seq > 3", &[]).await;
    execute(&d1, "DELETE FROM mt_heads WHERE seq > 3", &[]).await;
    execute(&d1, "UPDATE sqlite_sequence SET seq = 3 WHERE name = 'mt_feed'", &[]).await;
    let others = push(&d1, &[row("o", 0), row("p", 0)]).await.winners;
    assert_eq!(others[1].seq, anchor.seq);
    let answer = push_with(&d1, &[row("q", 0)], Some(&anchor)).await;
    assert!(!answer.cloud.anchor_holds && answer.winners.is_empty());
}

#[tokio::test]
async fn a_change_that_no_trigger_told_of_is_not_overwritten() {
    let d1 = ready().await;
    push(&d1, &[row("x", 0)]).await;
    execute(&d1, "UPDATE memories SET updated_at = unixepoch() + 30", &[]).await;
    let told = push(&d1, &[row("x", 2)]).await;
    assert_eq!(told.winners.len(), 1, "where a trigger has told, a clock ahead holds nothing up");
    for n in 0..=5 {
        d1.run(Statement::plain(format!("DROP TRIGGER mt_t{n}"))).await.expect("dropped");
    }
    execute(&d1, "UPDATE memories SET deleted_at = unixepoch() + 30", &[]).await;
    assert_eq!(push(&d1, &[row("x", 3)]).await.losers, [MemoryId::of("x")]);
    execute(&d1, "UPDATE memories SET deleted_at = unixepoch() + 90", &[]).await;
    assert_eq!(push(&d1, &[row("x", 3)]).await.winners[0].seq, 4, "far ahead says nothing");
}

#[tokio::test]
async fn states_beyond_the_answers_room_come_without_their_text() {
    let d1 = ready().await;
    let big: Vec<PushRow> = (0..5)
        .map(|n| PushRow { state_text: "s".repeat(1_000_000), ..row(&n.to_string(), 0) })
        .collect();
    for one in &big {
        push(&d1, std::slice::from_ref(one)).await;
    }
    let ids: Vec<MemoryId> = big.iter().map(|row| row.id).collect();
    let (found, _) = feed::fetch(&d1, &ids, None).await.expect("fetched");
    let cut: Vec<bool> = found.iter().map(|entry| entry.is_cut).collect();
    assert_eq!(cut, [false, false, false, true, true]);
    assert_eq!(found[4].state_text, None);
}

#[tokio::test]
async fn a_full_batch_of_each_kind_is_applied() {
    let d1 = ready().await;
    let living: Vec<_> = (0..BATCH_MAX_MEMORIES).map(|n| row(&format!("m{n}"), 0)).collect();
    assert_eq!(push(&d1, &living).await.winners.len(), BATCH_MAX_MEMORIES);
    let entries: Vec<_> = (0..BATCH_MAX_ENTRIES)
        .map(|n| {
            dead(
                &format!("m{n}"),
                if n < BATCH_MAX_MEMORIES { i64::try_from(n).expect("small") + 1 } else { 0 },
            )
        })
        .collect();
    assert_eq!(push(&d1, &entries).await.winners.len(), BATCH_MAX_ENTRIES);
    assert_eq!(
        all(&d1, "SELECT count(*) AS c0 FROM memories WHERE deleted_at IS NOT NULL").await,
        [[500]]
    );
}

#[tokio::test]
async fn no_statement_of_a_push_reads_a_whole_table() {
    let d1 = ready().await;
    let (batches, _) = split(&[row("x", 0), dead("y", 0)]);
    let mut statements = batches[0].statements(None, "uuid-1");
    statements.extend(feed::fetch_statements(&[MemoryId::of("x")], None));
    statements.extend(feed::page_statements(0, 500, None));
    for statement in statements {
        let sql = format!("EXPLAIN QUERY PLAN {}", statement.sql);
        let params = statement.params.clone();
        let plan = d1.run(Statement::new(sql, params)).await.expect("a plan");
        for step in plan.rows().filter_map(|row| row.text("detail")) {
            // Virtual tables and the stage are read from end to end; that is the batch itself.
            let whole = step.strip_prefix("SCAN ").filter(|rest| !rest.contains("VIRTUAL TABLE"));
            let small = [
                "CONSTANT ROW",
                "mt_stage",
                "q",
                "(subquery",
                "x",
                "j",
                "a",
                "b",
                "f",
                "found",
                "sqlite_master",
            ];
            // Listed for the foreign key of `memory_tags`, and run only if one is already violated.
            if step == "SCAN memory_tags" && statement.sql.starts_with("INSERT OR IGNORE INTO tags")
            {
                continue;
            }
            let is_small = whole.is_none_or(|rest| small.iter().any(|name| rest.starts_with(name)));
            assert!(is_small, "{step} in {}", statement.sql);
        }
    }
}

#[test]
fn batches_are_bounded_by_number_by_weight_and_by_bytes() {
    let living: Vec<_> = (0..1001).map(|n| row(&n.to_string(), 0)).collect();
    let sizes = |rows: &[PushRow]| split(rows).0.iter().map(|b| b.ids.len()).collect::<Vec<_>>();
    assert_eq!(sizes(&living), [500, 500, 1]);
    let gone: Vec<_> = (0..2001).map(|n| dead(&n.to_string(), 0)).collect();
    assert_eq!(sizes(&gone), [2000, 1]);
    let mixed: Vec<_> = living[..300].iter().chain(&gone[..900]).cloned().collect();
    assert_eq!(sizes(&mixed), [300 + 800, 100]);
    assert!(split(&[]).0.is_empty());

    // Quotes double on the way.
    let quotes = |n: usize| PushRow { content: "\"".repeat(n), ..row("q", 0) };
    assert_eq!(sizes(&[quotes(500_000), quotes(200_000), quotes(100_000)]), [2, 1]);
    let (batches, oversized) = split(&[quotes(1), quotes(750_000), quotes(2)]);
    assert_eq!((batches.len(), batches[0].ids.len(), oversized.len()), (1, 2, 1));
    assert_eq!(oversized[0].bytes, encoded_bytes(&quotes(750_000)));
    assert!(oversized[0].to_string().contains("1500000"), "{}", oversized[0]);
    for batch in split(&[quotes(500_000), quotes(245_000)]).0 {
        assert!(batch.json.len() <= BATCH_MAX_BYTES);
        assert!(serde_json::from_str::<Value>(&batch.json).is_ok());
    }
}
