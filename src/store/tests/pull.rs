//! What comes from the cloud: merged, written with the cursor, never half.

use super::super::outbox::{self, Product};
use super::super::pull::{self, Applied, Became, Incoming, Page, Quarantined};
use super::super::{Write, link, memory, transfer};
use super::{Fixture, fixture};
use crate::clock::Micros;
use crate::model::id::{BodyHash, MemoryId};
use crate::model::stamp::{DeviceId, Stamp};
use crate::model::state::{Birth, Register, State};
use std::collections::BTreeMap;
use std::time::Duration;

fn at(ms: u64) -> Stamp {
    Stamp { ms, counter: 0, device: DeviceId(9) }
}

/// After everything that the fixture's clock has seen.
const LATER: u64 = 1_750_000_100_000;

fn state(text: &str, tags: &[&str], ms: u64) -> State {
    let birth = Birth { at: Micros(5), device: DeviceId(9), client: "elsewhere".to_owned() };
    State {
        life: Register::new(at(ms), true),
        birth: Register::new(at(ms), birth),
        text: Register::new(at(ms), BodyHash::of(text)),
        kind: Register::new(at(ms), "note".to_owned()),
        superseded_by: Register::new(at(ms), None),
        tags: tags.iter().map(|tag| ((*tag).to_owned(), Register::new(at(ms), true))).collect(),
        metadata: BTreeMap::new(),
        updated_at: Micros(5),
    }
}

fn incoming(text: &str, tags: &[&str], seq: i64) -> Incoming {
    Incoming {
        id: MemoryId::of(text),
        seq,
        state: state(text, tags, LATER),
        is_shown: true,
        content: Some(text.to_owned()),
        r2_key: None,
        row: None,
    }
}

fn tombstone(text: &str, seq: i64) -> Incoming {
    let mut one = incoming(text, &[], seq);
    one.state.life = Register::new(at(LATER + 1), false);
    one.content = None;
    one
}

fn page(from: i64, to: i64, incoming: Vec<Incoming>) -> Page {
    Page { from, to, anchor: Some((to, format!("n{to}"))), incoming, ..Page::default() }
}

impl Fixture {
    async fn apply(&self, page: &Page) -> Applied {
        let page = page.clone();
        self.store.write(move |w: &mut Write<'_>| pull::apply(w, &page, |_, _| true)).await.unwrap()
    }

    async fn merge(&self, one: Incoming) -> Option<Became> {
        self.store.write(move |w| pull::merge(w, &one)).await.unwrap()
    }

    async fn cursor(&self) -> Option<i64> {
        self.store.read(pull::cursor).await.unwrap()
    }

    async fn all(&self) -> Vec<transfer::Record> {
        self.store.read(|r| transfer::page(r, 0, 1000, usize::MAX)).await.unwrap().0
    }

    async fn owed(&self, id: MemoryId) -> Vec<Product> {
        let entries = self.store.read(|r| outbox::list(r, false, 100)).await.unwrap();
        let mut owed: Vec<Product> =
            entries.iter().filter(|one| one.id == id).map(|one| one.product).collect();
        owed.sort_unstable();
        owed
    }

    async fn outgoing(&self, id: MemoryId) -> outbox::Outgoing {
        let text = id.to_string();
        let job = move |w: &mut Write<'_>| {
            let key =
                w.conn.query_row("SELECT key FROM memory WHERE id = ?1", [&text], |r| r.get(0))?;
            Ok::<i64, super::StoreError>(key)
        };
        let key = self.store.write(job).await.unwrap();
        self.store.read(move |r| outbox::outgoing(r, key, false)).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn a_page_is_applied_with_its_cursor_and_anchor_once() {
    let f = fixture();
    f.link(None).await;
    assert_eq!(f.cursor().await, Some(0));
    let first = page(0, 7, vec![incoming("a", &["x"], 3), incoming("b", &[], 7)]);
    let became = [(MemoryId::of("a"), Became::Stored), (MemoryId::of("b"), Became::Stored)];
    assert_eq!(f.apply(&first).await, Applied::Merged(became.to_vec()));
    assert_eq!(f.cursor().await, Some(7));
    assert_eq!(f.store.read(link::anchor).await.unwrap(), Some((7, "n7".to_owned())));
    let memory = f.get(MemoryId::of("a")).await;
    assert_eq!((memory.content.as_str(), memory.tags.len(), memory.synced), ("a", 1, true));
    assert_eq!(f.outgoing(MemoryId::of("a")).await.seq, 3);
    // An answer that comes twice, or to an older question, is not applied.
    assert_eq!(f.apply(&first).await, Applied::Stale);
    assert_eq!(f.apply(&page(5, 9, vec![incoming("c", &[], 9)])).await, Applied::Stale);
    assert_eq!((f.cursor().await, f.all().await.len()), (Some(7), 2));
    // The same entries once more, at their place, change nothing.
    let before = f.all().await;
    let again = page(7, 8, vec![incoming("a", &["x"], 8)]);
    assert_eq!(f.apply(&again).await, Applied::Merged(Vec::new()));
    assert_eq!(f.all().await, before);
    assert_eq!(f.outgoing(MemoryId::of("a")).await.seq, 8);
}

#[tokio::test]
async fn without_a_link_nothing_is_applied() {
    let f = fixture();
    assert_eq!(f.apply(&page(0, 1, vec![incoming("a", &[], 1)])).await, Applied::Stale);
    assert_eq!((f.cursor().await, f.all().await.len()), (None, 0));
}

#[tokio::test]
async fn too_many_deletions_leave_everything_as_it_was() {
    let f = fixture();
    f.link(None).await;
    for text in ["a", "b", "c"] {
        f.store(text, &[]).await;
    }
    let deleting = page(
        0,
        9,
        vec![
            tombstone("a", 1),
            tombstone("b", 2),
            tombstone("never here", 3),
            incoming("new", &[], 4),
        ],
    );
    let before = f.all().await;
    let guarded = deleting.clone();
    let job = move |w: &mut Write<'_>| pull::apply(w, &guarded, |deletions, _| deletions < 2);
    let held = f.store.write(job).await.unwrap();
    assert_eq!(held, Applied::TooManyDeletions { deletions: 2, of: 3 });
    assert_eq!((f.all().await, f.cursor().await), (before, Some(0)));
    let Applied::Merged(became) = f.apply(&deleting).await else { panic!("it was agreed to") };
    let deleted = became.iter().filter(|(_, one)| *one == Became::Deleted).count();
    assert_eq!((deleted, became.len()), (2, 3), "one was never here");
    let dead = f.all().await.iter().filter(|one| !one.state.is_alive()).count();
    assert_eq!(dead, 3, "its tombstone is kept all the same");
}

#[tokio::test]
async fn what_the_cloud_holds_exactly_is_not_owed() {
    let f = fixture();
    f.activate().await;
    f.link(None).await;
    let id = f.store("a", &["x"]).await.id;
    assert_eq!(f.owed(id).await, [Product::D1, Product::Vectorize]);
    let mine = f.all().await.remove(0).state;
    let mut same = incoming("a", &[], 4);
    same.state = mine;
    assert_eq!(f.merge(same.clone()).await, Some(Became::Unchanged));
    assert_eq!(f.owed(id).await, [Product::Vectorize], "the vector is owed still");
    // The same state, and a row that doesn't show it: it is written again.
    same.is_shown = false;
    f.merge(same).await;
    assert_eq!(f.owed(id).await, [Product::D1, Product::Vectorize]);
}

#[tokio::test]
async fn what_is_joined_from_both_is_owed_and_both_are_kept() {
    let f = fixture();
    f.link(None).await;
    let id = f.store("a", &["mine"]).await.id;
    let mut theirs = incoming("a", &["theirs"], 4);
    theirs.state.kind = Register::new(at(LATER), "decision".to_owned());
    assert_eq!(f.merge(theirs).await, Some(Became::Updated));
    let memory = f.get(id).await;
    assert_eq!((memory.tags.len(), memory.memory_type.as_str()), (2, "decision"));
    assert!(f.owed(id).await.contains(&Product::D1));
    assert_eq!(f.outgoing(id).await.seq, 4, "sent over what was read");
    let versions = f.store.read(move |r| memory::versions(r, &id)).await.unwrap();
    let tags: Vec<_> = versions.iter().map(|one| (one.tags.clone(), one.cause.clone())).collect();
    assert!(tags.contains(&(vec!["mine".to_owned()], "pull".to_owned())), "{tags:?}");
    assert!(tags.contains(&(vec!["theirs".to_owned()], "pull".to_owned())), "{tags:?}");
}

#[tokio::test]
async fn a_text_that_lost_is_kept_and_the_one_that_won_is_here() {
    let f = fixture();
    f.link(None).await;
    let id = f.store("Text", &[]).await.id;
    let mut newer = incoming("TEXT", &[], 4);
    assert_eq!(newer.id, id);
    assert_eq!(f.merge(newer.clone()).await, Some(Became::Updated));
    assert_eq!(f.get(id).await.content, "TEXT");
    // An older one comes late.
    newer.state = state("text", &[], 1000);
    newer.content = Some("text".to_owned());
    assert_eq!(f.merge(newer).await, Some(Became::Unchanged));
    assert_eq!(f.get(id).await.content, "TEXT");
    let versions = f.store.read(move |r| memory::versions(r, &id)).await.unwrap();
    let texts: Vec<&str> = versions.iter().map(|one| one.content.as_str()).collect();
    assert_eq!(texts, ["Text", "text"]);
}

#[tokio::test]
async fn without_its_text_a_living_memory_is_not_taken() {
    let f = fixture();
    f.link(None).await;
    let id = f.store("Text", &[]).await.id;
    let mut newer = incoming("TEXT", &[], 4);
    newer.content = None;
    let asked = page(0, 4, vec![incoming("b", &[], 2), newer.clone()]);
    assert_eq!(f.apply(&asked).await, Applied::Stale, "the page is asked for again");
    assert_eq!((f.cursor().await, f.all().await.len()), (Some(0), 1));
    assert_eq!(f.merge(newer).await, None);
    assert_eq!(f.get(id).await.content, "Text");
    // Of one whose text is here already, none is needed.
    let mut tagged = incoming("Text", &["x"], 5);
    tagged.content = None;
    assert_eq!(f.merge(tagged).await, Some(Became::Updated));
    assert_eq!((f.get(id).await.content.as_str(), f.get(id).await.tags.len()), ("Text", 1));
}

#[tokio::test]
async fn a_deletion_wins_over_an_older_life_and_loses_to_a_later_one() {
    let f = fixture();
    f.link(None).await;
    let id = f.store("a", &["x"]).await.id;
    assert_eq!(f.merge(tombstone("a", 3)).await, Some(Became::Deleted));
    assert_eq!(f.merge(incoming("a", &["y"], 4)).await, Some(Became::Unchanged));
    assert!(f.get(id).await.deleted_at.is_some());
    assert!(f.owed(id).await.contains(&Product::D1), "the deletion is sent there");
    let mut again = incoming("a", &["y"], 5);
    again.state.life = Register::new(at(LATER + 2), true);
    assert_eq!(f.merge(again).await, Some(Became::Stored));
    assert!(f.get(id).await.deleted_at.is_none());
}

#[tokio::test]
async fn a_key_of_the_bucket_is_taken_with_its_text_only() {
    let f = fixture();
    f.link(Some("bucket")).await;
    let id = f.store("Text", &[]).await.id;
    let mut older = incoming("text", &[], 4);
    older.state = state("text", &[], 1000);
    older.r2_key = Some("content/older.txt".to_owned());
    f.merge(older).await;
    assert_eq!(f.outgoing(id).await.r2_key, None, "ours is another text");
    let mut newer = incoming("TEXT", &[], 5);
    newer.r2_key = Some("content/newer.txt".to_owned());
    f.merge(newer).await;
    assert_eq!(f.outgoing(id).await.r2_key.as_deref(), Some("content/newer.txt"));
}

#[tokio::test]
async fn what_is_set_aside_is_told_tried_in_turn_and_gone_when_it_comes() {
    let f = fixture();
    f.link(None).await;
    let aside = |key: String, seq| Quarantined { key, seq, reason: "damaged".to_owned() };
    let (a, b) = (MemoryId::of("a"), MemoryId::of("b"));
    let strange =
        vec![aside("no id".to_owned(), 1), aside(a.to_string(), 2), aside("G".repeat(64), 3)];
    let first = Page { quarantined: strange, ..page(0, 3, Vec::new()) };
    assert_eq!(f.apply(&first).await, Applied::Merged(Vec::new()));
    f.clock.advance(Duration::from_secs(1));
    let later = aside(b.to_string(), 4);
    f.store.write(move |w| pull::set_aside(w, &later)).await.unwrap();
    let (found, n) = f.store.read(|r| pull::quarantined(r, 2)).await.unwrap();
    assert_eq!((found.len(), n, found[0].reason.as_str()), (2, 4, "damaged"));
    let turn = async || f.store.read(|r| pull::to_refetch(r, 1)).await.unwrap();
    assert_eq!(turn().await, [a]);
    // Looked at in vain, it goes to the end.
    f.clock.advance(Duration::from_secs(1));
    let again = aside(a.to_string(), 2);
    f.store.write(move |w| pull::set_aside(w, &again)).await.unwrap();
    assert_eq!(turn().await, [b]);
    f.merge(incoming("b", &[], 9)).await;
    assert_eq!(turn().await, [a]);
    f.store.write(move |w| pull::is_empty(w, &a, 9)).await.unwrap();
    assert!(turn().await.is_empty());
    f.store.write(move |w| pull::refetch(w, &[b])).await.unwrap();
    assert_eq!(turn().await, [b]);
}

#[tokio::test]
async fn what_a_page_shows_to_be_gone_or_empty_is_set_aside_no_longer() {
    let f = fixture();
    f.link(None).await;
    let (a, b) = (MemoryId::of("a"), MemoryId::of("b"));
    f.store("a", &[]).await;
    let aside = |key: String| Quarantined { key, seq: 1, reason: "damaged".to_owned() };
    let keys = [a.to_string(), b.to_string(), "no id".to_owned(), "other".to_owned()];
    let bad = Page { quarantined: keys.map(aside).to_vec(), ..page(0, 3, Vec::new()) };
    f.apply(&bad).await;
    let turn = async || f.store.read(|r| pull::to_refetch(r, 1)).await.unwrap();
    let first = turn().await[0];
    f.clock.advance(Duration::from_secs(1));
    f.store.write(move |w| pull::put_back(w, &[first])).await.unwrap();
    assert_ne!(turn().await, [first], "the other one has its turn");
    let gone = vec!["no id".to_owned(), "never set aside".to_owned()];
    let mended = Page { empty: vec![(a, 4), (b, 5)], gone, ..page(3, 5, Vec::new()) };
    f.apply(&mended).await;
    let (left, n) = f.store.read(|r| pull::quarantined(r, 9)).await.unwrap();
    assert_eq!((left[0].key.as_str(), n), ("other", 1));
    assert_eq!(f.outgoing(a).await.seq, 4, "its next push wins");
}

#[tokio::test]
async fn beginning_anew_forgets_positions_and_owes_every_row() {
    let f = fixture();
    f.link(None).await;
    let taken = page(0, 9, vec![incoming("a", &[], 4), tombstone("b", 9)]);
    f.apply(&taken).await;
    assert_eq!(f.counts().await.pending_by_product[1], 0);
    let before = f.all().await;
    f.store.write(pull::begin_anew).await.unwrap();
    assert_eq!(f.cursor().await, Some(0));
    assert_eq!(f.store.read(link::anchor).await.unwrap(), None);
    assert_eq!(f.outgoing(MemoryId::of("a")).await.seq, 0);
    assert_eq!(f.counts().await.pending_by_product[1], 2, "tombstones too");
    assert_eq!(f.all().await, before);
}

#[tokio::test]
async fn texts_that_are_here_are_known_by_their_hash() {
    let f = fixture();
    let id = f.store("Text", &[]).await.id;
    let asked = [id, MemoryId::of("not here")];
    let bodies = f.store.read(move |r| pull::bodies(r, &asked)).await.unwrap();
    assert_eq!(bodies.into_iter().collect::<Vec<_>>(), [(id, BodyHash::of("Text"))]);
}

#[tokio::test]
async fn an_export_gives_no_text_that_a_deletion_does_not_name() {
    let f = fixture();
    f.link(None).await;
    f.apply(&page(0, 1, vec![incoming("Shown", &["a"], 1)])).await;
    let mut gone = tombstone("Shown", 2);
    gone.state.text = Register::new(at(LATER + 1), BodyHash::of("SHOWN"));
    f.apply(&page(1, 2, vec![gone])).await;
    let records = f.all().await;
    assert!(!records[0].state.is_alive());
    assert_eq!(records[0].content, None, "the registers name another text");
    let kept: Vec<&str> = records[0].versions.iter().map(|one| one.content.as_str()).collect();
    assert_eq!(kept, ["Shown"], "what was here is in the history");
}
