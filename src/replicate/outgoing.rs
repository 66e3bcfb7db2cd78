//! A memory in the forms in which it goes out, made from its registers: pure.

use crate::clock::Micros;
use crate::model::shown::metadata_json;
use crate::model::space::UnitVector;
use crate::model::state::State;
use crate::model::state_text::{self, BadState};
use crate::mutant::{self, Mutant};
use crate::remote::push::{PushRow, placeholder};
use crate::remote::vector_row::VectorRow;
use crate::store::outbox::Outgoing;

/// Bytes of a text that Workers AI is given: its models read 512 tokens, about 2 kB of English, and a
/// request of a hundred long texts would be refused.
const AI_TEXT_MAX_BYTES: usize = 16 << 10;

/// The row in the database.
pub(super) fn push_row(memory: &Outgoing) -> Result<PushRow, BadState> {
    let state = state_text::read(&memory.state)?;
    let text = memory.content.as_deref().unwrap_or_default();
    let deleted_at =
        Micros(i64::try_from(state.life.stamp.ms).unwrap_or(i64::MAX).saturating_mul(1000));
    let mut r2_key = memory.r2_key.clone();
    if mutant::is(Mutant::BodyAfterRow) && text.starts_with("long") {
        r2_key = Some(body_key(memory)?);
    }
    Ok(PushRow {
        id: memory.id,
        expected_seq: memory.seq,
        alive: state.is_alive(),
        is_row_right: memory.is_row_right,
        content: r2_key.as_deref().map_or_else(|| text.to_owned(), placeholder),
        memory_type: state.kind.value.clone(),
        tags: state.live_tags().into_iter().map(str::to_owned).collect(),
        metadata_json: metadata_json(&state),
        created_at: state.birth.value.at,
        deleted_at: (!state.is_alive()).then_some(deleted_at),
        r2_key,
        content_size: text.len(),
        digest: state_text::digest(&memory.id, &memory.state),
        state_text: memory.state.clone(),
    })
}

/// The key of the body in the bucket. It carries the text's stamp: another text never reuses it.
pub(super) fn body_key(memory: &Outgoing) -> Result<String, BadState> {
    let state = state_text::read(&memory.state)?;
    Ok(format!("content/{}-{}.txt", memory.id, state.text.stamp))
}

/// The vector with what is stored beside it.
pub(super) fn vector_row(memory: &Outgoing, state: &State, values: UnitVector) -> VectorRow {
    VectorRow::new(
        &memory.id,
        values,
        &state.kind.value,
        state.live_tags(),
        state.birth.value.at,
        state.newest(),
    )
}

/// A stored vector; the error says why it can't be used.
pub(super) fn stored_vector(bytes: &[u8], dims: usize) -> Result<UnitVector, String> {
    let (components, rest) = bytes.as_chunks::<4>();
    if components.len() != dims || !rest.is_empty() {
        return Err(format!(
            "the stored vector has {} components, the cloud index takes {dims}",
            components.len()
        ));
    }
    let values = components.iter().map(|four| f32::from_le_bytes(*four)).collect();
    UnitVector::normalise(values).ok_or_else(|| "the stored vector has no direction".to_owned())
}

/// The start of a text that Workers AI reads.
pub(super) fn ai_text(text: &str) -> &str {
    text.get(..text.floor_char_boundary(AI_TEXT_MAX_BYTES)).unwrap_or(text)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::id::{BodyHash, MemoryId};
    use crate::model::stamp::{DeviceId, Stamp};
    use crate::model::state::{Birth, Register};
    use std::collections::BTreeMap;

    fn at(ms: u64) -> Stamp {
        Stamp { ms, counter: 0, device: DeviceId(1) }
    }

    pub(in super::super) fn state() -> State {
        let birth = Birth { at: Micros(7), device: DeviceId(1), client: "cli".to_owned() };
        let tag = |name: &str, present| (name.to_owned(), Register::new(at(11), present));
        let value = |key: &str, value: Option<&str>| {
            (key.to_owned(), Register::new(at(12), value.map(str::to_owned)))
        };
        State {
            life: Register::new(at(10), true),
            birth: Register::new(at(10), birth),
            text: Register::new(at(10), BodyHash::of("text")),
            kind: Register::new(at(10), "note".to_owned()),
            superseded_by: Register::new(at(10), None),
            tags: BTreeMap::from([tag("b", true), tag("a", true), tag("gone", false)]),
            metadata: BTreeMap::from([value("k \"q\"", Some("[1,2]")), value("gone", None)]),
            updated_at: Micros(8),
        }
    }

    pub(in super::super) fn outgoing(state: &State) -> Outgoing {
        Outgoing {
            key: 1,
            id: MemoryId::of("text"),
            generation: 3,
            state: state_text::write(state),
            content: Some("text".to_owned()),
            seq: 4,
            r2_key: None,
            is_row_right: false,
            vector: None,
        }
    }

    #[test]
    fn a_row_shows_what_is_live() {
        let row = push_row(&outgoing(&state())).unwrap();
        assert_eq!((row.expected_seq, row.alive, row.deleted_at), (4, true, None));
        assert_eq!((row.content.as_str(), row.content_size), ("text", 4));
        assert_eq!(row.tags, ["a", "b"]);
        assert_eq!(row.metadata_json, r#"{"k \"q\"":[1,2]}"#);
        assert_eq!(row.created_at, Micros(7));
        assert_eq!(row.digest, state_text::digest(&row.id, &row.state_text));
    }

    #[test]
    fn a_successor_is_named_in_the_metadata_and_takes_its_key() {
        let mut state = state();
        let successor = MemoryId::of("next");
        state.superseded_by = Register::new(at(13), Some(successor));
        state.set_metadata("superseded_by", Some("1"), at(13));
        let row = push_row(&outgoing(&state)).unwrap();
        let json: serde_json::Value = serde_json::from_str(&row.metadata_json).unwrap();
        assert_eq!(json["superseded_by"], successor.to_string());
        assert!(row.alive && !state.is_findable());
    }

    #[test]
    fn a_body_in_the_bucket_leaves_a_placeholder_and_its_size() {
        let mut memory = outgoing(&state());
        let key = body_key(&memory).unwrap();
        assert_eq!(key, format!("content/{}-{}.txt", memory.id, at(10)));
        memory.r2_key = Some(key.clone());
        let row = push_row(&memory).unwrap();
        assert_eq!((row.content, row.content_size), (placeholder(&key), 4));
        assert_eq!(row.r2_key, Some(key));
    }

    #[test]
    fn a_tombstone_says_when() {
        let mut state = state();
        state.life = Register::new(at(1_700_000_000_123), false);
        let row = push_row(&outgoing(&state)).unwrap();
        assert_eq!(row.deleted_at, Some(Micros(1_700_000_000_123_000)));
        assert!(!row.alive && !state.is_findable());
    }

    #[test]
    fn only_vectors_of_the_right_length_and_a_direction_go_out() {
        let unit = UnitVector::normalise(vec![3.0, 4.0]).unwrap();
        assert_eq!(stored_vector(&unit.to_bytes(), 2).unwrap(), unit);
        assert!(stored_vector(&unit.to_bytes(), 3).unwrap_err().contains("2 components"));
        assert!(stored_vector(&[0; 8], 2).is_err());
        assert!(stored_vector(&[0; 9], 2).is_err());
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let long = "é".repeat(AI_TEXT_MAX_BYTES);
        assert_eq!(ai_text(&long).len(), AI_TEXT_MAX_BYTES);
        assert_eq!(ai_text(&format!("x{long}")).len(), AI_TEXT_MAX_BYTES - 1);
        assert_eq!(ai_text("short"), "short");
    }
}
