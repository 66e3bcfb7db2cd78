//! This device's side of a comparison, read once, in parts that keep no reader for long.

use super::super::session::Session;
use crate::model::id::MemoryId;
use crate::store::digest::{self, LocalEntry};
use crate::store::error::StoreError;
use crate::store::{Read, pull};
use std::collections::BTreeSet;

/// Memories that one look at the store reads.
const PAGE: usize = 2000;
/// Quarantined names that are looked at.
const KNOWN_BAD: usize = 10_000;

pub(super) struct Local {
    /// In the order of their ids.
    entries: Vec<LocalEntry>,
    /// How far the feed has been read.
    pub(super) cursor: i64,
    /// What the cloud holds and can't be taken, by its name there: that is known.
    quarantined: BTreeSet<String>,
}

impl Local {
    pub(super) async fn load(session: &Session) -> Result<Self, StoreError> {
        // Read first: what is pulled meanwhile lies beyond it and is on its way.
        let read =
            |read: &Read<'_>| Ok((pull::cursor(read)?, pull::quarantined(read, KNOWN_BAD)?.0));
        let (cursor, quarantined) = session.store.read(read).await?;
        let (mut entries, mut after) = (Vec::new(), 0);
        loop {
            let page = session.store.read(move |read| digest::page(read, after, PAGE)).await?;
            let Some(last) = page.last() else { break };
            after = last.key;
            let is_end = page.len() < PAGE;
            entries.extend(page);
            if is_end {
                break;
            }
        }
        entries.sort_unstable_by_key(|entry| entry.id);
        let quarantined = quarantined.into_iter().map(|one| one.key).collect();
        Ok(Self { entries, cursor: cursor.unwrap_or(0), quarantined })
    }

    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.entries.len()).unwrap_or(u64::MAX)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &LocalEntry> {
        self.entries.iter()
    }

    pub(super) fn find(&self, id: &MemoryId) -> Option<&LocalEntry> {
        let at = self.entries.binary_search_by_key(id, |entry| entry.id).ok()?;
        self.entries.get(at)
    }

    /// Whether it is known that what the cloud has under this name can't be taken.
    pub(super) fn is_quarantined(&self, name: &str) -> bool {
        self.quarantined.contains(name)
    }

    /// Memories of which something is owed.
    pub(super) fn n_owed(&self) -> u64 {
        let owed = self.entries.iter().filter(|entry| entry.owes_row || entry.owes_vector).count();
        u64::try_from(owed).unwrap_or(u64::MAX)
    }
}
