//! What a run will be like: drawn from its seed alone.

use super::fault::Fault;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;
use std::time::Duration;

/// The plan of one run.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub seed: u64,
    pub n_devices: usize,
    pub faults: BTreeSet<Fault>,
    /// How long people work, and how long they are away afterwards.
    pub sessions: Vec<(Duration, Duration)>,
    /// Changes by each person in a session.
    pub n_acts: usize,
    /// Errands of the Python service in a session.
    pub n_errands: usize,
    /// Texts that people and the Python service have in mind.
    pub n_texts: usize,
    /// Requests in five minutes that each device allows itself.
    pub requests: usize,
}

impl Schedule {
    /// The run that `seed` names.
    pub fn of(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // How bad the day is differs too: many runs with few faults, some with nearly all.
        let share = rng.random_range(0.1..0.8);
        let mut faults: BTreeSet<Fault> =
            Fault::ALL.into_iter().filter(|_| rng.random_bool(share)).collect();
        if faults.contains(&Fault::Rewound) {
            if rng.random_bool(0.5) {
                faults.remove(&Fault::Rewound);
            } else {
                faults.retain(|fault| !Fault::OF_A_DEVICE.contains(fault));
            }
        }
        let mut schedule = Self {
            seed,
            n_devices: 3,
            faults,
            sessions: Vec::new(),
            n_acts: rng.random_range(2..=5),
            n_errands: rng.random_range(2..=5),
            n_texts: rng.random_range(4..=12),
            requests: if rng.random_bool(0.2) { 40 } else { 600 },
        };
        for _ in 0..rng.random_range(2..=3) {
            let work = Duration::from_secs(rng.random_range(60..150));
            let away = Duration::from_secs(rng.random_range(30..1200));
            schedule.sessions.push((work, away));
        }
        schedule.with_gap(&mut rng)
    }

    /// The same run with `fault` in any case.
    pub fn with(mut self, fault: Fault) -> Self {
        if fault == Fault::Rewound {
            self.faults.retain(|fault| !Fault::OF_A_DEVICE.contains(fault));
        } else if Fault::OF_A_DEVICE.contains(&fault) {
            self.faults.remove(&Fault::Rewound);
        }
        self.faults.insert(fault);
        self
    }

    fn with_gap(mut self, rng: &mut ChaCha8Rng) -> Self {
        if self.faults.contains(&Fault::MonthsOffline)
            && let Some((_, away)) = self.sessions.first_mut()
        {
            *away = Duration::from_hours(24 * rng.random_range(7..60));
        }
        self
    }
}
