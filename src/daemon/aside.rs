//! Background work on a thread of its own that yields the processor to whoever asks.

use crate::priority;
use anyhow::Context as _;
use futures_util::FutureExt as _;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, resume_unwind};
use tokio::sync::oneshot;

/// Starts a thread of this name with a runtime of its own, at low priority. Returns what waits for its end, and
/// panics if the work does.
///
/// # Errors
/// No thread can be made.
pub(super) fn run<F>(
    name: &'static str,
    work: F,
) -> anyhow::Result<impl Future<Output = ()> + Send + 'static>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (tell, ended) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            priority::step_back(priority::BACKGROUND);
            let caught = AssertUnwindSafe(work).catch_unwind();
            let end = runtime().map(|runtime| runtime.block_on(caught));
            // Nobody listens once the daemon has stopped waiting.
            let _heard = tell.send(end);
        })
        .with_context(|| format!("start the thread of {name}"))?;
    Ok(async move {
        match ended.await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(panic))) => resume_unwind(panic),
            Ok(Err(error)) => resume_unwind(Box::new(error.to_string())),
            Err(_) => resume_unwind(Box::new("the thread died")),
        }
    })
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
