//! The inner loops of a search in memory: products of codes and differences of signs, row after row.
//!
//! A row is a vector whose components are codes of one byte each. The query has two bytes a component: that
//! costs next to nothing, as the loop waits for the codes, and leaves the codes as the only source of error. All
//! kernels give the same integers. The best one for the processor is chosen once, when the program asks first.
//!
//! This is the only place of the store with instructions of one processor. On aarch64, where every processor
//! has the same wide instructions, the compiler makes the portable loops into them.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod portable;
mod prefetch;
mod query;
#[cfg(target_arch = "x86_64")]
mod vnni;

pub(super) use query::Query;

use std::sync::OnceLock;

/// Products of each row of codes with the query, one for each place of the last argument.
type Dots = fn(&[i8], &Query, &mut [i32]);
/// Bits in which each row differs from the query, one for each place of the last argument.
type Differences = fn(&[u64], &[u64], &mut [u32]);

/// Loops for one kind of processor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel {
    /// Of the instructions.
    pub(super) name: &'static str,
    dots: Dots,
    differences: Differences,
}

impl Kernel {
    /// Runs on every processor.
    pub(super) const PORTABLE: Self =
        Self { name: "portable", dots: portable::dots, differences: portable::differences };

    /// The fastest one that this processor has the instructions for.
    pub(super) fn best() -> Self {
        static BEST: OnceLock<Kernel> = OnceLock::new();
        *BEST.get_or_init(|| Self::all().pop().unwrap_or(Self::PORTABLE))
    }

    /// Those that this processor has the instructions for, the fastest last.
    pub(super) fn all() -> Vec<Self> {
        let portable = [Self::PORTABLE].into_iter();
        #[cfg(target_arch = "x86_64")]
        let all = portable.chain(avx2::kernel()).chain(vnni::kernels()).collect();
        #[cfg(not(target_arch = "x86_64"))]
        let all = portable.collect();
        all
    }

    /// The product of each row of `codes` with the query, into `out`; `codes` holds a row for each place.
    pub(super) fn dots(&self, codes: &[i8], query: &Query, out: &mut [i32]) {
        (self.dots)(codes, query, out);
    }

    /// Has a row brought near the processor before it is needed.
    pub(super) fn prefetch(row: &[i8]) {
        prefetch::prefetch(row);
    }

    /// The number of bits in which each row of `bits` differs from `query`, into `out`.
    pub(super) fn differences(&self, bits: &[u64], query: &[u64], out: &mut [u32]) {
        (self.differences)(bits, query, out);
    }
}

#[cfg(test)]
mod tests;
