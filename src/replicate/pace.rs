//! When the feed is read next, and how far it has been read: a pure value.
//!
//! Every 15 seconds while anything moves, more and more rarely while nothing does, at once when somebody
//! asks or when the network is back.

use crate::clock::Micros;
use crate::remote::feed::PAGE_MAX;
use std::time::Duration;

/// Between two looks while something moves.
pub const ACTIVE: Duration = Duration::from_secs(15);
/// Between two looks after a long quiet time.
pub const QUIET: Duration = Duration::from_mins(5);

/// Between two tries to take what was set aside.
pub const RETRY: Duration = Duration::from_hours(1);

/// So many times in a row the text of one entry is asked for before the feed goes on without it.
pub const TRIES: u32 = 10;

/// More deletions than this, and more than one memory in [`GUARD_SHARE`], are asked about first.
pub const GUARD_DELETIONS: u64 = 50;
/// The share of all memories: a fifth.
pub const GUARD_SHARE: u64 = 5;

/// A stamp that is later than the own clock by more than this tells of a wrong clock.
pub const SKEW: Duration = Duration::from_mins(5);

/// Deletions that a person has to agree to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Memories that would be deleted.
    pub deletions: u64,
    /// Memories that live.
    pub of: u64,
}

/// The state of the reading.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one fact of the reading")]
pub struct Pace {
    next_at: Micros,
    interval: Duration,
    failures: u32,
    limit: usize,
    /// Whether everything up to the newest position was read since somebody last asked.
    is_caught_up: bool,
    caught_up_at: Option<Micros>,
    was_ever_caught_up: bool,
    behind: Option<u64>,
    /// Deleted since the feed was last caught up with.
    deleted: u64,
    held: Option<Held>,
    accepts_deletions: bool,
    ahead: Option<Duration>,
    retry_at: Micros,
    /// The entry whose text could not be fetched, and how many times in a row.
    missed: (i64, u32),
    /// Whether the next entry is about to change.
    is_settling: bool,
}

impl Pace {
    /// Whether the feed is to be read at `now`. A clock that was set back doesn't hold it up for longer
    /// than it ever waits.
    pub fn is_due(&self, now: Micros) -> bool {
        self.held.is_none() && (self.next_at <= now || self.next_at.since(now) > QUIET * 13)
    }

    /// When it is read next; `None` while a person has to agree first.
    pub fn next_at(&self) -> Option<Micros> {
        self.held.is_none().then_some(self.next_at)
    }

    /// Entries to ask for: fewer after an answer that could not be taken.
    pub fn limit(&self) -> usize {
        if self.limit == 0 { PAGE_MAX } else { self.limit }
    }

    /// Tries in a row that failed.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// When everything was last read.
    pub fn caught_up_at(&self) -> Option<Micros> {
        self.caught_up_at
    }

    /// Whether everything was read since somebody last asked.
    pub fn is_caught_up(&self) -> bool {
        self.is_caught_up
    }

    /// Whether everything was read at least once: before that, most of what is owed may be there already.
    pub fn was_ever_caught_up(&self) -> bool {
        self.was_ever_caught_up
    }

    /// Whether the reading waits for an entry that is about to change.
    pub fn is_settling(&self) -> bool {
        self.is_settling
    }

    /// Positions between the cursor and the newest one; `None` before the first answer.
    pub fn behind(&self) -> Option<u64> {
        self.behind
    }

    /// How much there is to read, as an answer has told before any of it was taken.
    pub fn saw_behind(&mut self, behind: u64) {
        if self.behind.is_none() {
            self.behind = Some(behind);
        }
    }

    /// The deletions that wait for a person.
    pub fn held(&self) -> Option<Held> {
        self.held
    }

    /// By how much the newest stamp that was read is later than the own clock, if that is suspect.
    pub fn ahead(&self) -> Option<Duration> {
        self.ahead
    }

    /// Whether what was set aside is to be fetched once more: hourly, and when somebody asks.
    pub fn takes_retry(&mut self, now: Micros) -> bool {
        let is_due =
            self.is_caught_up && (self.retry_at <= now || self.retry_at.since(now) > RETRY);
        if is_due {
            self.retry_at = now.plus(RETRY);
        }
        is_due
    }

    /// There is reason to fetch what was set aside at this instant already.
    pub fn retries_at(&mut self, at: Micros) {
        self.retry_at = self.retry_at.min(at);
    }

    /// The text of the entry at this position could not be fetched: how many times in a row by now.
    pub fn missed(&mut self, seq: i64) -> u32 {
        let before = if self.missed.0 == seq { self.missed.1 } else { 0 };
        self.missed = (seq, before.saturating_add(1));
        self.missed.1
    }

    /// Somebody asked, or something changed here: it is read at once.
    pub fn hasten(&mut self) {
        self.retry_at = Micros::default();
        self.is_caught_up = false;
        self.next_at = Micros::default();
        self.interval = ACTIVE;
    }

    /// Something moved here: others may be at work too.
    pub fn stir(&mut self, now: Micros) {
        self.interval = ACTIVE;
        if self.failures == 0 {
            self.next_at = self.next_at.min(now.plus(ACTIVE));
        }
    }

    /// Lets the deletions pass that are held, until the feed is caught up with.
    pub fn accept_deletions(&mut self) {
        // With nothing held there is nothing to agree to: it would be a blank cheque.
        self.accepts_deletions |= self.held.take().is_some();
        self.hasten();
    }

    /// Whether a page may delete so many of so many memories. Pages that follow each other count
    /// together.
    pub fn may_delete(&self, deletions: u64, of: u64) -> bool {
        let all = self.deleted + deletions;
        let is_mass = all > GUARD_DELETIONS && all * GUARD_SHARE > of + self.deleted;
        self.accepts_deletions || !is_mass
    }

    /// Memories deleted since the feed was last caught up with.
    pub fn deleted(&self) -> u64 {
        self.deleted
    }

    /// So many were deleted before the program was started again.
    pub fn with_deleted(deleted: u64) -> Self {
        Self { deleted, ..Self::default() }
    }

    /// So many memories were deleted by what was fetched beside the pages.
    pub fn deleted_aside(&mut self, deleted: u64) {
        self.deleted += deleted;
    }

    /// A page asks for more deletions than pass without a person.
    pub fn hold(&mut self, deletions: u64, of: u64) {
        self.held = Some(Held { deletions: self.deleted + deletions, of: of + self.deleted });
    }

    /// A page was applied that deleted so many memories; there are more.
    pub fn read_a_page(&mut self, deleted: u64, behind: u64, now: Micros) {
        self.deleted += deleted;
        self.is_settling = false;
        self.failures = 0;
        self.limit = 0;
        self.behind = Some(behind);
        self.next_at = now;
        self.interval = ACTIVE;
    }

    /// Everything was read; `has_moved` tells whether anything was new.
    pub fn caught_up(&mut self, has_moved: bool, now: Micros) {
        self.interval = if has_moved { ACTIVE } else { (self.interval * 2).clamp(ACTIVE, QUIET) };
        self.next_at = now.plus(self.interval);
        self.is_settling = false;
        self.failures = 0;
        self.limit = 0;
        self.is_caught_up = true;
        self.was_ever_caught_up = true;
        self.caught_up_at = Some(now);
        self.behind = Some(0);
        self.deleted = 0;
        self.accepts_deletions = false;
    }

    /// The next entry is about to change: it is read at this instant.
    pub fn settles_at(&mut self, at: Micros) {
        self.failures = 0;
        self.is_settling = true;
        self.next_at = at;
    }

    /// It could not be read, and is tried again at this instant.
    pub fn failed(&mut self, at: Micros) {
        self.is_settling = false;
        self.failures = self.failures.saturating_add(1);
        self.next_at = at;
    }

    /// An answer as a whole could not be had: half as much is asked for. `false` if it was one entry.
    pub fn halve(&mut self) -> bool {
        let limit = self.limit();
        self.limit = (limit / 2).max(1);
        limit > 1
    }

    /// The newest stamp of a page lies so far ahead of the own clock.
    pub fn saw_ahead(&mut self, ahead: Duration) {
        self.ahead = (ahead > SKEW).then_some(ahead);
    }

    /// The device was linked to something else, or the database was put back.
    pub fn begin_anew(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = Micros(1_700_000_000_000_000);

    #[test]
    fn a_quiet_feed_is_read_ever_more_rarely_and_a_lively_one_often() {
        let mut pace = Pace::default();
        assert!(pace.is_due(NOW), "at once after the start");
        let waits: Vec<u64> = (0..7)
            .map(|_| {
                pace.caught_up(false, NOW);
                pace.next_at().unwrap().since(NOW).as_secs()
            })
            .collect();
        assert_eq!(waits, [15, 30, 60, 120, 240, 300, 300]);
        assert!(!pace.is_due(NOW));
        pace.stir(NOW);
        assert_eq!(pace.next_at(), Some(NOW.plus(ACTIVE)));
        pace.caught_up(true, NOW);
        assert_eq!(pace.next_at(), Some(NOW.plus(ACTIVE)));
        assert!(pace.is_caught_up());
        pace.hasten();
        assert!(pace.is_due(NOW) && !pace.is_caught_up() && pace.was_ever_caught_up());
    }

    #[test]
    fn many_deletions_are_asked_about_also_when_they_come_page_by_page() {
        let mut pace = Pace::default();
        assert!(pace.may_delete(50, 60), "fifty are no mass");
        assert!(pace.may_delete(51, 255), "nor is a fifth");
        assert!(!pace.may_delete(51, 254));
        pace.read_a_page(40, 3, NOW);
        assert!(!pace.may_delete(11, 200), "51 of 240");
        pace.hold(11, 200);
        assert_eq!(pace.held(), Some(Held { deletions: 51, of: 240 }));
        assert!(!pace.is_due(NOW) && pace.next_at().is_none());
        pace.accept_deletions();
        assert!(pace.is_due(NOW) && pace.may_delete(500, 500));
        pace.caught_up(true, NOW);
        assert!(!pace.may_delete(500, 500), "only once");
    }

    #[test]
    fn what_was_set_aside_is_fetched_hourly_and_sooner_where_there_is_reason() {
        let mut pace = Pace::default();
        assert!(!pace.takes_retry(NOW), "before everything was read");
        pace.caught_up(true, NOW);
        assert!(pace.takes_retry(NOW) && !pace.takes_retry(NOW));
        pace.retries_at(NOW.plus(QUIET));
        pace.retries_at(NOW.plus(RETRY * 2));
        assert!(!pace.takes_retry(NOW) && pace.takes_retry(NOW.plus(QUIET)));
        assert_eq!([pace.missed(3), pace.missed(3), pace.missed(4), pace.missed(3)], [1, 2, 1, 1]);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_stop_the_reading() {
        let mut pace = Pace::default();
        pace.caught_up(false, NOW);
        let before = Micros(NOW.0 - 86_400_000_000);
        assert!(pace.is_due(before));
    }

    #[test]
    fn an_answer_that_can_not_be_had_is_asked_for_by_halves() {
        let mut pace = Pace::default();
        let mut n = 0;
        while pace.halve() {
            n += 1;
        }
        assert_eq!((n, pace.limit()), (10, 1));
        pace.caught_up(true, NOW);
        assert_eq!(pace.limit(), PAGE_MAX);
    }
}
