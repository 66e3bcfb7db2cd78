//! Loops for processors that multiply bytes and add them up in one instruction: AVX-512 VNNI, and AVX-VNNI of
//! those without AVX-512.
//!
//! The instruction takes unsigned bytes on one side. So each code is taken larger by 128, which is one bit
//! turned over, and what that gives too much is subtracted once for each row. The query's halves are the
//! signed bytes on the other side.
#![expect(unsafe_code, reason = "functions for other processors than the oldest, and their loads")]

use super::Kernel;
use super::avx2;
use super::query::{Query, STEP};
use std::arch::is_x86_feature_detected;
use std::arch::x86_64::{
    __m256i, __m512i, __mmask64, _mm256_add_epi32, _mm256_dpbusd_avx_epi32, _mm256_loadu_si256,
    _mm256_set1_epi8, _mm256_setzero_si256, _mm256_slli_epi32, _mm256_xor_si256, _mm512_add_epi32,
    _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_maskz_loadu_epi8, _mm512_maskz_loadu_epi64,
    _mm512_popcnt_epi64, _mm512_reduce_add_epi32, _mm512_reduce_add_epi64, _mm512_set1_epi8,
    _mm512_setzero_si512, _mm512_slli_epi32, _mm512_xor_si512,
};

/// Rows that are read side by side, so that the query is loaded once for them.
const ROWS: usize = 4;
/// Codes that the narrower kernel reads at once.
const HALF: usize = STEP / 2;
/// Turns a signed code into an unsigned one, larger by 128.
const SIGN: i8 = i8::MIN;

/// The kernels that the processor has the instructions for, the faster one last.
pub(super) fn kernels() -> Vec<Kernel> {
    let mut kernels = Vec::new();
    if is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("avxvnni")
    {
        kernels.push(Kernel {
            name: "avx-vnni",
            dots: dots_of_256,
            differences: avx2::differences,
        });
    }
    if is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni")
    {
        let has_popcnt = is_x86_feature_detected!("avx512vpopcntdq");
        let differences = if has_popcnt { differences_of_512 } else { avx2::differences };
        kernels.push(Kernel { name: "avx512-vnni", dots: dots_of_512, differences });
    }
    kernels
}

fn dots_of_512(codes: &[i8], query: &Query, out: &mut [i32]) {
    // SAFETY: this function is reached by `kernels` only, which has asked the processor for the three features.
    unsafe { dots_avx512(codes, query, out) }
}

fn dots_of_256(codes: &[i8], query: &Query, out: &mut [i32]) {
    // SAFETY: this function is reached by `kernels` only, which has asked the processor for both features.
    unsafe { dots_avx(codes, query, out) }
}

fn differences_of_512(bits: &[u64], query: &[u64], out: &mut [u32]) {
    if query.len() > 8 && query.len() != 12 {
        return avx2::differences(bits, query, out);
    }
    // SAFETY: this function is reached by `kernels` only, which has asked the processor for both features.
    unsafe { differences_avx512(bits, query, out) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn dots_avx512(codes: &[i8], query: &Query, out: &mut [i32]) {
    let dims = query.dims().max(1);
    let mut groups = codes.chunks_exact(dims * ROWS);
    let mut outs = out.chunks_exact_mut(ROWS);
    for (rows, out) in groups.by_ref().zip(outs.by_ref()) {
        out.copy_from_slice(&group_avx512(split::<ROWS>(rows, dims), query));
    }
    let rest = groups.remainder().chunks_exact(dims);
    for (row, out) in rest.zip(outs.into_remainder()) {
        let [dot] = group_avx512([row], query);
        *out = dot;
    }
}

/// The products of `N` rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn group_avx512<const N: usize>(rows: [&[i8]; N], query: &Query) -> [i32; N] {
    let sign = _mm512_set1_epi8(SIGN);
    let mut sums = [(_mm512_setzero_si512(), _mm512_setzero_si512()); N];
    let (upper, last_upper) = halves::<STEP>(&query.upper, query.dims());
    let (lower, last_lower) = halves::<STEP>(&query.lower, query.dims());
    let rows = rows.map(<[i8]>::as_chunks::<STEP>);
    for (n, (upper, lower)) in upper.iter().zip(lower).enumerate() {
        let (upper, lower) = (load_512(upper), load_512(lower));
        for ((steps, _), sums) in rows.iter().zip(&mut sums) {
            let Some(step) = steps.get(n) else { continue };
            let codes = _mm512_xor_si512(load_512(step), sign);
            sums.0 = _mm512_dpbusd_epi32(sums.0, codes, upper);
            sums.1 = _mm512_dpbusd_epi32(sums.1, codes, lower);
        }
    }
    if let (Some(upper), Some(lower)) = (last_upper, last_lower) {
        let (upper, lower) = (load_512(upper), load_512(lower));
        for ((_, rest), sums) in rows.iter().zip(&mut sums) {
            let codes = _mm512_xor_si512(load_rest(rest), sign);
            sums.0 = _mm512_dpbusd_epi32(sums.0, codes, upper);
            sums.1 = _mm512_dpbusd_epi32(sums.1, codes, lower);
        }
    }
    sums.map(|(upper, lower)| {
        let sum = _mm512_add_epi32(_mm512_slli_epi32::<7>(upper), lower);
        _mm512_reduce_add_epi32(sum).wrapping_sub(query.excess)
    })
}

/// Rows that lie behind each other, one by one.
#[inline]
fn split<const N: usize>(rows: &[i8], dims: usize) -> [&[i8]; N] {
    std::array::from_fn(|n| rows.get(n * dims..(n + 1) * dims).unwrap_or_default())
}

/// The whole steps of a query of `dims` components, and the step that is filled up with zeros.
#[inline]
fn halves<const S: usize>(half: &[i8], dims: usize) -> (&[[i8; S]], Option<&[i8; S]>) {
    let (whole, last) = half.split_at_checked(dims - dims % S).unwrap_or((half, &[]));
    (whole.as_chunks().0, last.first_chunk())
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load_512(bytes: &[i8; STEP]) -> __m512i {
    // SAFETY: the array has the 64 bytes that are loaded; the load needs no alignment.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}

/// Fewer than 64 codes, and zeros.
#[inline]
#[target_feature(enable = "avx512bw")]
fn load_rest(rest: &[i8]) -> __m512i {
    let is_there: __mmask64 = !(u64::MAX << rest.len().min(STEP - 1));
    // SAFETY: what the mask leaves out is not read, and the mask has no more bits than the slice has bytes.
    unsafe { _mm512_maskz_loadu_epi8(is_there, rest.as_ptr()) }
}

#[target_feature(enable = "avx2,avxvnni")]
fn dots_avx(codes: &[i8], query: &Query, out: &mut [i32]) {
    const ROWS: usize = 2;
    let dims = query.dims().max(1);
    let mut groups = codes.chunks_exact(dims * ROWS);
    let mut outs = out.chunks_exact_mut(ROWS);
    for (rows, out) in groups.by_ref().zip(outs.by_ref()) {
        out.copy_from_slice(&group_avx(split::<ROWS>(rows, dims), query));
    }
    let rest = groups.remainder().chunks_exact(dims);
    for (row, out) in rest.zip(outs.into_remainder()) {
        let [dot] = group_avx([row], query);
        *out = dot;
    }
}

/// The products of `N` rows.
#[inline]
#[target_feature(enable = "avx2,avxvnni")]
fn group_avx<const N: usize>(rows: [&[i8]; N], query: &Query) -> [i32; N] {
    let sign = _mm256_set1_epi8(SIGN);
    let mut sums = [(_mm256_setzero_si256(), _mm256_setzero_si256()); N];
    let (upper, last_upper) = halves::<HALF>(&query.upper, query.dims());
    let (lower, last_lower) = halves::<HALF>(&query.lower, query.dims());
    let rows = rows.map(<[i8]>::as_chunks::<HALF>);
    for (n, (upper, lower)) in upper.iter().zip(lower).enumerate() {
        let (upper, lower) = (load_256(upper), load_256(lower));
        for ((steps, _), sums) in rows.iter().zip(&mut sums) {
            let Some(step) = steps.get(n) else { continue };
            let codes = _mm256_xor_si256(load_256(step), sign);
            sums.0 = _mm256_dpbusd_avx_epi32(sums.0, codes, upper);
            sums.1 = _mm256_dpbusd_avx_epi32(sums.1, codes, lower);
        }
    }
    if let (Some(upper), Some(lower)) = (last_upper, last_lower) {
        let (upper, lower) = (load_256(upper), load_256(lower));
        for ((_, rest), sums) in rows.iter().zip(&mut sums) {
            let mut filled = [0; HALF];
            filled.iter_mut().zip(*rest).for_each(|(filled, code)| *filled = *code);
            let codes = _mm256_xor_si256(load_256(&filled), sign);
            sums.0 = _mm256_dpbusd_avx_epi32(sums.0, codes, upper);
            sums.1 = _mm256_dpbusd_avx_epi32(sums.1, codes, lower);
        }
    }
    sums.map(|(upper, lower)| {
        let sum = _mm256_add_epi32(_mm256_slli_epi32::<7>(upper), lower);
        avx2::total(sum).wrapping_sub(query.excess)
    })
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_256(bytes: &[i8; HALF]) -> __m256i {
    // SAFETY: the array has the 32 bytes that are loaded; the load needs no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// For rows of at most 512 bits, and of 768.
#[target_feature(enable = "avx512f,avx512vpopcntdq")]
fn differences_avx512(bits: &[u64], query: &[u64], out: &mut [u32]) {
    let (first, second) = query.split_at_checked(8).unwrap_or((query, &[]));
    let (first_query, second_query) = (load_words(first), load_words(second));
    for (row, out) in bits.chunks_exact(query.len().max(1)).zip(out) {
        let (first, second) = row.split_at_checked(8).unwrap_or((row, &[]));
        let mut count = _mm512_popcnt_epi64(_mm512_xor_si512(load_words(first), first_query));
        if !second.is_empty() {
            let more = _mm512_popcnt_epi64(_mm512_xor_si512(load_words(second), second_query));
            count = _mm512_add_epi32(count, more);
        }
        *out = u32::try_from(_mm512_reduce_add_epi64(count)).unwrap_or(u32::MAX);
    }
}

/// At most eight words, and zeros.
#[inline]
#[target_feature(enable = "avx512f")]
fn load_words(words: &[u64]) -> __m512i {
    let is_there = !(0xff_u8.checked_shl(u32::try_from(words.len()).unwrap_or(8)).unwrap_or(0));
    // SAFETY: what the mask leaves out is not read, and the mask has a bit for each of the slice's words, which
    // are no more than eight.
    unsafe { _mm512_maskz_loadu_epi64(is_there, words.as_ptr().cast()) }
}
