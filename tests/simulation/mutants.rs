//! Deliberate defects, each of which must break a property: what the simulator can't see, it can't promise.

use super::fault::Fault;
use super::run::{Broken, NEVER_HAPPENED, run};
use super::schedule::Schedule;
use memtide::mutant::{self, Mutant};
use std::collections::BTreeSet;

/// Schedules within which a defect must show.
const WITHIN: u64 = 400;

/// The defects, with the faults without which they can't show.
const MUTANTS: [(Mutant, &[Fault]); 13] = [
    (Mutant::NoCompareAndSwap, &[]),
    (Mutant::CursorMovesOnError, &[Fault::ServerErrors]),
    (Mutant::WallClockStamps, &[Fault::ClocksSkewed]),
    (Mutant::VolatileOutbox, &[Fault::Crash]),
    (Mutant::NoTriggers, &[]),
    (Mutant::RewindUnnoticed, &[Fault::Rewound]),
    (Mutant::TombstoneDropped, &[]),
    (Mutant::VectorBeforeRow, &[]),
    (Mutant::BodyAfterRow, &[Fault::BucketFails]),
    (Mutant::SettleWithoutGeneration, &[Fault::Delayed]),
    (Mutant::RetryAfterIgnored, &[Fault::Throttled]),
    (Mutant::PartialPage, &[]),
    (Mutant::EasyRevival, &[Fault::OldCopies]),
];

/// The first schedule that shows a defect: one that ends well without it.
fn caught(mutant: Mutant, faults: &[Fault]) -> Option<(u64, Broken)> {
    (0..WITHIN).find_map(|seed| {
        let mut schedule = Schedule::of(seed);
        if faults.is_empty() {
            // A quiet world shows best what is missing.
            schedule.faults = BTreeSet::new();
        }
        let schedule = faults.iter().fold(schedule, |schedule, fault| schedule.with(*fault));
        let broken = mutant::with(mutant, || run(schedule.clone(), false)).err()?;
        let is_shown = broken.violation.property != NEVER_HAPPENED && run(schedule, false).is_ok();
        is_shown.then_some((seed + 1, broken))
    })
}

#[test]
fn every_mutant_is_caught() {
    let missed: Vec<Mutant> = std::thread::scope(|scope| {
        let (first, second) = MUTANTS.split_at(MUTANTS.len() / 2);
        let halves = [first, second].map(|half| {
            scope.spawn(move || {
                let missed = half.iter().filter(|(mutant, faults)| match caught(*mutant, faults) {
                    Some((n, broken)) => {
                        let property = broken.violation.property;
                        super::tell(&format!("{mutant:?}: {property} after {n} schedules"));
                        false
                    }
                    None => true,
                });
                missed.map(|(mutant, _)| *mutant).collect::<Vec<_>>()
            })
        });
        halves.into_iter().flat_map(|half| half.join().unwrap()).collect()
    });
    assert!(missed.is_empty(), "nothing showed {missed:?}");
}
