//! The daemon killed again and again while its clients write and a failing network is between it and the
//! account.

use crate::chaos::{Fault, Stage};
use crate::device::{Device, account};
use crate::home::Daemon;
use crate::judge::{self, Cloud};
use crate::load;
use crate::manners;
use crate::patience::write_until;
use crate::seeds::{Replay, say, seeds};
use memtide::emulator::server::Running;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

const KILLS: usize = 300;
const CLIENTS: u64 = 4;
/// Between two looks at everything; after each kill only what was just written is looked at.
const KILLS_A_LOOK: usize = 50;
/// Between two daemons that are killed before they serve.
const KILLS_A_START: usize = 10;
/// A third of all requests fails. Those that make the daemon wait for seconds come less often.
const ONE_IN: u32 = 3;
const RARE: [Fault; 2] = [Fault::Throttle, Fault::Unauthorized];
/// Moments of kills after the load began, in microseconds.
const TIMES: Range<u64> = 5_000..65_000;
/// How long a kill waits for a request. A daemon that is told to leave an account alone sends none.
const LATEST: Duration = Duration::from_millis(300);

/// When a daemon is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// After this time.
    Time(Duration),
    /// When so many requests have come to this stage, after [`LATEST`] in any case.
    Stage(Stage, u32),
}

impl Moment {
    /// A moment by chance.
    pub fn draw(rng: &mut ChaCha8Rng) -> Self {
        match rng.random_range(0..8) {
            0 => Self::Stage(Stage::Arrived, rng.random_range(1..4)),
            1 | 2 => Self::Stage(Stage::Applied, rng.random_range(1..4)),
            3 => Self::Stage(Stage::Answered, rng.random_range(1..4)),
            _ => Self::Time(Duration::from_micros(rng.random_range(TIMES))),
        }
    }

    fn latest(self) -> Duration {
        if let Self::Time(time) = self { time } else { LATEST }
    }
}

/// Something that ends the wait for a kill.
enum Event {
    Rung,
    LoadEnded,
}

/// Tells when it is dropped, by a panic too.
struct Ended(Sender<Event>);

impl Drop for Ended {
    fn drop(&mut self) {
        // After the kill nobody listens any more.
        self.0.send(Event::LoadEnded).ok();
    }
}

/// What a run has counted.
#[derive(Debug, Default)]
struct Figures {
    kills: usize,
    rung: BTreeMap<&'static str, usize>,
    settled: usize,
    kept_waiting: usize,
}

/// Lets the clients of a device write, and kills its daemon under them. Returns whether a request came
/// to the stage that was waited for.
pub fn kill_under_load(device: &mut Device, daemon: Daemon, moment: Moment) -> bool {
    let Device { home, chaos, workers, .. } = device;
    let (tell, told) = mpsc::channel();
    let ended_early = std::thread::scope(|scope| {
        for worker in workers {
            let (wire, ended) = (load::Wire::open(&home.socket()), Ended(tell.clone()));
            scope.spawn(move || {
                let _ended = ended;
                worker.run(wire);
            });
        }
        if let Moment::Stage(stage, nth) = moment {
            chaos.ring_at(stage, nth, move || tell.send(Event::Rung).unwrap_or_default());
        }
        let event = told.recv_timeout(moment.latest());
        daemon.kill();
        matches!(event, Ok(Event::LoadEnded))
    });
    assert!(!ended_early, "the load ended before the kill");
    matches!(moment, Moment::Stage(..)) && chaos.has_rung()
}

/// Lets everything go wrong.
pub fn unleash(device: &Device) {
    let weight = |fault: &Fault| if RARE.contains(fault) { 1 } else { 2 };
    let faults = Fault::ALL.into_iter().flat_map(|fault| vec![fault; weight(&fault)]);
    device.chaos.unleash(&faults.collect::<Vec<_>>(), ONE_IN);
}

/// Kills the daemon `n` times. Ends with a daemon that serves.
fn run(device: &mut Device, account: &Running, seed: u64, n: usize) -> Figures {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut figures = Figures::default();
    let mut shut = Vec::new();
    let mut daemon = device.start();
    device.link();
    unleash(device);
    for kill in 1..=n {
        if rng.random_bool(0.7) {
            // What a person who types `memtide cloud sync` asks for: gates are tried again.
            device.hasten();
        }
        let moment = Moment::draw(&mut rng);
        if kill_under_load(device, daemon, moment) {
            let Moment::Stage(stage, _) = moment else { unreachable!("only these ring") };
            let name = match stage {
                Stage::Arrived => "arrived",
                Stage::Applied => "applied",
                Stage::Answered => "answered",
            };
            *figures.rung.entry(name).or_default() += 1;
        }
        figures.kills += 1;
        shut.extend(manners::shut_gates(device));
        if kill % KILLS_A_START == 0 {
            let soon = Duration::from_micros(rng.random_range(0..40_000));
            device.chaos.begin_life();
            device.home.killed_while_it_starts(soon);
        }
        daemon = device.start();
        let conn = load::snapshot(&device.home.database());
        for worker in &mut device.workers {
            let touched = worker.settle(&mut device.tally, |id| judge::stored(&conn, id));
            figures.settled += judge::check_settled(&conn, account, &touched);
        }
        drop(conn);
        if kill % KILLS_A_LOOK == 0 {
            device.chaos.heal();
            device.drain();
            judge::check_all(device, account);
            unleash(device);
        }
    }
    // A port is closed for so short that a busy machine may have come too late each time.
    device.chaos.unleash(&[Fault::Refuse], 2);
    write_until(device, has_met_closed_port);
    device.chaos.heal();
    device.drain();
    figures.kept_waiting = shut.len();
    manners::check_gates(&device.chaos, &shut);
    manners::check_retry_after(&device.chaos);
    daemon.stop();
    figures
}

fn has_met_closed_port(device: &Device) -> bool {
    device.home.stderr().contains("Connection refused")
}

/// The run was one: there was load, kills met requests, and each fault happened.
fn check_figures(device: &Device, figures: &Figures) {
    let tally = device.tally;
    assert!(tally.acknowledged > figures.kills, "{tally:?}: there was no load");
    assert!(tally.unanswered > figures.kills / 2, "{tally:?}: the kills met nobody at work");
    assert!(tally.lost > 0, "{tally:?}: no kill came before a commit");
    assert!(figures.settled > figures.kills / 3, "{figures:?}: nothing was sent meanwhile");
    assert_eq!(figures.rung.len(), 3, "{figures:?}: no kill met a request");
    assert!(figures.kept_waiting > 0, "no throttle was written down");
    let counts = device.chaos.counts();
    for fault in Fault::ALL {
        assert!(counts.contains_key(&fault), "{fault:?} never happened: {counts:?}");
    }
    assert!(!device.home.stderr().contains("panicked"), "{}", device.home.stderr());
}

#[test]
fn acknowledged_writes_reach_the_cloud_once_through_kills_and_a_failing_network() {
    for seed in seeds(300, 1) {
        let _replay = Replay { test: "acknowledged_writes_reach", seed };
        let account = account(seed);
        let mut device = Device::new(&account, seed, 0, CLIENTS);
        let figures = run(&mut device, &account, seed, KILLS);
        judge::check_all(&device, &account);
        say(&format!(
            "seed {seed}: {} kills, {:?}, {} requests, {figures:?}, {:?}",
            figures.kills,
            device.tally,
            device.chaos.passages().len(),
            device.chaos.counts(),
        ));
        assert!(Cloud::read(&account).n_bodies() > 0, "no text was long");
        check_figures(&device, &figures);
    }
}
