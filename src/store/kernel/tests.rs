use super::*;
use proptest::prelude::*;

/// Lengths on both sides of every kernel's steps, those of the models among them.
fn dims() -> impl Strategy<Value = usize> {
    prop_oneof![1_usize..200, Just(383), Just(384), Just(385), Just(768), Just(1024)]
}

/// Codes and components that are often the largest there are.
fn number(max: i16) -> impl Strategy<Value = i16> {
    prop_oneof![Just(-max), Just(max), Just(0), -max..=max]
}

fn case() -> impl Strategy<Value = (Vec<i8>, Vec<i16>, usize)> {
    (dims(), 0_usize..10).prop_flat_map(|(dims, n_rows)| {
        let max = i16::try_from(Query::component_max(dims)).unwrap();
        let codes = proptest::collection::vec(number(127), dims * n_rows);
        let codes =
            codes.prop_map(|all| all.into_iter().map(|one| i8::try_from(one).unwrap()).collect());
        (codes, proptest::collection::vec(number(max), dims), Just(n_rows))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn every_kernel_gives_the_true_products((codes, query, n_rows) in case()) {
        let truth: Vec<i64> = codes
            .chunks_exact(query.len())
            .map(|row| row.iter().zip(&query).map(|(a, b)| i64::from(*a) * i64::from(*b)).sum())
            .collect();
        let query = Query::new(&query);
        for kernel in Kernel::all() {
            let mut out = vec![1; n_rows];
            kernel.dots(&codes, &query, &mut out);
            let out: Vec<i64> = out.into_iter().map(i64::from).collect();
            prop_assert_eq!(&out, &truth, "{}", kernel.name);
        }
    }

    #[test]
    fn every_kernel_counts_the_true_differences(
        query in proptest::collection::vec(any::<u64>(), 1..20),
        seed in proptest::collection::vec(any::<u64>(), 0..200),
    ) {
        let n_rows = seed.len() / query.len();
        let bits = &seed[..n_rows * query.len()];
        let truth: Vec<u32> = bits
            .chunks_exact(query.len())
            .map(|row| row.iter().zip(&query).map(|(a, b)| (a ^ b).count_ones()).sum())
            .collect();
        for kernel in Kernel::all() {
            let mut out = vec![1; n_rows];
            kernel.differences(bits, &query, &mut out);
            prop_assert_eq!(&out, &truth, "{}", kernel.name);
        }
    }
}

#[test]
fn the_largest_products_fit() {
    for dims in [1, 31, 64, 384, 768, 1024, 4096] {
        let max = i16::try_from(Query::component_max(dims)).unwrap();
        for sign in [-1, 1] {
            let query = Query::new(&vec![sign * max; dims]);
            for kernel in Kernel::all() {
                let mut out = [0];
                kernel.dots(&vec![-127; dims], &query, &mut out);
                let truth = -127 * i32::from(sign * max) * i32::try_from(dims).unwrap();
                assert_eq!(out, [truth], "{} of {dims}", kernel.name);
            }
        }
    }
}
