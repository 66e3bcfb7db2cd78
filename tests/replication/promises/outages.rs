//! The network, the account or the program itself is away for a while.

use super::judge::all_hold_the_same;
use super::{another, converge, rows_alive, two};
use crate::{NOON, World};
use memtide::clock::Clock as _;
use memtide::emulator::faults::{Effect, Reply, Rule};
use memtide::emulator::options::Options;
use memtide::emulator::product::Product;
use memtide::emulator::tokens::Token;
use memtide::model::id::MemoryId;
use memtide::remote::contract::Contract;
use memtide::replicate::progress::SyncState;
use memtide::store::link::{self, LinkMode};
use memtide::store::outbox;
use std::time::Duration;

/// A device in both directions beside an empty account.
async fn one() -> World {
    let mut world = World::linked().await;
    world.mode = LinkMode::Dual;
    world.link().await.unwrap();
    world
}

/// Lets time pass in which the device does what is due.
async fn pass(world: &World, time: Duration) {
    let end = world.clock.now().plus(time);
    while world.clock.now() < end {
        let step = world.settle().await;
        let left = end.since(world.clock.now());
        let wait = step.next_at.map_or(left, |at| at.since(world.clock.now()).min(left));
        world.clock.advance(wait.max(Duration::from_secs(1)));
    }
}

/// R02.
#[tokio::test]
async fn a_write_made_while_the_daemon_was_offline_at_start_arrives() {
    let mut world = one().await;
    world.account.core().set_network(false);
    world.restart();
    world.settle().await;
    for n in 0..5 {
        world.remember(&format!("offline {n}"), &["a"]).await;
    }
    pass(&world, Duration::from_hours(1)).await;
    assert!(world.account.core().n_refused() > 5, "it was never tried");
    world.account.core().set_network(true);
    world.restart();
    world.drain().await;
    assert_eq!(rows_alive(&world).len(), 5);
    all_hold_the_same(&[&world]).await;
}

/// R03.
#[tokio::test]
async fn writes_wait_for_as_long_as_the_account_answers_503() {
    let world = one().await;
    let down = world.account.core().inject(Rule::new(Effect::reply(Reply::html(503))));
    for n in 0..5 {
        world.remember(&format!("patient {n}"), &[]).await;
    }
    pass(&world, Duration::from_mins(20)).await;
    assert!(world.account.core().fired(down) > 3);
    assert!(rows_alive(&world).is_empty());
    world.account.core().clear_faults();
    world.drain().await;
    assert_eq!(rows_alive(&world).len(), 5);
    all_hold_the_same(&[&world]).await;
}

/// R04.
#[tokio::test]
async fn a_batch_that_fails_takes_nothing_with_it() {
    let world = one().await;
    world.settle().await;
    world.remember_many(150).await;
    let reply = Effect::reply(Reply::error(500, 7500, "internal error"));
    let failed = world.account.core().inject(Rule::new(reply).on(Product::D1).times(3));
    pass(&world, Duration::from_mins(1)).await;
    assert_eq!(world.account.core().fired(failed), 3);
    world.drain().await;
    assert_eq!(rows_alive(&world).len(), 150);
    all_hold_the_same(&[&world]).await;
}

/// R05.
#[tokio::test]
async fn a_memory_whose_answer_was_lost_has_its_tags_here_there_and_elsewhere() {
    let (first, second) = two().await;
    converge(&[&first, &second]).await;
    let id = first.remember("answer lost", &["a", "b"]).await;
    let lost = Rule::new(Effect::LoseAnswer).on(Product::D1).body("answer lost").times(1);
    let lost = first.account.core().inject(lost);
    first.settle().await;
    assert_eq!(first.account.core().fired(lost), 1);
    assert_eq!(first.rows("SELECT tags FROM memories"), ["a,b"], "it was applied");
    converge(&[&first, &second]).await;
    assert_eq!(second.get(id).await.tags, ["a", "b"]);
    all_hold_the_same(&[&first, &second]).await;
}

/// R12.
#[tokio::test]
async fn a_change_made_while_paused_goes_up_after_it() {
    let (first, second) = two().await;
    let id = first.remember("paused", &["before"]).await;
    converge(&[&first, &second]).await;
    first.store.write(|write| link::set_paused(write, true)).await.unwrap();
    first.retag(id, &["after"]).await;
    let other = first.remember("stored while paused", &[]).await;
    converge(&[&first, &second]).await;
    assert_eq!(second.get(id).await.tags, ["before"]);
    first.store.write(|write| link::set_paused(write, false)).await.unwrap();
    converge(&[&first, &second]).await;
    assert_eq!(second.get(id).await.tags, ["after"]);
    assert_eq!(second.get(other).await.content, "stored while paused");
    all_hold_the_same(&[&first, &second]).await;
}

/// R16.
#[tokio::test]
async fn a_failure_is_judged_by_its_code_and_not_by_its_words() {
    let words = ["413 payload too large", "507 maximum capacity", "400 invalid", "quota 401"];
    for words in words {
        let world = one().await;
        world.remember("goes up in the end", &["a"]).await;
        let reply = Effect::reply(Reply::error(503, 7500, words));
        let failed = world.account.core().inject(Rule::new(reply).times(2));
        pass(&world, Duration::from_mins(1)).await;
        assert_eq!(world.account.core().fired(failed), 2, "{words}");
        world.drain().await;
        assert_eq!(rows_alive(&world), ["goes up in the end"], "{words}");
        all_hold_the_same(&[&world]).await;
    }
}

/// R17.
#[tokio::test]
async fn no_vector_and_no_body_is_left_alone_by_a_database_that_is_away() {
    let world = one().await;
    let large = world.remember(&"large ".repeat(1000), &[]).await;
    world.embed().await;
    world.drain().await;
    assert_eq!(world.vectors().len(), 1);
    let down = Rule::new(Effect::reply(Reply::html(503))).on(Product::D1);
    let down = world.account.core().inject(down);
    world.remember("no row yet", &[]).await;
    world.embed().await;
    world.forget(large).await;
    pass(&world, Duration::from_mins(10)).await;
    assert!(world.account.core().fired(down) > 0);
    assert_eq!(world.vectors().len(), 1, "a vector has no row");
    let key = world.rows("SELECT r2_key FROM memories WHERE deleted_at IS NULL");
    let body = world.account.core().object("bodies", &key[0]).unwrap();
    assert!(body.is_some(), "a living row has no body");
    world.account.core().clear_faults();
    world.drain().await;
    let vectors = world.vectors();
    assert_eq!(
        vectors.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(),
        [MemoryId::of("no row yet").to_string()]
    );
    all_hold_the_same(&[&world]).await;
}

/// R22.
#[tokio::test]
async fn a_token_that_was_revoked_for_a_while_costs_nothing() {
    let world = one().await;
    world.settle().await;
    let core = world.account.core();
    core.set_tokens(Vec::new());
    for n in 0..5 {
        world.remember(&format!("refused {n}"), &[]).await;
    }
    pass(&world, Duration::from_mins(20)).await;
    assert_eq!(world.state(), SyncState::AuthRequired);
    assert!(rows_alive(&world).is_empty());
    let entries = world.entries().await;
    let rows = entries.iter().filter(|entry| entry.product == outbox::Product::D1);
    assert!(rows.clone().count() == 5 && rows.clone().all(|entry| entry.attempts == 0));
    core.set_tokens(vec![Token::user(world.account.token())]);
    world.drain().await;
    assert_eq!(rows_alive(&world).len(), 5);
    all_hold_the_same(&[&world]).await;
}

/// R25.
#[tokio::test]
async fn asking_for_everything_while_nothing_answers_finds_nothing_done() {
    let (first, second) = two().await;
    converge(&[&first, &second]).await;
    let before = second.replicator.handle().progress();
    first.remember("not read yet", &[]).await;
    first.settle().await;
    second.clock.advance(Duration::from_mins(1));
    let down = second.account.core().inject(Rule::new(Effect::reply(Reply::html(503))));
    second.replicator.handle().sync_now();
    second.settle().await;
    assert!(second.account.core().fired(down) > 0);
    let progress = second.replicator.handle().progress();
    assert_eq!(progress.state, SyncState::BackingOff);
    assert!(progress.pull.is_owed, "reading is still owed");
    assert_eq!(progress.pull.cursor, before.pull.cursor);
    assert_eq!(progress.pull.last_success_at, before.pull.last_success_at);
    second.account.core().clear_faults();
    converge(&[&first, &second]).await;
    all_hold_the_same(&[&first, &second]).await;
}

/// R26.
#[tokio::test]
async fn a_change_of_a_memory_that_never_arrived_brings_all_of_it() {
    let world = one().await;
    let id = world.remember("lost on its way", &["a", "b"]).await;
    super::annotate(&world, id, serde_json::json!({"k": "v"})).await;
    world.drain().await;
    // As if it had never been there, while the device believes that it is.
    world.rows("INSERT INTO mt_stage(j) VALUES ('quiet')");
    for table in ["memory_tags", "memories", "mt_entry", "mt_feed", "mt_stage"] {
        world.rows(&format!("DELETE FROM {table}"));
    }
    world.retag(id, &["b", "c"]).await;
    world.drain().await;
    let row = "SELECT content AS a, tags AS b, metadata_json AS c FROM memories";
    assert_eq!(world.rows(row), [r#"lost on its way|b,c|{"k":"v"}"#]);
    all_hold_the_same(&[&world]).await;
}

/// R28.
#[tokio::test]
async fn eight_thousand_memories_arrive_once_though_the_backfill_is_killed_twenty_times() {
    let mut world = World::unlinked(Options::default());
    world.mode = LinkMode::Dual;
    world.activate().await;
    world.remember_many(8000).await;
    while world.embed().await > 0 {}
    world.provision(&Contract::local(crate::space()).unwrap()).await;
    world.link().await.unwrap();
    let mut in_the_middle = 0;
    for kill in 0..20_u64 {
        // Killed while it waits for an answer, of which one half was never going to come.
        if kill % 2 == 0 {
            world.account.core().inject(Rule::new(Effect::Drop).skip(kill % 3).times(1));
        }
        let late = Rule::new(Effect::Delay(Duration::from_hours(9))).skip(kill % 3).times(1);
        let late = world.account.core().inject(late);
        let hung = async {
            while world.account.core().fired(late) == 0 {
                tokio::task::yield_now().await;
            }
        };
        let steps = async {
            for _ in 0..100 {
                world.step().await;
            }
        };
        tokio::select! {
            biased;
            () = hung => {}
            () = steps => {}
        }
        assert_eq!(world.account.core().fired(late), 1, "kill {kill} met no request");
        let counts = world.counts().await;
        in_the_middle += usize::from((1..16_000).contains(&counts.pending));
        world.restart();
    }
    assert!(in_the_middle > 5, "{in_the_middle} kills met a backfill half done");
    world.account.core().clear_faults();
    world.drain().await;
    assert_eq!(world.rows("SELECT count(*) FROM memories"), ["8000"]);
    assert_eq!(world.rows("SELECT max(seq) FROM mt_feed"), ["8000"], "each was written once");
    assert_eq!(world.vectors().len(), 8000);
    all_hold_the_same(&[&world]).await;
    let empty = another(&world, 2).await;
    converge(&[&empty]).await;
    all_hold_the_same(&[&world, &empty]).await;
    assert!(world.clock.now() > NOON);
}
