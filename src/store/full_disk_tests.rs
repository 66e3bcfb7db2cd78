//! What a full disk does to a group of jobs: nobody is acknowledged who isn't kept, and nobody is refused
//! who would have had room.

use super::error::StoreError;
use super::tests::{Fixture, draft, fixture};
use super::{Store, memory, stats};
use crate::model::id::MemoryId;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

/// Leaves room for `pages` more pages; `None` for as many as there may ever be.
async fn leave_room(store: &Store, pages: Option<i64>) {
    store
        .write(move |write| {
            let now: i64 = write.conn.pragma_query_value(None, "page_count", |row| row.get(0))?;
            let most = pages.map_or(i64::from(u32::MAX - 1), |pages| now + pages);
            Ok(write.conn.pragma_update(None, "max_page_count", most)?)
        })
        .await
        .unwrap();
}

/// Stores all texts in one group: the writer is held up until every job waits. Tells for each what became
/// of it and how often it ran.
async fn store_together(
    f: &Fixture,
    texts: &[String],
) -> Vec<(Result<MemoryId, StoreError>, usize)> {
    let (release, released) = mpsc::channel::<()>();
    let (begun, begins) = mpsc::channel::<()>();
    let store = f.store.clone();
    let holding = tokio::spawn(async move {
        store
            .write(move |_| {
                begun.send(()).unwrap();
                released.recv().unwrap();
                Ok(())
            })
            .await
    });
    tokio::task::spawn_blocking(move || begins.recv().unwrap()).await.unwrap();
    let waiting: Vec<_> = texts
        .iter()
        .map(|text| {
            let (draft, runs) = (draft(text, &["t"]), Arc::new(AtomicUsize::new(0)));
            let counted = Arc::clone(&runs);
            let answer = f.store.inner.writer.submit(move |write| {
                counted.fetch_add(1, Ordering::SeqCst);
                Ok(memory::store(write, &draft)?.id)
            });
            (answer.unwrap(), runs)
        })
        .collect();
    release.send(()).unwrap();
    holding.await.unwrap().unwrap();
    let mut outcomes = Vec::new();
    for (answer, runs) in waiting {
        let outcome = answer.await.unwrap();
        outcomes.push((outcome, runs.load(Ordering::SeqCst)));
    }
    outcomes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_group_on_a_full_disk_those_are_kept_that_fit() {
    let f = fixture();
    let before = f.store("before the disk is full", &[]).await.id;
    leave_room(&f.store, Some(24)).await;
    let texts: Vec<String> = (0..12)
        .map(|n| {
            let words = if n % 3 == 1 { 40_000 } else { 5 };
            format!("text {n} {}", "word ".repeat(words))
        })
        .collect();
    let outcomes = store_together(&f, &texts).await;
    let mut kept = vec![before];
    for (n, ((outcome, runs), text)) in outcomes.iter().zip(&texts).enumerate() {
        match outcome {
            Ok(id) => kept.push(*id),
            Err(error) => {
                assert!(matches!(error, StoreError::DiskFull), "{error}");
                assert!(text.len() > 100_000, "a small one was refused");
            }
        }
        // The second found no room and took the first one's work with it; then each ran alone.
        assert_eq!(*runs, if n < 2 { 2 } else { 1 }, "job {n}");
    }
    assert_eq!(kept.len(), 9, "eight small ones fit");
    // It is the same after a restart as before it.
    let Fixture { store, clock, dir } = f;
    store.close();
    let options = super::tests::options(&dir, "here");
    let store = Store::open(&options, Arc::new(clock.clone())).unwrap();
    let f = Fixture { store, clock, dir };
    assert_eq!(f.store.read(stats::stats).await.unwrap().memories, 9);
    for id in kept {
        f.get(id).await;
    }
    assert_eq!(f.store.read(stats::quick_check).await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_room_again_everything_is_stored() {
    let f = fixture();
    f.store("before", &[]).await;
    leave_room(&f.store, Some(0)).await;
    let texts: Vec<String> = (0..4).map(|n| format!("{n} {}", "word ".repeat(9000))).collect();
    for (outcome, _) in store_together(&f, &texts).await {
        assert!(matches!(outcome, Err(StoreError::DiskFull)), "{outcome:?}");
    }
    assert_eq!(f.store.read(stats::stats).await.unwrap().memories, 1);
    leave_room(&f.store, None).await;
    for (outcome, runs) in store_together(&f, &texts).await {
        outcome.unwrap();
        assert_eq!(runs, 1);
    }
    assert_eq!(f.store.read(stats::stats).await.unwrap().memories, 5);
}

#[tokio::test]
async fn an_altered_text_is_named() {
    let f = fixture();
    let ids = [f.store("first text", &[]).await.id, f.store("second text", &[]).await.id];
    let check = || f.store.read(|read| stats::altered_texts(read, 0, 10));
    assert_eq!(check().await.unwrap(), (Vec::new(), Some(2)));
    let damage = "UPDATE memory SET content = CAST(x'66ff' AS TEXT) WHERE content = 'second text'";
    f.store.write(move |write| Ok(write.conn.execute(damage, [])?)).await.unwrap();
    assert_eq!(check().await.unwrap(), (vec![ids[1].to_string()], Some(2)));
    let after = f.store.read(|read| stats::altered_texts(read, 2, 10)).await.unwrap();
    assert_eq!(after, (Vec::new(), None));
    let unreadable = f.store.read(move |read| memory::get(read, &ids[1])).await.unwrap_err();
    assert!(matches!(unreadable, StoreError::Corrupt(_)), "{unreadable}");
}
