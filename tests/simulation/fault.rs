//! What may go wrong in a run, and whether it did.

use rand::{Rng, RngExt as _};
use std::collections::{BTreeMap, BTreeSet};

/// A kind of trouble. Each run draws its own subset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A request never arrives; its sender waits for its deadline or sees the connection end.
    Dropped,
    /// A request is refused on the way; its sender knows at once.
    Refused,
    /// A request takes up to a minute, so that later ones overtake it and its sender gives up.
    Delayed,
    /// A request arrives twice, the second time up to a minute later.
    Duplicated,
    /// A request is carried out, and its answer is lost or cut.
    AnswerLost,
    /// For a while requests are answered with 429, mostly with a Retry-After.
    Throttled,
    /// For a while requests are answered with 5xx or no JSON, some after they were carried out.
    ServerErrors,
    /// For a while the token isn't accepted.
    Unauthorised,
    /// For a while the database takes no rows because the plan's limit is used up.
    QuotaUsedUp,
    /// For a while the bucket fails.
    BucketFails,
    /// Clocks are wrong by up to half an hour.
    ClocksSkewed,
    /// Clocks are set while the device works.
    ClockJumps,
    /// A device is offline during the whole run, which has a gap of weeks.
    MonthsOffline,
    /// A device loses its power at an effect boundary.
    Crash,
    /// A device's database is put back from a backup.
    Restored,
    /// A device's database is copied over another machine's.
    Cloned,
    /// A device is lost for ever, and a new one takes its place.
    Destroyed,
    /// The cloud database is put back to an earlier state.
    Rewound,
    /// The index drops changes that it had accepted.
    VectorsLost,
    /// The Python service writes tags later than the settle time.
    LateTags,
    /// The Python service uploads old copies again, also of what was deleted since.
    OldCopies,
    /// The Python service removes tombstones.
    Purges,
}

impl Fault {
    pub const ALL: [Self; 22] = [
        Self::Dropped,
        Self::Refused,
        Self::Delayed,
        Self::Duplicated,
        Self::AnswerLost,
        Self::Throttled,
        Self::ServerErrors,
        Self::Unauthorised,
        Self::QuotaUsedUp,
        Self::BucketFails,
        Self::ClocksSkewed,
        Self::ClockJumps,
        Self::MonthsOffline,
        Self::Crash,
        Self::Restored,
        Self::Cloned,
        Self::Destroyed,
        Self::Rewound,
        Self::VectorsLost,
        Self::LateTags,
        Self::OldCopies,
        Self::Purges,
    ];

    /// Faults that take away what a device alone still had: they don't go together with one that takes
    /// it away from the cloud.
    pub const OF_A_DEVICE: [Self; 3] = [Self::Restored, Self::Cloned, Self::Destroyed];
}

/// The faults of one run.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    on: BTreeSet<Fault>,
    happened: BTreeMap<Fault, u64>,
}

impl Faults {
    pub fn new(on: BTreeSet<Fault>) -> Self {
        Self { on, happened: BTreeMap::new() }
    }

    pub fn is_on(&self, fault: Fault) -> bool {
        self.on.contains(&fault)
    }

    pub fn count(&mut self, fault: Fault) {
        *self.happened.entry(fault).or_default() += 1;
    }

    pub fn happened(&self) -> &BTreeMap<Fault, u64> {
        &self.happened
    }

    /// The faults that were turned on and haven't happened.
    pub fn missing(&self) -> Vec<Fault> {
        self.on.iter().copied().filter(|fault| !self.happened.contains_key(fault)).collect()
    }

    /// Ends every fault; what has happened stays known.
    pub fn heal(&mut self) {
        self.on.clear();
    }

    /// Whether `fault` strikes now, at one chance in `one_in`. One that hasn't happened yet comes sooner.
    pub fn strikes(&mut self, fault: Fault, one_in: u32, rng: &mut impl Rng) -> bool {
        if !self.is_on(fault) {
            return false;
        }
        let one_in = if self.happened.contains_key(&fault) { one_in } else { one_in.min(6) };
        let strikes = rng.random_range(0..one_in) == 0;
        if strikes {
            self.count(fault);
        }
        strikes
    }
}
