//! The verdict: what the account's tables and the local database must hold.

use crate::device::{Device, NAME};
use crate::load::{self, Known, as_stored};
use memtide::emulator::server::Running;
use memtide::model::id::MemoryId;
use memtide::model::state::State;
use memtide::model::state_text;
use rusqlite::Connection;
use rusqlite::types::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A memory's row in the account's database.
struct Row {
    content: String,
    is_alive: bool,
    r2_key: Option<String>,
    tags: BTreeSet<String>,
}

/// What the account's database holds, in one moment of rest.
pub struct Cloud<'a> {
    account: &'a Running,
    rows: BTreeMap<String, Row>,
    states: BTreeMap<String, String>,
}

fn text(value: Option<Value>) -> Option<String> {
    match value {
        Some(Value::Text(text)) => Some(text),
        Some(Value::Null) | None => None,
        other => panic!("{other:?} is no text"),
    }
}

fn one(account: &Running, sql: &str) -> i64 {
    let rows = account.core().d1_rows(NAME, sql).expect(sql);
    match rows[0].values().next() {
        Some(Value::Integer(number)) => *number,
        other => panic!("{sql}: {other:?}"),
    }
}

/// The states that the account holds of these memories, or of all.
pub fn states(account: &Running, ids: Option<&BTreeSet<String>>) -> BTreeMap<String, String> {
    let list = |ids: &BTreeSet<String>| {
        let quoted: Vec<String> = ids.iter().map(|id| format!("'{id}'")).collect();
        format!(" WHERE id IN ({})", quoted.join(","))
    };
    let sql = format!("SELECT id, state FROM mt_entry{}", ids.map(list).unwrap_or_default());
    let rows = account.core().d1_rows(NAME, &sql).expect("states");
    let pair = |mut row: BTreeMap<String, Value>| {
        Some((text(row.remove("id"))?, text(row.remove("state"))?))
    };
    let states: Vec<(String, String)> = rows.into_iter().filter_map(pair).collect();
    let n_states = states.len();
    let by_id: BTreeMap<String, String> = states.into_iter().collect();
    assert_eq!(by_id.len(), n_states, "a memory has two states");
    by_id
}

impl<'a> Cloud<'a> {
    /// Reads everything, and looks that no id is there twice and no batch half applied.
    pub fn read(account: &'a Running) -> Self {
        let rows = account
            .core()
            .d1_rows(
                NAME,
                "SELECT content_hash, content, deleted_at IS NULL AS is_alive, r2_key,
                   (SELECT json_group_array(t.name) FROM memory_tags mt JOIN tags t ON t.id = mt.tag_id
                     WHERE mt.memory_id = m.id) AS names
                 FROM memories m",
            )
            .expect("rows");
        let n_rows = rows.len();
        let row = |mut row: BTreeMap<String, Value>| {
            let names = text(row.remove("names")).expect("tags");
            let names: Vec<String> = serde_json::from_str(&names).expect("names of tags");
            let n_names = names.len();
            let tags: BTreeSet<String> = names.into_iter().collect();
            assert_eq!(tags.len(), n_names, "a tag is there twice");
            let is_alive = row.remove("is_alive") == Some(Value::Integer(1));
            let content = text(row.remove("content")).expect("a text");
            let id = text(row.remove("content_hash")).expect("an id");
            (id, Row { content, is_alive, r2_key: text(row.remove("r2_key")), tags })
        };
        let rows: BTreeMap<String, Row> = rows.into_iter().map(row).collect();
        assert_eq!(rows.len(), n_rows, "a memory has two rows");
        let cloud = Self { account, rows, states: states(account, None) };
        assert_eq!(one(account, "SELECT count(*) FROM mt_stage"), 0, "a batch is half applied");
        let twice = "SELECT count(*) - count(DISTINCT id) FROM mt_feed";
        assert_eq!(one(account, twice), 0, "the feed names a memory twice");
        let unfed = "SELECT count(*) FROM mt_entry WHERE id NOT IN (SELECT id FROM mt_feed)";
        assert_eq!(one(account, unfed), 0, "the feed lacks a memory");
        cloud.check_rows();
        cloud
    }

    /// Each row shows its state, and each body that a row names is there.
    fn check_rows(&self) {
        for (id, text) in &self.states {
            let state = state_text::read(text).expect("a state");
            let row = self.rows.get(id);
            assert_eq!(state.is_alive(), row.is_some_and(|row| row.is_alive), "{id}: {text}");
            let Some(row) = row.filter(|row| row.is_alive) else { continue };
            let tags: BTreeSet<&str> = row.tags.iter().map(String::as_str).collect();
            assert_eq!(tags, state.live_tags(), "{id}: half of a transaction is there");
            assert_eq!(MemoryId::of(&self.text(id, row)).to_string(), *id, "another's text");
        }
        let stray: Vec<&String> =
            self.rows.keys().filter(|id| !self.states.contains_key(*id)).collect();
        assert!(stray.is_empty(), "rows without a state: {stray:?}");
    }

    /// A memory's text, from the bucket if it is there.
    fn text(&self, id: &str, row: &Row) -> String {
        let Some(key) = &row.r2_key else { return row.content.clone() };
        let body = self.account.core().object(NAME, key).expect("a bucket");
        let body = body.unwrap_or_else(|| panic!("{id}: the row names {key}, which isn't there"));
        String::from_utf8(body.to_vec()).expect("UTF-8")
    }

    /// Exactly what is known is there: nothing acknowledged is lost, nothing is there that shouldn't be.
    pub fn check(&self, known: &BTreeMap<String, Known>) {
        for (id, known) in known {
            let state = self.state(id).unwrap_or_else(|| panic!("{id} is lost: {known:?}"));
            assert_eq!(state.is_alive(), known.is_alive, "{id}: {known:?}");
            let superseded_by = state.superseded_by.value.map(|id| id.to_string());
            assert_eq!(superseded_by, known.superseded_by, "{id}: {known:?}");
            let row = self.rows.get(id);
            assert_eq!(row.is_some_and(|row| row.is_alive), known.is_alive, "{id}: {known:?}");
            if let Some(row) = row.filter(|_| known.is_alive) {
                assert_eq!(self.text(id, row), known.content, "{id}");
                assert_eq!(row.tags, known.tags, "{id}");
            }
        }
        let unknown: Vec<&String> =
            self.states.keys().filter(|id| !known.contains_key(*id)).collect();
        assert!(unknown.is_empty(), "nobody stored {unknown:?}");
    }

    /// A living memory as it is there.
    pub fn known(&self, id: &str) -> Option<Known> {
        let row = self.rows.get(id).filter(|row| row.is_alive)?;
        let superseded_by = self.state(id)?.superseded_by.value.map(|id| id.to_string());
        let (content, tags) = (self.text(id, row), row.tags.clone());
        Some(Known { content, tags, is_alive: true, superseded_by })
    }

    /// Texts that are in the bucket.
    pub fn n_bodies(&self) -> usize {
        self.rows.values().filter(|row| row.is_alive && row.r2_key.is_some()).count()
    }

    fn state(&self, id: &str) -> Option<State> {
        self.states.get(id).map(|text| state_text::read(text).expect("a state"))
    }
}

/// A memory in the local database, checked against the tables that speak of it.
pub fn stored(conn: &Connection, id: &str) -> Option<Known> {
    let row = load::stored_row(conn, id)?;
    let owed: Vec<String> = load::texts(
        conn,
        "SELECT product || ' ' || state || ' ' || generation FROM outbox
         WHERE memory = ?1 AND (product = 'd1' AND generation < ?2 OR state IN ('conflict', 'parked'))",
        [row.key, row.generation],
    );
    assert!(owed.is_empty(), "{owed:?} of generation {} of {id}", row.generation);
    Some(row.known)
}

/// What the local database holds as done is done: where no row is owed, the account has this very state.
/// Returns how many there were.
pub fn check_settled(conn: &Connection, account: &Running, ids: &BTreeSet<String>) -> usize {
    let mut settled = BTreeMap::new();
    let mut statement = conn
        .prepare_cached(
            "SELECT state FROM memory m WHERE id = ?1
             AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.memory = m.key AND o.product = 'd1')",
        )
        .unwrap();
    for id in ids {
        let state = statement.query_row([id], |row| row.get::<_, String>(0));
        settled.extend(state.ok().map(|state| (id.clone(), state)));
    }
    let there = states(account, Some(ids));
    for (id, state) in &settled {
        assert_eq!(there.get(id), Some(state), "{id} is owed no more and not there");
    }
    settled.len()
}

/// Exactly what is known is in the local database.
pub fn check_local(conn: &Connection, known: &BTreeMap<String, Known>) {
    let one = |sql: &str| conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    for (id, known) in known {
        assert_eq!(stored(conn, id), Some(as_stored(known)), "{id}");
    }
    assert_eq!(one("SELECT count(*) FROM memory"), i64::try_from(known.len()).unwrap());
    let said: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(said, "ok");
}

/// Nothing is owed any more but vectors that no model has made.
pub fn check_outbox(conn: &Connection) {
    let left: Vec<String> = load::texts(
        conn,
        "SELECT product || ' ' || o.state || ' ' || coalesce(error, '') || ' ' || m.id
         FROM outbox o JOIN memory m ON m.key = o.memory WHERE o.state <> ?1",
        ["waiting_for_embedding"],
    );
    assert!(left.is_empty(), "still owed: {left:#?}");
}

/// States by id in the local database.
pub fn local_states(conn: &Connection) -> BTreeMap<String, String> {
    let mut statement = conn.prepare("SELECT id, state FROM memory").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// Nothing is owed, and both sides hold exactly what the device's clients know.
pub fn check_all(device: &Device, account: &Running) {
    let conn = load::snapshot(&device.home.database());
    let known = device.known();
    check_outbox(&conn);
    check_local(&conn, &known);
    Cloud::read(account).check(&known);
    assert_eq!(local_states(&conn), states(account, None));
}
