//! What becomes of the bodies of deleted and replaced texts.

use super::{INLINE, World};
use memtide::model::id::MemoryId;
use memtide::replicate::replicator::Replicator;
use memtide::service::retention;
use memtide::shutdown::{self, Phase};
use std::sync::Arc;
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

impl World {
    /// The same device, which keeps the bodies of deleted texts for thirty days.
    async fn sweeping() -> Self {
        let mut world = Self::linked().await;
        world.sweep_from_now_on();
        world
    }

    fn sweep_from_now_on(&mut self) {
        let connect = super::connect(&self.clock, &self.token);
        let (clock, hint) = (Arc::new(self.clock.clone()), Arc::clone(&self.hint));
        let replicator = Replicator::new(self.store.clone(), connect, clock, 5, hint);
        self.replicator = replicator.keeping_bodies_for(Some(DAY * 30));
    }

    fn keys(&self) -> Vec<String> {
        self.account.core().object_keys("bodies").unwrap()
    }

    async fn days(&self, n: u32) {
        for _ in 0..n {
            self.clock.advance(DAY);
            self.settle().await;
        }
    }
}

fn long(word: &str) -> String {
    format!("{word} ").repeat(INLINE)
}

async fn stored(world: &World, word: &str) -> MemoryId {
    let id = world.remember(&long(word), &[]).await;
    world.embed().await;
    world.settle().await;
    id
}

#[tokio::test]
async fn the_body_of_a_deleted_memory_goes_after_thirty_days_and_others_stay() {
    let world = World::sweeping().await;
    let gone = stored(&world, "gone").await;
    stored(&world, "kept").await;
    world.forget(gone).await;
    world.days(30).await;
    assert_eq!(world.keys().len(), 2);
    world.days(2).await;
    let keys = world.keys();
    assert!(keys.len() == 1 && !keys[0].contains(&gone.to_string()), "{keys:?}");
    assert_eq!(world.rows("SELECT count(*) FROM mt_entry"), ["2"], "the tombstone stays");
}

#[tokio::test]
async fn a_memory_that_comes_back_keeps_its_new_body() {
    let world = World::sweeping().await;
    let id = stored(&world, "back").await;
    let old = world.keys();
    world.forget(id).await;
    world.days(1).await;
    assert_eq!(stored(&world, "back").await, id);
    let both = world.keys();
    assert_eq!(both.len(), 2, "a key that may be swept is never used again");
    world.days(35).await;
    let keys = world.keys();
    assert!(keys.len() == 1 && keys[0] != old[0], "{keys:?}");
    let named = world.rows("SELECT r2_key FROM memories WHERE deleted_at IS NULL");
    assert_eq!(named, keys);
}

#[tokio::test]
async fn a_replaced_text_goes_and_what_nobody_has_a_state_of_stays() {
    let world = World::sweeping().await;
    let id = stored(&world, "text").await;
    let old = world.keys();
    world.clock.advance(DAY);
    // Another version of the same memory.
    assert_eq!(world.remember(&long("Text"), &[]).await, id);
    world.embed().await;
    world.settle().await;
    let bucket = memtide::remote::r2::R2::new(world.remote(), "bodies");
    let pythons = format!("content/{}.txt", MemoryId::of("another program's"));
    let early = format!("content/{}-000000000001000000000001.txt", MemoryId::of("row to come"));
    for key in [&pythons, &early] {
        bucket.put(key, bytes::Bytes::from("x")).await.unwrap();
    }
    world.days(35).await;
    let keys = world.keys();
    assert!(!keys.contains(&old[0]) && keys.contains(&pythons) && keys.contains(&early));
    assert_eq!(keys.len(), 3, "{keys:?}");
}

#[tokio::test]
async fn nothing_is_swept_where_nothing_is_dropped_or_the_database_is_another() {
    let world = World::linked().await;
    let id = stored(&world, "for ever").await;
    world.forget(id).await;
    world.days(40).await;
    assert_eq!(world.keys().len(), 1, "texts are kept for ever");

    let world = World::sweeping().await;
    let id = stored(&world, "elsewhere").await;
    world.forget(id).await;
    world.settle().await;
    world.rows("UPDATE mt_meta SET v = 'uuid-9' WHERE k = 'database'");
    world.days(40).await;
    assert_eq!(world.keys().len(), 1);
}

#[tokio::test]
async fn texts_of_long_deleted_memories_are_dropped_once_a_day() {
    let world = World::linked().await;
    let ids = world.remember_many(450).await;
    for id in &ids[..430] {
        world.forget(*id).await;
    }
    let (stopper, shutdown) = shutdown::channel();
    let clock = Arc::new(world.clock.clone());
    let task = tokio::spawn(retention::run(world.store.clone(), clock, DAY * 30, shutdown));
    world.clock.advance(DAY * 29);
    tokio::task::yield_now().await;
    assert_ne!(world.get(ids[0]).await.content, "", "it can still be restored");
    world.clock.advance(DAY * 2);
    while !world.get(ids[429]).await.content.is_empty() {
        tokio::task::yield_now().await;
        world.clock.advance(DAY);
    }
    assert_eq!(world.get(ids[0]).await.content, "");
    assert_ne!(world.get(ids[430]).await.content, "");
    stopper.advance(Phase::Draining);
    task.await.unwrap();
    world.settle().await;
    assert_eq!(world.rows("SELECT count(*) FROM mt_entry"), ["450"]);
}
