//! The world: one time, one account, some devices, the Python service on some machines, and the events
//! that are to come. It moves from event to event; whatever happens is told to the properties.

use super::account::{BUCKET, DATABASE, Template};
use super::device::{Audit, Device, Make};
use super::fault::{Fault, Faults};
use super::network::{Network, Reply};
use super::person;
use super::property::{Moment, Property, View};
use super::python::{Errand, Python};
use super::schedule::Schedule;
use super::time::{DeviceClock, Time};
use super::trouble::{Boundary, Period};
use super::view::{Cloud, Local, States};
use crate::disk::Image;
use bytes::Bytes;
use http::Request;
use memtide::clock::{Clock as _, Micros};
use memtide::emulator::Cloudflare;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Machines that run the Python service.
const N_PYTHONS: usize = 3;
/// The longest wait between two steps, as in the daemon's loop.
const WAKE_EVERY: Duration = Duration::from_secs(30);
/// The pause after a step that moved nothing, as in the daemon's loop.
const PAUSE: Duration = Duration::from_millis(100);

/// Something that is to happen.
pub enum Event {
    /// A device looks at what is due, unless it was told to look at another time since.
    Wake { device: usize, token: u64 },
    /// A person makes a change.
    Act { device: usize },
    /// The embedder of a device has caught up.
    Embed { device: usize },
    /// The Python service makes its next request.
    Errand { number: u64 },
    /// A request reaches the account.
    Arrive { ticket: u64, device: usize, request: Request<Bytes>, is_answered: bool },
    /// An answer, or its absence, reaches the sender.
    Answer { ticket: u64, device: usize, reply: Reply },
    /// A trouble begins or strikes.
    Strike(Strike),
}

/// A trouble whose time was drawn.
#[derive(Debug, Clone, Copy)]
pub enum Strike {
    Period(Fault, Duration),
    ArmCrash(usize, Boundary),
    SetClock(usize),
    Backup(usize),
    Restore(usize),
    Clone { from: usize, to: usize },
    Destroy(usize),
    Bookmark,
    Rewind,
    LoseVectors,
}

/// Why a run ended early.
#[derive(Debug)]
pub struct Violation {
    pub property: &'static str,
    pub why: String,
}

pub struct World {
    pub schedule: Schedule,
    pub time: Time,
    pub account: Arc<Cloudflare>,
    pub network: Network,
    pub devices: Vec<Option<Device>>,
    pub locals: Vec<Rc<Local>>,
    pub cloud: Rc<Cloud>,
    pub faults: Faults,
    pub rng: ChaCha8Rng,
    pub periods: Vec<Period>,
    pub armed: Option<(usize, Boundary)>,
    pub backup: Option<(usize, Image)>,
    pub bookmark: Option<(Connection, u64)>,
    pub offline: Option<usize>,
    pub n_machines: usize,
    pub violation: Option<Violation>,
    pub n_requests: u64,
    audit: Option<Audit>,
    properties: Vec<Box<dyn Property>>,
    pythons: Vec<Python>,
    errands: BTreeMap<u64, (usize, Errand)>,
    states: States,
    seen_changes: u64,
    is_awake: bool,
    queue: BTreeMap<(Micros, u64), Event>,
    n_events: u64,
    tokens: Vec<u64>,
    hash: DefaultHasher,
    trace: Option<Vec<String>>,
}

impl World {
    /// The world at the beginning of a run.
    pub fn new(schedule: Schedule, is_traced: bool) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(schedule.seed ^ 0x5EED);
        let time = Time::begin();
        let (n, faults) = (schedule.n_devices, Faults::new(schedule.faults.clone()));
        let account = Template::with(|template| template.account(&time));
        let offline = faults.is_on(Fault::MonthsOffline).then(|| rng.random_range(0..n));
        let properties =
            super::property::all(n, schedule.requests, faults.is_on(Fault::ClockJumps));
        let mut world = Self {
            time,
            account,
            network: Network::default(),
            devices: Vec::new(),
            locals: vec![Rc::default(); n],
            cloud: Rc::default(),
            rng,
            periods: Vec::new(),
            armed: None,
            backup: None,
            bookmark: None,
            offline,
            n_machines: 0,
            violation: None,
            n_requests: 0,
            audit: None,
            properties,
            pythons: Vec::new(),
            errands: BTreeMap::new(),
            states: States::default(),
            seen_changes: 0,
            is_awake: true,
            queue: BTreeMap::new(),
            n_events: 0,
            tokens: vec![0; n],
            hash: DefaultHasher::new(),
            trace: is_traced.then(Vec::new),
            faults,
            schedule,
        };
        for _ in 0..N_PYTHONS {
            let ahead = world.skew();
            world.pythons.push(Python::new(ahead));
        }
        for number in 0..n {
            let device = world.fresh_device(number);
            world.devices.push(Some(device));
            world.look_at(number);
        }
        world.look_at_cloud(true);
        world
    }

    /// How far a clock is ahead, in microseconds.
    pub fn skew(&mut self) -> i64 {
        if self.faults.is_on(Fault::ClocksSkewed) {
            self.faults.count(Fault::ClocksSkewed);
            self.rng.random_range(-1_800_000_000..1_800_000_000)
        } else {
            self.rng.random_range(-500_000..500_000)
        }
    }

    /// A device that has never stored anything, on a machine of its own.
    pub fn fresh_device(&mut self, number: usize) -> Device {
        let ahead = self.skew();
        self.n_machines += 1;
        let make = Make {
            number,
            machine: format!("machine {}", self.n_machines),
            clock: DeviceClock::new(&self.time, ahead),
            network: self.network.clone(),
            seed: self.schedule.seed.wrapping_mul(31).wrapping_add(self.n_machines as u64),
            requests: self.schedule.requests,
        };
        Template::with(|template| Device::start(make, &template.device))
    }

    pub fn now(&self) -> Micros {
        self.time.now()
    }

    pub fn note(&mut self, line: impl FnOnce() -> String) {
        let now = self.now();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{} {}", &now.to_rfc3339()[5..23], line()));
        }
    }

    pub fn stir(&mut self, bytes: &[u8]) {
        self.hash.write(bytes);
    }

    /// What tells this run from another one.
    pub fn fingerprint(&self) -> u64 {
        self.hash.finish()
    }

    pub fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }

    pub fn schedule_in(&mut self, after: Duration, event: Event) {
        self.n_events += 1;
        self.queue.insert((self.now().plus(after), self.n_events), event);
    }

    pub fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(range))
    }

    /// Lets happen what is due before `until`, and moves to then.
    pub fn run_until(&mut self, until: Micros) {
        while self.violation.is_none() && self.next_before(until) {}
        if self.violation.is_none() {
            self.time.move_to(until);
        }
    }

    /// Lets the next event happen, if there is one before `until`.
    pub fn next_before(&mut self, until: Micros) -> bool {
        let Some(entry) = self.queue.first_entry() else { return false };
        let at = entry.key().0;
        if at >= until {
            return false;
        }
        let event = entry.remove();
        self.time.move_to(at);
        self.stir(&at.0.to_le_bytes());
        self.handle(event);
        true
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Wake { device, token } => {
                let is_current = self.tokens[device] == token && self.is_awake;
                if is_current && !self.device(device).is_stepping() {
                    self.advance(device);
                }
            }
            Event::Act { device } => self.act(device),
            Event::Embed { device } => {
                if self.device(device).embed() > 0 {
                    self.look_at(device);
                    self.wake_in(device, PAUSE);
                }
            }
            Event::Errand { number } => self.go_on(number),
            Event::Arrive { ticket, device, request, is_answered } => {
                self.arrive(ticket, device, request, is_answered);
            }
            Event::Answer { ticket, device, reply } => self.deliver(ticket, device, reply),
            Event::Strike(strike) => self.strike(strike),
        }
    }

    pub fn device(&mut self, number: usize) -> &mut Device {
        self.devices[number].as_mut().expect("a device is only away while it is changed")
    }

    /// Lets a device look at what is due after a while.
    pub fn wake_in(&mut self, device: usize, after: Duration) {
        self.tokens[device] += 1;
        let token = self.tokens[device];
        self.schedule_in(after, Event::Wake { device, token });
    }

    pub fn wake_all(&mut self) {
        self.is_awake = true;
        for device in 0..self.devices.len() {
            let after = self.millis(0..500);
            self.wake_in(device, after);
        }
    }

    /// Everybody closes the lid: no device begins a step.
    pub fn sleep_all(&mut self) {
        self.is_awake = false;
    }

    /// Lets a device compare itself with the cloud.
    pub fn begin_audit(&mut self, device: usize) {
        self.audit = None;
        self.device(device).begin_audit();
        self.advance_audit(device);
    }

    /// What came of the last comparison, once it is done.
    pub fn take_audit(&mut self) -> Option<Audit> {
        self.audit.take()
    }

    fn advance_audit(&mut self, device: usize) {
        if let Some(audit) = self.device(device).advance_audit() {
            self.note(|| format!("device {device} was compared: {audit:?}"));
            self.look_at(device);
            self.wake_in(device, PAUSE);
            self.audit = Some(audit);
        }
        for sent in self.network.take_sent() {
            self.post(sent);
        }
    }

    /// Goes on with a device's step as far as it comes.
    pub fn advance(&mut self, device: usize) {
        self.advance_audit(device);
        let outcome = self.device(device).advance();
        let has_moved = self.look_at(device);
        if has_moved {
            let soon = self.millis(50..3_000);
            self.schedule_in(soon, Event::Embed { device });
        }
        let sent = self.network.take_sent();
        let has_sent = !sent.is_empty();
        for sent in sent {
            self.post(sent);
        }
        if let Some(outcome) = outcome {
            match outcome {
                Ok(step) => {
                    let now = self.device(device).now();
                    let wait = step.next_at.map_or(WAKE_EVERY, |at| at.since(now).min(WAKE_EVERY));
                    let moved = step.tally.has_moved();
                    // A loaded machine is late.
                    let late = self.millis(0..2_000);
                    let wait =
                        if moved { Duration::from_millis(1) } else { wait.max(PAUSE) + late };
                    self.note(|| format!("device {device} has stepped: {step:?}"));
                    self.wake_in(device, wait);
                }
                Err(error) => {
                    self.break_off("steps_do_not_fail", format!("device {device}: {error}"));
                }
            }
            self.crash_at(device, Boundary::Applied);
        }
        if has_sent {
            self.crash_at(device, Boundary::Sent);
        }
    }

    fn act(&mut self, device: usize) {
        let is_bad_time = self.periods.iter().any(|one| one.fault == Fault::BucketFails);
        let wants_long = is_bad_time && self.rng.random_bool(0.7);
        let (n_texts, seen) = (self.schedule.n_texts, Rc::clone(&self.locals[device]));
        let acting = self.devices[device].as_ref().expect("it is there");
        let what = person::act(acting, &seen, n_texts, wants_long, &mut self.rng);
        self.note(|| format!("device {device} {what}"));
        self.stir(what.as_bytes());
        let acting = self.devices[device].as_mut().expect("it is there");
        if let Some(after) = acting.look(&mut self.states) {
            let after = Rc::new(after);
            self.locals[device] = Rc::clone(&after);
            self.tell(&Moment::Acted { device, before: &seen, after: &after });
            let soon = self.millis(50..5_000);
            self.schedule_in(soon, Event::Embed { device });
            if !self.device(device).is_stepping() {
                self.wake_in(device, PAUSE);
            }
        }
    }

    /// Sends the Python service of some machine on an errand.
    pub fn begin_errand(&mut self, after: Duration) {
        let number = self.n_events;
        self.schedule_in(after, Event::Errand { number });
    }

    fn go_on(&mut self, number: u64) {
        if !self.errands.contains_key(&number) {
            let machine = self.rng.random_range(0..self.pythons.len());
            let (now, n_texts) = (self.now(), self.schedule.n_texts);
            let errand = self.pythons[machine].errand(
                &self.account,
                now,
                n_texts,
                &mut self.faults,
                &mut self.rng,
            );
            self.note(|| format!("python {machine} {} ({number})", errand.what));
            self.stir(errand.what.as_bytes());
            self.errands.insert(number, (machine, errand));
        }
        let Some((_, mut errand)) = self.errands.remove(&number) else { return };
        // The process may be killed, or its network fail, between any two requests.
        if errand.may_end() && self.rng.random_range(0..25) == 0 {
            self.note(|| format!("python gives up ({number})"));
            return;
        }
        let done = errand.go_on(&self.account);
        if let Some(key) = &done.body {
            self.tell(&Moment::PythonRemovedBody { key });
        }
        if let Some((memory, created_at)) = done.inserted {
            self.tell(&Moment::PythonStored { memory, created_at });
        }
        self.look_at_cloud(done.body.is_some());
        if let Some(pause) = errand.pause() {
            self.errands.insert(number, (0, errand));
            self.schedule_in(pause, Event::Errand { number });
        }
    }

    /// Whether the Python service is still busy.
    pub fn has_errands(&self) -> bool {
        !self.errands.is_empty()
    }

    /// Tells the properties what a device has done. Returns whether it has done anything.
    pub fn look_at(&mut self, device: usize) -> bool {
        let looking = self.devices[device].as_mut().expect("it is there");
        let Some(after) = looking.look(&mut self.states) else { return false };
        let after = Rc::new(after);
        let before = std::mem::replace(&mut self.locals[device], Rc::clone(&after));
        self.tell(&Moment::Moved { device, before: &before, after: &after });
        true
    }

    /// The database of a device that has just started, of which nobody is told.
    pub fn fresh_look(&mut self, device: usize) -> Rc<Local> {
        let looking = self.devices[device].as_mut().expect("it is there");
        Rc::new(looking.look(&mut self.states).expect("it wasn't looked at before"))
    }

    /// The same for the cloud. With `is_sure`, also if no table has changed.
    pub fn look_at_cloud(&mut self, is_sure: bool) {
        let seen = self.seen_changes;
        let states = &mut self.states;
        let look = |conn: &Connection| {
            let changes = conn.total_changes();
            let is_same = changes == seen && !is_sure;
            Ok((changes, if is_same { None } else { Some(Cloud::read(conn, states)?) }))
        };
        let (changes, cloud) = self.account.d1_look(DATABASE, look).unwrap();
        self.seen_changes = changes;
        let Some(mut cloud) = cloud else { return };
        for key in cloud.rows.values().filter_map(|row| row.r2_key.as_ref()) {
            if let Some(body) = self.account.object(BUCKET, key).unwrap() {
                cloud.bodies.insert(key.clone(), String::from_utf8(body.to_vec()).unwrap());
            }
        }
        let after = Rc::new(cloud);
        let before = std::mem::replace(&mut self.cloud, Rc::clone(&after));
        self.tell(&Moment::CloudMoved { before: &before, after: &after });
    }

    /// Rows that the cloud database has changed since it was made.
    pub fn cloud_changes(&self) -> u64 {
        self.seen_changes
    }

    pub fn tell(&mut self, moment: &Moment<'_>) {
        let view = View { now: self.time.now(), devices: &self.locals, cloud: &self.cloud };
        for property in &mut self.properties {
            if let Err(why) = property.see(moment, &view)
                && self.violation.is_none()
            {
                self.violation = Some(Violation { property: property.name(), why });
            }
        }
    }

    pub fn break_off(&mut self, property: &'static str, why: String) {
        self.violation.get_or_insert(Violation { property, why });
    }

    /// Asks the properties about the end.
    pub fn finish(&mut self, vectors: &[memtide::model::id::MemoryId]) {
        let view = View { now: self.time.now(), devices: &self.locals, cloud: &self.cloud };
        let end = super::property::End { view, vectors };
        for property in &mut self.properties {
            if let Err(why) = property.end(&end)
                && self.violation.is_none()
            {
                self.violation = Some(Violation { property: property.name(), why });
            }
        }
    }
}
