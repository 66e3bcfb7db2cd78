//! How far the backfill has come, both ways: a pure value. What is left is read from the tables; only where it
//! began, how much went today and how fast it went lately is remembered here.

use super::progress::Course;
use crate::clock::Micros;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;

/// The time over which the rate is measured.
const WINDOW: Duration = Duration::from_mins(10);
/// Samples that are kept of it.
const SAMPLES: usize = 120;
const DAY_MICROS: i64 = 86_400_000_000;

/// One way. Kept over a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Begun {
    /// How much there was to carry.
    total: u64,
    /// How much is left, when it was last looked.
    left: u64,
    /// The day since the epoch of the last look, and what was left when it began.
    day: i64,
    left_at_dawn: u64,
    /// Whether it is over for good.
    is_over: bool,
}

/// One way, with the looks of the last minutes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Way {
    begun: Begun,
    seen: VecDeque<(Micros, u64)>,
}

impl Way {
    /// Goes on from what was kept.
    pub fn from_begun(begun: Begun) -> Self {
        Self { begun, seen: VecDeque::new() }
    }

    /// What is kept.
    pub fn begun(&self) -> &Begun {
        &self.begun
    }

    /// So much is left at `now`. What comes while something is left makes the whole larger; what comes after
    /// the end is another backfill.
    pub fn saw(&mut self, left: u64, now: Micros) {
        let begun = &mut self.begun;
        if begun.is_over {
            return;
        }
        let day = now.0.div_euclid(DAY_MICROS);
        if begun.left == 0 && left > 0 {
            *begun = Begun { total: left, left, day, left_at_dawn: left, is_over: false };
            self.seen.clear();
        }
        if day != begun.day {
            (begun.day, begun.left_at_dawn) = (day, begun.left);
        }
        if left > begun.left {
            let more = left - begun.left;
            begun.total += more;
            begun.left_at_dawn += more;
            self.seen.clear();
        }
        begun.left = left;
        self.seen.push_back((now, left));
        let is_old = |at: Micros| now.since(at) > WINDOW || at > now;
        while self.seen.len() > SAMPLES || self.seen.front().is_some_and(|(at, _)| is_old(*at)) {
            self.seen.pop_front();
        }
    }

    /// Nothing that comes later belongs to it.
    pub fn end(&mut self, now: Micros) {
        if !self.begun.is_over {
            self.saw(0, now);
            self.begun.is_over = true;
        }
    }

    /// Where it stands at `now`; `None` if there never was anything to carry. `held_until` is when a product
    /// is asked again that can't be asked now, and whether because the day's limit is used up.
    pub fn course(&self, now: Micros, held_until: Option<(Micros, bool)>) -> Option<Course> {
        let Begun { total, left, left_at_dawn, .. } = self.begun;
        if total == 0 {
            return None;
        }
        let done = total.saturating_sub(left);
        let (first_at, first_left) = self.seen.front().copied().unwrap_or((now, left));
        let took = now.since(first_at);
        let went = first_left.saturating_sub(left);
        let is_measured = took >= Duration::from_secs(1) && went > 0 && left > 0;
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no precision")]
        let per_min = if is_measured { went as f64 / (took.as_secs_f64() / 60.0) } else { 0.0 };
        let waits = held_until.map(|(until, _)| until.since(now).as_secs()).unwrap_or_default();
        let today = left_at_dawn.saturating_sub(left);
        let eta_s = match held_until {
            _ if left == 0 => Some(0),
            // A day's limit lets through what it let through today.
            Some((_, true)) if today > 0 => Some(waits + (left - 1) / today * 86_400),
            Some((_, true)) => None,
            _ if per_min > 0.0 => {
                #[expect(
                    clippy::cast_precision_loss,
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "an estimate in whole seconds"
                )]
                let rest = (left as f64 / per_min * 60.0).ceil() as u64;
                Some(waits + rest)
            }
            _ => None,
        };
        Some(Course { done, total, per_min, eta_s })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Micros = Micros(1_700_000_000_000_000);

    fn after(seconds: u64) -> Micros {
        NOON.plus(Duration::from_secs(seconds))
    }

    fn of(way: &Way, now: Micros, held: Option<(Micros, bool)>) -> (u64, u64, f64, Option<u64>) {
        let course = way.course(now, held).unwrap();
        (course.done, course.total, course.per_min, course.eta_s)
    }

    #[test]
    fn the_rate_is_that_of_the_last_minutes() {
        let mut way = Way::default();
        assert_eq!(way.course(NOON, None), None, "there is nothing to tell");
        way.saw(0, NOON);
        assert_eq!(way.course(NOON, None), None);
        way.saw(1000, NOON);
        assert_eq!(of(&way, NOON, None), (0, 1000, 0.0, None));
        way.saw(900, after(60));
        assert_eq!(of(&way, after(60), None), (100, 1000, 100.0, Some(540)));
        way.saw(400, after(630));
        assert_eq!(of(&way, after(660), None), (600, 1000, 50.0, Some(480)));
        way.saw(0, after(700));
        assert_eq!(of(&way, after(700), None), (1000, 1000, 0.0, Some(0)));
        way.saw(30, after(800));
        assert_eq!(of(&way, after(800), None), (0, 30, 0.0, None), "another one");
    }

    #[test]
    fn what_comes_meanwhile_makes_it_longer() {
        let mut way = Way::default();
        way.saw(100, NOON);
        way.saw(40, after(60));
        way.saw(60, after(120));
        assert_eq!(of(&way, after(120), None), (60, 120, 0.0, None));
    }

    #[test]
    fn a_used_up_day_is_the_measure_of_the_next_ones_over_a_restart_too() {
        let mut way = Way::default();
        way.saw(10_000, NOON);
        way.saw(6000, after(600));
        let kept = serde_json::to_string(way.begun()).unwrap();
        let mut way = Way::from_begun(serde_json::from_str(&kept).unwrap());
        way.saw(6000, after(700));
        // 4,000 a day: one half of the next day does not end it.
        let midnight = after(4300);
        assert_eq!(of(&way, after(700), Some((midnight, true))).3, Some(3600 + 86_400));
        assert_eq!(of(&way, after(700), Some((midnight, true))).0, 4000);
        // On the next day, before anything went, nobody knows.
        way.saw(6000, after(90_000));
        assert_eq!(of(&way, after(90_000), Some((after(90_100), true))).3, None);
    }

    #[test]
    fn what_is_over_for_good_does_not_begin_again() {
        let mut way = Way::default();
        way.saw(100, NOON);
        way.end(after(60));
        way.saw(3, after(120));
        let kept = serde_json::to_string(way.begun()).unwrap();
        let way = Way::from_begun(serde_json::from_str(&kept).unwrap());
        assert_eq!(of(&way, after(120), None), (100, 100, 0.0, Some(0)));
    }

    #[test]
    fn a_wait_is_added() {
        let mut way = Way::default();
        way.saw(1000, NOON);
        way.saw(400, after(60));
        assert_eq!(of(&way, after(60), Some((after(160), false))).3, Some(100 + 40));
    }
}
