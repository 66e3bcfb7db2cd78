//! The best memories of those that were looked at.

/// Products that are summed up side by side.
const LANES: usize = 16;

/// The `k` memories with the largest cosines. A memory with several windows counts by its best one.
#[derive(Debug)]
pub(super) struct Ranking {
    k: usize,
    /// Best first.
    best: Vec<(i64, f64)>,
}

impl Ranking {
    pub(super) fn new(k: usize) -> Self {
        Self { k, best: Vec::with_capacity(k + 1) }
    }

    /// Whether there are as many as were asked for, none of them below `bound`.
    pub(super) fn is_settled(&self, bound: f64) -> bool {
        self.is_full() && self.best.last().is_none_or(|(_, worst)| *worst > bound)
    }

    pub(super) fn is_full(&self) -> bool {
        self.best.len() == self.k
    }

    /// Counts one window.
    pub(super) fn offer(&mut self, memory: i64, cosine: f64) {
        if self.is_settled(cosine) {
            return;
        }
        let is_better =
            |other: &(i64, f64)| other.1.total_cmp(&cosine).then(other.0.cmp(&memory)).is_gt();
        if let Some(known) = self.best.iter().position(|(other, _)| *other == memory) {
            if self.best.get(known).is_some_and(|(_, other)| *other >= cosine) {
                return;
            }
            self.best.remove(known);
        }
        let place = self.best.partition_point(is_better);
        self.best.insert(place, (memory, cosine));
        self.best.truncate(self.k);
    }

    /// The memories with their cosines, best first.
    pub(super) fn into_best(self) -> Vec<(i64, f64)> {
        self.best
    }
}

/// The cosine of a unit vector and one in the form that SQLite holds.
pub(super) fn cosine(query: &[f32], bytes: &[u8]) -> f64 {
    let product = |(a, b): (&f32, &[u8; 4])| a * f32::from_le_bytes(*b);
    let components = bytes.as_chunks::<4>().0;
    let (groups, rest) = components.as_chunks::<LANES>();
    let (query_groups, query_rest) = query.as_chunks::<LANES>();
    // Several sums, so that no addition waits for the one before it.
    let mut sums = [0.0_f32; LANES];
    for (group, query) in groups.iter().zip(query_groups) {
        for (sum, pair) in sums.iter_mut().zip(query.iter().zip(group)) {
            *sum += product(pair);
        }
    }
    let rest = query_rest.iter().zip(rest).map(product);
    sums.into_iter().chain(rest).map(f64::from).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_holds_the_best_window_of_the_best_memories(
            offers in proptest::collection::vec((0_i64..20, 0_u8..50), 0..100),
            k in 0_usize..25,
        ) {
            let mut ranking = Ranking::new(k);
            let mut truth: BTreeMap<i64, f64> = BTreeMap::new();
            for (memory, cosine) in offers {
                let cosine = f64::from(cosine);
                ranking.offer(memory, cosine);
                let best = truth.entry(memory).or_insert(cosine);
                *best = best.max(cosine);
            }
            let mut truth: Vec<(i64, f64)> = truth.into_iter().collect();
            truth.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
            truth.truncate(k);
            prop_assert_eq!(ranking.is_full(), truth.len() == k);
            prop_assert_eq!(ranking.into_best(), truth);
        }
    }

    #[test]
    fn a_cosine_is_the_sum_of_all_products() {
        let query: Vec<f32> = (1_u8..=19).map(f32::from).collect();
        let bytes: Vec<u8> = query.iter().flat_map(|one| one.to_le_bytes()).collect();
        assert!((cosine(&query, &bytes) - 2470.0).abs() < 1e-9);
        assert!(cosine(&[], &[]).abs() < 1e-9);
    }
}
