//! Writing down what became of duties: one transaction for the whole outcome of a request.

use super::intake::Intake;
use super::session::{DELETED, Session, written};
use super::transition::Move;
use crate::model::id::MemoryId;
use crate::priority;
use crate::remote::push::Anchor;
use crate::store::Write;
use crate::store::error::StoreError;
use crate::store::link::{self, Link};
use crate::store::outbox::{self, Duty, Product, Setback};
use crate::store::pull::{self, Applied, Became, HeldBack, Page};
use crate::store::unconfirmed::{self, Accepted};

/// Outcomes in one transaction, each some 14 us: a request takes thousands of them, and whoever stores or searches
/// meanwhile must not wait for all of them to be written down.
const SETTLED_AT_ONCE: usize = 100;
/// Outcomes after which the writing thread gives way. Few, as whoever stores waits for that too.
const IN_ONE_GO: usize = 25;

/// What became of one duty.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) product: Product,
    pub(super) id: MemoryId,
    pub(super) key: i64,
    pub(super) generation: i64,
    pub(super) fate: Fate,
}

/// The outcome and what was learnt with it.
#[derive(Debug, Clone)]
pub(super) enum Fate {
    /// Done; for a row with its position, for a body with its key.
    Settled { seq: Option<i64>, r2_key: Option<String> },
    /// The index has accepted the change; the stamp of the vector, or `None` for a deletion.
    Accepted { rev: Option<String>, by: Accepted },
    /// The row's position is another than was known; it is sent again.
    Learnt { seq: i64 },
    /// There is no vector to send yet.
    Unembedded,
    /// Not done, and why.
    SetBack(Setback, String),
}

impl Record {
    pub(super) fn new(product: Product, id: MemoryId, duty: &Duty, fate: Fate) -> Self {
        Self { product, id, key: duty.key, generation: duty.generation, fate }
    }

    /// The record of a [`Move`]; `error` says why a duty was set back.
    pub(super) fn of(
        product: Product,
        id: MemoryId,
        duty: &Duty,
        moved: Move,
        error: &str,
    ) -> Self {
        let fate = match moved {
            Move::Settle => Fate::Settled { seq: None, r2_key: None },
            Move::SetBack(setback) => Fate::SetBack(setback, error.to_owned()),
        };
        Self::new(product, id, duty, fate)
    }

    fn write(&self, write: &mut Write<'_>) -> Result<(), StoreError> {
        match &self.fate {
            Fate::Settled { seq, r2_key } => {
                let is_current = outbox::settle(write, self.product, self.key, self.generation)?;
                if let Some(seq) = seq {
                    outbox::set_position(write, self.key, *seq)?;
                }
                // A body that is no longer the present one must not become its row's.
                if let Some(r2_key) = r2_key.as_ref().filter(|_| is_current) {
                    outbox::set_body_key(write, self.key, r2_key)?;
                }
                Ok(())
            }
            Fate::Accepted { rev, by } => {
                outbox::settle(write, self.product, self.key, self.generation)?;
                unconfirmed::note(write, self.key, rev.as_deref(), by)
            }
            Fate::Learnt { seq } => outbox::set_position(write, self.key, *seq),
            Fate::Unembedded => outbox::await_vector(write, self.key, self.generation),
            Fate::SetBack(setback, error) => {
                outbox::set_back(write, self.product, self.key, self.generation, setback, error)
            }
        }
    }
}

/// What a pass has done, in duties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Done.
    pub settled: usize,
    /// Sent again at once at another position.
    pub learnt: usize,
    /// Waiting for a vector.
    pub unembedded: usize,
    /// Put off.
    pub deferred: usize,
    /// Set aside.
    pub parked: usize,
    /// In conflict.
    pub conflicts: usize,
    /// Owed anew, because the cloud was found not to hold it.
    pub repaired: usize,
    /// Entries read from the feed.
    pub pulled: usize,
}

impl Tally {
    /// Whether anything moved, so that looking again at once makes sense.
    pub fn has_moved(&self) -> bool {
        self.settled
            + self.learnt
            + self.unembedded
            + self.parked
            + self.conflicts
            + self.pulled
            + self.repaired
            > 0
    }

    /// Adds another pass.
    pub fn add(&mut self, other: Self) {
        self.settled += other.settled;
        self.learnt += other.learnt;
        self.unembedded += other.unembedded;
        self.deferred += other.deferred;
        self.parked += other.parked;
        self.conflicts += other.conflicts;
        self.repaired += other.repaired;
        self.pulled += other.pulled;
    }

    fn count(&mut self, record: &Record) {
        let of = match &record.fate {
            Fate::Settled { .. } | Fate::Accepted { .. } => &mut self.settled,
            Fate::Learnt { .. } => &mut self.learnt,
            Fate::Unembedded => &mut self.unembedded,
            Fate::SetBack(Setback::Defer { .. }, _) => &mut self.deferred,
            Fate::SetBack(Setback::Park, _) => &mut self.parked,
            Fate::SetBack(Setback::Conflict, _) => &mut self.conflicts,
        };
        *of += 1;
    }
}

/// Writes the records, a hundred in one transaction, and with the last of them the newest anchor and the replicator's
/// memory. What was settled is owed no more after its transaction; before it, it is still owed and sent again. Where the store has been linked
/// to something else meanwhile, nothing is written.
pub(super) async fn commit(
    session: &Session,
    records: Vec<Record>,
    anchor: Option<Anchor>,
    tally: &mut Tally,
) -> Result<(), StoreError> {
    commit_pushed(session, records, anchor, None, tally).await
}

/// The same for rows that were written at positions of the feed: the first and the last of them, if no
/// other position lies between.
pub(super) async fn commit_pushed(
    session: &Session,
    records: Vec<Record>,
    anchor: Option<Anchor>,
    own: Option<(i64, i64)>,
    tally: &mut Tally,
) -> Result<(), StoreError> {
    for record in &records {
        tally.count(record);
        if let Fate::SetBack(Setback::Park, error) = &record.fate {
            let product = record.product.as_str();
            tracing::warn!(memory = %record.id, product, %error, "entry parked");
        }
    }
    let mut last = records;
    while last.len() > SETTLED_AT_ONCE {
        let later = last.split_off(SETTLED_AT_ONCE);
        let records = std::mem::replace(&mut last, later);
        let job = move |write: &mut Write<'_>| write_down(write, &records);
        if write(session, job).await?.is_none() {
            return Ok(());
        }
    }
    let remembered = session.remembered();
    let job = move |write: &mut Write<'_>| {
        write_down(write, &last)?;
        if let Some(anchor) = &anchor {
            link::raise_anchor(write, anchor.seq, &anchor.nonce)?;
        }
        if let Some((first, last)) = own {
            link::pass_over(write, first, last)?;
        }
        for (name, value) in &remembered {
            link::remember(write, name, value)?;
        }
        Ok(())
    };
    write(session, job).await.map(|_| ())
}

fn write_down(write: &mut Write<'_>, records: &[Record]) -> Result<(), StoreError> {
    for some in records.chunks(IN_ONE_GO) {
        priority::give_way();
        some.iter().try_for_each(|record| record.write(write))?;
    }
    Ok(())
}

/// Applies a page of the feed, with its cursor and the replicator's memory in one transaction. Unless it is the last
/// one, the deletions of the next count together with its own, also after a restart.
pub(super) async fn apply(
    session: &Session,
    page: Page,
    is_last: bool,
    may_delete: impl Fn(u64, u64) -> bool + Send + 'static,
) -> Result<Applied, StoreError> {
    for one in &page.quarantined {
        tracing::warn!(memory = one.key, reason = one.reason, "entry of the cloud quarantined");
    }
    let remembered = session.remembered();
    let deleted_before = session.pace().deleted();
    let job = move |write: &mut Write<'_>| {
        let applied = pull::apply(write, &page, &may_delete)?;
        for (name, value) in &remembered {
            link::remember(write, name, value)?;
        }
        if let Applied::Merged(became) = &applied {
            let deleted = if is_last { 0 } else { deleted_before + n_deleted(became) };
            link::remember(write, DELETED, &written(&deleted))?;
        }
        Ok(applied)
    };
    let applied = write(session, job).await?.unwrap_or(Applied::Stale);
    if let Applied::Merged(became) = &applied {
        session.tell(became);
    }
    Ok(applied)
}

/// How many of them were deleted.
pub(super) fn n_deleted(became: &[(MemoryId, Became)]) -> u64 {
    became.iter().map(|one| u64::from(one.1 == Became::Deleted)).sum()
}

/// Merges what was fetched by its ids; what is owed then, and where the cloud holds it, is written down
/// with it. Deletions that a person has to agree to first are left out, and said.
pub(super) async fn merge(
    session: &Session,
    intake: Intake,
) -> Result<(Vec<(MemoryId, Became)>, HeldBack), StoreError> {
    let pace = session.pace().clone();
    let job = move |write: &mut Write<'_>| {
        let mut changed = Vec::new();
        let may_delete = |deletions, of| pace.may_delete(deletions, of);
        let held = pull::held_back(write, &intake.incoming, may_delete)?;
        for incoming in intake.incoming.iter().filter(|one| !held.ids.contains(&one.id)) {
            if let Some(became) = pull::merge(write, incoming)?
                && became != Became::Unchanged
            {
                changed.push((incoming.id, became));
            }
        }
        for (id, seq) in &intake.empty {
            pull::is_empty(write, id, *seq)?;
        }
        for one in &intake.quarantined {
            pull::set_aside(write, one)?;
        }
        link::remember(write, DELETED, &written(&(pace.deleted() + n_deleted(&changed))))?;
        Ok((changed, held))
    };
    let (became, held) = write(session, job).await?.unwrap_or_default();
    let mut pace = session.pace();
    pace.deleted_aside(n_deleted(&became));
    if !held.ids.is_empty() {
        pace.hold(u64::try_from(held.ids.len()).unwrap_or(u64::MAX), held.of);
    }
    drop(pace);
    session.tell(&became);
    Ok((became, held))
}

/// Forgets all positions: the database was put back to an older state.
pub(super) async fn begin_anew(session: &Session) -> Result<(), StoreError> {
    write(session, pull::begin_anew).await.map(|_| ())
}

/// Runs a job on the store; nothing is done, and `None` given, where the store has been linked to
/// something else meanwhile.
pub(super) async fn write<T: Send + 'static>(
    session: &Session,
    mut job: impl FnMut(&mut Write<'_>) -> Result<T, StoreError> + Send + 'static,
) -> Result<Option<T>, StoreError> {
    let sent_to = session.link.clone();
    let guarded = move |write: &mut Write<'_>| {
        if !write.link().is_some_and(|link| is_same(link, &sent_to)) {
            return Ok(None);
        }
        job(write).map(Some)
    };
    session.store.write(guarded).await
}

/// Whether two links are one, however often it was paused since.
pub(super) fn is_same(one: &Link, other: &Link) -> bool {
    Link { is_paused: other.is_paused, ..one.clone() } == *other
}
