//! The plan's limits and the own budget: what is used up is left alone until it is renewed, and live
//! changes don't wait for the backfill.

use super::{NOON, World, names, space};
use memtide::clock::{Clock as _, Micros};
use memtide::emulator::faults::{Effect, Reply, RetryAfter, Rule};
use memtide::emulator::options::{Limits, Options};
use memtide::emulator::product::Product;
use memtide::model::id::MemoryId;
use memtide::remote::contract::Contract;
use memtide::replicate::progress::SyncState;
use memtide::store::link::{self, LinkMode};
use std::time::Duration;

/// 2023-11-15T00:00:00Z, the next one after [`NOON`].
const MIDNIGHT: Micros = Micros(1_700_006_400_000_000);
/// Devices of one account come back one after the other.
const SPREAD: Duration = Duration::from_mins(1);

fn limited(change: impl FnOnce(&mut Limits)) -> Options {
    let mut options = Options::default();
    change(&mut options.limits);
    options
}

/// Lives on until just before midnight; something is stored now and then, and the daemon starts anew once.
/// Returns how many memories were stored.
async fn wait_for_midnight(world: &mut World) -> usize {
    let mut n_stored = 0;
    let step = Duration::from_mins(4);
    while world.clock.now().plus(step) < MIDNIGHT {
        world.clock.advance(step);
        world.remember(&format!("stored while waiting, {n_stored}"), &[]).await;
        n_stored += 1;
        if n_stored == 7 {
            world.restart();
        }
        world.settle().await;
    }
    assert!(n_stored > 20, "hours went by");
    n_stored
}

async fn pass_midnight(world: &World) {
    world.clock.set(MIDNIGHT.plus(SPREAD));
    world.drain().await;
}

#[tokio::test]
async fn used_up_rows_are_left_alone_until_midnight() {
    // A batch of 500 memories writes more than this, which is noticed with the next one.
    let limits = limited(|limits| limits.d1_rows_written_per_day = Some(2000));
    let mut world = World::unlinked(limits);
    world.mode = LinkMode::Dual;
    world.provision(&Contract::local(space()).unwrap()).await;
    world.link().await.unwrap();
    world.remember_many(900).await;
    let step = world.settle().await;
    let progress = world.replicator.handle().progress();
    assert_eq!((progress.d1.state, progress.state), (SyncState::Quota, SyncState::Quota));
    assert_eq!(progress.action, None, "it comes back by itself");
    let next_at = step.next_at.unwrap();
    assert!(next_at >= MIDNIGHT && next_at <= MIDNIGHT.plus(SPREAD), "{next_at:?}");
    assert_eq!(world.counts().await.pending_by_product, [0, 400, 0]);
    assert!(progress.d1_rows_written_today >= 2000 && progress.d1_rows_read_today > 0);
    let refused = world.account.core().n_requests(Product::D1);
    let n_stored = wait_for_midnight(&mut world).await;
    assert_eq!(world.account.core().n_requests(Product::D1), refused, "nothing is asked");
    assert_eq!(world.state(), SyncState::Quota, "a restart forgets nothing");
    let counts = world.counts().await;
    assert_eq!((counts.pending_by_product[1], counts.parked), (400 + n_stored as u64, 0));
    pass_midnight(&world).await;
    assert_eq!(world.rows("SELECT count(*) FROM memories"), [(900 + n_stored).to_string()]);
    assert_eq!(world.state(), SyncState::Idle);
}

#[tokio::test]
async fn used_up_neurons_are_left_alone_until_midnight() {
    let mut world = World::unlinked(limited(|limits| limits.neurons_per_day = Some(1)));
    let core = std::sync::Arc::clone(world.account.core());
    core.create_database("memories").unwrap();
    core.create_index("vectors", 768).unwrap();
    core.create_bucket("bodies").unwrap();
    world.link().await.unwrap();
    // A request embeds a hundred texts, and each costs more than one neuron.
    world.remember_many(150).await;
    world.settle().await;
    let progress = world.replicator.handle().progress();
    assert_eq!((progress.ai.state, progress.d1.state), (SyncState::Quota, SyncState::Idle));
    assert_eq!(world.counts().await.pending_by_product, [0, 0, 50]);
    let refused = core.n_requests(Product::Ai);
    assert_eq!(refused, 2);
    let n_stored = wait_for_midnight(&mut world).await;
    assert_eq!(core.n_requests(Product::Ai), refused, "nothing is asked");
    let counts = world.counts().await;
    assert_eq!((counts.pending_by_product, counts.parked), ([0, 0, 50 + n_stored as u64], 0));
    assert_eq!(world.rows("SELECT count(*) FROM memories"), [(150 + n_stored).to_string()]);
    pass_midnight(&world).await;
    assert_eq!(world.vectors().len(), 150 + n_stored);
    assert_eq!(world.state(), SyncState::Idle);
}

#[tokio::test]
async fn a_person_who_asks_costs_one_request_while_a_quota_is_used_up() {
    let world = World::linked().await;
    world.remember_many(20).await;
    let quota = Reply::error(400, 7500, "exceeded D1's free tier daily row write limit");
    let fault = world.account.core().inject(Rule::new(Effect::reply(quota)).on(Product::D1));
    world.settle().await;
    assert_eq!(world.account.core().fired(fault), 1);
    world.replicator.handle().sync_now();
    world.settle().await;
    world.clock.advance(Duration::from_mins(30));
    world.settle().await;
    assert_eq!(world.account.core().fired(fault), 2, "one probe, then midnight again");
}

#[tokio::test]
async fn a_product_that_asked_for_silence_has_it_over_a_restart_and_whoever_asks() {
    let mut world = World::linked().await;
    world.remember_many(3).await;
    let silence = Reply::throttled(7429, RetryAfter::Seconds(1800));
    let fault = Rule::new(Effect::reply(silence)).on(Product::D1).times(1);
    let fault = world.account.core().inject(fault);
    world.settle().await;
    assert_eq!(world.account.core().fired(fault), 1);
    for _ in 0..5 {
        world.restart();
        world.replicator.handle().sync_now();
        world.settle().await;
        world.replicator.handle().reload();
        world.settle().await;
        assert_eq!(world.account.core().n_requests(Product::D1), 1);
        assert_eq!(world.state(), SyncState::BackingOff);
        world.clock.advance(Duration::from_secs(359));
    }
    assert!(world.clock.now().since(NOON) < Duration::from_secs(1800));
    world.clock.advance(Duration::from_secs(5));
    world.drain().await;
    assert_eq!(world.rows("SELECT count(*) FROM memories"), ["3"]);
}

/// A device with a backfill of 2,000 memories, all of them embedded.
async fn with_backfill() -> World {
    let world = World::unlinked(Options::default());
    world.activate().await;
    world.remember_many(2000).await;
    world.embed().await;
    world.provision(&Contract::local(space()).unwrap()).await;
    assert_eq!(names().index, "vectors");
    world.link().await.unwrap();
    world
}

async fn store_live(world: &World) -> Vec<MemoryId> {
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(world.remember(&format!("live {n}"), &["live"]).await);
    }
    world.embed().await;
    ids
}

async fn assert_complete(world: &World, ids: &[MemoryId]) {
    let owed = world.entries().await;
    let left = owed.iter().filter(|entry| ids.contains(&entry.id)).count();
    assert_eq!(left, 0, "rows and vectors are there");
    assert_eq!(
        world.rows("SELECT count(*) FROM memories WHERE content LIKE 'live %'"),
        [ids.len().to_string()]
    );
}

#[tokio::test]
async fn what_is_stored_during_a_backfill_arrives_within_two_steps() {
    let world = with_backfill().await;
    world.step().await;
    let n_sent: usize = world.rows("SELECT count(*) FROM memories")[0].parse().unwrap();
    assert!((1..1000).contains(&n_sent), "the backfill is under way: {n_sent}");
    let ids = store_live(&world).await;
    world.account.core().clear_requests();
    world.step().await;
    assert_eq!(
        world.rows("SELECT count(*) FROM memories WHERE content LIKE 'live %'"),
        ["10"],
        "the rows go first"
    );
    world.step().await;
    assert_complete(&world, &ids).await;
    assert_eq!(world.account.core().n_requests(Product::D1), 2, "not by requests of their own");
    let n_now: usize = world.rows("SELECT count(*) FROM memories")[0].parse().unwrap();
    assert!(n_now > n_sent + 500, "the backfill goes on beside it: {n_now}");
    assert!(world.counts().await.pending > 500, "and is not over");
}

#[tokio::test]
async fn a_backfill_that_has_used_its_share_leaves_a_fifth_to_live_changes() {
    let mut world = with_backfill().await;
    // Four fifths of six hundred are the backfill's.
    let sent = serde_json::to_string(&vec![world.clock.now().0; 480]).unwrap();
    world.store.write(move |write| link::remember(write, "budget", &sent)).await.unwrap();
    world.restart();
    let step = world.settle().await;
    assert_eq!(world.n_requests(), 0, "the backfill waits");
    assert_eq!(step.next_at, Some(world.clock.now().plus(Duration::from_mins(5))));
    let ids = store_live(&world).await;
    world.step().await;
    world.step().await;
    assert_complete(&world, &ids).await;
    assert!(world.n_requests() <= 4, "{}", world.n_requests());
    world.settle().await;
    let n_requests = world.n_requests();
    world.clock.advance(Duration::from_mins(4));
    world.settle().await;
    assert_eq!(world.n_requests(), n_requests, "the rest of the backfill still waits");
    world.drain().await;
    assert_eq!(world.rows("SELECT count(*) FROM memories"), ["2010"]);
}
