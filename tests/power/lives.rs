//! Lives of a database: it works, the power fails, it works on. One life has several power-ups, and each
//! of them is cut at several moments; the last cut is the one it goes on from.

use crate::course::{Course, Past, Verdict};
use crate::disk::{Disk, Fault, Image};
use crate::laptop::{Laptop, clock, template};
use crate::ledger::Ledger;
use crate::work::Job;
use memtide::clock::{Clock as _, ManualClock};
use memtide::mutant::{self, Mutant};
use memtide::store::error::StoreError;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// Cuts of one mode.
const CUTS: u64 = 5000;
/// Power-ups of one life.
const POWER_UPS: u64 = 5;
/// Cuts of one power-up.
const CUTS_EACH: u64 = 5;
/// Of so many cuts one is followed by a check of the whole file.
const THOROUGH: u32 = 10;

/// What goes wrong besides the power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Plain,
    DiskFull,
    IoErrors,
    FailedSyncs,
    /// Commits aren't synced.
    Normal,
    /// The disk says that it has synced and hasn't.
    Lying,
}

impl Mode {
    /// The test that lives in it.
    fn test(self) -> &'static str {
        match self {
            Self::Plain => "acknowledged_writes_survive_power_cuts",
            Self::DiskFull => "acknowledged_writes_survive_power_cuts_on_a_full_disk",
            Self::IoErrors => "acknowledged_writes_survive_power_cuts_amid_io_errors",
            Self::FailedSyncs => "acknowledged_writes_survive_power_cuts_after_failed_syncs",
            Self::Normal => "unsynced_commits_are_seen_to_be_lost",
            Self::Lying => "a_disk_that_lies_is_seen_to_tear",
        }
    }
}

/// What came of the lives of one mode.
#[derive(Debug, Default)]
struct Figures {
    cuts: u64,
    /// Acknowledged jobs that a cut could have taken, over all cuts.
    acknowledged: u64,
    lost: u64,
    torn: u64,
    damaged: u64,
    refused: u64,
    /// Cuts that kept the job that was running, or one that was refused.
    kept_running: u64,
    kept_refused: u64,
    kills: u64,
    faults: [u64; 4],
}

/// One life.
struct Life {
    mode: Mode,
    seed: u64,
    rng: ChaCha8Rng,
    clock: ManualClock,
    n_jobs: u64,
    figures: Figures,
}

impl Life {
    fn live(mode: Mode, seed: u64) -> Figures {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let mut life =
            Self { mode, seed, rng, clock: clock(), n_jobs: 0, figures: Figures::default() };
        let mut image = template().clone();
        let mut ledger = Ledger::default();
        for _ in 0..POWER_UPS {
            let past = life.power_up(&image, ledger);
            match life.cut(past) {
                Some(left) => (image, ledger) = left,
                // The control has shown what it is there to show.
                None => break,
            }
        }
        life.figures
    }

    /// Works until the power fails.
    fn power_up(&mut self, image: &Image, mut ledger: Ledger) -> Past {
        let disk = Disk::from_image(image, self.rng.random());
        let mut course = Course::begin(&disk);
        disk.lie(self.mode == Mode::Lying);
        let mut laptop = Laptop::open(&disk, &self.clock).unwrap();
        ledger.note_counters(&laptop);
        course.keep(&laptop, &ledger);
        for _ in 0..self.rng.random_range(4..14) {
            match self.rng.random_range(0..40) {
                0..3 => laptop = self.restart(&disk, laptop, &mut course),
                3 => laptop = self.kill(&disk, laptop, &mut course, &mut ledger),
                _ => self.work(&disk, &laptop, &mut course, &mut ledger),
            }
            let is_refused = !course.is_unchanged(&laptop);
            assert!(!is_refused, "{self:?} shows what nobody was told");
            if self.mode == Mode::FailedSyncs && self.rng.random_bool(0.1) {
                laptop = self.kill(&disk, laptop, &mut course, &mut ledger);
            }
        }
        for (sum, n) in self.figures.faults.iter_mut().zip(disk.counts().faults) {
            *sum += n;
        }
        let past = course.end();
        disk.kill();
        past
    }

    fn work(&mut self, disk: &Disk, laptop: &Laptop, course: &mut Course, ledger: &mut Ledger) {
        self.pass_time();
        self.n_jobs += 1;
        let job = Job::draw(&mut self.rng, ledger, self.n_jobs);
        let mut wanted = ledger.clone();
        job.apply(&mut wanted);
        let from = course.now();
        let faults_before = disk.counts().faults;
        self.order_faults(disk);
        let outcome = job.run(laptop);
        course.tell(&format!("{outcome:?} {job:?}"));
        self.end_faults(disk);
        match outcome {
            Ok(()) => {
                wanted.note_counters(laptop);
                *ledger = wanted;
                course.keep(laptop, ledger);
                let difference = ledger.difference(laptop).unwrap();
                assert_eq!(difference, None, "{self:?}: {job:?}");
            }
            Err(error) => {
                let has_struck = disk.counts().faults != faults_before;
                assert!(has_struck && is_of_the_disk(&error), "{self:?}: {job:?}: {error}");
                self.figures.refused += 1;
                course.refuse(from, &wanted);
            }
        }
    }

    /// Time goes by, mostly forward.
    fn pass_time(&mut self) {
        if self.rng.random_bool(0.02) {
            let back = self.rng.random_range(0..60_000_000);
            self.clock.set(memtide::clock::Micros(self.clock.now().0 - back));
        }
        self.clock.advance(Duration::from_micros(self.rng.random_range(0..50_000)));
    }

    fn restart(&mut self, disk: &Disk, laptop: Laptop, course: &mut Course) -> Laptop {
        course.tell("restart");
        self.order_faults(disk);
        laptop.stop();
        let opened = Laptop::open(disk, &self.clock);
        self.end_faults(disk);
        opened.unwrap_or_else(|error| {
            assert!(is_of_the_disk(&error), "{self:?}: {error}");
            Laptop::open(disk, &self.clock).unwrap()
        })
    }

    /// Kills the program and starts it again. A refused job may be there now; then it stays.
    fn kill(
        &mut self,
        disk: &Disk,
        laptop: Laptop,
        course: &mut Course,
        ledger: &mut Ledger,
    ) -> Laptop {
        self.figures.kills += 1;
        course.tell("kill");
        disk.kill();
        drop(laptop);
        let laptop = Laptop::open(disk, &self.clock).unwrap();
        if !course.is_unchanged(&laptop)
            && let Some(found) = course.refused_but_there(&laptop)
        {
            *ledger = found;
            ledger.note_counters(&laptop);
            course.keep(&laptop, ledger);
        }
        laptop
    }

    fn order_faults(&mut self, disk: &Disk) {
        let rng = &mut self.rng;
        if !rng.random_bool(0.4) {
            return;
        }
        match self.mode {
            Mode::Plain | Mode::Normal | Mode::Lying => {}
            Mode::DiskFull if rng.random_bool(0.5) => {
                disk.leave_room(Some(rng.random_range(0..200_000)));
            }
            Mode::DiskFull => disk.fail(Fault::Full, rng.random_range(1..60)),
            Mode::IoErrors if rng.random_bool(0.3) => {
                disk.fail(Fault::Read, rng.random_range(1..8));
            }
            Mode::IoErrors => disk.fail(Fault::Write, rng.random_range(1..60)),
            Mode::FailedSyncs => disk.fail(Fault::Sync, rng.random_range(1..3)),
        }
    }

    fn end_faults(&self, disk: &Disk) {
        disk.heal();
        disk.lie(self.mode == Mode::Lying);
    }

    /// Cuts the power at several moments. Returns what the last cut left; `None` if that isn't whole.
    fn cut(&mut self, mut past: Past) -> Option<(Image, Ledger)> {
        let mut moments: Vec<usize> = (0..CUTS_EACH).map(|_| past.moment(&mut self.rng)).collect();
        moments.sort_unstable();
        let mut left = None;
        for moment in moments {
            let image = past.cut(moment, self.rng.random());
            let thoroughly = self.rng.random_ratio(1, THOROUGH);
            let verdict = past.judge(moment, &image, &self.clock, thoroughly);
            let figures = &mut self.figures;
            figures.cuts += 1;
            figures.acknowledged += past.n_acknowledged(moment) as u64;
            left = match verdict {
                Verdict::Whole { ledger, with_running } => {
                    figures.kept_running += u64::from(with_running);
                    Some((image, ledger))
                }
                Verdict::WholeWithRefused { ledger } => {
                    figures.kept_refused += 1;
                    Some((image, ledger))
                }
                Verdict::Lost(n) if self.mode == Mode::Normal || self.mode == Mode::Lying => {
                    figures.lost += n as u64;
                    None
                }
                Verdict::Torn(_) if self.mode == Mode::Lying => {
                    figures.torn += 1;
                    None
                }
                Verdict::Damaged(_) if self.mode == Mode::Lying => {
                    figures.damaged += 1;
                    None
                }
                wrong => {
                    panic!("{self:?}, after {moment} events: {wrong}\n{:#?}", past.story)
                }
            };
        }
        left
    }
}

/// Says which life it was, and how to see it again.
impl std::fmt::Debug for Life {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (seed, test) = (self.seed, self.mode.test());
        write!(
            f,
            "seed {seed} (again: MEMTIDE_SEED={seed} cargo test --test power {test} -- --nocapture)"
        )
    }
}

/// Whether the disk may be the cause. The vector index has no word for that and answers as for a defect.
fn is_of_the_disk(error: &StoreError) -> bool {
    matches!(error, StoreError::DiskFull | StoreError::Io(_) | StoreError::Sqlite(_))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Lives as many lives as `cuts` take.
fn lives(mode: Mode, cuts: u64) -> Figures {
    let seeds = match number("MEMTIDE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..(cuts * number("MEMTIDE_SOAK").unwrap_or(1)).div_ceil(POWER_UPS * CUTS_EACH),
    };
    let mut sum = Figures::default();
    for seed in seeds {
        let one = Life::live(mode, seed);
        sum.cuts += one.cuts;
        sum.acknowledged += one.acknowledged;
        sum.lost += one.lost;
        sum.torn += one.torn;
        sum.damaged += one.damaged;
        sum.refused += one.refused;
        sum.kept_running += one.kept_running;
        sum.kept_refused += one.kept_refused;
        sum.kills += one.kills;
        for (all, some) in sum.faults.iter_mut().zip(one.faults) {
            *all += some;
        }
    }
    report(mode, &sum);
    sum
}

fn report(mode: Mode, figures: &Figures) {
    // Past the capture of the test runner: a run shall show its figures.
    let line = format!("power cuts, {mode:?}: {figures:?}\n");
    std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes()).unwrap();
}

/// Lives a mode in which nothing may be lost.
fn assert_all_survives(mode: Mode, fault: Option<Fault>) {
    let figures = lives(mode, CUTS);
    if is_replay() {
        return;
    }
    assert!(figures.cuts >= CUTS, "{figures:?}");
    assert!(figures.acknowledged > 2 * CUTS, "there was nothing to lose: {figures:?}");
    assert!(figures.kept_running > CUTS / 100, "no cut hit the end of a commit: {figures:?}");
    assert!(figures.kills > CUTS / 50, "{figures:?}");
    if let Some(fault) = fault {
        assert!(figures.faults[fault as usize] > CUTS / 50, "{figures:?}");
        assert!(figures.refused > CUTS / 50, "{figures:?}");
    }
}

#[test]
fn acknowledged_writes_survive_power_cuts() {
    assert_all_survives(Mode::Plain, None);
}

#[test]
fn acknowledged_writes_survive_power_cuts_on_a_full_disk() {
    assert_all_survives(Mode::DiskFull, Some(Fault::Full));
}

#[test]
fn acknowledged_writes_survive_power_cuts_amid_io_errors() {
    assert_all_survives(Mode::IoErrors, Some(Fault::Write));
}

#[test]
fn acknowledged_writes_survive_power_cuts_after_failed_syncs() {
    assert_all_survives(Mode::FailedSyncs, Some(Fault::Sync));
}

/// The control: what the tests above would show if commits weren't synced.
#[test]
fn unsynced_commits_are_seen_to_be_lost() {
    let figures = mutant::with(Mutant::SynchronousNormal, || lives(Mode::Normal, CUTS / 5));
    assert!(is_replay() || figures.lost > CUTS / 50, "{figures:?}");
}

/// The other control: what they would show if half a job could be there.
#[test]
fn a_disk_that_lies_is_seen_to_tear() {
    let figures = lives(Mode::Lying, CUTS / 10);
    assert!(is_replay() || (figures.lost > 0 && figures.torn > 0), "{figures:?}");
}

/// One replayed life need not show everything.
fn is_replay() -> bool {
    number("MEMTIDE_SEED").is_some()
}
