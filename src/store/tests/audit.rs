//! Comparing, owing again, confirming, and dropping what is no longer kept.

use super::super::error::StoreError;
use super::super::outbox::{self, Product};
use super::super::unconfirmed::{self, Accepted};
use super::super::{digest, memory, repair, retention, transfer};
use super::{Fixture, fixture};
use crate::clock::{Clock as _, Micros};
use crate::model::digest::shown_digest;
use crate::model::id::MemoryId;
use crate::model::state_text;
use std::time::Duration;

const DAY: Duration = Duration::from_hours(24);

async fn entries(f: &Fixture) -> Vec<digest::LocalEntry> {
    f.store.read(|r| digest::page(r, 0, 100)).await.unwrap()
}

async fn settle_all(f: &Fixture) {
    for product in Product::ALL {
        let now = f.clock.now();
        let duties = f.store.read(move |r| outbox::due(r, product, now, 100)).await.unwrap();
        let settle = move |w: &mut super::super::Write<'_>| {
            duties
                .iter()
                .try_for_each(|d| outbox::settle(w, product, d.key, d.generation).map(drop))
        };
        f.store.write(settle).await.unwrap();
    }
}

#[tokio::test]
async fn every_memory_is_compared_with_what_is_owed_of_it() {
    let f = fixture();
    f.activate().await;
    f.link(None).await;
    let kept = f.store("kept", &["b", "a"]).await.id;
    let dead = f.store("dead", &["a"]).await.id;
    f.store.write(move |w| memory::delete(w, &dead, "test")).await.unwrap();
    f.embed_all(|_| 0.0).await;
    let all = entries(&f).await;
    let [alive, tombstone] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((alive.id, tombstone.id), (kept, dead));
    let kind = f.get(kept).await.memory_type;
    assert_eq!(alive.shown, shown_digest(&kind, ["a", "b"]));
    assert!(alive.is_alive && alive.is_findable && alive.is_embedded);
    assert!(alive.owes_row && alive.owes_vector && alive.bytes == Some(4));
    assert!(!tombstone.is_alive && !tombstone.is_findable && !tombstone.is_embedded);
    let (records, _) = f.store.read(|r| transfer::page(r, 0, 9, 1 << 20)).await.unwrap();
    for (entry, record) in all.iter().zip(&records) {
        let text = state_text::write(&record.state);
        assert_eq!(entry.digest, state_text::digest(&record.id, &text));
    }
    assert_eq!(digest::sums(&all, 2).count(), 2);
    settle_all(&f).await;
    let one = f.store.read(move |r| digest::one(r, &kept)).await.unwrap().unwrap();
    assert!(!one.owes_row && !one.owes_vector);
    let none = MemoryId::of("nobody's");
    assert_eq!(f.store.read(move |r| digest::one(r, &none)).await.unwrap(), None);
    let key = all[0].key;
    let second = f.store.read(move |r| digest::page(r, key, 100)).await.unwrap();
    assert_eq!(second.len(), 1);
}

#[tokio::test]
async fn what_is_owed_again_is_a_new_duty_and_what_is_owed_already_stays() {
    let f = fixture();
    f.activate().await;
    f.link(None).await;
    f.store("embedded", &[]).await;
    f.embed_all(|_| 0.0).await;
    f.store("not yet", &[]).await;
    let before = f.store.read(|r| outbox::list(r, false, 9)).await.unwrap();
    let keys: Vec<i64> = entries(&f).await.iter().map(|entry| entry.key).collect();
    let owe = |product, keys: Vec<i64>| f.store.write(move |w| repair::owe(w, product, &keys));
    assert_eq!(owe(Product::D1, keys.clone()).await.unwrap(), 0);
    assert_eq!(f.store.read(|r| outbox::list(r, false, 9)).await.unwrap(), before);
    settle_all(&f).await;
    let newest = before.iter().map(|entry| entry.generation).max().unwrap();
    assert_eq!(owe(Product::D1, keys.clone()).await.unwrap(), 2);
    assert_eq!(owe(Product::Vectorize, keys).await.unwrap(), 1, "the other one waits already");
    let entries = f.store.read(|r| outbox::list(r, false, 9)).await.unwrap();
    assert!(entries.iter().filter(|e| e.product == Product::D1).all(|e| e.generation > newest));
    let counts = f.counts().await;
    assert_eq!((counts.pending, counts.waiting_for_embedding), (3, 1));
    let now = f.clock.now();
    let lane = f.store.read(move |r| outbox::due_in_lane(r, Product::D1, true, now, 9)).await;
    assert_eq!(lane.unwrap().len(), 2, "live changes go first");
}

#[tokio::test]
async fn without_a_link_nothing_is_owed() {
    let f = fixture();
    f.store("local", &[]).await;
    let owed = f.store.write(|w| repair::owe(w, Product::D1, &[1])).await.unwrap();
    assert_eq!((owed, f.counts().await), (0, outbox::Counts::default()));
}

async fn submit(f: &Fixture, name: &str, rev: Option<&'static str>, at: i64, mutation: &str) {
    let (id, mutation) = (MemoryId::of(name), Some(mutation.to_owned()));
    let accepted = Accepted { at: Some(Micros(at)), mutation };
    let job = move |w: &mut super::super::Write<'_>| -> Result<(), StoreError> {
        let key =
            w.conn.query_row("SELECT key FROM memory WHERE id = ?1", [id.to_string()], |r| {
                r.get(0)
            })?;
        unconfirmed::note(w, key, rev, &accepted)
    };
    f.store.write(job).await.unwrap();
}

async fn waiting(f: &Fixture) -> Vec<(MemoryId, i64)> {
    let (found, total) = f.store.read(|r| unconfirmed::upto(r, i64::MAX, 100)).await.unwrap();
    assert_eq!(u64::try_from(found.len()).unwrap(), total);
    assert_eq!(f.store.read(unconfirmed::count).await.unwrap(), total);
    found.into_iter().map(|one| (one.id, one.seq)).collect()
}

#[tokio::test]
async fn changes_are_confirmed_in_the_order_of_submission_whatever_the_clocks_say() {
    let f = fixture();
    f.activate().await;
    f.link(None).await;
    for name in ["a", "b", "c"] {
        f.store(name, &[]).await;
    }
    f.embed_all(|_| 0.0).await;
    settle_all(&f).await;
    submit(&f, "a", Some("1"), 100, "m-1").await;
    f.clock.set(Micros(f.clock.now().0 - 60_000_000));
    submit(&f, "b", Some("1"), 200, "m-2").await;
    submit(&f, "c", None, 300, "m-3").await;
    let processed = async |mutation: &'static str, at: Option<i64>| {
        let at = at.map(Micros);
        f.store.read(move |r| unconfirmed::processed(r, Some(mutation), at)).await.unwrap()
    };
    assert_eq!(processed("m-9", None).await, 0);
    assert_eq!(processed("m-2", Some(100)).await, 2);
    assert_eq!(processed("m-9", Some(300)).await, 3);
    // A newer change of the same memory takes the older one's place, with a number of its own.
    submit(&f, "a", Some("2"), 400, "m-4").await;
    let order = [("b", 2), ("c", 3), ("a", 4)].map(|(name, seq)| (MemoryId::of(name), seq));
    assert_eq!(waiting(&f).await, order);
    let again = f.store.write(|w| unconfirmed::owe_again(w, &[1])).await.unwrap();
    assert_eq!((again, waiting(&f).await.len()), (0, 3), "what was replaced is not owed again");
    assert_eq!(f.store.write(|w| unconfirmed::owe_again(w, &[2])).await.unwrap(), 1);
    f.store.write(|w| unconfirmed::confirm(w, &[3])).await.unwrap();
    assert_eq!(waiting(&f).await, order[2..]);
    assert_eq!(f.counts().await.pending_by_product, [0, 0, 1]);
}

#[tokio::test]
async fn a_list_of_the_index_confirms_and_owes_again() {
    let f = fixture();
    f.activate().await;
    f.link(None).await;
    for name in ["held", "dropped", "deleted", "undeleted", "newer"] {
        f.store(name, &[]).await;
    }
    f.embed_all(|_| 0.0).await;
    settle_all(&f).await;
    for (name, rev) in
        [("held", Some("1")), ("dropped", Some("1")), ("deleted", None), ("undeleted", None)]
    {
        submit(&f, name, rev, 1, "m").await;
    }
    submit(&f, "newer", Some("1"), 1, "m").await;
    for name in ["deleted", "undeleted"] {
        let id = MemoryId::of(name);
        f.store.write(move |w| memory::delete(w, &id, "test")).await.unwrap();
    }
    settle_all(&f).await;
    let ids = ["held", "undeleted", "unknown"].map(|name| MemoryId::of(name).to_string());
    let owed = f.store.write(move |w| unconfirmed::listed(w, 4, &ids)).await.unwrap();
    assert_eq!((owed, waiting(&f).await.len()), (1, 3));
    assert_eq!(f.store.write(|w| unconfirmed::unlisted(w, 4)).await.unwrap(), 1);
    assert_eq!(waiting(&f).await, [(MemoryId::of("newer"), 5)]);
    let owed = f.store.read(|r| outbox::list(r, false, 9)).await.unwrap();
    let owed: Vec<MemoryId> = owed.iter().map(|entry| entry.id).collect();
    assert!(owed.contains(&MemoryId::of("dropped")) && owed.contains(&MemoryId::of("undeleted")));
}

#[tokio::test]
async fn the_texts_of_memories_that_are_long_deleted_are_dropped_and_their_tombstones_stay() {
    let f = fixture();
    f.link(None).await;
    let old = f.store("old secret", &["a"]).await.id;
    f.store("Old Secret", &[]).await;
    let kept = f.store("kept", &[]).await.id;
    f.store.write(move |w| memory::delete(w, &old, "test")).await.unwrap();
    let deleted_at = f.clock.now();
    f.clock.advance(DAY * 30);
    let young = f.store("young", &[]).await.id;
    f.store.write(move |w| memory::delete(w, &young, "test")).await.unwrap();
    let before = entries(&f).await;
    let drop_before = |at: Micros| f.store.write(move |w| retention::drop_texts(w, at, 10));
    assert_eq!(drop_before(deleted_at).await.unwrap(), 0);
    let duties = f.counts().await;
    assert_eq!(drop_before(f.clock.now()).await.unwrap(), 1);
    assert_eq!(drop_before(f.clock.now()).await.unwrap(), 0, "and only once");
    assert_eq!(f.counts().await, duties, "it is no change of the memory");
    assert_eq!(f.get(old).await.content, "");
    assert!(f.get(old).await.deleted_at.is_some());
    let versions = f.store.read(move |r| memory::versions(r, &old)).await.unwrap();
    assert!(versions.is_empty(), "{versions:?}");
    assert_eq!(
        (f.get(kept).await.content, f.get(young).await.content),
        ("kept".into(), "young".into())
    );
    let after = entries(&f).await;
    assert!(before.iter().zip(&after).all(|(a, b)| a.digest == b.digest));
    let restore = |id: MemoryId| f.store.write(move |w| memory::restore(w, &id, None, "test"));
    assert!(matches!(restore(old).await, Err(StoreError::ContentDropped(_))));
    restore(young).await.unwrap();
    // Storing it anew brings it back.
    assert!(f.store("old secret", &[]).await.created);
    assert_eq!(f.get(old).await.content, "old secret");
}

#[tokio::test]
async fn the_facts_say_what_a_backfill_takes() {
    let f = fixture();
    f.store("short", &["a", "b"]).await;
    f.store("gone", &["c"]).await;
    let gone = MemoryId::of("gone");
    f.store.write(move |w| memory::delete(w, &gone, "test")).await.unwrap();
    let old = f.store("old", &["a"]).await.id;
    let patch = super::patch(Some("new"), None, None);
    f.store.write(move |w| memory::update(w, &old, &patch)).await.unwrap();
    let long = f.store(&"long ".repeat(30), &[]).await.id;
    let facts = f.store.read(|r| digest::facts(r, 100)).await.unwrap();
    assert_eq!((facts.memories, facts.tombstones, facts.findable), (4, 1, 3));
    assert_eq!((facts.tags, facts.tag_links), (2, 4));
    assert_eq!(facts.text_bytes, 5 + 3 + 3 + 150);
    assert_eq!(facts.long_texts, [(long, 150)]);
    assert!(f.store.read(|r| digest::facts(r, 150)).await.unwrap().long_texts.is_empty());
}
