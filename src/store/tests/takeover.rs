//! How rows of the Python service's database meet what is here.

use super::super::edge::{self, Edge};
use super::super::source::{self, Stage};
use super::super::takeover::{Batch, Counts, Outcome, SourceRow, gone, preview, take};
use super::super::{carried, memory, outbox};
use super::*;
use crate::model::carried::Carried;
use crate::model::id::BodyHash;
use crate::model::shown::Shown;
use crate::store::pull::Became;

const DAY: i64 = 86_400_000_000;
/// When the service stored what the tests take over.
const STORED: Micros = Micros(NOON.0 - 10 * DAY);

fn shown() -> Shown {
    let mut shown = Shown::new(STORED, STORED);
    shown.tags = ["a"].map(str::to_owned).into();
    shown.metadata.insert("k".to_owned(), "1".to_owned());
    shown.metadata.insert("access_count".to_owned(), "4".to_owned());
    shown
}

fn row_of(content: &str, shown: &Shown) -> SourceRow {
    SourceRow {
        row: 7,
        print: 1,
        id: MemoryId::of(content),
        body: BodyHash::of(content),
        content: content.to_owned(),
        shown: shown.clone(),
        carried: Carried::default(),
        vector: None,
    }
}

struct Moving {
    f: Fixture,
    source: i64,
}

impl Moving {
    async fn begin() -> Self {
        let f = fixture();
        let source = f.store.write(|w| source::begin(w, "/there/db", 1)).await.unwrap().key;
        Self { f, source }
    }

    fn batch(&self, rows: Vec<SourceRow>) -> Batch {
        Batch { source: self.source, rows, observed_at: self.f.clock.now(), ..Batch::default() }
    }

    /// Takes over, after a preview that must have told the same.
    async fn take(&self, rows: Vec<SourceRow>) -> Outcome {
        self.take_batch(self.batch(rows)).await
    }

    async fn take_batch(&self, batch: Batch) -> Outcome {
        let (asked, source) = (batch.clone(), self.source);
        let told =
            self.f.store.read(move |r| preview(r, Some(source), &asked)).await.unwrap().counts;
        let outcome = self.f.store.write(move |w| take(w, &batch)).await.unwrap();
        assert_eq!(told, outcome.counts, "the dry run told otherwise");
        outcome
    }

    async fn source(&self) -> source::Source {
        self.f.store.read(source::current).await.unwrap().unwrap()
    }

    async fn n_versions(&self, id: MemoryId) -> usize {
        self.f.store.read(move |r| memory::versions(r, &id)).await.unwrap().len()
    }
}

#[tokio::test]
async fn a_row_becomes_a_memory_with_all_it_has_and_a_second_look_finds_nothing() {
    let moving = Moving::begin().await;
    let mut row = row_of("The text", &shown());
    row.carried.version = Some(3);
    let outcome = moving.take(vec![row.clone()]).await;
    let expected = Counts { new_living: 1, vectors_to_make: 1, ..Counts::default() };
    assert_eq!(outcome.counts, expected);
    assert_eq!(outcome.became, [(row.id, Became::Stored)]);
    let memory = moving.f.get(row.id).await;
    assert_eq!((memory.created_at, memory.updated_at), (STORED, STORED));
    assert_eq!(memory.tags, ["a"]);
    assert_eq!(memory.metadata["access_count"], json!(4));
    assert_eq!(memory.client, "mcp-memory-service");
    let id = row.id;
    let kept = moving.f.store.read(move |r| carried::get(r, &id)).await.unwrap();
    assert_eq!(kept.unwrap().version, Some(3));
    // What the service rewrites at every search is no change, nor is another place in its file.
    row.shown.metadata.insert("access_count".to_owned(), "5".to_owned());
    row.carried.last_accessed = Some(5.0);
    (row.row, row.print) = (9, 2);
    let outcome = moving.take(vec![row.clone()]).await;
    assert_eq!(outcome.counts, Counts { unchanged: 1, ..Counts::default() });
    assert!(outcome.became.is_empty());
    let source = moving.source;
    assert_eq!(moving.f.store.read(move |r| source::prints(r, source)).await.unwrap(), [(9, 2)]);
    assert_eq!(moving.source().await.imported, 1);
    assert_eq!(moving.n_versions(row.id).await, 0);
}

#[tokio::test]
async fn the_services_edit_is_taken_and_a_later_one_of_ours_wins_into_the_history() {
    let moving = Moving::begin().await;
    let row = row_of("some text", &shown());
    moving.take(vec![row.clone()]).await;
    let mut now = row.clone();
    now.shown.tags = ["a", "b"].map(str::to_owned).into();
    now.shown.updated_at = Micros(STORED.0 + DAY);
    let outcome = moving.take(vec![now.clone()]).await;
    assert_eq!(outcome.counts, Counts { changed: 1, ..Counts::default() });
    assert_eq!(moving.f.get(row.id).await.tags, ["a", "b"]);
    // Ours, at noon: another tag and another type.
    let ours = patch(None, Some(&["a", "ours"]), None);
    let id = row.id;
    moving.f.store.write(move |w| memory::update(w, &id, &ours)).await.unwrap();
    // Theirs, before noon, seen after it: `b` comes back with another type; ours stands, theirs is kept.
    let mut theirs = now.clone();
    theirs.shown.tags = ["a"].map(str::to_owned).into();
    theirs.shown.kind = "theirs".to_owned();
    theirs.shown.updated_at = Micros(NOON.0 - DAY);
    let before = moving.n_versions(row.id).await;
    moving.take(vec![theirs.clone()]).await;
    let mut back = theirs.clone();
    back.shown.tags = ["a", "b"].map(str::to_owned).into();
    back.shown.updated_at = Micros(NOON.0 - DAY / 2);
    let outcome = moving.take(vec![back]).await;
    assert_eq!(outcome.counts.lost, 1);
    let memory = moving.f.get(row.id).await;
    assert_eq!(memory.tags, ["a", "ours"]);
    assert_eq!(memory.memory_type, "theirs", "nobody else had changed it");
    let id = row.id;
    let versions = moving.f.store.read(move |r| memory::versions(r, &id)).await.unwrap();
    assert!(versions.len() > before);
    assert!(
        versions
            .iter()
            .any(|version| version.tags == ["a", "b"] && version.memory_type == "theirs")
    );
}

#[tokio::test]
async fn an_old_copy_brings_nothing_back() {
    let moving = Moving::begin().await;
    let stored = moving.f.store("was deleted here", &[]).await;
    let id = stored.id;
    moving.f.clock.advance(Duration::from_secs(1));
    moving.f.store.write(move |w| memory::delete(w, &id, "test")).await.unwrap();
    let outcome = moving.take(vec![row_of("was deleted here", &shown())]).await;
    assert_eq!((outcome.counts.new_living, outcome.became.len()), (0, 0));
    assert!(moving.f.get(id).await.deleted_at.is_some());
}

#[tokio::test]
async fn deletions_come_with_their_text_and_what_is_stored_again_lives() {
    let moving = Moving::begin().await;
    let mut dead = row_of("A tombstone", &shown());
    dead.shown.deleted_at = Some(Micros(STORED.0 + DAY));
    let outcome = moving.take(vec![dead.clone()]).await;
    assert_eq!(outcome.counts, Counts { new_deleted: 1, ..Counts::default() });
    let memory = moving.f.get(dead.id).await;
    assert_eq!(memory.deleted_at, Some(Micros(STORED.0 + DAY)));
    assert_eq!(memory.content, "A tombstone");
    // Stored again: another row, begun anew, in another case.
    let mut again =
        row_of("a tombstone", &Shown::new(Micros(STORED.0 + 2 * DAY), Micros(STORED.0 + 2 * DAY)));
    again.row = 8;
    let outcome = moving.take(vec![again.clone()]).await;
    assert_eq!((outcome.counts.changed, outcome.counts.vectors_to_make), (1, 1));
    let memory = moving.f.get(dead.id).await;
    assert_eq!((memory.deleted_at, memory.content.as_str()), (None, "a tombstone"));
    assert!(memory.tags.is_empty() && memory.metadata.is_empty());
    // And deleted again.
    again.shown.deleted_at = Some(Micros(STORED.0 + 3 * DAY));
    let outcome = moving.take(vec![again]).await;
    assert_eq!(outcome.became, [(dead.id, Became::Deleted)]);
    assert_eq!(moving.source().await.imported, 1);
}

#[tokio::test]
async fn a_row_that_is_gone_is_deleted_only_where_nothing_else_would_tell() {
    let moving = Moving::begin().await;
    let source = moving.source;
    let row = row_of("will be gone", &shown());
    moving.take(vec![row.clone()]).await;
    let look = moving.f.clock.now();
    let outcome = moving.f.store.write(move |w| gone(w, source, &[7], look, false)).await.unwrap();
    assert!(outcome.became.is_empty());
    assert_eq!(moving.source().await.imported, 0);
    assert!(moving.f.get(row.id).await.deleted_at.is_none());
    // It was there all the same.
    moving.take(vec![row.clone()]).await;
    assert_eq!(moving.source().await.imported, 1);
    let outcome =
        moving.f.store.write(move |w| gone(w, source, &[7, 99], look, true)).await.unwrap();
    assert_eq!(outcome.became, [(row.id, Became::Deleted)]);
    assert_eq!(moving.f.get(row.id).await.deleted_at, Some(look));
    // An old copy of the file doesn't bring it back; a new storing does.
    moving.take(vec![row.clone()]).await;
    assert!(moving.f.get(row.id).await.deleted_at.is_some());
    let later = Micros(look.0 + 2_000);
    moving.take(vec![row_of("will be gone", &Shown::new(later, later))]).await;
    assert!(moving.f.get(row.id).await.deleted_at.is_none());
    // Another memory in its row: it stands there no more.
    let mut other = row_of("in the same row", &shown());
    other.row = 7;
    moving.take(vec![other]).await;
    assert_eq!(moving.source().await.imported, 1);
    moving.take(vec![row_of("will be gone", &Shown::new(later, later))]).await;
    assert_eq!(moving.source().await.imported, 1);
    // What was stored here as well stays.
    moving.f.clock.advance(Duration::from_secs(60));
    moving.f.store("will be gone", &[]).await;
    let outcome = moving.f.store.write(move |w| gone(w, source, &[7], look, true)).await.unwrap();
    assert!(outcome.became.is_empty());
}

#[tokio::test]
async fn a_vector_of_the_active_space_is_taken_over() {
    let moving = Moving::begin().await;
    let space = Space::new("m", "r", "mean", 256, 4);
    let active = space.clone();
    moving.f.store.write(move |w| vector::activate(w, &active, 4)).await.unwrap();
    let made = UnitVector::normalise(vec![1.0, 2.0, 3.0, 4.0]).unwrap();
    let rows = ["one", "two"]
        .map(|text| SourceRow { vector: Some(made.clone()), ..row_of(text, &shown()) });
    let [one, two] = rows.map(|row| SourceRow { row: i64::from(row.id.as_bytes()[0]), ..row });
    let mut batch = moving.batch(vec![one.clone()]);
    batch.space = Some(space);
    let outcome = moving.take_batch(batch).await;
    assert_eq!((outcome.counts.vectors_reused, outcome.counts.vectors_to_make), (1, 0));
    assert!(moving.f.get(one.id).await.embedded);
    // Of another space than the active one it is made anew.
    let mut batch = moving.batch(vec![two.clone()]);
    batch.space = Some(Space::new("other", "r", "mean", 256, 4));
    let outcome = moving.take_batch(batch).await;
    assert_eq!((outcome.counts.vectors_reused, outcome.counts.vectors_to_make), (0, 1));
    assert!(!moving.f.get(two.id).await.embedded);
}

#[tokio::test]
async fn an_import_owes_in_the_low_lane_and_a_live_change_in_the_first() {
    let moving = Moving::begin().await;
    moving.f.link(None).await;
    let n_due = |is_backfill| {
        moving.f.store.read(move |r| {
            Ok(outbox::due_in_lane(r, Product::D1, is_backfill, Micros(i64::MAX), 10)?.len())
        })
    };
    let row = row_of("imported", &shown());
    moving.take(vec![row.clone()]).await;
    assert_eq!((n_due(false).await.unwrap(), n_due(true).await.unwrap()), (0, 1));
    let mut now = row.clone();
    now.shown.kind = "other".to_owned();
    let mut batch = moving.batch(vec![now.clone()]);
    batch.is_live = true;
    moving.take_batch(batch).await;
    assert_eq!((n_due(false).await.unwrap(), n_due(true).await.unwrap()), (1, 0));
    // What waits in the first lane is not put back by an import.
    now.shown.kind = "third".to_owned();
    moving.take(vec![now]).await;
    assert_eq!((n_due(false).await.unwrap(), n_due(true).await.unwrap()), (1, 0));
    // A text for which the account has no place is refused by name.
    let long = row_of(&"long ".repeat(300_000), &shown());
    let outcome = moving.take(vec![long.clone()]).await;
    assert_eq!(outcome.not_taken.len(), 1);
    assert_eq!(outcome.not_taken[0].id, long.id);
}

#[tokio::test]
async fn the_source_remembers_how_far_it_was_read() {
    let moving = Moving::begin().await;
    let key = moving.source;
    let mut batch = moving.batch(vec![row_of("first", &shown())]);
    batch.cursor = Some(7);
    moving.take_batch(batch).await;
    let again = moving.f.store.write(|w| source::begin(w, "/there/db", 5)).await.unwrap();
    assert_eq!((again.key, again.cursor, again.imported, again.total), (key, 7, 1, 5));
    let end =
        move |w: &mut crate::store::Write<'_>| source::end(w, key, Stage::Imported, Some("{}"));
    moving.f.store.write(end).await.unwrap();
    let now = moving.source().await;
    assert_eq!((now.stage, now.cursor, now.report.as_deref()), (Stage::Imported, 0, Some("{}")));
    moving.f.store.write(move |w| source::set_verified(w, key)).await.unwrap();
    assert_eq!(moving.source().await.stage, Stage::Verified);
    // What comes after the comparison was not compared.
    moving.take(vec![row_of("second", &shown())]).await;
    assert_eq!(moving.source().await.stage, Stage::Imported);
    moving.f.store.write(move |w| source::set_followed(w, key, true)).await.unwrap();
    moving.f.store.write(move |w| source::finish(w, key)).await.unwrap();
    let now = moving.source().await;
    assert_eq!((now.stage, now.is_followed), (Stage::Finished, false));
}

#[tokio::test]
async fn edges_are_kept_and_go_with_their_source() {
    let moving = Moving::begin().await;
    let key = moving.source;
    let edge = |target: &str| Edge {
        origin: "o".to_owned(),
        target: target.to_owned(),
        similarity: Some(0.5),
        kinds: None,
        relation: Some("has_entity".to_owned()),
        metadata: None,
        created_at: Some(1.25),
    };
    let both = [edge("x"), edge("y")];
    let put = |edges: Vec<Edge>, pass| {
        moving.f.store.write(move |w| {
            let n_new = edge::put(w, key, pass, &edges)?;
            Ok((n_new, edge::sweep(w, key, pass)?))
        })
    };
    assert_eq!(put(both.to_vec(), 1).await.unwrap(), (2, 0));
    assert_eq!(put(both.to_vec(), 2).await.unwrap(), (0, 0));
    assert_eq!(moving.f.store.read(|r| edge::page(r, ("", ""), 9)).await.unwrap(), both);
    assert_eq!(moving.f.store.read(|r| edge::page(r, ("o", "x"), 9)).await.unwrap(), both[1..]);
    let of_source = |after: &'static str| {
        moving.f.store.read(move |r| edge::of_source(r, key, ("o", after), 9))
    };
    assert_eq!(of_source("").await.unwrap(), both);
    assert_eq!(of_source("x").await.unwrap(), both[1..]);
    assert_eq!(put(vec![edge("y")], 3).await.unwrap(), (0, 1));
    assert_eq!(moving.f.store.read(move |r| edge::next_pass(r, key)).await.unwrap(), 4);
    assert_eq!(moving.f.store.read(move |r| edge::count(r, key)).await.unwrap(), 1);
    let remove = move |w: &mut crate::store::Write<'_>| {
        let ends = ["x", "y"].map(|target| ("o".to_owned(), target.to_owned()));
        edge::remove(w, key, &ends)
    };
    assert_eq!(moving.f.store.write(remove).await.unwrap(), 1);
    assert_eq!(of_source("").await.unwrap(), []);
}
