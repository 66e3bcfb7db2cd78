//! What the cloud says of one memory, made into registers: pure.
//!
//! Usually the row of the Python service shows exactly the state that memtide wrote beside it. Where it
//! doesn't, the service has written since, and what it wrote becomes registers: by device 0, stamped with
//! the row's own instant, and later than the register it replaces, as the service had seen that. Every
//! device derives the same registers from the same row.
//!
//! What the service does is not always what it means. It overwrites metadata by half, so a missing key is
//! no removal. Its hybrid clients upload old copies again, so a living row revives a deleted memory only if
//! it was created after the deletion. It purges the rows of deleted memories and rewrites others by
//! delete and insert, so a missing row is no deletion. In all these cases the row is written again by
//! the next push.

use super::outgoing::metadata_json;
use crate::clock::Micros;
use crate::model::draft::{
    DEFAULT_TYPE, MERGED_METADATA_MAX_BYTES, MERGED_TAGS_MAX, check_metadata_within,
    check_tags_within, check_type,
};
use crate::model::id::{BodyHash, MemoryId};
use crate::model::stamp::{DeviceId, Stamp};
use crate::model::state::{Birth, Register, State};
use crate::mutant::{self, Mutant};
use crate::remote::feed::FeedRow;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Seconds that a write of the Python service is left to settle: it sends a memory and its tags in
/// requests of their own.
pub const SETTLE_S: i64 = 10;

/// Who is named as the author of the service's memories.
const CLIENT: &str = "mcp-memory-service";

/// Metadata that the service rewrites at every search: no part of a memory.
const VOLATILE: [&str; 4] = ["access_count", "access_queries", "last_accessed", "last_accessed_at"];

/// Two instants closer than this are one: a floating point number of seconds keeps microseconds, Python's
/// text forms not always.
const SAME_INSTANT_MICROS: u64 = 1000;

/// What a row shows, checked as any input is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// When it was deleted; `None` for a living one.
    pub deleted_at: Option<Micros>,
    created_at: Micros,
    updated_at: Micros,
    kind: String,
    tags: BTreeSet<String>,
    /// Whether the tags stand there in their normal form.
    has_normal_tags: bool,
    metadata: BTreeMap<String, String>,
    superseded_by: Option<MemoryId>,
}

impl Shown {
    /// Reads a row. The limits of an input are for the doors: what several devices wrote each within them
    /// may exceed them together, and must be read all the same.
    ///
    /// # Errors
    /// Why it can't be taken, as a sentence.
    pub fn read(row: &FeedRow) -> Result<Self, String> {
        if let Some(column) = row.odd {
            return Err(format!("the column {column} of its row has a value of another type"));
        }
        let created_at = instant("created_at", row.created_at)?
            .ok_or_else(|| "its row has no created_at".to_owned())?;
        let updated_at = instant("updated_at", row.updated_at)?.unwrap_or(created_at);
        let deleted_at = instant("deleted_at", row.deleted_at)?;
        let mut shown = Self {
            deleted_at,
            created_at,
            updated_at,
            kind: DEFAULT_TYPE.to_owned(),
            tags: BTreeSet::new(),
            has_normal_tags: true,
            metadata: BTreeMap::new(),
            superseded_by: None,
        };
        if deleted_at.is_some() {
            // What a deleted row still says is nobody's concern.
            return Ok(shown);
        }
        if let Some(kind) = row.memory_type.as_deref() {
            let kind = check_type(kind).map_err(|refusal| refusal.to_string())?;
            shown.kind = kind.unwrap_or_else(|| DEFAULT_TYPE.to_owned());
        }
        let tags: Vec<String> = row.tags.iter().cloned().collect();
        // A list that is cut would read as removals, however few are left of it.
        if tags.len() > MERGED_TAGS_MAX {
            return Err(format!("its row has more than {MERGED_TAGS_MAX} tags"));
        }
        shown.tags =
            check_tags_within(&tags, MERGED_TAGS_MAX).map_err(|refusal| refusal.to_string())?;
        shown.has_normal_tags = shown.tags == row.tags;
        shown.read_metadata(row.metadata_json.as_deref())?;
        Ok(shown)
    }

    fn read_metadata(&mut self, text: Option<&str>) -> Result<(), String> {
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(()) };
        let value: Value = serde_json::from_str(text)
            .map_err(|error| format!("the metadata of its row is no JSON: {error}"))?;
        if value.is_null() {
            return Ok(());
        }
        self.metadata = check_metadata_within(&value, MERGED_METADATA_MAX_BYTES)
            .map_err(|refusal| refusal.to_string())?;
        self.metadata.retain(|key, _| !VOLATILE.contains(&key.as_str()));
        let successor = value.get("superseded_by").and_then(Value::as_str);
        if let Some(id) = successor.and_then(|id| id.parse().ok()) {
            self.superseded_by = Some(id);
            self.metadata.remove("superseded_by");
        }
        Ok(())
    }

    /// Whether the row shows `state`, its text aside.
    fn shows(&self, state: &State) -> bool {
        self.has_normal_tags
            && is_same_instant(self.created_at, state.birth.value.at)
            && self.kind == state.kind.value
            && self.tags.iter().map(String::as_str).eq(state.live_tags())
            && self.superseded_by == state.superseded_by.value
            && self.shows_metadata(state)
    }

    fn shows_metadata(&self, state: &State) -> bool {
        // Through the form in which it is sent, which leaves a key out that the successor takes.
        let sent: BTreeMap<String, Value> =
            serde_json::from_str(&metadata_json(state)).unwrap_or_default();
        let is_other = |key: &&String| {
            VOLATILE.contains(&key.as_str())
                || (self.superseded_by.is_some() && *key == "superseded_by")
        };
        let sent: BTreeMap<&String, String> = sent
            .iter()
            .filter(|(key, _)| !is_other(key))
            .map(|(key, value)| (key, value.to_string()))
            .collect();
        sent.len() == self.metadata.len()
            && sent.iter().all(|(key, value)| self.metadata.get(*key) == Some(value))
    }
}

fn is_same_instant(one: Micros, other: Micros) -> bool {
    one.0.abs_diff(other.0) < SAME_INSTANT_MICROS
}

fn instant(column: &str, seconds: Option<f64>) -> Result<Option<Micros>, String> {
    let Some(seconds) = seconds else { return Ok(None) };
    let micros = seconds * 1e6;
    #[expect(clippy::cast_precision_loss, reason = "a bound needs no precision")]
    let is_possible = micros >= 0.0 && micros / 1e3 < Stamp::MS_MAX as f64;
    #[expect(clippy::cast_possible_truncation, reason = "checked just above")]
    let at = Micros(micros.round() as i64);
    if is_possible { Ok(Some(at)) } else { Err(format!("the {column} of its row is no instant")) }
}

/// What the cloud holds for a memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciled {
    /// Its registers.
    pub state: State,
    /// Whether the database shows exactly that, state and row: nothing is to be written.
    pub is_shown: bool,
}

/// Whether the row shows something else than `state`: the Python service has written since.
pub fn is_touched(state: Option<&State>, row: Option<&Shown>) -> bool {
    let Some(row) = row else { return false };
    let Some(state) = state else { return true };
    match (state.is_alive(), row.deleted_at) {
        (true, None) => !row.shows(state),
        (false, Some(_)) => false,
        _ => true,
    }
}

/// Brings state and row together. `body` names the text that stands in the row, if it was read; `None`
/// where the database holds neither.
pub fn reconcile(
    state: Option<State>,
    row: Option<&Shown>,
    body: Option<BodyHash>,
) -> Option<Reconciled> {
    let is_other_text =
        |state: &State| body.is_some_and(|body| state.is_alive() && state.text.value != body);
    match (state, row) {
        (None, None) => None,
        (None, Some(row)) => {
            let state = newborn(row, body?);
            Some(Reconciled { state, is_shown: false })
        }
        (Some(state), None) => {
            // The row of a dead memory may be purged; that of a living one is written again.
            let is_shown = !state.is_alive();
            Some(Reconciled { state, is_shown })
        }
        (Some(state), Some(row)) => {
            let is_shown = !is_touched(Some(&state), Some(row)) && !is_other_text(&state);
            let state = if is_shown { state } else { taken_over(state, row, body) };
            Some(Reconciled { state, is_shown })
        }
    }
}

/// A stamp of the service's: at its own instant, and later than what it replaces.
fn after(replaced: Stamp, at: Micros) -> Stamp {
    Stamp::next(at.as_millis(), DeviceId(0), Stamp::default(), replaced)
}

fn birth(row: &Shown) -> Birth {
    Birth { at: row.created_at, device: DeviceId(0), client: CLIENT.to_owned() }
}

fn newborn(row: &Shown, body: BodyHash) -> State {
    let created = after(Stamp::default(), row.created_at);
    let updated = after(Stamp::default(), row.updated_at);
    let life = row.deleted_at.map_or(created, |at| after(Stamp::default(), at));
    State {
        life: Register::new(life, row.deleted_at.is_none()),
        birth: Register::new(created, birth(row)),
        text: Register::new(updated, body),
        kind: Register::new(updated, row.kind.clone()),
        superseded_by: Register::new(updated, row.superseded_by),
        tags: row.tags.iter().map(|tag| (tag.clone(), Register::new(updated, true))).collect(),
        metadata: row
            .metadata
            .iter()
            .map(|(key, value)| (key.clone(), Register::new(updated, Some(value.clone()))))
            .collect(),
        updated_at: row.updated_at,
    }
}

fn taken_over(mut state: State, row: &Shown, body: Option<BodyHash>) -> State {
    match (state.is_alive(), row.deleted_at) {
        (true, Some(at)) => {
            state.life = Register::new(after(state.life.stamp, at), false);
            state.updated_at = state.updated_at.max(at);
        }
        (false, None) => {
            let is_later = row.created_at.as_millis() > state.life.stamp.ms;
            if let Some(body) = body.filter(|_| is_later || mutant::is(Mutant::EasyRevival)) {
                revive(&mut state, row, body);
            }
        }
        (true, None) => edit(&mut state, row, body),
        (false, Some(_)) => {}
    }
    state
}

/// The service stored a deleted memory again: it begins anew, with nothing of what it had.
fn revive(state: &mut State, row: &Shown, body: BodyHash) {
    let at = after(state.newest(), row.created_at);
    state.life = Register::new(at, true);
    state.birth = Register::new(at, birth(row));
    state.text = Register::new(at, body);
    state.kind = Register::new(at, row.kind.clone());
    state.superseded_by = Register::new(at, row.superseded_by);
    state.set_tags(&row.tags, at);
    let known: Vec<String> = state.metadata.keys().cloned().collect();
    for key in known.iter().filter(|key| !row.metadata.contains_key(*key)) {
        state.set_metadata(key, None, at);
    }
    for (key, value) in &row.metadata {
        state.set_metadata(key, Some(value), at);
    }
    state.updated_at = state.updated_at.max(row.updated_at);
}

fn edit(state: &mut State, row: &Shown, body: Option<BodyHash>) {
    let at = row.updated_at;
    let before = state.clone();
    if let Some(body) = body.filter(|body| *body != state.text.value) {
        state.text = Register::new(after(state.text.stamp, at), body);
    }
    if !is_same_instant(row.created_at, state.birth.value.at) {
        state.birth = Register::new(after(state.birth.stamp, row.created_at), birth(row));
    }
    if row.kind != state.kind.value {
        state.kind = Register::new(after(state.kind.stamp, at), row.kind.clone());
    }
    if row.superseded_by.is_some() && row.superseded_by != state.superseded_by.value {
        let stamp = after(state.superseded_by.stamp, at);
        state.superseded_by = Register::new(stamp, row.superseded_by);
    }
    let known = state.tags.keys().chain(&row.tags).cloned().collect::<BTreeSet<_>>();
    for tag in known {
        let register = state.tags.entry(tag.clone()).or_default();
        if register.value != row.tags.contains(&tag) {
            *register = Register::new(after(register.stamp, at), !register.value);
        }
    }
    // A missing key is no removal: the service replaces metadata by a part of it.
    let removed: Vec<String> = if mutant::is(Mutant::MissingKeyRemoves) {
        let live = state.live_metadata().into_keys().map(str::to_owned);
        live.filter(|key| !row.metadata.contains_key(key)).collect()
    } else {
        Vec::new()
    };
    for key in removed {
        let stamp = state.metadata.get(&key).map(|register| register.stamp).unwrap_or_default();
        state.set_metadata(&key, None, after(stamp, at));
    }
    for (key, value) in &row.metadata {
        let stamp = state.metadata.get(key).map(|register| register.stamp).unwrap_or_default();
        state.set_metadata(key, Some(value), after(stamp, at));
    }
    if *state != before {
        state.updated_at = state.updated_at.max(at);
    }
}

#[cfg(test)]
mod tests;
