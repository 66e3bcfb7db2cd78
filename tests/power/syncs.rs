//! Syncs that fail: nothing is acknowledged that isn't on the disk, whatever the system shows.

use crate::disk::{Disk, Fault};
use crate::laptop::{Laptop, clock, template};
use crate::ledger::Ledger;
use crate::sound;
use crate::work::Job;
use memtide::store::error::StoreError;

const SEEDS: u64 = 100;

fn store(n: usize) -> Job {
    Job::Store { text: format!("Synced number{n}"), tags: Vec::new() }
}

#[test]
fn nothing_is_built_on_a_commit_that_may_not_be_on_the_disk() {
    let mut n_shown = 0;
    for seed in 0..SEEDS {
        let (disk, clock) = (Disk::from_image(template(), seed), clock());
        let laptop = Laptop::open(&disk, &clock).unwrap();
        let mut ledger = Ledger::default();
        for job in [store(1), store(2)] {
            job.run(&laptop).unwrap();
            job.apply(&mut ledger);
        }
        // The commit isn't synced, nor can the log be emptied; then the program is killed.
        disk.fail(Fault::Sync, 1);
        disk.fail(Fault::Sync, 2);
        assert!(matches!(store(3).run(&laptop), Err(StoreError::Io(_))));
        assert_eq!(disk.counts().faults[Fault::Sync as usize], 2);
        disk.kill();
        drop(laptop);
        let laptop = Laptop::open(&disk, &clock).unwrap();
        if ledger.difference(&laptop).unwrap().is_some() {
            store(3).apply(&mut ledger);
            n_shown += 1;
        }
        assert_eq!(ledger.difference(&laptop).unwrap(), None, "seed {seed}");
        store(4).run(&laptop).unwrap();
        store(4).apply(&mut ledger);
        let left = Disk::from_image(&disk.cut_power(), seed);
        let laptop = Laptop::open(&left, &clock).unwrap();
        assert_eq!(ledger.difference(&laptop).unwrap(), None, "seed {seed}");
        assert_eq!(sound::disagreement(&laptop), None, "seed {seed}");
    }
    assert!(n_shown > 0, "the system never showed what isn't on the disk");
}

#[test]
fn nothing_is_acknowledged_until_the_disk_works_again() {
    for seed in 0..SEEDS {
        let disk = Disk::from_image(template(), seed);
        let laptop = Laptop::open(&disk, &clock()).unwrap();
        let mut ledger = Ledger::default();
        store(1).run(&laptop).unwrap();
        store(1).apply(&mut ledger);
        // The commit, the attempt to empty the log, and the one before the next write.
        for nth in 1..=3 {
            disk.fail(Fault::Sync, nth);
        }
        for n in [2, 3] {
            assert!(matches!(store(n).run(&laptop), Err(StoreError::Io(_))));
            assert_eq!(ledger.difference(&laptop).unwrap(), None, "reading goes on");
        }
        assert_eq!(disk.counts().faults[Fault::Sync as usize], 3);
        store(4).run(&laptop).unwrap();
        store(4).apply(&mut ledger);
        let laptop = Laptop::open(&Disk::from_image(&disk.cut_power(), seed), &clock()).unwrap();
        assert_eq!(ledger.difference(&laptop).unwrap(), None, "seed {seed}");
    }
}
