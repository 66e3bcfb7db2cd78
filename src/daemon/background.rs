//! What the daemon does beside answering: tasks of which none breaks down unnoticed.

use futures_util::FutureExt as _;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// The names of the tasks that broke down.
#[derive(Debug, Clone, Default)]
pub(super) struct Broken(Arc<Mutex<Vec<&'static str>>>);

impl Broken {
    /// All of them.
    pub(super) fn all(&self) -> Vec<&'static str> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<&'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The tasks.
#[derive(Debug, Default)]
pub(super) struct Background {
    tasks: JoinSet<()>,
    broken: Broken,
}

impl Background {
    /// Those that broke down, from now on.
    pub(super) fn broken(&self) -> Broken {
        self.broken.clone()
    }

    /// Starts one; `name` is what people read should it break down.
    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let broken = self.broken.clone();
        self.tasks.spawn(async move {
            // Nothing of a task that broke down is used any more.
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                tracing::error!(part = name, "a part of the daemon broke down; it stays still");
                broken.lock().push(name);
            }
        });
    }

    /// Waits until all have ended by themselves, and ends those that don't within this time.
    pub(super) async fn end(mut self, within: Duration) {
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(within, ended).await.is_err() {
            tracing::warn!("background work cut off; what it left undone is in the tables");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::aside;
    use super::*;

    #[tokio::test]
    async fn what_breaks_down_is_named_wherever_it_runs() {
        let mut background = Background::default();
        let broken = background.broken();
        background.spawn("a part that ends", async {});
        background.spawn("a part", async { panic!("a defect") });
        let elsewhere = aside::run("elsewhere", async { panic!("another defect") });
        background.spawn("a part on a thread of its own", elsewhere.expect("a thread"));
        background.spawn("a thread that ends", aside::run("ends", async {}).expect("a thread"));
        background.end(Duration::from_secs(60)).await;
        let mut named = broken.all();
        named.sort_unstable();
        assert_eq!(named, ["a part", "a part on a thread of its own"]);
    }
}
