//! What goes next: pure functions from gates, budget, duties and sizes to one bounded batch.

use super::breaker::Admission;
use crate::clock::Micros;
use crate::remote::budget::Lane;
use crate::remote::push;
use crate::store::outbox::Duty;
use std::time::Duration;

/// Of five places in a batch, one is kept for the backfill while live changes fill the rest.
const BACKFILL_SHARE: usize = 5;

/// How long each lane must wait for the own request budget; `None` if it need not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waits {
    /// Live changes.
    pub live: Option<Duration>,
    /// The backfill alone.
    pub backfill: Option<Duration>,
}

/// What one pass over a product may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Duties.
    pub count: usize,
    /// Whether a request may go that carries nothing but backfill.
    pub backfill_alone: bool,
}

/// The room for at most `most` duties, behind all of `gates`; `None` if nothing may go.
pub fn room(most: usize, gates: &[Admission], waits: Waits) -> Option<Room> {
    if waits.live.is_some() {
        return None;
    }
    let mut count = most;
    for gate in gates {
        match gate {
            Admission::Open => {}
            Admission::Probe => count = 1,
            Admission::Shut { .. } => return None,
        }
    }
    Some(Room { count, backfill_alone: waits.backfill.is_none() })
}

/// Chooses from what is due, live changes first; says in which lane the request counts. The lists are
/// in the order of their due times.
pub fn choose(mut live: Vec<Duty>, mut backfill: Vec<Duty>, room: Room) -> (Vec<Duty>, Lane) {
    if live.is_empty() {
        backfill.truncate(if room.backfill_alone { room.count } else { 0 });
        return (backfill, Lane::Backfill);
    }
    let kept = backfill.len().min(room.count / BACKFILL_SHARE);
    live.truncate(room.count - kept);
    backfill.truncate(room.count - live.len());
    live.append(&mut backfill);
    (live, Lane::Live)
}

/// How full a batch of rows is while it is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowLoad {
    weight: usize,
    bytes: usize,
}

impl RowLoad {
    /// Takes a memory of about so many bytes; `false` if the batch is full without it. The first one
    /// always goes: whether a request can carry it is for the encoder to say.
    pub fn take(&mut self, writes_row: bool, bytes: usize) -> bool {
        let weight =
            if writes_row { push::BATCH_MAX_ENTRIES / push::BATCH_MAX_MEMORIES } else { 1 };
        let fits = self.weight + weight <= push::BATCH_MAX_ENTRIES
            && self.bytes + bytes <= push::BATCH_MAX_BYTES;
        if !fits && self.weight > 0 {
            return false;
        }
        self.weight += weight;
        self.bytes += bytes;
        true
    }
}

/// Divides what was refused as a whole, so that the entry at fault is found.
pub fn halves<T>(mut part: Vec<T>) -> (Vec<T>, Vec<T>) {
    let second = part.split_off(part.len() / 2);
    (part, second)
}

/// When a product is tried again: when something is due, its gates let it through and the budget has
/// room.
pub fn next_attempt(
    due_at: Option<Micros>,
    gates: &[Admission],
    waits: Waits,
    now: Micros,
) -> Option<Micros> {
    let mut at = due_at?;
    for gate in gates {
        if let Admission::Shut { until } = gate {
            at = at.max(*until);
        }
    }
    // The longer wait is the backfill's; whoever is due first is told apart by the next pass.
    let wait = waits.live.or(waits.backfill);
    Some(at.max(wait.map_or(at, |wait| now.plus(wait))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duties(range: std::ops::Range<i64>, is_backfill: bool) -> Vec<Duty> {
        range.map(|key| Duty { key, generation: 1, attempts: 0, is_backfill }).collect()
    }

    fn count(duties: &[Duty]) -> (usize, usize) {
        let n_backfill = duties.iter().filter(|duty| duty.is_backfill).count();
        (duties.len() - n_backfill, n_backfill)
    }

    const FREE: Waits = Waits { live: None, backfill: None };
    const ROOM: Room = Room { count: 100, backfill_alone: true };

    #[test]
    fn a_shut_gate_and_a_used_up_budget_leave_no_room() {
        let shut = Admission::Shut { until: Micros(9) };
        assert_eq!(room(100, &[Admission::Open], FREE), Some(ROOM));
        assert_eq!(room(100, &[Admission::Open, shut], FREE), None);
        let probe = room(100, &[Admission::Open, Admission::Probe], FREE);
        assert_eq!(probe, Some(Room { count: 1, backfill_alone: true }));
        let wait = Some(Duration::from_secs(1));
        assert_eq!(room(100, &[], Waits { live: wait, backfill: wait }), None);
        let live_only = room(100, &[], Waits { live: None, backfill: wait });
        assert_eq!(live_only, Some(Room { count: 100, backfill_alone: false }));
    }

    #[test]
    fn live_changes_go_first_and_leave_a_fifth() {
        let pick = |n_live, n_backfill, room| {
            let (chosen, lane) =
                choose(duties(0..n_live, false), duties(0..n_backfill, true), room);
            (count(&chosen), lane)
        };
        assert_eq!(pick(300, 300, ROOM), ((80, 20), Lane::Live));
        assert_eq!(pick(300, 5, ROOM), ((95, 5), Lane::Live));
        assert_eq!(pick(10, 300, ROOM), ((10, 90), Lane::Live));
        assert_eq!(pick(0, 300, ROOM), ((0, 100), Lane::Backfill));
        let probe = Room { count: 1, backfill_alone: true };
        assert_eq!(pick(3, 3, probe), ((1, 0), Lane::Live));
        let waiting = Room { count: 100, backfill_alone: false };
        assert_eq!(pick(0, 300, waiting), ((0, 0), Lane::Backfill));
        assert_eq!(pick(1, 300, waiting), ((1, 99), Lane::Live), "they ride along");
    }

    #[test]
    fn a_batch_of_rows_is_bounded_by_number_and_by_bytes() {
        let fill = |is_alive, bytes| {
            let mut load = RowLoad::default();
            (0..10_000).take_while(|_| load.take(is_alive, bytes)).count()
        };
        assert_eq!(fill(true, 10), 500);
        assert_eq!(fill(false, 10), 2000);
        assert_eq!(fill(true, 500_000), 3);
        assert_eq!(fill(true, 1_500_001), 1, "an oversized one is not held back for ever");
        let mut mixed = RowLoad::default();
        assert!((0..250).all(|_| mixed.take(true, 1)));
        assert_eq!((0..5000).take_while(|_| mixed.take(false, 1)).count(), 1000);
    }

    #[test]
    fn halves_keep_everything() {
        assert_eq!(halves(vec![1, 2, 3]), (vec![1], vec![2, 3]));
        assert_eq!(halves(vec![1, 2]), (vec![1], vec![2]));
    }

    #[test]
    fn the_next_attempt_waits_for_the_last_of_its_conditions() {
        let now = Micros(1_000_000);
        let shut = Admission::Shut { until: Micros(5_000_000) };
        assert_eq!(next_attempt(None, &[shut], FREE, now), None);
        assert_eq!(next_attempt(Some(now), &[], FREE, now), Some(now));
        assert_eq!(next_attempt(Some(now), &[shut], FREE, now), Some(Micros(5_000_000)));
        assert_eq!(
            next_attempt(Some(Micros(9_000_000)), &[shut], FREE, now),
            Some(Micros(9_000_000))
        );
        let wait = Waits { live: None, backfill: Some(Duration::from_secs(7)) };
        assert_eq!(next_attempt(Some(now), &[shut], wait, now), Some(Micros(8_000_000)));
    }
}
