//! The replicator, simulated before it is trusted: real stores, the real replicator and the emulated
//! account in one virtual time, with several devices, the Python service as a neighbour, and every
//! trouble that a seed can think of. Properties watch; what they say must hold is written in their files.
//!
//! A run repeats exactly with its seed. `MEMTIDE_SEED=7 cargo test --test simulation replay --
//! --nocapture` shows one; `MEMTIDE_SOAK=20 cargo test --test simulation schedules` makes twenty times as
//! many.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper that fails is a test that fails, and a replay is for a person to read"
)]

#[path = "simulation/account.rs"]
mod account;
#[path = "simulation/device.rs"]
mod device;
#[path = "support/disk/mod.rs"]
mod disk;
#[path = "simulation/fault.rs"]
mod fault;
#[path = "simulation/month.rs"]
mod month;
#[path = "simulation/mutants.rs"]
mod mutants;
#[path = "simulation/network.rs"]
mod network;
#[path = "simulation/person.rs"]
mod person;
#[path = "simulation/pool.rs"]
mod pool;
#[path = "simulation/property/mod.rs"]
mod property;
#[path = "simulation/python.rs"]
mod python;
#[path = "simulation/regressions.rs"]
mod regressions;
#[path = "simulation/run.rs"]
mod run;
#[path = "simulation/schedule.rs"]
mod schedule;
#[path = "simulation/time.rs"]
mod time;
#[path = "simulation/traffic.rs"]
mod traffic;
#[path = "simulation/trouble.rs"]
mod trouble;
#[path = "simulation/view.rs"]
mod view;
#[path = "simulation/world.rs"]
mod world;

use fault::Fault;
use schedule::Schedule;
use std::collections::BTreeMap;

/// Schedules in an ordinary run.
const SCHEDULES: u64 = 4_000;

/// Shows a figure past the capture of the test runner: a run shall tell what it reached.
fn tell(figures: &str) {
    std::io::Write::write_all(&mut std::io::stderr(), format!("{figures}\n").as_bytes()).unwrap();
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}, a number is needed")))
}

#[test]
fn schedules_end_with_everything_everywhere() {
    let n = SCHEDULES * number("MEMTIDE_SOAK").unwrap_or(1);
    let n = number("MEMTIDE_SCHEDULES").unwrap_or(n);
    let reports = pool::run_all(0..n, Schedule::of).unwrap_or_else(|broken| {
        let all: Vec<String> = broken.iter().map(ToString::to_string).collect();
        panic!("{} of {n} schedules broke something:\n{}", all.len(), all.join("\n"));
    });
    let mut happened: BTreeMap<Fault, u64> = BTreeMap::new();
    for (fault, times) in reports.iter().flat_map(|report| &report.happened) {
        *happened.entry(*fault).or_default() += times;
    }
    let n_requests: u64 = reports.iter().map(|report| report.n_requests).sum();
    tell(&format!("{n} schedules, {n_requests} requests, 0 violations; happened: {happened:?}"));
    for fault in Fault::ALL {
        assert!(happened.contains_key(&fault), "{fault:?} never happened");
    }
}

#[test]
fn replay() {
    let Some(seed) = number("MEMTIDE_SEED") else { return };
    let schedule = Schedule::of(seed);
    tell(&format!("{schedule:#?}"));
    if let Err(broken) = run::run(schedule, true) {
        broken.trace.iter().for_each(|line| tell(line));
        panic!("{broken}");
    }
}

#[test]
fn a_run_repeats_with_its_seed() {
    for seed in 0..10 {
        let ran = || run::run(Schedule::of(seed), true).unwrap_or_else(|broken| panic!("{broken}"));
        let (first, again) = (ran(), ran());
        let mut lines = first.trace.iter().zip(&again.trace);
        let other = lines.find(|(one, other)| one != other);
        assert_eq!(other, None, "seed {seed}");
        assert_eq!(first.fingerprint, again.fingerprint, "seed {seed}");
        assert!(first.n_requests > 0, "seed {seed} sent nothing");
    }
}
