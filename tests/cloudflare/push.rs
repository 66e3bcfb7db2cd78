//! Pushing memories: what is written, and what becomes of an answer that is lost.

use super::{World, push_rows, row};
use memtide::clock::Micros;
use memtide::emulator::faults::{Effect, Reply, Rule};
use memtide::emulator::options::Options;
use memtide::emulator::product::Product as Emulated;
use memtide::remote::d1::Statement;
use memtide::remote::error::Disposition;
use memtide::remote::feed::fetch;
use memtide::remote::push::{Anchor, PushRow, push, split};

fn many(n: usize) -> Vec<PushRow> {
    (0..n).map(|n| row(&format!("memory {n}"), 0)).collect()
}

#[tokio::test]
async fn a_thousand_memories_take_two_requests() {
    let world = World::new(Options::default());
    let d1 = world.ready().await;
    let core = world.account.core();
    core.clear_requests();
    let rows = many(1000);
    let (batches, _) = split(&rows);
    let mut anchor: Option<Anchor> = None;
    for batch in &batches {
        let answer = push(&d1, batch, anchor.as_ref(), "database-1").await.expect("applied");
        assert!(answer.losers.is_empty() && answer.cloud.anchor_holds);
        assert_eq!(answer.cloud.database.as_deref(), Some("database-1"));
        anchor = answer.winners.last().map(|w| Anchor { seq: w.seq, nonce: w.nonce.clone() });
    }
    assert_eq!(core.n_requests(Emulated::D1), 2);
    assert_eq!(world.column("SELECT count(*) || '' FROM memory_tags"), ["3000"]);
    assert_eq!(world.column("SELECT count(*) || '' FROM mt_entry"), ["1000"]);
    assert_eq!(world.remote.usage().rows_written, core.rows_written_today(), "the counts agree");
}

#[tokio::test]
async fn an_answer_that_was_lost_is_settled_by_looking() {
    for effect in [
        Effect::LoseAnswer,
        Effect::CutAnswer { keep: 40 },
        Effect::reply_after_execution(Reply::html(502)),
        Effect::reply_after_execution(Reply::not_json()),
        Effect::reply_after_execution(Reply::error(500, 7500, "Network connection lost.")),
    ] {
        let world = World::new(Options::default());
        let d1 = world.ready().await;
        let core = world.account.core();
        let fault = core.inject(Rule::new(effect.clone()).on(Emulated::D1).times(1));
        let rows = many(3);
        let error = push_rows(&d1, &rows).await.expect_err("no answer");
        assert_eq!((error.disposition, core.fired(fault)), (Disposition::Retry, 1), "{effect:?}");
        let positions = world.column("SELECT group_concat(seq) FROM mt_feed");
        assert_eq!(positions, ["1,2,3"], "{effect:?}: it was applied");

        let again = push_rows(&d1, &rows).await.expect("an answer");
        assert_eq!((again.winners.len(), again.losers.len()), (0, 3));
        assert_eq!(world.column("SELECT group_concat(seq) FROM mt_feed"), positions);
        let (found, _) = fetch(&d1, &again.losers, None).await.expect("fetched");
        for (sent, found) in rows.iter().zip(found) {
            assert_eq!(found.state_text.as_ref(), Some(&sent.state_text), "it is our own");
            assert!(found.row.is_some_and(|row| row.deleted_at.is_none()));
        }
    }
}

#[tokio::test]
async fn a_request_that_never_arrived_is_simply_sent_again() {
    let world = World::new(Options::default());
    let d1 = world.ready().await;
    world.account.core().inject(Rule::new(Effect::Drop).on(Emulated::D1).times(1));
    let error = push_rows(&d1, &many(3)).await.expect_err("no answer");
    assert_eq!(error.disposition, Disposition::Retry);
    assert!(world.column("SELECT id FROM memories").is_empty());
    assert_eq!(push_rows(&d1, &many(3)).await.expect("applied").winners.len(), 3);
}

#[tokio::test]
async fn a_write_of_the_python_service_in_between_wins() {
    let world = World::new(Options::default());
    let d1 = world.ready().await;
    push_rows(&d1, &[row("x", 0), row("y", 0)]).await.expect("applied");
    let python = [
        "INSERT OR IGNORE INTO tags (name) VALUES ('theirs')",
        "INSERT OR IGNORE INTO memory_tags (memory_id, tag_id) SELECT 1, id FROM tags WHERE name = 'theirs'",
    ];
    for sql in python {
        d1.run(Statement::plain(sql)).await.expect(sql);
    }
    let answer = push_rows(&d1, &[row("x", 1), row("y", 2)]).await.expect("applied");
    assert_eq!((answer.losers.as_slice(), answer.winners.len()), ([row("x", 0).id].as_slice(), 1));
    let tags = "SELECT t.name FROM memory_tags x JOIN tags t ON t.id = x.tag_id WHERE x.memory_id = 1 ORDER BY 1";
    assert_eq!(world.column(tags), ["one", "theirs", "three", "two"]);
}

#[tokio::test]
async fn a_deleted_memory_is_marked_and_its_state_stays() {
    let world = World::new(Options::default());
    let d1 = world.ready().await;
    push_rows(&d1, &[row("x", 0)]).await.expect("applied");
    let deleted_at = Some(Micros(1_650_000_000_250_000));
    let dead = PushRow { alive: false, deleted_at, state_text: "dead".to_owned(), ..row("x", 1) };
    push_rows(&d1, &[dead]).await.expect("applied");
    assert_eq!(
        world.column("SELECT deleted_at || ' ' || content FROM memories"),
        ["1650000000.25 x"]
    );
    assert_eq!(world.column("SELECT state FROM mt_entry"), ["dead"]);
}

#[tokio::test]
async fn one_row_that_d1_refuses_fails_its_batch_and_changes_nothing() {
    let world = World::new(Options::default());
    let d1 = world.ready().await;
    push_rows(&d1, &[row("x", 0)]).await.expect("applied");
    // Another memory's row claims the vector id of the one to come.
    let id = row("poison", 0).id.to_string();
    let claim = Statement::new("UPDATE memories SET vector_id = ?1", vec![Some(id)]);
    d1.run(claim).await.expect("claimed");
    let error = push_rows(&d1, &[row("y", 0), row("poison", 0)]).await.expect_err("a conflict");
    assert_eq!(error.disposition, Disposition::Park, "{error}");
    assert_eq!(world.column("SELECT content FROM memories"), ["x"]);
    assert!(world.column("SELECT j FROM mt_stage").is_empty());
    assert_eq!(push_rows(&d1, &[row("y", 0)]).await.expect("applied").winners.len(), 1);
}
