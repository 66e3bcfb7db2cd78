//! What comes from the cloud: merged into the memories here, together with how far the feed has been read.
//!
//! A page is applied in one transaction with its cursor, or not at all. Merging is the registers' own
//! (see [`State::merge`]), so a page that is applied twice, or late, changes nothing. What loses is kept in
//! the history. A memory that then holds exactly what the cloud holds owes it nothing more; one that
//! holds more owes a row. What can't be taken is set aside in the quarantine, visibly, and the feed goes on.

use super::column::parse_id;
use super::error::StoreError;
use super::history;
use super::reader::Read;
use super::row::{Cause, Row, save};
use super::writer::Write;
use super::{outbox, owed};
use crate::model::id::{BodyHash, MemoryId};
use crate::model::shown::Shown;
use crate::model::state::{Register, State};
use crate::mutant::{self, Mutant};
use rusqlite::OptionalExtension as _;
use std::collections::{HashMap, HashSet};

/// Who is named in the history as the one that changed a memory.
const CLIENT: &str = "cloud";

/// A memory as the cloud holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Which.
    pub id: MemoryId,
    /// Its position in the feed.
    pub seq: i64,
    /// Its registers.
    pub state: State,
    /// Whether the cloud shows exactly these; if not, the row is written again.
    pub is_shown: bool,
    /// The text that the registers name, if it had to be fetched.
    pub content: Option<String>,
    /// The bucket's key of that text.
    pub r2_key: Option<String>,
    /// The Python service's row of it.
    pub row: Option<Box<SeenRow>>,
}

/// What the Python service's row of a memory shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRow {
    /// Everything but the text.
    pub shown: Shown,
    /// The text that stands there, or in the bucket for it.
    pub body: Option<BodyHash>,
    /// Whether its own list of the tags says what the join table says, or nothing.
    pub is_tidy: bool,
    /// Whether it names the vector that carries its id.
    pub names_own_vector: bool,
    /// Whether memtide has written an entry beside it.
    pub has_entry: bool,
}

impl SeenRow {
    /// Whether it needs no change to show `state`.
    pub(super) fn is_right(&self, state: &State) -> bool {
        match (state.is_alive(), self.shown.deleted_at) {
            (true, None) => {
                self.is_tidy
                    && !self.lacks_vector(state)
                    && self.body == Some(state.text.value)
                    && self.shown.shows(state)
            }
            (false, Some(_)) => true,
            _ => false,
        }
    }

    /// Whether nobody finds the memory by its row: it names no vector, or one that nobody keeps up.
    pub(super) fn lacks_vector(&self, state: &State) -> bool {
        state.is_findable() && self.shown.deleted_at.is_none() && !self.names_own_vector
    }
}

/// Something of the cloud that can't be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// What names it there.
    pub key: String,
    /// Its position in the feed.
    pub seq: i64,
    /// Why, as a sentence.
    pub reason: String,
}

/// A page of the feed, ready to be applied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// The cursor with which it was asked for.
    pub from: i64,
    /// The cursor afterwards.
    pub to: i64,
    /// The newest position of it and its nonce.
    pub anchor: Option<(i64, String)>,
    /// What is taken.
    pub incoming: Vec<Incoming>,
    /// What is not.
    pub quarantined: Vec<Quarantined>,
    /// Memories of which the cloud holds nothing but a position.
    pub empty: Vec<(MemoryId, i64)>,
    /// Keys that are no ids, and have nothing under them any more.
    pub gone: Vec<String>,
}

/// What became of a memory here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It was not here, or was deleted.
    Stored,
    /// It changed.
    Updated,
    /// It was deleted.
    Deleted,
    /// Nothing that anybody sees.
    Unchanged,
}

/// What applying a page did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// Merged; the cursor stands at the page's end. The memories that changed.
    Merged(Vec<(MemoryId, Became)>),
    /// Nothing: the cursor is another one by now, or a text changed meanwhile. Ask again.
    Stale,
    /// Nothing: more memories would be deleted than the guard lets pass.
    TooManyDeletions {
        /// Memories that the page would delete.
        deletions: u64,
        /// Living memories.
        of: u64,
    },
}

/// How far the feed has been read; `None` without a link.
///
/// # Errors
/// The database refused.
pub fn cursor(read: &Read<'_>) -> Result<Option<i64>, StoreError> {
    Ok(read
        .conn
        .prepare_cached("SELECT cursor FROM link")?
        .query_row([], |row| row.get(0))
        .optional()?)
}

/// Which texts of `ids` are here.
///
/// # Errors
/// The database refused.
pub fn bodies(
    read: &Read<'_>,
    ids: &[MemoryId],
) -> Result<HashMap<MemoryId, BodyHash>, StoreError> {
    let mut statement = read.conn.prepare_cached(
        "SELECT body, CASE WHEN deleted_at IS NOT NULL THEN content END FROM memory
             WHERE id = ?1 AND content IS NOT NULL",
    )?;
    let mut bodies = HashMap::new();
    for id in ids {
        let found: Option<(String, Option<String>)> = statement
            .query_row([id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let body = found.and_then(|(body, kept)| match kept {
            Some(kept) => Some(BodyHash::of(&kept)),
            None => body.parse().ok(),
        });
        if let Some(body) = body {
            bodies.insert(*id, body);
        }
    }
    Ok(bodies)
}

/// Applies a page. `may_delete` decides, from the number of memories that it would delete and the number
/// that live, whether it may.
///
/// # Errors
/// The database refused.
pub fn apply(
    write: &mut Write<'_>,
    page: &Page,
    may_delete: impl Fn(u64, u64) -> bool,
) -> Result<Applied, StoreError> {
    let cursor: Option<i64> = write
        .conn
        .prepare_cached("SELECT cursor FROM link")?
        .query_row([], |row| row.get(0))
        .optional()?;
    if cursor != Some(page.from) {
        return Ok(Applied::Stale);
    }
    let Some(deletions) = deletions(write, &page.incoming)? else { return Ok(Applied::Stale) };
    let deletions = u64::try_from(deletions.len()).unwrap_or(u64::MAX);
    if deletions > 0 {
        let of = n_living(write)?;
        if !may_delete(deletions, of) {
            return Ok(Applied::TooManyDeletions { deletions, of });
        }
    }
    let mut became = Vec::new();
    let n_applied =
        if mutant::is(Mutant::PartialPage) { page.incoming.len() / 2 } else { usize::MAX };
    for incoming in page.incoming.iter().take(n_applied) {
        match merge(write, incoming)? {
            None | Some(Became::Unchanged) => {}
            Some(one) => became.push((incoming.id, one)),
        }
    }
    for one in &page.quarantined {
        quarantine(write, one)?;
    }
    for (id, seq) in &page.empty {
        is_empty(write, id, *seq)?;
    }
    for key in &page.gone {
        release(write, key)?;
    }
    write.conn.prepare_cached("UPDATE link SET cursor = ?1")?.execute([page.to])?;
    if let Some((seq, nonce)) = &page.anchor {
        super::link::raise_anchor(write, *seq, nonce)?;
    }
    Ok(Applied::Merged(became))
}

fn n_living(write: &Write<'_>) -> Result<u64, StoreError> {
    Ok(write
        .conn
        .prepare_cached("SELECT count(*) FROM memory WHERE deleted_at IS NULL")?
        .query_row([], |row| row.get(0))?)
}

/// The living memories that would be dead after the merge; `None` if a text is needed that is not at hand.
fn deletions(
    write: &Write<'_>,
    incoming: &[Incoming],
) -> Result<Option<HashSet<MemoryId>>, StoreError> {
    let mut found = HashSet::new();
    for one in incoming {
        let here = Row::load(write, &one.id)?;
        let merged = merged(here.as_ref(), one);
        let is_missing = text_of(here.as_ref(), &merged, one) == Needed::Missing;
        if is_missing && instead(here.as_ref(), &merged, one).is_none() {
            return Ok(None);
        }
        if here.is_some_and(|row| row.state.is_alive()) && !merged.is_alive() {
            found.insert(one.id);
        }
    }
    Ok(Some(found))
}

/// The memories that must not be merged yet, as more would be deleted than `may_delete` lets pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeldBack {
    /// Which.
    pub ids: HashSet<MemoryId>,
    /// Living memories.
    pub of: u64,
}

/// Which of `incoming` are held back, if they are not a page of the feed but asked for by their ids.
///
/// # Errors
/// The database refused.
pub fn held_back(
    write: &Write<'_>,
    incoming: &[Incoming],
    may_delete: impl Fn(u64, u64) -> bool,
) -> Result<HeldBack, StoreError> {
    let mut ids = HashSet::new();
    for one in incoming {
        ids.extend(deletions(write, std::slice::from_ref(one))?.unwrap_or_default());
    }
    if ids.is_empty() {
        return Ok(HeldBack::default());
    }
    let of = n_living(write)?;
    let is_let_through = may_delete(u64::try_from(ids.len()).unwrap_or(u64::MAX), of);
    Ok(if is_let_through { HeldBack::default() } else { HeldBack { ids, of } })
}

fn merged(here: Option<&Row>, incoming: &Incoming) -> State {
    let Some(here) = here else { return incoming.state.clone() };
    let mut merged = here.state.clone();
    merged.merge(&incoming.state);
    merged
}

/// Merges one memory; `None` if its text is needed and not at hand.
///
/// # Errors
/// The database refused.
pub fn merge(write: &mut Write<'_>, incoming: &Incoming) -> Result<Option<Became>, StoreError> {
    let before = Row::load(write, &incoming.id)?;
    let mut merged = merged(before.as_ref(), incoming);
    let content = match text_of(before.as_ref(), &merged, incoming) {
        Needed::Text(text) => Some(text.to_owned()),
        Needed::Nothing => None,
        Needed::Missing => {
            let Some(text) = instead(before.as_ref(), &merged, incoming) else { return Ok(None) };
            merged.text = Register::new(write.stamp(merged.newest()), BodyHash::of(text));
            Some(text.to_owned())
        }
    };
    if let Some(here) = &before {
        let is_news = merged != incoming.state && here.state != incoming.state;
        if is_news && incoming.state.is_alive() {
            let text = loser_text(here, incoming);
            history::record_loser(write, here, &incoming.state, &merged, text, Cause::Pull)?;
        }
    }
    if mutant::is(Mutant::TombstoneDropped) && !merged.is_alive() && before.is_none() {
        return Ok(Some(Became::Unchanged));
    }
    let is_changed = before.as_ref().is_none_or(|here| here.state != merged);
    if is_changed {
        let (id, before) = (&incoming.id, before.as_ref());
        save(write, id, before, &merged, content.as_deref(), Cause::Pull, CLIENT)?;
    }
    let Some(here) = Row::load(write, &incoming.id)? else {
        return Err(StoreError::Corrupt("a memory that was just written is gone".to_owned()));
    };
    outbox::set_position(write, here.key, incoming.seq)?;
    // Where the row is left as it is, what it names is where the text is, whoever wrote it.
    let row = incoming.row.as_deref();
    let is_row_kept = merged.is_alive() && row.is_some_and(|row| row.is_right(&merged));
    let is_their_text = is_row_kept || merged.text == incoming.state.text;
    if let Some(key) = incoming.r2_key.as_ref().filter(|_| is_their_text) {
        outbox::set_body_key(write, here.key, key)?;
    } else if is_body_in_doubt(before.as_ref(), &merged, incoming) {
        outbox::forget_body(write, here.key)?;
    }
    owe(write, before.as_ref(), &here, incoming)?;
    release(write, &incoming.id.to_string())?;
    Ok(Some(became(before.as_ref().map(|row| &row.state), &merged, is_changed)))
}

/// Whether the bucket may not hold the text under the key that is remembered: it is another text, or the
/// cloud had it deleted, and the Python service removes the body first; or the row names no key any more, as
/// after the service has deleted the memory and stored it again.
fn is_body_in_doubt(before: Option<&Row>, merged: &State, incoming: &Incoming) -> bool {
    let is_same = before.is_some_and(|row| row.state.text.value == merged.text.value);
    !is_same || !incoming.state.is_alive() || incoming.r2_key.is_none()
}

/// Whether a memory can be merged without a text that can't be had: what is here decides which text it has,
/// or it is dead.
///
/// # Errors
/// The database refused.
pub fn needs_no_text(write: &Write<'_>, incoming: &Incoming) -> Result<bool, StoreError> {
    let here = Row::load(write, &incoming.id)?;
    let merged = merged(here.as_ref(), incoming);
    Ok(text_of(here.as_ref(), &merged, incoming) != Needed::Missing)
}

/// What is owed to the cloud after the merge.
fn owe(
    write: &mut Write<'_>,
    before: Option<&Row>,
    here: &Row,
    incoming: &Incoming,
) -> Result<(), StoreError> {
    let is_theirs = here.state == incoming.state;
    let row = incoming.row.as_deref();
    let lacks_vector = row.is_some_and(|row| row.lacks_vector(&here.state));
    if is_theirs && incoming.is_shown && !lacks_vector {
        return owed::is_held(write, here.key, here.state.is_findable());
    }
    let is_other = |state: &State| {
        state.is_findable() != here.state.is_findable()
            || state.text.value != here.state.text.value
            || state.kind.value != here.state.kind.value
            || state.live_tags() != here.state.live_tags()
    };
    let is_moved = before.is_none_or(|row| is_other(&row.state));
    // The Python service makes the vectors of its own memories, where it can.
    let is_service_made = is_theirs && !write.link().is_some_and(|link| link.is_local_space);
    let owed = owed::Owed {
        key: here.key,
        has_vector: (is_moved && !is_service_made) || lacks_vector,
        has_row: !row.is_some_and(|row| row.is_right(&here.state)),
        is_backfill: row.is_some_and(|row| !row.has_entry),
        is_vector_old: is_other(&incoming.state),
        is_findable: here.state.is_findable(),
        content: here.content.as_deref().filter(|_| here.state.is_alive()),
    };
    owed::owe(write, &owed)
}

fn became(before: Option<&State>, merged: &State, is_changed: bool) -> Became {
    match (before.is_some_and(State::is_alive), merged.is_alive()) {
        (false, true) => Became::Stored,
        (true, false) => Became::Deleted,
        (true, true) if is_changed => Became::Updated,
        _ => Became::Unchanged,
    }
}

/// The text after a merge.
#[derive(PartialEq)]
enum Needed<'a> {
    Text(&'a str),
    /// It is deleted, and nothing is left to bring back.
    Nothing,
    /// It lives, and its text is neither here nor at hand.
    Missing,
}

fn text_of<'a>(before: Option<&'a Row>, merged: &State, incoming: &'a Incoming) -> Needed<'a> {
    let here = before.and_then(|here| here.content.as_deref());
    let own = here.filter(|text| before.is_some_and(|row| has_text(row, text, &merged.text.value)));
    let is_theirs = incoming.state.text.value == merged.text.value;
    let theirs = incoming.content.as_deref().filter(|_| is_theirs);
    match own.or(theirs) {
        Some(text) => Needed::Text(text),
        None if merged.is_alive() => Needed::Missing,
        // Something to bring back is better than nothing.
        None => here.map_or(Needed::Nothing, Needed::Text),
    }
}

/// A memory lives on with the text of a deletion that never showed it: the text at hand becomes its text,
/// as a change of its own. Waiting for the other one could be for ever.
fn instead<'a>(before: Option<&'a Row>, merged: &State, incoming: &'a Incoming) -> Option<&'a str> {
    let here = before?;
    let kept = here.content.as_deref();
    match (here.state.is_alive(), incoming.state.is_alive()) {
        (true, false) if incoming.state.text == merged.text => kept,
        (false, true) if here.state.text == merged.text => {
            let is_named = |text: &&str| BodyHash::of(text) == incoming.state.text.value;
            incoming.content.as_deref().or(kept.filter(is_named))
        }
        _ => None,
    }
}

/// Whether `text` of `row` is the one named `body`. A deleted memory may have kept an older one than its
/// registers name.
fn has_text(row: &Row, text: &str, body: &BodyHash) -> bool {
    if row.state.is_alive() { row.state.text.value == *body } else { BodyHash::of(text) == *body }
}

/// The text of what lost: fetched, or the one that is here too.
fn loser_text<'a>(here: &'a Row, incoming: &'a Incoming) -> Option<&'a str> {
    let is_same = here.state.text.value == incoming.state.text.value;
    let own = here.content.as_deref().filter(|_| is_same);
    incoming.content.as_deref().or(own)
}

fn quarantine(write: &Write<'_>, one: &Quarantined) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached(
            "INSERT INTO quarantine(id, seq, reason, at) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT(id) DO UPDATE SET seq = excluded.seq, reason = excluded.reason,
               at = excluded.at",
        )?
        .execute((&one.key, one.seq, &one.reason, write.now().0))?;
    Ok(())
}

fn release(write: &Write<'_>, key: &str) -> Result<(), StoreError> {
    write.conn.prepare_cached("DELETE FROM quarantine WHERE id = ?1")?.execute([key])?;
    Ok(())
}

/// Sets aside what was fetched by its id and can't be taken.
///
/// # Errors
/// The database refused.
pub fn set_aside(write: &mut Write<'_>, one: &Quarantined) -> Result<(), StoreError> {
    quarantine(write, one)
}

/// The cloud holds neither state nor row of a memory: all of it that is here is owed.
///
/// # Errors
/// The database refused.
pub fn is_empty(write: &mut Write<'_>, id: &MemoryId, seq: i64) -> Result<(), StoreError> {
    if let Some(here) = Row::load(write, id)? {
        outbox::set_position(write, here.key, seq)?;
    }
    release(write, &id.to_string())
}

/// What is set aside, that which was looked at longest ago first, and how many there are in all.
///
/// # Errors
/// The database refused.
pub fn quarantined(read: &Read<'_>, limit: usize) -> Result<(Vec<Quarantined>, u64), StoreError> {
    let mut statement = read
        .conn
        .prepare_cached("SELECT id, seq, reason FROM quarantine ORDER BY at, id LIMIT ?1")?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement
        .query_map([limit], |row| {
            Ok(Quarantined { key: row.get(0)?, seq: row.get(1)?, reason: row.get(2)? })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let total = read
        .conn
        .prepare_cached("SELECT count(*) FROM quarantine")?
        .query_row([], |row| row.get(0))?;
    Ok((rows, total))
}

/// Sees to it that `ids` are fetched again by themselves, whatever the cursor says.
///
/// # Errors
/// The database refused.
pub fn refetch(write: &mut Write<'_>, ids: &[MemoryId]) -> Result<(), StoreError> {
    for id in ids {
        let reason = "it is missing here and is fetched again".to_owned();
        quarantine(write, &Quarantined { key: id.to_string(), seq: 0, reason })?;
    }
    Ok(())
}

/// The ids among what is set aside, those tried longest ago first.
///
/// # Errors
/// The database refused.
pub fn to_refetch(read: &Read<'_>, limit: usize) -> Result<Vec<MemoryId>, StoreError> {
    let mut statement = read.conn.prepare_cached(
        "SELECT id FROM quarantine WHERE octet_length(id) = 64 AND id NOT GLOB '*[^0-9a-f]*'
         ORDER BY at, id LIMIT ?1",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let ids = statement
        .query_map([limit], |row| row.get::<_, String>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(ids.iter().filter_map(|id| parse_id(id).ok()).collect())
}

/// What of `ids` is set aside stays so, and comes last the next time.
///
/// # Errors
/// The database refused.
pub fn put_back(write: &mut Write<'_>, ids: &[MemoryId]) -> Result<(), StoreError> {
    let now = write.now().0;
    let mut statement = write.conn.prepare_cached("UPDATE quarantine SET at = ?2 WHERE id = ?1")?;
    for id in ids {
        statement.execute((id.to_string(), now))?;
    }
    Ok(())
}

/// Begins anew: the database was put back to an older state. All positions are forgotten, and every row
/// is owed again; merging makes that harmless. The bucket was not put back: a row may name a body again that
/// was removed since, so the bodies are owed as well.
///
/// # Errors
/// The database refused.
pub fn begin_anew(write: &mut Write<'_>) -> Result<(), StoreError> {
    write.conn.execute_batch(
        "UPDATE link SET cursor = 0, anchor_seq = 0, anchor_nonce = '';
         UPDATE remote_position SET seq = 0, shown = NULL;",
    )?;
    owed::owe_bodies_again(write)?;
    owed::owe_all_rows(write)
}
