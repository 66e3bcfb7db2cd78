//! What is read of the cloud is bounded, waits for a bucket that is out of order, and is read though no
//! single device could have written it.

use super::World;
use super::devices::{another, converge, held, two};
use memtide::clock::Clock as _;
use memtide::emulator::faults::{Effect, Reply, RetryAfter, Rule};
use memtide::emulator::journal::Entry;
use memtide::emulator::product::Product;
use memtide::model::draft::{Author, Patch};
use memtide::model::id::MemoryId;
use memtide::store::pull::{self, Quarantined};
use std::time::Duration;

async fn set_aside(world: &World) -> Vec<Quarantined> {
    world.store.read(|read| pull::quarantined(read, 1000)).await.unwrap().0
}

async fn has(world: &World, id: MemoryId) -> bool {
    world.store.read(move |read| memtide::store::memory::get(read, &id)).await.is_ok()
}

fn long(n: usize) -> String {
    format!("long {n} {}", "x".repeat(super::INLINE))
}

/// A device with so many texts in the bucket, and one that has read none of them.
async fn with_long_texts(n: usize) -> (World, World, Vec<MemoryId>) {
    let (first, second) = two().await;
    let mut ids = Vec::new();
    for n in 0..n {
        ids.push(first.remember(&long(n), &[]).await);
    }
    first.drain().await;
    first.account.core().clear_requests();
    (first, second, ids)
}

#[tokio::test]
async fn a_page_fetches_a_bounded_number_of_bodies_and_the_next_one_goes_on() {
    let (first, second, ids) = with_long_texts(120).await;
    second.settle().await;
    let requests = first.account.core().requests();
    let n_bodies = |part: &[Entry]| part.iter().filter(|one| one.product == Product::R2).count();
    let pages = requests.split(|one| one.product == Product::D1);
    let fetched: Vec<usize> = pages.map(n_bodies).filter(|n| *n > 0).collect();
    assert_eq!(fetched, [50, 50, 20]);
    assert_eq!(second.get(ids[119]).await.content, long(119));
    assert_eq!(held(&first).await, held(&second).await);
}

#[tokio::test]
async fn texts_wait_for_the_own_budget_and_nothing_is_set_aside_for_it() {
    let (first, second, _) = with_long_texts(700).await;
    let mut n_steps = 0;
    while held(&second).await.len() < 700 {
        let step = second.settle().await;
        assert_eq!(set_aside(&second).await, []);
        let next = step.next_at.unwrap().since(second.clock.now());
        second.clock.advance(next.max(Duration::from_secs(1)));
        n_steps += 1;
        assert!(n_steps < 60, "{} of them", held(&second).await.len());
    }
    assert!(n_steps > 1, "the budget was never used up");
    assert_eq!(held(&first).await, held(&second).await);
}

#[tokio::test]
async fn a_bucket_out_of_order_is_waited_for() {
    for reply in [Reply::html(503), Reply::throttled(971, RetryAfter::Seconds(120))] {
        let (first, second, ids) = with_long_texts(5).await;
        let small = first.remember("small, and later", &[]).await;
        first.drain().await;
        first.account.core().clear_requests();
        let fault = Rule::new(Effect::reply(reply.clone())).on(Product::R2).skip(2).times(2);
        let fault = first.account.core().inject(fault);
        let mut asked = 0;
        for _ in 0..30 {
            second.settle().await;
            assert_eq!(set_aside(&second).await, []);
            asked += 1;
            if has(&second, small).await {
                break;
            }
            assert!(has(&second, ids[1]).await, "what came before it stays");
            second.clock.advance(Duration::from_secs(30));
        }
        assert_eq!(first.account.core().fired(fault), 2);
        assert!(asked > 1, "it came at once");
        let at =
            first.account.core().requests().into_iter().filter(|one| one.product == Product::R2);
        let at: Vec<_> = at.map(|one| one.at).collect();
        if reply.retry_after == RetryAfter::Seconds(120) {
            assert!(at[3].since(at[2]) >= Duration::from_secs(120), "{at:?}");
        }
        assert_eq!(held(&first).await, held(&second).await);
    }
}

#[tokio::test]
async fn a_text_that_never_comes_holds_up_the_feed_only_for_a_while() {
    let (first, second, ids) = with_long_texts(3).await;
    let key = first.rows(&format!("SELECT r2_key FROM memories WHERE content_hash = '{}'", ids[1]));
    let fault = Rule::new(Effect::reply(Reply::html(500))).on(Product::R2).path(&key[0]);
    first.account.core().inject(fault);
    for _ in 0..60 {
        second.settle().await;
        second.clock.advance(Duration::from_mins(5));
    }
    assert!(has(&second, ids[2]).await && !has(&second, ids[1]).await);
    assert_eq!(set_aside(&second).await.len(), 1);
    first.account.core().clear_faults();
    second.clock.advance(Duration::from_hours(1));
    second.settle().await;
    assert_eq!(second.get(ids[1]).await.content, long(1));
    assert_eq!(set_aside(&second).await, []);
}

#[tokio::test]
async fn a_token_without_the_bucket_holds_up_no_small_memory() {
    let (first, second, ids) = with_long_texts(3).await;
    let small = first.remember("small, and later", &[]).await;
    first.drain().await;
    let reply = Reply::error(403, 10000, "Authentication error");
    let fault = first.account.core().inject(Rule::new(Effect::reply(reply)).on(Product::R2));
    second.settle().await;
    assert!(has(&second, small).await && !has(&second, ids[0]).await);
    assert_eq!(set_aside(&second).await.len(), 3);
    assert_eq!(first.account.core().fired(fault), 1, "the others were not even asked for");
    first.account.core().clear_faults();
    second.clock.advance(Duration::from_hours(1));
    second.settle().await;
    assert_eq!(held(&first).await, held(&second).await);
}

#[tokio::test]
async fn what_devices_make_together_may_exceed_what_one_may_write() {
    let (first, second) = two().await;
    let id = first.remember("tagged and annotated by all", &[]).await;
    converge(&[&first, &second]).await;
    for (world, name) in [(&first, "first"), (&second, "second")] {
        let tags: Vec<String> = (0..60).map(|n| format!("{name} {n}")).collect();
        let metadata = serde_json::json!({ name: "x".repeat(40 << 10) });
        let author = Author::default();
        let patch = Patch::check(None, Some(&tags), None, Some(&metadata), author, 1).unwrap();
        world.patch(id, patch).await;
    }
    converge(&[&first, &second]).await;
    let third = another(&first, 3).await;
    converge(&[&third, &first]).await;
    for world in [&first, &second, &third] {
        assert_eq!(set_aside(world).await, []);
        assert_eq!(world.get(id).await.tags.len(), 120);
        assert_eq!(world.counts().await.pending_by_product[1], 0);
        assert_eq!(held(world).await, held(&first).await);
    }
}

#[tokio::test]
async fn metadata_at_its_limit_has_room_for_a_successor() {
    let (first, second) = two().await;
    let metadata = serde_json::json!({ "k": "x".repeat(65_500) });
    let id = first.remember("to be replaced", &[]).await;
    let annotate = Patch::check(None, None, None, Some(&metadata), Author::default(), 1).unwrap();
    first.patch(id, annotate).await;
    let replace =
        Patch::check(Some("in its place".to_owned()), None, None, None, Author::default(), 99);
    let successor = first.patch(id, replace.unwrap()).await;
    converge(&[&first, &second]).await;
    assert_eq!(second.get(id).await.superseded_by, Some(successor));
    assert_eq!(held(&first).await, held(&second).await);
}
