//! What a row of the Python service's local database showed when it was last looked at. Whatever differs from
//! it now is the service's own edit; whatever doesn't says nothing, however old it is.

use super::id::{BodyHash, MemoryId};
use super::shown::{CLIENT, Shown, VOLATILE, is_same_instant};
use super::stamp::DeviceId;
use super::state::{Birth, Register, State};
use super::takeover::{after, revive};
use crate::clock::Micros;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What a row showed, as it is kept: without what the service rewrites at every search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    #[serde(rename = "b")]
    body: String,
    #[serde(rename = "c")]
    created_at: i64,
    #[serde(rename = "u")]
    updated_at: i64,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    deleted_at: Option<i64>,
    #[serde(rename = "k")]
    kind: String,
    #[serde(rename = "t", default, skip_serializing_if = "BTreeSet::is_empty")]
    tags: BTreeSet<String>,
    #[serde(rename = "m", default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    superseded_by: Option<String>,
}

/// A state after the service's edits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The registers.
    pub state: State,
    /// Whether some edit was older than what stands here, and lost.
    pub has_lost: bool,
}

impl Seen {
    /// What `row` shows, with a text that `body` names.
    pub fn of(row: &Shown, body: BodyHash) -> Self {
        let is_kept = |key: &&String| !VOLATILE.contains(&key.as_str());
        let metadata = row.metadata.iter().filter(|(key, _)| is_kept(key));
        Self {
            body: body.to_string(),
            created_at: row.created_at.0,
            updated_at: row.updated_at.0,
            deleted_at: row.deleted_at.map(|at| at.0),
            kind: row.kind.clone(),
            tags: row.tags.clone(),
            metadata: metadata.map(|(key, value)| (key.clone(), value.clone())).collect(),
            superseded_by: row.superseded_by.map(|id| id.to_string()),
        }
    }

    /// The text that is kept of it: equal for equal rows.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Reads what [`Seen::to_text`] wrote; `None` if that is damaged.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Whether the row showed a living memory.
    pub fn is_alive(&self) -> bool {
        self.deleted_at.is_none()
    }

    fn body(&self) -> Option<BodyHash> {
        self.body.parse().ok()
    }

    fn superseded_by(&self) -> Option<MemoryId> {
        self.superseded_by.as_ref().and_then(|id| id.parse().ok())
    }
}

/// The registers of `state` after what the service has done since it showed `seen`: only that in which `row`
/// differs from it. An edit is as late as the row says, or as `observed_at` where the row doesn't tell, as the
/// service rewrites metadata without a trace. It replaces what the service itself had written, and else what
/// is older.
pub fn edited(
    state: &State,
    seen: &Seen,
    row: &Shown,
    body: BodyHash,
    observed_at: Micros,
) -> Edited {
    let mut after_all = state.clone();
    if is_stored_again(state, seen, row) {
        revive(&mut after_all, row, body);
        return Edited { state: after_all, has_lost: false };
    }
    let is_moved = row.updated_at.0 != seen.updated_at;
    let at = if is_moved { row.updated_at } else { observed_at };
    let mut edit = Edit { at, has_lost: false };
    edit.life(&mut after_all, seen, row);
    if !is_same_instant(row.created_at, Micros(seen.created_at)) {
        let was = Birth { at: Micros(seen.created_at), ..birth(row) };
        edit.put(&mut after_all.birth, &was, birth(row));
    }
    if let Some(was) = seen.body() {
        edit.put(&mut after_all.text, &was, body);
    }
    edit.put(&mut after_all.kind, &seen.kind, row.kind.clone());
    edit.put(&mut after_all.superseded_by, &seen.superseded_by(), row.superseded_by);
    for tag in seen.tags.symmetric_difference(&row.tags) {
        let register = after_all.tags.entry(tag.clone()).or_default();
        edit.put(register, &seen.tags.contains(tag), row.tags.contains(tag));
    }
    let keys: BTreeSet<&String> = seen.metadata.keys().chain(row.metadata.keys()).collect();
    for key in keys.into_iter().filter(|key| !VOLATILE.contains(&key.as_str())) {
        let (was, is) = (seen.metadata.get(key).cloned(), row.metadata.get(key).cloned());
        if was == is {
            continue;
        }
        let register = after_all.metadata.entry(key.clone()).or_default();
        edit.put(register, &was, is);
    }
    if after_all != *state {
        let changed_at = if row.deleted_at.map(|at| at.0) == seen.deleted_at {
            at
        } else {
            row.deleted_at.unwrap_or(at)
        };
        after_all.updated_at = after_all.updated_at.max(changed_at);
    }
    Edited { state: after_all, has_lost: edit.has_lost }
}

/// Whether the service stored a memory again that is dead here. An old copy of the row is none: its
/// `created_at` lies before the deletion.
fn is_stored_again(state: &State, seen: &Seen, row: &Shown) -> bool {
    if state.is_alive() || row.deleted_at.is_some() {
        return false;
    }
    let life = &state.life.stamp;
    // Within the millisecond of its own deletion, which a stamp doesn't tell apart.
    let is_after_own = seen.deleted_at.is_some_and(|at| {
        row.created_at.0 > at && life.device == DeviceId(0) && life.ms <= Micros(at).as_millis()
    });
    row.created_at.as_millis() > life.ms || is_after_own
}

fn birth(row: &Shown) -> Birth {
    Birth { at: row.created_at, device: DeviceId(0), client: CLIENT.to_owned() }
}

struct Edit {
    at: Micros,
    has_lost: bool,
}

impl Edit {
    fn put<T: Ord + Clone>(&mut self, register: &mut Register<T>, was: &T, is: T) {
        if *was == is || register.value == is {
            return;
        }
        let is_own = register.stamp.device == DeviceId(0) && register.value == *was;
        if is_own || self.at.as_millis() > register.stamp.ms {
            *register = Register::new(after(register.stamp, self.at), is);
        } else {
            self.has_lost = true;
        }
    }

    /// A deletion. What comes to life again is no edit of this register alone.
    fn life(&mut self, state: &mut State, seen: &Seen, row: &Shown) {
        let Some(at) = row.deleted_at.filter(|_| seen.is_alive() && state.is_alive()) else {
            return;
        };
        let life = &state.life.stamp;
        let is_own = life.device == DeviceId(0) && life.ms <= Micros(seen.created_at).as_millis();
        if is_own || at.as_millis() > life.ms {
            state.life = Register::new(after(*life, at), false);
        } else {
            self.has_lost = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stamp::Stamp;
    use super::super::takeover::newborn;
    use super::*;

    const CREATED: Micros = Micros(1_700_000_000_000_000);
    const LATER: Micros = Micros(1_700_000_100_000_000);
    const LOOK: Micros = Micros(1_700_000_200_000_000);

    fn body(text: &str) -> BodyHash {
        BodyHash::of(text)
    }

    fn row() -> Shown {
        let mut row = Shown::new(CREATED, CREATED);
        row.tags = ["a", "b"].map(str::to_owned).into();
        row.metadata.insert("k".to_owned(), "1".to_owned());
        row
    }

    fn by_us(at: Micros) -> Stamp {
        Stamp { ms: at.as_millis(), counter: 0, device: DeviceId(7) }
    }

    fn after_edit(state: &State, before: &Shown, now: &Shown) -> Edited {
        edited(state, &Seen::of(before, body("x")), now, body("x"), LOOK)
    }

    #[test]
    fn what_is_kept_reads_back_and_leaves_out_what_every_search_rewrites() {
        let mut noisy = row();
        noisy.metadata.insert("access_count".to_owned(), "9".to_owned());
        noisy.superseded_by = Some(MemoryId::of("y"));
        let seen = Seen::of(&noisy, body("x"));
        assert_eq!(Seen::parse(&seen.to_text()), Some(seen.clone()));
        noisy.metadata.insert("access_count".to_owned(), "10".to_owned());
        assert_eq!(Seen::of(&noisy, body("x")), seen);
        assert_eq!(Seen::parse("{"), None);
    }

    #[test]
    fn only_what_the_service_changed_is_its_edit() {
        let mut state = newborn(&row(), body("x"));
        // Here somebody took `b` away and changed the type, after the row was seen.
        let ours = by_us(Micros(CREATED.0 + 5_000_000));
        state.tags.insert("b".to_owned(), Register::new(ours, false));
        state.kind = Register::new(ours, "decision".to_owned());
        let mut now = row();
        now.tags.insert("c".to_owned());
        now.metadata.clear();
        now.updated_at = LATER;
        let got = after_edit(&state, &row(), &now);
        assert!(!got.has_lost);
        assert_eq!(got.state.live_tags().into_iter().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(got.state.kind.value, "decision");
        assert!(got.state.live_metadata().is_empty());
        assert_eq!(got.state.updated_at, LATER);
        assert_eq!(got.state.tags["c"].stamp.ms, LATER.as_millis());
        assert_eq!(got.state.tags["c"].stamp.device, DeviceId(0));
    }

    #[test]
    fn an_edit_without_a_trace_is_as_late_as_the_look() {
        let state = newborn(&row(), body("x"));
        let mut now = row();
        now.metadata.insert("k".to_owned(), "2".to_owned());
        let got = after_edit(&state, &row(), &now).state;
        assert_eq!(got.metadata["k"].stamp.ms, LOOK.as_millis());
    }

    #[test]
    fn a_later_edit_here_wins_and_an_earlier_one_loses() {
        for (ours_at, wins) in
            [(Micros(LATER.0 + 1_000_000), true), (Micros(LATER.0 - 1_000_000), false)]
        {
            let mut state = newborn(&row(), body("x"));
            state.kind = Register::new(by_us(ours_at), "ours".to_owned());
            let mut now = row();
            now.kind = "theirs".to_owned();
            now.updated_at = LATER;
            let got = after_edit(&state, &row(), &now);
            assert_eq!(got.has_lost, wins);
            assert_eq!(got.state.kind.value, if wins { "ours" } else { "theirs" });
        }
    }

    #[test]
    fn what_the_service_wrote_it_may_replace_whatever_its_clock_says() {
        let mut late = row();
        late.updated_at = Micros(LATER.0 * 2);
        let state = newborn(&late, body("x"));
        let mut now = late.clone();
        now.kind = "other".to_owned();
        now.updated_at = LATER;
        let got = after_edit(&state, &late, &now).state;
        assert_eq!(got.kind.value, "other");
        assert!(got.kind.stamp > state.kind.stamp);
    }

    #[test]
    fn a_deletion_counts_from_its_own_instant() {
        let mut dead = row();
        dead.deleted_at = Some(LATER);
        let state = newborn(&row(), body("x"));
        let got = after_edit(&state, &row(), &dead).state;
        assert!(!got.is_alive());
        assert_eq!(got.life.stamp.ms, LATER.as_millis());
        assert_eq!(got.updated_at, LATER);
        // It was stored here after that.
        let mut kept = state.clone();
        kept.life = Register::new(by_us(Micros(LATER.0 + 1_000_000)), true);
        let got = after_edit(&kept, &row(), &dead);
        assert!(got.state.is_alive() && got.has_lost);
    }

    #[test]
    fn stored_again_it_begins_anew_and_an_old_copy_stays_dead() {
        let mut dead = row();
        dead.deleted_at = Some(LATER);
        let state = newborn(&dead, body("x"));
        // The same millisecond, a moment later.
        let mut again = Shown::new(Micros(LATER.0 + 20), Micros(LATER.0 + 20));
        again.tags = ["new"].map(str::to_owned).into();
        let got = after_edit(&state, &dead, &again).state;
        assert!(got.is_alive());
        assert_eq!(got.live_tags().into_iter().collect::<Vec<_>>(), ["new"]);
        assert!(got.live_metadata().is_empty());
        assert_eq!(got.birth.value.at, again.created_at);
        assert!(!after_edit(&state, &dead, &row()).state.is_alive());
        // Nor does it come back if it was deleted here, later than it was stored there.
        let mut ours = newborn(&row(), body("x"));
        ours.life = Register::new(by_us(LOOK), false);
        assert!(!after_edit(&ours, &row(), &again).state.is_alive());
    }

    #[test]
    fn nothing_new_is_no_edit() {
        let mut state = newborn(&row(), body("x"));
        state.kind = Register::new(by_us(LATER), "ours".to_owned());
        let mut noisy = row();
        noisy.metadata.insert("access_queries".to_owned(), "[]".to_owned());
        let got = after_edit(&state, &row(), &noisy);
        assert_eq!(got, Edited { state, has_lost: false });
    }
}
