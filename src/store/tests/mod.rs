//! What the store promises, on real files.

mod audit;
mod backup;
mod duplicate;
mod duties;
mod enrolment;
mod graph;
mod pull;
mod recall;
mod takeover;
mod transfer;

use super::error::StoreError;
use super::link::{Link, LinkMode};
use super::outbox::{self, Product, Setback};
use super::search::{Mode, Search};
use super::vector::{self, Embedded};
use super::{Store, StoreOptions, link, memory, search, stats};
use crate::clock::{Clock as _, ManualClock, Micros};
use crate::model::draft::{Author, Draft, Patch};
use crate::model::filter::Filter;
use crate::model::id::MemoryId;
use crate::model::space::{Space, UnitVector};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

pub(super) struct Fixture {
    pub(super) store: Store,
    pub(super) clock: ManualClock,
    pub(super) dir: TempDir,
}

const NOON: Micros = Micros(1_750_000_000_000_000);

pub(super) fn options(dir: &TempDir, machine: &str) -> StoreOptions {
    StoreOptions {
        path: dir.path().join("memtide.db"),
        machine: machine.to_owned(),
        seed: 1,
        n_readers: 2,
        vfs: None,
        keep_versions: 3,
        mirror_bytes: 1 << 24,
    }
}

pub(super) fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(NOON);
    let store = Store::open(&options(&dir, "here"), Arc::new(clock.clone())).unwrap();
    Fixture { store, clock, dir }
}

pub(super) fn draft(content: &str, tags: &[&str]) -> Draft {
    let tags: Vec<String> = tags.iter().map(|t| (*t).to_owned()).collect();
    Draft::check(content.to_owned(), &tags, None, None, Author::default(), 1 << 20).unwrap()
}

fn patch(content: Option<&str>, tags: Option<&[&str]>, metadata: Option<Value>) -> Patch {
    let tags: Option<Vec<String>> = tags.map(|t| t.iter().map(|t| (*t).to_owned()).collect());
    Patch::check(
        content.map(str::to_owned),
        tags.as_deref(),
        None,
        metadata.as_ref(),
        Author::default(),
        1 << 20,
    )
    .unwrap()
}

fn a_link(bucket: Option<&str>) -> Link {
    Link {
        api_base: "https://api.example".to_owned(),
        account: "account".to_owned(),
        database: "database".to_owned(),
        database_uuid: "uuid".to_owned(),
        vector_index: "index".to_owned(),
        bucket: bucket.map(str::to_owned),
        contract: "{}".to_owned(),
        is_local_space: true,
        inline_bytes: 1 << 20,
        mode: LinkMode::Shadow,
        is_paused: false,
        linked_at: NOON,
    }
}

impl Fixture {
    pub(super) async fn store(&self, content: &str, tags: &[&str]) -> memory::Stored {
        let draft = draft(content, tags);
        self.store.write(move |w| memory::store(w, &draft)).await.unwrap()
    }

    pub(super) async fn get(&self, id: MemoryId) -> crate::model::memory::Memory {
        self.store.read(move |r| memory::get(r, &id)).await.unwrap()
    }

    async fn link(&self, bucket: Option<&str>) -> u64 {
        let wanted = a_link(bucket);
        self.store.write(move |w| link::link(w, &wanted)).await.unwrap()
    }

    async fn counts(&self) -> outbox::Counts {
        self.store.read(outbox::counts).await.unwrap()
    }

    async fn search(&self, query: &str, mode: Mode, filter: Filter) -> Vec<search::Hit> {
        let vector = (mode != Mode::Keyword).then(|| (space(), direction(0.0)));
        let search = Search { query: query.to_owned(), vector, mode, filter, limit: 10 };
        self.store.read(move |r| search::run(r, &search)).await.unwrap()
    }

    async fn embed_all(&self, angle_of: impl Fn(&str) -> f32) -> usize {
        let pending = self.store.read(|r| vector::pending(r, 100, 1 << 20)).await.unwrap();
        let embedded: Vec<Embedded> = pending
            .into_iter()
            .map(|p| Embedded {
                key: p.key,
                outcome: Ok(vec![direction(angle_of(&p.content))]),
                body: p.body,
            })
            .collect();
        self.store.write(move |w| vector::settle(w, &space(), &embedded)).await.unwrap()
    }

    async fn activate(&self) {
        self.store.write(|w| vector::activate(w, &space(), 8)).await.unwrap();
    }
}

fn space() -> Space {
    Space::new("test", "1", "mean", 256, 8)
}

fn direction(angle: f32) -> UnitVector {
    UnitVector::normalise(vec![angle.cos(), angle.sin(), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]).unwrap()
}

#[tokio::test]
async fn storing_twice_makes_one_memory_with_the_tags_of_both() {
    let f = fixture();
    let first = f.store("Use Postgres", &["db"]).await;
    let again = f.store("Use Postgres", &["infra"]).await;
    assert!(first.created && !again.created && again.updated);
    assert!(again.generation > first.generation);
    let same = f.store("Use Postgres", &[]).await;
    assert!(!same.created && !same.updated);
    let memory = f.get(first.id).await;
    assert_eq!(memory.tags, ["db", "infra"]);
    assert_eq!(memory.memory_type, "note");
    assert_eq!(f.store.read(stats::stats).await.unwrap().memories, 1);
}

#[tokio::test]
async fn a_text_that_differs_in_case_is_a_version_of_the_same_memory() {
    let f = fixture();
    let first = f.store("Use Postgres", &[]).await;
    let second = f.store(" use POSTGRES ", &[]).await;
    assert_eq!(first.id, second.id);
    assert_eq!(f.get(first.id).await.content, " use POSTGRES ");
    let versions = f.store.read(move |r| memory::versions(r, &first.id)).await.unwrap();
    assert_eq!(versions.len(), 1);
    assert_eq!(versions[0].content, "Use Postgres");
    f.store.write(move |w| memory::restore(w, &first.id, Some(1), "test")).await.unwrap();
    assert_eq!(f.get(first.id).await.content, "Use Postgres");
}

#[tokio::test]
async fn a_deleted_memory_is_gone_from_every_search_and_restore_brings_it_back() {
    let f = fixture();
    f.activate().await;
    let id = f.store("the blue door", &["a"]).await.id;
    f.embed_all(|_| 0.1).await;
    assert_eq!(f.search("door", Mode::Hybrid, Filter::default()).await.len(), 1);
    f.store.write(move |w| memory::delete(w, &id, "test")).await.unwrap();
    for mode in [Mode::Hybrid, Mode::Semantic, Mode::Keyword, Mode::Exact] {
        assert!(f.search("door", mode, Filter::default()).await.is_empty(), "{mode:?}");
    }
    assert!(f.store.read(memory::tags).await.unwrap().is_empty());
    let twice = f.store.write(move |w| memory::delete(w, &id, "test")).await;
    assert!(matches!(twice, Err(StoreError::NotFound(_))));
    f.store.write(move |w| memory::restore(w, &id, None, "test")).await.unwrap();
    let back = f.get(id).await;
    assert_eq!(
        (back.content.as_str(), back.tags.len(), back.deleted_at),
        ("the blue door", 1, None)
    );
    assert_eq!(f.embed_all(|_| 0.1).await, 1);
    assert_eq!(f.search("door", Mode::Semantic, Filter::default()).await.len(), 1);
}

#[tokio::test]
async fn a_deleted_memory_that_is_stored_again_begins_anew() {
    let f = fixture();
    let id = f.store("secret plan", &["old"]).await.id;
    f.store.write(move |w| memory::delete(w, &id, "test")).await.unwrap();
    f.clock.advance(Duration::from_secs(60));
    let again = f.store("secret plan", &["new"]).await;
    assert!(again.created);
    let memory = f.get(id).await;
    assert_eq!(memory.tags, ["new"]);
    assert_eq!(memory.created_at, f.clock.now());
}

#[tokio::test]
async fn a_changed_text_supersedes_and_takes_over_what_the_old_one_had() {
    let f = fixture();
    let old = f.store("deploy on Friday", &["ops"]).await.id;
    let change = patch(Some("deploy on Monday"), None, Some(json!({"by": "ann"})));
    let new = f.store.write(move |w| memory::update(w, &old, &change)).await.unwrap();
    assert_ne!(new, old);
    assert_eq!(f.get(old).await.superseded_by, Some(new));
    let successor = f.get(new).await;
    assert_eq!(successor.tags, ["ops"]);
    assert_eq!(successor.metadata["by"], "ann");
    let hits = f.search("deploy", Mode::Keyword, Filter::default()).await;
    assert_eq!(hits.iter().map(|h| h.memory.id).collect::<Vec<_>>(), [new]);
    f.store("deploy on Friday", &[]).await;
    assert_eq!(f.get(old).await.superseded_by, None, "an explicit store makes it current again");
}

#[tokio::test]
async fn metadata_merges_key_by_key_and_null_removes() {
    let f = fixture();
    let id = f.store("x y", &[]).await.id;
    for change in [json!({"a": 1, "b": [1, 2]}), json!({"a": null, "c": "d"})] {
        let change = patch(None, None, Some(change));
        f.store.write(move |w| memory::update(w, &id, &change)).await.unwrap();
    }
    assert_eq!(Value::from(f.get(id).await.metadata), json!({"b": [1, 2], "c": "d"}));
}

#[tokio::test]
async fn filters_hold_inside_every_mode() {
    let f = fixture();
    f.activate().await;
    let red = f.store("red door", &["paint", "door"]).await.id;
    f.clock.advance(Duration::from_secs(3600));
    let blue = f.store("blue door", &["paint"]).await.id;
    f.embed_all(|text| if text.starts_with("red") { 0.2 } else { 0.1 }).await;
    let tags = |names: &[&str], all| Filter {
        tags: names.iter().map(|t| (*t).to_owned()).collect(),
        tags_all: all,
        ..Filter::default()
    };
    let late = Filter { after: Some(NOON.plus(Duration::from_secs(1))), ..Filter::default() };
    for mode in [Mode::Hybrid, Mode::Semantic, Mode::Keyword, Mode::Exact] {
        let ids = |hits: Vec<search::Hit>| hits.iter().map(|h| h.memory.id).collect::<Vec<_>>();
        let both = f.search("door", mode, tags(&["paint", "door"], true)).await;
        assert_eq!(ids(both), [red], "{mode:?}");
        assert_eq!(f.search("door", mode, tags(&["paint", "door"], false)).await.len(), 2);
        assert_eq!(ids(f.search("door", mode, late.clone()).await), [blue], "{mode:?}");
        assert!(f.search("door", mode, tags(&["none"], false)).await.is_empty(), "{mode:?}");
    }
    let semantic = f.search("?", Mode::Semantic, Filter::default()).await;
    assert_eq!(semantic[0].memory.id, blue, "the nearer vector ranks first");
}

#[tokio::test]
async fn an_old_texts_vector_never_overwrites_a_new_texts() {
    let f = fixture();
    f.activate().await;
    let id = f.store("abc def", &[]).await.id;
    let stale = f.store.read(|r| vector::pending(r, 9, 999)).await.unwrap().remove(0);
    f.store("ABC def", &[]).await;
    let late = Embedded { key: stale.key, body: stale.body, outcome: Ok(vec![direction(1.0)]) };
    let n = f
        .store
        .write(move |w| vector::settle(w, &space(), std::slice::from_ref(&late)))
        .await
        .unwrap();
    assert_eq!(n, 0);
    assert!(!f.get(id).await.embedded);
    assert_eq!(f.embed_all(|_| 0.0).await, 1);
    assert!(f.get(id).await.embedded);
}

#[tokio::test]
async fn freed_vector_slots_are_used_again_and_never_found() {
    let f = fixture();
    f.activate().await;
    for round in 0..5 {
        for n in 0..20 {
            f.store(&format!("text {n} of {round}"), &[]).await;
        }
        f.embed_all(|_| 0.3).await;
        f.store.write(|w| memory::delete_matching(w, &Filter::default(), "test")).await.unwrap();
    }
    assert!(f.search("?", Mode::Semantic, Filter::default()).await.is_empty());
    let n_slots: i64 = rusqlite::Connection::open(f.dir.path().join("memtide.db"))
        .unwrap()
        .query_row("SELECT count(*) FROM vec_1_rowids", [], |row| row.get(0))
        .unwrap();
    assert_eq!(n_slots, 20);
}

#[tokio::test]
async fn the_log_stays_short_under_steady_writes() {
    let f = fixture();
    let long = "word ".repeat(8000);
    for n in 0..200 {
        f.store(&format!("{n} {long}"), &[]).await;
    }
    let bytes = |name: &str| std::fs::metadata(f.dir.path().join(name)).unwrap().len();
    assert!(bytes("memtide.db") > 6 << 20, "nothing came out of the log");
    assert!(bytes("memtide.db-wal") < 8 << 20, "{} bytes of log", bytes("memtide.db-wal"));
}

#[tokio::test]
async fn several_windows_count_as_one_memory() {
    let f = fixture();
    f.activate().await;
    f.store("long", &[]).await;
    let pending = f.store.read(|r| vector::pending(r, 9, 999)).await.unwrap().remove(0);
    let windows = (0..40_u8).map(|n| direction(f32::from(n) / 100.0)).collect();
    let embedded = Embedded { key: pending.key, body: pending.body, outcome: Ok(windows) };
    f.store
        .write(move |w| vector::settle(w, &space(), std::slice::from_ref(&embedded)))
        .await
        .unwrap();
    for n in 0..12 {
        f.store(&format!("short {n}"), &[]).await;
    }
    f.embed_all(|_| 1.0).await;
    let hits = f.search("?", Mode::Semantic, Filter::default()).await;
    assert_eq!(hits.len(), 10, "k memories, not k windows");
    assert_eq!(hits[0].memory.content, "long");
}

#[tokio::test]
async fn one_failing_job_takes_nobody_of_its_group_with_it() {
    let f = fixture();
    let mut writes = Vec::new();
    for n in 0..50 {
        let draft = draft(&format!("memory {n}"), &[]);
        let store = f.store.clone();
        writes.push(tokio::spawn(async move {
            store
                .write(move |w| {
                    let stored = memory::store(w, &draft)?;
                    if n % 7 == 0 { Err(StoreError::Busy) } else { Ok(stored) }
                })
                .await
        }));
    }
    let mut n_stored = 0;
    for write in writes {
        n_stored += u64::from(write.await.unwrap().is_ok());
    }
    assert_eq!(n_stored, 42);
    assert_eq!(f.store.read(stats::stats).await.unwrap().memories, 42);
}

#[tokio::test]
async fn a_panicking_job_is_refused_and_the_store_lives_on() {
    let f = fixture();
    let refused = f
        .store
        .write(|w| {
            memory::store(w, &draft("doomed", &[]))?;
            assert!(w.now() < Micros(0), "as a defect would");
            Ok(())
        })
        .await;
    assert!(refused.is_err());
    f.store("alive", &[]).await;
    assert_eq!(f.store.read(stats::stats).await.unwrap().memories, 1);
}

#[tokio::test]
async fn prefixes_resolve_or_say_why_not() {
    let f = fixture();
    let id = f.store("one", &[]).await.id;
    let resolve = |text: String| f.store.read(move |r| memory::resolve(r, &text));
    assert_eq!(resolve(id.to_string()[..6].to_uppercase()).await.unwrap(), id);
    for bad in ["", "abc", "xyzxyz", "' OR 1=1"] {
        assert!(matches!(resolve(bad.to_owned()).await, Err(StoreError::Refused(_))), "{bad}");
    }
    let other = if id.to_string().starts_with("0000") { "1111" } else { "0000" };
    assert!(matches!(resolve(other.to_owned()).await, Err(StoreError::NotFound(_))));
}

#[tokio::test]
async fn a_clone_on_another_machine_gets_its_own_device_id() {
    let f = fixture();
    let here = f.get(f.store("x1 y1", &[]).await.id).await.device;
    f.store.close();
    let clock = Arc::new(f.clock.clone());
    let store = Store::open(&options(&f.dir, "elsewhere"), clock).unwrap();
    let f = Fixture { store, clock: f.clock, dir: f.dir };
    let there = f.get(f.store("x2 y2", &[]).await.id).await.device;
    assert_ne!(here, there);
}

#[tokio::test]
async fn a_vector_that_is_gone_is_waited_for_and_one_that_came_is_not() {
    let f = fixture();
    f.activate().await;
    f.link(None).await;
    f.store("one", &[]).await;
    f.embed_all(|_| 0.0).await;
    let due = |w: &mut super::Write<'_>| {
        Ok(w.conn.query_row(
            "SELECT memory, generation FROM outbox WHERE product = 'vectorize' AND state = 'due'",
            [],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        )?)
    };
    let (key, generation) = f.store.write(due).await.unwrap();
    f.store.write(move |w| outbox::await_vector(w, key, generation)).await.unwrap();
    assert_eq!(f.counts().await.waiting_for_embedding, 0, "the vector is there");

    // The model was changed and changed back: the vector is gone, nobody waits for one.
    let drop = |w: &mut super::Write<'_>| {
        vector::activate(w, &Space::new("other", "1", "cls", 512, 4), 4)?;
        vector::activate(w, &space(), 8)?;
        Ok(w.conn.execute("DELETE FROM pending_embedding", [])?)
    };
    assert_eq!(f.store.write(drop).await.unwrap(), 1);
    f.store.write(move |w| outbox::await_vector(w, key, generation - 1)).await.unwrap();
    assert_eq!(f.counts().await.waiting_for_embedding, 0, "a newer generation is left alone");
    f.store.write(move |w| outbox::await_vector(w, key, generation)).await.unwrap();
    assert_eq!(f.counts().await.waiting_for_embedding, 1);
    assert_eq!(f.embed_all(|_| 0.0).await, 1, "one is made");
    assert_eq!(f.counts().await.waiting_for_embedding, 0);
}

#[tokio::test]
async fn lanes_are_told_apart_and_deferred_duties_can_be_hastened() {
    let f = fixture();
    f.store("before", &[]).await;
    f.link(None).await;
    f.clock.advance(Duration::from_secs(1));
    f.store("after", &[]).await;
    let now = f.clock.now();
    let lane = |is_backfill| {
        f.store.read(move |r| outbox::due_in_lane(r, Product::D1, is_backfill, now, 9))
    };
    let (live, backfill) = (lane(false).await.unwrap(), lane(true).await.unwrap());
    assert_eq!((live.len(), backfill.len()), (1, 1));
    assert!(!live[0].is_backfill && backfill[0].is_backfill);
    let all = f.store.read(move |r| outbox::due(r, Product::D1, now, 9)).await.unwrap();
    assert_eq!(all, [live[0].clone(), backfill[0].clone()]);
    let next = || f.store.read(|r| outbox::next_due_at(r, Product::D1));
    assert_eq!(next().await.unwrap(), Some(NOON), "the backfill's");

    let later = now.plus(Duration::from_secs(60));
    let setback = Setback::Defer { due_at: later, counts: false };
    f.store
        .write(move |w| {
            all.iter().try_for_each(|duty| {
                outbox::set_back(w, Product::D1, duty.key, duty.generation, &setback, "x")
            })
        })
        .await
        .unwrap();
    assert_eq!(next().await.unwrap(), Some(later));
    assert_eq!(f.store.write(outbox::hasten).await.unwrap(), 2);
    assert_eq!(next().await.unwrap(), Some(now));
}

#[tokio::test]
async fn an_edit_beats_what_it_saw_although_the_clock_went_back() {
    let f = fixture();
    let id = f.store("time flies", &["a"]).await.id;
    f.clock.set(Micros(NOON.0 - 86_400_000_000));
    let change = patch(None, Some(&["b"]), None);
    f.store.write(move |w| memory::update(w, &id, &change)).await.unwrap();
    assert_eq!(f.get(id).await.tags, ["b"]);
}

#[tokio::test]
async fn a_closed_store_refuses_and_reopens_with_everything() {
    let f = fixture();
    let id = f.store("kept", &["t"]).await.id;
    f.store.close();
    let closed = f.store.read(stats::stats).await;
    assert!(matches!(closed, Err(StoreError::Closed)));
    let wal = f.dir.path().join("memtide.db-wal");
    assert!(std::fs::metadata(wal).map_or(0, |meta| meta.len()) == 0, "the log is checkpointed");
    let store = Store::open(&options(&f.dir, "here"), Arc::new(f.clock.clone())).unwrap();
    let f = Fixture { store, clock: f.clock, dir: f.dir };
    assert_eq!(f.get(id).await.tags, ["t"]);
}

#[tokio::test]
async fn a_switch_of_the_space_makes_everything_wait_for_new_vectors() {
    let f = fixture();
    f.activate().await;
    f.store("one two", &[]).await;
    f.embed_all(|_| 0.0).await;
    let other = Space::new("other", "1", "cls", 512, 4);
    let changed = f.store.write(move |w| vector::activate(w, &other, 4)).await.unwrap();
    assert!(changed);
    assert_eq!(f.store.read(stats::stats).await.unwrap().unembedded, 1);
    assert_eq!(f.embed_all(|_| 0.0).await, 0, "vectors of the old space are not taken");
}

#[tokio::test]
async fn a_query_of_another_space_ranks_nothing_by_meaning() {
    let f = fixture();
    f.activate().await;
    f.store("the blue door", &[]).await;
    f.embed_all(|_| 0.0).await;
    let other = UnitVector::normalise(vec![1.0, 0.0, 0.0]).unwrap();
    let search = Search {
        query: "door".to_owned(),
        vector: Some((Space::new("other", "1", "cls", 512, 3), other)),
        mode: Mode::Hybrid,
        filter: Filter::default(),
        limit: 10,
    };
    let hits = f.store.read(move |r| search::run(r, &search)).await.unwrap();
    assert_eq!((hits.len(), hits[0].cosine), (1, None), "found by its words alone");
}

#[tokio::test]
async fn commits_are_flushed_unless_that_is_what_is_measured() {
    let dir = tempfile::tempdir().unwrap();
    let level = async |store: Store| {
        let read =
            store.write(|w| Ok(w.conn.pragma_query_value(None, "synchronous", |r| r.get(0))?));
        let level: i64 = read.await.unwrap();
        store.close();
        level
    };
    let clock = || Arc::new(ManualClock::at(NOON));
    let options = options(&dir, "here");
    let unflushed = level(Store::open_unflushed(&options, clock()).unwrap()).await;
    let flushed = level(Store::open(&options, clock()).unwrap()).await;
    assert_eq!((unflushed, flushed), (1, 2), "NORMAL and FULL");
}

#[tokio::test]
async fn closing_does_not_wait_for_a_long_read() {
    let f = fixture();
    f.store("anything", &[]).await;
    let store = f.store.clone();
    let (begun, begins) = tokio::sync::oneshot::channel();
    let long = tokio::spawn(async move {
        store
            .read(move |read| {
                begun.send(()).unwrap();
                let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
                               SELECT count(*) FROM n";
                Ok(read.conn.query_row(endless, [], |row| row.get::<_, i64>(0))?)
            })
            .await
    });
    begins.await.unwrap();
    let store = f.store.clone();
    tokio::task::spawn_blocking(move || store.close()).await.unwrap();
    assert!(matches!(long.await.unwrap(), Err(StoreError::Closed)));
}

#[test]
fn a_store_without_threads_does_everything_where_it_is_asked() {
    use futures_util::FutureExt as _;
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { n_readers: 0, ..options(&dir, "here") };
    let store = Store::open(&options, Arc::new(ManualClock::at(NOON))).unwrap();
    assert!(store.is_alive());
    let draft = draft("inline", &[]);
    let stored = store.write(move |write| memory::store(write, &draft)).now_or_never();
    let id = stored.unwrap().unwrap().id;
    let read = store.read(move |read| memory::get(read, &id)).now_or_never();
    assert_eq!(read.unwrap().unwrap().content, "inline");
    store.close();
    assert!(!store.is_alive());
    let closed = store.read(move |read| memory::get(read, &id)).now_or_never().unwrap();
    assert!(matches!(closed, Err(StoreError::Closed)));
}
