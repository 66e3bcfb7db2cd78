//! Embedding spaces: vectors are comparable only if every choice that made them was the same.

use std::fmt;

/// The name of a space, `model@revision/pooling/window/dims/norm`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Space(String);

impl Space {
    /// Names a space by the choices that make it; `window` in tokens.
    pub fn new(model: &str, revision: &str, pooling: &str, window: usize, dims: usize) -> Self {
        Self(format!("{model}@{revision}/{pooling}/{window}/{dims}/l2"))
    }

    /// Takes a name that [`Space::new`] made.
    pub fn from_name(name: String) -> Self {
        Self(name)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Number of components of a vector of this space; `None` if the name doesn't tell.
    pub fn dims(&self) -> Option<usize> {
        self.0.rsplit('/').nth(1)?.parse().ok()
    }
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A finite vector of length 1.
#[derive(Debug, Clone, PartialEq)]
pub struct UnitVector(Vec<f32>);

impl UnitVector {
    /// Scales `values` to length 1; `None` if a value is not finite or all are zero.
    pub fn normalise(mut values: Vec<f32>) -> Option<Self> {
        let square: f64 = values.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
        let length = square.sqrt();
        if !length.is_finite() || length == 0.0 {
            return None;
        }
        for value in &mut values {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a component of a unit vector fits f32"
            )]
            let scaled = (f64::from(*value) / length) as f32;
            *value = scaled;
        }
        Some(Self(values))
    }

    /// The components.
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// Little-endian bytes, four a component: the form that SQLite holds.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|v| v.to_le_bytes()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_finite_non_zero_vectors_have_a_direction() {
        assert!(UnitVector::normalise(vec![0.0, 0.0]).is_none());
        assert!(UnitVector::normalise(vec![1.0, f32::NAN]).is_none());
        assert!(UnitVector::normalise(vec![f32::INFINITY]).is_none());
        let unit = UnitVector::normalise(vec![3.0, 4.0]).expect("a direction");
        assert_eq!(unit.as_slice(), [0.6, 0.8]);
    }

    proptest::proptest! {
        #[test]
        fn what_has_a_direction_gets_length_1_and_nothing_else_is_a_vector(
            bits in proptest::collection::vec(proptest::num::u32::ANY, 1..20),
        ) {
            let values: Vec<f32> = bits.into_iter().map(f32::from_bits).collect();
            let has_direction =
                values.iter().all(|one| one.is_finite()) && values.iter().any(|one| *one != 0.0);
            let unit = UnitVector::normalise(values);
            proptest::prop_assert_eq!(unit.is_some(), has_direction);
            if let Some(unit) = unit {
                let square: f64 = unit.as_slice().iter().map(|one| f64::from(*one).powi(2)).sum();
                proptest::prop_assert!((square - 1.0).abs() < 1e-5, "{}", square);
            }
        }
    }

    #[test]
    fn a_space_tells_its_dimensions() {
        let space = Space::new("all-MiniLM-L6-v2", "1110a243", "mean", 256, 384);
        assert_eq!(space.as_str(), "all-MiniLM-L6-v2@1110a243/mean/256/384/l2");
        assert_eq!(space.dims(), Some(384));
        assert_eq!(Space::from_name("?".to_owned()).dims(), None);
    }
}
