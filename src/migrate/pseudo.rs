//! Vectors that say nothing: what the service stored while it had no model. It makes them from the SHA-256
//! of the text and tells nobody; but whoever has the text can make them again, and so find them.

use sha2::{Digest as _, Sha256};

/// Components that are compared: eight come from one hash, and that eight agree by chance never happens.
const COMPARED: usize = 8;
/// How far a component may be off, relative to the largest: they are stored as 32-bit numbers.
const TOLERANCE: f64 = 1e-5;

/// Whether `vector` is the service's pseudo-vector of `text`, scaled or not.
pub fn is_pseudo(text: &str, vector: &[f32]) -> bool {
    let expected = components(text);
    if vector.len() < COMPARED {
        return false;
    }
    let found: Vec<f64> = vector.iter().take(COMPARED).map(|x| f64::from(*x)).collect();
    let largest = |values: &[f64]| values.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let (of_found, of_expected) = (largest(&found), largest(&expected));
    if !of_found.is_finite() || of_found == 0.0 || of_expected == 0.0 {
        return false;
    }
    found.iter().zip(expected).all(|(f, e)| (f / of_found - e / of_expected).abs() < TOLERANCE)
}

/// The first components of the pseudo-vector: the digest of the text, a separator and a counter, read as
/// little-endian numbers between -1 and 1.
fn components(text: &str) -> [f64; COMPARED] {
    let mut hash = Sha256::new();
    hash.update(text.as_bytes());
    hash.update(b"\x1f");
    hash.update(0_u32.to_le_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut components = [0.0; COMPARED];
    for (component, bytes) in components.iter_mut().zip(digest.as_chunks::<4>().0) {
        *component = f64::from(i32::from_le_bytes(*bytes)) / 2_147_483_648.0;
    }
    components
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudo_vector_is_known_by_its_text_whatever_its_length() {
        #[expect(clippy::cast_possible_truncation, reason = "as it is stored")]
        let stored: Vec<f32> = components("tide").iter().map(|x| *x as f32).collect();
        assert!(is_pseudo("tide", &stored));
        let scaled: Vec<f32> = stored.iter().map(|x| x / 11.3).collect();
        assert!(is_pseudo("tide", &scaled));
        assert!(!is_pseudo("Tide", &stored));
        assert!(!is_pseudo("tide", &[0.0; 384]));
        assert!(!is_pseudo("tide", &[f32::NAN; 384]));
        assert!(!is_pseudo("tide", &[]));
    }
}
