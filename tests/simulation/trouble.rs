//! Troubles of devices and of the account, beyond the network's.

use super::account::{DATABASE, INDEX};
use super::device::Death;
use super::fault::Fault;
use super::property::Moment;
use super::world::{Event, Strike, World};
use memtide::clock::Micros;
use memtide::emulator::faults::{Effect, Reply, RetryAfter, Rule};
use memtide::emulator::product::Product;
use rand::RngExt as _;
use std::rc::Rc;
use std::time::Duration;

/// The boundary of an effect, at which a device may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// At any time.
    Anywhere,
    /// A request has left.
    Sent,
    /// A request was carried out, its answer is on the way.
    CarriedOut,
    /// An answer was taken in and written down.
    Applied,
}

impl Boundary {
    const ALL: [Self; 4] = [Self::Anywhere, Self::Sent, Self::CarriedOut, Self::Applied];
}

/// A while during which the account answers wrongly.
#[derive(Debug, Clone, Copy)]
pub struct Period {
    pub fault: Fault,
    pub until: Micros,
}

const PERIODS: [Fault; 5] = [
    Fault::Throttled,
    Fault::ServerErrors,
    Fault::Unauthorised,
    Fault::QuotaUsedUp,
    Fault::BucketFails,
];

impl World {
    /// Draws what strikes during a session. With `is_last` everything that hasn't happened strikes.
    pub fn draw_strikes(&mut self, session: Duration, is_last: bool) {
        let mut strikes = Vec::new();
        for fault in Fault::ALL {
            let is_due = is_last && !self.faults.happened().contains_key(&fault);
            if !self.faults.is_on(fault) || !(is_due || self.rng.random_bool(0.4)) {
                continue;
            }
            let device = self.rng.random_range(0..self.devices.len());
            let other = (device + 1) % self.devices.len();
            let at = session.mul_f64(self.rng.random_range(0.1..0.6));
            let later = at + session.mul_f64(self.rng.random_range(0.05..0.3));
            match fault {
                _ if PERIODS.contains(&fault) => {
                    let length = Duration::from_secs(self.rng.random_range(10..50));
                    strikes.push((at, Strike::Period(fault, length)));
                }
                Fault::Crash => {
                    for _ in 0..self.rng.random_range(1..4) {
                        let device = self.rng.random_range(0..self.devices.len());
                        let boundary = Boundary::ALL[self.rng.random_range(0..Boundary::ALL.len())];
                        let at = session.mul_f64(self.rng.random_range(0.0..0.9));
                        strikes.push((at, Strike::ArmCrash(device, boundary)));
                    }
                }
                Fault::ClockJumps => strikes.push((at, Strike::SetClock(device))),
                Fault::Restored => {
                    strikes.push((at, Strike::Backup(device)));
                    strikes.push((later, Strike::Restore(device)));
                }
                Fault::Cloned => strikes.push((at, Strike::Clone { from: device, to: other })),
                Fault::Destroyed => strikes.push((later, Strike::Destroy(device))),
                Fault::Rewound => {
                    strikes.push((at, Strike::Bookmark));
                    strikes.push((later, Strike::Rewind));
                }
                Fault::VectorsLost => strikes.push((later, Strike::LoseVectors)),
                _ => {}
            }
        }
        for (at, strike) in strikes {
            self.schedule_in(at, Event::Strike(strike));
        }
    }

    pub fn strike(&mut self, strike: Strike) {
        self.note(|| format!("* {strike:?}"));
        match strike {
            Strike::Period(fault, length) => {
                let until = self.now().plus(length);
                self.periods.push(Period { fault, until });
                if fault == Fault::BucketFails {
                    let device = self.rng.random_range(0..self.devices.len());
                    self.schedule_in(Duration::from_secs(1), Event::Act { device });
                }
            }
            Strike::ArmCrash(device, Boundary::Anywhere) => self.crash(device),
            Strike::ArmCrash(device, boundary) => self.armed = Some((device, boundary)),
            Strike::SetClock(device) => {
                self.faults.count(Fault::ClockJumps);
                let ahead = self.rng.random_range(-1_800_000_000..1_800_000_000);
                self.device(device).make.clock.set_ahead(ahead);
            }
            Strike::Backup(device) => {
                // An older backup is the worse one.
                if self.backup.as_ref().is_none_or(|(whose, _)| *whose != device) {
                    self.backup = Some((device, self.device(device).image()));
                }
            }
            Strike::Restore(device) => self.restore(device),
            Strike::Clone { from, to } => self.clone_over(from, to),
            Strike::Destroy(device) => self.destroy(device),
            Strike::Bookmark => {
                let copy = self.account.d1_copy(DATABASE).unwrap();
                self.bookmark = Some((copy, self.cloud_changes()));
            }
            Strike::Rewind => self.rewind(),
            Strike::LoseVectors => {
                if self.account.lose_mutations(INDEX).unwrap() > 0 {
                    self.faults.count(Fault::VectorsLost);
                }
            }
        }
    }

    /// Kills a device if that was armed for this boundary.
    pub fn crash_at(&mut self, device: usize, boundary: Boundary) {
        if self.armed == Some((device, boundary)) {
            self.armed = None;
            self.crash(device);
        }
    }

    fn crash(&mut self, device: usize) {
        self.faults.count(Fault::Crash);
        let death = if self.rng.random_bool(0.5) { Death::Kill } else { Death::PowerCut };
        self.note(|| format!("* device {device} dies: {death:?}"));
        self.look_at(device);
        let before = Rc::clone(&self.locals[device]);
        let dead = self.devices[device].take().expect("it is there");
        self.devices[device] = Some(dead.crash(death));
        self.arise(device);
        let after = Rc::clone(&self.locals[device]);
        self.tell(&Moment::Crashed { device, before: &before, after: &after });
    }

    /// Puts the view of a device, whose database is another one now, in order.
    fn arise(&mut self, device: usize) {
        self.locals[device] = self.fresh_look(device);
        let after = self.millis(100..5_000);
        self.wake_in(device, after);
        self.schedule_in(after, Event::Embed { device });
    }

    fn restore(&mut self, device: usize) {
        let Some((whose, image)) = self.backup.take() else { return };
        if whose != device {
            self.backup = Some((whose, image));
            return;
        }
        self.faults.count(Fault::Restored);
        self.replaced(device);
        let old = self.devices[device].take().expect("it is there");
        self.devices[device] = Some(old.rise_on(&image));
        self.arise(device);
    }

    fn clone_over(&mut self, from: usize, to: usize) {
        self.faults.count(Fault::Cloned);
        let image = self.device(from).image();
        self.replaced(to);
        let old = self.devices[to].take().expect("it is there");
        self.devices[to] = Some(old.rise_on(&image));
        self.arise(to);
    }

    fn destroy(&mut self, device: usize) {
        self.faults.count(Fault::Destroyed);
        self.replaced(device);
        self.network.hang_up(device);
        self.devices[device] = None;
        self.devices[device] = Some(self.fresh_device(device));
        self.arise(device);
        if self.backup.as_ref().is_some_and(|(whose, _)| *whose == device) {
            // It went with the device.
            self.backup = None;
        }
    }

    fn replaced(&mut self, device: usize) {
        self.look_at(device);
        let before = Rc::clone(&self.locals[device]);
        self.tell(&Moment::Replaced { device, before: &before });
    }

    fn rewind(&mut self) {
        let Some((copy, changes)) = self.bookmark.take() else { return };
        if changes == self.cloud_changes() {
            self.bookmark = Some((copy, changes));
            return;
        }
        self.faults.count(Fault::Rewound);
        self.account.d1_become(DATABASE, &copy).unwrap();
        self.tell(&Moment::Rewound);
        self.look_at_cloud(true);
    }

    /// Lets the next answer of the account be wrong, if it is a bad time for `product`.
    pub fn trouble(&mut self, product: Product) {
        let now = self.now();
        let happened = self.faults.happened().clone();
        // A bad time lasts at least until it has hit somebody.
        self.periods.retain(|one| one.until > now || !happened.contains_key(&one.fault));
        let Some(period) = self.periods.iter().find(|one| concerns(one.fault, product)).copied()
        else {
            return;
        };
        self.faults.count(period.fault);
        let effect = match period.fault {
            Fault::Throttled => Effect::reply(self.throttled(product)),
            Fault::Unauthorised => Effect::reply(Reply::error(401, 10_000, "Authentication error")),
            Fault::QuotaUsedUp => {
                let text = "Your account has exceeded D1's free tier daily row write limit";
                Effect::reply(Reply::error(400, 7500, text))
            }
            _ => {
                let reply = match self.rng.random_range(0..3) {
                    0 => Reply::html(503),
                    // From the bucket any text is an object.
                    1 if product != Product::R2 => Reply::not_json(),
                    _ => Reply::html(502),
                };
                Effect::Reply { executed: self.rng.random_bool(0.4), reply }
            }
        };
        self.account.inject(Rule::new(effect).times(1));
    }

    fn throttled(&mut self, product: Product) -> Reply {
        let of_product = match product {
            Product::Vectorize => 40_041,
            Product::R2 => 10_058,
            _ => 7_429,
        };
        let code = if self.rng.random_bool(0.4) { 971 } else { of_product };
        let after = if self.rng.random_bool(0.8) {
            RetryAfter::Seconds(self.rng.random_range(2..90))
        } else {
            RetryAfter::Absent
        };
        Reply::throttled(code, after)
    }
}

fn concerns(fault: Fault, product: Product) -> bool {
    match fault {
        Fault::QuotaUsedUp => product == Product::D1,
        Fault::BucketFails => product == Product::R2,
        _ => true,
    }
}
