//! The vector index: its own list of ids against the memories that a search may find.

use super::local::Local;
use super::report::{Candidates, Kind};
use super::{Check, VerifyError};
use crate::model::id::MemoryId;
use crate::remote::budget::Lane;
use crate::remote::digest::{self, KNOWN_MAX};
use crate::remote::error::Product;
use crate::remote::vectorize::{GET_MAX, Vectorize};
use crate::store::digest::LocalEntry;
use std::collections::BTreeSet;

/// Pages of the list at most: 300,000 vectors. A larger index is not compared.
const PAGES_MAX: usize = 300;
/// Vectors that seem to be missing and are asked for by name: the list may be older than they are.
const ASKED_MAX: usize = 100;

/// What the index lists.
pub(super) struct Listed {
    /// Vectors, other programs' included.
    pub(super) n: u64,
    /// Those under the name of a memory.
    pub(super) ids: BTreeSet<MemoryId>,
}

/// Compares; gives what the index lists, or `None` if that is too much to compare.
pub(super) async fn compare(
    check: &mut Check<'_>,
    local: &Local,
    found: &mut Candidates,
) -> Result<Option<Listed>, VerifyError> {
    let remote = check.session.remote.in_lane(Lane::Backfill);
    let index = Vectorize::new(remote, &check.session.link.vector_index);
    let Some(ids) = list(check, &index).await? else { return Ok(None) };
    let n = u64::try_from(ids.len()).unwrap_or(u64::MAX);
    // Other names are other programs' vectors.
    let listed: BTreeSet<MemoryId> = ids.iter().filter_map(|id| id.parse().ok()).collect();
    drop(ids);
    missing(check, &index, local, &listed, found).await?;
    let mut unknown = Vec::new();
    for &id in &listed {
        match local.find(&id) {
            Some(here) if here.is_findable || here.owes_vector => {}
            Some(here) if check.is_young(here.updated_at) => found.skip(),
            Some(here) => found.add(Kind::VectorOfDead, id, Some(here.digest)),
            None if check.pulls() && !found.is_unsettled(&id) => unknown.push(id),
            None => {}
        }
    }
    nobodys(check, unknown, found).await?;
    Ok(Some(Listed { n, ids: listed }))
}

async fn list(
    check: &mut Check<'_>,
    index: &Vectorize,
) -> Result<Option<Vec<String>>, VerifyError> {
    let (mut ids, mut cursor) = (Vec::new(), None::<String>);
    for _ in 0..PAGES_MAX {
        let answer = index.list(cursor.as_deref()).await;
        let page = check.noted(Product::Vectorize, answer)?;
        ids.extend(page.ids);
        cursor = page.cursor;
        if cursor.is_none() {
            return Ok(Some(ids));
        }
    }
    tracing::warn!(pages = PAGES_MAX, "the index is too large to be compared");
    Ok(None)
}

async fn missing(
    check: &mut Check<'_>,
    index: &Vectorize,
    local: &Local,
    listed: &BTreeSet<MemoryId>,
    found: &mut Candidates,
) -> Result<(), VerifyError> {
    let makes_here = check.session.link.is_local_space;
    let is_missing = |entry: &&LocalEntry| {
        entry.is_findable
            && !entry.owes_vector
            && (entry.is_embedded || !makes_here)
            && !listed.contains(&entry.id)
            && !found.is_unsettled(&entry.id)
    };
    let missing: Vec<&LocalEntry> = local.iter().filter(is_missing).collect();
    let (young, missing): (Vec<_>, Vec<_>) =
        missing.into_iter().partition(|entry| check.is_young(entry.updated_at));
    for _on_its_way in young {
        found.skip();
    }
    let mut there = BTreeSet::new();
    if missing.len() <= ASKED_MAX {
        let ids: Vec<String> = missing.iter().map(|entry| entry.id.to_string()).collect();
        for ids in ids.chunks(GET_MAX) {
            let answer = index.get_by_ids(ids).await;
            let vectors = check.noted(Product::Vectorize, answer)?;
            there.extend(vectors.into_iter().map(|vector| vector.id));
        }
    }
    for entry in missing {
        if there.contains(&entry.id.to_string()) {
            found.skip();
        } else {
            found.add(Kind::VectorMissing, entry.id, Some(entry.digest));
        }
    }
    Ok(())
}

/// Of vectors that this device knows nothing of, those are nobody's that the database doesn't know
/// either.
async fn nobodys(
    check: &mut Check<'_>,
    unknown: Vec<MemoryId>,
    found: &mut Candidates,
) -> Result<(), VerifyError> {
    let ids: Vec<String> = unknown.iter().map(ToString::to_string).collect();
    for ids in ids.chunks(KNOWN_MAX) {
        let answer = digest::known(&check.d1, ids, check.anchor.as_ref()).await;
        let known: BTreeSet<String> = check.told(answer)?.into_iter().collect();
        for id in ids {
            match id.parse() {
                Ok(memory) if !known.contains(id) => {
                    found.add(Kind::VectorUnknown, memory, None);
                }
                _ => found.skip(),
            }
        }
    }
    Ok(())
}
