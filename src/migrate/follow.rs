//! Following a source: the service goes on writing, and what it writes is taken over.
//!
//! Looks are made when the files change, and once a minute in case the system didn't tell; what a look is
//! tells [`super::look`]. Nothing is remembered but what can be read again: a follower that is killed begins
//! with what the store holds.

use super::import::ImportError;
use super::job::{JobState, Migrator, Trouble};
use super::look::{FollowError, Follower, look};
use super::source::SourceError;
use crate::clock::{Clock, Micros};
use crate::service::Service;
use crate::shutdown::Phase;
use crate::store::source::{self, Stage};
use crate::watch::Watch;
use std::path::PathBuf;
use std::time::Duration;

/// Between two looks that nothing has asked for.
const UNASKED: Duration = Duration::from_secs(60);
/// Between two looks at least.
const REST: Duration = Duration::from_millis(100);

/// Follows whatever is to be followed until the daemon stops.
pub(super) async fn run(migrator: &Migrator) {
    let inner = &migrator.inner;
    while inner.shutdown.phase() == Phase::Running {
        match inner.service.read(source::current).await {
            Ok(Some(source)) if source.is_followed => follow(migrator, source).await,
            Ok(_) => {
                migrator.set_trouble(None);
                migrator.set_left_out(None);
                tokio::select! {
                    () = inner.orders.notified() => {}
                    () = inner.shutdown.reached(Phase::Draining) => {}
                }
            }
            Err(error) => {
                migrator.set_trouble(Some((&error).into()));
                tokio::select! {
                    () = inner.orders.notified() => {}
                    () = inner.service.clock().sleep(UNASKED) => {}
                    () = inner.shutdown.reached(Phase::Draining) => {}
                }
            }
        }
    }
}

enum Step {
    /// An import is at work: it takes over what is there.
    Wait,
    /// An import was stopped by something that may have passed.
    Import,
    Looked(Box<Result<Follower, FollowError>>),
}

/// Follows one source until something else is wanted.
async fn follow(migrator: &Migrator, source: source::Source) {
    let inner = &migrator.inner;
    let clock = inner.service.clock();
    let path = PathBuf::from(&source.path);
    let mut follower: Option<Follower> = None;
    let mut watch: Option<Watch> = None;
    loop {
        if follower.is_none() {
            // A watch may have died with its folder.
            watch = Watch::start(&path)
                .inspect_err(
                    |error| tracing::warn!(%error, "the source is looked at once a minute"),
                )
                .ok();
        }
        let step = {
            let _working = inner.work.lock().await;
            let Some(stage) = stage(&inner.service, &source).await else { return };
            let is_running = migrator.job().is_some_and(|job| job.state == JobState::Running);
            match stage {
                Stage::Importing | Stage::Stopped if is_running => Step::Wait,
                Stage::Importing | Stage::Stopped => Step::Import,
                _ => Step::Looked(Box::new(look(migrator, &source, follower.take()).await)),
            }
        };
        let needs_import = matches!(step, Step::Import);
        let has_looked = matches!(step, Step::Looked(_));
        match step {
            Step::Looked(looked) => match *looked {
                Ok(back) => {
                    migrator.set_trouble(back.held.as_ref().map(FollowError::trouble));
                    migrator.set_left_out(back.left_out.trouble());
                    follower = Some(back);
                }
                Err(error) => migrator.set_trouble(Some(error.trouble())),
            },
            Step::Import => migrator.set_trouble(migrator.job().and_then(|job| job.trouble)),
            Step::Wait => {}
        }
        let ended = clock.now();
        let due = follower.as_ref().filter(|_| has_looked).and_then(Follower::due);
        let rested = async {
            tokio::select! {
                () = changed(watch.as_ref()) => {}
                () = until(due, &**clock) => {}
            }
            clock.sleep(ended.plus(REST).since(clock.now())).await;
        };
        tokio::select! {
            () = rested => {}
            () = clock.sleep(UNASKED) => {}
            // Something else may be wanted: the next look sees to that first.
            () = inner.orders.notified() => continue,
            () = inner.shutdown.reached(Phase::Draining) => return,
        }
        if needs_import && let Err(error) = migrator.import_again(&source.path) {
            tracing::debug!(%error, "an import is at work already");
        }
    }
}

/// How far the move has come, as long as the source is to be followed.
async fn stage(service: &Service, source: &source::Source) -> Option<Stage> {
    let path = source.path.clone();
    match service.read(move |read| source::at(read, &path)).await {
        Ok(found) => found.filter(|found| found.is_followed).map(|found| found.stage),
        Err(error) => {
            tracing::warn!(%error, "whether the source is to be followed is not known");
            None
        }
    }
}

async fn changed(watch: Option<&Watch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

async fn until(due: Option<Micros>, clock: &dyn Clock) {
    match due {
        Some(due) => clock.sleep(due.since(clock.now())).await,
        None => std::future::pending().await,
    }
}

/// Takes over what was committed and not looked at yet, for the last time. A source that is gone has nothing
/// left to tell.
pub(super) async fn look_last(migrator: &Migrator, source: &source::Source) -> Result<(), Trouble> {
    match look(migrator, source, None).await {
        Ok(follower) => {
            let held = follower.held.map(|held| held.trouble());
            held.or_else(|| follower.left_out.trouble()).map_or(Ok(()), Err)
        }
        Err(FollowError::Import(ImportError::Source(SourceError::Missing(_)))) => Ok(()),
        Err(error) => Err(error.trouble()),
    }
}
