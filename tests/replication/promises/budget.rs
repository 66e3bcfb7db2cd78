//! What the account asks for is respected, and what it can't take holds nothing else up.

use super::judge::all_hold_the_same;
use super::{converge, two};
use crate::World;
use memtide::clock::{Clock as _, Micros};
use memtide::emulator::faults::{Effect, Reply, RetryAfter, Rule};
use memtide::emulator::product::Product;
use memtide::store::link::LinkMode;
use memtide::store::outbox;
use std::time::Duration;

/// R38.
#[tokio::test]
async fn each_product_is_left_alone_for_as_long_as_it_asks_and_the_others_go_on() {
    for product in [Product::D1, Product::R2, Product::Vectorize] {
        let mut world = World::linked().await;
        world.mode = LinkMode::Dual;
        world.link().await.unwrap();
        world.settle().await;
        world.account.core().clear_requests();
        world.remember("small", &[]).await;
        world.remember(&"large ".repeat(1000), &[]).await;
        world.embed().await;
        let reply = Effect::reply(Reply::throttled(971, RetryAfter::Seconds(120)));
        let rule = world.account.core().inject(Rule::new(reply).on(product).times(1));
        let told = world.clock.now();
        while world.clock.now() < told.plus(Duration::from_mins(4)) {
            world.settle().await;
            world.clock.advance(Duration::from_secs(1));
        }
        let core = world.account.core();
        assert_eq!(core.fired(rule), 1, "{product:?}");
        let at: Vec<Micros> = core
            .requests()
            .iter()
            .filter(|entry| entry.product == product)
            .map(|entry| entry.at)
            .collect();
        let after = at.iter().filter(|at| at.since(told) > Duration::from_secs(2)).min().unwrap();
        assert!(after.since(at[0]) >= Duration::from_secs(120), "{product:?}: {at:?}");
        if product == Product::Vectorize {
            assert_eq!(world.rows("SELECT count(*) FROM memories"), ["2"]);
        }
        world.drain().await;
        assert_eq!(world.vectors().len(), 2, "{product:?}");
        all_hold_the_same(&[&world]).await;
    }
}

/// R42.
#[tokio::test]
async fn one_memory_that_can_not_be_sent_stands_in_the_way_of_none_of_a_thousand() {
    let (first, second) = two().await;
    first.remember_many(450).await;
    let poison = first.remember("a poison pill", &[]).await;
    let ids = first.remember_many(1000).await;
    let reply = Reply::error(400, 7500, "string or blob too big: SQLITE_TOOBIG");
    let fault = Rule::new(Effect::reply(reply)).on(Product::D1).body("a poison pill");
    let fault = first.account.core().inject(fault);
    converge(&[&first, &second]).await;
    assert!(first.account.core().fired(fault) > 5, "it was looked for by halves");
    assert_eq!(first.rows("SELECT count(*) FROM memories"), ["1000"]);
    assert_eq!(crate::devices::held(&second).await.len(), 1000);
    assert!(first.get(ids[999]).await.synced);
    let parked = first.store.read(|read| outbox::list(read, true, 9)).await.unwrap();
    assert_eq!(parked.iter().map(|entry| entry.id).collect::<Vec<_>>(), [poison]);
    // Mended, and tried again by command.
    first.account.core().clear_faults();
    assert_eq!(first.store.write(|write| outbox::retry(write, None)).await.unwrap(), 1);
    converge(&[&first, &second]).await;
    assert_eq!(second.get(poison).await.content, "a poison pill");
    all_hold_the_same(&[&first, &second]).await;
}

/// The budget holds while thousands are owed in both directions.
#[tokio::test]
async fn no_five_minutes_hold_more_requests_than_allowed() {
    let (first, second) = two().await;
    first.remember_many(2000).await;
    for n in 0..300 {
        let large = format!("large {n} {}", "x".repeat(crate::INLINE));
        first.remember(&large, &[]).await;
        second.remember(&large.to_uppercase(), &[]).await;
    }
    first.embed().await;
    second.embed().await;
    for _ in 0..60 {
        for world in [&first, &second] {
            world.settle().await;
        }
        first.clock.advance(Duration::from_secs(10));
    }
    converge(&[&first, &second]).await;
    let at: Vec<Micros> = first.account.core().requests().iter().map(|entry| entry.at).collect();
    assert!(at.len() > 600, "{} requests are no test", at.len());
    let busiest = at
        .iter()
        .map(|from| {
            let end = from.plus(Duration::from_mins(5));
            at.iter().filter(|at| **at >= *from && **at < end).count()
        })
        .max();
    // Two devices, each with its own.
    assert!(busiest.unwrap() <= 1200, "{busiest:?}");
    all_hold_the_same(&[&first, &second]).await;
}
