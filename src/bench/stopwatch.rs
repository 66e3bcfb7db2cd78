//! The one place that measures time, on the system's monotonic clock.

use std::time::Duration;

/// Runs from its creation.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts one.
    #[expect(clippy::disallowed_methods, reason = "measuring is the benchmark's job")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// The time since it was started.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
