//! Loops for every processor, which the compiler may turn into wide instructions where a caller has them.

use super::query::Query;

/// Products of rows with the query.
pub(super) fn dots(codes: &[i8], query: &Query, out: &mut [i32]) {
    for (row, out) in codes.chunks_exact(query.dims().max(1)).zip(out) {
        *out = dot(row, &query.wide);
    }
}

/// An overflow check would forbid the compiler wide instructions; there is none by the choice of the query.
pub(super) fn dot(row: &[i8], query: &[i16]) -> i32 {
    let products = row.iter().zip(query).map(|(a, b)| i32::from(*a).wrapping_mul(i32::from(*b)));
    products.fold(0, i32::wrapping_add)
}

/// Bits in which rows differ from the query.
#[expect(clippy::inline_always, reason = "a call from another kernel would lose its instructions")]
#[inline(always)]
pub(super) fn differences(bits: &[u64], query: &[u64], out: &mut [u32]) {
    for (row, out) in bits.chunks_exact(query.len().max(1)).zip(out) {
        *out = row.iter().zip(query).map(|(a, b)| (a ^ b).count_ones()).sum();
    }
}
