//! What a store is asked to do: drawn from a seed, with what must follow from it.

use crate::laptop::{Laptop, draft, records, tag};
use crate::ledger::{Known, Ledger};
use memtide::clock::Micros;
use memtide::model::draft::{Author, Patch};
use memtide::model::filter::Filter;
use memtide::model::id::MemoryId;
use memtide::store::error::StoreError;
use memtide::store::link::{self, Link, LinkMode};
use memtide::store::memory;
use memtide::store::outbox::{self, Duty, Product, Setback};
use memtide::store::pull::{self, Applied, Incoming, Page, Quarantined};
use memtide::store::transfer::{self, Record};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;

const CLIENT: &str = "power";
/// Positions of the feed from one memory to the next.
const RECORD_STEP: i64 = 3;

/// One job, one transaction.
#[derive(Debug, Clone)]
pub enum Job {
    Store { text: String, tags: Vec<String> },
    Retag { id: MemoryId, tags: Vec<String>, note: u64 },
    Rewrite { id: MemoryId, text: String },
    Delete { id: MemoryId },
    DeleteTagged { tag: String },
    Restore { id: MemoryId },
    Absorb { records: &'static [Record] },
    Pull { records: &'static [Record], from: i64, has_bad: bool },
    Embed { limit: usize },
    Link,
    Unlink,
    Settle { product: Product, limit: usize },
    SetBack { product: Product },
    Remember { value: u64 },
}

impl Job {
    /// The next thing that somebody wants. `nth` is never given twice in a life.
    pub fn draw(rng: &mut ChaCha8Rng, ledger: &Ledger, nth: u64) -> Self {
        let alive = ledger.ids(|known| known.is_alive);
        let dead = ledger.ids(|known| !known.is_alive);
        let any = |rng: &mut ChaCha8Rng, ids: &[MemoryId]| ids[rng.random_range(0..ids.len())];
        let product = Product::ALL[rng.random_range(0..3)];
        match rng.random_range(0..100) {
            0..10 if !alive.is_empty() => {
                let tags = (0..rng.random_range(0..4)).map(tag).collect();
                Self::Retag { id: any(rng, &alive), tags, note: nth }
            }
            10..16 if !alive.is_empty() => {
                Self::Rewrite { id: any(rng, &alive), text: text(rng, nth) }
            }
            16..26 if !alive.is_empty() => Self::Delete { id: any(rng, &alive) },
            26..29 => Self::DeleteTagged { tag: tag(rng.random_range(0..4)) },
            29..34 if !dead.is_empty() => Self::Restore { id: any(rng, &dead) },
            34..40 => {
                let first = rng.random_range(0..records().len() - 10);
                let records = &records()[first..first + rng.random_range(1..10)];
                if ledger.is_linked {
                    Self::pull(records, ledger, rng.random_bool(0.3))
                } else {
                    Self::Absorb { records }
                }
            }
            40..52 => Self::Embed { limit: rng.random_range(1..12) },
            52..56 if !ledger.is_linked => Self::Link,
            52 => Self::Unlink,
            53..64 if ledger.is_linked => Self::Settle { product, limit: rng.random_range(1..20) },
            64..67 if ledger.is_linked => Self::SetBack { product },
            67..69 => Self::Remember { value: rng.random() },
            69..76 if !ledger.memories.is_empty() => {
                // What is there already, dead or alive, written otherwise.
                let ids: Vec<MemoryId> = ledger.memories.keys().copied().collect();
                let known = &ledger.memories[&any(rng, &ids)];
                let text = match rng.random_range(0..3) {
                    0 => known.content.clone(),
                    1 => known.content.to_lowercase(),
                    _ => known.content.to_uppercase(),
                };
                Self::Store { text, tags: vec![tag(rng.random_range(0..4))] }
            }
            _ => {
                let tags = (0..rng.random_range(0..3)).map(tag).collect();
                Self::Store { text: text(rng, nth), tags }
            }
        }
    }

    /// The next page of the feed.
    pub fn pull(records: &'static [Record], ledger: &Ledger, has_bad: bool) -> Self {
        Self::Pull { records, from: ledger.cursor, has_bad }
    }

    /// Does it. What can't be foreseen, as which duties are due, is asked first.
    pub fn run(&self, laptop: &Laptop) -> Result<(), StoreError> {
        match self.clone() {
            Self::Store { text, tags } => {
                let draft = draft(&text, &tags);
                laptop.write(move |write| memory::store(write, &draft)).map(drop)
            }
            Self::Retag { id, tags, note } => {
                let note = [("note".to_owned(), Some(note.to_string()))].into();
                let tags = Some(tags.into_iter().collect());
                let patch = Patch { tags, metadata: note, author: author(), ..Patch::default() };
                laptop.write(move |write| memory::update(write, &id, &patch)).map(drop)
            }
            Self::Rewrite { id, text } => {
                let text = Some(draft(&text, &[]).text);
                let patch = Patch { text, author: author(), ..Patch::default() };
                laptop.write(move |write| memory::update(write, &id, &patch)).map(drop)
            }
            Self::Delete { id } => laptop.write(move |write| memory::delete(write, &id, CLIENT)),
            Self::DeleteTagged { tag } => {
                let filter = Filter { tags: [tag].into(), ..Filter::default() };
                laptop.write(move |write| memory::delete_matching(write, &filter, CLIENT)).map(drop)
            }
            Self::Restore { id } => {
                laptop.write(move |write| memory::restore(write, &id, None, CLIENT))
            }
            Self::Absorb { records } => laptop.write(move |write| {
                records.iter().try_for_each(|one| transfer::absorb(write, one).map(drop))
            }),
            Self::Pull { records, from, has_bad } => {
                let page = page(records, from, has_bad);
                match laptop.write(move |write| pull::apply(write, &page, |_, _| true))? {
                    Applied::Merged(_) => Ok(()),
                    other => panic!("{other:?}"),
                }
            }
            Self::Embed { limit } => laptop.embed(limit).map(drop),
            Self::Link => laptop.write(|write| link::link(write, &a_link())).map(drop),
            Self::Unlink => laptop.write(link::unlink),
            Self::Settle { product, limit } => {
                let duties = due(laptop, product, limit)?;
                laptop.write(move |write| settle(write, product, &duties))
            }
            Self::SetBack { product } => {
                let duties = due(laptop, product, 3)?;
                laptop.write(move |write| {
                    let defer = Setback::Defer { due_at: write.now(), counts: true };
                    let setbacks = [defer, Setback::Park, Setback::Conflict];
                    for (duty, setback) in duties.iter().zip(&setbacks) {
                        let (key, generation) = (duty.key, duty.generation);
                        outbox::set_back(write, product, key, generation, setback, "refused")?;
                    }
                    outbox::retry(write, None).map(drop)
                })
            }
            Self::Remember { value } => {
                laptop.write(move |write| link::remember(write, "budget", &value.to_string()))
            }
        }
    }

    /// What it leaves.
    pub fn apply(&self, ledger: &mut Ledger) {
        match self {
            Self::Store { text, tags } => store(ledger, text, tags.iter().cloned().collect()),
            Self::Retag { id, tags, .. } => {
                ledger.last = Some(*id);
                ledger.memories.get_mut(id).unwrap().tags = tags.iter().cloned().collect();
            }
            Self::Rewrite { id, text } => {
                let tags = ledger.memories[id].tags.clone();
                ledger.memories.get_mut(id).unwrap().is_superseded = true;
                store(ledger, text, tags);
            }
            Self::Delete { id } => {
                ledger.last = Some(*id);
                ledger.memories.get_mut(id).unwrap().is_alive = false;
            }
            Self::DeleteTagged { tag } => {
                let has_it = |known: &&mut Known| known.is_alive && known.tags.contains(tag);
                for known in ledger.memories.values_mut().filter(has_it) {
                    known.is_alive = false;
                }
            }
            Self::Restore { id } => {
                ledger.last = Some(*id);
                let known = ledger.memories.get_mut(id).unwrap();
                (known.is_alive, known.is_superseded) = (true, false);
            }
            Self::Absorb { records } => {
                for record in *records {
                    absorb(ledger, record);
                }
            }
            Self::Pull { records, .. } => {
                for record in *records {
                    absorb(ledger, record);
                }
                ledger.cursor += RECORD_STEP * i64::try_from(records.len()).unwrap();
            }
            Self::Link => (ledger.is_linked, ledger.cursor) = (true, 0),
            Self::Unlink => ledger.is_linked = false,
            Self::Embed { .. }
            | Self::Settle { .. }
            | Self::SetBack { .. }
            | Self::Remember { .. } => {}
        }
    }
}

fn store(ledger: &mut Ledger, text: &str, tags: BTreeSet<String>) {
    let id = MemoryId::of(text);
    let before = ledger.memories.get(&id).filter(|known| known.is_alive);
    let tags =
        before.map(|known| known.tags.clone()).unwrap_or_default().union(&tags).cloned().collect();
    let known = Known { content: text.to_owned(), tags, is_alive: true, is_superseded: false };
    ledger.memories.insert(id, known);
    ledger.last = Some(id);
}

/// A record that isn't known yet, or hasn't been touched here since it came: all of this laptop's stamps
/// are later than the record's.
fn absorb(ledger: &mut Ledger, record: &Record) {
    ledger.last = Some(record.id);
    ledger.memories.entry(record.id).or_insert_with(|| Known {
        content: record.content.clone().unwrap(),
        tags: record.state.live_tags().into_iter().map(str::to_owned).collect(),
        is_alive: record.state.is_alive(),
        is_superseded: false,
    });
}

/// What the cloud would answer.
fn page(records: &[Record], from: i64, has_bad: bool) -> Page {
    let seqs = (1..).map(|nth| from + RECORD_STEP * nth);
    let incoming = |(record, seq): (&Record, i64)| Incoming {
        id: record.id,
        seq,
        state: record.state.clone(),
        is_shown: seq % 4 != 0,
        content: record.content.clone(),
        r2_key: None,
        row: None,
    };
    let incoming: Vec<Incoming> = records.iter().zip(seqs).map(incoming).collect();
    let to = incoming.last().map_or(from, |last| last.seq);
    let bad = Quarantined { key: "bad".to_owned(), seq: to, reason: "it is no id".to_owned() };
    let quarantined = if has_bad { vec![bad] } else { Vec::new() };
    Page {
        from,
        to,
        anchor: Some((to, "nonce".to_owned())),
        incoming,
        quarantined,
        ..Page::default()
    }
}

fn settle(
    write: &mut memtide::store::Write<'_>,
    product: Product,
    duties: &[Duty],
) -> Result<(), StoreError> {
    for duty in duties {
        if product == Product::R2 {
            outbox::set_body_key(write, duty.key, &format!("content/{}", duty.key))?;
        }
        if outbox::settle(write, product, duty.key, duty.generation)? && product == Product::D1 {
            outbox::set_position(write, duty.key, duty.generation)?;
            link::raise_anchor(write, duty.generation, "nonce")?;
        }
    }
    Ok(())
}

fn due(laptop: &Laptop, product: Product, limit: usize) -> Result<Vec<Duty>, StoreError> {
    laptop.read(move |read| outbox::due(read, product, Micros(i64::MAX), limit))
}

/// Most are short; some fill several pages.
fn text(rng: &mut ChaCha8Rng, nth: u64) -> String {
    let n_words = if rng.random_bool(0.05) { 4000 } else { rng.random_range(1..60) };
    let words = ["tide", "moon", "harbour", "rope", "lamp"];
    let mut text = format!("Note own{nth}");
    for _ in 0..n_words {
        text.push(' ');
        text.push_str(words[rng.random_range(0..words.len())]);
    }
    text
}

fn author() -> Author {
    Author { client: CLIENT.to_owned() }
}

/// A link whose bucket takes every text of more than a few pages.
fn a_link() -> Link {
    Link {
        api_base: "https://api.example".to_owned(),
        account: "account".to_owned(),
        database: "database".to_owned(),
        database_uuid: "uuid".to_owned(),
        vector_index: "index".to_owned(),
        bucket: Some("bucket".to_owned()),
        contract: "{}".to_owned(),
        is_local_space: true,
        inline_bytes: 10_000,
        mode: LinkMode::Dual,
        is_paused: false,
        linked_at: Micros(0),
    }
}
