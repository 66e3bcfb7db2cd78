//! Rows of the Python service's database, taken over: met with what is here by their registers, with what
//! they showed last, in one transaction with the position up to which the source has been read.
//!
//! A row that is seen for the first time is merged like anything that comes from elsewhere: its stamps are its
//! own instants, so that an old copy can't bring back what was deleted since. Of a row that was seen before
//! only what differs counts (see [`crate::model::seen`]). What loses is kept in the history.

use super::error::StoreError;
use super::pull::Became;
use super::reader::Read;
use super::row::{Cause, Row, save};
use super::writer::Write;
use super::{carried, history, outbox, vector};
use crate::clock::Micros;
use crate::model::carried::Carried;
use crate::model::id::{BodyHash, MemoryId};
use crate::model::refusal::Refusal;
use crate::model::seen::{Seen, edited};
use crate::model::shown::{CLIENT, Shown, VOLATILE};
use crate::model::space::{Space, UnitVector};
use crate::model::stamp::DeviceId;
use crate::model::state::{Register, State};
use crate::model::takeover::newborn;
use rusqlite::{Connection, OptionalExtension as _};

/// A row of a source, checked.
#[derive(Debug, Clone)]
pub struct SourceRow {
    /// Its rowid there.
    pub row: i64,
    /// The hash of its small columns.
    pub print: i64,
    /// Which memory it is.
    pub id: MemoryId,
    /// Names its text.
    pub body: BodyHash,
    /// Its text.
    pub content: String,
    /// What it shows.
    pub shown: Shown,
    /// What it has besides.
    pub carried: Carried,
    /// Its vector, if that is as good as one that is made here.
    pub vector: Option<UnitVector>,
}

/// Rows that are taken over together.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The source's local key.
    pub source: i64,
    /// The rows.
    pub rows: Vec<SourceRow>,
    /// The row up to which an import has read then; `None` leaves that as it is.
    pub cursor: Option<i64>,
    /// When the source was looked at, by this device's clock: before it was read.
    pub observed_at: Micros,
    /// Whether these are changes made now, which go before the backfill.
    pub is_live: bool,
    /// The space of the rows' vectors.
    pub space: Option<Space>,
}

/// What became of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Memories that were not here, alive.
    pub new_living: u64,
    /// Memories that were not here, deleted.
    pub new_deleted: u64,
    /// Memories that were here from elsewhere, and got something from their row.
    pub merged: u64,
    /// Memories that were taken over before, and were changed there since.
    pub changed: u64,
    /// Rows that had nothing to tell.
    pub unchanged: u64,
    /// Memories of which something older lost against what is here; it is in their history.
    pub lost: u64,
    /// Vectors that were taken over.
    pub vectors_reused: u64,
    /// Memories that got a new text to find and no vector with it.
    pub vectors_to_make: u64,
}

impl Counts {
    /// Adds those of another batch.
    pub fn add(&mut self, other: &Self) {
        self.new_living += other.new_living;
        self.new_deleted += other.new_deleted;
        self.merged += other.merged;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
        self.lost += other.lost;
        self.vectors_reused += other.vectors_reused;
        self.vectors_to_make += other.vectors_to_make;
    }

    /// Memories that are others than before.
    pub fn n_changes(&self) -> u64 {
        self.new_living + self.new_deleted + self.merged + self.changed
    }
}

/// A row that this store can't take, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTaken {
    /// Its rowid in the source.
    pub row: i64,
    /// Its memory.
    pub id: MemoryId,
    /// Names its text.
    pub body: BodyHash,
    /// A sentence.
    pub why: String,
}

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// In numbers.
    pub counts: Counts,
    /// What changed for those who look at memories.
    pub became: Vec<(MemoryId, Became)>,
    /// What was not taken.
    pub not_taken: Vec<NotTaken>,
}

/// What is here of a row.
struct Here {
    key: i64,
    seen: Option<(Option<i64>, i64, String)>,
}

impl Here {
    fn find(conn: &Connection, source: i64, id: &MemoryId) -> Result<Option<Self>, StoreError> {
        Ok(conn
            .prepare_cached(
                "SELECT m.key, s.seen, s.row, s.print FROM memory m
                 LEFT JOIN source_row s ON s.source = ?1 AND s.memory = m.key WHERE m.id = ?2",
            )?
            .query_row((source, id.to_string()), |row| {
                let seen: Option<String> = row.get(1)?;
                let seen = match seen {
                    Some(seen) => Some((row.get(2)?, row.get(3)?, seen)),
                    None => None,
                };
                Ok(Self { key: row.get(0)?, seen })
            })
            .optional()?)
    }

    fn showed(&self) -> Option<&str> {
        self.seen.as_ref().map(|(_, _, text)| text.as_str())
    }
}

/// How a row meets what is here.
struct Meeting {
    state: State,
    /// Whether something of the row lost.
    has_lost: bool,
    is_first: bool,
}

fn meet(before: Option<&Row>, showed: Option<&str>, row: &SourceRow, at: Micros) -> Meeting {
    let Some(before) = before else {
        return Meeting { state: newborn(&row.shown, row.body), has_lost: false, is_first: true };
    };
    if let Some(seen) = showed.and_then(Seen::parse) {
        let after = edited(&before.state, &seen, &row.shown, row.body, at);
        return Meeting { state: after.state, has_lost: after.has_lost, is_first: false };
    }
    let incoming = without_noise(row);
    let mut state = before.state.clone();
    state.merge(&incoming);
    let has_lost = state != incoming && before.state != incoming;
    Meeting { state, has_lost, is_first: true }
}

/// The registers of a row without what the service rewrites at every search: it is kept of a memory that is
/// known from nowhere else, and changes none.
fn without_noise(row: &SourceRow) -> State {
    let mut shown = row.shown.clone();
    shown.metadata.retain(|key, _| !VOLATILE.contains(&key.as_str()));
    newborn(&shown, row.body)
}

/// Takes a batch over.
///
/// # Errors
/// The database refused; then nothing of it is kept.
pub fn take(write: &mut Write<'_>, batch: &Batch) -> Result<Outcome, StoreError> {
    let mut taking = Taking::begin(write, batch)?;
    for row in &batch.rows {
        taking.row(write, row)?;
    }
    taking.end(write)
}

struct Taking<'a> {
    batch: &'a Batch,
    /// The local key of the space whose vectors are taken over.
    space: Option<i64>,
    outcome: Outcome,
    n_added: i64,
}

impl<'a> Taking<'a> {
    fn begin(write: &Write<'_>, batch: &'a Batch) -> Result<Self, StoreError> {
        let active = vector::active_space(write.conn)?;
        let wanted = batch.space.as_ref().map(Space::as_str);
        let space = active.filter(|(_, name)| Some(name.as_str()) == wanted).map(|(key, _)| key);
        Ok(Self { batch, space, outcome: Outcome::default(), n_added: 0 })
    }

    fn row(&mut self, write: &mut Write<'_>, row: &SourceRow) -> Result<(), StoreError> {
        let here = Here::find(write.conn, self.batch.source, &row.id)?;
        let shows = Seen::of(&row.shown, row.body).to_text();
        if let Some(here) = here.as_ref().filter(|here| here.showed() == Some(shows.as_str())) {
            return self.nothing_new(write, here, row);
        }
        let before = if here.is_some() { Row::load(write, &row.id)? } else { None };
        let showed = here.as_ref().and_then(Here::showed);
        let mut met = meet(before.as_ref(), showed, row, self.batch.observed_at);
        let content = text(write, before.as_ref(), &mut met.state, row);
        if let Some(why) = refusal(write, &met.state, content) {
            self.outcome.not_taken.push(NotTaken { row: row.row, id: row.id, body: row.body, why });
            return Ok(());
        }
        let cause = self.cause();
        let counts = &mut self.outcome.counts;
        if let Some(before) =
            before.as_ref().filter(|_| met.has_lost && row.shown.deleted_at.is_none())
        {
            let loser = without_noise(row);
            let text = Some(row.content.as_str());
            history::record_loser(write, before, &loser, &met.state, text, cause)?;
            counts.lost += 1;
        }
        let is_changed = before.as_ref().is_none_or(|before| before.state != met.state);
        match (&before, is_changed) {
            (None, _) if met.state.is_alive() => counts.new_living += 1,
            (None, _) => counts.new_deleted += 1,
            (Some(_), false) => counts.unchanged += 1,
            (Some(_), true) if met.is_first => counts.merged += 1,
            (Some(_), true) => counts.changed += 1,
        }
        if is_changed {
            save(write, &row.id, before.as_ref(), &met.state, content, cause, CLIENT)?;
            let was = before.as_ref().map(|before| &before.state);
            self.tell(row.id, was, &met.state);
        }
        let key = match here {
            Some(here) => here.key,
            None => key_of(write, &row.id)?,
        };
        if is_changed {
            self.vector(write, key, before.as_ref(), &met.state, row)?;
        }
        carried::put(write, key, &row.carried)?;
        self.remember(write, key, row, &shows)
    }

    fn cause(&self) -> Cause {
        if self.batch.is_live { Cause::Follow } else { Cause::Import }
    }

    fn nothing_new(
        &mut self,
        write: &Write<'_>,
        here: &Here,
        row: &SourceRow,
    ) -> Result<(), StoreError> {
        let Some((at_row, print, _)) = &here.seen else { return Ok(()) };
        if *at_row != Some(row.row) || *print != row.print {
            self.n_added += i64::from(at_row.is_none());
            self.displace(write, here.key, row.row)?;
            write
                .conn
                .prepare_cached(
                    "UPDATE source_row SET row = ?3, print = ?4 WHERE source = ?1 AND memory = ?2",
                )?
                .execute((self.batch.source, here.key, row.row, row.print))?;
        }
        if carried::put(write, here.key, &row.carried)? {
            self.outcome.counts.changed += 1;
        } else {
            self.outcome.counts.unchanged += 1;
        }
        Ok(())
    }

    fn tell(&mut self, id: MemoryId, was: Option<&State>, is: &State) {
        let became = match (was.is_some_and(State::is_alive), is.is_alive()) {
            (false, true) => Became::Stored,
            (true, false) => Became::Deleted,
            (true, true) => Became::Updated,
            (false, false) => return,
        };
        self.outcome.became.push((id, became));
    }

    fn vector(
        &mut self,
        write: &mut Write<'_>,
        key: i64,
        before: Option<&Row>,
        state: &State,
        row: &SourceRow,
    ) -> Result<(), StoreError> {
        let is_new_text = before.is_none_or(|before| {
            !before.state.is_findable() || before.state.text.value != state.text.value
        });
        if !state.is_findable() || !is_new_text {
            return Ok(());
        }
        let is_of_row = state.text.value == row.body;
        if let (Some(space), Some(made), true) = (self.space, &row.vector, is_of_row)
            && vector::adopt(write, space, key, &row.body.to_string(), made)?
        {
            self.outcome.counts.vectors_reused += 1;
        } else {
            self.outcome.counts.vectors_to_make += 1;
        }
        Ok(())
    }

    /// Another memory that stood in the row is in it no more, as where the file was replaced by another.
    fn displace(&mut self, write: &Write<'_>, key: i64, row: i64) -> Result<(), StoreError> {
        let n_displaced = write
            .conn
            .prepare_cached(
                // Without statistics the primary key would be taken, which tells nothing but the source.
                "UPDATE source_row INDEXED BY source_row_row SET row = NULL
                 WHERE source = ?1 AND row = ?2 AND memory <> ?3",
            )?
            .execute((self.batch.source, row, key))?;
        self.n_added -= i64::try_from(n_displaced).unwrap_or(i64::MAX);
        Ok(())
    }

    fn remember(
        &mut self,
        write: &Write<'_>,
        key: i64,
        row: &SourceRow,
        shows: &str,
    ) -> Result<(), StoreError> {
        // A row that was gone and is back counts once more.
        let was_counted: Option<bool> = write
            .conn
            .prepare_cached(
                "SELECT row IS NOT NULL FROM source_row WHERE source = ?1 AND memory = ?2",
            )?
            .query_row((self.batch.source, key), |row| row.get(0))
            .optional()?;
        self.n_added += i64::from(was_counted != Some(true));
        self.displace(write, key, row.row)?;
        write
            .conn
            .prepare_cached(
                "INSERT INTO source_row(source, memory, row, print, seen) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT(source, memory) DO UPDATE SET row = excluded.row,
                   print = excluded.print, seen = excluded.seen",
            )?
            .execute((self.batch.source, key, row.row, row.print, shows))?;
        Ok(())
    }

    fn end(self, write: &mut Write<'_>) -> Result<Outcome, StoreError> {
        advance(write, self.batch.source, self.batch.cursor, self.n_added, &self.outcome.counts)?;
        Ok(self.outcome)
    }
}

fn advance(
    write: &Write<'_>,
    source: i64,
    cursor: Option<i64>,
    n_added: i64,
    counts: &Counts,
) -> Result<(), StoreError> {
    // What was compared before something came is not compared any more.
    let is_changed = counts.n_changes() > 0;
    let n_rows = write
        .conn
        .prepare_cached(
            "UPDATE source SET cursor = coalesce(?2, cursor), imported = max(imported + ?3, 0),
               changed_at = CASE WHEN ?4 THEN ?5 ELSE changed_at END,
               state = CASE WHEN ?4 AND state = 'verified' THEN 'imported' ELSE state END
             WHERE key = ?1",
        )?
        .execute((source, cursor, n_added, is_changed, write.now().0))?;
    if n_rows == 0 {
        return Err(StoreError::NotFound(format!("of source {source}")));
    }
    Ok(())
}

/// The text of a memory after it met a row. One that lives on without any text at hand gets the row's, as a
/// change of its own.
fn text<'a>(
    write: &mut Write<'_>,
    before: Option<&'a Row>,
    state: &mut State,
    row: &'a SourceRow,
) -> Option<&'a str> {
    let own = before.and_then(|before| before.content.as_deref());
    if state.text.value == row.body {
        return Some(&row.content);
    }
    if own.is_none() && state.is_alive() {
        let stamp = write.stamp(state.newest());
        state.text = Register::new(stamp, row.body);
        return Some(&row.content);
    }
    own
}

/// Why a memory can't be stored here: a linked account has no place for its text.
fn refusal(write: &Write<'_>, state: &State, content: Option<&str>) -> Option<String> {
    let link = write.link().filter(|link| link.bucket.is_none() && state.is_alive())?;
    let actual = outbox::bucket_size(content?, link.inline_bytes)?;
    let limit = link.inline_bytes.min(outbox::ENCODED_MAX_BYTES);
    let refusal = Refusal::NeedsBucket { actual, limit };
    Some(format!("{refusal}; {}", refusal.hint()))
}

fn key_of(write: &Write<'_>, id: &MemoryId) -> Result<i64, StoreError> {
    Ok(write
        .conn
        .prepare_cached("SELECT key FROM memory WHERE id = ?1")?
        .query_row([id.to_string()], |row| row.get(0))?)
}

/// What taking these rows over would do, without doing it.
///
/// # Errors
/// The database refused.
pub fn preview(read: &Read<'_>, source: Option<i64>, batch: &Batch) -> Result<Outcome, StoreError> {
    let mut outcome = Outcome::default();
    let counts = &mut outcome.counts;
    let link = super::link::get(read)?;
    let active = vector::active_space(read.conn)?;
    let has_space = active
        .is_some_and(|(_, name)| batch.space.as_ref().is_some_and(|space| space.as_str() == name));
    for row in &batch.rows {
        let here = Here::find(read.conn, source.unwrap_or(0), &row.id)?;
        let showed = here.as_ref().and_then(Here::showed);
        if showed == Some(Seen::of(&row.shown, row.body).to_text().as_str()) {
            let key = here.as_ref().map_or(0, |here| here.key);
            if carried::is_other(read.conn, key, &row.carried)? {
                counts.changed += 1;
            } else {
                counts.unchanged += 1;
            }
            continue;
        }
        let before = Row::find(read.conn, &row.id)?;
        let met = meet(before.as_ref(), showed, row, batch.observed_at);
        let needs_bucket = link.as_ref().filter(|link| link.bucket.is_none()).is_some_and(|link| {
            met.state.is_alive()
                && met.state.text.value == row.body
                && outbox::bucket_size(&row.content, link.inline_bytes).is_some()
        });
        if needs_bucket {
            let why = "the linked account has no bucket for a text of this size".to_owned();
            outcome.not_taken.push(NotTaken { row: row.row, id: row.id, body: row.body, why });
            continue;
        }
        counts.lost +=
            u64::from(before.is_some() && met.has_lost && row.shown.deleted_at.is_none());
        let Some(before) = before else {
            if met.state.is_alive() {
                counts.new_living += 1;
            } else {
                counts.new_deleted += 1;
            }
            count_vector(counts, &met.state, has_space && row.vector.is_some());
            continue;
        };
        if before.state == met.state {
            counts.unchanged += 1;
            continue;
        }
        if met.is_first {
            counts.merged += 1;
        } else {
            counts.changed += 1;
        }
        if !before.state.is_findable() || before.state.text.value != met.state.text.value {
            let is_of_row = met.state.text.value == row.body;
            count_vector(counts, &met.state, has_space && is_of_row && row.vector.is_some());
        }
    }
    Ok(outcome)
}

fn count_vector(counts: &mut Counts, state: &State, is_reused: bool) {
    match (state.is_findable(), is_reused) {
        (false, _) => {}
        (true, true) => counts.vectors_reused += 1,
        (true, false) => counts.vectors_to_make += 1,
    }
}

/// Rows of a source that are not there any more. In a database that keeps deletions that says nothing: the
/// service clears old ones away. In one that doesn't it is the deletion itself, at the time of the look, of a
/// memory that nobody has stored here since.
///
/// # Errors
/// The database refused.
pub fn gone(
    write: &mut Write<'_>,
    source: i64,
    rows: &[i64],
    observed_at: Micros,
    is_deletion: bool,
) -> Result<Outcome, StoreError> {
    let mut outcome = Outcome::default();
    let mut n_gone = 0;
    for row in rows {
        let found: Option<(i64, String)> = write
            .conn
            .prepare_cached(
                "SELECT s.memory, m.id FROM source_row s INDEXED BY source_row_row
                 JOIN memory m ON m.key = s.memory WHERE s.source = ?1 AND s.row = ?2",
            )?
            .query_row((source, row), |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((key, id)) = found else { continue };
        n_gone += 1;
        write
            .conn
            .prepare_cached("UPDATE source_row SET row = NULL WHERE source = ?1 AND memory = ?2")?
            .execute((source, key))?;
        let id = super::column::parse_id(&id)?;
        if is_deletion && delete(write, &id, observed_at)? {
            outcome.counts.changed += 1;
            outcome.became.push((id, Became::Deleted));
        }
    }
    advance(write, source, None, -n_gone, &outcome.counts)?;
    Ok(outcome)
}

fn delete(write: &mut Write<'_>, id: &MemoryId, at: Micros) -> Result<bool, StoreError> {
    let Some(before) = Row::load(write, id)?.filter(|before| {
        // Whoever stored it here wants it.
        before.state.is_alive() && before.state.life.stamp.device == DeviceId(0)
    }) else {
        return Ok(false);
    };
    let mut state = before.state.clone();
    state.life = Register::new(crate::model::takeover::after(before.state.life.stamp, at), false);
    state.updated_at = state.updated_at.max(at);
    let content = before.content.as_deref();
    save(write, id, Some(&before), &state, content, Cause::Follow, CLIENT)?;
    Ok(true)
}
