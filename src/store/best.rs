//! The best of many.

use std::cmp::Ordering;

/// The `n` best of what it is offered, by their scores; of equals the larger ones.
#[derive(Debug)]
pub(super) struct Best<T> {
    n: usize,
    kept: Vec<(f32, T)>,
    /// Nothing below it can be among the best; an infinitely bad one never is.
    floor: f32,
}

/// Best first, of equals the larger one.
fn by_rank<T: Ord>(a: &(f32, T), b: &(f32, T)) -> Ordering {
    b.0.total_cmp(&a.0).then_with(|| b.1.cmp(&a.1))
}

impl<T: Copy + Ord> Best<T> {
    pub(super) fn new(n: usize) -> Self {
        Self { n, kept: Vec::with_capacity(2 * n), floor: f32::MIN }
    }

    /// Whether a score could be among the best.
    pub(super) fn wants(&self, score: f32) -> bool {
        score >= self.floor
    }

    pub(super) fn offer(&mut self, score: f32, one: T) {
        if !self.wants(score) || self.n == 0 {
            return;
        }
        self.kept.push((score, one));
        if self.kept.len() == 2 * self.n {
            self.cut();
            self.floor =
                self.kept.iter().fold(f32::INFINITY, |floor, (score, _)| floor.min(*score));
        }
    }

    fn cut(&mut self) {
        if self.kept.len() > self.n {
            self.kept.select_nth_unstable_by(self.n, by_rank);
            self.kept.truncate(self.n);
        }
    }

    /// The best, in no order.
    pub(super) fn into_kept(mut self) -> Vec<(f32, T)> {
        self.cut();
        self.kept
    }

    /// The best, the very best first.
    pub(super) fn into_sorted(self) -> Vec<(f32, T)> {
        let mut kept = self.into_kept();
        kept.sort_unstable_by(by_rank);
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_best_whatever_the_order() {
        for n in [0, 1, 3, 7, 100] {
            let mut best = Best::new(n);
            // 37 and 101 have no common divisor: every number from 0 to 100 once.
            for one in (0_u8..101).map(|step| (u32::from(step) * 37 % 101) as u8) {
                best.offer(f32::from(one), one);
            }
            let kept: Vec<u8> = best.into_sorted().into_iter().map(|(_, one)| one).collect();
            let truth: Vec<u8> = (0..101).rev().take(n).collect();
            assert_eq!(kept, truth);
        }
    }
}
