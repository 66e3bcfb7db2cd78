//! Loops for processors with AVX2: most of those of the last ten years.
#![expect(unsafe_code, reason = "functions for other processors than the oldest, and their loads")]

use super::Kernel;
use super::portable;
use super::query::Query;
use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m256i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_loadu_si128, _mm_shuffle_epi32,
    _mm256_add_epi32, _mm256_castsi256_si128, _mm256_cvtepi8_epi16, _mm256_extracti128_si256,
    _mm256_loadu_si256, _mm256_madd_epi16, _mm256_setzero_si256,
};

/// Codes of one load.
const STEP: usize = 16;

/// The kernel, if the processor has the instructions.
pub(super) fn kernel() -> Option<Kernel> {
    let is_there = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt");
    is_there.then_some(Kernel { name: "avx2", dots, differences })
}

fn dots(codes: &[i8], query: &Query, out: &mut [i32]) {
    // SAFETY: this function is reached by `kernel` only, which has asked the processor for both features.
    unsafe { dots_avx2(codes, query, out) }
}

/// Bits in which rows differ from the query.
pub(super) fn differences(bits: &[u64], query: &[u64], out: &mut [u32]) {
    // SAFETY: this function is reached by kernels only that have asked the processor for the feature.
    unsafe { differences_popcnt(bits, query, out) }
}

#[target_feature(enable = "popcnt")]
fn differences_popcnt(bits: &[u64], query: &[u64], out: &mut [u32]) {
    // A length that the compiler knows spares a loop within the loop.
    match query.len() {
        6 => portable::differences(bits, query.first_chunk::<6>().unwrap_or(&[0; 6]), out),
        12 => portable::differences(bits, query.first_chunk::<12>().unwrap_or(&[0; 12]), out),
        _ => portable::differences(bits, query, out),
    }
}

#[target_feature(enable = "avx2")]
fn dots_avx2(codes: &[i8], query: &Query, out: &mut [i32]) {
    let wide = query.wide.as_slice();
    let (query_steps, query_rest) = wide.as_chunks::<STEP>();
    let (query_pairs, query_odd) = query_steps.as_chunks::<2>();
    for (row, out) in codes.chunks_exact(wide.len().max(1)).zip(out) {
        let (steps, rest) = row.as_chunks::<STEP>();
        let (pairs, odd) = steps.as_chunks::<2>();
        let (mut first, mut second) = (_mm256_setzero_si256(), _mm256_setzero_si256());
        for ([a, b], [query_a, query_b]) in pairs.iter().zip(query_pairs) {
            first = _mm256_add_epi32(first, products(a, query_a));
            second = _mm256_add_epi32(second, products(b, query_b));
        }
        for (odd, query) in odd.iter().zip(query_odd) {
            first = _mm256_add_epi32(first, products(odd, query));
        }
        let sum = total(_mm256_add_epi32(first, second));
        *out = sum.wrapping_add(portable::dot(rest, query_rest));
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn products(codes: &[i8; STEP], query: &[i16; STEP]) -> __m256i {
    // SAFETY: the arrays have the length of what is loaded from them, 16 and 32 bytes; neither load needs an
    // alignment.
    let (codes, query) = unsafe {
        (_mm_loadu_si128(codes.as_ptr().cast()), _mm256_loadu_si256(query.as_ptr().cast()))
    };
    _mm256_madd_epi16(_mm256_cvtepi8_epi16(codes), query)
}

/// The sum of the eight numbers.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn total(sums: __m256i) -> i32 {
    let four = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
    let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
    _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two)))
}
