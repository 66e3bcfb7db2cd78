//! What arrives, in which form, in which order and at which price.

use super::{INLINE, World};
use memtide::clock::Clock as _;
use memtide::emulator::faults::{Effect, Rule};
use memtide::emulator::options::Options;
use memtide::emulator::product::Product;
use memtide::model::draft::{Author, Patch};
use memtide::model::id::MemoryId;
use memtide::store::outbox::Counts;
use serde_json::json;

#[tokio::test]
async fn a_thousand_memories_with_three_tags_each_take_few_requests() {
    let world = World::linked().await;
    let rows_before = world.account.core().rows_written_today();
    let ids = world.remember_many(1000).await;
    assert_eq!(world.embed().await, 1000);
    world.settle().await;
    assert_eq!(world.counts().await, Counts::default());
    let n_requests = world.n_requests();
    assert!(n_requests <= 60, "{n_requests} requests");
    assert_eq!(world.rows("SELECT count(*) FROM memories"), ["1000"]);
    assert_eq!(world.rows("SELECT count(*) FROM memory_tags"), ["3000"]);
    assert_eq!(world.vectors().len(), 1000);
    assert!(world.get(ids[0]).await.synced);
    let progress = world.replicator.handle().progress();
    assert_eq!(progress.state.as_str(), "idle");
    let rows = world.account.core().rows_written_today() - rows_before;
    assert_eq!(progress.d1_rows_written_today, rows);
    assert!(progress.d1.last_success_at.is_some());
}

#[tokio::test]
async fn what_was_there_before_linking_goes_up_too() {
    let world = World::unlinked(Options::default());
    world.activate().await;
    let kept = world.remember("kept", &["a"]).await;
    let gone = world.remember("gone", &[]).await;
    world.forget(gone).await;
    world.provision(&super::Contract::local(super::space()).unwrap()).await;
    world.link().await.unwrap();
    assert!(!world.get(kept).await.synced);
    world.embed().await;
    world.settle().await;
    assert_eq!(world.counts().await, Counts::default());
    assert_eq!(world.rows("SELECT content FROM memories"), ["kept"]);
    assert_eq!(world.rows("SELECT count(*) FROM mt_entry"), ["2"], "the tombstone is there");
    assert_eq!(world.vectors().len(), 1);
}

#[tokio::test]
async fn the_python_service_sees_edits_retags_deletes_and_successors() {
    let world = World::linked().await;
    let first = world.remember("first", &["a", "b"]).await;
    let second = world.remember("second", &["b"]).await;
    let third = world.remember("third", &[]).await;
    world.embed().await;
    world.settle().await;
    world.retag(first, &["b", "c"]).await;
    let meta =
        Patch::check(None, None, Some("decision"), Some(&json!({"k": [1]})), Author::default(), 9);
    world.patch(first, meta.unwrap()).await;
    world.forget(second).await;
    let new_text =
        Patch::check(Some("third, better".to_owned()), None, None, None, Author::default(), 99);
    let successor = world.patch(third, new_text.unwrap()).await;
    world.embed().await;
    world.settle().await;
    assert_eq!(world.counts().await, Counts::default());

    let row = |id: MemoryId| {
        world.rows(&format!(
            "SELECT memory_type AS a, tags AS b, metadata_json AS c, vector_id = content_hash AS d,
               deleted_at IS NULL AS e, content AS f FROM memories WHERE content_hash = '{id}'"
        ))
    };
    assert_eq!(row(first), [r#"decision|b,c|{"k":[1]}|1|1|first"#]);
    assert_eq!(row(second), ["note|b|{}|1|0|second"]);
    let replaced = json!({"superseded_by": successor.to_string()});
    assert_eq!(row(third), [format!("note||{replaced}|1|1|third")]);
    assert_eq!(row(successor), ["note||{}|1|1|third, better"]);
    let joined = format!(
        "SELECT t.name FROM memories m JOIN memory_tags x ON x.memory_id = m.id
         JOIN tags t ON t.id = x.tag_id WHERE m.content_hash = '{first}' ORDER BY t.name"
    );
    assert_eq!(world.rows(&joined), ["b", "c"]);

    let vectors = world.vectors();
    let mut ids: Vec<&str> = vectors.iter().map(|vector| vector.id.as_str()).collect();
    let mut expected = [first.to_string(), successor.to_string()];
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    let of_first = vectors.iter().find(|vector| vector.id == first.to_string()).unwrap();
    assert_eq!(of_first.metadata["tags"], "b,c");
    assert_eq!(of_first.metadata["memory_type"], "decision");
    assert_eq!(of_first.metadata["content_hash"], first.to_string());
}

#[tokio::test]
async fn a_deleted_memory_that_is_stored_again_is_there_again() {
    let world = World::linked().await;
    let id = world.remember("phoenix", &["old"]).await;
    world.embed().await;
    world.settle().await;
    world.forget(id).await;
    world.settle().await;
    assert!(world.vectors().is_empty());
    world.remember("Phoenix", &["new"]).await;
    world.embed().await;
    world.settle().await;
    assert_eq!(world.counts().await, Counts::default());
    let row = "SELECT content AS a, tags AS b, deleted_at AS c FROM memories";
    assert_eq!(world.rows(row), ["Phoenix|new|NULL"]);
    assert_eq!(world.vectors().len(), 1);
}

#[tokio::test]
async fn a_long_text_goes_to_the_bucket_before_its_row() {
    let world = World::linked().await;
    let long = "Long Text. ".repeat(INLINE / 10);
    let id = world.remember(&long, &["long"]).await;
    world.embed().await;
    world.settle().await;
    assert_eq!(world.counts().await, Counts::default());
    let key = world.account.core().object_keys("bodies").unwrap().remove(0);
    assert!(
        key.starts_with(&format!("content/{id}-"))
            && key.split_once('.').is_some_and(|(_, end)| end == "txt"),
        "{key}"
    );
    let body = world.account.core().object("bodies", &key).unwrap().unwrap();
    assert_eq!(body, long.as_bytes());
    let row = "SELECT content AS a, r2_key AS b, content_size AS c FROM memories";
    assert_eq!(world.rows(row), [format!("[R2 Content: {key}]|{key}|{}", long.len())]);
    let order: Vec<Product> = world.account.core().requests().iter().map(|r| r.product).collect();
    assert_eq!(order, [Product::R2, Product::D1, Product::Vectorize]);

    // Another version of the text gets another key; a tag changes the row only.
    world.remember(&long.to_uppercase(), &[]).await;
    world.settle().await;
    let keys = world.account.core().object_keys("bodies").unwrap();
    assert_eq!(keys.len(), 2);
    let newer = keys.iter().find(|one| **one != key).unwrap();
    assert_eq!(world.rows("SELECT r2_key FROM memories"), [newer.as_str()]);
    world.retag(id, &["other"]).await;
    world.settle().await;
    assert_eq!(world.account.core().n_requests(Product::R2), 2);
    assert_eq!(
        world.rows("SELECT r2_key AS a, tags AS b FROM memories"),
        [format!("{newer}|other")]
    );
}

#[tokio::test]
async fn a_body_that_does_not_arrive_keeps_its_row_back() {
    let world = World::linked().await;
    let fault = world.account.core().inject(Rule::new(Effect::Drop).on(Product::R2).times(3));
    world.remember(&"x".repeat(INLINE + 1), &[]).await;
    world.remember("short", &[]).await;
    world.settle().await;
    assert_eq!(world.rows("SELECT content FROM memories"), ["short"]);
    world.drain().await;
    assert_eq!(world.account.core().fired(fault), 3);
    assert_eq!(world.rows("SELECT count(*) FROM memories WHERE r2_key IS NOT NULL"), ["1"]);
}

#[tokio::test]
async fn a_change_during_a_send_keeps_the_duty() {
    let world = World::linked().await;
    let id = world.remember("before", &["one"]).await;
    let step = world.step_around(Product::D1, world.retag(id, &["two"])).await;
    assert_eq!(step.tally.settled, 1, "the row was taken");
    assert_eq!(world.rows("SELECT tags FROM memories"), ["one"]);
    let owed = world.entries().await;
    assert_eq!(owed.iter().filter(|entry| entry.product.as_str() == "d1").count(), 1);
    assert!(!world.get(id).await.synced);
    world.settle().await;
    assert_eq!(world.rows("SELECT tags FROM memories"), ["two"]);
    assert_eq!(world.account.core().n_requests(Product::D1), 2, "the position was kept");
    assert!(world.get(id).await.synced);
}

#[tokio::test]
async fn a_body_that_was_replaced_while_it_went_up_is_not_the_rows() {
    let world = World::linked().await;
    world.remember(&format!("short{}", " ".repeat(INLINE)), &[]).await;
    let shorten = async {
        world.remember("short", &[]).await;
    };
    world.step_around(Product::R2, shorten).await;
    assert_eq!(world.account.core().object_keys("bodies").unwrap().len(), 1, "it did arrive");
    world.settle().await;
    assert_eq!(world.rows("SELECT content AS a, r2_key AS b FROM memories"), ["short|NULL"]);
}

#[tokio::test]
async fn a_vector_goes_up_when_it_exists_and_not_before() {
    let world = World::linked().await;
    world.remember("slow to embed", &[]).await;
    world.settle().await;
    let counts = world.counts().await;
    assert_eq!((counts.pending, counts.waiting_for_embedding), (0, 1));
    assert_eq!(world.state().as_str(), "idle");
    world.embed().await;
    world.settle().await;
    assert_eq!(world.counts().await, Counts::default());
    assert_eq!(world.vectors().len(), 1);
}

#[tokio::test]
async fn vectors_of_another_model_never_meet_those_of_the_index() {
    let world = World::linked().await;
    world.remember("first", &[]).await;
    world.embed().await;
    world.settle().await;
    let gone = world.remember("gone", &[]).await;
    world.embed().await;
    world.settle().await;
    let other = super::Space::new("other", "1", "mean", 256, super::DIMS);
    let space = other.clone();
    world.store.write(move |w| super::vector::activate(w, &space, super::DIMS)).await.unwrap();
    world.remember("second", &[]).await;
    world.forget(gone).await;
    let pending = world.store.read(|read| super::vector::pending(read, 9, 999)).await.unwrap();
    let embedded: Vec<super::Embedded> = pending
        .into_iter()
        .map(|one| {
            let vector = super::UnitVector::normalise(vec![1.0; super::DIMS]).unwrap();
            super::Embedded { key: one.key, body: one.body, outcome: Ok(vec![vector]) }
        })
        .collect();
    world.store.write(move |w| super::vector::settle(w, &other, &embedded)).await.unwrap();
    let step = world.settle().await;
    let progress = world.replicator.handle().progress();
    assert_eq!(progress.vectorize.state.as_str(), "misconfigured");
    assert!(progress.action.unwrap().1.contains("memtide model use"));
    assert!(step.next_at.unwrap() > world.clock.now());
    assert_eq!(world.rows("SELECT content FROM memories WHERE deleted_at IS NULL").len(), 2);
    assert_eq!(world.vectors().len(), 1, "one went, and nothing of the other space came");
    assert_eq!(world.counts().await.parked, 0);
}
