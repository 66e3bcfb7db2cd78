//! Reading needs nobody: no network, no writer, no model.

use crate::World;
use memtide::emulator::options::Options;
use memtide::model::filter::Filter;
use memtide::store::memory;
use memtide::store::search::{self, Mode, Search};
use std::sync::mpsc::channel;

/// The texts that a search for words finds.
async fn found(world: &World, query: &str) -> Vec<String> {
    let search = Search {
        query: query.to_owned(),
        vector: None,
        mode: Mode::Hybrid,
        filter: Filter::default(),
        limit: 10,
    };
    let hits = world.store.read(move |read| search::run(read, &search)).await.unwrap();
    hits.into_iter().map(|hit| hit.memory.content).collect()
}

#[tokio::test]
async fn a_read_waits_for_no_writer_no_network_and_no_model() {
    // Linked, but nothing can be reached; and no model was ever loaded.
    let world = World::unlinked(Options::default());
    world.provision(&memtide::remote::contract::Contract::python()).await;
    world.link().await.unwrap();
    world.account.core().set_network(false);
    let id = world.remember("the release is on friday", &["plan"]).await;
    let n_refused = world.account.core().n_refused();
    // A writer that holds its transaction until it is told to go on.
    let (began, has_begun) = channel();
    let (go_on, told) = channel::<()>();
    let store = world.store.clone();
    let job = move |write: &mut memtide::store::Write<'_>| {
        memory::delete(write, &id, "test")?;
        began.send(()).unwrap();
        told.recv().unwrap();
        Ok(())
    };
    let writing = tokio::spawn(async move { store.write(job).await });
    while has_begun.try_recv().is_err() {
        tokio::task::yield_now().await;
    }
    assert_eq!(world.get(id).await.content, "the release is on friday");
    assert_eq!(found(&world, "release").await, ["the release is on friday"]);
    let (list, total) =
        world.store.read(|read| memory::list(read, &Filter::default(), 10, 0)).await.unwrap();
    assert_eq!((list.len(), total), (1, 1));
    assert!(!writing.is_finished(), "the writer was not at work");
    go_on.send(()).unwrap();
    writing.await.unwrap().unwrap();
    assert!(found(&world, "release").await.is_empty(), "now it is deleted");
    assert_eq!((world.account.core().n_refused(), world.n_requests()), (n_refused, 0));
}
