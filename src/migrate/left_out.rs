//! Rows of a followed source that can't be taken over. Whoever relies on the following must know of them, for
//! as long as they are there.

use super::job::Trouble;
use std::collections::BTreeMap;

/// Why each of them is left out, by its row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct LeftOut(BTreeMap<i64, String>);

impl LeftOut {
    /// A row can't be taken over.
    pub(super) fn add(&mut self, row: i64, why: &str) {
        tracing::warn!(row, why, "a row was not taken over");
        self.0.insert(row, why.to_owned());
    }

    /// A row was read again, or is gone.
    pub(super) fn forget(&mut self, row: i64) {
        self.0.remove(&row);
    }

    /// What there is to say of them, if there are any.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        let (row, why) = self.0.first_key_value()?;
        let (rows, first) = match self.0.len() {
            1 => ("1 row".to_owned(), String::new()),
            n => (format!("{n} rows"), "the first is ".to_owned()),
        };
        Some(Trouble {
            message: format!("{rows} of the source can't be taken over: {first}row {row}, {why}"),
            next_step: "mend it there: `memtide migrate verify` names such rows".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_counts_until_it_is_read_again() {
        let mut rows = LeftOut::default();
        assert_eq!(rows.trouble(), None);
        rows.add(7, "it has no text");
        assert_eq!(
            rows.trouble().unwrap().message,
            "1 row of the source can't be taken over: row 7, it has no text"
        );
        rows.add(3, "its hash is no hash");
        rows.add(3, "its hash is no hash");
        assert_eq!(
            rows.trouble().unwrap().message,
            "2 rows of the source can't be taken over: the first is row 3, its hash is no hash"
        );
        rows.forget(3);
        rows.forget(7);
        assert_eq!(rows.trouble(), None);
    }
}
