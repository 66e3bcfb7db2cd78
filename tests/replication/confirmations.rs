//! Vectors that the index has accepted: confirmed later, sent again when it has dropped them.

use super::World;
use memtide::clock::Clock as _;
use memtide::emulator::faults::{Effect, Rule};
use memtide::emulator::options::Options;
use memtide::emulator::product::Product;
use memtide::remote::contract::Contract;
use memtide::store::unconfirmed;
use std::time::Duration;

const MINUTE: Duration = Duration::from_mins(1);

impl World {
    async fn unconfirmed(&self) -> u64 {
        self.store.read(unconfirmed::count).await.unwrap()
    }

    /// Steps from one instant to the next until the index has been seen to hold everything. Gives how
    /// long that took.
    async fn confirm(&self) -> Duration {
        let began = self.clock.now();
        for _ in 0..100 {
            let step = self.settle().await;
            if self.unconfirmed().await == 0 && self.counts().await.pending == 0 {
                return self.clock.now().since(began);
            }
            let next = step.next_at.expect("what is unconfirmed is looked at again");
            self.clock.advance(next.since(self.clock.now()).max(Duration::from_millis(100)));
        }
        panic!("{} changes are never confirmed", self.unconfirmed().await);
    }

    fn to_vectorize(&self) -> u64 {
        self.account.core().n_requests(Product::Vectorize)
    }
}

fn drop_some() -> Rule {
    Rule::new(Effect::DropMutation).on(Product::Vectorize)
}

#[tokio::test]
async fn an_accepted_vector_is_confirmed_a_minute_later_by_two_requests() {
    let world = World::linked().await;
    let id = world.remember("one", &[]).await;
    world.embed().await;
    let step = world.settle().await;
    assert_eq!((world.unconfirmed().await, world.counts().await.pending), (1, 0));
    assert_eq!(step.next_at, Some(world.clock.now().plus(MINUTE)));
    world.account.core().clear_requests();
    world.clock.advance(Duration::from_secs(59));
    world.settle().await;
    assert_eq!(world.n_requests(), 0, "it is not asked for yet");
    world.clock.advance(Duration::from_secs(1));
    let step = world.settle().await;
    assert_eq!((world.unconfirmed().await, world.n_requests()), (0, 2));
    assert_eq!(step.next_at.map(|at| at.since(world.clock.now())), Some(MINUTE));
    assert_eq!(world.settle().await.next_at, None, "nothing is left to be looked at");
    world.forget(id).await;
    world.confirm().await;
    assert!(world.vectors().is_empty());
}

#[tokio::test]
async fn an_index_that_drops_one_mutation_in_twenty_ends_complete() {
    let world = World::linked().await;
    let dropping = world.account.core().inject(drop_some().path("upsert").chance(0.05));
    let mut ids = Vec::new();
    for n in 0..120 {
        ids.push(world.remember(&format!("memory {n}"), &[]).await);
        world.embed().await;
        world.settle().await;
    }
    let fired = world.account.core().fired(dropping);
    assert!(fired > 0, "nothing was dropped");
    assert!(world.vectors().len() < 120, "what was dropped is not there");
    world.confirm().await;
    assert_eq!(world.vectors().len(), 120);
    assert_eq!(world.counts().await.parked, 0);
}

#[tokio::test]
async fn a_dropped_change_and_a_dropped_deletion_are_sent_again() {
    let world = World::linked().await;
    let changed = world.remember("changed", &["old"]).await;
    let gone = world.remember("gone", &[]).await;
    world.embed().await;
    world.confirm().await;
    let dropping = world.account.core().inject(drop_some().times(2));
    world.retag(changed, &["new"]).await;
    world.forget(gone).await;
    world.settle().await;
    assert_eq!(world.account.core().fired(dropping), 2);
    let before = world.vectors();
    assert!(before.len() == 2 && before.iter().all(|vector| vector.metadata["tags"] != "new"));
    world.confirm().await;
    let after = world.vectors();
    assert_eq!((after.len(), &after[0].metadata["tags"]), (1, &"new".into()));
}

#[tokio::test]
async fn a_backfill_is_confirmed_by_pages_of_the_list() {
    let world = World::linked().await;
    world.remember_many(2500).await;
    world.embed().await;
    let dropping = world.account.core().inject(drop_some().path("upsert").times(1));
    world.settle().await;
    assert_eq!(world.account.core().fired(dropping), 1);
    assert_eq!(world.unconfirmed().await, 2500);
    world.clock.advance(MINUTE);
    world.account.core().clear_requests();
    let step = world.step().await;
    assert_eq!(step.tally.repaired, 500, "the first batch, as large as that of the rows");
    assert_eq!(world.to_vectorize(), 3, "how far it is, and two pages");
    assert_eq!(world.unconfirmed().await, 0);
    world.confirm().await;
    assert_eq!(world.vectors().len(), 2500);
}

#[tokio::test]
async fn an_index_that_is_late_is_asked_rarely_and_sent_again_after_ten_minutes() {
    let options = Options { vectorize_delay: Duration::from_mins(25), ..Options::default() };
    let world = World::unlinked(options);
    world.provision(&Contract::local(super::space()).unwrap()).await;
    world.activate().await;
    world.link().await.unwrap();
    world.remember("late", &[]).await;
    world.embed().await;
    world.settle().await;
    world.account.core().clear_requests();
    let took = world.confirm().await;
    assert!(took >= Duration::from_mins(25), "{took:?}");
    let n_requests = world.n_requests();
    assert!(n_requests <= 16, "{n_requests} requests in {took:?}");
    assert_eq!(world.vectors().len(), 1);
}

#[tokio::test]
async fn nothing_is_asked_while_the_index_is_left_alone_or_the_network_is_down() {
    let world = World::linked().await;
    world.remember("one", &[]).await;
    world.embed().await;
    world.settle().await;
    world.account.core().set_network(false);
    world.clock.advance(MINUTE);
    let step = world.settle().await;
    assert!(step.next_at.is_some() && world.unconfirmed().await == 1);
    let refused = world.account.core().n_refused();
    world.settle().await;
    assert_eq!(world.account.core().n_refused(), refused, "it waits before it asks again");
    world.account.core().set_network(true);
    world.confirm().await;
}

#[tokio::test]
async fn a_change_made_meanwhile_is_neither_confirmed_nor_sent_twice() {
    let world = World::linked().await;
    let id = world.remember("busy", &["a"]).await;
    world.embed().await;
    world.settle().await;
    world.clock.advance(MINUTE);
    world.retag(id, &["b"]).await;
    // Sends the newer version, and asks for what was accepted before it.
    world.settle().await;
    assert_eq!(world.unconfirmed().await, 1, "the newer one has yet to be seen");
    world.account.core().clear_requests();
    world.confirm().await;
    let sent = world.account.core().requests();
    assert!(sent.iter().all(|request| !request.path.ends_with("upsert")), "{sent:?}");
    assert_eq!(world.vectors()[0].metadata["tags"], "b");
}

#[tokio::test]
async fn a_deletion_that_overtakes_a_revival_of_another_device_does_no_lasting_harm() {
    let mut first = World::unlinked(Options::default());
    first.provision(&Contract::local(super::space()).unwrap()).await;
    let mut second = World::device(first.account.clone(), first.clock.clone(), 2);
    for world in [&mut first, &mut second] {
        world.mode = super::LinkMode::Dual;
        world.activate().await;
        world.link().await.unwrap();
    }
    let id = first.remember("phoenix", &[]).await;
    first.embed().await;
    first.confirm().await;
    second.replicator.handle().sync_now();
    second.confirm().await;
    second.embed().await;
    // The second device's row of the deletion goes up, the removal of the vector is held up.
    second.forget(id).await;
    let late = Rule::new(Effect::Drop).on(Product::Vectorize).times(1);
    let late = second.account.core().inject(late);
    second.settle().await;
    assert_eq!(second.account.core().fired(late), 1);
    // Meanwhile the first one learns of it, stores it anew, and its vector is seen to be there.
    first.replicator.handle().sync_now();
    first.settle().await;
    assert!(first.get(id).await.deleted_at.is_some());
    first.remember("phoenix", &[]).await;
    first.embed().await;
    first.confirm().await;
    assert_eq!(first.vectors().len(), 1);
    // Then the removal goes through, before the second one has read of the revival.
    let cut = second.account.core().inject(Rule::new(Effect::Drop).on(Product::D1));
    second.store.write(memtide::store::outbox::hasten).await.unwrap();
    second.settle().await;
    assert!(second.account.core().fired(cut) > 0);
    assert!(second.vectors().is_empty(), "the removal came last");
    second.account.core().clear_faults();
    second.replicator.handle().sync_now();
    second.settle().await;
    second.embed().await;
    second.confirm().await;
    assert!(second.get(id).await.deleted_at.is_none());
    assert_eq!(second.vectors().len(), 1);
}
