//! Other writers: a second device, the Python service, and a database that was put back.

use super::World;
use memtide::clock::Clock as _;
use memtide::emulator::product::Product;
use memtide::replicate::progress::SyncState;
use memtide::store::link;
use memtide::store::outbox::Counts;
use std::sync::Arc;
use std::time::Duration;

async fn second_device(first: &World) -> World {
    let second = World::device(Arc::clone(&first.account), first.clock.clone(), 2);
    second.activate().await;
    second.link().await.unwrap();
    second
}

#[tokio::test]
async fn a_memory_that_another_device_holds_differently_is_a_visible_conflict() {
    let first = World::linked().await;
    let second = second_device(&first).await;
    first.remember("shared", &["first"]).await;
    first.settle().await;
    second.remember("shared", &["second"]).await;
    second.remember("own", &[]).await;
    second.settle().await;
    let counts = second.counts().await;
    assert_eq!((counts.conflicts, counts.parked), (1, 0));
    let mut rows = first.rows("SELECT content AS a, tags AS b FROM memories");
    rows.sort_unstable();
    assert_eq!(rows, ["own|", "shared|first"], "nothing is overwritten");
    let entries = second.entries().await;
    let conflict = entries.iter().find(|entry| entry.state == "conflict").unwrap();
    assert!(conflict.error.as_ref().unwrap().contains("another device"));
    let n_requests = first.n_requests();
    second.settle().await;
    assert_eq!(first.n_requests(), n_requests, "a conflict isn't tried again by itself");
}

#[tokio::test]
async fn a_row_of_the_python_service_without_a_state_is_taken_over() {
    let world = World::linked().await;
    let id = world.remember("both know it", &["ours"]).await;
    world.rows(&format!(
        "INSERT INTO memories(content_hash, content, created_at, created_at_iso)
         VALUES ('{id}', 'both know it', 1, 'x')"
    ));
    assert_eq!(world.rows("SELECT count(*) FROM mt_feed"), ["1"], "the trigger has seen it");
    world.drain().await;
    assert_eq!(world.rows("SELECT tags FROM memories"), ["ours"]);
    assert_eq!(world.counts().await.pending, 0);
}

#[tokio::test]
async fn what_the_python_service_changed_is_not_overwritten() {
    let changes = ["memory_type = 'theirs'", "metadata_json = '{\"k\":1}'", "deleted_at = 5"];
    for change in changes {
        let world = World::linked().await;
        let id = world.remember("touched by both", &["one"]).await;
        world.settle().await;
        world.rows(&format!("UPDATE memories SET {change}"));
        world.retag(id, &["two"]).await;
        world.settle().await;
        assert_eq!(world.counts().await.conflicts, 1, "{change}");
        assert_eq!(world.rows("SELECT tags FROM memories"), ["one"], "{change}");
    }
}

#[tokio::test]
async fn without_triggers_the_first_push_after_a_start_overwrites_nothing_either() {
    let mut world = World::linked().await;
    super::devices::drop_triggers(&world);
    let id = world.remember("touched by both", &["one"]).await;
    world.settle().await;
    assert!(world.get(id).await.synced);
    world.restart();
    world.clock.advance(Duration::from_mins(1));
    world.rows(&format!(
        "UPDATE memories SET memory_type = 'theirs', updated_at = {}",
        world.clock.now().0 / 1_000_000
    ));
    world.retag(id, &["two"]).await;
    world.settle().await;
    assert_eq!(world.counts().await.conflicts, 1);
    assert_eq!(world.rows("SELECT memory_type AS a, tags AS b FROM memories"), ["theirs|one"]);
}

#[tokio::test]
async fn a_row_that_was_purged_is_written_again() {
    let world = World::linked().await;
    let id = world.remember("purged", &["one"]).await;
    world.settle().await;
    world.rows("DELETE FROM memory_tags");
    world.rows("DELETE FROM memories");
    world.retag(id, &["two"]).await;
    world.settle().await;
    assert_eq!(world.rows("SELECT content AS a, tags AS b FROM memories"), ["purged|two"]);
    assert_eq!(world.counts().await.pending_by_product[1], 0);
}

#[tokio::test]
async fn linking_again_writes_nothing_twice() {
    let world = World::linked().await;
    world.remember_many(250).await;
    world.embed().await;
    world.settle().await;
    let written = world.account.core().rows_written_today();
    let feed = world.rows("SELECT max(seq) FROM mt_feed");
    world.link().await.unwrap();
    assert_eq!(world.counts().await.pending, 500);
    world.settle().await;
    assert_eq!(world.counts().await, Counts::default());
    assert_eq!(world.rows("SELECT max(seq) FROM mt_feed"), feed);
    // The stage and the fetched list are all that is written: no memory.
    let more = world.account.core().rows_written_today() - written;
    assert!(more < 20, "{more} rows");
}

#[tokio::test]
async fn a_database_that_was_put_back_gets_everything_again() {
    let world = World::linked().await;
    let before = world.remember("before", &[]).await;
    world.settle().await;
    let backup = world.account.core().d1_copy("memories").unwrap();
    let lost = world.remember("lost by the restore", &["kept"]).await;
    world.retag(before, &["later"]).await;
    world.settle().await;
    world.account.core().d1_become("memories", &backup).unwrap();
    let after = world.remember("after", &[]).await;
    world.settle().await;
    assert_eq!(world.state(), SyncState::Idle);
    for id in [before, lost, after] {
        assert!(world.get(id).await.synced);
    }
    let mut rows = world.rows("SELECT content AS a, tags AS b FROM memories");
    rows.sort_unstable();
    assert_eq!(rows, ["after|", "before|later", "lost by the restore|kept"]);
    assert_eq!(world.counts().await.pending_by_product[1], 0);
}

#[tokio::test]
async fn a_database_that_was_emptied_stops_everything() {
    let world = World::linked().await;
    world.rows("UPDATE mt_meta SET v = 'another' WHERE k = 'database'");
    world.remember("x", &[]).await;
    world.settle().await;
    assert_eq!(world.state(), SyncState::Misconfigured);
    assert_eq!(world.account.core().n_requests(Product::D1), 1);
    assert_eq!(world.counts().await.pending, 1);
    assert_eq!(world.rows("SELECT count(*) FROM memories"), ["0"], "nothing is mixed into it");
}

#[tokio::test]
async fn an_answer_for_a_link_that_is_gone_changes_nothing() {
    let world = World::linked().await;
    world.remember("x", &[]).await;
    let relink = async {
        world.clock.advance(Duration::from_secs(1));
        let old = world.store.read(link::get).await.unwrap().unwrap();
        let linked_at = world.clock.now();
        let other = link::Link { linked_at, account: "another".to_owned(), ..old };
        world.store.write(move |write| link::link(write, &other)).await.unwrap();
    };
    world.step_around(Product::D1, relink).await;
    assert_eq!(world.counts().await.pending_by_product[1], 1, "still owed to the other account");
    assert_eq!(world.store.read(link::anchor).await.unwrap(), None);
    let remembered = world.store.read(|read| link::remembered(read, "budget")).await.unwrap();
    assert_eq!(remembered, None);
}
