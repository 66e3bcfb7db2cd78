//! Setting up an account, and proving what a token may do.

use super::{World, local, names};
use memtide::emulator::options::Options;
use memtide::emulator::tokens::{Permission, Token};
use memtide::remote::contract::Contract;
use memtide::remote::d1::{D1, Statement};
use memtide::remote::error::{Disposition, Pause, Product};
use memtide::remote::permissions::{Outcome, Resources, check};
use memtide::remote::provision::{Bucket, DatabaseName, Names, init, inspect};
use memtide::remote::schema::Triggers;
use std::time::Duration;

fn resources(database: &str) -> Resources {
    let name = || Some("memories".to_owned());
    Resources { database: Some(database.to_owned()), index: name(), bucket: name(), model: None }
}

#[tokio::test]
async fn an_empty_account_is_set_up_once() {
    let world = World::new(Options::default());
    let before = inspect(&world.remote, &names()).await.expect("a look");
    assert_eq!((before.database, before.index, before.bucket), (None, None, Bucket::Missing));

    let made = world.init().await;
    assert!(made.database_is_new && made.index_is_new && made.bucket_is_new);
    assert_eq!(made.schema.triggers, Triggers::Complete);
    assert_eq!(
        (made.meta.database.as_str(), made.meta.contract.clone()),
        ("database-1", Some(local()))
    );
    let found = inspect(&world.remote, &names()).await.expect("a look");
    assert_eq!(found.index.expect("an index").config.dimensions, 384);
    assert!(found.schema.missing().is_empty());

    let again = init(&world.remote, &names(), &Contract::python(), "other").await.expect("again");
    assert!(!again.database_is_new && !again.index_is_new && !again.bucket_is_new);
    assert!(again.schema.created.is_empty(), "{:?}", again.schema.created);
    assert_eq!(again.meta, made.meta, "what the first device agreed on holds");

    let by_id = Names { database: DatabaseName::Id(made.database.uuid.clone()), ..names() };
    assert_eq!(inspect(&world.remote, &by_id).await.expect("a look").database, found.database);
}

#[tokio::test]
async fn the_python_services_account_is_taken_over_as_it_is() {
    let world = World::new(Options::default());
    let core = world.account.core();
    let id = core.create_database("memories").expect("a database");
    core.create_index("memories", 768).expect("an index");
    let d1 = D1::new(world.remote.clone(), &id);
    let statements = [
        "CREATE TABLE memories (id INTEGER PRIMARY KEY AUTOINCREMENT, content_hash TEXT UNIQUE NOT NULL, content TEXT NOT NULL, memory_type TEXT, created_at REAL NOT NULL, created_at_iso TEXT NOT NULL, updated_at REAL, updated_at_iso TEXT, metadata_json TEXT, vector_id TEXT UNIQUE, content_size INTEGER DEFAULT 0, r2_key TEXT)",
        "INSERT INTO memories (content_hash, content, created_at, created_at_iso) VALUES ('a', 'x', 1, 'iso'), ('b', 'y', 1, 'iso')",
    ];
    d1.batch(&statements.map(Statement::plain)).await.expect("the service's tables");
    let vectors = memtide::remote::vectorize::Vectorize::new(world.remote.clone(), "memories");
    let values = memtide::model::space::UnitVector::normalise(vec![1.0; 768]).expect("a direction");
    let vector =
        memtide::remote::vector_row::VectorRow { id: "a".to_owned(), values, metadata: None };
    vectors.upsert(&[vector]).await.expect("accepted");
    world.pass(Duration::from_mins(1));

    let made = init(&world.remote, &names(), &local(), "database-1").await.expect("set up");
    assert!(!made.database_is_new && !made.index_is_new);
    assert_eq!(made.meta.contract, Some(Contract::python()), "its vectors are the service's");
    assert_eq!(made.schema.filled, 2);
    assert!(made.schema.created.iter().any(|name| name == "deleted_at"));
    assert_eq!(world.column("SELECT id FROM mt_feed ORDER BY seq"), ["a", "b"]);
    assert_eq!(world.column("SELECT content FROM memories ORDER BY id"), ["x", "y"]);
}

#[tokio::test]
async fn an_index_of_another_length_is_refused_before_anything_is_made() {
    let world = World::new(Options::default());
    world.account.core().create_index("memories", 1024).expect("an index");
    let error = init(&world.remote, &names(), &local(), "u").await.expect_err("1024 components");
    assert_eq!(error.disposition, Disposition::Pause(Pause::Misconfigured));
    assert!(error.message.contains("1024") && error.message.contains("384"), "{error}");
    let found = inspect(&world.remote, &names()).await.expect("a look");
    assert_eq!((found.database, found.bucket), (None, Bucket::Missing));
}

#[tokio::test]
async fn an_account_without_r2_is_set_up_without_a_bucket() {
    let world = World::new(Options { r2_enabled: false, ..Options::default() });
    let made = world.init().await;
    assert!(matches!(&made.bucket, Bucket::NotEnabled(error) if error.hint.contains("dashboard")));
    assert!(made.database_is_new && made.index_is_new && !made.bucket_is_new);
    let checks = check(&world.remote, &resources(&made.database.uuid)).await;
    let r2 = checks.iter().find(|check| check.product == Product::R2).expect("a check");
    assert!(matches!(r2.outcome, Outcome::NotEnabled(_)) && r2.is_ok(), "{r2:?}");
}

#[tokio::test]
async fn every_permission_is_proved_and_the_probes_are_gone() {
    let world = World::new(Options::default());
    let made = world.init().await;
    let before = world.column("SELECT name FROM sqlite_master ORDER BY name");
    let checks = check(&world.remote, &resources(&made.database.uuid)).await;
    assert_eq!(checks.len(), 5);
    assert!(checks.iter().all(|check| check.outcome == Outcome::Ok), "{checks:?}");
    assert_eq!(world.column("SELECT name FROM sqlite_master ORDER BY name"), before);
    let core = world.account.core();
    assert!(core.object_keys("memories").expect("a bucket").is_empty());
    assert!(core.n_waiting_mutations("memories").expect("an index") > 0, "the probe was written");
    world.pass(Duration::from_mins(5));
    assert!(core.visible_vectors("memories").expect("an index").is_empty());
}

#[tokio::test]
async fn a_missing_permission_is_named_and_hides_no_other() {
    let world = World::new(Options::default());
    let made = world.init().await;
    let cases = [
        (Permission::D1Write, Product::D1, "`D1 Write`"),
        (Permission::VectorizeWrite, Product::Vectorize, "`Vectorize Write`"),
        (Permission::R2Write, Product::R2, "`Workers R2 Storage Write`"),
        (Permission::AiRead, Product::Ai, "`Workers AI Read`"),
    ];
    for (lacking, product, name) in cases {
        let token = Token::user(world.account.token()).without(&[lacking]);
        world.account.core().set_tokens(vec![token]);
        // R2 takes one write of a key a second.
        world.pass(Duration::from_secs(1));
        let checks = check(&world.remote, &resources(&made.database.uuid)).await;
        for check in checks {
            if check.product != product {
                assert_eq!(check.outcome, Outcome::Ok, "without {name}: {check:?}");
                continue;
            }
            let Outcome::Failed(error) = &check.outcome else {
                panic!("without {name}: {check:?}")
            };
            assert_eq!(error.disposition, Disposition::Pause(Pause::Auth), "{error}");
            assert!(error.hint.contains(name), "{}", error.hint);
        }
    }
}
