//! The loop: it wakes when told, rests when there is nothing to do, and ends when it must.

use super::World;
use memtide::clock::Clock as _;
use memtide::emulator::faults::{Effect, Rule};
use memtide::emulator::product::Product;
use memtide::replicate::handle::ReplicatorHandle;
use memtide::replicate::progress::SyncState;
use memtide::shutdown::{self, Phase, Stopper};
use memtide::store::link;
use std::time::Duration;
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_hours(1);

struct Running {
    handle: ReplicatorHandle,
    stopper: Stopper,
    task: JoinHandle<()>,
}

/// Moves the replicator of `world` into its loop; a new one takes its place.
fn run(world: &mut World) -> Running {
    let mut other = World::device(std::sync::Arc::clone(&world.account), world.clock.clone(), 3);
    std::mem::swap(&mut world.replicator, &mut other.replicator);
    let handle = other.replicator.handle();
    let (stopper, shutdown) = shutdown::channel();
    let task = tokio::spawn(other.replicator.run(shutdown));
    Running { handle, stopper, task }
}

impl Running {
    async fn stop(self) {
        self.stopper.advance(Phase::Draining);
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn the_loop_wakes_for_a_hint_and_rests_when_all_is_sent() {
    let mut world = World::linked().await;
    let running = run(&mut world);
    let drained = running.handle.drained(LONG, || false).await.unwrap();
    assert!(drained.is_drained);
    world.remember("told", &[]).await;
    world.hint.notify_one();
    let drained = running.handle.drained(LONG, || false).await.unwrap();
    assert!(drained.is_drained && drained.counts.waiting_for_embedding == 1);
    assert_eq!(world.rows("SELECT content FROM memories"), ["told"]);
    assert_eq!(running.handle.progress().state, SyncState::Idle);
    running.stop().await;
}

#[tokio::test]
async fn waiting_for_vectors_ends_when_they_are_there() {
    let mut world = World::linked().await;
    let running = run(&mut world);
    world.remember("slow", &[]).await;
    let embed = async {
        while running.handle.progress().d1.last_success_at.is_none() {
            tokio::task::yield_now().await;
        }
        world.embed().await;
        world.hint.notify_one();
    };
    let (drained, ()) = tokio::join!(running.handle.drained(LONG, || true), embed);
    let drained = drained.unwrap();
    assert!(drained.is_drained && drained.counts.waiting_for_embedding == 0);
    assert_eq!(world.vectors().len(), 1);
    running.stop().await;
}

#[tokio::test]
async fn a_wait_that_can_not_end_says_what_is_in_the_way() {
    let mut world = World::linked().await;
    world.remember("x", &[]).await;
    world.account.core().set_tokens(Vec::new());
    let running = run(&mut world);
    let drained = running.handle.drained(LONG, || false).await.unwrap();
    assert!(!drained.is_drained);
    assert_eq!(drained.progress.state, SyncState::AuthRequired);
    assert_eq!(drained.counts.pending, 1);
    assert!(drained.progress.next_attempt_at().is_some() && drained.progress.action.is_some());
    running.stop().await;

    let mut world = World::linked().await;
    world.remember("x", &[]).await;
    world.account.core().set_network(false);
    let running = run(&mut world);
    let wait = running.handle.drained(LONG, || false);
    let pass = async {
        // Attempts go on until the time is over.
        for _ in 0..90 {
            world.clock.advance(Duration::from_mins(1));
            tokio::task::yield_now().await;
        }
    };
    let (drained, ()) = tokio::join!(wait, pass);
    let drained = drained.unwrap();
    assert!(!drained.is_drained && drained.counts.pending == 1);
    running.stop().await;
}

#[tokio::test]
async fn nothing_is_sent_while_unlinked_or_paused() {
    let mut world = World::linked().await;
    world.store.write(|write| link::set_paused(write, true)).await.unwrap();
    world.remember("x", &[]).await;
    let running = run(&mut world);
    let drained = running.handle.drained(LONG, || false).await.unwrap();
    assert!(!drained.is_drained);
    assert_eq!(drained.progress.state, SyncState::Paused);
    assert_eq!(world.n_requests(), 0);
    world.store.write(|write| link::set_paused(write, false)).await.unwrap();
    assert!(running.handle.drained(LONG, || false).await.unwrap().is_drained);
    assert_eq!(world.rows("SELECT count(*) FROM memories"), ["1"]);
    world.store.write(link::unlink).await.unwrap();
    let drained = running.handle.drained(LONG, || false).await.unwrap();
    assert!(!drained.is_drained);
    assert_eq!(drained.progress.state, SyncState::Unlinked);
    running.stop().await;
}

#[tokio::test]
async fn draining_drops_the_request_under_way_and_loses_nothing() {
    let mut world = World::linked().await;
    world.remember("slow", &[]).await;
    let late = Rule::new(Effect::Delay(LONG)).on(Product::D1).times(1);
    let late = world.account.core().inject(late);
    let running = run(&mut world);
    while world.account.core().fired(late) == 0 {
        tokio::task::yield_now().await;
    }
    running.stop().await;
    assert_eq!(world.counts().await.pending, 1);
    world.restart();
    world.drain().await;
    assert_eq!(world.rows("SELECT count(*) FROM memories"), ["1"]);
    assert_eq!(world.rows("SELECT max(seq) FROM mt_feed"), ["1"], "written once");
}

#[tokio::test]
async fn a_person_may_ask_for_an_attempt_before_its_time() {
    let world = World::linked().await;
    world.remember("x", &[]).await;
    let core = world.account.core();
    core.set_network(false);
    for _ in 0..6 {
        let step = world.settle().await;
        world.clock.set(step.next_at.unwrap());
    }
    let step = world.settle().await;
    assert!(step.next_at.unwrap().since(world.clock.now()) >= Duration::from_secs(30));
    core.set_network(true);
    world.settle().await;
    assert_eq!(world.counts().await.pending, 1, "not before its time");
    world.replicator.handle().sync_now();
    world.settle().await;
    assert_eq!(world.counts().await.pending, 0);
}
