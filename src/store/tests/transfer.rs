//! Records out of one store and into another.

use super::super::memory;
use super::super::transfer::{self, Absorbed};
use super::fixture;
use std::time::Duration;

#[tokio::test]
async fn an_export_taken_in_elsewhere_is_the_same_and_twice_changes_nothing() {
    let (f, g) = (fixture(), fixture());
    let kept = f.store("kept text", &["a"]).await.id;
    f.store("Kept Text", &["b"]).await;
    let dead = f.store("dead text", &["c"]).await.id;
    f.store.write(move |w| memory::delete(w, &dead, "test")).await.unwrap();
    let (records, next) = f.store.read(|r| transfer::page(r, 0, 500, 1 << 20)).await.unwrap();
    assert_eq!((records.len(), next), (2, None));
    let take_in = |records: Vec<transfer::Record>| {
        g.store.write(move |w| {
            records.iter().map(|r| transfer::absorb(w, r)).collect::<Result<Vec<_>, _>>()
        })
    };
    assert_eq!(take_in(records.clone()).await.unwrap(), [Absorbed::New, Absorbed::New]);
    assert_eq!(take_in(records.clone()).await.unwrap(), [Absorbed::Unchanged, Absorbed::Unchanged]);
    let (again, _) = g.store.read(|r| transfer::page(r, 0, 500, 1 << 20)).await.unwrap();
    assert_eq!(again, records);
    assert_eq!(g.get(kept).await.content, "Kept Text");
    assert!(g.get(dead).await.deleted_at.is_some());

    // An old copy of what was deleted here later doesn't bring it back, and its text is kept.
    f.clock.advance(Duration::from_secs(5));
    let newer = f.store("KEPT TEXT", &[]).await.id;
    f.store.write(move |w| memory::delete(w, &newer, "test")).await.unwrap();
    let outcome = f
        .store
        .write(move |w| {
            records.iter().map(|r| transfer::absorb(w, r)).collect::<Result<Vec<_>, _>>()
        })
        .await
        .unwrap();
    assert_eq!(outcome, [Absorbed::Unchanged, Absorbed::Unchanged]);
    assert!(f.get(kept).await.deleted_at.is_some());
}

#[tokio::test]
async fn histories_are_joined_when_a_record_meets_its_memory() {
    let (f, g) = (fixture(), fixture());
    f.store("one text", &[]).await;
    g.clock.advance(Duration::from_secs(1));
    let id = g.store("ONE TEXT", &[]).await.id;
    g.clock.advance(Duration::from_secs(1));
    g.store("One Text", &[]).await;
    let (records, _) = g.store.read(|r| transfer::page(r, 0, 9, 1 << 20)).await.unwrap();
    for _ in 0..2 {
        let records = records.clone();
        f.store
            .write(move |w| records.iter().try_for_each(|r| transfer::absorb(w, r).map(drop)))
            .await
            .unwrap();
    }
    let versions = f.store.read(move |r| memory::versions(r, &id)).await.unwrap();
    let texts: Vec<&str> = versions.iter().map(|v| v.content.as_str()).collect();
    assert_eq!(texts.iter().filter(|t| **t == "ONE TEXT").count(), 1, "{texts:?}");
    assert!(texts.contains(&"one text"), "{texts:?}");
}
