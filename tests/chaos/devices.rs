//! Two devices on one account, each behind its own failing network, each killed now and then while both
//! write.

use crate::chaos::Fault;
use crate::device::{Device, account};
use crate::home::Daemon;
use crate::judge::{self, Cloud};
use crate::kills::{Moment, kill_under_load, unleash};
use crate::load::{self, Exchange, Known};
use crate::seeds::{Replay, say, seeds};
use memtide::emulator::server::Running;
use memtide::model::id::MemoryId;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

const KILLS: usize = 60;
const CLIENTS: u64 = 2;
/// Memories that both devices write.
const SHARED: usize = 12;

/// A client on each device that stores the same few texts, each time with another tag.
#[derive(Default)]
struct Sharer {
    n_stored: usize,
    acknowledged: BTreeMap<String, BTreeSet<String>>,
    in_doubt: BTreeMap<String, BTreeSet<String>>,
}

impl Sharer {
    fn store(&mut self, device: &Device, name: &str) {
        let text = format!("shared {} by both", self.n_stored % SHARED);
        let (id, tag) = (MemoryId::of(&text).to_string(), format!("{name}{}", self.n_stored));
        self.n_stored += 1;
        let body = json!({"content": text, "tags": [tag]});
        let answer = device.wire().exchange("POST", "/v1/memories", &body);
        let is_acknowledged = matches!(answer, Exchange::Answered(200, _));
        let tags = if is_acknowledged { &mut self.acknowledged } else { &mut self.in_doubt };
        tags.entry(id).or_default().insert(tag);
    }
}

/// Ends the other device's load when it is dropped, by a panic too.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Lets one device be killed while the other writes too. Returns the killed one's next daemon.
fn kill_one(killed: &mut Device, daemon: Daemon, other: &mut Device, moment: Moment) -> Daemon {
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let is_over = &is_over;
        scope.spawn(move || {
            let mut wire = other.wire();
            while !is_over.load(Ordering::SeqCst) {
                for worker in &mut other.workers {
                    assert!(worker.write(&mut wire), "the other daemon is gone");
                }
            }
        });
        let _over = Over(is_over);
        kill_under_load(killed, daemon, moment);
    });
    killed.start()
}

/// What its clients wrote last is there, or not, as a whole.
fn settle(device: &mut Device) {
    let conn = load::snapshot(&device.home.database());
    for worker in &mut device.workers {
        worker.settle(&mut device.tally, |id| judge::stored(&conn, id));
    }
}

/// What a device shows of a memory: of a deleted one that was never here, no text.
fn shown(known: &Known) -> Known {
    let mut known = load::as_stored(known);
    if !known.is_alive {
        known.content.clear();
    }
    known
}

/// The device holds exactly this.
fn check_device(device: &Device, known: &BTreeMap<String, Known>) {
    let conn = load::snapshot(&device.home.database());
    judge::check_outbox(&conn);
    for (id, known) in known {
        let stored = judge::stored(&conn, id);
        assert_eq!(stored.as_ref().map(shown), Some(shown(known)), "{id}");
    }
    assert_eq!(judge::local_states(&conn).len(), known.len());
}

/// What both wrote: every acknowledged tag is there, and none that nobody wrote.
fn shared(account: &Running, sharers: &[Sharer; 2]) -> BTreeMap<String, Known> {
    let cloud = Cloud::read(account);
    let of = |id: &String, tags: fn(&Sharer) -> &BTreeMap<String, BTreeSet<String>>| {
        let tags = sharers.iter().filter_map(|sharer| tags(sharer).get(id));
        tags.flatten().cloned().collect::<BTreeSet<String>>()
    };
    let ids: BTreeSet<&String> =
        sharers.iter().flat_map(|sharer| sharer.acknowledged.keys()).collect();
    let mut all = BTreeMap::new();
    for id in ids {
        let known = cloud.known(id).unwrap_or_else(|| panic!("{id} is lost"));
        let acknowledged = of(id, |sharer| &sharer.acknowledged);
        let lost: Vec<&String> = acknowledged.difference(&known.tags).collect();
        assert!(lost.is_empty(), "{id} lost {lost:?}");
        let in_doubt = of(id, |sharer| &sharer.in_doubt);
        assert!(known.tags.is_subset(&(&acknowledged | &in_doubt)), "{id}: {known:?}");
        all.insert(id.clone(), known);
    }
    all
}

#[test]
fn two_devices_that_are_killed_behind_failing_networks_hold_the_same_in_the_end() {
    for seed in seeds(600, 1) {
        let _replay = Replay { test: "two_devices_that_are_killed", seed };
        let account = account(seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut devices =
            [Device::new(&account, seed, 0, CLIENTS), Device::new(&account, seed, 10, CLIENTS)];
        let mut daemons = [Some(devices[0].start()), Some(devices[1].start())];
        let modes = [devices[0].link(), devices[1].link()];
        let is_dual = modes == ["dual", "dual"];
        let mut sharers = [Sharer::default(), Sharer::default()];
        devices.iter().for_each(unleash);
        for _ in 0..KILLS {
            let n_killed = rng.random_range(0..2);
            if is_dual {
                for (n, sharer) in sharers.iter_mut().enumerate() {
                    sharer.store(&devices[n], if n == 0 { "a" } else { "b" });
                }
            }
            if rng.random_bool(0.7) {
                devices.iter().for_each(Device::hasten);
            }
            let [first, second] = &mut devices;
            let (killed, other) = if n_killed == 0 { (first, second) } else { (second, first) };
            let daemon = daemons[n_killed].take().expect("a daemon");
            daemons[n_killed] = Some(kill_one(killed, daemon, other, Moment::draw(&mut rng)));
            devices.iter_mut().for_each(settle);
        }
        for device in &devices {
            device.chaos.heal();
        }
        for device in [&devices[0], &devices[1], &devices[0], &devices[1]] {
            device.drain();
        }
        check(&account, &devices, &sharers, is_dual);
        daemons.into_iter().flatten().for_each(Daemon::stop);
        let tallies = [devices[0].tally, devices[1].tally];
        assert!(tallies.iter().all(|tally| tally.acknowledged > KILLS), "{tallies:?}: no load");
        for fault in Fault::ALL {
            let n: u64 = devices.iter().map(|device| device.chaos.count(fault)).sum();
            assert!(n > 0, "{fault:?} never happened");
        }
        say(&format!("seed {seed}: two devices ({}), {KILLS} kills, {tallies:?}", modes[0]));
    }
}

fn check(account: &Running, devices: &[Device; 2], sharers: &[Sharer; 2], is_dual: bool) {
    let mut all: BTreeMap<String, Known> = devices.iter().flat_map(Device::known).collect();
    if is_dual {
        all.extend(shared(account, sharers));
    }
    Cloud::read(account).check(&all);
    for device in devices {
        let known = if is_dual { all.clone() } else { device.known() };
        check_device(device, &known);
        let conn = load::snapshot(&device.home.database());
        let there = judge::states(account, None);
        for (id, state) in judge::local_states(&conn) {
            assert_eq!(there.get(&id), Some(&state), "{id}");
        }
    }
}
