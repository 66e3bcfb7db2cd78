//! Asking for memory before it is needed.

/// Has a row brought near the processor, so that what is done meanwhile doesn't wait for it later.
pub(super) fn prefetch(row: &[i8]) {
    #[cfg(target_arch = "x86_64")]
    for line in row.chunks(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        #[expect(unsafe_code, reason = "an instruction without effect on what the program means")]
        // SAFETY: every processor of this kind has the instruction, and the address is that of a slice.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(line.as_ptr());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _nothing_to_do = row;
}
