//! Memories that were here before the link become duties in pages.

use super::*;
use crate::store::enrolment::{self, PAGE};

/// Two full pages and a part of a third.
const N: usize = 2 * PAGE + 10;

fn n_owed() -> u64 {
    u64::try_from(N).unwrap()
}

async fn full() -> Fixture {
    let fixture = fixture();
    let all = |write: &mut crate::store::Write<'_>| {
        for n in 0..N {
            memory::store(write, &draft(&format!("memory {n}"), &[]))?;
        }
        Ok(())
    };
    fixture.store.write(all).await.unwrap();
    fixture
}

/// Duties of each product that stand in the table, whatever is counted.
async fn enrolled(store: &Store) -> [usize; 2] {
    let list = store.read(|read| outbox::list(read, false, usize::MAX)).await.unwrap();
    [Product::D1, Product::Vectorize]
        .map(|product| list.iter().filter(|entry| entry.product == product).count())
}

#[tokio::test]
async fn all_count_as_owed_from_the_first_page_on() {
    let fixture = full().await;
    assert_eq!(fixture.link(None).await, n_owed());
    assert_eq!(enrolled(&fixture.store).await, [PAGE; 2]);
    let counts = fixture.counts().await;
    assert_eq!(counts.pending + counts.waiting_for_embedding, 2 * n_owed());
    assert_eq!(counts.oldest_pending_since, Some(NOON));
    let mode = fixture.store.write(|write| link::set_mode(write, LinkMode::Dual)).await.unwrap();
    assert_eq!(mode, n_owed(), "another mode owes as much");
}

#[tokio::test]
async fn a_restart_goes_on_where_the_last_page_ended() {
    let fixture = full().await;
    fixture.link(None).await;
    assert!(fixture.store.write(enrolment::enrol).await.unwrap(), "a third page is left");
    fixture.store.close();
    let clock = Arc::new(fixture.clock.clone());
    let store = Store::open(&options(&fixture.dir, "here"), clock).unwrap();
    assert!(store.read(enrolment::goes_on).await.unwrap());
    assert_eq!(enrolled(&store).await, [2 * PAGE; 2]);
    assert!(!store.write(enrolment::enrol).await.unwrap());
    assert!(!store.read(enrolment::goes_on).await.unwrap());
    assert_eq!(enrolled(&store).await, [N; 2]);
    assert!(!store.write(enrolment::enrol).await.unwrap(), "there is nothing more to do");
}

#[tokio::test]
async fn what_is_written_meanwhile_keeps_its_newer_and_more_urgent_duties() {
    let fixture = full().await;
    fixture.link(None).await;
    let last = MemoryId::of(&format!("memory {}", N - 1));
    let change = patch(None, Some(&["urgent"]), None);
    fixture.store.write(move |write| memory::update(write, &last, &change)).await.unwrap();
    fixture.store("a new one", &[]).await;
    while fixture.store.write(enrolment::enrol).await.unwrap() {}
    assert_eq!(enrolled(&fixture.store).await, [N + 1; 2]);
    let now = fixture.clock.now();
    let live =
        move |read: &crate::store::Read<'_>| outbox::due_in_lane(read, Product::D1, false, now, 10);
    assert_eq!(fixture.store.read(live).await.unwrap().len(), 2, "the changed and the new one");
}

#[tokio::test]
async fn an_unlinked_store_owes_nothing_more() {
    let fixture = full().await;
    fixture.link(None).await;
    fixture.store.write(link::unlink).await.unwrap();
    assert!(!fixture.store.write(enrolment::enrol).await.unwrap());
    assert_eq!(fixture.counts().await, outbox::Counts::default());
}

#[tokio::test]
async fn a_text_of_a_late_page_that_needs_a_bucket_is_refused_before_anything_is_written() {
    let fixture = full().await;
    fixture.store(&"x".repeat(1_000), &[]).await;
    let narrow = |bucket| Link { inline_bytes: 900, ..a_link(bucket) };
    let without = narrow(None);
    let refused = fixture.store.write(move |write| link::link(write, &without)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Refused(_)), "{refused}");
    assert!(fixture.store.read(link::get).await.unwrap().is_none());
    let with = narrow(Some("bucket"));
    fixture.store.write(move |write| link::link(write, &with)).await.unwrap();
    while fixture.store.write(enrolment::enrol).await.unwrap() {}
    let list = fixture.store.read(|read| outbox::list(read, false, usize::MAX)).await.unwrap();
    assert_eq!(list.iter().filter(|entry| entry.product == Product::R2).count(), 1);
}
