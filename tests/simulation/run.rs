//! One run, from its seed to its end; and many of them.

use super::account::INDEX;
use super::fault::Fault;
use super::schedule::Schedule;
use super::world::{Event, Violation, World};
use memtide::model::id::MemoryId;
use memtide::replicate::verify::VerifyError;
use memtide::replicate::verify::report::Report as Comparison;
use rand::RngExt as _;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Sessions that are added until every fault has happened.
const EXTRA_SESSIONS: usize = 20;
/// The run was quieter than it was meant to be.
pub const NEVER_HAPPENED: &str = "every_fault_happens";
/// How long everything may take to come to rest once all is well.
const REST_WITHIN: Duration = Duration::from_hours(3);
/// Between audits: a change may be on its way for ten minutes, and clocks are half an hour apart.
const BEFORE_AUDIT: Duration = Duration::from_mins(15);
/// Rounds of audits at most: one repairs, and what it puts right may show what follows from it.
const AUDITS: usize = 8;
/// The same in events, should time stand still.
const REST_WITHIN_EVENTS: usize = 30_000;

/// What a run was like.
#[derive(Debug)]
pub struct Report {
    pub fingerprint: u64,
    pub happened: BTreeMap<Fault, u64>,
    pub n_requests: u64,
    /// What happened, line by line, if it was traced.
    pub trace: Vec<String>,
}

/// A run that showed a defect.
#[derive(Debug)]
pub struct Broken {
    pub seed: u64,
    pub violation: Violation,
    pub trace: Vec<String>,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Violation { property, why } = &self.violation;
        write!(
            f,
            "seed {0}: {property}: {why}\n  again with MEMTIDE_SEED={0} cargo test --test simulation replay -- --nocapture",
            self.seed
        )
    }
}

/// Runs a schedule to its end.
///
/// # Errors
/// What was violated.
pub fn run(schedule: Schedule, is_traced: bool) -> Result<Report, Broken> {
    let seed = schedule.seed;
    let ran = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(schedule, is_traced);
        play(&mut world);
        match world.violation.take() {
            Some(violation) => Err(Broken { seed, violation, trace: world.take_trace() }),
            None => Ok(Report {
                fingerprint: world.fingerprint(),
                happened: world.faults.happened().clone(),
                n_requests: world.n_requests,
                trace: world.take_trace(),
            }),
        }
    }));
    ran.unwrap_or_else(|panic| {
        let why = panic.downcast_ref::<String>().cloned();
        let why = why.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let why = why.unwrap_or_default();
        Err(Broken {
            seed,
            violation: Violation { property: "nothing_panics", why },
            trace: Vec::new(),
        })
    })
}

fn play(world: &mut World) {
    let sessions = world.schedule.sessions.clone();
    let n = sessions.len();
    for (index, (work, away)) in sessions.into_iter().enumerate() {
        session(world, work, away, index + 1 == n);
    }
    for _ in 0..EXTRA_SESSIONS {
        if world.faults.missing().is_empty() {
            break;
        }
        for device in 0..world.devices.len() {
            // Whoever waits for a plan's limit or a person would wait for longer than a session.
            world.device(device).sync_now();
        }
        session(world, Duration::from_secs(60), Duration::from_secs(60), true);
    }
    let missing = world.faults.missing();
    if !missing.is_empty() {
        world.break_off(NEVER_HAPPENED, format!("{missing:?} never happened"));
    }
    heal_and_drain(world);
}

fn session(world: &mut World, work: Duration, away: Duration, is_last: bool) {
    let until = world.now().plus(work);
    world.wake_all();
    world.draw_strikes(work, is_last);
    for device in 0..world.devices.len() {
        for _ in 0..world.schedule.n_acts {
            let at = work.mul_f64(world.rng.random_range(0.0..1.0));
            world.schedule_in(at, Event::Act { device });
        }
    }
    for _ in 0..world.schedule.n_errands {
        let at = work.mul_f64(world.rng.random_range(0.0..0.9));
        world.begin_errand(at);
    }
    world.run_until(until);
    world.sleep_all();
    world.run_until(until.plus(away));
}

/// Ends every trouble; from then on all must come to rest, with everything everywhere.
fn heal_and_drain(world: &mut World) {
    world.faults.heal();
    world.periods.clear();
    world.armed = None;
    world.offline = None;
    world.note(|| "* all is well".to_owned());
    for device in 0..world.devices.len() {
        world.device(device).embed();
        world.look_at(device);
        world.device(device).sync_now();
    }
    world.wake_all();
    come_to_rest(world, Rest::BeforeAudit);
    audit(world);
    if world.violation.is_some() {
        return;
    }
    world.sleep_all();
    let visible = world.now().plus(Duration::from_mins(5));
    world.run_until(visible);
    let vectors = world.account.visible_vectors(INDEX).unwrap();
    let vectors: Vec<MemoryId> = vectors.iter().filter_map(|one| one.id.parse().ok()).collect();
    world.finish(&vectors);
}

/// Lets everything happen until nothing is owed and all is read.
fn come_to_rest(world: &mut World, rest: Rest) {
    let until = world.now().plus(REST_WITHIN);
    let mut n_events = 0;
    while world.violation.is_none() && !is_at_rest(world, rest) {
        n_events += 1;
        if !world.next_before(until) || n_events > REST_WITHIN_EVENTS {
            let why = unrest(world);
            return world.break_off("everything_comes_to_rest", why);
        }
    }
}

/// Lets all devices compare and repair until there is nothing to repair: what the index has lost and which
/// body a database that was put back names wrongly is only found that way.
fn audit(world: &mut World) {
    for round in 1..=AUDITS {
        let old_enough = world.now().plus(BEFORE_AUDIT);
        world.run_until(old_enough);
        let mut reports = Vec::new();
        for device in 0..world.devices.len() {
            let Some(report) = audit_of(world, device) else { return };
            reports.push(report);
        }
        let is_clean = |one: &Comparison| one.differences() == 0 && one.on_the_way == 0;
        if reports.iter().all(is_clean) {
            return come_to_rest(world, Rest::Full);
        }
        if round == AUDITS {
            world.break_off("audits_repair", format!("{reports:?}"));
        }
        come_to_rest(world, Rest::BeforeAudit);
    }
}

fn audit_of(world: &mut World, device: usize) -> Option<Comparison> {
    world.begin_audit(device);
    let until = world.now().plus(REST_WITHIN);
    loop {
        if world.violation.is_some() {
            return None;
        }
        match world.take_audit() {
            Some(Ok(report)) => return Some(report),
            // A product is left alone for a while yet.
            Some(Err(VerifyError::Shut { until, .. })) => {
                let later = world.now().plus(BEFORE_AUDIT);
                world.run_until(later.max(until));
                world.begin_audit(device);
            }
            Some(Err(error)) => world.break_off("an_audit_ends", error.to_string()),
            None if world.next_before(until) => {}
            None => world.break_off("an_audit_ends", "it takes for ever".to_owned()),
        }
    }
}

/// How much is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    /// After a database was put back a body may be missing until a device that has it has compared.
    BeforeAudit,
    /// Nothing is left.
    Full,
}

fn is_at_rest(world: &World, rest: Rest) -> bool {
    let last = world.cloud.feed.values().copied().max().unwrap_or(0);
    let may_lack =
        rest == Rest::BeforeAudit && world.faults.happened().contains_key(&Fault::Rewound);
    let is_done = |local: &super::view::Local| {
        local.duties.is_empty()
            && local.unconfirmed == 0
            && (may_lack || local.quarantine.is_empty())
            && local.cursor == last
    };
    !world.has_errands()
        && world.locals.iter().all(|local| is_done(local))
        && world.devices.iter().flatten().all(|device| !device.is_stepping())
}

/// What keeps the world from rest: what is owed, set aside or unread, here and in the cloud.
fn unrest(world: &World) -> String {
    let mut lines = Vec::new();
    for (device, local) in world.locals.iter().enumerate() {
        let owed = local.duties.keys().map(|(id, _)| *id);
        let unread = world.cloud.feed.iter().filter(|(_, seq)| **seq > local.cursor);
        let aside = local.quarantine.keys().filter_map(|id| id.parse().ok());
        let ids: BTreeSet<MemoryId> = owed.chain(unread.map(|(id, _)| *id)).chain(aside).collect();
        for id in ids {
            let duties = local.duties.iter().filter(|((of, _), _)| *of == id);
            let duties: Vec<_> = duties.map(|((_, product), duty)| (product, duty)).collect();
            lines.push(format!(
                "device {device} at {} has {id}: {:?}, owes {duties:?}, set aside {:?}; at {:?} the cloud has {:?}, {:?}",
                local.cursor,
                local.memories.get(&id),
                local.quarantine.get(&id.to_string()),
                world.cloud.feed.get(&id),
                world.cloud.entries.get(&id),
                world.cloud.rows.get(&id),
            ));
        }
        let doing = world.devices.get(device).and_then(Option::as_ref);
        lines.extend(doing.map(super::device::Device::progress));
    }
    lines.join("\n  ")
}
