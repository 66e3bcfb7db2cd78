//! The truth that answers are held against: every vector is compared with every query, in single precision.

use super::Case;
use super::vectors::Vectors;
use crate::model::space::UnitVector;
use std::collections::BTreeSet;

/// Products that are summed up side by side.
const LANES: usize = 16;
/// Rows that all queries look at while they are near the processor.
const BLOCK: usize = 256;
/// A cosine that is no further below another counts as its equal: sums in another order differ so much.
const TIE: f32 = 2.0e-6;

/// The least cosines that answers must have.
#[derive(Debug)]
pub struct Truth {
    k: usize,
    cases: Vec<Case>,
    /// For each case and query the best cosines, best first.
    best: Vec<Vec<Vec<f32>>>,
}

impl Truth {
    /// The best `k` of each case for every query.
    pub fn of(vectors: &Vectors, k: usize, cases: &[Case]) -> Self {
        let n = vectors.len();
        let mut best = vec![vec![Vec::with_capacity(k + 1); vectors.queries.len()]; cases.len()];
        for first in (0..n).step_by(BLOCK) {
            for (query, vector) in vectors.queries.iter().enumerate() {
                for row in first..(first + BLOCK).min(n) {
                    let cosine = dot(vector.as_slice(), vectors.row(row));
                    for (case, best) in cases.iter().zip(&mut best) {
                        if case.passes(row, n)
                            && let Some(best) = best.get_mut(query)
                        {
                            offer(best, k, cosine);
                        }
                    }
                }
            }
        }
        Self { k, cases: cases.to_vec(), best }
    }

    /// How many rows an answer must have, of the `k` that are asked for.
    pub fn n_expected(&self, case: Case, query: usize) -> usize {
        self.best_of(case, query).len()
    }

    /// How many of what an answer must have it has. Of equals any will do; a row that is answered twice counts
    /// once, one that doesn't pass not at all.
    pub fn n_found(&self, vectors: &Vectors, case: Case, query: usize, rows: &[usize]) -> usize {
        let Some(asked) = vectors.queries.get(query) else { return 0 };
        let Some(worst) = self.best_of(case, query).last() else { return 0 };
        let good = |row: &&usize| {
            case.passes(**row, vectors.len()) && is_good(asked, vectors.row(**row), *worst)
        };
        let distinct: BTreeSet<&usize> = rows.iter().take(self.k).filter(good).collect();
        distinct.len()
    }

    fn best_of(&self, case: Case, query: usize) -> &[f32] {
        let of_case = self.cases.iter().position(|one| *one == case);
        of_case
            .and_then(|nth| self.best.get(nth)?.get(query))
            .map(Vec::as_slice)
            .unwrap_or_default()
    }
}

fn is_good(query: &UnitVector, row: &[f32], worst: f32) -> bool {
    !row.is_empty() && dot(query.as_slice(), row) >= worst - TIE
}

fn offer(best: &mut Vec<f32>, k: usize, cosine: f32) {
    if best.len() == k && best.last().is_none_or(|worst| *worst >= cosine) {
        return;
    }
    let place = best.partition_point(|other| *other >= cosine);
    best.insert(place, cosine);
    best.truncate(k);
}

/// The cosine of two unit vectors.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a_groups, a_rest) = a.as_chunks::<LANES>();
    let (b_groups, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a_groups.iter().zip(b_groups) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| a * b);
    sums.into_iter().chain(rest).sum()
}

#[cfg(test)]
mod tests {
    use super::super::vectors::tests::made_up;
    use super::*;

    /// Rows by falling cosines.
    fn ranked(vectors: &Vectors, query: usize, case: Case) -> Vec<usize> {
        let cosine = |row: usize| -> f64 {
            let pairs = vectors.queries[query].as_slice().iter().zip(vectors.row(row));
            pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let mut rows: Vec<usize> =
            (0..vectors.len()).filter(|row| case.passes(*row, vectors.len())).collect();
        rows.sort_by(|a, b| cosine(*b).total_cmp(&cosine(*a)));
        rows
    }

    #[test]
    fn the_best_rows_are_the_whole_truth_and_any_other_is_none() {
        let vectors = made_up(32).vectors(32, 700, 1).unwrap();
        let truth = Truth::of(&vectors, 10, &Case::ALL);
        for case in Case::ALL {
            for query in 0..vectors.queries.len() {
                let ranked = ranked(&vectors, query, case);
                let n = truth.n_expected(case, query);
                assert_eq!(n, ranked.len().min(10));
                let found = |rows: &[usize]| truth.n_found(&vectors, case, query, rows);
                assert_eq!(found(&ranked[..n]), n);
                let twice = [ranked[0], ranked[0], ranked[1]];
                assert_eq!(found(&twice), 2);
                assert_eq!(found(&[*ranked.last().unwrap(), 700]), usize::from(ranked.len() <= 10));
            }
        }
        // Rows that don't pass don't count, however near.
        let nearest = ranked(&vectors, 0, Case::All)[..10].to_vec();
        let n_tagged = nearest.iter().filter(|row| Case::Tagged.passes(**row, 700)).count();
        assert!(n_tagged < 10);
        assert_eq!(truth.n_found(&vectors, Case::Tagged, 0, &nearest), n_tagged);
    }

    #[test]
    fn of_equals_any_will_do() {
        let mut vectors = made_up(16).vectors(16, 60, 1).unwrap();
        let first = vectors.row(0).to_vec();
        vectors.base = first.iter().copied().cycle().take(60 * 16).collect();
        let truth = Truth::of(&vectors, 10, &[Case::All]);
        let last: Vec<usize> = (50..60).collect();
        assert_eq!(truth.n_found(&vectors, Case::All, 3, &last), 10);
        assert_eq!(truth.n_expected(Case::Late, 3), 0, "nobody asked for that case");
    }

    #[test]
    fn a_product_is_the_sum_of_all_products() {
        let values: Vec<f32> = (1_u8..=19).map(f32::from).collect();
        assert!((dot(&values, &values) - 2470.0).abs() < 1e-3);
        assert!(dot(&[], &[]).abs() < 1e-9);
    }
}
