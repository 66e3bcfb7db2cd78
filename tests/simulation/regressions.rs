//! Runs that once showed a defect. A seed names another run whenever the drawing changes, so each comes with
//! the faults that its defect needs; what they found is held by tests of its own where that was possible.

use super::fault::Fault::{
    self, BucketFails, Destroyed, OldCopies, Purges, Restored, Rewound, ServerErrors, Throttled,
};
use super::run::run;
use super::schedule::Schedule;

/// A seed, the faults that must be among its own, and what was wrong.
const SEEDS: [(u64, &[Fault], &str); 11] = [
    (63, &[Throttled], "a lost answer opened a gate that a throttle had just shut"),
    (219, &[Throttled], "a shorter throttle of another product shortened a wait"),
    (33, &[BucketFails], "two devices showed two texts under one state"),
    (34, &[Destroyed], "a kept text of a deleted memory was taken for the one its state names"),
    (24, &[BucketFails], "a row named the bucket's key of a text that had lost"),
    (43, &[Restored], "a memory that was stored again named a body that was gone"),
    (111, &[Rewound], "a tombstone with a text that nobody had stopped the feed"),
    (169, &[OldCopies, Purges], "the placeholder of a text in the bucket was taken for the text"),
    (6, &[ServerErrors], "another run of the same"),
    (2693, &[BucketFails], "a row was left as it was, and the key of its text was not learnt"),
    (2094, &[BucketFails], "another run of the same"),
];

#[test]
fn known_seeds_stay_well() {
    for (seed, faults, what) in SEEDS {
        let forced = faults.iter().fold(Schedule::of(seed), |run, fault| run.with(*fault));
        for schedule in [Schedule::of(seed), forced] {
            if let Err(broken) = run(schedule, false) {
                panic!("{what}, and again: {broken}");
            }
        }
    }
}
