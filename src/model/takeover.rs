//! What the Python service wrote, as registers: by device 0, stamped with the row's own instant, and later
//! than the register it replaces, as the service had seen that. Everybody derives the same registers from
//! the same row.

use super::id::BodyHash;
use super::shown::{CLIENT, Shown, is_same_instant};
use super::stamp::{DeviceId, Stamp};
use super::state::{Birth, Register, State};
use crate::clock::Micros;
use crate::mutant::{self, Mutant};
use std::collections::BTreeSet;

/// A stamp of the service's: at its own instant, and later than what it replaces.
pub(crate) fn after(replaced: Stamp, at: Micros) -> Stamp {
    Stamp::next(at.as_millis(), DeviceId(0), Stamp::default(), replaced)
}

fn birth(row: &Shown) -> Birth {
    Birth { at: row.created_at, device: DeviceId(0), client: CLIENT.to_owned() }
}

/// The registers of a memory that only the service knows.
pub fn newborn(row: &Shown, body: BodyHash) -> State {
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

/// The registers of `state` after what the row shows. `body` names the row's text, if it was read.
pub fn taken_over(mut state: State, row: &Shown, body: Option<BodyHash>) -> State {
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
pub(super) fn revive(state: &mut State, row: &Shown, body: BodyHash) {
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
