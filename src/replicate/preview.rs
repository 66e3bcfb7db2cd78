//! What linking would meet and cost, before anything is linked: the two sides compared by their ids and
//! digests, and an estimate of the backfill.

use super::reconcile::read_row;
use crate::model::digest::row_digest;
use crate::model::id::MemoryId;
use crate::remote::cloudflare::Cloudflare;
use crate::remote::d1::D1;
use crate::remote::digest::{self, ENTRIES_PAGE};
use crate::remote::error::RemoteError;
use crate::remote::feed::{self, BareRow, PAGE_MAX};
use crate::remote::push::{BATCH_MAX_BYTES, BATCH_MAX_ENTRIES, BATCH_MAX_MEMORIES};
use crate::remote::schema::Existing;
use crate::remote::usage::Usage;
use crate::remote::vector_row;
use crate::remote::vectorize::LIST_MAX;
use crate::remote::{ai, budget};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Entries that one request carries about: their states are what it is full of.
const ENTRIES_IN_BATCH: usize = 1500;

/// Pages that are asked for of each table. Beyond, the numbers are lower bounds.
const PAGES_MAX: usize = 200;

/// Rows that D1 counts for a living memory without its tags: the row and its six indexes, the state, the
/// place in the feed with its index, the mark.
const ROWS_LIVING: u64 = 1 + 6 + 1 + 2 + 1;
/// For a deleted one: the state, the place in the feed, the mark.
const ROWS_DEAD: u64 = 1 + 2 + 1;
/// For one tag of one memory, with its index.
const ROWS_TAG_LINK: u64 = 2;
/// For a tag that is new, with its indexes.
const ROWS_TAG: u64 = 3;
/// For each batch, what stages it.
const ROWS_BATCH: u64 = 4;

/// For an entry beside a row that stays as it is: the state, the place in the feed once when the device is
/// linked and once when the state is written, the marks.
const ROWS_ENTRY: u64 = 1 + 3 + 4;

/// Rows that D1 writes in a day on the free plan.
pub const FREE_ROWS: u64 = 100_000;
/// Neurons in a day on the free plan.
pub const FREE_NEURONS: u64 = 10_000;
/// Components that the index stores on the free plan.
pub const FREE_COMPONENTS: u64 = 5_000_000;

/// A memory of this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Here {
    /// Of its state.
    pub digest: u64,
    /// Of all that a row shows.
    pub shown: u64,
    /// Whether it is alive.
    pub is_alive: bool,
}

/// A memory of the cloud, as far as its tables tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct There {
    /// Of the state that a memtide has written.
    pub digest: Option<u64>,
    /// Of the row: whether it is alive, and what it shows; `None` if that can't be taken.
    pub row: Option<(bool, Option<u64>)>,
}

/// What the cloud holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cloud {
    /// By id.
    pub memories: BTreeMap<MemoryId, There>,
    /// Whether there is more than was asked for.
    pub is_cut: bool,
}

/// The two sides compared. Deleted memories are counted apart where they are on one side only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Comparison {
    /// Living ones that only this device has.
    pub only_local: u64,
    /// Deleted ones that only this device knows.
    pub only_local_deleted: u64,
    /// Living ones that only the cloud has.
    pub only_cloud: u64,
    /// Deleted ones that only the cloud knows.
    pub only_cloud_deleted: u64,
    /// The same on both sides, as far as the rows tell: of a text they tell how long it is.
    pub same: u64,
    /// Those of the same without memtide's entry: it is written, and the row stays as it is.
    pub same_without_entry: u64,
    /// On both sides, and different: merging brings them together.
    pub differing: u64,
    /// Deleted here and alive there: the later of both holds.
    pub deleted_here: u64,
    /// Alive here and deleted there: the later of both holds.
    pub deleted_there: u64,
}

/// Reads what the database holds of memories, in a bounded number of requests. Changes nothing.
///
/// # Errors
/// A request failed.
pub async fn look(
    remote: &Cloudflare,
    database: &str,
    existing: &Existing,
) -> Result<Cloud, RemoteError> {
    let d1 = D1::new(remote.clone(), database);
    let mut cloud = Cloud::default();
    let has_states = !existing.missing().contains(&"mt_entry");
    if has_states {
        states(&d1, &mut cloud).await?;
    }
    if existing.has_memories() {
        rows(&d1, existing.columns(), &mut cloud).await?;
    }
    Ok(cloud)
}

async fn states(d1: &D1, cloud: &mut Cloud) -> Result<(), RemoteError> {
    let mut after = String::new();
    for _ in 0..PAGES_MAX {
        let page = digest::entries_after(d1, &after).await?.what;
        let is_end = u64::try_from(page.len()).is_ok_and(|n| n < ENTRIES_PAGE);
        for entry in page {
            if let Some(id) = entry.memory() {
                cloud.memories.entry(id).or_default().digest = entry.digest;
            }
            after = entry.id;
        }
        if is_end {
            return Ok(());
        }
    }
    cloud.is_cut = true;
    Ok(())
}

async fn rows(d1: &D1, columns: &BTreeSet<String>, cloud: &mut Cloud) -> Result<(), RemoteError> {
    let mut after = 0;
    for _ in 0..PAGES_MAX {
        let (rows, next) = feed::bare_rows(d1, after, columns).await?;
        for one in rows {
            let id = one.key.parse().ok().filter(|id: &MemoryId| id.to_string() == one.key);
            if let Some(id) = id {
                let is_alive = one.row.deleted_at.is_none();
                cloud.memories.entry(id).or_default().row = Some((is_alive, shown(&one)));
            }
        }
        match next {
            Some(next) => after = next,
            None => return Ok(()),
        }
    }
    cloud.is_cut = true;
    Ok(())
}

/// The digest of what a row shows; `None` if it can't be taken as it stands.
fn shown(one: &BareRow) -> Option<u64> {
    let shown = read_row(&one.row).ok().filter(|shown| shown.has_normal_tags)?;
    let metadata = shown.metadata.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    Some(row_digest(
        &shown.kind,
        &shown.tags.iter().map(String::as_str).collect(),
        &metadata.collect(),
        shown.superseded_by.as_ref(),
        one.text_bytes,
    ))
}

/// Compares the sides.
pub fn compare(here: &BTreeMap<MemoryId, Here>, there: &Cloud) -> Comparison {
    let mut counts = Comparison::default();
    for (id, memory) in here {
        let of = match there.memories.get(id) {
            None if memory.is_alive => &mut counts.only_local,
            None => &mut counts.only_local_deleted,
            Some(found) if is_same(memory, found) => {
                counts.same_without_entry += u64::from(found.digest.is_none());
                &mut counts.same
            }
            Some(There { row: Some((true, _)), .. }) if !memory.is_alive => {
                &mut counts.deleted_here
            }
            Some(There { row: Some((false, _)), .. }) if memory.is_alive => {
                &mut counts.deleted_there
            }
            Some(_) => &mut counts.differing,
        };
        *of += 1;
    }
    for (_, found) in there.memories.iter().filter(|(id, _)| !here.contains_key(id)) {
        let is_alive = found.row.is_some_and(|(is_alive, _)| is_alive);
        *if is_alive { &mut counts.only_cloud } else { &mut counts.only_cloud_deleted } += 1;
    }
    counts
}

/// A state that a memtide has written decides; without one, what the row shows.
fn is_same(here: &Here, there: &There) -> bool {
    if let Some(digest) = there.digest {
        return digest == here.digest;
    }
    match there.row {
        Some((true, shown)) => here.is_alive && shown == Some(here.shown),
        Some((false, _)) => !here.is_alive,
        None => false,
    }
}

/// What is to be carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Living memories.
    pub living: u64,
    /// Deleted ones.
    pub dead: u64,
    /// Living or deleted ones whose row stays as it is.
    pub entries: u64,
    /// Their tags together.
    pub tag_links: u64,
    /// Tags that may be new there.
    pub tags: u64,
    /// Bytes of their texts.
    pub text_bytes: u64,
    /// Texts that go to the bucket.
    pub bodies: u64,
    /// Vectors.
    pub vectors: u64,
    /// Components of a vector.
    pub dims: u64,
    /// Whether Workers AI makes the vectors.
    pub is_by_ai: bool,
}

/// What carrying it takes, estimated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Rows that D1 writes.
    pub rows: u64,
    /// Requests.
    pub requests: u64,
    /// Neurons of Workers AI.
    pub neurons: u64,
    /// Components that the index stores in addition.
    pub components: u64,
}

impl Cost {
    /// Estimates.
    pub fn of(load: &Load) -> Self {
        let many = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let batches = load
            .living
            .div_ceil(many(BATCH_MAX_MEMORIES))
            .max(load.text_bytes.div_ceil(many(BATCH_MAX_BYTES)))
            + load.dead.div_ceil(many(BATCH_MAX_ENTRIES))
            + load.entries.div_ceil(many(ENTRIES_IN_BATCH));
        let rows = load.living * ROWS_LIVING
            + load.dead * ROWS_DEAD
            + load.entries * ROWS_ENTRY
            + load.tag_links * ROWS_TAG_LINK
            + load.tags * ROWS_TAG
            + batches * ROWS_BATCH;
        let uploads = if load.is_by_ai {
            // One request makes the vectors, one takes them.
            2 * load.vectors.div_ceil(many(ai::TEXTS_MAX))
        } else {
            load.vectors.div_ceil(many(vector_row::BATCH_MAX))
        };
        // A page, the texts that it names, and a page of the index's list.
        let looking = load.entries.div_ceil(many(PAGE_MAX)) * 3;
        let confirming = load.vectors.div_ceil(many(LIST_MAX));
        let embedded = if load.is_by_ai { load.text_bytes } else { 0 };
        let neurons = Usage { embedded_bytes: embedded, ..Usage::default() }.neurons();
        Self {
            rows,
            requests: batches + load.bodies + uploads + confirming + looking,
            neurons,
            components: load.vectors * load.dims,
        }
    }

    /// Days on the free plan: the scarcer of rows and neurons decides.
    pub fn free_days(&self) -> u64 {
        self.rows.div_ceil(FREE_ROWS).max(self.neurons.div_ceil(FREE_NEURONS)).max(1)
    }

    /// The time that the own request budget takes, without the time of the requests themselves.
    pub fn budget_time(&self) -> Duration {
        let a_window = budget::Budget::default().allowed_for_backfill();
        let windows = self.requests / u64::try_from(a_window).unwrap_or(u64::MAX).max(1);
        budget::WINDOW.saturating_mul(u32::try_from(windows).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(digest: u64, is_alive: bool) -> Here {
        Here { digest, shown: 10 * digest, is_alive }
    }

    #[test]
    fn the_sides_are_told_apart() {
        let id = MemoryId::of;
        let alive = |shown| There { digest: None, row: Some((true, Some(shown))) };
        let stated = |digest| There { digest: Some(digest), row: Some((true, Some(0))) };
        let ours = BTreeMap::from([
            (id("only here"), here(1, true)),
            (id("deleted here"), here(2, false)),
            (id("same state"), here(3, true)),
            (id("other state"), here(4, true)),
            (id("same row"), here(5, true)),
            (id("other row"), here(6, true)),
            (id("deleted row"), here(7, true)),
            (id("deleted here, not there"), here(8, false)),
            (id("deleted on both sides"), here(9, false)),
            (id("unreadable row"), here(10, true)),
        ]);
        let memories = BTreeMap::from([
            (id("same state"), stated(3)),
            (id("other state"), stated(9)),
            (id("same row"), alive(50)),
            (id("other row"), alive(1)),
            (id("deleted row"), There { digest: None, row: Some((false, None)) }),
            (id("deleted here, not there"), alive(80)),
            (id("deleted on both sides"), There { digest: None, row: Some((false, None)) }),
            (id("unreadable row"), There { digest: None, row: Some((true, None)) }),
            (id("only there"), alive(1)),
            (id("tombstone there"), There { digest: Some(1), row: None }),
        ]);
        let counts = compare(&ours, &Cloud { memories, is_cut: false });
        let expected = Comparison {
            only_local: 1,
            only_local_deleted: 1,
            only_cloud: 1,
            only_cloud_deleted: 1,
            same: 3,
            same_without_entry: 2,
            differing: 3,
            deleted_here: 1,
            deleted_there: 1,
        };
        assert_eq!(counts, expected);
    }

    #[test]
    fn the_cost_of_ten_thousand_memories() {
        let load = Load {
            living: 10_000,
            tag_links: 30_000,
            tags: 50,
            text_bytes: 8_000_000,
            vectors: 10_000,
            dims: 384,
            ..Load::default()
        };
        let cost = Cost::of(&load);
        assert_eq!(cost.rows, 10_000 * 17 + 150 + 20 * 4);
        assert_eq!((cost.requests, cost.neurons), (20 + 10 + 10, 0));
        assert_eq!((cost.free_days(), cost.budget_time()), (2, Duration::ZERO));
        assert!(cost.components < FREE_COMPONENTS);
        let by_ai = Cost::of(&Load { is_by_ai: true, dims: 768, ..load });
        assert_eq!((by_ai.requests, by_ai.neurons), (20 + 200 + 10, 12_116));
        assert!(by_ai.components > FREE_COMPONENTS && by_ai.free_days() == 2);
        assert_eq!(Cost::of(&Load::default()).free_days(), 1);
    }
}
