//! Memories that say the same under different ids.

use super::super::{duplicate, memory, transfer};
use super::{Fixture, fixture};
use crate::model::id::MemoryId;
use std::time::Duration;

impl Fixture {
    /// Stores a text under the id of another one, as the Python service's early releases did.
    async fn store_under(&self, other: &str, content: &str) -> MemoryId {
        let elsewhere = fixture();
        elsewhere.clock.set(crate::clock::Clock::now(&self.clock));
        elsewhere.store(content, &[]).await;
        let page = elsewhere.store.read(|r| transfer::page(r, 0, 9, 1 << 20)).await.unwrap();
        let mut record = page.0.into_iter().next().unwrap();
        record.id = MemoryId::of(other);
        let id = record.id;
        self.store.write(move |w| transfer::absorb(w, &record)).await.unwrap();
        id
    }

    async fn duplicates(&self) -> Vec<Vec<MemoryId>> {
        let groups = self.store.read(|r| duplicate::groups(r, 100)).await.unwrap();
        let ids =
            |group: &Vec<_>| group.iter().map(|m: &crate::model::memory::Memory| m.id).collect();
        groups.iter().map(ids).collect()
    }
}

#[tokio::test]
async fn the_same_text_under_two_ids_is_a_duplicate() {
    let f = fixture();
    f.store("alone", &[]).await;
    let strange = f.store_under("id 1", "alone too").await;
    assert_eq!(f.duplicates().await, Vec::<Vec<MemoryId>>::new());
    f.clock.advance(Duration::from_secs(1));
    let native = f.store(" Alone TOO", &[]).await.id;
    assert_eq!(f.duplicates().await, [[native, strange]]);
    f.store.write(move |w| memory::delete(w, &native, "test")).await.unwrap();
    assert_eq!(f.duplicates().await, Vec::<Vec<MemoryId>>::new());
}

#[tokio::test]
async fn without_one_under_its_own_id_the_oldest_is_kept() {
    let f = fixture();
    let first = f.store_under("id 1", "twice").await;
    f.clock.advance(Duration::from_secs(1));
    let second = f.store_under("id 2", "Twice").await;
    assert_eq!(f.duplicates().await, [[first, second]]);
}

#[tokio::test]
async fn a_text_under_the_id_of_another_is_no_duplicate_of_it() {
    let f = fixture();
    // Under the id of "a" stands "b", and "a" itself stands elsewhere.
    f.store_under("a", "b").await;
    f.store_under("c", "a").await;
    assert_eq!(f.duplicates().await, Vec::<Vec<MemoryId>>::new());
}
