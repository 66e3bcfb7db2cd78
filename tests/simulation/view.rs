//! What can be seen at one moment: a device's database and the cloud's tables, read past the library.

use memtide::model::id::MemoryId;
use memtide::model::stamp::Stamp;
use memtide::model::state::State;
use memtide::model::state_text;
use rusqlite::{Connection, OptionalExtension as _};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Each text of a state is read once.
#[derive(Default)]
pub struct States(BTreeMap<String, Rc<State>>);

impl States {
    pub fn read(&mut self, text: &str) -> Rc<State> {
        if let Some(state) = self.0.get(text) {
            return Rc::clone(state);
        }
        let state = Rc::new(state_text::read(text).expect("a state that memtide wrote"));
        self.0.insert(text.to_owned(), Rc::clone(&state));
        state
    }
}

/// A memory in a device's database.
#[derive(Debug, Clone)]
pub struct Memory {
    pub state: Rc<State>,
    pub content: Option<String>,
}

/// What a device owes for one memory to one product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duty {
    pub generation: i64,
    pub state: String,
    pub error: Option<String>,
}

/// A device's database.
#[derive(Debug, Clone, Default)]
pub struct Local {
    pub memories: BTreeMap<MemoryId, Memory>,
    pub duties: BTreeMap<(MemoryId, String), Duty>,
    pub cursor: i64,
    /// Changes of the index that it has not been seen to hold.
    pub unconfirmed: u64,
    /// What of the cloud could not be taken, and why.
    pub quarantine: BTreeMap<String, String>,
    /// Texts that were replaced.
    pub history: BTreeSet<(MemoryId, String)>,
}

impl Local {
    pub fn read(conn: &Connection, states: &mut States) -> rusqlite::Result<Self> {
        let mut local = Self::default();
        let mut statement = conn.prepare_cached("SELECT id, state, content FROM memory")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let state = states.read(row.get_ref(1)?.as_str()?);
            local
                .memories
                .insert(id(row.get_ref(0)?.as_str()?), Memory { state, content: row.get(2)? });
        }
        let mut statement = conn.prepare_cached(
            "SELECT m.id, o.product, o.generation, o.state, o.error
             FROM outbox o JOIN memory m ON m.key = o.memory",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let duty = Duty { generation: row.get(2)?, state: row.get(3)?, error: row.get(4)? };
            local.duties.insert((id(row.get_ref(0)?.as_str()?), row.get(1)?), duty);
        }
        let mut statement = conn.prepare_cached(
            "SELECT m.id, h.content FROM history h JOIN memory m ON m.key = h.memory",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            local.history.insert((id(row.get_ref(0)?.as_str()?), row.get(1)?));
        }
        let mut statement = conn.prepare_cached("SELECT id, reason FROM quarantine")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            local.quarantine.insert(row.get(0)?, row.get(1)?);
        }
        let mut statement = conn.prepare_cached("SELECT cursor FROM link")?;
        local.cursor = statement.query_row([], |row| row.get(0)).optional()?.unwrap_or(0);
        let mut statement = conn.prepare_cached("SELECT count(*) FROM unconfirmed_vector")?;
        local.unconfirmed = statement.query_row([], |row| row.get(0))?;
        Ok(local)
    }

    /// Whether the row or the body of a memory is still owed.
    pub fn is_unsynced(&self, memory: &MemoryId) -> bool {
        ["d1", "r2"]
            .iter()
            .any(|product| self.duties.contains_key(&(*memory, (*product).to_owned())))
    }
}

/// A row of the Python service's table.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    pub is_alive: bool,
    pub content: String,
    pub kind: Option<String>,
    pub tags: BTreeSet<String>,
    pub tags_column: Option<String>,
    pub metadata: Option<Value>,
    pub r2_key: Option<String>,
}

/// The cloud's tables and keys.
#[derive(Debug, Clone, Default)]
pub struct Cloud {
    pub entries: BTreeMap<MemoryId, Rc<State>>,
    pub feed: BTreeMap<MemoryId, i64>,
    pub rows: BTreeMap<MemoryId, Row>,
    pub bodies: BTreeMap<String, String>,
    /// What no table should show: rows that contradict each other.
    pub oddities: Vec<String>,
}

impl Cloud {
    /// Reads the tables; the bodies are the caller's.
    pub fn read(conn: &Connection, states: &mut States) -> rusqlite::Result<Self> {
        let mut cloud = Self::default();
        let mut statement = conn.prepare_cached("SELECT id, state, dg FROM mt_entry")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (memory, text) = (id(row.get_ref(0)?.as_str()?), row.get_ref(1)?.as_str()?);
            let digest: i64 = row.get(2)?;
            if digest.cast_unsigned() != state_text::digest(&memory, text) {
                cloud.oddities.push(format!("the digest of {memory} is not its state's"));
            }
            cloud.entries.insert(memory, states.read(text));
        }
        let mut statement = conn.prepare_cached("SELECT id, seq FROM mt_feed")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let memory = id(row.get_ref(0)?.as_str()?);
            if cloud.feed.insert(memory, row.get(1)?).is_some() {
                cloud.oddities.push(format!("the feed has {memory} twice"));
            }
        }
        let mut statement = conn.prepare_cached(
            "SELECT content_hash, deleted_at IS NULL, content, memory_type, tags, metadata_json, r2_key,
               (SELECT json_group_array(t.name) FROM memory_tags x JOIN tags t ON t.id = x.tag_id
                WHERE x.memory_id = m.id)
             FROM memories m",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let memory = id(row.get_ref(0)?.as_str()?);
            let metadata: Option<String> = row.get(5)?;
            let tags: String = row.get(7)?;
            let shown = Row {
                is_alive: row.get(1)?,
                content: row.get(2)?,
                kind: row.get(3)?,
                tags: serde_json::from_str(&tags).expect("an array of names"),
                tags_column: row.get(4)?,
                metadata: metadata.and_then(|text| serde_json::from_str(&text).ok()),
                r2_key: row.get(6)?,
            };
            if cloud.rows.insert(memory, shown).is_some() {
                cloud.oddities.push(format!("{memory} has two rows"));
            }
        }
        Ok(cloud)
    }
}

fn id(text: &str) -> MemoryId {
    text.parse().expect("an id")
}

/// The registers of a state by name, with their stamps.
pub fn registers(state: &State) -> BTreeMap<String, Stamp> {
    let mut all = BTreeMap::from([
        ("life".to_owned(), state.life.stamp),
        ("birth".to_owned(), state.birth.stamp),
        ("text".to_owned(), state.text.stamp),
        ("type".to_owned(), state.kind.stamp),
        ("successor".to_owned(), state.superseded_by.stamp),
    ]);
    all.extend(state.tags.iter().map(|(tag, r)| (format!("tag {tag}"), r.stamp)));
    all.extend(state.metadata.iter().map(|(key, r)| (format!("metadata {key}"), r.stamp)));
    all
}

/// Whether `whole` has everything that `part` has.
pub fn includes(whole: &State, part: &State) -> bool {
    let mut merged = whole.clone();
    merged.merge(part);
    merged == *whole
}
