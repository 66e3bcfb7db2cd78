//! Time, as an argument. Nothing below the assembly asks the operating system what time it is:
//! it is handed a [`Clock`], so that a simulator can own time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Microseconds since the Unix epoch, UTC. Negative values lie before 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Micros(pub i64);

impl Micros {
    /// Whole milliseconds since the epoch, rounded down; 0 for instants before it.
    pub fn as_millis(self) -> u64 {
        u64::try_from(self.0.div_euclid(1000)).unwrap_or(0)
    }

    /// The instant that lies `after` later.
    pub fn plus(self, after: Duration) -> Self {
        let micros = i64::try_from(after.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// How long ago `earlier` was; zero if it lies in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// RFC 3339 in UTC with exactly six fractional digits, as every answer of the API prints it.
    pub fn to_rfc3339(self) -> String {
        let at = jiff::Timestamp::from_microsecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        });
        format!("{at:.6}")
    }

    /// Reads what [`Micros::to_rfc3339`] prints, and any other RFC 3339 instant.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|at| Self(at.as_microsecond()))
    }
}

/// A boxed future that may move between threads.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where a component learns the time and how it waits.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> Micros;
    /// Completes once `duration` has passed on this clock.
    fn sleep(&self, duration: Duration) -> Sleep;
}

/// A shared clock.
pub type SharedClock = Arc<dyn Clock>;

/// The operating system's clock and tokio's timer.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl SystemClock {
    /// The system clock, ready to be shared.
    pub fn shared() -> SharedClock {
        Arc::new(Self)
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
    fn now(&self) -> Micros {
        let since =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that stands still until it is moved. For tests and simulations.
#[derive(Debug, Clone)]
pub struct ManualClock(tokio::sync::watch::Sender<Micros>);

impl ManualClock {
    /// A clock that shows `now`.
    pub fn at(now: Micros) -> Self {
        Self(tokio::sync::watch::Sender::new(now))
    }

    /// Moves the clock forward and wakes whoever sleeps until then.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now = now.plus(by));
    }

    /// Sets the clock, also backwards.
    pub fn set(&self, now: Micros) {
        self.0.send_replace(now);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Micros {
        *self.0.borrow()
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        let until = self.now().plus(duration);
        let mut receiver = self.0.subscribe();
        Box::pin(async move {
            // A clock that is gone will never move again: the sleep ends with it.
            let _gone = receiver.wait_for(|now| *now >= until).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_print_six_digits_and_read_back() {
        let at = Micros(1_700_000_000_000_007);
        assert_eq!(at.to_rfc3339(), "2023-11-14T22:13:20.000007Z");
        assert_eq!(Micros::parse_rfc3339(&at.to_rfc3339()), Some(at));
        assert_eq!(Micros(0).to_rfc3339(), "1970-01-01T00:00:00.000000Z");
    }

    #[tokio::test]
    async fn a_manual_clock_wakes_its_sleepers() {
        let clock = ManualClock::at(Micros(0));
        let sleeper = clock.sleep(Duration::from_secs(2));
        clock.advance(Duration::from_secs(1));
        clock.advance(Duration::from_secs(1));
        sleeper.await;
        assert_eq!(clock.now(), Micros(2_000_000));
    }

    #[test]
    fn since_never_underflows() {
        assert_eq!(Micros(5).since(Micros(9)), Duration::ZERO);
        assert_eq!(Micros(9).since(Micros(5)), Duration::from_micros(4));
    }
}
