//! The store against the three stores of the cloud: what differs is found, counted and put back.

use super::{INLINE, World};
use bytes::Bytes;
use memtide::clock::Clock as _;
use memtide::emulator::faults::{Effect, Reply, Rule};
use memtide::emulator::options::Options;
use memtide::emulator::product::Product;
use memtide::model::id::MemoryId;
use memtide::model::space::UnitVector;
use memtide::remote::r2::R2;
use memtide::remote::vector_row::VectorRow;
use memtide::remote::vectorize::Vectorize;
use memtide::replicate::verify::VerifyError;
use memtide::replicate::verify::report::{Kind, Report};
use std::time::Duration;

impl World {
    async fn verify(&self, repairs: bool) -> Report {
        self.replicator.handle().verify(repairs).await.unwrap()
    }

    /// Lets everything arrive and be confirmed, and become old enough to be compared.
    async fn rest(&self) {
        self.settle().await;
        for _ in 0..20 {
            self.clock.advance(Duration::from_mins(1));
            self.settle().await;
        }
    }

    /// Changes the account's database past the triggers, as no writer would.
    fn damage(&self, sql: &str) {
        self.rows("INSERT INTO mt_stage(j) VALUES ('damage')");
        self.rows(sql);
        self.rows("DELETE FROM mt_stage");
    }

    fn index(&self) -> Vectorize {
        Vectorize::new(self.remote(), "vectors")
    }

    /// Takes a memory out of the file, as no program would.
    fn lose(&self, id: MemoryId) {
        let file = rusqlite::Connection::open(self.store.path()).unwrap();
        let of_it = format!("(SELECT key FROM memory WHERE id = '{id}')");
        for table in
            ["tag", "remote_position", "pending_embedding", "embedding", "outbox", "history"]
        {
            file.execute(&format!("DELETE FROM {table} WHERE memory = {of_it}"), []).unwrap();
        }
        file.execute("DELETE FROM memory WHERE id = ?1", [id.to_string()]).unwrap();
    }

    async fn put_vector(&self, id: &str) {
        let values = UnitVector::normalise(vec![1.0; super::DIMS]).unwrap();
        let row = VectorRow { id: id.to_owned(), values, metadata: None };
        self.index().upsert(&[row]).await.unwrap();
        self.clock.advance(Duration::from_mins(2));
    }
}

#[track_caller]
fn only(report: &Report, kind: Kind, ids: &[MemoryId]) {
    assert_eq!(report.findings.len(), usize::from(!ids.is_empty()), "{report:?}");
    for finding in &report.findings {
        let mut found = finding.examples.clone();
        let mut expected: Vec<String> = ids.iter().map(ToString::to_string).collect();
        found.sort();
        expected.sort();
        assert_eq!((finding.kind, finding.count), (kind, ids.len() as u64), "{report:?}");
        assert_eq!(found, expected);
    }
}

/// A world with a few memories of every sort, all of it in the cloud.
async fn world() -> (World, Vec<MemoryId>) {
    let world = World::linked().await;
    let mut ids = Vec::new();
    for n in 0..12 {
        ids.push(world.remember(&format!("memory {n}"), &["a", "b"]).await);
    }
    ids.push(world.remember(&"long ".repeat(INLINE), &[]).await);
    world.embed().await;
    world.settle().await;
    world.forget(ids[11]).await;
    world.retag(ids[10], &["c"]).await;
    world.rest().await;
    (world, ids)
}

#[tokio::test]
async fn stores_that_agree_differ_in_nothing() {
    let (world, _) = world().await;
    let report = world.verify(false).await;
    only(&report, Kind::Differing, &[]);
    let compared = report.compared;
    assert_eq!((compared.memories, compared.entries, compared.rows), (13, 13, Some(13)));
    assert_eq!((compared.vectors, compared.bodies), (Some(12), Some(1)));
    assert_eq!(compared.sampled, Some(12), "so few are all compared by value");
    assert_eq!((report.on_the_way, report.repaired()), (0, 0));
}

#[tokio::test]
async fn what_is_on_its_way_is_no_difference() {
    let (world, ids) = world().await;
    world.retag(ids[0], &["new"]).await;
    world.forget(ids[1]).await;
    world.remember("not there yet", &[]).await;
    let report = world.verify(true).await;
    only(&report, Kind::Differing, &[]);
    assert_eq!(report.on_the_way, 3);
    world.settle().await;
    world.embed().await;
    world.settle().await;
    // Nothing is visible yet, and nothing is missed.
    only(&world.verify(false).await, Kind::VectorMissing, &[]);
}

/// Damages, sees that exactly the damage is found, repairs, and sees that it is gone.
async fn repaired(world: &World, kind: Kind, ids: &[MemoryId]) {
    only(&world.verify(false).await, kind, ids);
    assert_eq!(world.counts().await.pending, 0, "nothing is owed: {:?}", world.entries().await);
    let report = world.verify(true).await;
    only(&report, kind, ids);
    assert_eq!(report.repaired(), ids.len() as u64);
    world.rest().await;
    only(&world.verify(false).await, kind, &[]);
}

#[tokio::test]
async fn states_that_are_gone_or_altered_come_back() {
    let (world, ids) = world().await;
    let (one, dead) = (ids[0], ids[11]);
    world.damage(&format!("DELETE FROM mt_entry WHERE id IN ('{one}', '{dead}')"));
    repaired(&world, Kind::MissingInCloud, &[one, dead]).await;
    world.damage(&format!("UPDATE mt_entry SET state = '{{}}', dg = dg + 1 WHERE id = '{one}'"));
    repaired(&world, Kind::Differing, &[one]).await;
    let states = world.rows(&format!("SELECT state FROM mt_entry WHERE id = '{one}'"));
    assert!(states[0].contains("\"life\""), "{states:?}");
}

#[tokio::test]
async fn rows_that_are_gone_come_back_and_altered_ones_are_told() {
    let (world, ids) = world().await;
    let (one, two, dead) = (ids[0], ids[1], ids[11]);
    world.damage(&format!("UPDATE memories SET content = 'cut' WHERE content_hash = '{one}'"));
    repaired(&world, Kind::RowTextDiffers, &[one]).await;
    world.damage(&format!("DELETE FROM memories WHERE content_hash IN ('{one}', '{dead}')"));
    // A dead memory's row may be gone: its state holds the tombstone.
    repaired(&world, Kind::RowMissing, &[one]).await;
    assert_eq!(world.rows("SELECT count(*) FROM memories WHERE deleted_at IS NULL"), ["12"]);
    let kind = format!("UPDATE memories SET memory_type = 'other' WHERE content_hash = '{two}'");
    world.damage(&kind);
    let report = world.verify(true).await;
    only(&report, Kind::RowDiffers, &[two]);
    assert_eq!(
        report.repaired(),
        0,
        "a device that only pushes doesn't overwrite what others wrote"
    );
    let back = "UPDATE memories SET memory_type = 'note' WHERE memory_type = 'other'";
    world.damage(back);
    only(&world.verify(false).await, Kind::RowDiffers, &[]);
    let tag = format!(
        "DELETE FROM memory_tags WHERE memory_id = (SELECT id FROM memories WHERE content_hash = '{two}')"
    );
    world.damage(&tag);
    only(&world.verify(false).await, Kind::RowDiffers, &[two]);
}

#[tokio::test]
async fn vectors_that_are_gone_come_back_and_those_of_the_dead_go() {
    let (world, ids) = world().await;
    let lost = [ids[0], ids[1]];
    let names: Vec<String> = lost.iter().map(ToString::to_string).collect();
    world.index().delete(&names).await.unwrap();
    world.clock.advance(Duration::from_mins(2));
    repaired(&world, Kind::VectorMissing, &lost).await;
    world.put_vector(&ids[11].to_string()).await;
    repaired(&world, Kind::VectorOfDead, &[ids[11]]).await;
    assert_eq!(world.vectors().len(), 12);
    // Another program's vectors are its own.
    world.put_vector("something else").await;
    only(&world.verify(true).await, Kind::VectorUnknown, &[]);
    assert_eq!(world.vectors().len(), 13);
}

#[tokio::test]
async fn a_vector_of_another_text_is_found_and_sent_again() {
    let (world, ids) = world().await;
    world.put_vector(&ids[0].to_string()).await;
    repaired(&world, Kind::VectorDiffers, &[ids[0]]).await;
}

#[tokio::test]
async fn vectors_of_workers_ai_are_made_anew_for_a_sample() {
    let world = World::unlinked(Options::default());
    let core = world.account.core();
    core.create_database("memories").unwrap();
    core.create_index("vectors", 768).unwrap();
    core.create_bucket("bodies").unwrap();
    world.link().await.unwrap();
    let ids = world.remember_many(50).await;
    world.rest().await;
    let asked = core.n_requests(Product::Ai);
    let report = world.verify(false).await;
    only(&report, Kind::Differing, &[]);
    assert_eq!((report.compared.vectors, report.compared.sampled), (Some(50), Some(17)));
    assert_eq!(core.n_requests(Product::Ai), asked + 1);

    // Those that are looked at are the same ones each time.
    for id in &ids {
        let values = UnitVector::normalise(vec![1.0; 768]).unwrap();
        let row = VectorRow { id: id.to_string(), values, metadata: None };
        world.index().upsert(&[row]).await.unwrap();
    }
    world.clock.advance(Duration::from_mins(2));
    assert_eq!(world.verify(true).await.of(Kind::VectorDiffers), 17);
    world.rest().await;
    assert_eq!(world.verify(false).await.of(Kind::VectorDiffers), 0);

    // While Workers AI wants to be left alone there is no sample, and all else is compared.
    let reply = Reply::error(429, 3036, "you have used up your daily free allocation");
    core.inject(Rule::new(Effect::reply(reply)).on(Product::Ai).times(1));
    world.remember("a new text", &[]).await;
    world.settle().await;
    let report = world.verify(false).await;
    assert_eq!((report.compared.vectors, report.compared.sampled), (Some(50), None));
}

#[tokio::test]
async fn bodies_that_are_gone_or_cut_come_back() {
    let (world, ids) = world().await;
    let long = ids[12];
    let key = world.account.core().object_keys("bodies").unwrap().remove(0);
    let bucket = R2::new(world.remote(), "bodies");
    bucket.delete(&key).await.unwrap();
    world.clock.advance(Duration::from_secs(5));
    repaired(&world, Kind::BodyMissing, &[long]).await;
    bucket.put(&key, Bytes::from("cut")).await.unwrap();
    world.clock.advance(Duration::from_secs(5));
    repaired(&world, Kind::BodyDiffers, &[long]).await;
    let body = world.account.core().object("bodies", &key).unwrap().unwrap();
    assert_eq!(body.len(), "long ".len() * INLINE);
}

#[tokio::test]
async fn names_that_are_no_ids_are_told_and_left_alone() {
    let (world, _) = world().await;
    world.damage("INSERT INTO mt_entry(id, state, dg) VALUES ('no id at all', '{}', 7)");
    let row = "INSERT INTO memories(content_hash, content, created_at, created_at_iso) VALUES ('../etc', 'x', 0, '')";
    world.damage(row);
    let report = world.verify(true).await;
    assert_eq!((report.of(Kind::Unreadable), report.differences()), (2, 2), "{report:?}");
    assert_eq!((report.repaired(), world.counts().await.pending), (0, 0));
}

/// Two devices that read each other's changes, with a few memories of the first one.
async fn pair() -> (World, World, Vec<MemoryId>) {
    let mut first = World::unlinked(memtide::emulator::options::Options::default());
    first.provision(&super::Contract::local(super::space()).unwrap()).await;
    let mut second = World::device(first.account.clone(), first.clock.clone(), 2);
    let mut ids = Vec::new();
    for world in [&mut first, &mut second] {
        world.mode = super::LinkMode::Dual;
        world.activate().await;
        world.link().await.unwrap();
    }
    for n in 0..5 {
        ids.push(first.remember(&format!("memory {n}"), &["a"]).await);
    }
    first.embed().await;
    for _ in 0..3 {
        first.rest().await;
        second.embed().await;
        second.rest().await;
    }
    assert_eq!(second.get(ids[4]).await.content, "memory 4");
    (first, second, ids)
}

#[tokio::test]
async fn devices_that_converged_differ_in_nothing_on_both_sides() {
    let (first, second, ids) = pair().await;
    for world in [&first, &second] {
        let report = world.verify(false).await;
        only(&report, Kind::Differing, &[]);
        assert_eq!((report.compared.memories, report.compared.vectors), (5, Some(5)));
    }
    // What one has changed and the other has yet to read is on its way.
    first.retag(ids[0], &["b"]).await;
    first.remember("new", &[]).await;
    first.embed().await;
    first.settle().await;
    let report = second.verify(true).await;
    only(&report, Kind::Differing, &[]);
    assert!(report.on_the_way >= 2, "{report:?}");
}

#[tokio::test]
async fn what_is_missing_here_is_fetched_again() {
    let (first, second, ids) = pair().await;
    second.lose(ids[0]);
    repaired(&second, Kind::MissingHere, &[ids[0]]).await;
    assert_eq!(second.get(ids[0]).await.content, "memory 0");
    assert_eq!(second.get(ids[0]).await.tags, ["a"]);
    only(&first.verify(false).await, Kind::Differing, &[]);
}

#[tokio::test]
async fn what_the_python_service_wrote_unnoticed_is_taken_up() {
    let (_, second, ids) = pair().await;
    let (one, two) = (ids[0], ids[1]);
    let row = "INSERT INTO memories(content_hash, content, memory_type, created_at, created_at_iso, updated_at) VALUES";
    let unnoticed = MemoryId::of("unnoticed");
    second.damage(&format!("{row} ('{unnoticed}', 'unnoticed', 'note', 5, '', 5)"));
    repaired(&second, Kind::RowWithoutState, &[unnoticed]).await;
    assert_eq!(second.get(unnoticed).await.content, "unnoticed");
    let later = second.clock.now().0 / 1_000_000 + 5;
    let kind = format!(
        "UPDATE memories SET memory_type = 'decision', updated_at = {later} WHERE content_hash = '{one}'"
    );
    second.damage(&kind);
    repaired(&second, Kind::RowDiffers, &[one]).await;
    assert_eq!(second.get(one).await.memory_type, "decision");
    let states = format!("UPDATE mt_entry SET state = '{{}}', dg = dg + 1 WHERE id = '{two}'");
    second.damage(&states);
    repaired(&second, Kind::Differing, &[two]).await;
}

#[tokio::test]
async fn a_vector_of_a_memory_that_nobody_knows_is_removed() {
    let (_, second, _) = pair().await;
    let nobodys = MemoryId::of("nobody's");
    second.put_vector(&nobodys.to_string()).await;
    repaired(&second, Kind::VectorUnknown, &[nobodys]).await;
    assert_eq!(second.vectors().len(), 5);
}

#[tokio::test]
async fn a_comparison_of_many_memories_costs_few_rows_and_requests() {
    let world = World::linked().await;
    let ids = world.remember_many(2000).await;
    world.embed().await;
    world.rest().await;
    world.account.core().clear_requests();
    world.clock.advance(Duration::from_hours(7 * 24));
    world.settle().await;
    let to_d1 = world.account.core().n_requests(Product::D1);
    assert_eq!((to_d1, world.n_requests()), (1, 3), "the sums, and two pages of the list");
    world.damage(&format!("DELETE FROM mt_entry WHERE id = '{}'", ids[7]));
    let report = world.verify(false).await;
    only(&report, Kind::MissingInCloud, &[ids[7]]);
    assert!(report.rows_read <= 2 * 2000 + 50, "{} rows", report.rows_read);
    assert!(report.requests <= 8, "{} requests", report.requests);
}

#[tokio::test]
async fn once_a_week_the_stores_are_compared_and_repaired_unasked() {
    let (mut world, ids) = world().await;
    let key = world.account.core().object_keys("bodies").unwrap().remove(0);
    R2::new(world.remote(), "bodies").delete(&key).await.unwrap();
    let count = format!("SELECT count(*) FROM mt_entry WHERE id = '{}'", ids[0]);
    world.damage(&format!("DELETE FROM mt_entry WHERE id = '{}'", ids[0]));
    world.clock.advance(Duration::from_hours(6 * 24));
    world.settle().await;
    assert_eq!(world.rows(&count), ["0"]);
    world.clock.advance(Duration::from_hours(24));
    // Not while the network is away, and not for ever after either.
    world.account.core().set_network(false);
    world.settle().await;
    assert_eq!(world.rows(&count), ["0"]);
    world.account.core().set_network(true);
    world.clock.advance(Duration::from_hours(2));
    world.settle().await;
    assert_eq!(world.rows(&count), ["1"]);
    assert_eq!(world.account.core().object_keys("bodies").unwrap(), [key]);
    // It is remembered over a restart.
    world.account.core().clear_requests();
    world.restart();
    world.clock.advance(Duration::from_hours(24));
    world.settle().await;
    assert_eq!(world.n_requests(), 0);
}

#[tokio::test]
async fn another_database_and_an_older_state_of_it_are_not_compared() {
    let (world, _) = world().await;
    world.rows("UPDATE mt_meta SET v = 'uuid-9' WHERE k = 'database'");
    let refused = world.replicator.handle().verify(true).await.unwrap_err();
    assert!(matches!(&refused, VerifyError::Foreign(why) if why.contains("another")), "{refused}");
    world.rows("UPDATE mt_meta SET v = 'uuid-1' WHERE k = 'database'");
    world.rows("UPDATE mt_heads SET n = 'x'");
    let refused = world.replicator.handle().verify(true).await.unwrap_err();
    assert!(matches!(&refused, VerifyError::Foreign(why) if why.contains("older")), "{refused}");
    assert_eq!(world.counts().await.pending, 0);
}

#[tokio::test]
async fn without_a_connection_there_is_a_sentence_and_a_next_step() {
    let world = World::unlinked(memtide::emulator::options::Options::default());
    let refused = world.replicator.handle().verify(false).await.unwrap_err();
    assert!(matches!(refused, VerifyError::NotConnected { .. }), "{refused}");
    let (world, _) = self::world().await;
    world.account.core().set_network(false);
    let refused = world.replicator.handle().verify(false).await.unwrap_err();
    assert!(matches!(refused, VerifyError::Remote(_)), "{refused}");
    assert_eq!(world.counts().await.pending, 0);
    assert!(world.clock.now() > super::NOON);
}
