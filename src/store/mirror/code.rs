//! A vector in the mirror's form, and a query in the form that it is compared with.

use crate::store::kernel::Query;

/// The largest code.
const CODE_MAX: f32 = 127.0;
/// What the rounding of single steps may add to a distance between a vector and its code.
const ROUNDING: f32 = 1.0e-5;

/// One and a half times 2^23: the numbers about it are whole, and the next one has the next bits.
const SHIFT: f32 = 12_582_912.0;
/// Components that are taken at once: the compiler makes one instruction of what is the same for all of them.
const LANES: usize = 16;

/// Standard deviations of a product's error that are taken for its bound. What rounding leaves of a vector points
/// anywhere, so its product with a unit vector of `d` dimensions deviates by its length divided by `√d`; beyond
/// six deviations is one in a thousand million.
const DEVIATIONS: f32 = 6.0;

/// A vector as codes of one byte.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Code {
    /// What a code of 1 stands for.
    pub(super) scale: f32,
    /// No product with a unit vector differs by more from the true one, but for [`DEVIATIONS`].
    pub(super) error: f32,
    /// One a component.
    pub(super) codes: Vec<i8>,
    /// Whether each component is positive, 64 in a word.
    pub(super) signs: Vec<u64>,
}

/// A query.
#[derive(Debug)]
pub(super) struct Sought {
    /// Its components as whole numbers.
    pub(super) query: Query,
    /// What a component of 1 stands for.
    pub(super) scale: f32,
    /// No product with codes differs by more from that of the query itself.
    pub(super) error: f32,
    /// As of a [`Code`].
    pub(super) signs: Vec<u64>,
}

impl Code {
    /// The vector's components as multiples of its own largest one: unit vectors of many dimensions would
    /// use few of the codes otherwise.
    pub(super) fn of(values: &[f32]) -> Self {
        let scale = largest(values) / CODE_MAX;
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most 127 by the choice of the scale"
        )]
        let code = |value: &f32| nearest(value * inverse) as i8;
        let codes: Vec<i8> = values.iter().map(code).collect();
        let left = distance(values, &codes, scale);
        Self { scale, error: likely(left, values.len()) + ROUNDING, codes, signs: signs(values) }
    }
}

impl Sought {
    /// The query of these components.
    pub(super) fn of(values: &[f32]) -> Self {
        let max = i16::try_from(Query::component_max(values.len())).unwrap_or(i16::MAX);
        let scale = largest(values) / f32::from(max);
        let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
        #[expect(clippy::cast_possible_truncation, reason = "at most `max`")]
        let component = |value: &f32| nearest(value * inverse) as i16;
        let components: Vec<i16> = values.iter().map(component).collect();
        let error = distance(values, &components, scale);
        // A vector of codes is hardly longer than 1; 2 is beyond what any can be.
        let error = 2.0 * error + ROUNDING;
        Self { query: Query::new(&components), scale, error, signs: signs(values) }
    }
}

/// How much the product of a unit vector with what rounding `left`, by its length, differs from 0. A vector that
/// has few codes for its smaller components leaves something that points where it does itself.
fn likely(left: f32, dims: usize) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "dimensions are few")]
    let deviation = left / (dims.max(1) as f32).sqrt();
    left.min(DEVIATIONS * deviation + left * left)
}

/// The whole number that is nearest, of numbers far below [`SHIFT`]: added to that, what is below the point is rounded
/// away. Processors without an instruction for it call a function to round exactly, which takes longer than all else.
#[expect(
    clippy::cast_possible_wrap,
    reason = "both are about the same, so their difference is small"
)]
fn nearest(value: f32) -> i32 {
    (value + SHIFT).to_bits() as i32 - SHIFT.to_bits() as i32
}

fn largest(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (groups, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for group in groups {
        for (lane, value) in lanes.iter_mut().zip(group) {
            *lane = larger(*lane, value.abs());
        }
    }
    rest.iter().map(|value| value.abs()).chain(lanes).fold(0.0, larger)
}

/// The length of what lies between the values and `codes` times `scale`.
fn distance<T: Copy + Into<f32>>(values: &[f32], codes: &[T], scale: f32) -> f32 {
    let square = |value: f32, code: T| {
        let left = value - code.into() * scale;
        left * left
    };
    let ((groups, rest), (codes, rest_codes)) =
        (values.as_chunks::<LANES>(), codes.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (group, codes) in groups.iter().zip(codes) {
        for (lane, (value, code)) in lanes.iter_mut().zip(group.iter().zip(codes)) {
            *lane += square(*value, *code);
        }
    }
    let rest = rest.iter().zip(rest_codes).map(|(value, code)| square(*value, *code));
    rest.chain(lanes).sum::<f32>().sqrt()
}

fn signs(values: &[f32]) -> Vec<u64> {
    let byte = |values: &[f32]| {
        let bits = values.iter().zip([1_u8, 2, 4, 8, 16, 32, 64, 128]);
        bits.fold(0, |byte, (value, bit)| byte | if *value > 0.0 { bit } else { 0 })
    };
    let word = |values: &[f32]| {
        let mut bytes = [0; size_of::<u64>()];
        for (into, values) in bytes.iter_mut().zip(values.chunks(8)) {
            *into = byte(values);
        }
        u64::from_le_bytes(bytes)
    };
    values.chunks(u64::BITS as usize).map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::space::UnitVector;
    use proptest::prelude::*;

    fn vectors() -> impl Strategy<Value = (UnitVector, UnitVector)> {
        let values = || proptest::collection::vec(-1.0_f32..1.0, 100);
        (values(), values(), 0_usize..100).prop_filter_map("no direction", |(mut a, b, peak)| {
            // One component may be far larger than the others: then these have few codes.
            a[peak] *= 50.0;
            Some((UnitVector::normalise(a)?, UnitVector::normalise(b)?))
        })
    }

    proptest! {
        #[test]
        fn no_product_is_further_from_the_truth_than_the_errors_say((a, b) in vectors()) {
            for (vector, query) in [(&a, &b), (&b, &a), (&a, &a)] {
                let truth: f64 = vector
                    .as_slice()
                    .iter()
                    .zip(query.as_slice())
                    .map(|(a, b)| f64::from(*a) * f64::from(*b))
                    .sum();
                let (code, sought) = (Code::of(vector.as_slice()), Sought::of(query.as_slice()));
                let mut dots = [0];
                crate::store::kernel::Kernel::PORTABLE.dots(&code.codes, &sought.query, &mut dots);
                let found = f64::from(dots[0]) * f64::from(code.scale) * f64::from(sought.scale);
                prop_assert!((found - truth).abs() <= f64::from(code.error + sought.error));
                prop_assert!(code.error < 0.1, "{}", code.error);
                prop_assert!(sought.error < 0.01, "{}", sought.error);
            }
        }
    }

    #[test]
    fn codes_are_the_whole_numbers_next_to_the_components() {
        for whole in i16::MIN..=i16::MAX {
            for part in [-0.4, 0.0, 0.25, 0.5] {
                let value = f32::from(whole) + part;
                let left = f64::from(nearest(value)) - f64::from(value);
                assert!(left.abs() <= 0.5, "{value}: {left}");
            }
        }
        let mut values = vec![0.01; 37];
        (values[3], values[36]) = (-1.0, 0.5);
        assert!((largest(&values) - 1.0).abs() < f32::EPSILON);
        let code = Code::of(&values);
        assert_eq!((code.codes[3], code.codes[0], code.codes[36]), (-127, 1, 64));
        let left = |value: f32, code: f32| (value - code / 127.0).powi(2);
        let all: f32 = left(0.01, 1.0) * 35.0 + left(0.5, 64.0);
        assert!((distance(&values, &code.codes, code.scale) - all.sqrt()).abs() < 1e-6);
        assert_eq!(Code::of(&[0.0; 20]).codes, [0; 20]);
    }

    #[test]
    fn signs_are_those_of_the_components() {
        let mut values = vec![-1.0; 70];
        (values[0], values[63], values[65]) = (0.5, 0.1, 2.0);
        assert_eq!(signs(&values), [1 | 1 << 63, 2]);
    }
}
