//! What the system tells about a process: its memory and the processor time it has used.

use serde::Serialize;
use std::time::Duration;

/// Resident memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Resident {
    /// Its own pages, which nothing but swap could take back.
    pub anonymous: u64,
    /// Pages of mapped files: the executable, the model, the database. The system drops them at will.
    pub mapped: u64,
}

/// The resident memory of `pid`; `None` where the system has no `/proc`.
pub fn resident(pid: u32) -> Option<Resident> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    parse_resident(&status)
}

fn parse_resident(status: &str) -> Option<Resident> {
    let kib = |name: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    let mapped = kib("RssFile:")? + kib("RssShmem:")?;
    Some(Resident { anonymous: kib("RssAnon:")? * 1024, mapped: mapped * 1024 })
}

/// The most that `pid` has had resident at once, mapped files included; `None` where the system has no `/proc`.
pub fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    parse_peak(&status)
}

fn parse_peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Processor time of all threads of `pid` that live; `None` where the system has no `/proc`.
pub fn cpu_time(pid: u32) -> Option<Duration> {
    let mut sum = Duration::ZERO;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        // A thread may end between the listing and the reading.
        let Ok(stat) = std::fs::read_to_string(thread.ok()?.path().join("schedstat")) else {
            continue;
        };
        sum += parse_schedstat(&stat)?;
    }
    Some(sum)
}

/// The first number is the time on a processor in nanoseconds.
fn parse_schedstat(stat: &str) -> Option<Duration> {
    stat.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Whether `pid` has ended: gone, or waiting for its parent to take note.
pub fn has_ended(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X']))
}

/// Processes that wanted to run at a time, over the last minute: how busy others keep the machine.
pub fn load() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_told_apart() {
        let status = "Name:\tx\nVmRSS:\t  300 kB\nRssAnon:\t  100 kB\nRssFile:\t  180 kB\nRssShmem:\t 20 kB\n";
        let expected = Resident { anonymous: 100 << 10, mapped: 200 << 10 };
        assert_eq!(parse_resident(status), Some(expected));
        assert_eq!(parse_resident("VmRSS: 3 kB"), None);
        assert_eq!(parse_peak("VmPeak:\t 9 kB\nVmHWM:\t   5 kB\n"), Some(5 << 10));
    }

    #[test]
    fn processor_time_is_in_nanoseconds() {
        assert_eq!(parse_schedstat("1500 7 3\n"), Some(Duration::from_nanos(1500)));
        assert_eq!(parse_schedstat(""), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_can_be_read() {
        let own = std::process::id();
        assert!(resident(own).is_some_and(|memory| memory.anonymous > 0));
        assert!(cpu_time(own).is_some());
        assert!(!has_ended(own));
    }
}
