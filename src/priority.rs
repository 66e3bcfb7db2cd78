//! The processor's time for work that nobody waits for.

/// Steps of background work, of the 19 that there are: half of them leave it a tenth of a busy processor.
pub const BACKGROUND: i32 = 10;
/// All steps: what gets the processor only when nobody else wants it.
pub const LAST: i32 = 19;

/// Lowers the priority of this thread and of those that it starts from now on. Where that can't be done for one
/// thread it stays as it is.
pub fn step_back(steps: i32) {
    // On Linux no id means the calling thread, elsewhere its process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, steps) {
        tracing::debug!(%error, steps, "a thread keeps its priority");
    }
    #[cfg(not(target_os = "linux"))]
    tracing::debug!(steps, "a thread keeps its priority");
}
