//! The first half of a search by meaning alone, for measuring: which memories are nearest, and what looking at
//! the vectors in memory takes of that.

use super::error::StoreError;
use super::nearest;
use super::reader::Read;
use super::sieve::Sieve;
use super::vector::active_space;
use crate::model::filter::Filter;
use crate::model::space::UnitVector;

/// The `k` memories nearest to `query` that pass, by their local keys and with their cosines, best first.
///
/// # Errors
/// The database refused.
pub fn neighbours(
    read: &Read<'_>,
    query: &UnitVector,
    k: usize,
    filter: &Filter,
) -> Result<Vec<(i64, f64)>, StoreError> {
    nearest::nearest(read, query, k, &Sieve::of(read, filter))
}

/// How many vectors are proposed from memory for `k` memories; none are looked up in the file. 0 if the vectors
/// are not in memory.
///
/// # Errors
/// The database refused.
pub fn n_proposed(read: &Read<'_>, query: &UnitVector, k: usize) -> Result<usize, StoreError> {
    let Some((space, _)) = active_space(read.conn)? else { return Ok(0) };
    let proposals = read.indexes.mirror.nearest(space, query, nearest::proposed(k), None);
    Ok(proposals.map_or(0, |proposals| proposals.by_bound.len()))
}
