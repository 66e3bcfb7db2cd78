//! Devices that share an account and read what the others, and the Python service, wrote.

use super::World;
use memtide::clock::Clock as _;
use memtide::emulator::faults::{Effect, Rule};
use memtide::emulator::product::Product;
use memtide::model::draft::{Author, Patch};
use memtide::model::id::MemoryId;
use memtide::replicate::progress::SyncState;
use memtide::store::link::LinkMode;
use memtide::store::{memory, pull};
use std::sync::Arc;
use std::time::Duration;

/// Two devices in both directions.
pub(super) async fn two() -> (World, World) {
    let mut first = World::linked().await;
    first.mode = LinkMode::Dual;
    first.link().await.unwrap();
    let second = another(&first, 2).await;
    (first, second)
}

pub(super) async fn another(first: &World, seed: u64) -> World {
    let mut world = World::device(Arc::clone(&first.account), first.clock.clone(), seed);
    world.mode = LinkMode::Dual;
    world.activate().await;
    world.link().await.unwrap();
    world
}

/// What a database that refuses triggers is like.
pub(super) fn drop_triggers(world: &World) {
    for n in 0..=5 {
        world.rows(&format!("DROP TRIGGER mt_t{n}"));
    }
}

/// Everybody reads and sends until nothing moves.
pub(super) async fn converge(worlds: &[&World]) {
    for _ in 0..3 {
        for world in worlds {
            world.clock.advance(Duration::from_secs(11));
            world.replicator.handle().sync_now();
            world.settle().await;
        }
    }
}

/// What a device holds, as text: id, content, tags, metadata, life.
pub(super) async fn held(world: &World) -> Vec<String> {
    let records = world
        .store
        .read(|read| memtide::store::transfer::page(read, 0, 10_000, usize::MAX))
        .await
        .unwrap()
        .0;
    let mut lines: Vec<String> = records
        .into_iter()
        .map(|one| {
            let state = memtide::model::state_text::write(&one.state);
            let content = one.content.filter(|_| one.state.is_alive());
            format!("{} {} {}", one.id, content.unwrap_or_default(), state)
        })
        .collect();
    lines.sort_unstable();
    lines
}

fn python_row(id: &MemoryId, content: &str, at: i64) -> String {
    format!(
        "INSERT INTO memories(content_hash, content, memory_type, created_at, created_at_iso, updated_at,
         metadata_json, vector_id, tags) VALUES ('{id}', '{content}', 'note', {at}, 'x', {at}, '{{}}', '{id}', '')"
    )
}

fn python_tag(id: &MemoryId, tag: &str) -> [String; 2] {
    [
        format!("INSERT OR IGNORE INTO tags(name) VALUES ('{tag}')"),
        format!(
            "INSERT OR IGNORE INTO memory_tags SELECT m.id, t.id FROM memories m, tags t
             WHERE m.content_hash = '{id}' AND t.name = '{tag}'"
        ),
    ]
}

#[tokio::test]
async fn what_one_device_stores_another_has() {
    let (first, second) = two().await;
    let id = first.remember("shared", &["a", "b"]).await;
    let large = first.remember(&"long ".repeat(1000), &[]).await;
    converge(&[&first, &second]).await;
    let found = second.get(id).await;
    assert_eq!((found.content.as_str(), found.tags.len()), ("shared", 2));
    assert!(found.synced && !found.embedded, "it is embedded here, in its time");
    assert_eq!(second.get(large).await.content.len(), 5000, "out of the bucket");
    assert_eq!(held(&first).await, held(&second).await);
    assert_eq!(second.counts().await.pending, 0, "nothing is owed for it");
    assert_eq!(second.embed().await, 2);
}

#[tokio::test]
async fn a_deletion_reaches_everybody_and_beats_an_edit_at_the_same_time() {
    let (first, second) = two().await;
    let id = first.remember("doomed", &["a"]).await;
    converge(&[&first, &second]).await;
    first.forget(id).await;
    second.retag(id, &["edited"]).await;
    converge(&[&second, &first]).await;
    for world in [&first, &second] {
        assert!(world.get(id).await.deleted_at.is_some());
        assert_eq!(world.counts().await.pending, 0);
    }
    assert_eq!(first.rows("SELECT deleted_at IS NULL FROM memories"), ["0"]);
    let versions = second.store.read(move |read| memory::versions(read, &id)).await.unwrap();
    assert!(versions.iter().any(|version| version.tags == ["edited"]), "the edit is kept");

    second.remember("doomed", &["again"]).await;
    converge(&[&second, &first]).await;
    assert_eq!(first.get(id).await.tags, ["again"], "an explicit store brings it back");
    first.forget(id).await;
    converge(&[&first, &second]).await;
    let restore =
        move |write: &mut memtide::store::Write<'_>| memory::restore(write, &id, None, "test");
    second.store.write(restore).await.unwrap();
    converge(&[&second, &first]).await;
    assert_eq!(first.get(id).await.content, "doomed", "and so does restoring it");
}

#[tokio::test]
async fn edits_of_different_parts_are_joined_and_the_loser_is_kept() {
    let (first, second) = two().await;
    let id = first.remember("both edit", &["a"]).await;
    converge(&[&first, &second]).await;
    let typed = |kind| Patch::check(None, None, Some(kind), None, Author::default(), 1).unwrap();
    first.retag(id, &["a", "from first"]).await;
    first.patch(id, typed("first")).await;
    first.clock.advance(Duration::from_millis(5));
    second.patch(id, typed("second")).await;
    converge(&[&first, &second]).await;
    for world in [&first, &second] {
        let memory = world.get(id).await;
        assert_eq!((memory.tags.len(), memory.memory_type.as_str()), (2, "second"));
    }
    assert_eq!(held(&first).await, held(&second).await);
    let versions = first.store.read(move |read| memory::versions(read, &id)).await.unwrap();
    assert!(versions.iter().any(|version| version.memory_type == "first"));
    assert_eq!(first.rows("SELECT tags FROM memories"), ["a,from first"]);
}

#[tokio::test]
async fn what_the_python_service_stores_arrives_with_its_late_tags() {
    let (first, second) = two().await;
    let id = MemoryId::of("from python");
    first.rows(&python_row(&id, "From Python", 1_699_999_000));
    first.replicator.handle().sync_now();
    first.settle().await;
    assert!(first.store.read(move |read| memory::get(read, &id)).await.is_err(), "it must settle");
    converge(&[&first, &second]).await;
    assert_eq!(second.get(id).await.content, "From Python");
    for sql in python_tag(&id, "late") {
        first.rows(&sql);
    }
    converge(&[&first, &second]).await;
    let memory = second.get(id).await;
    assert_eq!(
        (memory.tags, memory.created_at.0),
        (vec!["late".to_owned()], 1_699_999_000_000_000)
    );
    assert_eq!(held(&first).await, held(&second).await);
    assert_eq!(first.rows("SELECT count(*) FROM mt_entry"), ["1"]);
    assert_eq!(first.counts().await.pending_by_product[1], 0);
}

#[tokio::test]
async fn what_the_python_service_overwrites_by_half_is_healed() {
    let (first, second) = two().await;
    let id = first.remember("kept whole", &["a"]).await;
    let metadata = serde_json::json!({"mine": 1, "ours": "x"});
    let patch = Patch::check(None, None, None, Some(&metadata), Author::default(), 1).unwrap();
    first.patch(id, patch).await;
    converge(&[&first, &second]).await;
    first.rows(
        "UPDATE memories SET metadata_json = '{\"ours\":\"y\",\"access_count\":3}', updated_at = 1700000100",
    );
    converge(&[&first, &second]).await;
    for world in [&first, &second] {
        let metadata = serde_json::Value::from(world.get(id).await.metadata);
        assert_eq!(metadata.to_string(), r#"{"mine":1,"ours":"y"}"#);
    }
    assert_eq!(first.rows("SELECT metadata_json FROM memories"), [r#"{"mine":1,"ours":"y"}"#]);
    assert_eq!(held(&first).await, held(&second).await);
}

#[tokio::test]
async fn the_python_service_deletes_and_an_old_copy_of_its_revives_nothing() {
    let (first, second) = two().await;
    let id = first.remember("deleted there", &["a"]).await;
    converge(&[&first, &second]).await;
    first.rows("UPDATE memories SET deleted_at = 1700000050");
    converge(&[&first, &second]).await;
    assert!(second.get(id).await.deleted_at.is_some());
    // A hybrid client purges the tombstone and uploads its old copy.
    first.rows("DELETE FROM memories");
    first.rows(&python_row(&id, "deleted there", 1_699_000_000));
    converge(&[&first, &second]).await;
    for world in [&first, &second] {
        assert!(world.get(id).await.deleted_at.is_some());
    }
    assert_eq!(first.rows("SELECT deleted_at IS NULL FROM memories"), ["0"], "healed");
    // Stored anew there, it lives.
    first.rows("DELETE FROM memories");
    let later = first.clock.now().0 / 1_000_000;
    first.rows(&python_row(&id, "deleted there", later));
    converge(&[&first, &second]).await;
    assert!(second.get(id).await.deleted_at.is_none());
    assert_eq!(second.get(id).await.tags, Vec::<String>::new());
}

#[tokio::test]
async fn a_row_that_is_physically_gone_is_no_deletion() {
    let (first, second) = two().await;
    let id = first.remember("purged there", &["a"]).await;
    converge(&[&first, &second]).await;
    first.rows("DELETE FROM memory_tags");
    first.rows("DELETE FROM memories");
    converge(&[&first, &second]).await;
    assert!(second.get(id).await.deleted_at.is_none());
    assert_eq!(first.rows("SELECT content AS a, tags AS b FROM memories"), ["purged there|a"]);
}

async fn delete_all(world: &World, ids: &[MemoryId]) {
    let ids = ids.to_vec();
    let delete = move |write: &mut memtide::store::Write<'_>| {
        ids.iter().try_for_each(|id| memory::delete(write, id, "test"))
    };
    world.store.write(delete).await.unwrap();
}

#[tokio::test]
async fn a_page_that_would_delete_many_memories_asks_first() {
    let (first, second) = two().await;
    let ids = first.remember_many(120).await;
    converge(&[&first, &second]).await;
    delete_all(&first, &ids[..60]).await;
    converge(&[&first, &second]).await;
    assert!(second.get(ids[0]).await.deleted_at.is_none(), "nothing is deleted unasked");
    let progress = second.replicator.handle().progress();
    assert_eq!(progress.pull.held, Some((60, 120)));
    let (what, next_step) = progress.action.unwrap();
    assert!(what.contains("60 of 120") && next_step.contains("--accept-deletions"), "{what}");
    let own = second.remember("still sent", &[]).await;
    second.settle().await;
    assert!(second.get(own).await.synced, "pushing goes on");
    second.replicator.handle().accept_deletions();
    second.settle().await;
    assert!(second.get(ids[0]).await.deleted_at.is_some());
    assert_eq!(second.replicator.handle().progress().pull.held, None);
    assert_eq!(second.state(), SyncState::Idle);
}

#[tokio::test]
async fn deletions_of_several_pages_count_together_also_over_a_restart() {
    let (first, mut second) = two().await;
    let ids = first.remember_many(2_400).await;
    converge(&[&first, &second]).await;
    // Three hundred deletions are no fifth. The rest of their page is edits.
    delete_all(&first, &ids[..300]).await;
    first.settle().await;
    let edited = ids[300..2_050].to_vec();
    let edit = move |write: &mut memtide::store::Write<'_>| {
        let tags = ["edited".to_owned()];
        let patch = Patch::check(None, Some(&tags), None, None, Author::default(), 1).unwrap();
        edited.iter().try_for_each(|id| memory::update(write, id, &patch).map(|_| ()))
    };
    first.store.write(edit).await.unwrap();
    first.settle().await;
    delete_all(&first, &ids[2_050..2_350]).await;
    first.settle().await;
    let second_page = Rule::new(Effect::Drop).on(Product::D1).body("SELECT seq AS at").skip(1);
    first.account.core().inject(second_page);
    second.clock.advance(Duration::from_secs(11));
    second.replicator.handle().sync_now();
    second.settle().await;
    assert!(second.get(ids[0]).await.deleted_at.is_some(), "the first page was taken");
    assert!(second.get(ids[2_050]).await.deleted_at.is_none());
    second.restart();
    first.account.core().clear_faults();
    converge(&[&second]).await;
    assert!(second.get(ids[2_050]).await.deleted_at.is_none(), "nothing more without asking");
    assert_eq!(second.replicator.handle().progress().pull.held, Some((600, 2_400)));
    second.replicator.handle().accept_deletions();
    second.settle().await;
    assert!(second.get(ids[2_050]).await.deleted_at.is_some());
}

#[tokio::test]
async fn what_can_not_be_taken_is_set_aside_and_the_feed_goes_on() {
    let (first, second) = two().await;
    let bad = [
        ("metadata_json = '{'", "no JSON"),
        ("created_at = 'soon'", "created_at"),
        ("created_at = 1e300", "no instant"),
        ("metadata_json = '[1]'", "array"),
        ("memory_type = char(0)", "NUL"),
        ("metadata_json = x'00'", "another type"),
        ("r2_key = '../../../tokens/verify'", "none of a text"),
        ("r2_key = 'content/gone.txt'", "missing in the bucket"),
        ("content = x'ff'", "its text"),
    ];
    for (n, (change, _)) in bad.iter().enumerate() {
        let id = MemoryId::of(&format!("bad {n}"));
        first.rows(&python_row(&id, &format!("bad {n}"), 1_699_999_000));
        first.rows(&format!("UPDATE memories SET {change} WHERE content_hash = '{id}'"));
    }
    first.rows("INSERT INTO mt_feed(id) VALUES ('no id')");
    first.rows("INSERT INTO mt_entry(id, state, dg) VALUES ('no id', '{', 1)");
    let good = first.remember("good", &[]).await;
    converge(&[&first, &second]).await;
    assert_eq!(second.get(good).await.content, "good");
    let (found, total) = second.store.read(|read| pull::quarantined(read, 100)).await.unwrap();
    for (n, (change, reason)) in bad.iter().enumerate() {
        let key = MemoryId::of(&format!("bad {n}")).to_string();
        let one = found.iter().find(|one| one.key == key);
        let why = one.map(|one| one.reason.as_str());
        assert!(why.is_some_and(|why| why.contains(reason)), "{change}: {why:?}");
    }
    assert!(found.iter().any(|one| one.key == "no id"));
    assert_eq!(total, 10);
    // Mended, it comes.
    let id = MemoryId::of("bad 0");
    first.rows(&format!("UPDATE memories SET metadata_json = '{{}}' WHERE content_hash = '{id}'"));
    converge(&[&first, &second]).await;
    assert_eq!(second.get(id).await.content, "bad 0");
    let (_, total) = second.store.read(|read| pull::quarantined(read, 100)).await.unwrap();
    assert_eq!(total, 9);
}

#[tokio::test]
async fn two_devices_that_meet_full_end_with_all_of_both() {
    let (first, second) = two().await;
    first.remember_many(700).await;
    second.remember("only there", &["x"]).await;
    let shared = second.remember_many(3).await;
    second.retag(shared[0], &["mine"]).await;
    converge(&[&first, &second]).await;
    assert_eq!(held(&first).await, held(&second).await);
    assert_eq!(held(&first).await.len(), 701);
    assert_eq!(first.rows("SELECT count(*) FROM memories"), ["701"]);
}

#[tokio::test]
async fn a_page_whose_answer_is_lost_is_read_again() {
    let (first, second) = two().await;
    first.remember_many(30).await;
    converge(&[&first]).await;
    let lost = Rule::new(Effect::LoseAnswer).on(Product::D1).times(2);
    let lost = first.account.core().inject(lost);
    for _ in 0..4 {
        second.settle().await;
        second.clock.advance(Duration::from_mins(6));
    }
    assert_eq!(first.account.core().fired(lost), 2);
    assert_eq!(held(&first).await, held(&second).await);
}

#[tokio::test]
async fn a_device_that_only_pushes_takes_nothing() {
    let (first, _) = two().await;
    let third = World::device(Arc::clone(&first.account), first.clock.clone(), 3);
    third.activate().await;
    third.link().await.unwrap();
    first.remember("not for the third", &[]).await;
    converge(&[&first, &third]).await;
    assert!(held(&third).await.is_empty());
    assert_eq!(third.replicator.handle().progress().pull, Default::default());
}

#[tokio::test]
async fn without_triggers_the_rows_are_looked_for() {
    let (first, second) = two().await;
    drop_triggers(&first);
    let ours = first.remember("ours", &["a"]).await;
    converge(&[&first, &second]).await;
    assert!(second.replicator.handle().progress().pull.is_polling);
    let theirs = MemoryId::of("theirs");
    let now = first.clock.now().0 / 1_000_000;
    first.rows(&python_row(&theirs, "theirs", now));
    converge(&[&first, &second]).await;
    assert_eq!(second.get(theirs).await.content, "theirs");
    first.clock.advance(Duration::from_hours(2));
    let now = first.clock.now().0 / 1_000_000;
    first.rows(&format!(
        "UPDATE memories SET memory_type = 'decision', updated_at = {now} WHERE content_hash = '{ours}'"
    ));
    second.retag(ours, &["b"]).await;
    second.settle().await;
    assert_eq!(
        first.rows(&format!("SELECT memory_type FROM memories WHERE content_hash = '{ours}'")),
        ["decision"],
        "what was not read yet is not overwritten"
    );
    converge(&[&second, &first]).await;
    let both = first.get(ours).await;
    assert_eq!((both.memory_type.as_str(), both.tags), ("decision", vec!["b".to_owned()]));
    let now = first.clock.now().0 / 1_000_000;
    first.rows(&format!("UPDATE memories SET deleted_at = {now} WHERE content_hash = '{theirs}'"));
    converge(&[&first, &second]).await;
    assert!(second.get(theirs).await.deleted_at.is_some());
    assert_eq!(held(&first).await, held(&second).await);
}

#[tokio::test]
async fn deletions_that_are_held_back_do_not_come_in_by_a_lost_push_either() {
    let (first, second) = two().await;
    let ids = first.remember_many(120).await;
    converge(&[&first, &second]).await;
    delete_all(&first, &ids[..60]).await;
    first.settle().await;
    // Linked again, the second device owes all rows, and loses sixty of them.
    second.link().await.unwrap();
    converge(&[&second]).await;
    for id in ids.iter().take(60) {
        assert!(second.get(*id).await.deleted_at.is_none(), "nothing is deleted unasked");
    }
    assert_eq!(second.replicator.handle().progress().pull.held, Some((60, 120)));
    second.replicator.handle().accept_deletions();
    converge(&[&second, &first]).await;
    assert_eq!(held(&first).await, held(&second).await);
    assert!(second.get(ids[0]).await.deleted_at.is_some());
}

#[tokio::test]
async fn without_triggers_a_deletion_is_noticed_by_a_device_that_was_off() {
    let (mut first, mut second) = two().await;
    drop_triggers(&first);
    let id = first.remember("deleted there", &["a"]).await;
    converge(&[&first, &second]).await;
    first.clock.advance(Duration::from_hours(24));
    let now = first.clock.now().0 / 1_000_000;
    first.rows(&format!("UPDATE memories SET deleted_at = {now}"));
    first.clock.advance(Duration::from_hours(48));
    first.restart();
    second.restart();
    converge(&[&first, &second]).await;
    for world in [&first, &second] {
        assert!(world.get(id).await.deleted_at.is_some());
        assert_eq!(world.counts().await.pending, 0);
    }
    assert_eq!(held(&first).await, held(&second).await);
}

#[tokio::test]
async fn without_triggers_a_database_that_was_put_back_is_noticed() {
    let (first, second) = two().await;
    drop_triggers(&first);
    let id = first.remember("before", &["a"]).await;
    converge(&[&first, &second]).await;
    let backup = first.account.core().d1_copy("memories").unwrap();
    first.retag(id, &["later"]).await;
    second.remember("lost by the restore", &[]).await;
    converge(&[&first, &second]).await;
    assert_eq!(
        first.account.core().d1_rows("memories", "SELECT 1 FROM memories").unwrap().len(),
        2
    );
    first.account.core().d1_become("memories", &backup).unwrap();
    // Another device takes the positions anew.
    let third = another(&first, 3).await;
    let theirs = third.remember_many(5).await;
    converge(&[&third]).await;
    converge(&[&first, &second, &third]).await;
    for world in [&first, &second, &third] {
        assert_eq!(world.get(id).await.tags, ["later"]);
        assert_eq!(world.get(theirs[0]).await.tags.len(), 3);
        assert_eq!(world.counts().await.pending_by_product[1], 0);
    }
    assert_eq!(held(&first).await.len(), 7);
    assert_eq!(held(&first).await, held(&second).await);
    assert_eq!(held(&first).await, held(&third).await);
}
