//! Whether the database tells of the Python service's writes, and what is to be looked for if it doesn't:
//! a pure value.

use crate::clock::Micros;
use crate::remote::poll::{Look, Seen};
use std::time::Duration;

/// Between two looks at all rows: each reads every row, and a free plan has five million reads a day.
const SCAN_EVERY: Duration = Duration::from_hours(1);
/// Seconds that the looks for deletions overlap, as clocks differ.
const OVERLAP_S: i64 = 3600;

/// What is known of the database's triggers, and how far was looked without them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Polling {
    lacks_triggers: bool,
    seen: Option<(i64, i64)>,
    scanned_at: Option<Micros>,
}

impl Polling {
    /// Whether rows must be looked for.
    pub fn is_needed(&self) -> bool {
        self.lacks_triggers
    }

    /// An answer told whether the triggers are there.
    pub fn learn(&mut self, has_triggers: bool) {
        if has_triggers {
            *self = Self::default();
        }
        self.lacks_triggers = !has_triggers;
    }

    /// What to look for at `now`.
    pub fn look(&self, now: Micros) -> Look {
        let is_fresh = |at: Micros| now.since(at) < SCAN_EVERY && at <= now;
        match (self.seen, self.scanned_at) {
            (Some((after, since)), Some(at)) if is_fresh(at) => {
                Look::Latest { after, since: since - OVERLAP_S }
            }
            _ => Look::All,
        }
    }

    /// A look was taken.
    pub fn saw(&mut self, look: &Look, seen: &Seen, is_full: bool, now: Micros) {
        if is_full {
            // There is more of the same.
            return;
        }
        if *look == Look::All {
            self.scanned_at = Some(now);
        }
        self.seen = Some((seen.newest, seen.now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rows_are_looked_at_hourly_and_the_latest_in_between() {
        let (mut polling, now) = (Polling::default(), Micros(1_700_000_000_000_000));
        assert!(!polling.is_needed());
        polling.learn(false);
        assert!(polling.is_needed());
        assert_eq!(polling.look(now), Look::All);
        let seen = Seen { announced: 500, newest: 900, now: 10_000 };
        polling.saw(&Look::All, &seen, true, now);
        assert_eq!(polling.look(now), Look::All, "there was more");
        polling.saw(&Look::All, &seen, false, now);
        let latest = Look::Latest { after: 900, since: 10_000 - OVERLAP_S };
        assert_eq!(polling.look(now.plus(Duration::from_mins(59))), latest);
        assert_eq!(polling.look(now.plus(Duration::from_mins(60))), Look::All);
        assert_eq!(polling.look(Micros(0)), Look::All, "the clock was set back");
        polling.learn(true);
        assert!(!polling.is_needed());
    }
}
