//! Which vectors an index holds, who makes them, and what `cloud link` finds out.

use super::{DIMS, World, names, space};
use memtide::emulator::faults::{Effect, Reply, Rule};
use memtide::emulator::options::Options;
use memtide::emulator::product::Product;
use memtide::model::space::Space;
use memtide::remote::contract::Contract;
use memtide::replicate::linking::LinkRefusal;
use memtide::replicate::progress::SyncState;
use memtide::store::outbox::Counts;

/// An account as the Python service's set-up makes it.
fn python_account() -> World {
    let world = World::unlinked(Options::default());
    let core = world.account.core();
    core.create_database("memories").unwrap();
    core.create_index("vectors", 768).unwrap();
    core.create_bucket("bodies").unwrap();
    world
}

#[tokio::test]
async fn an_index_of_the_python_service_gets_its_vectors_from_workers_ai() {
    let world = python_account();
    world.activate().await;
    let plan = world.link().await.unwrap();
    assert!(!plan.link.is_local_space && plan.has_triggers);
    assert_eq!(plan.contract, Contract::python());
    let ids = world.remember_many(150).await;
    world.settle().await;
    assert_eq!(world.counts().await, Counts::default(), "no local vector is waited for");
    assert_eq!(world.account.core().n_requests(Product::Ai), 2);
    let vectors = world.vectors();
    assert_eq!(vectors.len(), 150);
    let length: f32 = vectors[0].values.iter().map(|value| value * value).sum();
    assert!(vectors[0].values.len() == 768 && (length - 1.0).abs() < 1e-3, "{length}");
    let progress = world.replicator.handle().progress();
    assert!(progress.neurons_today > 0 && progress.ai.last_success_at.is_some());

    world.forget(ids[0]).await;
    world.retag(ids[1], &["new"]).await;
    world.settle().await;
    let vectors = world.vectors();
    assert_eq!(vectors.len(), 149);
    let retagged = vectors.iter().find(|vector| vector.id == ids[1].to_string()).unwrap();
    assert_eq!(retagged.metadata["tags"], "new");
}

#[tokio::test]
async fn used_up_neurons_hold_vectors_only() {
    let world = python_account();
    world.link().await.unwrap();
    world.remember_many(5).await;
    let reply = Reply::error(429, 3036, "you have used up your daily free allocation");
    let fault =
        world.account.core().inject(Rule::new(Effect::reply(reply)).on(Product::Ai).times(1));
    world.settle().await;
    assert_eq!(world.account.core().fired(fault), 1);
    let progress = world.replicator.handle().progress();
    assert_eq!((progress.ai.state, progress.d1.state), (SyncState::Quota, SyncState::Idle));
    assert_eq!(progress.state, SyncState::Quota);
    let counts = world.counts().await;
    assert_eq!((counts.pending_by_product, counts.parked), ([0, 0, 5], 0));
    world.drain().await;
    assert_eq!(world.vectors().len(), 5);
}

#[tokio::test]
async fn a_text_that_workers_ai_refuses_is_parked_alone() {
    let world = python_account();
    world.link().await.unwrap();
    world.remember_many(20).await;
    world.remember("an indigestible text", &[]).await;
    let reply = Reply::error(400, 5006, "AiError: Bad input");
    let fault = Rule::new(Effect::reply(reply)).on(Product::Ai).body("indigestible");
    let fault = world.account.core().inject(fault);
    world.settle().await;
    assert!(world.account.core().fired(fault) > 1);
    let counts = world.counts().await;
    assert_eq!((counts.pending, counts.parked), (0, 1));
    assert_eq!(world.vectors().len(), 20);
}

#[tokio::test]
async fn linking_makes_side_tables_and_the_second_device_keeps_them() {
    let world = python_account();
    let plan = world.prepare().await.unwrap();
    assert!(plan.created.iter().any(|name| name == "mt_entry"), "{:?}", plan.created);
    assert_eq!(plan.link.database_uuid, "uuid-2");
    assert_eq!(plan.link.bucket.as_deref(), Some("bodies"));
    assert_eq!(plan.link.api_base, world.account.base_url());
    assert_eq!(Contract::from_json(&plan.link.contract).unwrap(), Contract::python());
    let again = world.prepare().await.unwrap();
    assert!(again.created.is_empty() && again.link == plan.link);
}

#[tokio::test]
async fn an_own_index_is_known_by_its_contract() {
    let world = World::unlinked(Options::default());
    world.provision(&Contract::local(space()).unwrap()).await;
    let plan = world.prepare().await.unwrap();
    assert!(plan.link.is_local_space);
    assert_eq!(plan.link.database_uuid, "uuid-1");

    let other = World::unlinked(Options::default());
    let theirs = Space::new("another", "1", "mean", 256, DIMS);
    other.provision(&Contract::local(theirs).unwrap()).await;
    let refusal = other.prepare().await.unwrap_err();
    assert!(matches!(refusal, LinkRefusal::OtherModel { .. }), "{refusal}");
    assert!(refusal.to_string().contains("memtide model use"), "{refusal}");
}

#[tokio::test]
async fn an_empty_index_of_the_own_length_is_taken() {
    let world = World::unlinked(Options::default());
    let core = world.account.core();
    core.create_database("memories").unwrap();
    core.create_index("vectors", DIMS).unwrap();
    core.create_bucket("bodies").unwrap();
    assert!(world.prepare().await.unwrap().link.is_local_space);
}

#[tokio::test]
async fn what_is_missing_or_does_not_fit_is_named() {
    let world = World::unlinked(Options::default());
    let core = world.account.core();
    let refused = async || world.prepare().await.unwrap_err().to_string();
    assert!(refused().await.contains("no D1 database named \"memories\""));
    core.create_database("memories").unwrap();
    assert!(refused().await.contains("no Vectorize index named \"vectors\""));
    core.create_index("vectors", 100).unwrap();
    let wrong = refused().await;
    assert!(wrong.contains("100 components") && wrong.contains("768"), "{wrong}");
    let good = World::unlinked(Options::default());
    good.account.core().create_database("memories").unwrap();
    good.account.core().create_index("vectors", 768).unwrap();
    let missing = good.prepare().await.unwrap_err();
    assert!(missing.to_string().contains(&format!("{:?}", names().bucket.unwrap())), "{missing}");
    let tables = good.rows("SELECT name FROM sqlite_master WHERE name LIKE 'mt%'");
    assert!(tables.is_empty(), "a refusal leaves nothing behind: {tables:?}");
}
