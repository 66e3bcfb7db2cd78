//! The text form of a [`State`], the same in the local store and in the cloud: compact JSON with
//! sorted keys, so that equal states have equal texts and equal digests.

use super::id::{BodyHash, MemoryId};
use super::stamp::{DeviceId, Stamp};
use super::state::{Birth, Register, State};
use crate::clock::Micros;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

/// Version of the text form. A newer one is refused, never guessed at.
const FORM: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Written {
    v: u32,
    life: (String, bool),
    birth: (String, i64, u32, String),
    text: (String, String),
    #[serde(rename = "type")]
    kind: (String, String),
    sup: (String, Option<String>),
    tags: BTreeMap<String, (String, bool)>,
    meta: BTreeMap<String, (String, Option<String>)>,
    upd: i64,
}

/// The text is no state, or one of a newer form.
#[derive(Debug, thiserror::Error)]
pub enum BadState {
    /// No JSON of the expected shape.
    #[error("a memory's state is not readable")]
    Json(#[from] serde_json::Error),
    /// Written by a newer memtide.
    #[error("a memory's state has form {0}, this memtide reads up to {FORM}")]
    Newer(u32),
    /// A stamp or a hash in it is damaged.
    #[error("a memory's state holds a damaged {0}")]
    Part(&'static str),
}

/// Writes `state` as text.
pub fn write(state: &State) -> String {
    let written = Written {
        v: FORM,
        life: (state.life.stamp.to_string(), state.life.value),
        birth: (
            state.birth.stamp.to_string(),
            state.birth.value.at.0,
            state.birth.value.device.0,
            state.birth.value.client.clone(),
        ),
        text: (state.text.stamp.to_string(), state.text.value.to_string()),
        kind: (state.kind.stamp.to_string(), state.kind.value.clone()),
        sup: (
            state.superseded_by.stamp.to_string(),
            state.superseded_by.value.map(|id| id.to_string()),
        ),
        tags: state.tags.iter().map(|(k, r)| (k.clone(), (r.stamp.to_string(), r.value))).collect(),
        meta: state
            .metadata
            .iter()
            .map(|(k, r)| (k.clone(), (r.stamp.to_string(), r.value.clone())))
            .collect(),
        upd: state.updated_at.0,
    };
    serde_json::to_string(&written).unwrap_or_default()
}

/// Reads what [`write()`] wrote.
///
/// # Errors
/// The text is damaged, or of a newer form.
pub fn read(text: &str) -> Result<State, BadState> {
    #[derive(Deserialize)]
    struct Form {
        v: u32,
    }
    let form: Form = serde_json::from_str(text)?;
    if form.v > FORM {
        return Err(BadState::Newer(form.v));
    }
    let w: Written = serde_json::from_str(text)?;
    let stamp = |text: &str| text.parse::<Stamp>().map_err(|_| BadState::Part("stamp"));
    let body = w.text.1.parse::<BodyHash>().map_err(|_| BadState::Part("text hash"))?;
    let successor = match w.sup.1 {
        Some(id) => Some(id.parse::<MemoryId>().map_err(|_| BadState::Part("successor"))?),
        None => None,
    };
    let birth = Birth { at: Micros(w.birth.1), device: DeviceId(w.birth.2), client: w.birth.3 };
    let mut tags = BTreeMap::new();
    for (tag, (at, value)) in w.tags {
        tags.insert(tag, Register::new(stamp(&at)?, value));
    }
    let mut metadata = BTreeMap::new();
    for (key, (at, value)) in w.meta {
        metadata.insert(key, Register::new(stamp(&at)?, value));
    }
    Ok(State {
        life: Register::new(stamp(&w.life.0)?, w.life.1),
        birth: Register::new(stamp(&w.birth.0)?, birth),
        text: Register::new(stamp(&w.text.0)?, body),
        kind: Register::new(stamp(&w.kind.0)?, w.kind.1),
        superseded_by: Register::new(stamp(&w.sup.0)?, successor),
        tags,
        metadata,
        updated_at: Micros(w.upd),
    })
}

/// A 48-bit digest of a memory and its state. Sums of digests tell two stores apart cheaply, and 48
/// bits survive JSON's numbers.
pub fn digest(id: &MemoryId, state_text: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update(id.to_string().as_bytes());
    hash.update(b"\n");
    hash.update(state_text.as_bytes());
    hash.finalize().iter().take(6).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::{any_state, cases, merged};
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(cases())]

        #[test]
        fn every_state_reads_back(state in any_state()) {
            let text = write(&state);
            prop_assert_eq!(read(&text).expect("readable"), state);
        }

        #[test]
        fn merging_texts_is_merging_states(a in any_state(), b in any_state()) {
            let reread = |state: &_| read(&write(state)).expect("readable");
            let there = merged(reread(&a), &reread(&b));
            prop_assert_eq!(write(&there), write(&merged(b, &a)));
        }
    }

    #[test]
    fn a_newer_form_and_damage_are_refused() {
        assert!(matches!(read(r#"{"v":2}"#), Err(BadState::Newer(2))));
        assert!(read("{").is_err());
        assert!(read(r#"{"v":1}"#).is_err());
    }

    #[test]
    fn the_digest_has_48_bits_and_sees_the_id() {
        let a = digest(&MemoryId::of("a"), "{}");
        assert!(a < 1 << 48);
        assert_ne!(a, digest(&MemoryId::of("b"), "{}"));
    }
}
