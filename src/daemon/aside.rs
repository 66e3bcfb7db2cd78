//! Background work on a thread of its own that yields the processor to whoever asks.

use crate::priority;
use anyhow::Context as _;
use std::future::Future;
use tokio::sync::oneshot;

/// Starts a thread of this name with a runtime of its own, at low priority. Returns what waits for its end.
///
/// # Errors
/// No runtime or no thread can be made.
pub(super) fn run<F>(name: &'static str, work: F) -> anyhow::Result<impl Future<Output = ()>>
where
    F: Future<Output = ()> + Send + 'static,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .thread_name(name)
        .enable_all()
        .build()
        .with_context(|| format!("start the runtime of {name}"))?;
    let (ends, ended) = oneshot::channel::<()>();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            // Dropped when the work returns and when it panics.
            let _ends = ends;
            priority::step_back();
            runtime.block_on(work);
        })
        .with_context(|| format!("start the thread of {name}"))?;
    Ok(async move {
        let _end = ended.await;
    })
}
