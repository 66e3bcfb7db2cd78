//! The Python service's rows: whether each memory has one that shows its state. No digest tells this, so
//! every row is read.

use super::local::Local;
use super::report::{Candidates, Kind};
use super::{Check, VerifyError};
use crate::model::id::MemoryId;
use crate::remote::digest::{self, CloudRow};
use crate::store::digest::LocalEntry;
use std::collections::BTreeSet;

/// Compares; gives how many rows there are.
pub(super) async fn compare(
    check: &mut Check<'_>,
    local: &Local,
    found: &mut Candidates,
) -> Result<u64, VerifyError> {
    let (mut after, mut n_rows) = (Some(0), 0);
    let mut seen: BTreeSet<MemoryId> = BTreeSet::new();
    while let Some(from) = after {
        let answer = digest::rows(&check.d1, from, check.anchor.as_ref()).await;
        let page = check.told(answer)?;
        for row in &page.rows {
            n_rows += 1;
            match row.memory() {
                Some(id) => {
                    seen.insert(id);
                    one(check, local, id, row, found);
                }
                // With a state it was found by that.
                None if row.has_state => {}
                None if local.is_quarantined(&row.id) => found.skip(),
                None => found.add_unreadable(&row.id),
            }
        }
        after = page.next;
    }
    let without = local.iter().filter(|entry| {
        entry.is_alive
            && !entry.owes_row
            && !seen.contains(&entry.id)
            && !found.is_unsettled(&entry.id)
    });
    let without: Vec<&LocalEntry> = without.collect();
    for entry in without {
        found.add(Kind::RowMissing, entry.id, Some(entry.digest));
    }
    Ok(n_rows)
}

fn one(check: &Check<'_>, local: &Local, id: MemoryId, row: &CloudRow, found: &mut Candidates) {
    let is_coming = check.pulls() && row.seq > local.cursor;
    let Some(here) = local.find(&id) else {
        // With a state it was found by that; a device that only pushes takes nothing.
        if !row.has_state && check.pulls() {
            if is_coming || local.is_quarantined(&row.id) {
                found.skip();
            } else {
                found.add(Kind::RowWithoutState, id, None);
            }
        }
        return;
    };
    if here.owes_row || found.is_unsettled(&id) {
        return;
    }
    let kind = match (shows(row, here), holds(row, here)) {
        (true, true) => return,
        (true, false) => Kind::RowTextDiffers,
        (false, _) => Kind::RowDiffers,
    };
    if is_coming || here.position > row.seq {
        found.skip();
    } else {
        found.add(kind, id, Some(here.digest));
    }
}

/// Whether a row shows what the memory is here. Of a deleted memory it shows only that.
fn shows(row: &CloudRow, here: &LocalEntry) -> bool {
    here.is_alive != row.is_dead && (row.is_dead || row.shown == here.shown)
}

/// Whether a row holds the text, as far as its length and the key of its body tell.
fn holds(row: &CloudRow, here: &LocalEntry) -> bool {
    match (&here.r2_key, &row.r2_key) {
        _ if !here.is_alive || row.is_dead => true,
        (None, None) => here.bytes == row.bytes,
        (Some(ours), Some(theirs)) => ours == theirs,
        (Some(_), None) => false,
        // A body that another device put there holds the text that was taken from it.
        (None, Some(_)) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Micros;

    fn here() -> LocalEntry {
        LocalEntry {
            key: 1,
            id: MemoryId::of("x"),
            digest: 1,
            shown: 2,
            row: 2,
            is_alive: true,
            is_findable: true,
            is_embedded: true,
            owes_row: false,
            owes_vector: false,
            bytes: Some(3),
            position: 4,
            r2_key: None,
            updated_at: Micros(0),
        }
    }

    fn row() -> CloudRow {
        CloudRow {
            id: MemoryId::of("x").to_string(),
            is_dead: false,
            shown: 2,
            r2_key: None,
            bytes: Some(3),
            has_state: true,
            seq: 4,
        }
    }

    #[test]
    fn a_row_shows_life_type_and_tags() {
        assert!(shows(&row(), &here()));
        assert!(!shows(&CloudRow { is_dead: true, ..row() }, &here()));
        assert!(!shows(&CloudRow { shown: 9, ..row() }, &here()));
        let dead = LocalEntry { is_alive: false, shown: 7, bytes: None, ..here() };
        assert!(shows(&CloudRow { is_dead: true, ..row() }, &dead));
        assert!(!shows(&row(), &dead));
    }

    #[test]
    fn a_row_holds_the_text_or_names_its_body() {
        assert!(holds(&row(), &here()));
        assert!(!holds(&CloudRow { bytes: Some(4), ..row() }, &here()));
        let key = |key: &str| Some(key.to_owned());
        let long = LocalEntry { r2_key: key("a"), bytes: Some(9), ..here() };
        assert!(holds(&CloudRow { r2_key: key("a"), ..row() }, &long));
        assert!(!holds(&CloudRow { r2_key: key("b"), ..row() }, &long));
        assert!(!holds(&row(), &long));
        let dead = LocalEntry { is_alive: false, bytes: None, ..here() };
        assert!(holds(&CloudRow { is_dead: true, ..row() }, &dead));
    }
}
