//! The JSON that mcp-memory-service exports: `{"export_metadata": …, "memories": […]}`, or the list alone.
//! Read as a stream: such a file holds all memories at once.

use super::super::failure::Failure;
use super::pages::Pages;
use crate::clock::Micros;
use crate::model::carried::{Carried, DEFAULT_STORE};
use crate::model::draft::Text;
use crate::model::id::MemoryId;
use crate::model::shown::{CLIENT, Shown, instant};
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde_json::Value;
use std::fmt;
use std::io::BufRead;

/// A memory as it stands there. Keys that say nothing of the memory itself are passed over.
#[derive(Debug, Deserialize)]
struct Exported {
    content: String,
    content_hash: Option<String>,
    #[serde(default)]
    tags: Tags,
    created_at: Option<f64>,
    created_at_iso: Option<String>,
    updated_at: Option<f64>,
    updated_at_iso: Option<String>,
    memory_type: Option<String>,
    metadata: Option<Value>,
    superseded_by: Option<String>,
    store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum Tags {
    List(Vec<String>),
    Text(String),
    #[default]
    None,
}

/// Reads all memories of a file.
pub(super) fn read(pages: &mut Pages<'_>, input: impl BufRead) -> Result<(), Failure> {
    let mut reading = Reading { pages, n_read: 0, failure: None };
    let mut json = serde_json::Deserializer::from_reader(input);
    let outcome = (&mut reading).deserialize(&mut json).and_then(|has_memories| {
        json.end()?;
        if has_memories { Ok(()) } else { Err(serde_json::Error::custom("it has no `memories`")) }
    });
    match (reading.failure.take(), outcome) {
        (Some(failure), _) => Err(failure),
        (None, Err(error)) => {
            let place = format!("memory {}", reading.n_read + 1);
            Err(reading.pages.refuse(&place, error))
        }
        (None, Ok(())) => Ok(()),
    }
}

struct Reading<'r, 'p> {
    pages: &'r mut Pages<'p>,
    n_read: u64,
    /// Why it was ended, where the file's form isn't the reason.
    failure: Option<Failure>,
}

impl<'de> DeserializeSeed<'de> for &mut Reading<'_, '_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Reading<'_, '_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an export of mcp-memory-service")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let mut has_memories = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "memories" {
                has_memories = map.next_value_seed(&mut *self)?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(has_memories)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut memories: A) -> Result<bool, A::Error> {
        while let Some(memory) = memories.next_element::<Exported>()? {
            self.n_read += 1;
            if let Err(failure) = take(self.pages, self.n_read, memory) {
                self.failure = Some(failure);
                return Err(A::Error::custom("given up"));
            }
        }
        Ok(true)
    }
}

fn take(pages: &mut Pages<'_>, number: u64, memory: Exported) -> Result<(), Failure> {
    let place = match &memory.content_hash {
        Some(hash) => format!("memory {number}, {}", hash.chars().take(64).collect::<String>()),
        None => format!("memory {number}"),
    };
    let text = Text::check(memory.content.clone(), pages.text_limit())
        .map_err(|refusal| pages.refuse_limit(&place, &refusal))?;
    // The stored hash names it: an older release made it by another rule.
    let id = match &memory.content_hash {
        Some(hash) => hash.parse::<MemoryId>().map_err(|error| pages.refuse(&place, error))?,
        None => text.id,
    };
    let shown = shown(&memory).map_err(|why| pages.refuse(&place, why))?;
    let store = memory.store.filter(|store| !store.is_empty() && store != DEFAULT_STORE);
    let carried = store.map(|store| Carried { store: Some(store), ..Carried::default() });
    pages.add_foreign(place, id, text.content, &shown, CLIENT, carried)
}

fn shown(memory: &Exported) -> Result<Shown, String> {
    let at = |name: &str, seconds: Option<f64>, text: Option<&String>| {
        let told = text.and_then(|text| Micros::parse_rfc3339(text));
        Ok::<_, String>(instant(name, seconds)?.or(told))
    };
    let created = at("created_at", memory.created_at, memory.created_at_iso.as_ref())?;
    let updated = at("updated_at", memory.updated_at, memory.updated_at_iso.as_ref())?;
    let Some(created) = created.or(updated) else {
        return Err("it has no created_at".to_owned());
    };
    let mut shown = Shown::new(created, updated.unwrap_or(created));
    shown.read_kind(memory.memory_type.as_deref())?;
    let tags = match &memory.tags {
        Tags::List(tags) => tags.iter().cloned().collect(),
        Tags::Text(tags) => tags.split(',').map(str::to_owned).collect(),
        Tags::None => std::collections::BTreeSet::new(),
    };
    shown.read_tags(&tags)?;
    let metadata = memory.metadata.as_ref().map(ToString::to_string);
    shown.read_metadata(metadata.as_deref())?;
    if let Some(successor) = memory.superseded_by.as_ref().filter(|hash| !hash.is_empty()) {
        let id = successor.parse().map_err(|error| format!("its successor: {error}"))?;
        shown.superseded_by = Some(id);
    }
    Ok(shown)
}
