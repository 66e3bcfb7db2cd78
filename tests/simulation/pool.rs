//! Many runs on all cores.

use super::run::{Broken, Report, run};
use super::schedule::Schedule;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Runs that show a defect before the rest is given up.
const ENOUGH: usize = 5;

/// Runs the schedules of `seeds`; gives the reports, or what was broken.
///
/// # Errors
/// The first few runs that broke a property.
pub fn run_all(
    seeds: std::ops::Range<u64>,
    schedule: impl Fn(u64) -> Schedule + Sync,
) -> Result<Vec<Report>, Vec<Broken>> {
    let next = AtomicU64::new(seeds.start);
    let is_over = AtomicBool::new(false);
    let (reports, broken) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let work = || {
        while !is_over.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            match run(schedule(seed), false) {
                Ok(report) => reports.lock().unwrap().push(report),
                Err(one) => {
                    let mut broken = broken.lock().unwrap();
                    broken.push(one);
                    is_over.fetch_or(broken.len() >= ENOUGH, Ordering::Relaxed);
                }
            }
        }
    };
    let n_threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..n_threads {
            scope.spawn(work);
        }
    });
    let broken = broken.into_inner().unwrap();
    if broken.is_empty() { Ok(reports.into_inner().unwrap()) } else { Err(broken) }
}
