//! The command and the daemon killed at every request of a first linking: what they had begun is no
//! hindrance to the next try, and nothing is twice there or missing.

use crate::chaos::Stage;
use crate::device::{Device, account};
use crate::home::{PROGRAM, Running};
use crate::judge;
use crate::seeds::{Replay, say, seeds};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

/// Changes that are here before the device is linked.
const CHANGES: usize = 40;
/// Requests that a first linking takes at least: a test that kills at fewer doesn't kill in it.
const REQUESTS: usize = 8;
/// A request that comes later than this doesn't come: then everything is sent.
const LATEST: Duration = Duration::from_secs(2);

#[test]
fn a_first_linking_that_is_killed_at_any_request_is_done_by_the_next() {
    for seed in seeds(700, 1) {
        let _replay = Replay { test: "a_first_linking", seed };
        let stages = [Stage::Arrived, Stage::Applied, Stage::Answered].into_iter().cycle();
        let killed = (1..).zip(stages).take_while(|(nth, stage)| run(seed, *stage, *nth)).count();
        say(&format!("seed {seed}: killed at each of the {killed} requests of a first linking"));
        assert!(killed >= REQUESTS, "{killed}");
    }
}

/// Returns whether there was such a request.
fn run(seed: u64, stage: Stage, nth: u32) -> bool {
    let account = account(seed);
    let mut device = Device::new(&account, seed, 0, 1);
    let daemon = device.start();
    let mut wire = device.wire();
    for _ in 0..CHANGES {
        assert!(device.workers.iter_mut().all(|worker| worker.write(&mut wire)));
    }
    drop(wire);
    let (ring, rung) = mpsc::channel();
    device.chaos.ring_at(stage, nth, move || ring.send(()).unwrap_or_default());
    let mut command = device.home.program(PROGRAM, &["cloud", "link", "--yes", "--json"]);
    let linking = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let linking = Running(linking.expect("the command"));
    let has_rung = rung.recv_timeout(LATEST).is_ok();
    drop(linking);
    daemon.kill();
    let daemon = device.start();
    device.link();
    device.drain();
    judge::check_all(&device, &account);
    daemon.stop();
    has_rung
}
