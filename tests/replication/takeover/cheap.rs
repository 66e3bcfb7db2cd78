//! What linking costs where the account holds the same memories already.

use super::account::{Kept, beside, fill, import, kept, service_tables, vector_names};
use crate::{LinkMode, World};
use memtide::emulator::options::Options;
use memtide::emulator::product::Product;
use memtide::store::link;

/// Memories on both sides.
const MEMORIES: usize = 10_000;
/// Requests that linking them may take.
const REQUESTS_MAX: usize = 60;

async fn both_sides(mode: LinkMode, n: usize) -> (World, Vec<Kept>) {
    let all: Vec<Kept> = (0..n).map(kept).collect();
    let mut world = beside(Options::default(), false);
    world.mode = mode;
    fill(&world, &all).await;
    import(&world, &all).await;
    (world, all)
}

/// Links, and carries everything. Returns the requests that it took in all.
async fn link_and_drain(world: &World) -> usize {
    world.account.core().clear_requests();
    let plan = world.prepare().await.unwrap();
    let linked = plan.link.clone();
    world.store.write(move |write| link::link(write, &linked)).await.unwrap();
    world.drain().await;
    world.n_requests()
}

fn n_writes(world: &World, product: Product, what: &str) -> usize {
    let requests = world.account.core().requests();
    let is_one = |one: &&memtide::emulator::journal::Entry| {
        one.product == product && one.path.contains(what) && one.method != "GET"
    };
    requests.iter().filter(is_one).count()
}

fn assert_side_tables_only(world: &World, before: &[String]) {
    assert!(service_tables(world) == before, "rows of the service's tables were written");
    assert_eq!(n_writes(world, Product::Vectorize, "upsert"), 0);
    assert_eq!(n_writes(world, Product::Vectorize, "delete"), 0);
    assert_eq!(n_writes(world, Product::R2, ""), 0);
    assert_eq!(world.account.core().n_requests(Product::Ai), 0);
}

#[tokio::test]
async fn ten_thousand_memories_that_are_there_already_take_sixty_requests_and_side_tables_only() {
    let (world, _) = both_sides(LinkMode::Dual, MEMORIES).await;
    let before = service_tables(&world);
    let vectors = vector_names(&world).len();
    let n_requests = link_and_drain(&world).await;
    assert!(n_requests <= REQUESTS_MAX, "{n_requests}");
    assert_side_tables_only(&world, &before);
    let n = MEMORIES as u64;
    // The place in the feed when linked, with its mark; then the state, the new place and its mark.
    let written = world.account.core().rows_written_today();
    assert!(written <= 9 * n, "{written} rows");
    assert_eq!(world.rows("SELECT count(*) FROM mt_entry"), [MEMORIES.to_string()]);
    assert_eq!((vectors, world.counts().await.pending), (MEMORIES, 0));

    // Once more, as after `unlink`: the states are there by now.
    world.store.write(link::unlink).await.unwrap();
    let written = world.account.core().rows_written_today();
    let n_requests = link_and_drain(&world).await;
    assert!(n_requests <= 35, "{n_requests}");
    assert_side_tables_only(&world, &before);
    assert_eq!(world.account.core().rows_written_today(), written, "nothing is written at all");
}

#[tokio::test]
async fn a_device_that_only_pushes_writes_no_more_and_takes_nothing() {
    let (world, _) = both_sides(LinkMode::Shadow, 3000).await;
    let before = service_tables(&world);
    // Only there, and deleted only there.
    let more: Vec<Kept> = (3000..3010).map(kept).collect();
    fill(&world, &more).await;
    let before: Vec<String> = {
        let all = service_tables(&world);
        assert!(all.len() > before.len());
        all
    };
    let n_requests = link_and_drain(&world).await;
    assert!(n_requests <= 40, "{n_requests}");
    assert_side_tables_only(&world, &before);
    assert_eq!(world.rows("SELECT count(*) FROM mt_entry"), ["3000"]);
    let here = world.store.read(memtide::store::stats::stats).await.unwrap();
    assert_eq!((here.memories, world.counts().await.pending), (3000, 0));
}
