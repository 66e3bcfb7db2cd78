//! The Python service goes on writing to the same account, and reading from it.

use super::judge::all_hold_the_same;
use super::python::Python;
use super::{annotate, converge, is_alive, metadata, rows_alive, two};
use crate::World;
use memtide::clock::Clock as _;
use memtide::emulator::faults::{Effect, Reply, Rule};
use memtide::emulator::product::Product;
use memtide::model::id::MemoryId;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use std::time::Duration;

/// R13, the Python service's.
#[tokio::test]
async fn the_services_retags_between_two_looks_all_arrive() {
    let (first, second) = two().await;
    let ids = first.remember_many(130).await;
    converge(&[&first, &second]).await;
    let python = Python(&first);
    for id in &ids {
        python.retag(*id, &["theirs", "retagged"]);
    }
    converge(&[&first, &second]).await;
    for world in [&first, &second] {
        for id in &ids {
            assert_eq!(world.get(*id).await.tags, ["retagged", "theirs"]);
        }
    }
    let stale = "SELECT count(*) FROM memories WHERE tags <> 'retagged,theirs'";
    assert_eq!(first.rows(stale), ["0"], "the column that the service leaves stale is mended");
    all_hold_the_same(&[&first, &second]).await;
}

/// R15.
#[tokio::test]
async fn six_hundred_memories_of_one_instant_all_arrive() {
    let (first, second) = two().await;
    let python = Python(&first);
    let at = python.now() - 86_400;
    for n in 0..600 {
        python.store_as_of(&format!("imported {n}"), &[], at);
    }
    converge(&[&first, &second]).await;
    for world in [&first, &second] {
        assert_eq!(crate::devices::held(world).await.len(), 600);
    }
    assert_eq!(rows_alive(&first).len(), 600);
    all_hold_the_same(&[&first, &second]).await;
}

/// The service looks for changes by `updated_at`, with its own clock.
#[tokio::test]
async fn the_services_hourly_check_sees_what_was_edited_offline_days_ago() {
    let (first, second) = two().await;
    let id = first.remember("edited offline", &[]).await;
    converge(&[&first, &second]).await;
    first.account.core().set_network(false);
    first.retag(id, &["offline"]).await;
    let hours = Duration::from_hours(72);
    first.clock.advance(hours);
    let python = Python(&first);
    let last_check = python.now() - 60;
    first.account.core().set_network(true);
    assert!(python.changed_since(last_check).is_empty());
    converge(&[&first, &second]).await;
    assert_eq!(python.changed_since(last_check), ["edited offline"]);
    all_hold_the_same(&[&first, &second]).await;
}

#[tokio::test]
async fn a_deletion_here_is_one_there_and_one_there_is_one_here() {
    let (first, second) = two().await;
    let python = Python(&first);
    let ours = first.remember("deleted here", &["a"]).await;
    let theirs = python.store("deleted there", &["b"]);
    converge(&[&first, &second]).await;
    second.forget(ours).await;
    python.forget(theirs);
    converge(&[&first, &second]).await;
    assert!(rows_alive(&first).is_empty());
    for world in [&first, &second] {
        assert!(!is_alive(world, ours).await && !is_alive(world, theirs).await);
    }
    // Its purge of old tombstones changes nothing.
    first.clock.advance(Duration::from_hours(24 * 31));
    python.purge(python.now() - 86_400 * 30);
    assert_eq!(first.rows("SELECT count(*) FROM memories"), ["0"]);
    converge(&[&first, &second]).await;
    assert_eq!(first.rows("SELECT count(*) FROM memories"), ["0"], "nor is it undone");
    all_hold_the_same(&[&first, &second]).await;
}

/// A search of the service rewrites the metadata with its counters, and leaves out what it doesn't know.
#[tokio::test]
async fn a_search_of_the_service_costs_no_metadata_and_makes_no_version() {
    let (first, second) = two().await;
    let id = first.remember("found often", &["a"]).await;
    annotate(&first, id, json!({"owner": "ann"})).await;
    converge(&[&first, &second]).await;
    let python = Python(&first);
    let versions = move |world: &World| {
        let store = world.store.clone();
        async move {
            let read =
                move |read: &memtide::store::Read<'_>| memtide::store::memory::versions(read, &id);
            store.read(read).await.unwrap().len()
        }
    };
    let before = versions(&second).await;
    for n in 1..4 {
        python.annotate(id, &json!({"owner": "ann", "access_count": n, "last_accessed": 1.5e9}));
        converge(&[&first, &second]).await;
    }
    assert_eq!(versions(&second).await, before);
    assert_eq!(metadata(&second, id).await, r#"{"owner":"ann"}"#);
    all_hold_the_same(&[&first, &second]).await;
}

/// One thing that somebody does; `false` if there was nothing to do it to.
async fn act(rng: &mut ChaCha8Rng, worlds: [&World; 2], ids: &mut Vec<MemoryId>, n: usize) -> bool {
    let python = Python(worlds[0]);
    let world = worlds[rng.random_range(0..2)];
    let id = ids[rng.random_range(0..ids.len())];
    let tag = format!("tag {}", rng.random_range(0..5));
    let value = json!({format!("key {}", rng.random_range(0..4)): n});
    let lives_here = is_alive(world, id).await;
    match rng.random_range(0..10) {
        0 => ids.push(world.remember(&format!("ours {n}"), &[&tag]).await),
        1 => ids.push(python.store(&format!("theirs {n}"), &[&tag, "x"])),
        2 | 3 if lives_here => world.retag(id, &[&tag, "ours"]).await,
        4 if lives_here => annotate(world, id, value).await,
        5 if lives_here => world.forget(id).await,
        6 => python.annotate(id, &value),
        7 | 8 => python.retag(id, &[&tag, "theirs"]),
        9 => python.forget(id),
        _ => return false,
    }
    true
}

/// R41.
#[tokio::test]
async fn two_hundred_mixed_changes_through_faults_end_with_the_same_for_both() {
    for seed in 0..3 {
        let (first, second) = two().await;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut ids = vec![first.remember("the first", &[]).await];
        let core = first.account.core();
        let faults = [
            Effect::Drop,
            Effect::LoseAnswer,
            Effect::reply(Reply::html(502)),
            Effect::CutAnswer { keep: 30 },
            Effect::reply(Reply::error(400, 7500, "D1 DB is overloaded.")),
        ];
        let rule = |effect| Rule::new(effect).on(Product::D1).chance(0.04);
        let rules = faults.map(|effect| core.inject(rule(effect)));
        let mut n_done = 0;
        while n_done < 200 {
            let worlds = [&first, &second];
            n_done += usize::from(act(&mut rng, worlds, &mut ids, n_done).await);
            if rng.random_bool(0.3) {
                worlds[rng.random_range(0..2)].step().await;
            }
            first.clock.advance(Duration::from_secs(rng.random_range(0..8)));
        }
        let n_faults: u64 = rules.into_iter().map(|rule| core.fired(rule)).sum();
        assert!(n_faults >= 5, "seed {seed}: {n_faults} faults");
        core.clear_faults();
        first.clock.advance(Duration::from_hours(1));
        converge(&[&first, &second]).await;
        converge(&[&first, &second]).await;
        assert!(rows_alive(&first).len() > 10, "seed {seed}");
        assert!(first.clock.now() > crate::NOON);
        all_hold_the_same(&[&first, &second]).await;
    }
}

/// R40.
#[tokio::test]
async fn without_triggers_mixed_changes_end_with_the_same_for_both() {
    let (first, second) = two().await;
    crate::devices::drop_triggers(&first);
    let mut rng = ChaCha8Rng::seed_from_u64(40);
    let mut ids = vec![first.remember("the first", &[]).await];
    let mut n_done = 0;
    while n_done < 100 {
        let worlds = [&first, &second];
        n_done += usize::from(act(&mut rng, worlds, &mut ids, n_done).await);
        if rng.random_bool(0.3) {
            worlds[rng.random_range(0..2)].step().await;
        }
        first.clock.advance(Duration::from_secs(rng.random_range(0..8)));
    }
    for _ in 0..3 {
        first.clock.advance(Duration::from_hours(2));
        converge(&[&first, &second]).await;
    }
    assert!(first.replicator.handle().progress().pull.is_polling);
    assert!(rows_alive(&first).iter().any(|text| text.starts_with("theirs")));
    all_hold_the_same(&[&first, &second]).await;
}
