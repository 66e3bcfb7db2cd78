//! Whether the index holds what it has accepted.
//!
//! An accepted change can be found later, usually within seconds, and may be dropped without a word. So
//! each is remembered until the index has been seen to hold it. The index tells how far it has come; of
//! what it has gone through, a few changes are asked for by name, many are looked up in its own list.
//! What isn't there is owed again, and so is what has not shown up after ten minutes, whatever the index
//! says of its progress.
//!
//! A list tells that a vector is there, not which version of it; only changes that are asked for by name
//! are compared by their stamps.

use super::breaker::Admission;
use super::session::Session;
use super::upkeep::Upkeep;
use crate::clock::Micros;
use crate::remote::budget::Lane;
use crate::remote::error::{Product, RemoteError};
use crate::remote::vectorize::{GET_MAX, IndexInfo, StoredVector, Vectorize};
use crate::store::error::StoreError;
use crate::store::unconfirmed::{self, Unconfirmed};
use crate::store::{Read, Write};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The shortest time between a submission and the first look.
const FIRST: Duration = Duration::from_mins(1);
/// The longest time between two looks; and what has not shown up after it is owed again.
const LONGEST: Duration = Duration::from_mins(10);
/// The index tells whole seconds of when it has accepted a change, and more of how far it has come.
const MARGIN: Duration = Duration::from_secs(2);
/// Changes that are asked for by name; of more, the list is looked at.
const ASKED_MAX: usize = 100;
/// Pages of the list in one pass.
const PAGES: usize = 20;

/// When to look next, and a list that is half read.
#[derive(Default)]
pub(super) struct Watch {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    not_before: Option<Micros>,
    /// Looks in a row that did not find everything.
    vain: u32,
    listing: Option<Listing>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Listing {
    cursor: Option<String>,
    /// The number of the last change that it speaks of.
    upto: i64,
}

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the time of the next look: later and later as long as something is missing.
    fn looked(&self, now: Micros, found_all: bool) -> Micros {
        let mut inner = self.lock();
        inner.vain = if found_all { 0 } else { inner.vain.saturating_add(1) };
        let wait = FIRST.saturating_mul(1 << inner.vain.saturating_sub(1).min(8)).min(LONGEST);
        let next = now.plus(wait);
        inner.not_before = Some(next);
        next
    }
}

/// What a look has found.
struct Look {
    n_owed: u64,
    /// Whether everything that could be looked for was there.
    found_all: bool,
    /// Whether there is more to read at once.
    goes_on: bool,
}

/// Looks, if it is time to.
pub(super) async fn pass(session: &Session) -> Result<Upkeep, StoreError> {
    let Some(oldest) = session.store.read(unconfirmed::oldest).await? else {
        *session.watch.lock() = Inner::default();
        return Ok(Upkeep::default());
    };
    let now = session.now();
    let not_before = session.watch.lock().not_before;
    let due_at = not_before.unwrap_or(oldest.plus(FIRST));
    // Further away it was set under a clock that was set back since.
    if due_at > now && due_at.since(now) <= LONGEST {
        return Ok(Upkeep::at(due_at));
    }
    if let Admission::Shut { until } = session.gates.admission(Product::Vectorize, now) {
        return Ok(Upkeep::at(until));
    }
    if let Some(wait) = session.waits().backfill {
        return Ok(Upkeep::at(now.plus(wait)));
    }
    look(session).await
}

/// Looks at once, for somebody who wants to know what the index holds by now.
pub(super) async fn ask_now(session: &Session) -> Result<(), StoreError> {
    let is_shut = matches!(
        session.gates.admission(Product::Vectorize, session.now()),
        Admission::Shut { .. }
    );
    if !is_shut && session.store.read(unconfirmed::oldest).await?.is_some() {
        look(session).await?;
    }
    Ok(())
}

async fn look(session: &Session) -> Result<Upkeep, StoreError> {
    let remote = session.remote.in_lane(Lane::Backfill);
    let index = Vectorize::new(remote, &session.link.vector_index);
    let listing = session.watch.lock().listing.take();
    let look = match listing {
        Some(listing) => go_on(session, &index, listing).await,
        None => begin(session, &index).await,
    };
    let now = session.now();
    match look {
        Ok(look) => {
            let next_at =
                if look.goes_on { now } else { session.watch.looked(now, look.found_all) };
            if look.n_owed > 0 {
                tracing::warn!(
                    vectors = look.n_owed,
                    "the index dropped changes that it had accepted: they are sent again"
                );
            }
            Ok(Upkeep { next_at: Some(next_at), n_owed: look.n_owed, has_asked: true })
        }
        Err(Setback::Remote(error)) => {
            // No duty was carried, so what would become of one doesn't matter.
            let _no_duty = session.gates.failed(&error, 0, now);
            let next_at = session.watch.looked(now, false);
            Ok(Upkeep { next_at: Some(next_at), n_owed: 0, has_asked: true })
        }
        Err(Setback::Store(error)) => Err(error),
    }
}

enum Setback {
    Remote(RemoteError),
    Store(StoreError),
}

impl From<RemoteError> for Setback {
    fn from(error: RemoteError) -> Self {
        Self::Remote(error)
    }
}

impl From<StoreError> for Setback {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

async fn begin(session: &Session, index: &Vectorize) -> Result<Look, Setback> {
    let info = index.info().await?;
    let now = session.now();
    session.gates.succeeded(Product::Vectorize, now);
    let reached = move |read: &Read<'_>| {
        let upto = reached(read, &info, now)?;
        let (changes, total) = unconfirmed::upto(read, upto, ASKED_MAX)?;
        Ok((upto, changes, total))
    };
    let (upto, changes, total) = session.store.read(reached).await?;
    if total == 0 {
        return Ok(Look { n_owed: 0, found_all: false, goes_on: false });
    }
    if usize::try_from(total).is_ok_and(|total| total <= changes.len()) {
        return by_name(session, index, changes).await;
    }
    go_on(session, index, Listing { cursor: None, upto }).await
}

/// The number of the last change that should be there by now.
fn reached(read: &Read<'_>, info: &IndexInfo, now: Micros) -> Result<i64, StoreError> {
    let behind = |at: Micros, by: Duration| Micros(at.0.saturating_sub(Micros(0).plus(by).0));
    let processed_at = info.processed_up_to().map(|at| behind(at, MARGIN));
    let processed =
        unconfirmed::processed(read, info.processed_up_to_mutation.as_deref(), processed_at)?;
    Ok(processed.max(unconfirmed::submitted_by(read, behind(now, LONGEST))?))
}

async fn by_name(
    session: &Session,
    index: &Vectorize,
    changes: Vec<Unconfirmed>,
) -> Result<Look, Setback> {
    let (mut held, mut dropped) = (Vec::new(), Vec::new());
    for part in changes.chunks(GET_MAX) {
        let ids: Vec<String> = part.iter().map(|change| change.id.to_string()).collect();
        let found = index.get_by_ids(&ids).await?;
        session.gates.succeeded(Product::Vectorize, session.now());
        let found: HashMap<&str, &StoredVector> =
            found.iter().map(|vector| (vector.id.as_str(), vector)).collect();
        for change in part {
            let there = found.get(change.id.to_string().as_str()).copied();
            if is_held(change, there) { &mut held } else { &mut dropped }.push(change.seq);
        }
    }
    let record = move |write: &mut Write<'_>| {
        unconfirmed::confirm(write, &held)?;
        unconfirmed::owe_again(write, &dropped).map(|n_owed| (n_owed, dropped.is_empty()))
    };
    let (n_owed, found_all) = session.store.write(record).await?;
    Ok(Look { n_owed, found_all, goes_on: false })
}

/// Whether the index shows what the memory is by now: of a vector the version that was sent, or one that
/// came after it.
fn is_held(change: &Unconfirmed, there: Option<&StoredVector>) -> bool {
    let Some(there) = there else { return !change.is_findable };
    // One without a stamp is the Python service's, made from the same text.
    let stamp = there.metadata.get("rev").and_then(serde_json::Value::as_str);
    let is_older = |sent: &String| stamp.is_some_and(|stamp| stamp < sent.as_str());
    change.is_findable && !change.rev.as_ref().is_some_and(is_older)
}

/// Reads on in the index's list, a bounded number of pages.
async fn go_on(
    session: &Session,
    index: &Vectorize,
    mut listing: Listing,
) -> Result<Look, Setback> {
    let mut n_owed = 0;
    for _ in 0..PAGES {
        let page = index.list(listing.cursor.as_deref()).await?;
        session.gates.succeeded(Product::Vectorize, session.now());
        let upto = listing.upto;
        let is_end = page.cursor.is_none();
        let record = move |write: &mut Write<'_>| {
            let mut n_owed = unconfirmed::listed(write, upto, &page.ids)?;
            if is_end {
                n_owed += unconfirmed::unlisted(write, upto)?;
            }
            Ok((n_owed, page.cursor.clone()))
        };
        let (n_page, cursor) = session.store.write(record).await?;
        n_owed += n_page;
        if cursor.is_none() {
            return Ok(Look { n_owed, found_all: n_owed == 0, goes_on: false });
        }
        listing.cursor = cursor;
    }
    session.watch.lock().listing = Some(listing);
    Ok(Look { n_owed, found_all: true, goes_on: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::MemoryId;
    use serde_json::json;

    fn change(rev: Option<&str>) -> Unconfirmed {
        let rev = rev.map(str::to_owned);
        let id = MemoryId::of("x");
        Unconfirmed { seq: 1, key: 1, id, rev, is_findable: true, submitted_at: Micros(0) }
    }

    fn vector(metadata: serde_json::Value) -> StoredVector {
        StoredVector { id: MemoryId::of("x").to_string(), values: Vec::new(), metadata }
    }

    #[test]
    fn only_the_version_that_was_sent_or_a_newer_one_counts() {
        let sent = change(Some("000b"));
        assert!(!is_held(&sent, None));
        assert!(!is_held(&sent, Some(&vector(json!({"rev": "000a"})))));
        assert!(is_held(&sent, Some(&vector(json!({"rev": "000b"})))));
        assert!(is_held(&sent, Some(&vector(json!({"rev": "000c"})))));
        assert!(is_held(&sent, Some(&vector(json!({})))), "the Python service's own");
    }

    #[test]
    fn what_counts_is_what_the_memory_is_by_now() {
        for rev in [None, Some("000b")] {
            let dead = Unconfirmed { is_findable: false, ..change(rev) };
            assert!(is_held(&dead, None));
            assert!(!is_held(&dead, Some(&vector(json!({"rev": "000c"})))));
        }
        let came_back = change(None);
        assert!(!is_held(&came_back, None), "our deletion came after another device's vector");
        assert!(is_held(&came_back, Some(&vector(json!({"rev": "000a"})))));
    }

    #[test]
    fn looks_become_rare_as_long_as_something_is_missing() {
        let (watch, now) = (Watch::default(), Micros(0));
        let mut waits: Vec<u64> =
            (0..6).map(|_| watch.looked(now, false).since(now).as_secs()).collect();
        waits.push(watch.looked(now, true).since(now).as_secs());
        assert_eq!(waits, [60, 120, 240, 480, 600, 600, 60]);
    }
}
