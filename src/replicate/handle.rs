//! The side of the replicator that others hold: what it is doing, and what they may ask of it.

use super::breaker::{Admission, Breakers};
use super::gates::action;
use super::plan::{self, Waits};
use super::progress::{ProductProgress, Progress, PullProgress, SyncState};
use super::session::{ConnectError, Session};
use super::verify::report::Report;
use super::verify::{self, Scope, VerifyError};
use crate::clock::{Micros, SharedClock};
use crate::remote::budget::REQUESTS;
use crate::remote::error::Product as Remote;
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::link::LinkMode;
use crate::store::outbox::{self, Counts};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// What the loop and its handles share.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) clock: SharedClock,
    pub(super) hint: Arc<Notify>,
    published: watch::Sender<Published>,
    asked: Mutex<Asked>,
    session: Mutex<Option<Arc<Session>>>,
}

#[derive(Clone, Default)]
struct Published {
    progress: Progress,
    /// The last request of a person that a finished pass has seen.
    served: u64,
}

/// What people asked for since the last pass.
#[derive(Clone, Copy, Default)]
pub(super) struct Asked {
    /// Number of the last request.
    pub(super) ticket: u64,
    /// Deferred duties shall be tried at once.
    pub(super) hasten: bool,
    /// The token or the link has changed.
    pub(super) reload: bool,
    /// The deletions that are held back shall be carried out.
    pub(super) accept_deletions: bool,
}

/// When something is due, by product.
#[derive(Clone, Copy, Default)]
pub(super) struct Due {
    pub(super) r2: Option<Micros>,
    pub(super) d1: Option<Micros>,
    pub(super) vectorize: Option<Micros>,
    pub(super) pull: Option<Micros>,
}

impl Shared {
    pub(super) fn new(store: Store, clock: SharedClock, hint: Arc<Notify>) -> Self {
        let progress = Progress { requests_limit: limit(), ..Progress::default() };
        let published = watch::Sender::new(Published { progress, served: 0 });
        let (asked, session) = (Mutex::default(), Mutex::default());
        Self { store, clock, hint, published, asked, session }
    }

    pub(super) fn session(&self) -> Option<Arc<Session>> {
        lock(&self.session).clone()
    }

    pub(super) fn set_session(&self, session: Option<Arc<Session>>) {
        *lock(&self.session) = session;
    }

    /// Whether the linked device also reads what others write.
    pub(super) fn is_reading(&self) -> bool {
        self.session().is_some_and(|session| session.link.mode == LinkMode::Dual)
    }

    /// Takes what was asked for; the ticket stays.
    pub(super) fn take_asked(&self) -> Asked {
        let mut asked = lock(&self.asked);
        let taken = *asked;
        *asked = Asked { ticket: taken.ticket, ..Asked::default() };
        taken
    }

    fn ask(&self, change: impl FnOnce(&mut Asked)) -> u64 {
        let ticket = {
            let mut asked = lock(&self.asked);
            asked.ticket += 1;
            change(&mut asked);
            asked.ticket
        };
        self.hint.notify_one();
        ticket
    }

    pub(super) fn publish(&self, progress: Progress, served: u64) {
        self.published.send_replace(Published { progress, served });
    }

    /// Publishes what a pass that has just begun is about to do: nobody's request is served by it yet.
    pub(super) fn publish_meanwhile(&self, progress: Progress) {
        self.published.send_modify(|published| published.progress = progress);
    }

    /// Publishes that nothing is sent, why, what is known all the same, and when it is tried again.
    pub(super) fn publish_still(
        &self,
        known: Progress,
        state: SyncState,
        action: Option<(String, String)>,
        next_at: Option<Micros>,
        served: u64,
    ) {
        let action = action.or_else(|| held_action(&known));
        let progress = Progress { action, ..known.in_state(state, next_at) };
        self.publish(progress, served);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn limit() -> u64 {
    REQUESTS as u64
}

/// Describes a linked replicator at `now`.
pub(super) fn progress(session: &Session, due: Due, cursor: i64, now: Micros) -> Progress {
    let breakers = session.gates.breakers();
    let waits = session.waits();
    // Reading is always owed; it is mentioned where something keeps it from being done.
    let is_in_trouble = breakers.of(Remote::D1).trouble().is_some();
    let reading = due.pull.filter(|_| is_in_trouble);
    let rows = [due.d1, reading].into_iter().flatten().min();
    let by_ai = due.vectorize.filter(|_| !session.link.is_local_space);
    let vector_gates: &[Remote] =
        if by_ai.is_some() { &[Remote::Vectorize, Remote::Ai] } else { &[Remote::Vectorize] };
    let of = |product, due, gates: &[Remote]| {
        product_progress(&breakers, product, due, gates, waits, now)
    };
    let mut progress = Progress {
        r2: of(Remote::R2, due.r2, &[Remote::R2]),
        d1: of(Remote::D1, rows, &[Remote::D1]),
        vectorize: of(Remote::Vectorize, due.vectorize, vector_gates),
        ai: of(Remote::Ai, by_ai, &[Remote::Vectorize, Remote::Ai]),
        requests_limit: limit(),
        ..Progress::default()
    };
    let held = |products: &[Remote]| {
        let shut = products.iter().filter_map(|one| match breakers.of(*one).admission(now) {
            Admission::Shut { until } => {
                Some((until, breakers.of(*one).trouble() == Some(SyncState::Quota)))
            }
            _ => None,
        });
        shut.max_by_key(|(until, _)| *until)
    };
    let up_by: &[Remote] = if session.link.is_local_space {
        &[Remote::D1, Remote::Vectorize, Remote::R2]
    } else {
        &[Remote::D1, Remote::Vectorize, Remote::R2, Remote::Ai]
    };
    {
        let backfill = session.backfill();
        progress.up = backfill.0.course(now, held(up_by));
        progress.down = backfill.1.course(now, held(&[Remote::D1]));
    }
    progress.pull = pull_progress(session, due.pull, cursor, now);
    progress.state = most_important(&progress);
    let actions = Breakers::PRODUCTS.into_iter().filter_map(|one| action(breakers.of(one)));
    progress.action = actions.into_iter().next().or_else(|| held_action(&progress));
    if let Some(why) = session.gates.foreign() {
        progress.state = SyncState::Misconfigured;
        progress.d1.state = SyncState::Misconfigured;
        progress.d1.last_error = Some(why.clone());
        let step = "nothing was sent since; look at the database in the dashboard, then run \
                    `memtide cloud link --adopt` to go on with it as it is";
        progress.action = Some((why, step.to_owned()));
    }
    count(&mut progress, session);
    progress
}

fn pull_progress(session: &Session, due: Option<Micros>, cursor: i64, now: Micros) -> PullProgress {
    if session.link.mode == LinkMode::Shadow {
        return PullProgress::default();
    }
    let gate = session.gates.admission(Remote::D1, now);
    let pace = session.pace();
    PullProgress {
        cursor,
        last_success_at: pace.caught_up_at(),
        behind: pace.behind(),
        is_polling: session.polling().is_needed(),
        is_owed: !pace.is_caught_up(),
        next_at: plan::next_attempt(due, &[gate], session.waits(), now),
        held: pace.held().map(|held| (held.deletions, held.of)),
        ahead: pace.ahead(),
    }
}

/// What a person is told of deletions that are held back, and what to do.
pub fn held_action(progress: &Progress) -> Option<(String, String)> {
    let (deletions, of) = progress.pull.held?;
    let what = format!(
        "the cloud would delete {deletions} of {of} memories: nothing is taken from it until you agree"
    );
    let step = "if that is right, run `memtide cloud sync --accept-deletions`; if not, put the \
                database back in the dashboard (D1, Time Travel)";
    Some((what, step.to_owned()))
}

/// Adds the numbers that change by themselves.
fn count(progress: &mut Progress, session: &Session) {
    let usage = session.remote.usage();
    progress.requests_limit = session.remote.requests_allowed() as u64;
    progress.requests_5min = session.remote.requests_in_window() as u64;
    progress.d1_rows_written_today = usage.rows_written;
    progress.d1_rows_read_today = usage.rows_read;
    progress.neurons_today = usage.neurons();
}

fn product_progress(
    breakers: &Breakers,
    product: Remote,
    due: Option<Micros>,
    gates: &[Remote],
    waits: Waits,
    now: Micros,
) -> ProductProgress {
    let breaker = breakers.of(product);
    let gates: Vec<_> = gates.iter().map(|gate| breakers.of(*gate).admission(now)).collect();
    let next_attempt_at = plan::next_attempt(due, &gates, waits, now);
    let is_fleeting = |state| matches!(state, SyncState::BackingOff | SyncState::Offline);
    let state = match (breaker.trouble(), next_attempt_at) {
        // What nobody is kept from isn't worth a mention.
        (Some(trouble), None) if is_fleeting(trouble) => SyncState::Idle,
        (Some(trouble), _) => trouble,
        (None, None) => SyncState::Idle,
        (None, Some(at)) if at <= now => SyncState::Syncing,
        (None, Some(_)) => SyncState::BackingOff,
    };
    ProductProgress {
        state,
        last_success_at: breaker.last_success_at(),
        last_error: breaker.last_error().map(str::to_owned),
        next_attempt_at,
    }
}

fn most_important(progress: &Progress) -> SyncState {
    let order = [
        SyncState::AuthRequired,
        SyncState::Misconfigured,
        SyncState::Quota,
        SyncState::Offline,
        SyncState::BackingOff,
        SyncState::Syncing,
    ];
    let has = |state: &SyncState| progress.products().into_iter().any(|one| one.state == *state);
    order.into_iter().find(has).unwrap_or(SyncState::Idle)
}

/// How a wait for an empty outbox ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Drained {
    /// Whether nothing is owed that could be sent, and everything of others is read. Parked and conflicting entries are no part of it:
    /// look at the counts.
    pub is_drained: bool,
    /// What the replicator was doing at the end: why it is blocked, and when it tries again.
    pub progress: Progress,
    /// What is still owed.
    pub counts: Counts,
}

/// A handle; clones reach the same replicator.
#[derive(Clone)]
pub struct ReplicatorHandle {
    pub(super) shared: Arc<Shared>,
}

impl ReplicatorHandle {
    /// What the replicator is doing.
    pub fn progress(&self) -> Progress {
        let mut progress = self.shared.published.borrow().progress.clone();
        if let Some(session) = self.shared.session() {
            count(&mut progress, &session);
        }
        progress
    }

    /// Completes when the replicator is doing something else than `seen`, and says what. Never, once the
    /// replicator is gone.
    pub async fn other_than(&self, seen: SyncState) -> SyncState {
        let mut published = self.shared.published.subscribe();
        let changed = published.wait_for(|now| now.progress.state != seen).await;
        let state = changed.ok().map(|now| now.progress.state);
        match state {
            Some(state) => state,
            None => std::future::pending().await,
        }
    }

    /// Completes when the replicator is in a state of which `is_so` holds, after this time in any case: it may be
    /// in the middle of a request.
    pub async fn until(&self, is_so: impl Fn(SyncState) -> bool + Send, within: Duration) {
        let mut published = self.shared.published.subscribe();
        tokio::select! {
            _ = published.wait_for(|now| is_so(now.progress.state)) => {}
            () = self.shared.clock.sleep(within) => {}
        }
    }

    /// Makes deferred duties due and has shut gates probed, now instead of at their time. A product
    /// that asked to be left alone for a while is left alone.
    pub fn sync_now(&self) {
        self.shared.ask(|asked| asked.hasten = true);
    }

    /// Carries out the deletions that are held back.
    pub fn accept_deletions(&self) {
        self.shared.ask(|asked| asked.accept_deletions = true);
    }

    /// Connects anew: the token or the link has changed.
    pub fn reload(&self) {
        self.shared.ask(|asked| {
            asked.reload = true;
            asked.hasten = true;
        });
    }

    /// Compares the store with what the cloud holds; puts back what is missing there if told to.
    ///
    /// # Errors
    /// Nothing is connected, a product is left alone for now, or a request failed.
    pub async fn verify(&self, repairs: bool) -> Result<Report, VerifyError> {
        let Some(session) = self.shared.session() else {
            let progress = self.progress();
            let state = progress.state.as_str();
            let (message, next_step) = progress.action.unwrap_or_else(|| {
                let message = format!("this device is not connected to the cloud ({state})");
                (message, "look at `memtide status`, then try again".to_owned())
            });
            return Err(VerifyError::NotConnected { message, next_step });
        };
        let report = verify::verify(&session, Scope::All, repairs).await?;
        if report.repaired() > 0 {
            self.shared.hint.notify_one();
        }
        Ok(report)
    }

    /// Asks for everything to be sent now, and waits until nothing is owed, until nothing can be sent
    /// before the time is over, or until it is over. Vectors that don't exist yet are waited for while
    /// `makes_vectors` says so.
    ///
    /// # Errors
    /// The store can't be read.
    pub async fn drained(
        &self,
        timeout: Duration,
        makes_vectors: impl Fn() -> bool + Send + Sync,
    ) -> Result<Drained, StoreError> {
        let shared = &self.shared;
        let deadline = shared.clock.now().plus(timeout);
        let mut published = shared.published.subscribe();
        let mut ticket = shared.ask(|asked| asked.hasten = true);
        let mut was_stuck = false;
        loop {
            let seen = published.borrow_and_update().clone();
            let counts = shared.store.read(outbox::counts).await?;
            let coming = counts.waiting_for_embedding.saturating_sub(counts.unembeddable);
            let unembedded = if makes_vectors() { coming } else { 0 };
            let owed = counts.pending.saturating_sub(counts.conflicts);
            let is_served = seen.served >= ticket;
            // While it is syncing, the pass that finds nothing left is still to come; where the database is not
            // asked, nobody has said that there is nothing.
            let is_asked = !matches!(
                seen.progress.d1.state,
                SyncState::Paused | SyncState::AuthRequired | SyncState::Misconfigured
            );
            let is_at_rest =
                !matches!(seen.progress.state, SyncState::Unlinked | SyncState::Syncing)
                    && is_asked;
            let is_unread = seen.progress.pull.is_owed;
            let is_drained = is_served && is_at_rest && owed + unembedded == 0 && !is_unread;
            let is_blocked = is_blocked(&seen.progress, owed > 0 || is_unread, deadline);
            let is_stuck = is_served && !is_drained && is_blocked;
            let now = shared.clock.now();
            if is_drained || (is_stuck && was_stuck) || now >= deadline {
                return Ok(Drained { is_drained, progress: self.progress(), counts });
            }
            if is_stuck {
                // What was owed just now may be younger than the pass: another one has to agree.
                ticket = shared.ask(|asked| asked.hasten = true);
                was_stuck = true;
            }
            tokio::select! {
                _ = published.changed() => {}
                () = shared.clock.sleep(deadline.since(now)) => {}
            }
        }
    }
}

/// Whether nothing will be sent before `deadline` unless a person does something.
fn is_blocked(progress: &Progress, is_owed: bool, deadline: Micros) -> bool {
    let waits_for_a_person = progress.action.is_some()
        || matches!(progress.state, SyncState::Unlinked | SyncState::Paused);
    let is_too_late = is_owed && progress.next_attempt_at().is_none_or(|at| at > deadline);
    waits_for_a_person || is_too_late
}

/// The action for a link that can't be used.
pub(super) fn connect_action(error: &ConnectError) -> (String, String) {
    (error.message.clone(), error.next_step.clone())
}
