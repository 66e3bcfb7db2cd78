//! The world's time, and what each device takes it for.

use memtide::clock::{Clock, Micros, Sleep};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// 2023-11-14T22:13:20Z.
const BEGIN: i64 = 1_700_000_000_000_000;

/// The true time. It stands still until the world moves it to the next event.
#[derive(Clone)]
pub struct Time(Arc<AtomicI64>);

impl Time {
    pub fn begin() -> Self {
        Self(Arc::new(AtomicI64::new(BEGIN)))
    }

    pub fn move_to(&self, at: Micros) {
        self.0.store(at.0, Ordering::Relaxed);
    }
}

impl Clock for Time {
    fn now(&self) -> Micros {
        Micros(self.0.load(Ordering::Relaxed))
    }

    fn sleep(&self, _: Duration) -> Sleep {
        // Nobody sleeps within a step: the world wakes whoever is due.
        Box::pin(std::future::pending())
    }
}

/// A device's clock: it goes at the right pace, shows the wrong time and may be set.
#[derive(Clone)]
pub struct DeviceClock {
    time: Time,
    ahead: Arc<AtomicI64>,
}

impl DeviceClock {
    pub fn new(time: &Time, ahead: i64) -> Self {
        Self { time: time.clone(), ahead: Arc::new(AtomicI64::new(ahead)) }
    }

    /// Sets the clock to be so many microseconds ahead of the true time.
    pub fn set_ahead(&self, ahead: i64) {
        self.ahead.store(ahead, Ordering::Relaxed);
    }
}

impl Clock for DeviceClock {
    fn now(&self) -> Micros {
        Micros(self.time.now().0 + self.ahead.load(Ordering::Relaxed))
    }

    fn sleep(&self, duration: Duration) -> Sleep {
        self.time.sleep(duration)
    }
}
