//! What the account and a person ask for is respected: a time to be left alone, a number of requests, and
//! an end that waits for nobody.

use crate::chaos::Fault;
use crate::device::{Device, account};
use crate::judge;
use crate::manners;
use crate::seeds::{Replay, say, seeds};
use memtide::clock::{Clock as _, Micros, SystemClock};

/// Changes after which something should have happened.
const CHANGES_MAX: usize = 5000;
/// Requests that are allowed in five minutes.
const BUDGET: usize = 30;
const WINDOW: i64 = 300_000_000;

/// Makes changes and asks for each to be sent at once, until something is so.
pub fn write_until(device: &mut Device, mut is_so: impl FnMut(&Device) -> bool) {
    let mut wire = device.wire();
    for _ in 0..CHANGES_MAX {
        for worker in &mut device.workers {
            assert!(worker.write(&mut wire), "the daemon is gone");
        }
        device.hasten();
        if is_so(device) {
            return;
        }
    }
    panic!("it doesn't happen: {:#}", device.status());
}

#[test]
fn no_request_comes_before_its_retry_after_is_over() {
    for seed in seeds(38, 2) {
        let _replay = Replay { test: "no_request_comes_before", seed };
        let account = account(seed);
        let mut device = Device::new(&account, seed, 0, 1);
        let daemon = device.start();
        device.link();
        device.chaos.unleash(&[Fault::Throttle], 3);
        let is_told = |device: &Device, times| {
            let told = manners::check_retry_after(&device.chaos);
            told.into_iter().all(|(_, n_told)| n_told >= times)
        };
        write_until(&mut device, |device| is_told(device, 1));
        daemon.stop();
        let gates = manners::shut_gates(&device);
        let daemon = device.start();
        write_until(&mut device, |device| is_told(device, 2));
        device.chaos.heal();
        device.drain();
        judge::check_all(&device, &account);
        daemon.stop();
        manners::check_gates(&device.chaos, &gates);
        let told = manners::check_retry_after(&device.chaos);
        assert!(!gates.is_empty(), "no gate was shut when the daemon stopped");
        say(&format!("seed {seed}: told to wait and waited: {told:?}"));
    }
}

/// The most requests that five minutes hold.
fn busiest(requests: &[Micros]) -> usize {
    let in_window = |from: &Micros| {
        requests.iter().filter(|at| **at >= *from && at.0 < from.0 + WINDOW).count()
    };
    requests.iter().map(in_window).max().unwrap_or(0)
}

#[test]
fn five_minutes_never_hold_more_requests_than_allowed_over_a_restart_too() {
    for seed in seeds(39, 1) {
        let _replay = Replay { test: "five_minutes_never_hold", seed };
        let account = account(seed);
        let mut device = Device::new(&account, seed, 0, 1);
        device.allow(BUDGET);
        let daemon = device.start();
        device.link();
        // What came until now was the command's, which has a budget of its own, and perhaps a first look
        // at the feed.
        let n_before = device.chaos.passages().len();
        device.chaos.unleash(&[Fault::Cut, Fault::LoseAnswer, Fault::HalfAnswer], 3);
        let is_used_up =
            |device: &Device| device.status()["replication"]["budget"]["requests_5min"] == BUDGET;
        write_until(&mut device, is_used_up);
        device.chaos.wait_until_still();
        daemon.stop();
        let daemon = device.start();
        for _ in 0..20 {
            write_until(&mut device, |_| true);
        }
        let said = device.sync();
        assert_eq!(said.code, Some(1), "{said:?}: it can't be sent yet");
        let requests: Vec<Micros> =
            device.chaos.passages()[n_before..].iter().map(|one| one.at).collect();
        assert!(busiest(&requests) <= BUDGET, "{} requests", requests.len());
        assert!(requests.len() + 3 > BUDGET, "{} requests: it was not used up", requests.len());
        daemon.stop();

        device.allow(1200);
        device.chaos.heal();
        let daemon = device.start();
        device.drain();
        judge::check_all(&device, &account);
        daemon.stop();
    }
}

#[test]
fn a_stop_waits_for_no_answer_and_loses_nothing() {
    for seed in seeds(43, 3) {
        let _replay = Replay { test: "a_stop_waits_for_no_answer", seed };
        let account = account(seed);
        let mut device = Device::new(&account, seed, 0, 1);
        let daemon = device.start();
        device.link();
        device.drain();
        let from = SystemClock.now();
        device.chaos.hold();
        let mut n_writes = 0;
        write_until(&mut device, |device| {
            n_writes += 1;
            n_writes > 20 && device.chaos.n_held() > 0
        });
        daemon.stop();
        let n_held = device.chaos.n_held();
        assert!(n_held > 0, "the request was ended before the daemon");
        let n_counted = manners::n_counted(&device, from);
        assert!(n_counted >= n_held, "{n_counted} of {n_held} requests that were sent are counted");
        device.chaos.heal();
        let daemon = device.start();
        device.drain();
        judge::check_all(&device, &account);
        daemon.stop();
    }
}
