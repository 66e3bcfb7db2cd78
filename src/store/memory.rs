//! Memories: stored, changed, deleted, brought back; looked up and listed.

use super::column::parse_id;
use super::error::StoreError;
use super::history::{self, Version};
use super::reader::Read;
use super::row::{Cause, Row, save};
use super::select::Select;
use super::writer::Write;
use crate::clock::Micros;
use crate::model::draft::{DEFAULT_TYPE, Draft, METADATA_MAX_BYTES, Patch, TAGS_MAX, Text};
use crate::model::filter::Filter;
use crate::model::id::{BodyHash, MemoryId};
use crate::model::memory::Memory;
use crate::model::refusal::Refusal;
use crate::model::stamp::{DeviceId, Stamp};
use crate::model::state::{Birth, Register, State};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, Row as SqlRow, params_from_iter};
use std::collections::{BTreeMap, BTreeSet};

/// What storing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The memory.
    pub id: MemoryId,
    /// Whether it is new, or was deleted before.
    pub created: bool,
    /// Whether anything a reader sees changed in one that was there.
    pub updated: bool,
    /// The generation that this write raised.
    pub generation: i64,
}

/// Stores a memory. One that is there gets the new tags and metadata, a given type, and a text that
/// differs only in case or outer space as its new version. One that was deleted begins anew.
///
/// # Errors
/// The tags or the metadata of both together exceed a limit, or the text fits no linked store.
pub fn store(write: &mut Write<'_>, draft: &Draft) -> Result<Stored, StoreError> {
    let id = draft.text.id;
    let before = Row::load(write, &id)?;
    let seen = before.as_ref().map(|row| row.state.newest()).unwrap_or_default();
    let stamp = write.stamp(seen);
    let present = before.as_ref().filter(|row| row.state.is_alive());
    let mut state = match (&before, present) {
        (_, Some(row)) => row.state.clone(),
        (Some(row), None) => reborn(&row.state, write, stamp, &draft.author.client),
        (None, None) => newborn(write, stamp, draft),
    };
    // An explicit store beats a concurrent deletion elsewhere, so it always writes the life register.
    state.life = Register::new(stamp, true);
    let mut is_changed = false;
    if state.superseded_by.value.is_some() {
        state.superseded_by = Register::new(stamp, None);
        is_changed = true;
    }
    if state.text.value != draft.text.body {
        state.text = Register::new(stamp, draft.text.body);
        is_changed = true;
    }
    if let Some(kind) = draft.memory_type.as_ref().filter(|kind| **kind != state.kind.value) {
        state.kind = Register::new(stamp, kind.clone());
        is_changed = true;
    }
    is_changed |= state.add_tags(&draft.tags, stamp);
    for (key, value) in &draft.metadata {
        is_changed |= state.set_metadata(key, Some(value), stamp);
    }
    check_size(&state)?;
    let created = present.is_none();
    if created || is_changed {
        state.updated_at = state.updated_at.max(write.now());
    }
    let content = Some(draft.text.content.as_str());
    let client = &draft.author.client;
    let generation = save(write, &id, before.as_ref(), &state, content, Cause::Store, client)?;
    Ok(Stored { id, created, updated: !created && is_changed, generation })
}

fn newborn(write: &Write<'_>, stamp: Stamp, draft: &Draft) -> State {
    State {
        life: Register::new(stamp, true),
        birth: Register::new(stamp, birth(write, &draft.author.client)),
        text: Register::new(stamp, draft.text.body),
        kind: Register::new(stamp, DEFAULT_TYPE.to_owned()),
        superseded_by: Register::new(stamp, None),
        tags: BTreeMap::new(),
        metadata: BTreeMap::new(),
        updated_at: write.now(),
    }
}

/// A deleted memory that is stored again starts without what it had: none of it comes back.
fn reborn(dead: &State, write: &Write<'_>, stamp: Stamp, client: &str) -> State {
    let mut state = dead.clone();
    state.birth = Register::new(stamp, birth(write, client));
    // The bucket's key of a large text carries this stamp: a key that may be swept is never used again.
    state.text = Register::new(stamp, dead.text.value);
    state.kind = Register::new(stamp, DEFAULT_TYPE.to_owned());
    state.superseded_by = Register::new(stamp, None);
    state.set_tags(&BTreeSet::new(), stamp);
    for register in state.metadata.values_mut().filter(|r| r.value.is_some()) {
        *register = Register::new(stamp, None);
    }
    state
}

fn birth(write: &Write<'_>, client: &str) -> Birth {
    Birth { at: write.now(), device: write.device(), client: client.to_owned() }
}

fn check_size(state: &State) -> Result<(), StoreError> {
    let n_tags = state.live_tags().len();
    if n_tags > TAGS_MAX {
        return Err(Refusal::TooManyTags { actual: n_tags, limit: TAGS_MAX }.into());
    }
    let size = super::row::metadata_json(state).len();
    if size > METADATA_MAX_BYTES {
        return Err(Refusal::MetadataTooLarge { actual: size, limit: METADATA_MAX_BYTES }.into());
    }
    Ok(())
}

/// Changes a memory. A text with another id makes a new memory that supersedes this one and takes over
/// its tags, type and metadata. Returns the id of the memory that holds the change.
///
/// # Errors
/// There is no such live memory, or a limit is exceeded.
pub fn update(write: &mut Write<'_>, id: &MemoryId, patch: &Patch) -> Result<MemoryId, StoreError> {
    let before = live_row(write, id)?;
    let mut state = before.state.clone();
    let stamp = write.stamp(state.newest());
    let mut is_changed = false;
    if let Some(tags) = &patch.tags {
        is_changed |= state.set_tags(tags, stamp);
    }
    if let Some(kind) = patch.memory_type.as_ref().filter(|kind| **kind != state.kind.value) {
        state.kind = Register::new(stamp, kind.clone());
        is_changed = true;
    }
    for (key, value) in &patch.metadata {
        is_changed |= state.set_metadata(key, value.as_deref(), stamp);
    }
    check_size(&state)?;
    let mut content = before.content.clone();
    match &patch.text {
        Some(text) if text.id != *id => return supersede(write, id, &before, state, text, patch),
        Some(text) if text.body != state.text.value => {
            state.text = Register::new(stamp, text.body);
            content = Some(text.content.clone());
            is_changed = true;
        }
        _ => {}
    }
    if is_changed {
        state.updated_at = state.updated_at.max(write.now());
        let client = &patch.author.client;
        save(write, id, Some(&before), &state, content.as_deref(), Cause::Update, client)?;
    }
    Ok(*id)
}

fn supersede(
    write: &mut Write<'_>,
    id: &MemoryId,
    before: &Row,
    patched: State,
    text: &Text,
    patch: &Patch,
) -> Result<MemoryId, StoreError> {
    let live_metadata = patched.live_metadata().into_iter();
    let draft = Draft {
        text: text.clone(),
        tags: patched.live_tags().into_iter().map(str::to_owned).collect(),
        memory_type: Some(patched.kind.value.clone()),
        metadata: live_metadata.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(),
        author: patch.author.clone(),
    };
    let successor = store(write, &draft)?.id;
    let mut old = before.state.clone();
    let stamp = write.stamp(old.newest());
    old.superseded_by = Register::new(stamp, Some(successor));
    old.updated_at = old.updated_at.max(write.now());
    let client = &patch.author.client;
    save(write, id, Some(before), &old, before.content.as_deref(), Cause::Update, client)?;
    Ok(successor)
}

fn live_row(write: &Write<'_>, id: &MemoryId) -> Result<Row, StoreError> {
    Row::load(write, id)?
        .filter(|row| row.state.is_alive())
        .ok_or_else(|| StoreError::NotFound(id.to_string()))
}

/// Deletes a memory; its tombstone stays for ever.
///
/// # Errors
/// There is no such live memory.
pub fn delete(write: &mut Write<'_>, id: &MemoryId, client: &str) -> Result<(), StoreError> {
    let before = live_row(write, id)?;
    let mut state = before.state.clone();
    let stamp = write.stamp(state.newest());
    state.life = Register::new(stamp, false);
    state.updated_at = state.updated_at.max(write.now());
    save(write, id, Some(&before), &state, before.content.as_deref(), Cause::Delete, client)?;
    Ok(())
}

/// Deletes every live memory that passes `filter`, resolved to ids in this transaction. Returns them.
///
/// # Errors
/// The database refused; then none is deleted.
pub fn delete_matching(
    write: &mut Write<'_>,
    filter: &Filter,
    client: &str,
) -> Result<Vec<MemoryId>, StoreError> {
    let ids = matching(write.conn, filter)?;
    for id in &ids {
        delete(write, id, client)?;
    }
    Ok(ids)
}

/// The ids of the live memories that pass `filter`, newest first.
///
/// # Errors
/// The database refused.
pub fn ids_matching(read: &Read<'_>, filter: &Filter) -> Result<Vec<MemoryId>, StoreError> {
    matching(read.conn, filter)
}

fn matching(conn: &Connection, filter: &Filter) -> Result<Vec<MemoryId>, StoreError> {
    let select = Select::live(filter);
    let sql = format!(
        "SELECT m.id FROM memory m WHERE {} ORDER BY m.created_at DESC, m.key DESC",
        select.conditions
    );
    let mut statement = conn.prepare_cached(&sql)?;
    let rows = statement
        .query_map(params_from_iter(select.params), |row| row.get::<_, String>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    rows.iter().map(|id| parse_id(id)).collect()
}

/// Brings back a deleted memory as it was, or an earlier version of one.
///
/// # Errors
/// There is no such memory or version, or its content is no longer kept.
pub fn restore(
    write: &mut Write<'_>,
    id: &MemoryId,
    version: Option<i64>,
    client: &str,
) -> Result<(), StoreError> {
    let before = Row::load(write, id)?.ok_or_else(|| StoreError::NotFound(id.to_string()))?;
    let mut state = before.state.clone();
    let stamp = write.stamp(state.newest());
    state.life = Register::new(stamp, true);
    state.superseded_by = Register::new(stamp, None);
    if !before.state.is_alive() {
        // A key of the bucket that may be swept is never used again. What was kept may be older than what
        // the registers name.
        let kept = before.content.as_deref().map_or(state.text.value, BodyHash::of);
        state.text = Register::new(stamp, kept);
    }
    let mut content = before.content.clone();
    if let Some(number) = version {
        let old = history::one(write, before.key, number)?
            .ok_or_else(|| StoreError::NoVersion { id: id.to_string(), version: number })?;
        content = Some(restore_version(&mut state, old, stamp));
    }
    let content = content.ok_or_else(|| StoreError::ContentDropped(id.to_string()))?;
    state.updated_at = state.updated_at.max(write.now());
    save(write, id, Some(&before), &state, Some(&content), Cause::Restore, client)?;
    Ok(())
}

fn restore_version(state: &mut State, old: Version, stamp: Stamp) -> String {
    state.text = Register::new(stamp, BodyHash::of(&old.content));
    state.kind = Register::new(stamp, old.memory_type);
    state.set_tags(&old.tags.into_iter().collect(), stamp);
    let metadata: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(&old.metadata).unwrap_or_default();
    let present: Vec<String> = state.metadata.keys().cloned().collect();
    for key in present.iter().filter(|key| !metadata.contains_key(*key)) {
        state.set_metadata(key, None, stamp);
    }
    for (key, value) in &metadata {
        state.set_metadata(key, Some(&value.to_string()), stamp);
    }
    old.content
}

/// The id that `text` names: a whole id, or the start of exactly one known to the store, dead or alive.
///
/// # Errors
/// It names none, several, or is no hex.
pub fn resolve(read: &Read<'_>, text: &str) -> Result<MemoryId, StoreError> {
    let prefix = text.to_ascii_lowercase();
    let is_hex = prefix.bytes().all(|b| b.is_ascii_hexdigit());
    if !is_hex || !(4..=64).contains(&prefix.len()) {
        return Err(Refusal::BadId { text: text.chars().take(80).collect() }.into());
    }
    // 'g' follows the last hex digit.
    let ids: Vec<String> = read
        .conn
        .prepare_cached("SELECT id FROM memory WHERE id >= ?1 AND id < ?1 || 'g' LIMIT 1000")?
        .query_map([&prefix], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    match ids.as_slice() {
        [] => Err(StoreError::NotFound(prefix)),
        [id] => parse_id(id),
        several => Err(StoreError::Ambiguous { prefix, count: several.len() }),
    }
}

/// A memory, dead or alive.
///
/// # Errors
/// There is none.
pub fn get(read: &Read<'_>, id: &MemoryId) -> Result<Memory, StoreError> {
    one(read.conn, "m.id = ?1", &id.to_string())?
        .ok_or_else(|| StoreError::NotFound(id.to_string()))
}

pub(super) fn by_key(read: &Read<'_>, key: i64) -> Result<Option<Memory>, StoreError> {
    one(read.conn, "m.key = ?1", &key)
}

/// A page of live memories, newest first, and how many there are in all.
///
/// # Errors
/// The database refused.
pub fn list(
    read: &Read<'_>,
    filter: &Filter,
    limit: usize,
    offset: usize,
) -> Result<(Vec<Memory>, u64), StoreError> {
    let live = Select::live(filter);
    let sql = format!("SELECT count(*) FROM memory m WHERE {}", live.conditions);
    let total = read
        .conn
        .prepare_cached(&sql)?
        .query_row(params_from_iter(&live.params), |row| row.get(0))?;
    Ok((select(read, &live, limit, offset)?, total))
}

pub(super) fn select(
    read: &Read<'_>,
    select: &Select,
    limit: usize,
    offset: usize,
) -> Result<Vec<Memory>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM memory m WHERE {} ORDER BY m.created_at DESC, m.key DESC
         LIMIT ? OFFSET ?",
        select.conditions
    );
    let bound = |n: usize| Value::from(i64::try_from(n).unwrap_or(i64::MAX));
    let params = select.params_then([bound(limit), bound(offset)]);
    let mut statement = read.conn.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(params))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(memory(row)?);
    }
    Ok(found)
}

/// Every tag of live memories with the number of memories that have it, most frequent first.
///
/// # Errors
/// The database refused.
pub fn tags(read: &Read<'_>) -> Result<Vec<(String, u64)>, StoreError> {
    Ok(read
        .conn
        .prepare_cached("SELECT name, count(*) FROM tag GROUP BY name ORDER BY 2 DESC, 1")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?)
}

/// The versions of a memory that were replaced, oldest first.
///
/// # Errors
/// There is no such memory.
pub fn versions(read: &Read<'_>, id: &MemoryId) -> Result<Vec<Version>, StoreError> {
    let key: Option<i64> = read
        .conn
        .prepare_cached("SELECT key FROM memory WHERE id = ?1")?
        .query_row([id.to_string()], |row| row.get(0))
        .optional()?;
    history::all(read, key.ok_or_else(|| StoreError::NotFound(id.to_string()))?)
}

const COLUMNS: &str =
    "m.id, m.content, m.kind, m.metadata, m.created_at, m.updated_at, m.deleted_at,
  m.superseded_by, m.device, m.client,
  (SELECT json_group_array(name) FROM (SELECT name FROM tag WHERE memory = m.key ORDER BY name)),
  EXISTS (SELECT 1 FROM link) AND NOT EXISTS
    (SELECT 1 FROM outbox o WHERE o.memory = m.key AND o.product IN ('d1', 'r2')),
  EXISTS (SELECT 1 FROM embedding e JOIN space s ON s.key = e.space
    WHERE e.memory = m.key AND e.window = 0 AND e.body = m.body AND s.is_active)";

fn one(
    conn: &Connection,
    condition: &str,
    value: &dyn rusqlite::ToSql,
) -> Result<Option<Memory>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM memory m WHERE {condition}");
    let mut statement = conn.prepare_cached(&sql)?;
    let mut rows = statement.query([value])?;
    rows.next()?.map(memory).transpose()
}

fn memory(row: &SqlRow<'_>) -> Result<Memory, StoreError> {
    let json = |column: usize| -> Result<String, StoreError> { Ok(row.get(column)?) };
    let damaged = |what: &str| StoreError::Corrupt(format!("a memory's {what} is unreadable"));
    Ok(Memory {
        id: parse_id(&json(0)?)?,
        content: row.get::<_, Option<String>>(1)?.unwrap_or_default(),
        memory_type: row.get(2)?,
        metadata: serde_json::from_str(&json(3)?).map_err(|_| damaged("metadata"))?,
        created_at: Micros(row.get(4)?),
        updated_at: Micros(row.get(5)?),
        deleted_at: row.get::<_, Option<i64>>(6)?.map(Micros),
        superseded_by: row.get::<_, Option<String>>(7)?.map(|id| parse_id(&id)).transpose()?,
        device: DeviceId(row.get(8)?).to_string(),
        client: row.get(9)?,
        tags: serde_json::from_str(&json(10)?).map_err(|_| damaged("tags"))?,
        synced: row.get(11)?,
        embedded: row.get(12)?,
    })
}
