//! A disk without space: what can't be kept is refused in so many words, what is there can be read, and
//! with space again everything goes on.

use crate::disk::{Disk, Fault};
use crate::laptop::{Laptop, clock, records, tag, template};
use crate::ledger::Ledger;
use crate::sound;
use crate::work::Job;
use memtide::store::error::StoreError;

struct Tight {
    disk: Disk,
    laptop: Laptop,
    ledger: Ledger,
}

impl Tight {
    fn new() -> Self {
        let disk = Disk::from_image(template(), 1);
        let laptop = Laptop::open(&disk, &clock()).unwrap();
        let mut tight = Self { disk, laptop, ledger: Ledger::default() };
        for n in 0..10 {
            tight.does(&store(n, 100)).unwrap();
        }
        tight
    }

    fn does(&mut self, job: &Job) -> Result<(), StoreError> {
        job.run(&self.laptop)?;
        job.apply(&mut self.ledger);
        Ok(())
    }

    /// Does jobs until one is refused. Returns how many were done.
    fn does_until_full(&mut self, mut job: impl FnMut(&Ledger, usize) -> Job) -> usize {
        for n in 0..200 {
            let job = job(&self.ledger, n);
            match self.does(&job) {
                Ok(()) => {}
                Err(error) => {
                    assert_eq!(error.code(), "disk_full");
                    assert_eq!(error.to_string(), "the disk is full: nothing was stored");
                    assert!(error.hint().starts_with("free some space"), "{}", error.hint());
                    return n;
                }
            }
        }
        panic!("the disk was never full");
    }

    fn assert_holds(&self) {
        assert_eq!(self.ledger.difference(&self.laptop).unwrap(), None);
    }

    fn restart(mut self) -> Self {
        self.laptop.stop();
        self.laptop = Laptop::open(&self.disk, &clock()).unwrap();
        self
    }

    /// What was acknowledged is there after a cut.
    fn assert_survives(self) {
        let image = self.disk.cut_power();
        let laptop = Laptop::open(&Disk::from_image(&image, 2), &clock()).unwrap();
        assert_eq!(self.ledger.difference(&laptop).unwrap(), None);
        assert_eq!(sound::disagreement(&laptop), None);
        assert_eq!(sound::damage(&laptop), None);
    }
}

fn store(n: usize, bytes: usize) -> Job {
    Job::Store { text: format!("Tight number{n} {}", "x ".repeat(bytes / 2)), tags: vec![tag(n)] }
}

#[test]
fn a_store_on_a_full_disk_is_refused_and_works_with_space_again() {
    for room in [0, 5_000, 70_000, 400_000] {
        let mut tight = Tight::new();
        tight.disk.leave_room(Some(room));
        let n_stored = tight.does_until_full(|_, n| store(100 + n, 9000));
        assert!((room > 100_000) == (n_stored > 2), "{n_stored} in {room} bytes");
        tight.assert_holds();
        tight.disk.leave_room(Some(0));
        tight = tight.restart();
        tight.assert_holds();
        tight.does(&store(900, 9000)).unwrap_err();
        tight.assert_holds();
        tight.disk.leave_room(None);
        tight.does(&store(900, 9000)).unwrap();
        tight.assert_holds();
        assert!(tight.disk.counts().faults[Fault::Full as usize] > 0);
        tight.assert_survives();
    }
}

#[test]
fn a_pull_on_a_full_disk_moves_nothing_and_goes_on_with_space_again() {
    let mut tight = Tight::new();
    tight.does(&Job::Link).unwrap();
    let page =
        |ledger: &Ledger, n: usize| Job::pull(&records()[n * 20..(n + 1) * 20], ledger, true);
    tight.disk.leave_room(Some(500_000));
    let n_pulled = tight.does_until_full(page);
    assert!(n_pulled > 0);
    // The cursor is in the ledger.
    tight.assert_holds();
    tight.disk.leave_room(None);
    let job = page(&tight.ledger, n_pulled);
    tight.does(&job).unwrap();
    tight.assert_holds();
    tight.assert_survives();
}

#[test]
fn a_checkpoint_on_a_full_disk_is_done_with_space_again() {
    let mut tight = Tight::new();
    tight = tight.restart();
    // The log is moved into the file when it is 4 MiB long: then there is room for the log, not for both.
    tight.disk.leave_room(Some(5_000_000));
    let log_len = |disk: &Disk| -> usize {
        let image = disk.image();
        let log = image.sizes().into_iter().find(|(name, _)| name.ends_with("-wal"));
        log.map_or(0, |(_, len)| len)
    };
    let n_stored = tight.does_until_full(|_, n| store(100 + n, 60_000));
    assert!(n_stored > 20 && log_len(&tight.disk) > 4_000_000, "{n_stored}");
    let n_full = tight.disk.counts().faults[Fault::Full as usize];
    assert!(n_full > 1, "{n_stored} stores, and no checkpoint was tried");
    tight.assert_holds();
    tight.disk.leave_room(None);
    tight.does(&store(900, 9000)).unwrap();
    tight.assert_holds();
    tight = tight.restart();
    assert_eq!(log_len(&tight.disk), 0, "the log is in the file");
    tight.assert_holds();
    tight.assert_survives();
}
