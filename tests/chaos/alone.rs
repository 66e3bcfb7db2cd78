//! Each fault by itself, without kills: whatever it does to requests, the account ends with what the
//! device holds.

use crate::chaos::Fault;
use crate::device::{Device, account};
use crate::judge;
use crate::seeds::{Replay, say, seeds};
use std::collections::BTreeMap;

/// Runs of each fault.
const RUNS: usize = 3;
/// How often the fault happens in each.
const TIMES: u64 = 4;
/// Changes in each run, at least.
const CHANGES: usize = 60;
/// Changes after which a fault should have happened.
const CHANGES_MAX: usize = 5000;

#[test]
fn each_fault_alone_ends_in_convergence() {
    let n_seeds = u64::try_from(RUNS * Fault::ALL.len()).unwrap();
    let mut happened: BTreeMap<Fault, u64> = BTreeMap::new();
    for seed in seeds(0, n_seeds) {
        let _replay = Replay { test: "each_fault_alone", seed };
        let fault = Fault::ALL[usize::try_from(seed).unwrap() % Fault::ALL.len()];
        *happened.entry(fault).or_default() += run(seed, fault);
    }
    say(&format!("each fault alone: {happened:?}"));
}

/// Returns how often the fault happened.
fn run(seed: u64, fault: Fault) -> u64 {
    let account = account(seed);
    let mut device = Device::new(&account, seed, 0, 2);
    let daemon = device.start();
    device.link();
    device.chaos.unleash(&[fault], 2);
    let mut wires = [device.wire(), device.wire()];
    let mut n_changes = 0;
    while n_changes < CHANGES || device.chaos.count(fault) < TIMES {
        assert!(n_changes < CHANGES_MAX, "{fault:?} does not happen: {:#}", device.status());
        for (worker, wire) in device.workers.iter_mut().zip(&mut wires) {
            assert!(worker.write(wire), "the daemon is gone");
            n_changes += 1;
        }
        device.hasten();
    }
    device.chaos.heal();
    device.drain();
    judge::check_all(&device, &account);
    daemon.stop();
    device.chaos.count(fault)
}
