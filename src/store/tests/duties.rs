//! Duties to the cloud: raised with the change, kept until they are carried out.

use super::super::error::StoreError;
use super::super::outbox::{self, Product, Setback};
use super::super::{link, memory, oldest, stats};
use super::{NOON, draft, fixture};
use crate::clock::{Clock as _, Micros};
use crate::model::refusal::Refusal;
use std::time::Duration;

#[tokio::test]
async fn linking_makes_every_memory_a_duty_and_later_changes_coalesce() {
    let f = fixture();
    f.activate().await;
    let id = f.store("before the link", &[]).await.id;
    assert_eq!(f.counts().await, outbox::Counts::default(), "no duties without a link");
    assert!(!f.get(id).await.synced);
    assert_eq!(f.link(None).await, 1);
    for n in 0..10 {
        f.store("after the link", &[&format!("t{n}")]).await;
    }
    let counts = f.counts().await;
    assert_eq!((counts.pending, counts.waiting_for_embedding), (2, 2));
    f.embed_all(|_| 0.0).await;
    let counts = f.counts().await;
    assert_eq!((counts.pending, counts.waiting_for_embedding), (4, 0));
    assert_eq!(counts.pending_by_product, [0, 2, 2]);
}

#[tokio::test]
async fn a_change_during_a_send_keeps_the_duty() {
    let f = fixture();
    f.link(None).await;
    let id = f.store("edit me", &[]).await.id;
    let now = f.clock.now();
    let duty = f.store.read(move |r| outbox::due(r, Product::D1, now, 9)).await.unwrap().remove(0);
    f.store("edit me", &["meanwhile"]).await;
    let (key, generation) = (duty.key, duty.generation);
    let settle =
        move |w: &mut super::super::Write<'_>| outbox::settle(w, Product::D1, key, generation);
    assert!(!f.store.write(settle).await.unwrap());
    assert!(!f.get(id).await.synced);
    let duty = f.store.read(move |r| outbox::due(r, Product::D1, now, 9)).await.unwrap().remove(0);
    let (key, generation) = (duty.key, duty.generation);
    let settle =
        move |w: &mut super::super::Write<'_>| outbox::settle(w, Product::D1, key, generation);
    assert!(f.store.write(settle).await.unwrap());
    assert!(f.get(id).await.synced);
}

#[tokio::test]
async fn vectors_wait_for_rows_and_parked_duties_come_back_on_command() {
    let f = fixture();
    f.activate().await;
    f.link(None).await;
    let id = f.store("in order", &[]).await.id;
    f.embed_all(|_| 0.0).await;
    let now = f.clock.now();
    let due = |product| f.store.read(move |r| outbox::due(r, product, now, 9));
    assert!(due(Product::Vectorize).await.unwrap().is_empty(), "the row is not there yet");
    let duty = due(Product::D1).await.unwrap().remove(0);
    let (key, generation) = (duty.key, duty.generation);
    f.store
        .write(move |w| outbox::set_back(w, Product::D1, key, generation, &Setback::Park, "poison"))
        .await
        .unwrap();
    assert_eq!(f.counts().await.parked, 1);
    assert!(due(Product::D1).await.unwrap().is_empty());
    assert_eq!(f.store.write(move |w| outbox::retry(w, Some(&id))).await.unwrap(), 1);
    assert_eq!(due(Product::D1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_text_too_large_for_the_row_needs_a_bucket() {
    let f = fixture();
    f.link(None).await;
    let quotes = draft(&"\"".repeat(600_000), &[]);
    let refused = {
        let quotes = quotes.clone();
        f.store.write(move |w| memory::store(w, &quotes)).await
    };
    assert!(
        matches!(refused, Err(StoreError::Refused(Refusal::NeedsBucket { actual: 1_200_000, .. }))),
        "{refused:?}"
    );
    assert_eq!(f.store.read(stats::stats).await.unwrap().memories, 0, "nothing half-written");
    f.link(Some("bucket")).await;
    f.store.write(move |w| memory::store(w, &quotes)).await.unwrap();
    let counts = f.counts().await;
    assert_eq!(counts.pending_by_product[0], 1);
    let now = f.clock.now();
    let rows = f.store.read(move |r| outbox::due(r, Product::D1, now, 9)).await.unwrap();
    assert!(rows.is_empty(), "the body goes first");
}

#[tokio::test]
async fn a_memory_deleted_while_unlinked_still_leaves_the_index() {
    let f = fixture();
    f.activate().await;
    f.link(None).await;
    let id = f.store("to be gone", &[]).await.id;
    f.store.write(link::unlink).await.unwrap();
    f.store.write(move |w| memory::delete(w, &id, "test")).await.unwrap();
    f.link(None).await;
    assert_eq!(f.counts().await.pending_by_product, [0, 1, 1]);
}

#[tokio::test]
async fn a_text_of_control_characters_needs_a_bucket_too() {
    let f = fixture();
    f.link(None).await;
    let text = draft(&"\u{1b}".repeat(200_000), &[]);
    let refused = f.store.write(move |w| memory::store(w, &text)).await;
    assert!(
        matches!(refused, Err(StoreError::Refused(Refusal::NeedsBucket { actual: 1_200_000, .. }))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn duties_from_a_clock_that_was_ahead_can_be_made_due() {
    let f = fixture();
    f.link(None).await;
    f.store("from the future", &[]).await;
    f.clock.set(Micros(NOON.0 - 8 * 3_600_000_000));
    let now = f.clock.now();
    let due = || f.store.read(move |r| outbox::due(r, Product::D1, now, 9));
    assert!(due().await.unwrap().is_empty());
    f.store.write(outbox::hasten).await.unwrap();
    assert_eq!(due().await.unwrap().len(), 1);
    assert_eq!(f.counts().await.oldest_pending_since, Some(now));
}

#[tokio::test]
async fn the_oldest_duty_is_told_with_what_comes_before_it() {
    let f = fixture();
    f.activate().await;
    f.link(Some("bucket")).await;
    let find = || async { f.store.read(oldest::oldest).await.unwrap() };
    let told = || async {
        let product = |entry: &outbox::Entry| (entry.id, entry.product);
        let found = find().await.unwrap();
        (product(&found.duty), found.after.as_ref().map(product))
    };
    let change = |sql: &'static str| f.store.write(move |w| Ok(w.conn.execute(sql, [])?));
    assert_eq!(find().await, None);
    let first = f.store("first", &[]).await.id;
    f.clock.advance(Duration::from_secs(5));
    let large = f.store(&"\"".repeat(600_000), &[]).await.id;
    assert_eq!(told().await, ((first, Product::D1), None));
    change("DELETE FROM outbox WHERE product = 'd1' AND memory = 1").await.unwrap();
    assert_eq!(told().await, ((large, Product::R2), None));
    change("UPDATE outbox SET state = 'parked', error = 'too much' WHERE product = 'r2'")
        .await
        .unwrap();
    assert_eq!(told().await, ((large, Product::D1), Some((large, Product::R2))));
    assert_eq!(find().await.unwrap().after.unwrap().error.as_deref(), Some("too much"));
    change("DELETE FROM outbox WHERE product = 'd1'").await.unwrap();
    assert_eq!(told().await, ((first, Product::Vectorize), None), "it waits for a vector");
    change("DELETE FROM outbox WHERE product = 'vectorize'").await.unwrap();
    assert_eq!(told().await, ((large, Product::R2), None), "what is parked comes last");
}
