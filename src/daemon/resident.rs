//! The process's resident memory.

/// Resident bytes; 0 where the system doesn't tell.
#[cfg(target_os = "linux")]
pub(super) fn bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.trim().parse::<u64>().ok())
        .map_or(0, |kib| kib * 1024)
}

/// Resident bytes at their highest, which is what the system tells.
#[cfg(not(target_os = "linux"))]
pub(super) fn bytes() -> u64 {
    #[expect(unsafe_code, reason = "getrusage has no safe wrapper in std")]
    // SAFETY: rusage is plain data, valid when zeroed, and getrusage only writes to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    u64::try_from(usage.ru_maxrss).unwrap_or(0)
}
