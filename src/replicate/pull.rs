//! Reading what others wrote: one page of the feed at a time, applied with its cursor in one transaction.

use super::intake::{self, Intake, Trouble};
use super::pace::QUIET;
use super::plan;
use super::record::{self, Tally};
use super::session::{Recognised, Session};
use super::transition::Move;
use crate::model::id::MemoryId;
use crate::mutant::{self, Mutant};
use crate::remote::budget::Lane;
use crate::remote::d1::D1;
use crate::remote::error::{Disposition, Product as Remote, RemoteError};
use crate::remote::feed::{self, FETCH_MAX};
use crate::remote::poll::{self, POLL_MAX};
use crate::remote::push::Anchor;
use crate::store::Read;
use crate::store::error::StoreError;
use crate::store::link;
use crate::store::outbox::Setback;
use crate::store::pull::{self, Applied, Page};
use std::time::Duration;

/// Entries that are written down in one transaction.
const APPLIED_MAX: usize = 500;
/// The shortest wait for an entry that is about to change.
const SETTLE_MIN: Duration = Duration::from_secs(1);

/// Reads one page, if it is time and the database takes requests.
pub(super) async fn pass(session: &Session) -> Result<Tally, StoreError> {
    let now = session.now();
    let gate = session.gates.admission(Remote::D1, now);
    if !session.pace().is_due(now) || plan::room(1, &[gate], session.waits()).is_none() {
        return Ok(Tally::default());
    }
    let d1 = D1::new(session.remote.in_lane(Lane::Live), &session.link.database);
    match page(session, &d1).await {
        Ok(pulled) => Ok(pulled),
        Err(Trouble::Store(error)) => Err(error),
        Err(Trouble::Remote(error)) => trouble(session, &d1, &error).await,
    }
}

async fn page(session: &Session, d1: &D1) -> Result<Tally, Trouble> {
    let read = session
        .store
        .read(|read| Ok((pull::cursor(read)?.unwrap_or(0), link::anchor(read)?)))
        .await?;
    let (from, anchor) = (read.0, read.1.map(|(seq, nonce)| Anchor { seq, nonce }));
    if session.polling().is_needed() {
        poll_rows(session, d1).await.map_err(Trouble::Remote)?;
    }
    let limit = session.pace().limit();
    let page = feed::page(d1, from, limit, anchor.as_ref()).await.map_err(Trouble::Remote)?;
    session.gates.succeeded(Remote::D1, session.now());
    session.polling().learn(page.has_triggers || mutant::is(Mutant::NoTriggers));
    match session.recognise(&page.cloud).await? {
        Recognised::Known => {}
        Recognised::PutBack => return Ok(Tally { pulled: 1, ..Tally::default() }),
        Recognised::Other => return Ok(Tally::default()),
    }
    let n_entries = page.entries.len();
    session.begins_reading(from, page.newest);
    let intake = intake::of_page(session, d1, page.entries).await?;
    let Some((to, nonce)) = intake.end.clone() else {
        return Ok(at_the_end(session, &intake, n_entries));
    };
    let behind = u64::try_from(page.newest - to).unwrap_or(0);
    let has_more = n_entries >= limit || behind > 0;
    let settles_in = intake.settles_in;
    let mut parts = parts(intake, from, to, nonce).into_iter().peekable();
    let mut tally = Tally::default();
    while let Some(part) = parts.next() {
        note_skew(session, &part);
        let is_last = parts.peek().is_none();
        let settles_in = settles_in.filter(|_| is_last);
        let applied = apply(session, part, behind, has_more || !is_last, settles_in).await?;
        if applied.pulled == 0 {
            break;
        }
        tally.add(applied);
    }
    Ok(tally)
}

/// Divides what a page brought: nobody waits for the store for longer than one part takes.
fn parts(intake: Intake, from: i64, to: i64, nonce: Option<String>) -> Vec<Page> {
    let mut seqs: Vec<i64> = intake.incoming.iter().map(|one| one.seq).collect();
    seqs.extend(intake.quarantined.iter().map(|one| one.seq));
    seqs.extend(intake.empty.iter().map(|(_, seq)| *seq));
    seqs.extend(intake.gone.iter().map(|(_, seq)| *seq));
    seqs.sort_unstable();
    let mut ends: Vec<i64> = seqs.chunks(APPLIED_MAX).filter_map(<[i64]>::last).copied().collect();
    ends.pop();
    ends.push(to);
    let Intake { mut incoming, mut quarantined, mut empty, mut gone, .. } = intake;
    let mut pages: Vec<Page> = Vec::new();
    for end in ends {
        let anchor = nonce.clone().filter(|_| end == to).map(|nonce| (end, nonce));
        pages.push(Page {
            from: pages.last().map_or(from, |page| page.to),
            to: end,
            anchor,
            incoming: incoming.extract_if(.., |one| one.seq <= end).collect(),
            quarantined: quarantined.extract_if(.., |one| one.seq <= end).collect(),
            empty: empty.extract_if(.., |(_, seq)| *seq <= end).collect(),
            gone: gone.extract_if(.., |(_, seq)| *seq <= end).map(|(key, _)| key).collect(),
        });
    }
    pages
}

/// Puts rows of the Python service into the feed that no trigger told of.
async fn poll_rows(session: &Session, d1: &D1) -> Result<(), RemoteError> {
    let look = session.polling().look(session.now());
    let seen = poll::poll(d1, &look, &session.link.database_uuid).await?;
    session.gates.succeeded(Remote::D1, session.now());
    let is_full = seen.announced >= POLL_MAX;
    session.polling().saw(&look, &seen, is_full, session.now());
    Ok(())
}

/// Nothing of the page can be taken: there is none, or its first entry must settle.
fn at_the_end(session: &Session, intake: &Intake, n_entries: usize) -> Tally {
    let now = session.now();
    let mut pace = session.pace();
    match intake.settles_in {
        Some(left) => pace.settles_at(now.plus(left.max(SETTLE_MIN))),
        None if n_entries == 0 => pace.caught_up(false, now),
        // An entry without room in the answer: asked for alone.
        None => {
            pace.halve();
        }
    }
    Tally::default()
}

async fn apply(
    session: &Session,
    page: Page,
    behind: u64,
    has_more: bool,
    settles_in: Option<Duration>,
) -> Result<Tally, StoreError> {
    let n_known = page.incoming.len() + page.quarantined.len();
    let n_entries = n_known + page.empty.len() + page.gone.len();
    let pace = session.pace().clone();
    let may_delete = move |deletions, of| pace.may_delete(deletions, of);
    let is_last = !has_more && settles_in.is_none();
    let applied = record::apply(session, page, is_last, may_delete).await?;
    let now = session.now();
    let mut pace = session.pace();
    let became = match applied {
        Applied::Merged(became) => became,
        Applied::Stale => return Ok(Tally::default()),
        Applied::TooManyDeletions { deletions, of } => {
            pace.hold(deletions, of);
            tracing::warn!(deletions, of, "the cloud's deletions are held back");
            return Ok(Tally::default());
        }
    };
    if is_last {
        pace.caught_up(!became.is_empty(), now);
    } else {
        pace.read_a_page(record::n_deleted(&became), behind, now);
    }
    if let Some(left) = settles_in {
        pace.settles_at(now.plus(left.max(SETTLE_MIN)));
    }
    Ok(Tally { pulled: n_entries, ..Tally::default() })
}

/// Stamps from the future are taken as they are, and told.
fn note_skew(session: &Session, page: &Page) {
    let newest = page.incoming.iter().map(|one| one.state.newest().ms).max();
    if let Some(newest) = newest {
        let ahead = newest.saturating_sub(session.now().as_millis());
        session.pace().saw_ahead(Duration::from_millis(ahead));
    }
}

/// The page could not be had.
async fn trouble(session: &Session, d1: &D1, error: &RemoteError) -> Result<Tally, StoreError> {
    let now = session.now();
    let failures = session.pace().failures();
    let at = match session.gates.failed(error, failures, now) {
        Move::SetBack(Setback::Defer { due_at, .. }) => due_at,
        _ => now,
    };
    if error.disposition == Disposition::Park && !session.pace().halve() {
        // One entry that no answer can carry must not stop the feed.
        skip(session, d1, error).await?;
    }
    session.pace().failed(at.max(now.plus(SETTLE_MIN)));
    if mutant::is(Mutant::CursorMovesOnError) {
        let leap = Page { to: i64::from(u32::MAX), ..Page::default() };
        record::apply(session, leap, false, |_, _| true).await?;
    }
    record::commit(session, Vec::new(), None, &mut Tally::default()).await?;
    Ok(Tally::default())
}

/// Quarantines the next entry by its key alone.
async fn skip(session: &Session, d1: &D1, error: &RemoteError) -> Result<(), StoreError> {
    let from = session.store.read(pull::cursor).await?.unwrap_or(0);
    let Ok(Some((key, seq))) = feed::next_key(d1, from).await else { return Ok(()) };
    let reason = format!("the database can't bring it: {error}");
    let quarantined = vec![pull::Quarantined { key, seq, reason }];
    let page = Page { from, to: seq, quarantined, ..Page::default() };
    record::apply(session, page, false, |_, _| true).await?;
    Ok(())
}

/// Fetches what is set aside once more, at most one answer full; the next one follows at once while any of
/// it can be taken. An answer that is refused as a whole is divided until the entry at fault is found.
pub(super) async fn retry_quarantined(session: &Session) -> Result<Tally, StoreError> {
    let now = session.now();
    let gate = session.gates.admission(Remote::D1, now);
    if plan::room(1, &[gate], session.waits()).is_none() {
        return Ok(Tally::default());
    }
    let set_aside = |read: &Read<'_>| Ok(pull::quarantined(read, 0)?.1);
    let ids = session.store.read(|read| pull::to_refetch(read, FETCH_MAX)).await?;
    let n_before = session.store.read(set_aside).await?;
    let mut has_more = ids.len() == FETCH_MAX;
    let d1 = D1::new(session.remote.in_lane(Lane::Backfill), &session.link.database);
    let mut tally = Tally::default();
    let mut parts = vec![ids];
    while let Some(part) = parts.pop() {
        if part.is_empty() || session.is_shut(Remote::D1) {
            break;
        }
        let mut intake = match fetch(session, &d1, &part).await {
            Ok(Some(intake)) => intake,
            Ok(None) => break,
            Err(Trouble::Store(error)) => return Err(error),
            Err(Trouble::Remote(error)) if error.disposition == Disposition::Park => {
                if part.len() > 1 {
                    let (first, second) = plan::halves(part);
                    parts.extend([second, first]);
                } else {
                    session.gates.failed(&error, 0, now);
                    session.store.write(move |write| pull::put_back(write, &part)).await?;
                }
                continue;
            }
            Err(Trouble::Remote(error)) => {
                session.gates.failed(&error, 0, now);
                break;
            }
        };
        has_more |= !intake.cut.is_empty();
        if let Some(left) = intake.settles_in {
            session.pace().retries_at(session.now().plus(left.max(QUIET)));
        }
        // What has to wait lets the others go first the next time.
        let waiting = std::mem::take(&mut intake.unsettled);
        session.store.write(move |write| pull::put_back(write, &waiting)).await?;
        tally.pulled += record::merge(session, intake).await?.0.len();
    }
    let n_taken = n_before.saturating_sub(session.store.read(set_aside).await?);
    if has_more && n_taken > 0 {
        session.pace().retries_at(session.now());
        tally.pulled = tally.pulled.max(usize::try_from(n_taken).unwrap_or(usize::MAX));
    }
    Ok(tally)
}

/// What the cloud holds for `ids`; `None` if the database is not the one that this device knows.
pub(super) async fn fetch(
    session: &Session,
    d1: &D1,
    ids: &[MemoryId],
) -> Result<Option<Intake>, Trouble> {
    let anchor = session.store.read(link::anchor).await?;
    let anchor = anchor.map(|(seq, nonce)| Anchor { seq, nonce });
    let (entries, cloud) = feed::fetch(d1, ids, anchor.as_ref()).await.map_err(Trouble::Remote)?;
    if session.recognise(&cloud).await? != Recognised::Known {
        return Ok(None);
    }
    Ok(Some(intake::of_ids(session, d1, entries).await?))
}
