//! Second looks, and what is done about the differences that remain.

use super::super::session::Session;
use super::local::Local;
use super::report::{Candidate, Kind};
use super::{Check, VerifyError};
use crate::model::id::MemoryId;
use crate::remote::budget::Lane;
use crate::remote::digest::announce;
use crate::remote::error::Product as Remote;
use crate::remote::vectorize::{DELETE_MAX, Vectorize};
use crate::store::digest;
use crate::store::error::StoreError;
use crate::store::outbox::Product;
use crate::store::repair::owe;
use crate::store::{Read, Write, pull};
use std::collections::BTreeMap;

/// Memories that one look at the store reads, and one write changes.
const PORTION: usize = 500;

/// Drops differences that something has changed since they were found.
pub(super) async fn recheck(
    session: &Session,
    candidates: Vec<Candidate>,
) -> Result<Vec<Candidate>, StoreError> {
    let mut kept = Vec::new();
    for portion in candidates.chunks(PORTION) {
        let portion = portion.to_vec();
        let look = move |read: &Read<'_>| {
            let mut kept = Vec::new();
            for candidate in portion {
                if stands(read, &candidate)? {
                    kept.push(candidate);
                }
            }
            Ok(kept)
        };
        kept.extend(session.store.read(look).await?);
    }
    Ok(kept)
}

fn stands(read: &Read<'_>, candidate: &Candidate) -> Result<bool, StoreError> {
    let Some(id) = candidate.id else { return Ok(true) };
    let now = digest::one(read, &id)?;
    let Some(now) = now else { return Ok(candidate.digest.is_none()) };
    let is_owed = match candidate.kind {
        Kind::VectorMissing | Kind::VectorOfDead | Kind::VectorUnknown | Kind::VectorDiffers => {
            now.owes_vector
        }
        _ => now.owes_row,
    };
    Ok(candidate.digest == Some(now.digest) && !is_owed)
}

/// Sees to the differences; gives how many of each kind were seen to.
pub(super) async fn repair(
    check: &mut Check<'_>,
    local: &Local,
    candidates: &[Candidate],
) -> Result<BTreeMap<Kind, u64>, VerifyError> {
    let mut done = BTreeMap::new();
    let mut is_fetching = false;
    for portion in candidates.chunks(PORTION) {
        let (mut duties, mut fetched) = (Vec::new(), Vec::new());
        let (mut unnoticed, mut strays) = (Vec::new(), Vec::new());
        for candidate in portion {
            let Some(id) = candidate.id else { continue };
            let remedy = Remedy::of(candidate.kind, check.pulls());
            let key = local.find(&id).map(|entry| entry.key);
            let owed = key.map_or(&[][..], |_| remedy.owed);
            duties.extend(key.into_iter().flat_map(|key| owed.iter().map(move |one| (*one, key))));
            fetched.extend(remedy.is_fetched.then_some(id));
            unnoticed.extend((candidate.kind == Kind::RowWithoutState).then(|| id.to_string()));
            strays.extend((candidate.kind == Kind::VectorUnknown).then_some(id));
            if remedy.is_fetched || !owed.is_empty() {
                *done.entry(candidate.kind).or_default() += 1;
            }
        }
        is_fetching |= !fetched.is_empty();
        let write = move |write: &mut Write<'_>| {
            for product in Product::ALL {
                let of_product = duties.iter().filter(|(owed, _)| *owed == product);
                let keys: Vec<i64> = of_product.map(|(_, key)| *key).collect();
                if !keys.is_empty() {
                    owe(write, product, &keys)?;
                }
            }
            pull::refetch(write, &fetched)
        };
        check.session.store.write(write).await?;
        if !unnoticed.is_empty() {
            let database = &check.session.link.database_uuid;
            let answer = announce(&check.d1, &unnoticed, database).await;
            check.noted(Remote::D1, answer)?;
            is_fetching = true;
            let n_announced = u64::try_from(unnoticed.len()).unwrap_or(u64::MAX);
            *done.entry(Kind::RowWithoutState).or_default() += n_announced;
        }
        let n_removed = remove(check, &strays).await?;
        if n_removed > 0 {
            *done.entry(Kind::VectorUnknown).or_default() += n_removed;
        }
    }
    if is_fetching {
        check.session.pace().hasten();
    }
    Ok(done)
}

/// What is done about a difference.
struct Remedy {
    /// Owed anew.
    owed: &'static [Product],
    /// Fetched again; merging then decides what is owed.
    is_fetched: bool,
}

impl Remedy {
    /// A device that only pushes takes nothing. Where the Python service's row shows something else it
    /// does nothing either: a push would overwrite what the service wrote.
    fn of(kind: Kind, pulls: bool) -> Self {
        let owed: &[Product] = match kind {
            Kind::MissingInCloud | Kind::Differing | Kind::RowMissing | Kind::RowTextDiffers => {
                &[Product::D1]
            }
            Kind::VectorMissing | Kind::VectorOfDead | Kind::VectorDiffers => &[Product::Vectorize],
            Kind::BodyMissing | Kind::BodyDiffers => &[Product::R2, Product::D1],
            Kind::RowDiffers
            | Kind::MissingHere
            | Kind::RowWithoutState
            | Kind::Unreadable
            | Kind::VectorUnknown => &[],
        };
        let is_fetched = match kind {
            Kind::Differing | Kind::RowDiffers | Kind::MissingHere => pulls,
            _ => false,
        };
        Self { owed, is_fetched }
    }
}

/// Deletes vectors of memories that nobody knows: no memory here owes their removal.
async fn remove(check: &mut Check<'_>, strays: &[MemoryId]) -> Result<u64, VerifyError> {
    let remote = check.session.remote.in_lane(Lane::Backfill);
    let index = Vectorize::new(remote, &check.session.link.vector_index);
    let ids: Vec<String> = strays.iter().map(ToString::to_string).collect();
    for ids in ids.chunks(DELETE_MAX) {
        let answer = index.delete(ids).await;
        check.noted(Remote::Vectorize, answer)?;
    }
    Ok(u64::try_from(ids.len()).unwrap_or(u64::MAX))
}
