//! Two wrote, and the clocks may be wrong.

use super::judge::all_hold_the_same;
use super::{annotate, another, converge, metadata, rows_alive, two};
use crate::{NOON, World};
use memtide::clock::{Clock as _, ManualClock, Micros};
use memtide::model::draft::{Author, Patch};
use memtide::model::id::MemoryId;
use memtide::model::space::UnitVector;
use memtide::store::link::LinkMode;
use memtide::store::memory;
use memtide::store::vector::{self, Embedded};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// Another device on the account of `first`, with a clock of its own.
async fn with_own_clock(first: &World, at: Micros) -> World {
    let mut world = World::device(Arc::clone(&first.account), ManualClock::at(at), 2);
    world.mode = LinkMode::Dual;
    world.activate().await;
    world.link().await.unwrap();
    world
}

/// R09.
#[tokio::test]
async fn setting_one_key_of_the_metadata_keeps_the_others() {
    let (first, second) = two().await;
    let id = first.remember("annotated", &["a"]).await;
    annotate(&first, id, json!({"owner": "ann", "links": [1, 2]})).await;
    converge(&[&first, &second]).await;
    annotate(&second, id, json!({"status": "done"})).await;
    converge(&[&second, &first]).await;
    let all = r#"{"links":[1,2],"owner":"ann","status":"done"}"#;
    assert_eq!(first.rows("SELECT metadata_json FROM memories"), [all]);
    for world in [&first, &second] {
        assert_eq!(metadata(world, id).await, all);
    }
    annotate(&first, id, json!({"owner": null})).await;
    converge(&[&first, &second]).await;
    assert_eq!(metadata(&second, id).await, r#"{"links":[1,2],"status":"done"}"#);
    all_hold_the_same(&[&first, &second]).await;
}

/// R13.
#[tokio::test]
async fn a_hundred_and_thirty_retags_between_two_looks_all_arrive() {
    let (first, second) = two().await;
    let ids = first.remember_many(130).await;
    converge(&[&first, &second]).await;
    for id in &ids {
        first.retag(*id, &["retagged"]).await;
    }
    converge(&[&first, &second]).await;
    for id in &ids {
        assert_eq!(second.get(*id).await.tags, ["retagged"]);
    }
    all_hold_the_same(&[&first, &second]).await;
}

/// R14.
#[tokio::test]
async fn what_a_device_with_a_slow_clock_writes_is_seen() {
    let (first, _) = two().await;
    let slow = with_own_clock(&first, Micros(NOON.0 - 600_000_000)).await;
    let id = first.remember("both have it", &["first"]).await;
    converge(&[&first, &slow]).await;
    // By its clock it writes before the memory was made.
    slow.retag(id, &["slow"]).await;
    let own = slow.remember("from the slow one", &[]).await;
    converge(&[&slow, &first]).await;
    assert!(slow.clock.now() < first.clock.now());
    assert_eq!(first.get(id).await.tags, ["slow"]);
    assert_eq!(first.get(own).await.content, "from the slow one");
    all_hold_the_same(&[&first, &slow]).await;
}

/// Gives every memory that waits for one the same vector.
async fn embed_alike(world: &World) {
    let pending = world.store.read(|read| vector::pending(read, 100, 1 << 20)).await.unwrap();
    let embedded: Vec<Embedded> = pending
        .into_iter()
        .map(|one| {
            let outcome = Ok(vec![UnitVector::normalise(vec![1.0; crate::DIMS]).unwrap()]);
            Embedded { key: one.key, body: one.body, outcome }
        })
        .collect();
    let job = move |write: &mut memtide::store::Write<'_>| {
        vector::settle(write, &crate::space(), &embedded)
    };
    world.store.write(job).await.unwrap();
}

/// R23.
#[tokio::test]
async fn memories_that_are_nearly_the_same_are_two() {
    let (first, second) = two().await;
    first.remember("the tests pass on the branch", &[]).await;
    second.remember("the tests pass on the branch.", &[]).await;
    for _ in 0..2 {
        for world in [&first, &second] {
            embed_alike(world).await;
        }
        converge(&[&first, &second]).await;
    }
    let vectors = first.vectors();
    assert_eq!(vectors.len(), 2);
    assert_eq!(vectors[0].values, vectors[1].values, "the search can't tell them apart");
    assert_eq!(rows_alive(&first).len(), 2);
    all_hold_the_same(&[&first, &second]).await;
}

/// R24.
#[tokio::test]
async fn texts_that_differ_in_case_are_versions_of_which_none_is_lost() {
    let (first, second) = two().await;
    let id = first.remember("Release on Friday", &["a"]).await;
    second.clock.advance(Duration::from_secs(1));
    assert_eq!(second.remember("release on FRIDAY", &["b"]).await, id);
    converge(&[&first, &second]).await;
    for world in [&first, &second] {
        let memory = world.get(id).await;
        assert_eq!((memory.content.as_str(), memory.tags.len()), ("release on FRIDAY", 2));
    }
    let versions = first.store.read(move |read| memory::versions(read, &id)).await.unwrap();
    assert!(versions.iter().any(|version| version.content == "Release on Friday"));
    let versions = second.store.read(move |read| memory::versions(read, &id)).await.unwrap();
    let texts: Vec<&str> = versions.iter().map(|version| version.content.as_str()).collect();
    assert!(texts.contains(&"Release on Friday"), "{texts:?}");
    assert_eq!(rows_alive(&first), ["release on FRIDAY"]);
    all_hold_the_same(&[&first, &second]).await;
}

/// R27.
#[tokio::test]
async fn an_older_edit_that_arrives_later_does_not_win() {
    let (first, second) = two().await;
    let id = first.remember("edited twice", &["start"]).await;
    converge(&[&first, &second]).await;
    let typed = |kind| Patch::check(None, None, Some(kind), None, Author::default(), 1).unwrap();
    // The first device edits, and is away; the second edits an hour later, and is there.
    first.patch(id, typed("older")).await;
    first.clock.advance(Duration::from_hours(1));
    second.patch(id, typed("newer")).await;
    converge(&[&second]).await;
    first.clock.advance(Duration::from_hours(1));
    converge(&[&first, &second]).await;
    for world in [&first, &second] {
        assert_eq!(world.get(id).await.memory_type, "newer");
    }
    assert_eq!(first.rows("SELECT memory_type FROM memories"), ["newer"]);
    let versions = first.store.read(move |read| memory::versions(read, &id)).await.unwrap();
    assert!(versions.iter().any(|version| version.memory_type == "older"), "it is kept");
    all_hold_the_same(&[&first, &second]).await;
}

/// Edits that a device makes in one go.
async fn retype(world: &World, ids: &[MemoryId], kind: &str) {
    let patch = Patch::check(None, None, Some(kind), None, Author::default(), 1).unwrap();
    let ids = ids.to_vec();
    let job = move |write: &mut memtide::store::Write<'_>| {
        ids.iter().try_for_each(|id| memory::update(write, id, &patch).map(drop))
    };
    world.store.write(job).await.unwrap();
}

/// R37.
#[tokio::test]
async fn a_month_offline_with_five_thousand_edits_each_ends_in_agreement_by_few_requests() {
    let (first, second) = two().await;
    let ids = first.remember_many(2000).await;
    converge(&[&first, &second]).await;
    first.account.core().set_network(false);
    // 1,250 memories edited four times by each; 500 of them by both.
    for round in 0..4 {
        retype(&first, &ids[..1250], &format!("first {round}")).await;
        first.clock.advance(Duration::from_hours(90));
        retype(&second, &ids[750..], &format!("second {round}")).await;
        first.clock.advance(Duration::from_hours(90));
        first.settle().await;
        second.settle().await;
    }
    first.account.core().set_network(true);
    first.account.core().clear_requests();
    first.clock.advance(Duration::from_mins(15));
    converge(&[&first, &second]).await;
    for world in [&first, &second] {
        for (n, id) in ids.iter().enumerate().step_by(50) {
            let expected = if n < 750 { "first 3" } else { "second 3" };
            assert_eq!(world.get(*id).await.memory_type, expected, "memory {n}");
        }
    }
    let lost = ids[1000];
    for world in [&first, &second] {
        let versions = world.store.read(move |read| memory::versions(read, &lost)).await.unwrap();
        let kinds: Vec<&str> = versions.iter().map(|one| one.memory_type.as_str()).collect();
        assert!(kinds.contains(&"first 3"), "what lost is kept: {kinds:?}");
    }
    let n_requests = first.n_requests();
    assert!(n_requests < 100, "{n_requests} requests");
    all_hold_the_same(&[&first, &second]).await;
}

/// R36.
#[tokio::test]
async fn an_edit_after_a_clock_was_wrong_beats_the_edit_from_the_future() {
    let (first, second) = two().await;
    let strayed = with_own_clock(&first, NOON).await;
    let id = strayed.remember("dated", &["start"]).await;
    // 2040-01-01.
    strayed.clock.set(Micros(2_208_988_800_000_000));
    strayed.retag(id, &["from the future"]).await;
    strayed.clock.set(first.clock.now());
    strayed.retag(id, &["after it"]).await;
    converge(&[&strayed, &first, &second]).await;
    for world in [&strayed, &first, &second] {
        assert_eq!(world.get(id).await.tags, ["after it"]);
    }
    // And so does an edit of another device that has seen it.
    second.retag(id, &["elsewhere"]).await;
    converge(&[&second, &strayed, &first]).await;
    assert_eq!(strayed.get(id).await.tags, ["elsewhere"]);
    assert_eq!(first.rows("SELECT tags FROM memories"), ["elsewhere"]);
    let ahead = first.replicator.handle().progress().pull.ahead;
    assert!(ahead.is_some_and(|ahead| ahead > Duration::from_hours(24)), "it is told: {ahead:?}");
    all_hold_the_same(&[&strayed, &first, &second]).await;
}

/// Three that edit the same memories at once end with the same, in whatever order they meet.
#[tokio::test]
async fn three_devices_that_edit_the_same_end_with_the_same_in_any_order() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let (first, second) = two().await;
        let third = another(&first, 3).await;
        let all = [&first, &second, &third];
        let ids = first.remember_many(20).await;
        converge(&all).await;
        for (n, world) in all.iter().enumerate() {
            for (at, id) in ids.iter().enumerate() {
                match (at + n) % 4 {
                    0 => world.forget(*id).await,
                    1 => world.retag(*id, &["by", &format!("device {n}")]).await,
                    2 => annotate(world, *id, json!({"by": n, format!("own {n}"): at})).await,
                    _ => {}
                }
            }
        }
        let worlds = order.map(|at| all[at]);
        converge(&worlds).await;
        all_hold_the_same(&worlds).await;
    }
}
