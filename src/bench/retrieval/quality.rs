//! How well lists answer their questions: means over all that have an answer.

use std::collections::BTreeSet;

/// Places of a list that are looked at.
pub const DEPTH: usize = 10;
/// Places that a client usually reads.
pub const SHORT: usize = 5;

/// Means over questions, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Quality {
    /// How many questions.
    pub n: usize,
    /// Share of the relevant memories among the first 5.
    pub recall_5: f64,
    /// Share of the relevant memories among the first 10.
    pub recall_10: f64,
    /// Share of the questions with a relevant memory among the first 5.
    pub hit_5: f64,
    /// One divided by the place of the first relevant memory, 0 beyond the tenth.
    pub mrr: f64,
}

impl Quality {
    /// Over lists, each with what is relevant; a question without anything relevant doesn't count.
    pub fn of<'a>(answers: impl IntoIterator<Item = (&'a [String], &'a BTreeSet<String>)>) -> Self {
        let (mut sum, mut n) = (Self::default(), 0.0);
        for (found, relevant) in answers {
            if relevant.is_empty() {
                continue;
            }
            sum.n += 1;
            n += 1.0;
            let recall_5 = recall(found, relevant, SHORT);
            sum.recall_5 += recall_5;
            sum.recall_10 += recall(found, relevant, DEPTH);
            sum.hit_5 += if recall_5 > 0.0 { 1.0 } else { 0.0 };
            sum.mrr += reciprocal_rank(found, relevant);
        }
        let n: f64 = f64::max(n, 1.0);
        Self {
            n: sum.n,
            recall_5: sum.recall_5 / n,
            recall_10: sum.recall_10 / n,
            hit_5: sum.hit_5 / n,
            mrr: sum.mrr / n,
        }
    }
}

/// The share of `relevant` among the first `depth` of `found`.
fn recall(found: &[String], relevant: &BTreeSet<String>, depth: usize) -> f64 {
    let seen: BTreeSet<&String> = found.iter().take(depth).collect();
    let one = |is_there: bool| if is_there { 1.0 } else { 0.0 };
    let n: f64 = relevant.iter().map(|id| one(seen.contains(id))).sum();
    let all: f64 = relevant.iter().map(|_| 1.0).sum();
    n / f64::max(all, 1.0)
}

fn reciprocal_rank(found: &[String], relevant: &BTreeSet<String>) -> f64 {
    let mut place = 0.0;
    for id in found.iter().take(DEPTH) {
        place += 1.0;
        if relevant.contains(id) {
            return 1.0 / place;
        }
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|id| (*id).to_owned()).collect()
    }

    fn quality(answers: &[(&[&str], &[&str])]) -> Quality {
        let answers: Vec<(Vec<String>, BTreeSet<String>)> = answers
            .iter()
            .map(|(found, relevant)| (list(found), list(relevant).into_iter().collect()))
            .collect();
        Quality::of(answers.iter().map(|(found, relevant)| (found.as_slice(), relevant)))
    }

    fn assert_near(one: f64, other: f64) {
        assert!((one - other).abs() < 1e-9, "{one} instead of {other}");
    }

    #[test]
    fn recall_counts_each_relevant_memory() {
        let ten = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
        let found = quality(&[(&ten, &["a", "f", "k", "z"])]);
        assert_near(found.recall_5, 0.25);
        assert_near(found.recall_10, 0.5);
        assert_near(found.hit_5, 1.0);
        // The same memory twice is one.
        assert_near(quality(&[(&["a", "a"], &["a", "b"])]).recall_5, 0.5);
    }

    #[test]
    fn the_reciprocal_rank_is_that_of_the_first_relevant_one() {
        assert_near(quality(&[(&["x", "y", "a", "b"], &["b", "a"])]).mrr, 1.0 / 3.0);
        let late = ["1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b"];
        assert_near(quality(&[(&late, &["a"])]).mrr, 0.1);
        assert_near(quality(&[(&late, &["b"])]).mrr, 0.0);
        assert_near(quality(&[(&late, &["a"])]).hit_5, 0.0);
    }

    #[test]
    fn means_are_over_the_questions_that_have_an_answer() {
        let found = quality(&[(&["a"], &["a"]), (&["b"], &["a"]), (&["c"], &[]), (&[], &["d"])]);
        assert_eq!(found.n, 3);
        assert_near(found.recall_5, 1.0 / 3.0);
        assert_near(found.recall_10, 1.0 / 3.0);
        assert_near(found.hit_5, 1.0 / 3.0);
        assert_near(found.mrr, 1.0 / 3.0);
        assert_eq!(quality(&[]), Quality::default());
        assert_eq!(quality(&[(&["a"], &[])]), Quality::default());
    }
}
