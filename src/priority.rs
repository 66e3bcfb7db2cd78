//! The processor's time for work that nobody waits for.

/// Steps of background work, of the 19 that there are: half of them leave it a tenth of a busy processor.
pub const BACKGROUND: i32 = 10;

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

/// Offers the processor to whoever waits for it; returns at once if nobody does. A thread that has woken behind one
/// of lower priority may otherwise wait for the next tick of the kernel's clock, 4 ms where there are 250 a second:
/// measured, that was what searches waited for beside the replicator. Background work calls it between two pieces of
/// some ten microseconds.
pub fn give_way() {
    std::thread::yield_now();
}

/// Lets this thread and those that it starts from now on run only while nobody else wants the processor. Whoever
/// wakes takes it from them at once: from a thread of the lowest priority only when its slice has ended, up to
/// 4 ms later.
pub fn yield_to_all() {
    #[cfg(target_os = "linux")]
    {
        let parameters = libc::sched_param { sched_priority: 0 };
        #[expect(unsafe_code, reason = "the policy is set by a C function")]
        // SAFETY: 0 is the calling thread, and the parameters live as long as the call.
        let outcome =
            unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const parameters) };
        if outcome != 0 {
            let error = std::io::Error::last_os_error();
            tracing::debug!(%error, "a thread keeps its priority");
        }
    }
    #[cfg(not(target_os = "linux"))]
    tracing::debug!("a thread keeps its priority");
}
