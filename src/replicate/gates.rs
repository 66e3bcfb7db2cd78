//! The gates, the chance and the log's memory behind one lock, shared by the passes of a step.

use super::announce::Announcer;
use super::breaker::{Admission, Breaker, Breakers, is_own_budget};
use super::progress::SyncState;
use super::session::ConnectError;
use super::transition::{Move, Outcome, transition};
use crate::clock::Micros;
use crate::remote::error::{Disposition, Product, RemoteError};
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) struct Gates {
    inner: Mutex<Inner>,
}

struct Inner {
    breakers: Breakers,
    rng: ChaCha8Rng,
    announcer: Announcer,
    /// Why nothing is sent at all: the database is another one than this device knows.
    foreign: Option<String>,
}

impl Gates {
    pub(super) fn new(seed: u64) -> Self {
        let inner = Inner {
            breakers: Breakers::default(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            announcer: Announcer::default(),
            foreign: None,
        };
        Self { inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere leaves counters here at worst one too low.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes on from what an earlier run has left.
    pub(super) fn restore(&self, breakers: Breakers, foreign: Option<String>) {
        let mut inner = self.lock();
        inner.breakers = breakers;
        inner.foreign = foreign;
    }

    pub(super) fn breakers(&self) -> Breakers {
        self.lock().breakers.clone()
    }

    pub(super) fn admission(&self, product: Product, now: Micros) -> Admission {
        self.lock().breakers.of(product).admission(now)
    }

    pub(super) fn succeeded(&self, product: Product, now: Micros) {
        let mut inner = self.lock();
        inner.breakers.of_mut(product).succeeded(now);
        inner.announcer.succeeded(product);
    }

    /// Records a failed request and decides about the duties that it carried.
    pub(super) fn failed(&self, error: &RemoteError, attempts: u32, now: Micros) -> Move {
        let mut inner = self.lock();
        let Inner { breakers, rng, announcer, .. } = &mut *inner;
        if error.disposition == Disposition::Park {
            breakers.of_mut(error.product).answered();
            announcer.succeeded(error.product);
        } else if !is_own_budget(error) {
            breakers.failed(error, now, rng);
            let state = breakers.of(error.product).trouble();
            announcer.failed(state.unwrap_or(SyncState::BackingOff), error, now);
        }
        transition(attempts, Outcome::Refused(error), now, rng)
    }

    /// Decides about one duty whose request did not fail.
    pub(super) fn outcome(&self, outcome: Outcome<'_>, attempts: u32, now: Micros) -> Move {
        transition(attempts, outcome, now, &mut self.lock().rng)
    }

    pub(super) fn probe_at(&self, now: Micros) {
        self.lock().breakers.probe_at(now);
    }

    /// There is a client again; `reload` tells whether a person has seen to the account.
    pub(super) fn connected(&self, reload: bool) {
        let mut inner = self.lock();
        if reload {
            inner.breakers.reload();
        }
        inner.announcer.connected();
    }

    /// There is no client.
    pub(super) fn unconnected(&self, error: &ConnectError, now: Micros) {
        self.lock().announcer.unconnected(error, now);
    }

    /// Stops everything: the database is not the one that this device knows.
    pub(super) fn stop(&self, why: &str) {
        tracing::error!(why, "nothing is sent any more");
        self.lock().foreign = Some(why.to_owned());
    }

    pub(super) fn foreign(&self) -> Option<String> {
        self.lock().foreign.clone()
    }
}

/// What a person must do about the gate of a product.
pub(super) fn action(breaker: &Breaker) -> Option<(String, String)> {
    breaker.action().map(|(what, step)| (what.to_owned(), step.to_owned()))
}
