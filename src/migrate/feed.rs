//! A source, read into what the store takes over: pages of rows with their prints and their vectors.

use super::edge;
use super::row::{RefusedRow, SourceMemory};
use super::source::{Page, Source, SourceError};
use super::vectors::{Reuse, Unfit};
use crate::model::id::{BodyHash, MemoryId};
use crate::store::edge::Edge;
use crate::store::takeover::SourceRow;
use std::collections::HashMap;

/// Rows of a page.
pub const PAGE_ROWS: usize = 500;
/// Bytes of text of a page, roughly.
pub const PAGE_BYTES: usize = 4 << 20;
/// Rows that lie this much scattered are asked for one by one.
const SCATTERED: usize = 4;

/// What rows had to tell, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows.
    pub rows: u64,
    /// Living memories.
    pub living: u64,
    /// Deleted ones.
    pub deleted: u64,
    /// Memories with columns that memtide has no use for.
    pub carried: u64,
    /// The sum over all memories of what names them and their text.
    pub digest: u64,
    /// Living memories without a stored vector.
    pub vectors_missing: u64,
    /// Vectors with another number of components.
    pub vectors_wrong_length: u64,
    /// Vectors that are no direction.
    pub vectors_unusable: u64,
    /// Vectors that were made of a hash.
    pub vectors_pseudo: u64,
    /// Vectors of a part of their text.
    pub vectors_of_long_texts: u64,
}

impl Tally {
    /// Adds those of other rows.
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.living += other.living;
        self.deleted += other.deleted;
        self.carried += other.carried;
        self.digest = self.digest.wrapping_add(other.digest);
        self.vectors_missing += other.vectors_missing;
        self.vectors_wrong_length += other.vectors_wrong_length;
        self.vectors_unusable += other.vectors_unusable;
        self.vectors_pseudo += other.vectors_pseudo;
        self.vectors_of_long_texts += other.vectors_of_long_texts;
    }
}

/// Rows, read.
#[derive(Debug, Default)]
pub struct Fed {
    /// Those that can be taken over.
    pub rows: Vec<SourceRow>,
    /// Those that can't.
    pub refused: Vec<RefusedRow>,
    /// What was kept aside of those that can.
    pub remarks: Vec<(MemoryId, String)>,
    /// Memories of those that can whose vector is no direction.
    pub bad_vectors: Vec<MemoryId>,
    /// The rows that were read, each with its print.
    pub prints: Vec<(i64, i64)>,
    /// In numbers.
    pub tally: Tally,
    /// Where to go on; `None` at the end.
    pub next: Option<i64>,
}

/// Reads a source.
pub struct Feed {
    source: Source,
    reuse: Option<Reuse>,
}

impl Feed {
    /// Reads `source`; with `reuse` its vectors too.
    pub fn new(source: Source, reuse: Option<Reuse>) -> Self {
        Self { source, reuse }
    }

    /// The source.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What takes over its vectors.
    pub fn reuse(&self) -> Option<&Reuse> {
        self.reuse.as_ref()
    }

    /// Exchanges what takes over its vectors.
    pub fn set_reuse(&mut self, reuse: Option<Reuse>) {
        self.reuse = reuse;
    }

    /// The rows that follow `after`.
    ///
    /// # Errors
    /// The source can't be read.
    pub fn page(&self, after: i64) -> Result<Fed, SourceError> {
        self.source.at_one_moment(|source| {
            let page = source.page(after, PAGE_ROWS, PAGE_BYTES)?;
            let last = page.rows.last().map_or(after, rowid);
            let prints = source.prints(after, last)?;
            self.fed(page, prints)
        })
    }

    /// These rows, in order, and how many of them were read: the texts of one go may be too large. Those that
    /// are gone are left out.
    ///
    /// # Errors
    /// The source can't be read.
    pub fn rows(&self, wanted: &[i64]) -> Result<(Fed, usize), SourceError> {
        let wanted = wanted.get(..PAGE_ROWS.min(wanted.len())).unwrap_or_default();
        let (Some(first), Some(last)) = (wanted.first(), wanted.last()) else {
            return Ok((Fed::default(), 0));
        };
        let span = usize::try_from(last.saturating_sub(*first)).unwrap_or(usize::MAX);
        self.source.at_one_moment(|source| {
            if span <= wanted.len().saturating_mul(SCATTERED) {
                let mut page = source.page(first - 1, span + 1, PAGE_BYTES)?;
                let end = page.rows.last().filter(|_| page.next.is_some()).map_or(*last, rowid);
                let n_read = wanted.partition_point(|row| *row <= end);
                page.rows.retain(|row| wanted.binary_search(&rowid(row)).is_ok());
                let mut prints = source.prints(first - 1, end.min(*last))?;
                prints.retain(|(row, _)| wanted.binary_search(row).is_ok());
                return Ok((self.fed(page, prints)?, n_read.max(1)));
            }
            let mut all = Page { rows: Vec::new(), next: None };
            let (mut prints, mut size, mut n_read) = (Vec::new(), 0, 0);
            for row in wanted {
                let found = source.page(row - 1, 1, usize::MAX)?.rows.into_iter();
                let found: Vec<_> = found.filter(|found| rowid(found) == *row).collect();
                let texts = found.iter().flatten().map(|memory| memory.content.len());
                size += texts.sum::<usize>();
                all.rows.extend(found);
                prints.extend(source.prints(row - 1, *row)?);
                n_read += 1;
                if size >= PAGE_BYTES {
                    break;
                }
            }
            Ok((self.fed(all, prints)?, n_read))
        })
    }

    fn fed(&self, page: Page, prints: Vec<(i64, i64)>) -> Result<Fed, SourceError> {
        let mut fed = Fed { next: page.next, ..Fed::default() };
        let by_row: HashMap<i64, i64> = prints.iter().copied().collect();
        let mut vectors = self.vectors(&page)?;
        for row in page.rows {
            fed.tally.rows += 1;
            match row {
                Ok(memory) => {
                    let print = by_row.get(&memory.rowid).copied().unwrap_or_default();
                    let raw = vectors.remove(&memory.rowid);
                    self.take(&mut fed, memory, print, raw);
                }
                Err(refused) => fed.refused.push(refused),
            }
        }
        fed.prints = prints;
        Ok(fed)
    }

    fn vectors(&self, page: &Page) -> Result<HashMap<i64, Vec<f32>>, SourceError> {
        if self.reuse.is_none() {
            return Ok(HashMap::new());
        }
        let has_one = |memory: &&SourceMemory| {
            memory.shown.deleted_at.is_none() && !memory.is_embedding_pending
        };
        let rows: Vec<i64> =
            page.rows.iter().flatten().filter(has_one).map(|memory| memory.rowid).collect();
        self.source.vectors(&rows)
    }

    fn take(&self, fed: &mut Fed, memory: SourceMemory, print: i64, raw: Option<Vec<f32>>) {
        let body = BodyHash::of(&memory.content);
        let tally = &mut fed.tally;
        let is_alive = memory.shown.deleted_at.is_none();
        *(if is_alive { &mut tally.living } else { &mut tally.deleted }) += 1;
        tally.carried += u64::from(!memory.carried.is_empty());
        tally.digest = tally.digest.wrapping_add(digest(&memory.id, &body));
        let vector = match (&self.reuse, raw) {
            (Some(reuse), Some(raw)) => match reuse.fit(&memory.content, raw) {
                Ok(vector) => Some(vector),
                Err(unfit) => {
                    if unfit == Unfit::Direction {
                        fed.bad_vectors.push(memory.id);
                    }
                    *(match unfit {
                        Unfit::Length => &mut tally.vectors_wrong_length,
                        Unfit::Direction => &mut tally.vectors_unusable,
                        Unfit::Pseudo => &mut tally.vectors_pseudo,
                        Unfit::Text => &mut tally.vectors_of_long_texts,
                    }) += 1;
                    None
                }
            },
            (Some(_), None) => {
                tally.vectors_missing += u64::from(is_alive);
                None
            }
            (None, _) => None,
        };
        let id = memory.id;
        fed.remarks.extend(memory.remarks.into_iter().map(|remark| (id, remark)));
        fed.rows.push(SourceRow {
            row: memory.rowid,
            print,
            id,
            body,
            content: memory.content,
            shown: memory.shown,
            carried: memory.carried,
            vector,
        });
    }

    /// The edges that follow `after`, and where to go on; `None` at the end.
    ///
    /// # Errors
    /// The source can't be read.
    pub fn edges(&self, after: i64) -> Result<(Vec<Edge>, Option<i64>), SourceError> {
        let edges = self.source.edges(after, PAGE_ROWS)?;
        let last = edges.last().map(|edge| edge.rowid);
        Ok((edges.into_iter().map(kept).collect(), last))
    }
}

fn rowid(row: &Result<SourceMemory, RefusedRow>) -> i64 {
    match row {
        Ok(memory) => memory.rowid,
        Err(refused) => refused.rowid,
    }
}

fn kept(edge: edge::Edge) -> Edge {
    Edge {
        origin: edge.source,
        target: edge.target,
        similarity: edge.similarity,
        kinds: edge.connection_types,
        relation: edge.relationship,
        metadata: edge.metadata,
        created_at: edge.created_at,
    }
}

/// What names a memory and its text, in a number that can be summed in any order.
fn digest(id: &MemoryId, body: &BodyHash) -> u64 {
    crate::store::reconcile::digest(id, body)
}
