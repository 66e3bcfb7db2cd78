//! States, compared by digests.

use super::local::Local;
use super::report::{Candidates, Kind};
use super::{Check, VerifyError};
use crate::model::digest::Sums;
use crate::remote::digest::{self, CloudEntry, ENTRIES_PAGE, FEW_DIGITS, MORE_DIGITS};
use crate::store::digest as local_digest;
use std::collections::{BTreeMap, BTreeSet};

/// Groups of so many entries are not divided again: asking for them costs less than asking for sums.
const SMALL: u64 = 500;

/// Compares; gives how many entries the database has.
pub(super) async fn compare(
    check: &mut Check<'_>,
    local: &Local,
    found: &mut Candidates,
) -> Result<u64, VerifyError> {
    let few_here = local_digest::sums(local.iter(), FEW_DIGITS);
    let answer = digest::sums(&check.d1, check.anchor.as_ref()).await;
    let few_there = check.told(answer)?;
    let groups = differing_groups(check, local, &few_here, &few_there).await?;
    let mut there: BTreeMap<String, CloudEntry> = BTreeMap::new();
    for prefixes in portions(&groups) {
        let answer = digest::entries(&check.d1, &prefixes, check.anchor.as_ref()).await;
        for entry in check.told(answer)? {
            there.insert(entry.id.clone(), entry);
        }
    }
    let groups: BTreeSet<&str> = groups.iter().map(|(prefix, _)| prefix.as_str()).collect();
    one_by_one(check, local, &groups, &there, found);
    Ok(few_there.count())
}

/// The groups to look at one by one, each with how many entries the database has of it.
async fn differing_groups(
    check: &mut Check<'_>,
    local: &Local,
    here: &Sums,
    there: &Sums,
) -> Result<Vec<(String, u64)>, VerifyError> {
    let counted = |prefix: String, sums: &Sums| {
        let count = sums.get(&prefix).count;
        (prefix, count)
    };
    let (small, large): (Vec<_>, Vec<_>) = here
        .differing(there)
        .into_iter()
        .map(|prefix| counted(prefix, there))
        .partition(|(_, count)| *count <= SMALL);
    if large.is_empty() {
        return Ok(small);
    }
    let large: Vec<String> = large.into_iter().map(|(prefix, _)| prefix).collect();
    let answer = digest::sums_within(&check.d1, &large, check.anchor.as_ref()).await;
    let more_there = check.told(answer)?;
    let is_within = |id: &str| id.get(..FEW_DIGITS).is_some_and(|p| large.iter().any(|l| l == p));
    let within = local.iter().filter(|entry| is_within(&entry.id.to_string()));
    let more_here = local_digest::sums(within, MORE_DIGITS);
    let more = more_here.differing(&more_there).into_iter().map(|p| counted(p, &more_there));
    Ok(small.into_iter().chain(more).collect())
}

/// Groups in portions that one answer can hold.
fn portions(groups: &[(String, u64)]) -> Vec<Vec<String>> {
    let (mut portions, mut size) = (Vec::<Vec<String>>::new(), 0);
    for (prefix, count) in groups.iter().filter(|(_, count)| *count > 0) {
        match portions.last_mut() {
            Some(open) if size + count <= ENTRIES_PAGE => {
                open.push(prefix.clone());
                size += count;
            }
            _ => {
                portions.push(vec![prefix.clone()]);
                size = *count;
            }
        }
    }
    portions
}

fn one_by_one(
    check: &Check<'_>,
    local: &Local,
    groups: &BTreeSet<&str>,
    there: &BTreeMap<String, CloudEntry>,
    found: &mut Candidates,
) {
    let is_asked = |id: &str| {
        [FEW_DIGITS, MORE_DIGITS].iter().any(|n| id.get(..*n).is_some_and(|p| groups.contains(p)))
    };
    let is_coming = |entry: &CloudEntry| check.pulls() && entry.seq > local.cursor;
    for here in local.iter() {
        let id = here.id.to_string();
        // What is owed is counted as such already.
        if here.owes_row || !is_asked(&id) {
            continue;
        }
        match there.get(&id) {
            None => found.add(Kind::MissingInCloud, here.id, Some(here.digest)),
            Some(entry) if entry.digest == Some(here.digest) => {}
            Some(entry) if is_coming(entry) || here.position > entry.seq => found.skip(),
            Some(_) => found.add(Kind::Differing, here.id, Some(here.digest)),
        }
    }
    for entry in there.values() {
        match entry.memory() {
            _ if local.is_quarantined(&entry.id) => found.skip(),
            None => found.add_unreadable(&entry.id),
            Some(id) if local.find(&id).is_some() || !check.pulls() => {}
            Some(_) if is_coming(entry) => found.skip(),
            Some(id) => found.add(Kind::MissingHere, id, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portions_fit_one_answer_and_leave_out_what_is_empty() {
        let group = |name: &str, count| (name.to_owned(), count);
        let groups = [group("00", 4000), group("01", 0), group("02", 1000), group("03", 1)];
        assert_eq!(portions(&groups), [vec!["00", "02"], vec!["03"]]);
        assert_eq!(portions(&[group("00", 9000), group("01", 1)]).len(), 2);
        assert!(portions(&[group("00", 0)]).is_empty());
    }
}
