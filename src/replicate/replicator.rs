//! The owner of replication: one bounded step, and the loop around it.

use super::breaker::PROBE_EVERY;
use super::contact;
use super::gates::Gates;
use super::handle::{Due, ReplicatorHandle, Shared, connect_action, progress};
use super::progress::SyncState;
use super::pull;
use super::push::{bodies, rows, vectors};
use super::record::{self, Tally, is_same};
use super::session::{Connect, ConnectError, News, Remembered, Session};
use super::upkeep;
use crate::clock::{Micros, SharedClock};
use crate::shutdown::{Phase, Shutdown};
use crate::store::enrolment;
use crate::store::error::StoreError;
use crate::store::link::{self, Link, LinkMode};
use crate::store::outbox::{self, Product};
use crate::store::{self, Read, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// The longest time without a look at the outbox: a hint may be lost, the table is the truth.
const LOOK_EVERY: Duration = Duration::from_mins(5);
/// The shortest time between two steps of which the first moved nothing.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest wait of a device that reads the feed: a machine that slept notices soon that it is late.
const WAKE_EVERY: Duration = Duration::from_secs(30);
/// The wait after the store failed.
const STORE_PAUSE: Duration = Duration::from_secs(5);

/// No duty is put off for longer: Retry-After counts up to an hour.
const DEFER_MAX: Duration = Duration::from_mins(61);

/// What one step did, and when the next one makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Step {
    /// What became of duties.
    pub tally: Tally,
    /// When to look again without being told; now if anything moved. `None` if nothing is owed.
    pub next_at: Option<Micros>,
}

/// Owns replication. There is one for a store.
pub struct Replicator {
    shared: Arc<Shared>,
    connect: Connect,
    gates: Arc<Gates>,
    is_held_up: AtomicBool,
    listener: Option<Box<dyn Listener>>,
    keep_for: Option<Duration>,
}

/// Hears what happens to the memories here.
pub trait Listener: Send + Sync {
    /// Others changed these memories.
    fn changed(&self, news: &[News]);

    /// The store took the writes of a step, or refused one.
    fn stored(&self, error: Option<&StoreError>);
}

impl Replicator {
    /// A replicator of what `store` owes. `connect` makes the client for a link, `seed` its chance, and
    /// `hint` is rung by whoever writes to the outbox.
    pub fn new(
        store: Store,
        connect: Connect,
        clock: SharedClock,
        seed: u64,
        hint: Arc<Notify>,
    ) -> Self {
        let shared = Arc::new(Shared::new(store, clock, hint));
        let is_held_up = AtomicBool::new(false);
        Self {
            shared,
            connect,
            gates: Arc::new(Gates::new(seed)),
            is_held_up,
            listener: None,
            keep_for: None,
        }
    }

    /// The same, and the bodies of memories that were deleted longer ago than this are removed from the
    /// bucket; without it they are kept for ever.
    #[must_use]
    pub fn keeping_bodies_for(mut self, keep_for: Option<Duration>) -> Self {
        self.keep_for = keep_for;
        self
    }

    /// Tells `listener` what happens to memories here.
    #[must_use]
    pub fn heard_by(mut self, listener: impl Listener + 'static) -> Self {
        self.listener = Some(Box::new(listener));
        self
    }

    /// A handle to it.
    pub fn handle(&self) -> ReplicatorHandle {
        ReplicatorHandle { shared: Arc::clone(&self.shared) }
    }

    /// Runs until draining begins; a request under way is dropped then, as everything is still owed.
    pub async fn run(self, shutdown: Shutdown) {
        self.run_until_draining(shutdown).await;
        self.keep_counts().await;
    }

    async fn run_until_draining(&self, shutdown: Shutdown) {
        loop {
            let hinted = self.shared.hint.notified();
            let wait = tokio::select! {
                biased;
                () = shutdown.reached(Phase::Draining) => return,
                step = self.step() => match self.wait_after(step) {
                    Some(wait) => wait,
                    None => return,
                },
            };
            if wait.is_zero() {
                continue;
            }
            tokio::select! {
                biased;
                () = shutdown.reached(Phase::Draining) => return,
                () = hinted => {}
                () = self.shared.clock.sleep(wait) => {}
            }
        }
    }

    /// Writes down what was counted since the last outcome: a request that was dropped was sent all the
    /// same.
    async fn keep_counts(&self) {
        let Some(session) = self.shared.session() else { return };
        let kept = record::commit(&session, Vec::new(), None, &mut Tally::default()).await;
        if let Err(error) = kept {
            tracing::warn!(%error, "the last requests are not counted after the next start");
        }
    }

    /// How long to wait after a step; `None` if the store is gone.
    fn wait_after(&self, step: Result<Step, StoreError>) -> Option<Duration> {
        let now = self.shared.clock.now();
        if let Some(listener) = &self.listener {
            match &step {
                Ok(step) if step.tally.has_moved() => listener.stored(None),
                Ok(_) => {}
                Err(error) => listener.stored(Some(error)),
            }
        }
        match step {
            Ok(step) => {
                if self.is_held_up.swap(false, Ordering::Relaxed) {
                    tracing::info!("the replicator can read the store again");
                }
                let is_reading = self.shared.is_reading();
                let most = if is_reading { WAKE_EVERY } else { LOOK_EVERY };
                let wait = step.next_at.map_or(most, |at| at.since(now).min(most));
                let moved = step.tally.has_moved();
                Some(if moved { Duration::ZERO } else { wait.max(PAUSE) })
            }
            Err(StoreError::Closed) => None,
            Err(error) => {
                if !self.is_held_up.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "the replicator is held up by the store");
                }
                Some(STORE_PAUSE)
            }
        }
    }

    /// One bounded pass over the three products.
    ///
    /// # Errors
    /// The store refused; what was sent and not recorded is still owed and found again.
    pub async fn step(&self) -> Result<Step, StoreError> {
        let shared = &self.shared;
        let asked = shared.take_asked();
        let Some(link) = shared.store.read(link::get).await? else {
            shared.set_session(None);
            self.rest(SyncState::Unlinked, None, None, asked.ticket).await?;
            return Ok(Step::default());
        };
        self.enrol().await?;
        if link.is_paused {
            self.rest(SyncState::Paused, None, None, asked.ticket).await?;
            return Ok(Step::default());
        }
        let session = match self.session(link, asked.reload).await? {
            Ok(session) => session,
            Err(error) => {
                let next_at = Some(shared.clock.now().plus(PROBE_EVERY));
                let action = Some(connect_action(&error));
                self.rest(error.state, action, next_at, asked.ticket).await?;
                return Ok(Step { next_at, ..Step::default() });
            }
        };
        if asked.hasten {
            self.gates.probe_at(shared.clock.now());
            session.pace().hasten();
            shared.store.write(outbox::hasten).await?;
        }
        if asked.accept_deletions {
            session.pace().accept_deletions();
        }
        let (due, cursor) = self.next_due(&session, shared.clock.now()).await?;
        shared.publish_meanwhile(progress(&session, due, cursor, shared.clock.now()));
        let tally = self.passes(&session).await;
        if let Some(listener) = &self.listener {
            let news = session.take_news();
            if !news.is_empty() {
                listener.changed(&news);
            }
        }
        let mut tally = tally?;
        let upkeep = upkeep::pass(&session, self.keep_for).await?;
        tally.repaired += usize::try_from(upkeep.n_owed).unwrap_or(usize::MAX);
        let now = shared.clock.now();
        let (mut due, cursor) = self.next_due(&session, now).await?;
        if session.gates.foreign().is_some() {
            due = Due::default();
        } else if tally.has_moved() {
            // Where there was something there may be more: the next pass looks.
            due.d1 = Some(now);
        }
        self.watch_backfill(&session, now).await?;
        let progress = progress(&session, due, cursor, now);
        let pull_at = progress.pull.next_at.filter(|_| due.pull.is_some());
        let look_at = contact::awaited_at(&session, now);
        let next_at = [progress.next_attempt_at(), pull_at, upkeep.next_at, look_at];
        let next_at = next_at.into_iter().flatten().min();
        shared.publish(progress, asked.ticket);
        Ok(Step { tally, next_at })
    }

    /// Makes duties of the memories that were here before the link, before anything is compared or sent.
    async fn enrol(&self) -> Result<(), StoreError> {
        let store = &self.shared.store;
        let mut goes_on = store.read(enrolment::goes_on).await?;
        while goes_on {
            goes_on = store.write(enrolment::enrol).await?;
        }
        Ok(())
    }

    /// Notes how much of the backfill is left.
    async fn watch_backfill(&self, session: &Session, now: Micros) -> Result<(), StoreError> {
        let n_up = self.shared.store.read(store::survey::n_backfill).await?;
        let pace = session.pace().clone();
        let (is_read, n_down) = (pace.was_ever_caught_up(), pace.behind());
        let mut backfill = session.backfill();
        backfill.0.saw(n_up, now);
        match n_down {
            _ if session.link.mode == LinkMode::Shadow => {}
            _ if is_read => backfill.1.end(now),
            Some(n_down) => backfill.1.saw(n_down, now),
            None => {}
        }
        Ok(())
    }

    /// Tells that nothing is sent and why, with what is known all the same.
    async fn rest(
        &self,
        state: SyncState,
        action: Option<(String, String)>,
        next_at: Option<Micros>,
        ticket: u64,
    ) -> Result<(), StoreError> {
        let (shared, now) = (&self.shared, self.shared.clock.now());
        let remembered =
            |read: &Read<'_>| Ok((Remembered::load(read)?, store::pull::cursor(read)?));
        let (remembered, cursor) = shared.store.read(remembered).await?;
        let cursor = cursor.unwrap_or(0);
        let known = match shared.session() {
            Some(session) => progress(&session, Due::default(), cursor, now),
            None => remembered.progress(cursor, now),
        };
        shared.publish_still(known, state, action, next_at, ticket);
        Ok(())
    }

    /// When duties fall due. What seems to be due too late was written under a clock that was set back
    /// since, and is due now.
    async fn next_due(&self, session: &Session, now: Micros) -> Result<(Due, i64), StoreError> {
        let (mut due, mut cursor) = self.shared.store.read(next_due).await?;
        let is_stranded = |at: Micros| at.since(now) > DEFER_MAX;
        if [due.r2, due.d1, due.vectorize].into_iter().flatten().any(is_stranded) {
            tracing::warn!("the clock was set back: deferred duties are due at once");
            self.shared.store.write(outbox::hasten).await?;
            (due, cursor) = self.shared.store.read(next_due).await?;
        }
        if session.link.mode == LinkMode::Dual {
            due.pull = session.pace().next_at();
        }
        if let Some(at) = contact::awaited_at(session, now) {
            // The backfill waits for a look at what is there; live changes don't.
            let live = self.shared.store.read(next_live).await?;
            for (due, live) in [
                (&mut due.r2, live.r2),
                (&mut due.d1, live.d1),
                (&mut due.vectorize, live.vectorize),
            ] {
                *due = due.map(|due| live.unwrap_or(at).min(due.max(at)));
            }
        }
        Ok((due, cursor))
    }

    /// What others wrote, then what is owed. The products fail independently, so none waits for another's
    /// deadline.
    async fn passes(&self, session: &Session) -> Result<Tally, StoreError> {
        let mut tally = Tally::default();
        if session.gates.foreign().is_some() {
            return Ok(tally);
        }
        if session.link.mode == LinkMode::Dual {
            tally = pull::pass(session).await?;
            if tally.pulled > 0 && !session.pace().was_ever_caught_up() {
                // Much of what is owed may turn out to be there already.
                return Ok(tally);
            }
            if session.gates.foreign().is_some() {
                return Ok(tally);
            }
            let now = session.now();
            if session.pace().takes_retry(now) {
                tally.add(pull::retry_quarantined(session).await?);
            }
        }
        let looked = contact::pass(session).await?;
        tally.add(looked);
        if session.gates.foreign().is_some() {
            return Ok(tally);
        }
        let passes =
            tokio::join!(bodies::pass(session), rows::pass(session), vectors::pass(session));
        for pass in [passes.0, passes.1, passes.2] {
            let pass = pass?;
            if pass.settled > 0 {
                session.pace().stir(session.now());
            }
            tally.add(pass);
        }
        Ok(tally)
    }

    /// The session for `link`: the present one, unless the link is another or a new one is asked for.
    async fn session(
        &self,
        link: Link,
        reload: bool,
    ) -> Result<Result<Arc<Session>, ConnectError>, StoreError> {
        let present = self.shared.session();
        if let Some(session) = present.as_ref().filter(|session| is_same(&session.link, &link))
            && !reload
        {
            return Ok(Ok(Arc::clone(session)));
        }
        let mut remembered = self.shared.store.read(Remembered::load).await?;
        if let Some(session) = present {
            remembered.continue_budget(&session.remote, &link);
        }
        let store = self.shared.store.clone();
        let opened = Session::open(store, link, &self.connect, Arc::clone(&self.gates), remembered);
        match &opened {
            Ok(_) => self.gates.connected(reload),
            Err(error) => self.gates.unconnected(error, self.shared.clock.now()),
        }
        let opened = opened.map(Arc::new);
        self.shared.set_session(opened.as_ref().ok().cloned());
        Ok(opened)
    }
}

fn next_live(read: &Read<'_>) -> Result<Due, StoreError> {
    Ok(Due {
        r2: outbox::next_due_in_lane(read, Product::R2, false)?,
        d1: outbox::next_due_in_lane(read, Product::D1, false)?,
        vectorize: outbox::next_due_in_lane(read, Product::Vectorize, false)?,
        pull: None,
    })
}

fn next_due(read: &Read<'_>) -> Result<(Due, i64), StoreError> {
    let due = Due {
        r2: outbox::next_due_at(read, Product::R2)?,
        d1: outbox::next_due_at(read, Product::D1)?,
        vectorize: outbox::next_due_at(read, Product::Vectorize)?,
        pull: None,
    };
    Ok((due, store::pull::cursor(read)?.unwrap_or(0)))
}
