//! The processor's time for work that nobody waits for.

/// Lowers the priority of this thread and of those that it starts from now on. Where that can't be done for one
/// thread it stays as it is.
pub fn step_back() {
    #[cfg(target_os = "linux")]
    {
        /// Of the 19 steps that there are.
        const STEPS: i32 = 10;
        // On Linux no id means the calling thread, not its process.
        if let Err(error) = rustix::process::setpriority_process(None, STEPS) {
            tracing::debug!(%error, "background work runs at normal priority");
        }
    }
}
