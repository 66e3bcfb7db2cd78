//! From the device alone to push only, to both ways, and back: each step can be undone.

use super::account::{Kept, assert_here, beside, fill, import, kept, plan, service_tables};
use crate::devices::held;
use crate::{LinkMode, World};
use memtide::emulator::options::Options;
use memtide::model::id::MemoryId;
use memtide::store::{link, stats};
use std::time::Duration;

fn some(range: std::ops::Range<usize>) -> Vec<Kept> {
    range.map(kept).collect()
}

async fn n_here(world: &World) -> (u64, u64) {
    let stats = world.store.read(stats::stats).await.unwrap();
    (stats.memories, stats.tombstones)
}

async fn go(world: &World, mode: LinkMode) {
    world.store.write(move |write| link::set_mode(write, mode)).await.unwrap();
    world.replicator.handle().reload();
    world.clock.advance(Duration::from_secs(11));
}

/// Steps until nothing moves, over the times that things need to settle.
async fn rest(world: &World) {
    for _ in 0..4 {
        world.replicator.handle().sync_now();
        world.settle().await;
        world.clock.advance(Duration::from_secs(11));
    }
}

fn delete_there(world: &World, id: MemoryId) {
    let now = memtide::clock::Clock::now(&world.clock).0 / 1_000_000;
    world.rows(&format!("UPDATE memories SET deleted_at = {now}.0 WHERE content_hash = '{id}'"));
}

#[tokio::test]
async fn a_device_goes_from_local_to_shadow_to_dual_and_back() {
    let world = beside(Options::default(), false);
    fill(&world, &some(0..30)).await;
    import(&world, &some(10..40)).await;
    let own = world.remember("written here", &["mine"]).await;

    // Shadow: all of it goes there, nothing comes, whatever happens there.
    world.link().await.unwrap();
    delete_there(&world, kept(12).id());
    rest(&world).await;
    assert_eq!(n_here(&world).await, (31, 0), "nothing was taken");
    let texts = "SELECT count(*) FROM memories WHERE deleted_at IS NULL";
    assert_eq!(world.rows(texts), ["40"], "29 that were there, 10 of the import, one of its own");
    assert_eq!(world.counts().await.conflicts, 1, "the one that is deleted there");
    delete_there(&world, kept(13).id());
    world.forget(kept(14).id()).await;
    world.retag(own, &["mine", "again"]).await;
    rest(&world).await;
    assert_eq!(n_here(&world).await, (30, 1), "a deletion there is none here");
    assert_eq!(world.rows(texts), ["38"]);

    // Dual: both sides are merged, and nothing else.
    go(&world, LinkMode::Dual).await;
    rest(&world).await;
    assert_eq!(n_here(&world).await, (38, 3), "with those of the account and its deletions");
    assert_eq!(world.rows(texts), ["38"]);
    assert_eq!((world.counts().await.pending, world.counts().await.conflicts), (0, 0));
    assert_eq!(plan(&world).await.same, 41);
    let mut all = some(0..40);
    all.retain(|one| ![12, 13, 14].contains(&one.number()));
    assert_here(&world, &all).await;

    // Back to shadow: what comes later stays there.
    go(&world, LinkMode::Shadow).await;
    fill(&world, &some(40..45)).await;
    delete_there(&world, kept(20).id());
    rest(&world).await;
    assert_eq!(n_here(&world).await, (38, 3));
    go(&world, LinkMode::Dual).await;
    rest(&world).await;
    assert_eq!(n_here(&world).await, (42, 4), "and is read when it may be");

    // Unlinked, both sides are whole; linked again, both are the same.
    let (here, there) = (held(&world).await, service_tables(&world));
    world.store.write(link::unlink).await.unwrap();
    rest(&world).await;
    assert_eq!((held(&world).await, service_tables(&world)), (here.clone(), there.clone()));
    let mut world = world;
    world.mode = LinkMode::Dual;
    world.link().await.unwrap();
    rest(&world).await;
    assert_eq!((held(&world).await, service_tables(&world)), (here, there));
    assert_eq!(world.counts().await.pending, 0);
    assert!(world.n_requests() < 12, "{}", world.n_requests());
}

#[tokio::test]
async fn shadow_writes_over_nothing_that_is_newer_there() {
    let world = beside(Options::default(), false);
    let mut there = some(0..12);
    for (n, one) in there.iter_mut().enumerate() {
        one.created_at += 1000.0;
        match n % 3 {
            0 => one.tags.push("only there".to_owned()),
            1 => one.metadata = Some(r#"{"only": "there"}"#.to_owned()),
            _ => one.kind = Some("decision"),
        }
    }
    fill(&world, &there).await;
    import(&world, &some(0..12)).await;
    let before = service_tables(&world);
    world.link().await.unwrap();
    rest(&world).await;
    assert_eq!(service_tables(&world), before);
    assert_eq!(world.counts().await.conflicts, 12);
    // The same for a change that is made here later.
    world.retag(kept(0).id(), &["changed here"]).await;
    rest(&world).await;
    assert_eq!(service_tables(&world), before);
    assert_eq!(world.counts().await.conflicts, 12);
    // Who reads brings both together.
    go(&world, LinkMode::Dual).await;
    rest(&world).await;
    assert_eq!(world.counts().await.conflicts, 0);
    assert_eq!(world.get(kept(1).id()).await.metadata["only"], "there");
    assert_eq!(world.get(kept(2).id()).await.memory_type, "decision");
    let tags = world.get(kept(0).id()).await.tags;
    assert!(tags.contains(&"changed here".to_owned()), "{tags:?}");
    assert_eq!(plan(&world).await.same, 12);
}
