//! What is deleted stays deleted, and nothing else is.

use super::judge::all_hold_the_same;
use super::python::Python;
use super::{converge, is_alive, rows_alive, two};
use memtide::clock::Clock as _;
use memtide::emulator::faults::{Effect, Reply, Rule};
use memtide::emulator::product::Product;
use memtide::emulator::tokens::Token;
use memtide::model::filter::Filter;
use memtide::model::id::MemoryId;
use memtide::store::memory;
use std::time::Duration;

/// Deletes all that passes a filter, as one request of a client.
async fn forget_matching(world: &crate::World, filter: Filter) -> Vec<MemoryId> {
    let job = move |write: &mut memtide::store::Write<'_>| {
        memory::delete_matching(write, &filter, "test")
    };
    world.store.write(job).await.unwrap()
}

/// R08.
#[tokio::test]
async fn a_deletion_reaches_the_other_device_and_its_vector_does_not_come_back() {
    let (first, second) = two().await;
    let id = first.remember("gone everywhere", &["a"]).await;
    first.embed().await;
    converge(&[&first, &second]).await;
    second.embed().await;
    converge(&[&first, &second]).await;
    assert_eq!(first.vectors().len(), 1);
    first.forget(id).await;
    converge(&[&first, &second]).await;
    assert!(!is_alive(&second, id).await && first.vectors().is_empty());
    // The other device compares everything once more.
    second.link().await.unwrap();
    second.embed().await;
    converge(&[&second, &first]).await;
    assert!(first.vectors().is_empty(), "its vector is back");
    assert!(rows_alive(&first).is_empty());
    all_hold_the_same(&[&first, &second]).await;
}

/// R10.
#[tokio::test]
async fn a_memory_that_has_lost_a_tag_is_not_deleted_by_it() {
    let (first, second) = two().await;
    let kept = first.remember("retagged in time", &["temp"]).await;
    let doomed = first.remember("really temporary", &["temp"]).await;
    converge(&[&first, &second]).await;
    first.retag(kept, &["important"]).await;
    let filter = Filter { tags: ["temp".to_owned()].into(), ..Filter::default() };
    assert_eq!(forget_matching(&first, filter).await, [doomed]);
    converge(&[&first, &second]).await;
    assert_eq!(rows_alive(&first), ["retagged in time"]);
    // The service deletes by its own column of tags, which it searches for the word.
    let by_column = "SELECT count(*) FROM memories WHERE deleted_at IS NULL AND tags LIKE '%temp%'";
    assert_eq!(first.rows(by_column), ["0"]);
    assert!(is_alive(&second, kept).await && !is_alive(&second, doomed).await);
    all_hold_the_same(&[&first, &second]).await;
}

/// R11.
#[tokio::test]
async fn a_deletion_by_time_that_is_repeated_takes_nothing_that_came_after_it() {
    let (first, second) = two().await;
    let ids = [first.remember("today one", &[]).await, first.remember("today two", &[]).await];
    converge(&[&first, &second]).await;
    let lost = Rule::new(Effect::LoseAnswer).on(Product::D1).times(2);
    let lost = first.account.core().inject(lost);
    let filter = Filter { after: Some(crate::NOON), ..Filter::default() };
    assert_eq!(forget_matching(&first, filter).await.len(), 2);
    let later = first.remember("today three", &[]).await;
    for _ in 0..5 {
        first.settle().await;
        first.clock.advance(Duration::from_mins(1));
    }
    assert_eq!(first.account.core().fired(lost), 2, "it was repeated");
    converge(&[&first, &second]).await;
    for world in [&first, &second] {
        assert!(is_alive(world, later).await);
        assert!(!is_alive(world, ids[0]).await && !is_alive(world, ids[1]).await);
    }
    assert_eq!(rows_alive(&first), ["today three"]);
    all_hold_the_same(&[&first, &second]).await;
}

/// R20.
#[tokio::test]
async fn a_deletion_never_overtakes_the_store_before_it() {
    let (first, second) = two().await;
    converge(&[&first, &second]).await;
    first.account.core().set_network(false);
    let ids = first.remember_many(2500).await;
    let doomed: Vec<MemoryId> = ids.iter().copied().step_by(2).collect();
    let all = doomed.clone();
    let delete = move |write: &mut memtide::store::Write<'_>| {
        all.iter().try_for_each(|id| memory::delete(write, id, "test"))
    };
    first.store.write(delete).await.unwrap();
    first.settle().await;
    first.account.core().set_network(true);
    first.clock.advance(Duration::from_mins(1));
    converge(&[&first, &second]).await;
    assert_eq!(rows_alive(&first).len(), 1250);
    for id in doomed.iter().step_by(100) {
        assert!(!is_alive(&first, *id).await && !is_alive(&second, *id).await);
    }
    all_hold_the_same(&[&first, &second]).await;
}

/// R21.
#[tokio::test]
async fn a_deletion_made_while_the_token_was_revoked_for_a_month_holds() {
    let (first, second) = two().await;
    let id = first.remember("deleted in the dark", &[]).await;
    let kept = first.remember("kept", &[]).await;
    converge(&[&first, &second]).await;
    let core = first.account.core();
    core.set_tokens(Vec::new());
    first.forget(id).await;
    for _ in 0..31 {
        first.settle().await;
        first.clock.advance(Duration::from_hours(24));
    }
    let refused = core.requests().iter().filter(|entry| entry.status == Some(401)).count();
    assert!(refused >= 31, "{refused} requests were refused");
    assert_eq!(rows_alive(&first).len(), 2, "the account doesn't know yet");
    core.set_tokens(vec![Token::user(first.account.token())]);
    // Meanwhile the service, which holds a copy of its own, checks and purges.
    Python(&first).purge(first.clock.now().0 / 1_000_000);
    converge(&[&second, &first]).await;
    converge(&[&second, &first]).await;
    assert!(!is_alive(&first, id).await && !is_alive(&second, id).await);
    assert!(is_alive(&first, kept).await);
    assert_eq!(rows_alive(&first), ["kept"]);
    all_hold_the_same(&[&first, &second]).await;
}

/// A device that was away for months, and still has what was deleted meanwhile, brings nothing back.
#[tokio::test]
async fn a_device_that_was_away_for_months_brings_nothing_back() {
    let (first, second) = two().await;
    let id = first.remember("deleted while it was away", &["a"]).await;
    converge(&[&first, &second]).await;
    first.forget(id).await;
    converge(&[&first]).await;
    first.clock.advance(Duration::from_hours(24 * 120));
    Python(&first).purge(first.clock.now().0 / 1_000_000);
    assert_eq!(first.rows("SELECT count(*) FROM memories"), ["0"], "its tombstone was purged");
    second.link().await.unwrap();
    converge(&[&second, &first]).await;
    assert!(!is_alive(&second, id).await && rows_alive(&first).is_empty());
    all_hold_the_same(&[&first, &second]).await;
}

/// A vector that the index refuses to give up is asked for again, and the deletion is not undone.
#[tokio::test]
async fn a_deletion_whose_vector_stays_for_now_is_a_deletion() {
    let (first, second) = two().await;
    let id = first.remember("vector stays", &[]).await;
    first.embed().await;
    converge(&[&first, &second]).await;
    first.forget(id).await;
    let down = Rule::new(Effect::reply(Reply::html(503))).on(Product::Vectorize).times(3);
    let down = first.account.core().inject(down);
    converge(&[&first, &second]).await;
    assert!(!is_alive(&second, id).await);
    for _ in 0..4 {
        first.clock.advance(Duration::from_mins(1));
        first.settle().await;
    }
    assert_eq!(first.account.core().fired(down), 3);
    assert!(first.vectors().is_empty());
    all_hold_the_same(&[&first, &second]).await;
}
