//! What is remembered of the rows of a source between two looks: each with its print, in their order.

use super::prints::Print;

/// Rows with their prints.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct KnownRows {
    prints: Vec<(i64, Print)>,
}

impl KnownRows {
    /// These rows, which come in their order.
    pub(super) fn new(prints: Vec<(i64, Print)>) -> Self {
        Self { prints }
    }

    /// How many they are.
    pub(super) fn len(&self) -> usize {
        self.prints.len()
    }

    /// The last one.
    pub(super) fn last(&self) -> Option<i64> {
        self.prints.last().map(|(row, _)| *row)
    }

    /// Of all rows as they are `now`, in their order, those that are new or others, and those that are gone.
    pub(super) fn compare(&self, now: &[(i64, Print)]) -> (Vec<i64>, Vec<i64>) {
        let (mut changed, mut gone) = (Vec::new(), Vec::new());
        let mut before = self.prints.iter().peekable();
        for (row, print) in now {
            while let Some((was, _)) = before.next_if(|(was, _)| was < row) {
                gone.push(*was);
            }
            let known = before.next_if(|(was, _)| was == row);
            if known.is_none_or(|(_, known)| known != print) {
                changed.push(*row);
            }
        }
        gone.extend(before.map(|(row, _)| *row));
        (changed, gone)
    }

    /// Remembers these rows, which come in their order.
    pub(super) fn put(&mut self, prints: Vec<(i64, Print)>) {
        let mut new = Vec::new();
        for (row, print) in prints {
            match self.prints.binary_search_by_key(&row, |(row, _)| *row) {
                Ok(at) => {
                    if let Some(known) = self.prints.get_mut(at) {
                        known.1 = print;
                    }
                }
                Err(_) => new.push((row, print)),
            }
        }
        let is_behind = new.first().is_none_or(|(row, _)| self.last() < Some(*row));
        self.prints.append(&mut new);
        if !is_behind {
            self.prints.sort_unstable_by_key(|(row, _)| *row);
        }
    }

    /// Forgets these rows, which come in their order.
    pub(super) fn remove(&mut self, rows: &[i64]) {
        self.prints.retain(|(row, _)| rows.binary_search(row).is_err());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_new_others_or_gone_are_told() {
        let known = KnownRows::new(vec![(1, 10), (3, 30), (5, 50), (7, 70)]);
        assert_eq!(known.compare(&[(1, 10), (3, 30), (5, 50), (7, 70)]), (vec![], vec![]));
        assert_eq!(known.compare(&[]), (vec![], vec![1, 3, 5, 7]));
        let now = [(0, 0), (3, 31), (4, 40), (7, 70), (9, 90)];
        assert_eq!(known.compare(&now), (vec![0, 3, 4, 9], vec![1, 5]));
        let nothing = KnownRows::default();
        assert_eq!(nothing.compare(&[(-1, 1), (2, 2)]), (vec![-1, 2], vec![]));
    }

    #[test]
    fn what_is_put_is_known_wherever_it_lies() {
        let mut known = KnownRows::new(vec![(1, 10), (3, 30)]);
        known.put(vec![(3, 31), (4, 40)]);
        known.put(vec![(-2, 20), (2, 20), (4, 41), (9, 90)]);
        let now = vec![(-2, 20), (1, 10), (2, 20), (3, 31), (4, 41), (9, 90)];
        assert_eq!(known, KnownRows::new(now.clone()));
        assert_eq!((known.len(), known.last()), (6, Some(9)));
        known.remove(&[1, 9, 12]);
        assert_eq!((known.last(), known.compare(&now)), (Some(4), (vec![1, 9], vec![])));
    }
}
