//! What a row of the Python service shows of a memory, wherever the row stands: in its cloud database or in
//! its local one. Checked as any input is.

use super::draft::{
    DEFAULT_TYPE, MERGED_METADATA_MAX_BYTES, MERGED_TAGS_MAX, check_metadata_within,
    check_tags_within, check_type,
};
use super::id::MemoryId;
use super::stamp::Stamp;
use super::state::State;
use crate::clock::Micros;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Who is named as the author of the service's memories.
pub const CLIENT: &str = "mcp-memory-service";

/// Metadata that the service rewrites at every search: no part of a memory.
pub const VOLATILE: [&str; 4] =
    ["access_count", "access_queries", "last_accessed", "last_accessed_at"];

/// Two instants closer than this are one: a floating point number of seconds keeps microseconds, Python's
/// text forms not always.
const SAME_INSTANT_MICROS: u64 = 1000;

/// What a row shows, checked as any input is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// When it was deleted; `None` for a living one.
    pub deleted_at: Option<Micros>,
    /// When it was first stored.
    pub created_at: Micros,
    /// When it was last changed, as far as the service notes that.
    pub updated_at: Micros,
    /// The memory type.
    pub kind: String,
    /// The tags in their normal form.
    pub tags: BTreeSet<String>,
    /// Whether the tags stand there in their normal form.
    pub has_normal_tags: bool,
    /// The metadata, each value as compact JSON, without the successor.
    pub metadata: BTreeMap<String, String>,
    /// The memory that replaces it.
    pub superseded_by: Option<MemoryId>,
}

impl Shown {
    /// A living memory that shows nothing yet but its instants.
    pub fn new(created_at: Micros, updated_at: Micros) -> Self {
        Self {
            deleted_at: None,
            created_at,
            updated_at,
            kind: DEFAULT_TYPE.to_owned(),
            tags: BTreeSet::new(),
            has_normal_tags: true,
            metadata: BTreeMap::new(),
            superseded_by: None,
        }
    }

    /// Reads the type; without one the memory has the ordinary one.
    ///
    /// # Errors
    /// Why it can't be taken, as a sentence.
    pub fn read_kind(&mut self, text: Option<&str>) -> Result<(), String> {
        let Some(kind) = text else { return Ok(()) };
        let kind = check_type(kind).map_err(|refusal| refusal.to_string())?;
        self.kind = kind.unwrap_or_else(|| DEFAULT_TYPE.to_owned());
        Ok(())
    }

    /// Reads the tags. The limits of an input are for the doors: what several devices wrote each within
    /// them may exceed them together, and must be read all the same.
    ///
    /// # Errors
    /// Why they can't be taken, as a sentence.
    pub fn read_tags(&mut self, tags: &BTreeSet<String>) -> Result<(), String> {
        // A list that is cut would read as removals, however few are left of it.
        if tags.len() > MERGED_TAGS_MAX {
            return Err(format!("its row has more than {MERGED_TAGS_MAX} tags"));
        }
        let listed: Vec<String> = tags.iter().cloned().collect();
        self.tags =
            check_tags_within(&listed, MERGED_TAGS_MAX).map_err(|refusal| refusal.to_string())?;
        self.has_normal_tags = self.tags == *tags;
        Ok(())
    }

    /// Reads the metadata, with the id of the successor that the service keeps there. Nothing, white space
    /// and `null` are none.
    ///
    /// # Errors
    /// Why it can't be taken, as a sentence.
    pub fn read_metadata(&mut self, text: Option<&str>) -> Result<(), String> {
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else { return Ok(()) };
        let value: Value = serde_json::from_str(text)
            .map_err(|error| format!("the metadata of its row is no JSON: {error}"))?;
        if value.is_null() {
            return Ok(());
        }
        self.metadata = check_metadata_within(&value, MERGED_METADATA_MAX_BYTES)
            .map_err(|refusal| refusal.to_string())?;
        let successor = value.get("superseded_by").and_then(Value::as_str);
        if let Some(id) = successor.and_then(|id| id.parse().ok()) {
            self.superseded_by = Some(id);
            self.metadata.remove("superseded_by");
        }
        Ok(())
    }

    /// Whether the row shows `state`, its text aside.
    pub fn shows(&self, state: &State) -> bool {
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

/// Whether two instants are one, as exactly as the service writes them.
pub fn is_same_instant(one: Micros, other: Micros) -> bool {
    one.0.abs_diff(other.0) < SAME_INSTANT_MICROS
}

/// Reads an instant from seconds since the epoch; `column` is named in the error.
///
/// # Errors
/// It is before the epoch or further away than a stamp reaches.
pub fn instant(column: &str, seconds: Option<f64>) -> Result<Option<Micros>, String> {
    let Some(seconds) = seconds else { return Ok(None) };
    let micros = seconds * 1e6;
    #[expect(clippy::cast_precision_loss, reason = "a bound needs no precision")]
    let is_possible = micros >= 0.0 && micros / 1e3 < Stamp::MS_MAX as f64;
    #[expect(clippy::cast_possible_truncation, reason = "checked just above")]
    let at = Micros(micros.round() as i64);
    if is_possible { Ok(Some(at)) } else { Err(format!("the {column} of its row is no instant")) }
}

/// The metadata as the Python service reads it: with the successor's id, which it keeps there.
pub fn metadata_json(state: &State) -> String {
    let mut fields: Vec<(String, String)> = state
        .live_metadata()
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    if let Some(successor) = state.superseded_by.value {
        fields.retain(|(key, _)| key != "superseded_by");
        fields.push(("superseded_by".to_owned(), format!("\"{successor}\"")));
    }
    let fields: Vec<String> = fields
        .into_iter()
        .map(|(key, value)| format!("{}:{value}", serde_json::Value::from(key)))
        .collect();
    format!("{{{}}}", fields.join(","))
}
