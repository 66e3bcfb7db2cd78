//! What the replicator does unasked, beside sending and fetching: it sees whether the index holds what it
//! has accepted, compares the stores once a week and repairs, and sweeps the bucket once a day. All of it
//! counts as backfill, waits behind the gates, and is done later rather than at the cost of a live change.

use super::confirm;
use super::record::{Tally, commit};
use super::session::Session;
use super::sweep;
use super::verify::{self, Scope, VerifyError};
use crate::clock::Micros;
use crate::store::error::StoreError;
use crate::store::outbox;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How often the stores are compared unasked.
const COMPARE_EVERY: Duration = Duration::from_hours(7 * 24);
/// How often the bucket is swept.
const SWEEP_EVERY: Duration = Duration::from_hours(24);
/// When to try again what could not be done.
const TRY_AGAIN: Duration = Duration::from_hours(1);
/// Duties beyond which nothing is compared unasked: everything would differ.
const BUSY: u64 = 500;

/// What a pass of upkeep came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Upkeep {
    /// When to look again, if that is soon.
    pub(super) next_at: Option<Micros>,
    /// Duties that are new.
    pub(super) n_owed: u64,
    /// Whether a request was made.
    pub(super) has_asked: bool,
}

impl Upkeep {
    /// Nothing to do before `at`.
    pub(super) fn at(at: Micros) -> Self {
        Self { next_at: Some(at), ..Self::default() }
    }
}

/// When things were done last. Kept over a restart.
#[derive(Default)]
pub(super) struct Calendar {
    inner: Mutex<Dates>,
}

/// Instants are microseconds since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Dates {
    compared_at: Option<i64>,
    swept_at: Option<i64>,
    /// Where the next sweep goes on.
    sweep_cursor: Option<String>,
    /// Nothing of this is tried before.
    not_before: Option<i64>,
}

impl Calendar {
    pub(super) fn from_dates(dates: Dates) -> Self {
        Self { inner: Mutex::new(dates) }
    }

    pub(super) fn dates(&self) -> Dates {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Dates> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether something that was done at `last` is due. A date in the future was written under a clock that
/// was set back since.
fn is_due(last: Micros, every: Duration, now: Micros) -> bool {
    now.since(last) >= every || last.since(now) > SWEEP_EVERY
}

/// Does what is due. `keep_for` is how long the bodies of deleted memories are kept.
pub(super) async fn pass(
    session: &Session,
    keep_for: Option<Duration>,
) -> Result<Upkeep, StoreError> {
    if session.gates.foreign().is_some() {
        return Ok(Upkeep::default());
    }
    let mut upkeep = confirm::pass(session).await?;
    let (now, dates) = (session.now(), session.calendar.dates());
    if dates.not_before.is_none_or(|at| is_due(Micros(at), Duration::ZERO, now)) {
        let compared_at = dates.compared_at.map_or(session.link.linked_at, Micros);
        let swept_at = dates.swept_at.map_or(session.link.linked_at, Micros);
        if is_due(compared_at, COMPARE_EVERY, now) {
            upkeep.n_owed += compare(session).await?;
            upkeep.has_asked = true;
        } else if let Some(keep_for) = keep_for.filter(|_| is_due(swept_at, SWEEP_EVERY, now)) {
            sweep(session, keep_for, dates.sweep_cursor).await?;
            upkeep.has_asked = true;
        }
    }
    if upkeep.has_asked {
        // The budget and the dates are written down with it.
        commit(session, Vec::new(), None, &mut Tally::default()).await?;
    }
    Ok(upkeep)
}

async fn compare(session: &Session) -> Result<u64, StoreError> {
    let now = session.now();
    let is_busy = session.store.read(outbox::counts).await?.pending > BUSY;
    if is_busy || session.waits().backfill.is_some() {
        put_off(session, now);
        return Ok(0);
    }
    match verify::verify(session, Scope::Cheap, true).await {
        Ok(report) => {
            report.log(session);
            session.calendar.lock().compared_at = Some(now.0);
            Ok(report.repaired())
        }
        Err(error) => refused(session, error, now).map(|()| 0),
    }
}

async fn sweep(
    session: &Session,
    keep_for: Duration,
    cursor: Option<String>,
) -> Result<(), StoreError> {
    let now = session.now();
    match sweep::sweep(session, keep_for, cursor).await {
        Ok(cursor) => {
            let mut dates = session.calendar.lock();
            dates.swept_at = Some(now.0);
            dates.sweep_cursor = cursor;
            Ok(())
        }
        Err(error) => {
            // A cursor that is no longer known must not be asked with for ever.
            session.calendar.lock().sweep_cursor = None;
            refused(session, error, now)
        }
    }
}

/// What the network or the account refused is tried again later; the gates have said why.
fn refused(session: &Session, error: VerifyError, now: Micros) -> Result<(), StoreError> {
    put_off(session, now);
    match error {
        VerifyError::Store(error) => Err(error),
        VerifyError::Remote(_)
        | VerifyError::Shut { .. }
        | VerifyError::Foreign(_)
        | VerifyError::NotConnected { .. } => Ok(()),
    }
}

fn put_off(session: &Session, now: Micros) {
    session.calendar.lock().not_before = Some(now.plus(TRY_AGAIN).0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_due_in_time_and_after_a_clock_was_set_back() {
        let now = Micros(0).plus(Duration::from_hours(1000));
        let ago = |hours| Micros(now.0 - Micros(0).plus(Duration::from_hours(hours)).0);
        assert!(!is_due(ago(1), SWEEP_EVERY, now));
        assert!(is_due(ago(24), SWEEP_EVERY, now));
        assert!(!is_due(now.plus(Duration::from_hours(1)), SWEEP_EVERY, now));
        assert!(is_due(now.plus(Duration::from_hours(25)), SWEEP_EVERY, now));
    }
}
