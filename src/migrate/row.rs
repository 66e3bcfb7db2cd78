//! One row of the service's memories, checked as any input is.
//!
//! What memtide can't take as it stands never costs the memory: a field that breaks a limit, or can't be
//! read, is kept aside as it is, with a remark. Refused is only what isn't a memory at all: without a hash
//! of its own, without a text, without an instant at which it came to be.

use super::layout::{Layout, UNDERSTOOD};
use crate::clock::Micros;
use crate::model::carried::{Carried, DEFAULT_STORE};
use crate::model::draft::{TEXT_MAX_BYTES, Text, normalise_tag};
use crate::model::id::MemoryId;
use crate::model::shown::{Shown, instant};
use rusqlite::Row;
use rusqlite::types::ValueRef;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// A memory as the source shows it, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceMemory {
    /// Its row in the source.
    pub rowid: i64,
    /// Its id: the stored hash, by whichever rule it was made.
    pub id: MemoryId,
    /// Its text; at most [`TEXT_MAX_BYTES`], however long a text the daemon is set to take.
    pub content: String,
    /// What its row shows, a deleted one's too.
    pub shown: Shown,
    /// What it has besides.
    pub carried: Carried,
    /// Whether the service hides it until it has a new vector.
    pub is_embedding_pending: bool,
    /// What could not be taken as it stands and was kept aside, a sentence each.
    pub remarks: Vec<String>,
}

/// A row that can't be taken, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRow {
    /// The row.
    pub rowid: i64,
    /// What stands there as its hash.
    pub hash: Option<String>,
    /// One sentence.
    pub why: String,
}

/// Columns in the order in which they are read, where they are there.
pub(super) struct Reader {
    sql: String,
    names: Vec<String>,
}

impl Reader {
    /// Reads rows of this layout.
    pub(super) fn new(layout: &Layout) -> Self {
        let mut names: Vec<String> = UNDERSTOOD
            .iter()
            .filter(|name| **name != "id" && layout.has(name))
            .map(|name| (*name).to_owned())
            .collect();
        let others = layout.columns.iter().filter(|name| !UNDERSTOOD.contains(&name.as_str()));
        names.extend(others.cloned());
        let quoted: Vec<String> =
            names.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
        let sql = format!(
            "SELECT rowid, {} FROM memories WHERE rowid > ?1 ORDER BY rowid LIMIT ?2",
            quoted.join(", ")
        );
        Self { sql, names }
    }

    /// The statement: rows after the first parameter, as many as the second.
    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    /// Reads one row, and how many bytes of text it has.
    pub(super) fn read(
        &self,
        row: &Row<'_>,
        chosen_for: &dyn Fn(&str) -> rusqlite::Result<Option<i64>>,
    ) -> rusqlite::Result<(Result<SourceMemory, RefusedRow>, usize)> {
        let rowid: i64 = row.get(0)?;
        let mut values = Vec::with_capacity(self.names.len());
        let mut bytes = 0;
        for (name, at) in self.names.iter().zip(1..) {
            let value = row.get_ref(at)?;
            if let ValueRef::Text(raw) | ValueRef::Blob(raw) = value {
                bytes += raw.len();
            }
            values.push((name.as_str(), value));
        }
        let fields = Fields { values };
        let chosen = match fields.value("content_hash") {
            ValueRef::Text(raw) => chosen_for(&String::from_utf8_lossy(raw))?,
            _ => None,
        };
        let read = match chosen.filter(|chosen| *chosen != rowid) {
            Some(chosen) => Err(format!("row {chosen} has the same hash and is read instead")),
            None => fields.memory(rowid),
        };
        let read = read.map_err(|why| {
            let hash = match fields.value("content_hash") {
                ValueRef::Text(raw) => {
                    Some(String::from_utf8_lossy(raw).chars().take(80).collect())
                }
                _ => None,
            };
            RefusedRow { rowid, hash, why }
        });
        Ok((read, bytes))
    }
}

/// A text, if one is there. A number is one in a database without strict types.
pub(super) fn text(value: ValueRef<'_>) -> Result<Option<String>, String> {
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Integer(number) => Ok(Some(number.to_string())),
        ValueRef::Real(number) => Ok(Some(number.to_string())),
        ValueRef::Text(raw) | ValueRef::Blob(raw) => match std::str::from_utf8(raw) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(error) => Err(format!("is no valid UTF-8 at byte {}", error.valid_up_to())),
        },
    }
}

/// A number, if one is there.
pub(super) fn number(value: ValueRef<'_>) -> Result<Option<f64>, String> {
    match value {
        ValueRef::Null => Ok(None),
        #[expect(clippy::cast_precision_loss, reason = "seconds and versions are far below 2^52")]
        ValueRef::Integer(number) => Ok(Some(number as f64)),
        ValueRef::Real(number) => Ok(Some(number)),
        ValueRef::Text(_) | ValueRef::Blob(_) => {
            let text = text(value)?.unwrap_or_default();
            let text = text.trim();
            if text.is_empty() {
                return Ok(None);
            }
            text.parse().map(Some).map_err(|_| "is no number".to_owned())
        }
    }
}

/// A value as JSON, to be kept as it is.
fn as_json(value: ValueRef<'_>) -> Option<Value> {
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(number) => Some(json!(number)),
        // JSON has no infinity.
        ValueRef::Real(number) if number.is_finite() => Some(json!(number)),
        ValueRef::Real(number) => Some(json!(number.to_string())),
        ValueRef::Text(raw) => Some(match std::str::from_utf8(raw) {
            Ok(text) => json!(text),
            Err(_) => json!({"hex": hex::encode(raw)}),
        }),
        ValueRef::Blob(raw) => Some(json!({"hex": hex::encode(raw)})),
    }
}

struct Fields<'a> {
    values: Vec<(&'a str, ValueRef<'a>)>,
}

impl Fields<'_> {
    fn value(&self, name: &str) -> ValueRef<'_> {
        self.values.iter().find(|(n, _)| *n == name).map_or(ValueRef::Null, |(_, value)| *value)
    }

    fn text(&self, name: &str) -> Result<Option<String>, String> {
        text(self.value(name)).map_err(|why| format!("its {name} {why}"))
    }

    fn memory(&self, rowid: i64) -> Result<SourceMemory, String> {
        let id = self.id()?;
        let content = self.text("content")?.ok_or("it has no text")?;
        Text::check(content.clone(), TEXT_MAX_BYTES).map_err(|refusal| refusal.to_string())?;
        let created_at = self
            .instant("created_at")?
            .or_else(|| self.iso("created_at_iso"))
            .ok_or("it has no created_at")?;
        let updated_at = self
            .instant("updated_at")?
            .or_else(|| self.iso("updated_at_iso"))
            .unwrap_or(created_at);
        let mut memory = SourceMemory {
            rowid,
            id,
            content,
            shown: Shown::new(created_at, updated_at),
            carried: Carried::default(),
            is_embedding_pending: matches!(
                self.value("embedding_pending"),
                ValueRef::Integer(flag) if flag != 0
            ),
            remarks: Vec::new(),
        };
        memory.shown.deleted_at = self.instant("deleted_at")?;
        self.read_kind(&mut memory);
        self.read_tags(&mut memory);
        self.read_metadata(&mut memory);
        self.read_successor(&mut memory);
        self.read_carried(&mut memory);
        Ok(memory)
    }

    fn id(&self) -> Result<MemoryId, String> {
        let hash = self.text("content_hash")?.ok_or("it has no hash")?;
        hash.parse().map_err(|_| "its hash is not of 64 hex digits".to_owned())
    }

    fn instant(&self, name: &str) -> Result<Option<Micros>, String> {
        let seconds = number(self.value(name)).map_err(|why| format!("its {name} {why}"))?;
        instant(name, seconds)
    }

    /// The text form of an instant, for a row without its number.
    fn iso(&self, name: &str) -> Option<Micros> {
        let at: jiff::Timestamp = self.text(name).ok()??.trim().parse().ok()?;
        (at.as_microsecond() >= 0).then(|| Micros(at.as_microsecond()))
    }

    /// Keeps a column aside as it stands.
    fn keep_aside(&self, memory: &mut SourceMemory, name: &str, why: &str) {
        if let Some(value) = as_json(self.value(name)) {
            memory.carried.extra.insert(name.to_owned(), value);
        }
        memory.remarks.push(format!("its {name} is kept aside: {why}"));
    }

    fn read_kind(&self, memory: &mut SourceMemory) {
        let read =
            self.text("memory_type").and_then(|kind| memory.shown.read_kind(kind.as_deref()));
        if let Err(why) = read {
            self.keep_aside(memory, "memory_type", &why);
        }
    }

    fn read_tags(&self, memory: &mut SourceMemory) {
        let read = self.text("tags").map(|tags| tags.map(|tags| split_tags(&tags)));
        let tags = match read {
            Ok(tags) => tags.unwrap_or_default(),
            Err(why) => return self.keep_aside(memory, "tags", &why),
        };
        let Err(why) = memory.shown.read_tags(&tags) else { return };
        self.keep_aside(memory, "tags", &why);
        // What can be taken is taken.
        let mut fitting = BTreeSet::new();
        for tag in tags {
            let mut alone = memory.shown.clone();
            if alone.read_tags(&BTreeSet::from([tag.clone()])).is_ok() {
                fitting.insert(tag);
            }
        }
        let most = fitting.into_iter().take(crate::model::draft::MERGED_TAGS_MAX).collect();
        if let Err(why) = memory.shown.read_tags(&most) {
            memory.remarks.push(format!("none of its tags is taken: {why}"));
        }
    }

    fn read_metadata(&self, memory: &mut SourceMemory) {
        let read =
            self.text("metadata").and_then(|text| memory.shown.read_metadata(text.as_deref()));
        if let Err(why) = read {
            self.keep_aside(memory, "metadata", &why);
        }
    }

    /// The column wins over the metadata, where releases before 11.15 kept the successor.
    fn read_successor(&self, memory: &mut SourceMemory) {
        let hash = match self.text("superseded_by") {
            Ok(hash) => hash.filter(|hash| !hash.trim().is_empty()),
            Err(why) => return self.keep_aside(memory, "superseded_by", &why),
        };
        let Some(hash) = hash else { return };
        match hash.parse::<MemoryId>() {
            Ok(id) => {
                let other = memory.shown.superseded_by.replace(id).filter(|other| *other != id);
                if let Some(other) = other {
                    let named = json!(other.to_string());
                    memory.carried.extra.insert("metadata.superseded_by".to_owned(), named);
                    memory.remarks.push(format!(
                        "its metadata names another successor, {other}, which is kept aside"
                    ));
                }
            }
            Err(error) => self.keep_aside(memory, "superseded_by", &error.to_string()),
        }
    }

    fn read_carried(&self, memory: &mut SourceMemory) {
        match self.text("store") {
            Ok(store) => {
                let store = store.filter(|store| !store.is_empty() && store != DEFAULT_STORE);
                memory.carried.store = store;
            }
            Err(why) => self.keep_aside(memory, "store", &why),
        }
        match self.text("parent_id") {
            Ok(parent) => memory.carried.parent = parent.filter(|parent| !parent.is_empty()),
            Err(why) => self.keep_aside(memory, "parent_id", &why),
        }
        match self.value("version") {
            ValueRef::Null | ValueRef::Integer(1) => {}
            ValueRef::Integer(version) => memory.carried.version = Some(version),
            _ => self.keep_aside(memory, "version", "it is no whole number"),
        }
        match number(self.value("confidence")) {
            #[expect(clippy::float_cmp, reason = "the default is exactly 1")]
            Ok(confidence) => memory.carried.confidence = confidence.filter(|c| *c != 1.0),
            Err(why) => self.keep_aside(memory, "confidence", &why),
        }
        match number(self.value("last_accessed")) {
            Ok(at) => memory.carried.last_accessed = at,
            Err(why) => self.keep_aside(memory, "last_accessed", &why),
        }
        for (name, value) in &self.values {
            if !UNDERSTOOD.contains(name)
                && let Some(value) = as_json(*value)
            {
                memory.carried.extra.insert((*name).to_owned(), value);
            }
        }
    }
}

/// The tags of a row in every form that releases of the service wrote: a JSON list, or separated by
/// commas with and without spaces.
fn split_tags(text: &str) -> BTreeSet<String> {
    let trimmed = text.trim();
    if trimmed.starts_with('[')
        && let Ok(Value::Array(list)) = serde_json::from_str::<Value>(trimmed)
    {
        let tag = |value: &Value| match value {
            Value::String(tag) => Some(tag.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        };
        return list.iter().filter_map(tag).filter(|tag| normalise_tag(tag).is_some()).collect();
    }
    trimmed.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(text: &str) -> Vec<String> {
        split_tags(text).into_iter().collect()
    }

    #[test]
    fn tags_are_read_in_every_historic_form() {
        assert_eq!(tags("a,b"), ["a", "b"]);
        assert_eq!(tags(" a, b ,,"), ["a", "b"]);
        assert_eq!(tags(r#"["a", "b, c", "", 7, null]"#), ["7", "a", "b, c"]);
        assert_eq!(tags("[no list, x"), ["[no list", "x"]);
        assert_eq!(tags(""), [""; 0]);
    }

    #[test]
    fn values_of_any_type_are_kept() {
        assert_eq!(as_json(ValueRef::Null), None);
        assert_eq!(as_json(ValueRef::Real(f64::INFINITY)), Some(json!("inf")));
        assert_eq!(as_json(ValueRef::Blob(&[255, 0])), Some(json!({"hex": "ff00"})));
        assert_eq!(as_json(ValueRef::Text(&[0xff])), Some(json!({"hex": "ff"})));
        assert_eq!(number(ValueRef::Text(b" 1.5 ")), Ok(Some(1.5)));
        assert!(number(ValueRef::Text(b"soon")).is_err());
    }
}
