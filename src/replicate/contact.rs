//! The first contact with an account that holds memories already: what is there is looked at before the
//! backfill goes, so that nothing is sent again.
//!
//! A device that reads the feed learns from it where the cloud holds its memories and whether their rows show
//! them. One that only pushes takes nothing from the feed, but looks through it once for the same reason. Of
//! the vectors the index itself tells: its list of ids is read once, and what it holds is owed no more.
//!
//! Live changes don't wait for any of this. After a crash a look goes on at its last page, or begins again;
//! looking twice changes nothing.

use super::intake::{self, Trouble};
use super::plan;
use super::record::{self, Tally};
use super::session::{CONTACT, Recognised, Session, written};
use crate::clock::Micros;
use crate::model::id::MemoryId;
use crate::remote::budget::Lane;
use crate::remote::d1::D1;
use crate::remote::error::{Disposition, Product as Remote};
use crate::remote::feed;
use crate::remote::push::Anchor;
use crate::remote::vectorize::Vectorize;
use crate::store::Write;
use crate::store::error::StoreError;
use crate::store::link::{self, LinkMode};
use crate::store::outbox::Product;
use crate::store::survey;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Pages of the index's list in one pass.
const PAGES: usize = 20;
/// Vectors of an index that is looked through; of a larger one, vectors are sent again.
const VECTORS_MAX: usize = 500_000;
/// The shortest wait for an entry that is about to change.
const SETTLE_MIN: Duration = Duration::from_secs(1);

/// How far the looks have come. Kept over a restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Known {
    /// Whether the feed was looked through.
    is_surveyed: bool,
    /// The position up to which it was.
    surveyed: i64,
    /// Whether the index's list was read.
    is_listed: bool,
}

/// The looks of one link.
#[derive(Default)]
pub(super) struct Contact {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    known: Known,
    listing: Option<Listing>,
    failures: u32,
}

/// A list that is half read.
#[derive(Default)]
struct Listing {
    cursor: Option<String>,
    ids: BTreeSet<MemoryId>,
}

/// What of the backfill has to wait for a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Holds {
    /// Rows and bodies.
    pub(super) rows: bool,
    /// Vectors.
    pub(super) vectors: bool,
}

impl Contact {
    pub(super) fn from_known(known: Known) -> Self {
        Self { inner: Mutex::new(Inner { known, ..Inner::default() }) }
    }

    pub(super) fn known(&self) -> Known {
        self.lock().known.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves at worst a look that is taken once more.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits at present.
pub(super) fn holds(session: &Session) -> Holds {
    let known = session.contact.known();
    let rows = match session.link.mode {
        LinkMode::Dual => is_awaiting_feed(session),
        LinkMode::Shadow => !known.is_surveyed,
    };
    Holds { rows, vectors: rows || !known.is_listed }
}

/// Whether the feed is about to tell what is there.
fn is_awaiting_feed(session: &Session) -> bool {
    let pace = session.pace();
    !pace.was_ever_caught_up() && pace.is_settling()
}

/// When the look is due for which the backfill's rows wait; `None` if they don't.
pub(super) fn awaited_at(session: &Session, now: Micros) -> Option<Micros> {
    if !holds(session).rows {
        return None;
    }
    let gate = session.gates.admission(Remote::D1, now);
    plan::next_attempt(session.pace().next_at(), &[gate], session.waits(), now)
}

/// Takes the next look, if there is one to take.
pub(super) async fn pass(session: &Session) -> Result<Tally, StoreError> {
    let known = session.contact.known();
    let mut tally = Tally::default();
    if session.link.mode == LinkMode::Shadow && !known.is_surveyed {
        if has_backfill(session, Product::D1).await? {
            tally.add(survey(session).await?);
        } else {
            session.contact.lock().known.is_surveyed = true;
        }
    }
    if !known.is_listed && !holds(session).rows {
        if has_backfill(session, Product::Vectorize).await? {
            tally.add(list(session).await?);
        } else {
            session.contact.lock().known.is_listed = true;
        }
    }
    Ok(tally)
}

async fn has_backfill(session: &Session, product: Product) -> Result<bool, StoreError> {
    session.store.read(move |read| survey::has_backfill(read, product)).await
}

/// Looks at one page of the feed, for a device that takes nothing from it.
async fn survey(session: &Session) -> Result<Tally, StoreError> {
    let now = session.now();
    let gate = session.gates.admission(Remote::D1, now);
    let room = plan::room(1, &[gate], session.waits());
    if !session.pace().is_due(now) || !room.is_some_and(|room| room.backfill_alone) {
        return Ok(Tally::default());
    }
    let d1 = D1::new(session.remote.in_lane(Lane::Backfill), &session.link.database);
    match page(session, &d1).await {
        Ok(tally) => {
            session.contact.lock().failures = 0;
            Ok(tally)
        }
        Err(Trouble::Store(error)) => Err(error),
        Err(Trouble::Remote(error)) => {
            let failures = {
                let mut inner = session.contact.lock();
                inner.failures = inner.failures.saturating_add(1);
                inner.failures
            };
            let _no_duty = session.gates.failed(&error, failures, now);
            if !session.pace().halve() {
                // One entry that no answer can carry is met again by the push of its memory.
                session.contact.lock().known.surveyed += 1;
            }
            session.pace().failed(now.plus(SETTLE_MIN));
            record::commit(session, Vec::new(), None, &mut Tally::default()).await?;
            Ok(Tally::default())
        }
    }
}

async fn page(session: &Session, d1: &D1) -> Result<Tally, Trouble> {
    let anchor = session.store.read(link::anchor).await?;
    let anchor = anchor.map(|(seq, nonce)| Anchor { seq, nonce });
    let from = session.contact.known().surveyed;
    let limit = session.pace().limit();
    let page = feed::page(d1, from, limit, anchor.as_ref()).await.map_err(Trouble::Remote)?;
    session.gates.succeeded(Remote::D1, session.now());
    match session.recognise(&page.cloud).await? {
        Recognised::Known => {}
        Recognised::PutBack => {
            session.contact.lock().known.surveyed = 0;
            return Ok(Tally { learnt: 1, ..Tally::default() });
        }
        Recognised::Other => return Ok(Tally::default()),
    }
    let n_entries = page.entries.len();
    let intake = intake::of_page(session, d1, page.entries).await?;
    let now = session.now();
    let Some((to, _)) = intake.end else {
        let mut pace = session.pace();
        match intake.settles_in {
            Some(left) => pace.settles_at(now.plus(left.max(SETTLE_MIN))),
            None if n_entries == 0 => {
                pace.caught_up(false, now);
                drop(pace);
                return Ok(close(session));
            }
            None => {
                pace.halve();
            }
        }
        return Ok(Tally::default());
    };
    let is_end = page.newest <= to && intake.settles_in.is_none();
    let incoming = intake.incoming;
    let known = Known { surveyed: to, is_surveyed: is_end, ..session.contact.known() };
    let remembered = remembered(session, &known);
    let job = move |write: &mut Write<'_>| {
        for one in &incoming {
            survey::look_at(write, one)?;
        }
        for (name, value) in &remembered {
            link::remember(write, name, value)?;
        }
        Ok(())
    };
    record::write(session, job).await?;
    session.contact.lock().known = known;
    match intake.settles_in {
        Some(left) => session.pace().settles_at(now.plus(left.max(SETTLE_MIN))),
        None if is_end => session.pace().caught_up(false, now),
        None => session.pace().read_a_page(0, 0, now),
    }
    Ok(Tally { pulled: n_entries, ..Tally::default() })
}

/// What is kept, with the looks as they are after the write that keeps it.
fn remembered(session: &Session, known: &Known) -> Vec<(&'static str, String)> {
    let mut remembered = session.remembered();
    remembered.push((CONTACT, written(known)));
    remembered
}

fn close(session: &Session) -> Tally {
    session.contact.lock().known.is_surveyed = true;
    Tally { pulled: 1, ..Tally::default() }
}

/// Reads on in the index's list, a bounded number of pages.
async fn list(session: &Session) -> Result<Tally, StoreError> {
    let now = session.now();
    let gate = session.gates.admission(Remote::Vectorize, now);
    let room = plan::room(1, &[gate], session.waits());
    if !room.is_some_and(|room| room.backfill_alone) {
        return Ok(Tally::default());
    }
    let remote = session.remote.in_lane(Lane::Backfill);
    let index = Vectorize::new(remote, &session.link.vector_index);
    let mut listing = session.contact.lock().listing.take().unwrap_or_default();
    let mut tally = Tally::default();
    for _ in 0..PAGES {
        let page = match index.list(listing.cursor.as_deref()).await {
            Ok(page) => page,
            Err(error) => {
                let _no_duty = session.gates.failed(&error, 0, session.now());
                // Where it can't be listed, vectors are sent again; else the next look begins anew.
                let is_refused = error.disposition == Disposition::Park;
                session.contact.lock().known.is_listed = is_refused;
                record::commit(session, Vec::new(), None, &mut Tally::default()).await?;
                return Ok(tally);
            }
        };
        session.gates.succeeded(Remote::Vectorize, session.now());
        let held: Vec<MemoryId> = page.ids.iter().filter_map(|id| id.parse().ok()).collect();
        listing.ids.extend(&held);
        listing.cursor = page.cursor;
        let is_end = listing.cursor.is_none();
        let is_cut = !is_end && listing.ids.len() >= VECTORS_MAX;
        let known = Known { is_listed: is_end || is_cut, ..session.contact.known() };
        let all = if is_end { Some(std::mem::take(&mut listing.ids)) } else { None };
        let remembered = remembered(session, &known);
        let job = move |write: &mut Write<'_>| {
            let mut n = survey::vectors_are_there(write, &held)?;
            if let Some(all) = &all {
                n += survey::other_vectors_are_gone(write, all)?;
            }
            for (name, value) in &remembered {
                link::remember(write, name, value)?;
            }
            Ok(n)
        };
        let n_settled = record::write(session, job).await?.unwrap_or(0);
        tally.settled += usize::try_from(n_settled).unwrap_or(usize::MAX);
        session.contact.lock().known = known;
        if is_end || is_cut {
            return Ok(tally);
        }
    }
    session.contact.lock().listing = Some(listing);
    tally.learnt += 1;
    Ok(tally)
}
