//! The gate before each product: open, or shut for a stated reason until a stated instant.
//!
//! Failures of the network or the service count, and five in a row shut the gate for half a minute,
//! then a minute, up to a quarter of an hour. A refused token, a missing resource, a used-up plan and a
//! throttle shut it at once. After the instant one small probe goes through; its outcome opens the gate
//! or shuts it again. All of it is a value: time and chance come in, and it is written to the store, so
//! that a restart neither forgets nor hammers.

use super::progress::SyncState;
use crate::backoff::Policy;
use crate::clock::Micros;
use crate::mutant::{self, Mutant};
use crate::remote::classify::RETRY_AFTER_CAP;
use crate::remote::error::{Disposition, Pause, Product, RemoteError};
use rand::{Rng, RngExt as _};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Failures in a row that shut the gate.
pub const FAILURES: u32 = 5;
/// How long it stays shut: doubling, with up to half of it on top, at most the cap.
pub const OPENING: Policy = Policy { base: Duration::from_secs(30), cap: Duration::from_mins(15) };
/// How often a product that needs a person is probed.
pub const PROBE_EVERY: Duration = Duration::from_mins(5);
/// Waits after a throttled answer that names no time.
const THROTTLED: Policy = Policy { base: Duration::from_secs(1), cap: Duration::from_mins(1) };
/// The shortest such wait.
const THROTTLED_FLOOR: Duration = Duration::from_secs(1);
/// Spreads the devices of an account after a plan's limit is renewed.
const QUOTA_SPREAD: Duration = Duration::from_mins(1);

/// Why requests failed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Cause {
    Failing,
    Offline,
    Throttled,
    Quota,
    AuthRequired,
    Misconfigured,
}

impl Cause {
    fn state(self) -> SyncState {
        match self {
            Self::Failing | Self::Throttled => SyncState::BackingOff,
            Self::Offline => SyncState::Offline,
            Self::Quota => SyncState::Quota,
            Self::AuthRequired => SyncState::AuthRequired,
            Self::Misconfigured => SyncState::Misconfigured,
        }
    }

    fn needs_a_person(self) -> bool {
        matches!(self, Self::AuthRequired | Self::Misconfigured)
    }
}

/// Whether a request may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// As many as there are.
    Open,
    /// One small one.
    Probe,
    /// None before this instant.
    Shut {
        /// When the next probe may go.
        until: Micros,
    },
}

/// No gate is shut for longer: a quota comes back at midnight, UTC, with some jitter.
const SHUT_MAX: Duration = Duration::from_hours(25);

/// The gate before one product. Instants are microseconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Breaker {
    cause: Option<Cause>,
    until: Option<i64>,
    /// Until when an answer has asked for silence. Nothing shortens it: not a request that was on its way
    /// and succeeded, not another failure, no person.
    quiet_until: Option<i64>,
    failures: u32,
    openings: u32,
    last_success_at: Option<i64>,
    last_error: Option<String>,
    hint: Option<String>,
}

impl Breaker {
    /// Whether a request may go at `now`.
    pub fn admission(&self, now: Micros) -> Admission {
        if mutant::is(Mutant::RetryAfterIgnored) {
            return Admission::Open;
        }
        // What lies further ahead was written under a clock that was set back since.
        let ahead = |until: Option<i64>, most: Duration| {
            until.filter(|until| *until > now.0 && *until <= now.plus(most).0)
        };
        let shut = ahead(self.until, SHUT_MAX).max(ahead(self.quiet_until, RETRY_AFTER_CAP));
        let shut = shut.filter(|_| !mutant::is(Mutant::RetryAfterIgnored));
        match (shut, self.until) {
            (Some(until), _) => Admission::Shut { until: Micros(until) },
            (None, Some(_)) => Admission::Probe,
            (None, None) => Admission::Open,
        }
    }

    /// What stands in the way, if anything does.
    pub fn trouble(&self) -> Option<SyncState> {
        self.cause.map(Cause::state)
    }

    /// Failures in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// When the product last did what it was asked.
    pub fn last_success_at(&self) -> Option<Micros> {
        self.last_success_at.map(Micros)
    }

    /// What the last failure was; `None` after a success.
    pub fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// What a person can do about the last failure, and whether one must.
    pub fn action(&self) -> Option<(&str, &str)> {
        self.cause.filter(|cause| cause.needs_a_person())?;
        Some((self.last_error.as_deref()?, self.hint.as_deref()?))
    }

    /// Records that the product did what it was asked.
    pub fn succeeded(&mut self, now: Micros) {
        self.answered();
        self.last_success_at = Some(now.0);
    }

    /// Records that the product answered, and refused an entry: it is there, so the gate opens.
    pub fn answered(&mut self) {
        let Self { quiet_until, last_success_at, .. } = *self;
        *self = Self { quiet_until, last_success_at, ..Self::default() };
    }

    /// Records a failure that is not one entry's own.
    pub fn failed(&mut self, error: &RemoteError, now: Micros, rng: &mut impl Rng) {
        self.failures = self.failures.saturating_add(1);
        self.last_error = Some(error.to_string());
        self.hint = Some(error.hint.to_string());
        let was_shut = self.until.is_some();
        let (cause, wait) = match error.disposition {
            Disposition::Retry | Disposition::Park => {
                let cause = if error.is_offline { Cause::Offline } else { Cause::Failing };
                let shuts = was_shut || self.failures >= FAILURES;
                (cause, shuts.then(|| self.next_opening(rng)))
            }
            Disposition::RetryAfter(after) => (Cause::Throttled, Some(after)),
            Disposition::Pause(Pause::Throttled { after, .. }) => {
                let own = || THROTTLED_FLOOR + THROTTLED.delay(self.failures, rng);
                (Cause::Throttled, Some(after.unwrap_or_else(own)))
            }
            Disposition::Pause(Pause::Quota { until }) => {
                let spread = QUOTA_SPREAD.mul_f64(rng.random::<f64>());
                (Cause::Quota, Some(until.since(now) + spread))
            }
            Disposition::Pause(Pause::Auth) => (Cause::AuthRequired, Some(PROBE_EVERY)),
            Disposition::Pause(Pause::Misconfigured) => (Cause::Misconfigured, Some(PROBE_EVERY)),
        };
        self.cause = Some(cause);
        self.until = wait.map(|wait| now.plus(wait).0);
        if cause == Cause::Throttled {
            self.quiet_until = self.quiet_until.max(self.until);
        }
    }

    fn next_opening(&mut self, rng: &mut impl Rng) -> Duration {
        self.openings = self.openings.saturating_add(1);
        let longer = 1.0 + rng.random::<f64>() / 2.0;
        OPENING.ceiling(self.openings).mul_f64(longer).min(OPENING.cap)
    }

    /// Shuts the gate because another product's answer spoke for the whole account.
    fn hold(&mut self, until: i64) {
        self.until = self.until.max(Some(until));
        self.quiet_until = self.quiet_until.max(Some(until));
        self.cause.get_or_insert(Cause::Throttled);
    }

    /// Lets one probe through at once; only a throttled product is left alone until it said.
    pub fn probe_at(&mut self, now: Micros) {
        if self.until.is_some() && self.cause != Some(Cause::Throttled) {
            self.until = Some(now.0);
        }
    }

    /// Opens a gate that a person has seen to: another token, another link.
    pub fn reload(&mut self) {
        if self.cause.is_some_and(Cause::needs_a_person) {
            self.answered();
        }
    }
}

/// The four gates.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Breakers {
    d1: Breaker,
    vectorize: Breaker,
    r2: Breaker,
    ai: Breaker,
}

impl Breakers {
    /// The products that have a gate.
    pub const PRODUCTS: [Product; 4] = [Product::R2, Product::D1, Product::Vectorize, Product::Ai];

    /// The gate of `product`; the account's own requests go through the database's.
    pub fn of(&self, product: Product) -> &Breaker {
        match product {
            Product::D1 | Product::Account => &self.d1,
            Product::Vectorize => &self.vectorize,
            Product::R2 => &self.r2,
            Product::Ai => &self.ai,
        }
    }

    /// The gate of `product`, to be changed.
    pub fn of_mut(&mut self, product: Product) -> &mut Breaker {
        match product {
            Product::D1 | Product::Account => &mut self.d1,
            Product::Vectorize => &mut self.vectorize,
            Product::R2 => &mut self.r2,
            Product::Ai => &mut self.ai,
        }
    }

    /// Records a failure at its product's gate; a throttle of the account shuts all of them.
    pub fn failed(&mut self, error: &RemoteError, now: Micros, rng: &mut impl Rng) {
        self.of_mut(error.product).failed(error, now, rng);
        let every_product = matches!(
            error.disposition,
            Disposition::Pause(Pause::Throttled { every_product: true, .. })
        );
        if let Some(until) = self.of(error.product).quiet_until.filter(|_| every_product) {
            for product in Self::PRODUCTS {
                self.of_mut(product).hold(until);
            }
        }
    }

    /// Lets one probe through each gate at once.
    pub fn probe_at(&mut self, now: Micros) {
        for product in Self::PRODUCTS {
            self.of_mut(product).probe_at(now);
        }
    }

    /// Opens the gates that a person has seen to.
    pub fn reload(&mut self) {
        for product in Self::PRODUCTS {
            self.of_mut(product).reload();
        }
    }
}

/// Whether memtide refused the request itself because its own budget is used up: no product failed.
pub fn is_own_budget(error: &RemoteError) -> bool {
    error.status.is_none()
        && matches!(error.disposition, Disposition::Pause(Pause::Throttled { .. }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    const NOW: Micros = Micros(1_700_000_000_000_000);

    fn error(disposition: Disposition) -> RemoteError {
        RemoteError::local(Product::D1, disposition, "it failed", "do this")
    }

    fn rng() -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(7)
    }

    fn wait(breaker: &Breaker, now: Micros) -> Duration {
        match breaker.admission(now) {
            Admission::Shut { until } => until.since(now),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn five_failures_shut_the_gate_and_each_failed_probe_for_longer() {
        let (mut breaker, mut rng) = (Breaker::default(), rng());
        for n in 1..FAILURES {
            breaker.failed(&error(Disposition::Retry), NOW, &mut rng);
            assert_eq!((breaker.admission(NOW), breaker.failures()), (Admission::Open, n));
            assert_eq!(breaker.trouble(), Some(SyncState::BackingOff));
        }
        let mut now = NOW;
        let mut waits = Vec::new();
        for _ in 0..8 {
            breaker.failed(&error(Disposition::Retry), now, &mut rng);
            let wait = wait(&breaker, now);
            waits.push(wait);
            now = now.plus(wait);
            assert_eq!(breaker.admission(now), Admission::Probe);
        }
        for (n, wait) in waits.iter().enumerate() {
            let floor = OPENING.ceiling(u32::try_from(n).unwrap() + 1);
            assert!(*wait >= floor && *wait <= (floor * 3 / 2).min(OPENING.cap), "{n}: {wait:?}");
        }
        assert_eq!(waits[7], OPENING.cap);
        breaker.succeeded(now);
        assert_eq!((breaker.admission(now), breaker.trouble()), (Admission::Open, None));
        breaker.failed(&error(Disposition::Retry), now, &mut rng);
        assert_eq!(breaker.admission(now), Admission::Open, "it counts from the start again");
    }

    #[test]
    fn jitter_comes_from_the_seed() {
        let opened = |seed| {
            let (mut breaker, mut rng) = (Breaker::default(), ChaCha8Rng::seed_from_u64(seed));
            for _ in 0..FAILURES {
                breaker.failed(&error(Disposition::Retry), NOW, &mut rng);
            }
            wait(&breaker, NOW)
        };
        assert_eq!(opened(1), opened(1));
        assert_ne!(opened(1), opened(2));
    }

    #[test]
    fn every_pause_has_its_state_and_its_instant() {
        let midnight = NOW.plus(Duration::from_hours(2));
        let throttled =
            |after| Disposition::Pause(Pause::Throttled { after, every_product: false });
        let minute = Duration::from_mins(1);
        let seconds = Duration::from_secs;
        let cases = [
            (Disposition::Pause(Pause::Auth), SyncState::AuthRequired, PROBE_EVERY, PROBE_EVERY),
            (
                Disposition::Pause(Pause::Misconfigured),
                SyncState::Misconfigured,
                PROBE_EVERY,
                PROBE_EVERY,
            ),
            (
                Disposition::Pause(Pause::Quota { until: midnight }),
                SyncState::Quota,
                Duration::from_hours(2),
                Duration::from_hours(2) + minute,
            ),
            (throttled(Some(seconds(9))), SyncState::BackingOff, seconds(9), seconds(9)),
            (throttled(None), SyncState::BackingOff, seconds(1), seconds(2)),
            (Disposition::RetryAfter(seconds(90)), SyncState::BackingOff, seconds(90), seconds(90)),
        ];
        for (disposition, state, least, most) in cases {
            let mut breaker = Breaker::default();
            breaker.failed(&error(disposition), NOW, &mut rng());
            assert_eq!(breaker.trouble(), Some(state));
            let wait = wait(&breaker, NOW);
            assert!(wait >= least && wait <= most, "{disposition:?}: {wait:?}");
        }
        let mut offline = Breaker::default();
        let lost = RemoteError { is_offline: true, ..error(Disposition::Retry) };
        offline.failed(&lost, NOW, &mut rng());
        assert_eq!(offline.trouble(), Some(SyncState::Offline));
    }

    #[test]
    fn only_what_needs_a_person_says_so_and_opens_on_reload() {
        let mut breakers = Breakers::default();
        breakers.failed(&error(Disposition::Pause(Pause::Auth)), NOW, &mut rng());
        let action = breakers.of(Product::D1).action();
        assert_eq!(action, Some(("D1: it failed", "do this")));
        breakers.reload();
        assert_eq!(breakers.of(Product::D1).admission(NOW), Admission::Open);
        let wait = Duration::from_mins(1);
        breakers.failed(&error(Disposition::RetryAfter(wait)), NOW, &mut rng());
        assert_eq!(breakers.of(Product::D1).action(), None);
        breakers.reload();
        breakers.probe_at(NOW);
        let until = NOW.plus(wait);
        assert_eq!(breakers.of(Product::D1).admission(NOW), Admission::Shut { until });
    }

    #[test]
    fn a_person_may_have_a_shut_gate_probed_at_once() {
        let mut breakers = Breakers::default();
        let until = NOW.plus(Duration::from_hours(5));
        let quota = error(Disposition::Pause(Pause::Quota { until }));
        breakers.failed(&quota, NOW, &mut rng());
        breakers.probe_at(NOW);
        assert_eq!(breakers.of(Product::D1).admission(NOW), Admission::Probe);
        assert_eq!(breakers.of(Product::D1).trouble(), Some(SyncState::Quota));
        assert_eq!(breakers.of(Product::R2).admission(NOW), Admission::Open);
    }

    #[test]
    fn a_throttled_account_holds_every_product_and_one_product_only_itself() {
        let throttled = |every_product| {
            let after = Some(Duration::from_secs(10));
            error(Disposition::Pause(Pause::Throttled { after, every_product }))
        };
        let until = NOW.plus(Duration::from_secs(10));
        let mut breakers = Breakers::default();
        breakers.failed(&throttled(false), NOW, &mut rng());
        assert_eq!(breakers.of(Product::R2).admission(NOW), Admission::Open);
        breakers.failed(&throttled(true), NOW, &mut rng());
        for product in Breakers::PRODUCTS {
            assert_eq!(breakers.of(product).admission(NOW), Admission::Shut { until });
        }
    }

    #[test]
    fn nothing_that_was_on_its_way_shortens_the_silence_that_was_asked_for() {
        let after = Some(Duration::from_secs(10));
        let throttled = error(Disposition::Pause(Pause::Throttled { after, every_product: true }));
        let until = NOW.plus(Duration::from_secs(10));
        let changes: [fn(&mut Breakers); 5] = [
            |gates| gates.of_mut(Product::D1).succeeded(NOW),
            |gates| gates.of_mut(Product::D1).answered(),
            |gates| gates.of_mut(Product::D1).failed(&error(Disposition::Retry), NOW, &mut rng()),
            |gates| {
                let refused = error(Disposition::Pause(Pause::Auth));
                gates.of_mut(Product::D1).failed(&refused, NOW, &mut rng());
                gates.reload();
            },
            |gates| gates.probe_at(NOW),
        ];
        let failing = RemoteError { product: Product::R2, ..throttled };
        for change in changes {
            let mut gates = Breakers::default();
            gates.failed(&error(Disposition::Retry), NOW, &mut rng());
            gates.failed(&failing, NOW, &mut rng());
            change(&mut gates);
            gates.probe_at(NOW);
            let just_before = Micros(until.0 - 1);
            for at in [NOW, just_before] {
                let admission = gates.of(Product::D1).admission(at);
                assert!(
                    matches!(admission, Admission::Shut { until: u } if u >= until),
                    "{gates:?}"
                );
            }
            gates.probe_at(until);
            assert!(!matches!(gates.of(Product::D1).admission(until), Admission::Shut { .. }));
        }
    }

    #[test]
    fn a_silence_written_under_a_clock_that_was_set_back_is_over() {
        let wait = Duration::from_secs(3600);
        let mut gate = Breaker::default();
        gate.failed(&error(Disposition::RetryAfter(wait)), NOW, &mut rng());
        gate.succeeded(NOW);
        assert_eq!(gate.admission(NOW), Admission::Shut { until: NOW.plus(wait) });
        assert_eq!(gate.admission(Micros(NOW.0 - 1)), Admission::Open);
    }

    #[test]
    fn a_gate_reads_back_as_it_was_written() {
        let mut breakers = Breakers::default();
        breakers.of_mut(Product::R2).succeeded(NOW);
        breakers.failed(&error(Disposition::Pause(Pause::Auth)), NOW, &mut rng());
        // What succeeded since doesn't end the silence that was asked for.
        let after = Duration::from_secs(60);
        let silence = error(Disposition::RetryAfter(after));
        let silence = RemoteError { product: Product::Vectorize, ..silence };
        breakers.failed(&silence, NOW, &mut rng());
        breakers.of_mut(Product::Vectorize).succeeded(NOW);
        let text = serde_json::to_string(&breakers).unwrap();
        let read = serde_json::from_str::<Breakers>(&text).unwrap();
        assert_eq!(read, breakers);
        assert!(text.contains("auth_required"), "{text}");
        let shut = Admission::Shut { until: NOW.plus(after) };
        assert_eq!(read.of(Product::Vectorize).admission(NOW), shut);
    }
}
