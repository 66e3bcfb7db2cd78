//! Databases that were put back, copied, replaced, or were there before.

use super::judge::all_hold_the_same;
use super::python::Python;
use super::{another, converge, is_alive, rows_alive, two};
use crate::{NOON, World, connect};
use memtide::clock::Clock as _;
use memtide::emulator::options::Options;
use memtide::emulator::product::Product;
use memtide::model::stamp::DeviceId;
use memtide::remote::contract::Contract;
use memtide::replicate::progress::SyncState;
use memtide::replicate::replicator::Replicator;
use memtide::store::link::{self, LinkMode};
use memtide::store::{Store, StoreOptions};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Copies the closed store of `world` into a folder, and opens it again where it was.
fn back_up(world: &mut World, folder: &Path) {
    world.store.close();
    std::fs::copy(world.store.path(), folder.join("memtide.db")).unwrap();
    reopen(world, "here");
}

fn reopen(world: &mut World, machine: &str) {
    let options = StoreOptions {
        path: world.dir.path().join("memtide.db"),
        machine: machine.to_owned(),
        seed: 77,
        n_readers: 2,
        vfs: None,
        keep_versions: 3,
        mirror_bytes: 1 << 24,
    };
    world.store = Store::open(&options, Arc::new(world.clock.clone())).unwrap();
    let connect = connect(&world.clock, &world.token);
    let clock = Arc::new(world.clock.clone());
    let hint = Arc::clone(&world.hint);
    world.replicator = Replicator::new(world.store.clone(), connect, clock, 5, hint);
}

/// Puts the backup in place of the store.
fn restore(world: &mut World, folder: &Path, machine: &str) {
    world.store.close();
    std::fs::copy(folder.join("memtide.db"), world.store.path()).unwrap();
    for end in ["memtide.db-wal", "memtide.db-shm"] {
        let left = world.dir.path().join(end);
        assert!(!left.exists(), "the store was not closed");
    }
    reopen(world, machine);
}

async fn device_of(world: &World) -> DeviceId {
    world.store.write(|write| Ok(write.device())).await.unwrap()
}

/// R29.
#[tokio::test]
async fn a_device_that_joins_a_full_account_keeps_all_of_both_though_it_is_killed() {
    let mut world = World::unlinked(Options::default());
    world.mode = LinkMode::Dual;
    world.provision(&Contract::local(crate::space()).unwrap()).await;
    let python = Python(&world);
    let at = python.now();
    // Before: overlaps, other cases of the letters, and tombstones both older and newer than what is here.
    for n in 0..600 {
        let text = format!("Shared {n}");
        let id = python.store_as_of(&text, &["theirs"], at - 7200);
        if n < 40 {
            let when = if n < 20 { at - 3600 } else { at + 3600 };
            let delete = "UPDATE memories SET deleted_at =";
            world.rows(&format!("{delete} {when} WHERE content_hash = '{id}'"));
        }
    }
    for n in 0..600 {
        world.remember(&format!("shared {}", n + 10), &["ours"]).await;
    }
    world.activate().await;
    world.clock.advance(Duration::from_hours(2));
    world.link().await.unwrap();
    for kill in 0..20_u64 {
        use memtide::emulator::faults::{Effect, Rule};
        let late = Rule::new(Effect::Delay(Duration::from_hours(9))).skip(kill % 3).times(1);
        let late = world.account.core().inject(late);
        let hung = async {
            while world.account.core().fired(late) == 0 {
                tokio::task::yield_now().await;
            }
        };
        let steps = async {
            for _ in 0..100 {
                world.replicator.handle().sync_now();
                world.step().await;
            }
        };
        tokio::select! {
            biased;
            () = hung => {}
            () = steps => {}
        }
        assert_eq!(world.account.core().fired(late), 1, "kill {kill} met no request");
        world.restart();
    }
    let second = another(&world, 2).await;
    converge(&[&world, &second]).await;
    // 0 to 19 were deleted there before our own were stored: 10 to 19 live again.
    // 20 to 39 were deleted there after that.
    let alive = rows_alive(&world);
    assert_eq!(alive.len(), 610 - 10 - 20, "{alive:?}");
    assert_eq!(rows_alive(&world).iter().filter(|text| text.starts_with('s')).count(), 580);
    let tags = "SELECT DISTINCT tags FROM memories WHERE deleted_at IS NULL ORDER BY tags";
    assert_eq!(world.rows(tags), ["ours", "ours,theirs"]);
    all_hold_the_same(&[&world, &second]).await;
}

/// R30.
#[tokio::test]
async fn a_device_that_was_restored_from_a_backup_gets_back_what_it_had_sent() {
    let (mut first, second) = two().await;
    let folder = tempfile::tempdir().unwrap();
    let edited = first.remember("edited since", &["old"]).await;
    let deleted = first.remember("deleted since", &[]).await;
    converge(&[&first, &second]).await;
    back_up(&mut first, folder.path());
    first.clock.advance(Duration::from_hours(24));
    first.retag(edited, &["new"]).await;
    first.forget(deleted).await;
    let since = first.remember("stored since", &["x"]).await;
    converge(&[&first, &second]).await;
    restore(&mut first, folder.path(), "here");
    assert_eq!(first.get(edited).await.tags, ["old"], "it is yesterday's");
    first.clock.advance(Duration::from_secs(1));
    let mut own = Vec::new();
    for n in 0..10 {
        own.push(first.remember(&format!("after the restore {n}"), &[]).await);
    }
    super::annotate(&first, edited, serde_json::json!({"k": 1})).await;
    converge(&[&first, &second]).await;
    for world in [&first, &second] {
        assert_eq!(world.get(edited).await.tags, ["new"]);
        assert!(!is_alive(world, deleted).await && is_alive(world, since).await);
        for id in &own {
            assert!(is_alive(world, *id).await);
        }
    }
    assert_eq!(rows_alive(&first).len(), 12);
    all_hold_the_same(&[&first, &second]).await;
}

/// R31.
#[tokio::test]
async fn a_copied_database_is_another_device() {
    let (mut first, second) = two().await;
    let folder = tempfile::tempdir().unwrap();
    let shared = first.remember("before the copy", &["a"]).await;
    first.remember("owed by both copies", &[]).await;
    converge(&[&second]).await;
    back_up(&mut first, folder.path());
    let mut clone = World::device(Arc::clone(&first.account), first.clock.clone(), 9);
    clone.mode = LinkMode::Dual;
    restore(&mut clone, folder.path(), "elsewhere");
    assert_ne!(device_of(&clone).await, device_of(&first).await);
    // At one instant: only the device tells their stamps apart.
    first.retag(shared, &["first"]).await;
    clone.retag(shared, &["clone"]).await;
    let ids =
        [first.remember("of the first", &[]).await, clone.remember("of the clone", &[]).await];
    converge(&[&first, &clone, &second]).await;
    for world in [&first, &clone, &second] {
        assert!(is_alive(world, ids[0]).await && is_alive(world, ids[1]).await);
    }
    assert_eq!(rows_alive(&first).len(), 4);
    all_hold_the_same(&[&first, &clone, &second]).await;
}

/// R32.
#[tokio::test]
async fn a_database_that_was_put_back_an_hour_while_three_write_gets_everything_again() {
    let (first, second) = two().await;
    let third = another(&first, 3).await;
    let all = [&first, &second, &third];
    let ids = first.remember_many(30).await;
    converge(&all).await;
    let backup = first.account.core().d1_copy("memories").unwrap();
    for (n, world) in all.iter().enumerate() {
        world.remember(&format!("within the hour {n}"), &["x"]).await;
        world.remember(&format!("large {n} {}", "x".repeat(crate::INLINE)), &[]).await;
        world.retag(ids[n], &["within the hour"]).await;
        world.forget(ids[10 + n]).await;
    }
    first.clock.advance(Duration::from_hours(1));
    converge(&all).await;
    let before = crate::devices::held(&first).await;
    // Written, and not sent yet, when the database is put back.
    for (n, world) in all.iter().enumerate() {
        world.retag(ids[20 + n], &["unsent"]).await;
    }
    first.account.core().d1_become("memories", &backup).unwrap();
    Python(&first).store("written to the older state", &[]);
    converge(&all).await;
    converge(&all).await;
    assert_eq!(crate::devices::held(&first).await.len(), before.len() + 1);
    for (n, world) in all.iter().enumerate() {
        assert_eq!(world.get(ids[n]).await.tags, ["within the hour"]);
        assert_eq!(world.get(ids[20 + n]).await.tags, ["unsent"]);
        assert!(!is_alive(world, ids[10 + n]).await);
    }
    all_hold_the_same(&all).await;
}

/// R33.
#[tokio::test]
async fn another_database_behind_the_same_name_is_neither_read_nor_written() {
    let (first, second) = two().await;
    let ours = first.remember("ours", &[]).await;
    converge(&[&first, &second]).await;
    // Another account's database, with memories of its own.
    let elsewhere = World::unlinked(Options::default());
    let remote = elsewhere.remote();
    let contract = Contract::local(crate::space()).unwrap();
    let names = crate::names();
    memtide::remote::provision::init(&remote, &names, &contract, "another").await.unwrap();
    Python(&elsewhere).store("theirs", &[]);
    let other = elsewhere.account.core().d1_copy("memories").unwrap();
    first.account.core().d1_become("memories", &other).unwrap();
    let unsent = first.remember("not for them", &[]).await;
    for _ in 0..3 {
        converge(&[&first, &second]).await;
        first.clock.advance(Duration::from_hours(2));
    }
    assert_eq!(rows_alive(&first), ["theirs"], "it was written to");
    for world in [&first, &second] {
        assert_eq!(world.state(), SyncState::Misconfigured);
        let held = crate::devices::held(world).await;
        assert!(held.iter().all(|line| !line.contains("theirs")), "it was read: {held:?}");
        let (_, next_step) = world.replicator.handle().progress().action.unwrap();
        assert!(next_step.contains("--adopt"), "{next_step}");
    }
    assert!(!first.get(unsent).await.synced);
    // Adopted, both are joined.
    for world in [&first, &second] {
        world.link().await.unwrap();
    }
    converge(&[&first, &second]).await;
    assert_eq!(rows_alive(&first), ["not for them", "ours", "theirs"]);
    assert!(is_alive(&second, ours).await && is_alive(&second, unsent).await);
    all_hold_the_same(&[&first, &second]).await;
}

/// A database that holds nothing at all any more, not even tables.
#[tokio::test]
async fn a_database_without_tables_costs_nothing() {
    let (first, second) = two().await;
    first.remember("kept here", &["a"]).await;
    converge(&[&first, &second]).await;
    let empty = rusqlite::Connection::open_in_memory().unwrap();
    first.account.core().d1_become("memories", &empty).unwrap();
    first.remember("waits here", &[]).await;
    for _ in 0..3 {
        converge(&[&first, &second]).await;
        first.clock.advance(Duration::from_hours(2));
    }
    for world in [&first, &second] {
        assert_eq!(world.counts().await.parked, 0, "{:?}", world.entries().await);
        assert_eq!(world.state(), SyncState::Misconfigured);
    }
    for world in [&first, &second] {
        world.link().await.unwrap();
    }
    converge(&[&first, &second]).await;
    assert_eq!(rows_alive(&first), ["kept here", "waits here"]);
    all_hold_the_same(&[&first, &second]).await;
}

/// A database that is gone is waited for; the memories stay where they are.
#[tokio::test]
async fn nothing_is_deleted_here_when_the_cloud_is_emptied() {
    let (first, second) = two().await;
    let ids = first.remember_many(40).await;
    converge(&[&first, &second]).await;
    for table in ["memory_tags", "memories", "mt_entry", "mt_feed", "mt_heads"] {
        first.rows(&format!("DELETE FROM {table}"));
    }
    converge(&[&first, &second]).await;
    for id in &ids {
        assert!(is_alive(&first, *id).await && is_alive(&second, *id).await);
    }
    assert_eq!(rows_alive(&first).len(), 40);
    assert!(first.account.core().n_requests(Product::D1) > 0);
    assert!(first.clock.now() > NOON);
    all_hold_the_same(&[&first, &second]).await;
    let link = first.store.read(link::get).await.unwrap().unwrap();
    assert_eq!(link.mode, LinkMode::Dual);
}
