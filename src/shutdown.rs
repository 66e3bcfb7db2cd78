//! Shutdown is a level, not an event: one value that everyone may look at late and still see.

use tokio::sync::watch;

/// How far the daemon has come on its way down. Phases only move forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// New requests are refused, those in flight are answered.
    Draining,
    /// Background work gives up what it is doing; the store closes next.
    Stopping,
}

/// The side that moves the phase forward.
#[derive(Debug, Clone)]
pub struct Stopper(watch::Sender<Phase>);

/// The side that watches the phase.
#[derive(Debug, Clone)]
pub struct Shutdown(watch::Receiver<Phase>);

/// Creates a pair in phase [`Phase::Running`].
pub fn channel() -> (Stopper, Shutdown) {
    let (sender, receiver) = watch::channel(Phase::Running);
    (Stopper(sender), Shutdown(receiver))
}

impl Stopper {
    /// Moves to `phase`, unless the present phase is already past it.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|now| {
            let later = phase > *now;
            if later {
                *now = phase;
            }
            later
        });
    }
}

impl Shutdown {
    /// The present phase.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Completes once the phase is `phase` or later, or once nobody can move it any more.
    pub async fn reached(&self, phase: Phase) {
        let mut receiver = self.0.clone();
        // An error means that the stopper is gone, which ends the wait as well.
        let _closed = receiver.wait_for(|now| *now >= phase).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_late_observer_still_sees_the_level() {
        let (stopper, shutdown) = channel();
        stopper.advance(Phase::Stopping);
        stopper.advance(Phase::Draining);
        assert_eq!(shutdown.phase(), Phase::Stopping);
        shutdown.reached(Phase::Draining).await;
    }
}
