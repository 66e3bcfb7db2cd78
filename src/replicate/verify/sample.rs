//! A sample of the index's vectors by value: each against the one that the memory's text has.
//!
//! Presence is told by the index's own list, but a list can't tell that a vector is of another text or of
//! another model. As ids are hashes, every so-manieth of them is a fair sample.

use super::super::outgoing::{ai_text, stored_vector};
use super::local::Local;
use super::report::{Candidates, Kind};
use super::{Check, VerifyError};
use crate::model::id::MemoryId;
use crate::model::space::UnitVector;
use crate::remote::ai;
use crate::remote::budget::Lane;
use crate::remote::error::Product;
use crate::remote::vectorize::{GET_MAX, StoredVector, Vectorize};
use crate::store::digest::LocalEntry;
use crate::store::outbox::{self, Outgoing};
use std::collections::{BTreeSet, HashMap};

/// How near a vector must be to the one that this device has sent: the index keeps all digits.
const COSINE_MIN: f32 = 0.999;
/// The same for one that Workers AI makes anew: nobody promises that all digits come out again.
const COSINE_MIN_AI: f32 = 0.99;

/// Compares up to [`GET_MAX`] of the vectors that the index lists; gives how many were, or `None` where
/// Workers AI would have to make them and is left alone for now.
pub(super) async fn compare(
    check: &mut Check<'_>,
    local: &Local,
    listed: &BTreeSet<MemoryId>,
    found: &mut Candidates,
) -> Result<Option<u64>, VerifyError> {
    let chosen = choose(check, local, listed, found);
    let is_local = check.session.link.is_local_space;
    if chosen.is_empty() {
        return Ok(Some(0));
    }
    if !is_local && check.demand_open(Product::Ai).is_err() {
        return Ok(None);
    }
    let index = Vectorize::new(
        check.session.remote.in_lane(Lane::Backfill),
        &check.session.link.vector_index,
    );
    let ids: Vec<String> = chosen.iter().map(|entry| entry.id.to_string()).collect();
    let answer = index.get_by_ids(&ids).await;
    let there: HashMap<String, StoredVector> = check
        .noted(Product::Vectorize, answer)?
        .into_iter()
        .map(|vector| (vector.id.clone(), vector))
        .collect();
    let keys: Vec<i64> = chosen.iter().map(|entry| entry.key).collect();
    let read = move |read: &crate::store::Read<'_>| {
        keys.into_iter().map(|key| outbox::outgoing(read, key, is_local)).collect()
    };
    let memories: Vec<Option<Outgoing>> = check.session.store.read(read).await?;
    let memories: Vec<Outgoing> =
        memories.into_iter().flatten().filter(|memory| memory.content.is_some()).collect();
    let expected = if is_local {
        let dims = check.session.contract.dims;
        memories.iter().map(|memory| stored_vector(memory.vector.as_ref()?, dims).ok()).collect()
    } else {
        made_anew(check, &memories).await?
    };
    let least = if is_local { COSINE_MIN } else { COSINE_MIN_AI };
    let mut n_compared = 0;
    for (memory, expected) in memories.iter().zip(expected) {
        let Some(stored) = there.get(&memory.id.to_string()) else { continue };
        let Some(expected) = expected else { continue };
        n_compared += 1;
        if !is_near(&expected, &stored.values, least) {
            found.add(
                Kind::VectorDiffers,
                memory.id,
                local.find(&memory.id).map(|here| here.digest),
            );
        }
    }
    Ok(Some(n_compared))
}

/// Memories whose vectors in the index should be those of their texts.
fn choose<'a>(
    check: &Check<'_>,
    local: &'a Local,
    listed: &BTreeSet<MemoryId>,
    found: &Candidates,
) -> Vec<&'a LocalEntry> {
    let makes_here = check.session.link.is_local_space;
    let is_settled = |entry: &&LocalEntry| {
        entry.is_findable
            && !entry.owes_vector
            && (entry.is_embedded || !makes_here)
            && listed.contains(&entry.id)
            && !found.is_unsettled(&entry.id)
            && !check.is_young(entry.updated_at)
    };
    let settled: Vec<&LocalEntry> = local.iter().filter(is_settled).collect();
    let step = settled.len().div_ceil(GET_MAX).max(1);
    settled.into_iter().step_by(step).collect()
}

/// What Workers AI makes of the texts; `None` for one without a direction.
async fn made_anew(
    check: &mut Check<'_>,
    memories: &[Outgoing],
) -> Result<Vec<Option<UnitVector>>, VerifyError> {
    let contract = &check.session.contract;
    let Some(model) = &contract.ai else { return Ok(vec![None; memories.len()]) };
    let texts: Vec<&str> =
        memories.iter().map(|one| ai_text(one.content.as_deref().unwrap_or(" "))).collect();
    let remote = check.session.remote.in_lane(Lane::Backfill);
    let answer = ai::embed(&remote, model, contract.dims, &texts).await;
    let made = check.noted(Product::Ai, answer)?;
    Ok(made.into_iter().map(UnitVector::normalise).collect())
}

fn is_near(expected: &UnitVector, stored: &[f32], least: f32) -> bool {
    let Some(stored) = UnitVector::normalise(stored.to_vec()) else { return false };
    let (expected, stored) = (expected.as_slice(), stored.as_slice());
    let cosine: f32 = expected.iter().zip(stored).map(|(a, b)| a * b).sum();
    expected.len() == stored.len() && cosine >= least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_direction_counts() {
        let one = UnitVector::normalise(vec![3.0, 4.0]).unwrap();
        assert!(is_near(&one, &[6.0, 8.0], COSINE_MIN));
        assert!(!is_near(&one, &[4.0, 3.0], COSINE_MIN));
        assert!(!is_near(&one, &[6.0, 8.0, 0.0], COSINE_MIN), "another length");
        assert!(!is_near(&one, &[0.0, 0.0], COSINE_MIN), "no direction");
        assert!(!is_near(&one, &[f32::NAN, 8.0], COSINE_MIN));
    }
}
