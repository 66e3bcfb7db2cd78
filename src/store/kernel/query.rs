//! A query in the forms that the kernels read.

/// Components of one step of the widest kernel.
pub(super) const STEP: usize = 64;
/// The largest component: its two halves fit a byte each.
const COMPONENT_MAX: i32 = 8127;
/// The largest code of a row.
const CODE_MAX: i32 = 127;

/// A vector of whole numbers; a product with a row of codes fits 32 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Query {
    /// The components.
    pub(super) wide: Vec<i16>,
    /// The upper halves of the components, `wide = 128 * upper + lower`; zeros up to a whole step.
    pub(super) upper: Vec<i8>,
    /// The lower halves.
    pub(super) lower: Vec<i8>,
    /// What a row of unsigned codes, each larger by 128, gives too much.
    pub(super) excess: i32,
}

impl Query {
    /// The largest component of a query of `dims` components.
    pub(in crate::store) fn component_max(dims: usize) -> i32 {
        let dims = i32::try_from(dims).unwrap_or(i32::MAX).max(1);
        // 128, as the excess must fit too.
        (i32::MAX / (CODE_MAX + 1) / dims).clamp(1, COMPONENT_MAX)
    }

    /// Prepares components; one beyond [`Query::component_max`] is cut off there.
    pub(in crate::store) fn new(components: &[i16]) -> Self {
        let max = i16::try_from(Self::component_max(components.len())).unwrap_or(i16::MAX);
        let wide: Vec<i16> = components.iter().map(|one| (*one).clamp(-max, max)).collect();
        let len = wide.len().next_multiple_of(STEP);
        let (mut upper, mut lower) = (vec![0_i8; len], vec![0_i8; len]);
        for ((component, upper), lower) in wide.iter().zip(&mut upper).zip(&mut lower) {
            let high = (component + 64) >> 7;
            *upper = i8::try_from(high).unwrap_or_default();
            *lower = i8::try_from(component - 128 * high).unwrap_or_default();
        }
        let sum: i32 = wide.iter().map(|one| i32::from(*one)).sum();
        Self { wide, upper, lower, excess: 128 * sum }
    }

    /// Number of components.
    pub(in crate::store) fn dims(&self) -> usize {
        self.wide.len()
    }
}
