//! The outbox: the set of duties to the cloud. A duty says *which memory, at which generation, owes what
//! to which product*; what is sent is read from the memory when it is sent. So ten edits cost one
//! upload, a repeat is harmless, and nothing waits in a queue that a crash could empty.
//!
//! A duty leaves the table only by [`settle`], and only at the generation that was sent: a change made
//! meanwhile has raised it and keeps it. What can't succeed is parked: visible, and tried again on command.
//!
//! Order across products is the order of the queries: a row is due only when its body is in the bucket,
//! a vector only when its row is in the database.

use super::column::parse_id;
use super::enrolment;
use super::error::StoreError;
use super::reader::Read;
use super::writer::Write;
use crate::clock::Micros;
use crate::model::id::MemoryId;
use crate::model::refusal::Refusal;
use crate::mutant::{self, Mutant};
use rusqlite::{OptionalExtension as _, Row as SqlRow, params};

/// Where a duty is owed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Product {
    /// The body of a large text.
    R2,
    /// The row: the commit point.
    D1,
    /// The vector: derived.
    Vectorize,
}

impl Product {
    /// All of them, in the order of a memory's way.
    pub const ALL: [Self; 3] = [Self::R2, Self::D1, Self::Vectorize];

    /// The name in the database, in `status` and in `outbox list`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::R2 => "r2",
            Self::D1 => "d1",
            Self::Vectorize => "vectorize",
        }
    }

    fn parse(text: &str) -> Result<Self, StoreError> {
        Self::ALL
            .into_iter()
            .find(|product| product.as_str() == text)
            .ok_or_else(|| StoreError::Corrupt(format!("a duty's product is {text:?}")))
    }
}

/// Bytes of a text as a JSON string beyond which its row would come near D1's limit of 2,000,000 for a
/// row: such a text goes to the bucket whatever its plain size is.
pub(super) const ENCODED_MAX_BYTES: usize = 1_000_000;

/// A change of a memory, for the duties that follow from it.
pub(super) struct Change<'a> {
    pub(super) key: i64,
    pub(super) generation: i64,
    pub(super) is_vector_moved: bool,
    pub(super) is_findable: bool,
    pub(super) is_text_new: bool,
    /// The text of a live memory.
    pub(super) content: Option<&'a str>,
    /// 1 if it may wait until what people do now is done, else 0.
    pub(super) lane: i64,
}

/// Raises the duties of a change; without a link there are none.
pub(super) fn raise(write: &Write<'_>, change: &Change<'_>) -> Result<(), StoreError> {
    let Some(link) = write.link() else { return Ok(()) };
    let encoded = change.content.and_then(|text| bucket_size(text, link.inline_bytes));
    match (encoded, &link.bucket) {
        (Some(actual), None) => {
            let limit = link.inline_bytes.min(ENCODED_MAX_BYTES);
            return Err(Refusal::NeedsBucket { actual, limit }.into());
        }
        (Some(_), Some(_)) if change.is_text_new => {
            put(write, change.key, Product::R2, change.generation, "due", change.lane)?;
        }
        (None, _) => forget_body(write, change.key)?,
        _ => {}
    }
    put(write, change.key, Product::D1, change.generation, "due", change.lane)?;
    if change.is_vector_moved {
        let is_waiting =
            change.is_findable && link.is_local_space && is_unembedded(write, change.key)?;
        let state = if is_waiting { "waiting_for_embedding" } else { "due" };
        put(write, change.key, Product::Vectorize, change.generation, state, change.lane)?;
    }
    Ok(())
}

/// The encoded size of a text that must go to the bucket; `None` if it may stay in the row.
pub(super) fn bucket_size(text: &str, inline_bytes: usize) -> Option<usize> {
    // As JSON writes them: `\n` and the like take one more byte, other control characters `\u001b`.
    let extra = |byte: u8| match byte {
        b'"' | b'\\' | 0x08 | b'\t' | b'\n' | 0x0c | b'\r' => 1,
        0..0x20 => 5,
        _ => 0,
    };
    let encoded = text.len() + text.bytes().map(extra).sum::<usize>();
    (text.len() > inline_bytes || encoded > ENCODED_MAX_BYTES).then_some(encoded)
}

/// Forgets that the bucket holds, or is owed, the body of a memory.
pub(super) fn forget_body(write: &Write<'_>, key: i64) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached("DELETE FROM outbox WHERE memory = ?1 AND product = 'r2'")?
        .execute([key])?;
    write
        .conn
        .prepare_cached(
            "UPDATE remote_position SET r2_key = NULL WHERE memory = ?1 AND r2_key IS NOT NULL",
        )?
        .execute([key])?;
    Ok(())
}

pub(super) fn is_unembedded(write: &Write<'_>, key: i64) -> Result<bool, StoreError> {
    Ok(write
        .conn
        .prepare_cached("SELECT 1 FROM pending_embedding WHERE memory = ?1")?
        .exists([key])?)
}

/// A duty that is there keeps the time since which it is owed.
pub(super) fn put(
    write: &Write<'_>,
    key: i64,
    product: Product,
    generation: i64,
    state: &str,
    lane: i64,
) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached(
            "INSERT INTO outbox(memory, product, generation, state, lane, attempts, since, due_at)
             VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?6)
             ON CONFLICT(memory, product) DO UPDATE SET generation = excluded.generation,
               state = excluded.state, lane = min(lane, excluded.lane), attempts = 0,
               due_at = excluded.due_at, error = NULL",
        )?
        .execute(params![key, product.as_str(), generation, state, lane, write.now().0])?;
    Ok(())
}

/// The vector of a memory has come to be: its duty is due, at a new generation.
pub(super) fn vector_is_ready(write: &mut Write<'_>, key: i64) -> Result<(), StoreError> {
    if write.link().is_none() {
        return Ok(());
    }
    let generation = write.generation();
    write
        .conn
        .prepare_cached(
            "UPDATE outbox SET state = 'due', generation = ?2, due_at = ?3
             WHERE memory = ?1 AND product = 'vectorize' AND state = 'waiting_for_embedding'",
        )?
        .execute((key, generation, write.now().0))?;
    Ok(())
}

/// A duty that may be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duty {
    /// The memory's local key.
    pub key: i64,
    /// What is owed at least.
    pub generation: i64,
    /// Tries so far.
    pub attempts: u32,
    /// Whether it belongs to the backfill.
    pub is_backfill: bool,
}

/// The duties to `product` that may be carried out at `now`: live ones first, then by due time.
///
/// # Errors
/// The database refused.
pub fn due(
    read: &Read<'_>,
    product: Product,
    now: Micros,
    limit: usize,
) -> Result<Vec<Duty>, StoreError> {
    let mut duties = due_in_lane(read, product, false, now, limit)?;
    duties.extend(due_in_lane(read, product, true, now, limit.saturating_sub(duties.len()))?);
    Ok(duties)
}

/// The duties of one lane to `product` that may be carried out at `now`, by due time.
///
/// # Errors
/// The database refused.
pub fn due_in_lane(
    read: &Read<'_>,
    product: Product,
    is_backfill: bool,
    now: Micros,
    limit: usize,
) -> Result<Vec<Duty>, StoreError> {
    let sql = format!(
        "SELECT o.memory, o.generation, o.attempts, o.lane FROM outbox o
         WHERE o.product = ?1 AND o.state = 'due' AND o.lane = ?2 AND o.due_at <= ?3 {}
         ORDER BY o.due_at LIMIT ?4",
        waits_for(product)
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = read.conn.prepare_cached(&sql)?;
    let rows = statement.query_map((product.as_str(), is_backfill, now.0, limit), |row| {
        Ok(Duty {
            key: row.get(0)?,
            generation: row.get(1)?,
            attempts: row.get(2)?,
            is_backfill: row.get(3)?,
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// When the next duty to `product` falls due; `None` if none will by itself.
///
/// # Errors
/// The database refused.
pub fn next_due_at(read: &Read<'_>, product: Product) -> Result<Option<Micros>, StoreError> {
    // The index gives each lane's first; a minimum over both would look at every duty.
    let first = |lane| {
        format!(
            "(SELECT o.due_at FROM outbox o WHERE o.product = ?1 AND o.state = 'due'
               AND o.lane = {lane} {} ORDER BY o.due_at LIMIT 1)",
            waits_for(product)
        )
    };
    let sql =
        format!("SELECT min(at) FROM (SELECT {} AS at UNION ALL SELECT {})", first(0), first(1));
    let at: Option<i64> =
        read.conn.prepare_cached(&sql)?.query_row([product.as_str()], |row| row.get(0))?;
    Ok(at.map(Micros))
}

/// When the next duty of one lane to `product` falls due; `None` if none will by itself.
///
/// # Errors
/// The database refused.
pub fn next_due_in_lane(
    read: &Read<'_>,
    product: Product,
    is_backfill: bool,
) -> Result<Option<Micros>, StoreError> {
    let sql = format!(
        "SELECT o.due_at FROM outbox o WHERE o.product = ?1 AND o.state = 'due' AND o.lane = ?2 {}
         ORDER BY o.due_at LIMIT 1",
        waits_for(product)
    );
    let mut statement = read.conn.prepare_cached(&sql)?;
    Ok(statement
        .query_row((product.as_str(), is_backfill), |row| row.get(0))
        .optional()?
        .map(Micros))
}

/// The order across the stores: body, then row, then vector.
fn waits_for(product: Product) -> &'static str {
    match product {
        Product::R2 => "",
        Product::D1 if mutant::is(Mutant::BodyAfterRow) => "",
        Product::Vectorize if mutant::is(Mutant::VectorBeforeRow) => "",
        Product::D1 => {
            "AND NOT EXISTS (SELECT 1 FROM outbox b WHERE b.memory = o.memory AND b.product = 'r2')"
        }
        Product::Vectorize => {
            "AND NOT EXISTS (SELECT 1 FROM outbox b WHERE b.memory = o.memory AND b.product = 'd1')"
        }
    }
}

/// Removes a duty that was carried out at `generation`. Returns whether it is gone; it stays if a later
/// change has raised it.
///
/// # Errors
/// The database refused.
pub fn settle(
    write: &mut Write<'_>,
    product: Product,
    key: i64,
    generation: i64,
) -> Result<bool, StoreError> {
    let n_gone = write
        .conn
        .prepare_cached(
            "DELETE FROM outbox WHERE memory = ?1 AND product = ?2 AND (generation = ?3 OR ?4)",
        )?
        .execute(params![
            key,
            product.as_str(),
            generation,
            mutant::is(Mutant::SettleWithoutGeneration)
        ])?;
    Ok(n_gone == 1)
}

/// What becomes of a duty that was tried and not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setback {
    /// Tried again at this instant; whether the try counts as an attempt.
    Defer {
        /// When.
        due_at: Micros,
        /// Whether the attempt was the entry's own failure.
        counts: bool,
    },
    /// Set aside until a person or a new change puts it back.
    Park,
    /// The cloud holds another state; merging resolves it.
    Conflict,
}

/// Records a setback of a duty at `generation`; a duty that was raised meanwhile is left alone.
///
/// # Errors
/// The database refused.
pub fn set_back(
    write: &mut Write<'_>,
    product: Product,
    key: i64,
    generation: i64,
    setback: &Setback,
    error: &str,
) -> Result<(), StoreError> {
    let (state, due_at, counts) = match setback {
        Setback::Defer { due_at, counts } => ("due", due_at.0, *counts),
        Setback::Park => ("parked", 0, true),
        Setback::Conflict => ("conflict", 0, false),
    };
    write
        .conn
        .prepare_cached(
            "UPDATE outbox SET state = ?4, due_at = ?5, attempts = attempts + ?6, error = ?7
             WHERE memory = ?1 AND product = ?2 AND generation = ?3",
        )?
        .execute(params![key, product.as_str(), generation, state, due_at, counts, error])?;
    Ok(())
}

/// Lets a vector duty at `generation` wait for a vector that turned out not to be there, and sees to it
/// that one is made. It stays due if the vector has come meanwhile.
///
/// # Errors
/// The database refused.
pub fn await_vector(write: &mut Write<'_>, key: i64, generation: i64) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached(
            "INSERT INTO pending_embedding(memory, since)
             SELECT key, ?2 FROM memory m WHERE key = ?1
               AND m.deleted_at IS NULL AND m.superseded_by IS NULL
               AND NOT EXISTS (SELECT 1 FROM embedding e JOIN space s ON s.key = e.space
                 WHERE e.memory = m.key AND e.window = 0 AND e.body = m.body AND s.is_active)
             ON CONFLICT(memory) DO NOTHING",
        )?
        .execute((key, write.now().0))?;
    write
        .conn
        .prepare_cached(
            "UPDATE outbox SET state = 'waiting_for_embedding'
             WHERE memory = ?1 AND product = 'vectorize' AND generation = ?2 AND state = 'due'
               AND EXISTS (SELECT 1 FROM pending_embedding p WHERE p.memory = ?1)",
        )?
        .execute((key, generation))?;
    Ok(())
}

/// Makes deferred duties due at once. Returns how many there were.
///
/// # Errors
/// The database refused.
pub fn hasten(write: &mut Write<'_>) -> Result<usize, StoreError> {
    let now = write.now().0;
    Ok(write.conn.execute(
        "UPDATE outbox SET due_at = ?1, since = min(since, ?1)
             WHERE state = 'due' AND due_at > ?1",
        [now],
    )?)
}

/// Puts parked and conflicting duties back, of one memory or of all, and makes deferred ones due at once.
/// Returns how many were parked.
///
/// # Errors
/// The database refused.
pub fn retry(write: &mut Write<'_>, id: Option<&MemoryId>) -> Result<u64, StoreError> {
    let of_one = "memory = (SELECT key FROM memory WHERE id = ?1)";
    let id = id.map(ToString::to_string);
    let n_parked: u64 = write.conn.query_row(
        &format!("SELECT count(*) FROM outbox WHERE state = 'parked' AND (?1 IS NULL OR {of_one})"),
        [&id],
        |row| row.get(0),
    )?;
    write.conn.execute(
        &format!(
            "UPDATE outbox SET state = 'due', attempts = 0, due_at = ?2
             WHERE state IN ('parked', 'conflict', 'due') AND (?1 IS NULL OR {of_one})"
        ),
        (&id, write.now().0),
    )?;
    Ok(n_parked)
}

/// A duty as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which memory.
    pub id: MemoryId,
    /// Owed to which product.
    pub product: Product,
    /// At which generation.
    pub generation: i64,
    /// `due`, `waiting_for_embedding`, `conflict` or `parked`.
    pub state: String,
    /// Tries so far.
    pub attempts: u32,
    /// Owed since.
    pub since: Micros,
    /// Tried again at.
    pub due_at: Micros,
    /// What the last try met.
    pub error: Option<String>,
}

/// The oldest duties, or the oldest parked ones.
///
/// # Errors
/// The database refused.
pub fn list(read: &Read<'_>, parked: bool, limit: usize) -> Result<Vec<Entry>, StoreError> {
    let mut statement = read.conn.prepare_cached(&format!(
        "{ENTRY} WHERE ?1 = 0 OR o.state = 'parked' ORDER BY o.since, o.memory LIMIT ?2"
    ))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query((parked, limit))?;
    let mut entries = Vec::new();
    while let Some(row) = rows.next()? {
        entries.push(entry(row)?);
    }
    Ok(entries)
}

/// What [`entry`] reads.
pub(super) const ENTRY: &str = "SELECT m.id, o.product, o.generation, o.state, o.attempts, o.since,
  o.due_at, o.error FROM outbox o JOIN memory m ON m.key = o.memory";

pub(super) fn entry(row: &SqlRow<'_>) -> Result<Entry, StoreError> {
    Ok(Entry {
        id: parse_id(&row.get::<_, String>(0)?)?,
        product: Product::parse(&row.get::<_, String>(1)?)?,
        generation: row.get(2)?,
        state: row.get(3)?,
        attempts: row.get(4)?,
        since: Micros(row.get(5)?),
        due_at: Micros(row.get(6)?),
        error: row.get(7)?,
    })
}

/// The outbox in numbers. Each counts duties, not memories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Due now or later, conflicts included.
    pub pending: u64,
    /// Set aside.
    pub parked: u64,
    /// Vectors that don't exist yet.
    pub waiting_for_embedding: u64,
    /// Those of them whose text gave no vector when it was tried.
    pub unembeddable: u64,
    /// Refused because the cloud holds another state; part of `pending`.
    pub conflicts: u64,
    /// Since when the oldest pending duty is owed.
    pub oldest_pending_since: Option<Micros>,
    /// `pending` by product, in the order of [`Product::ALL`].
    pub pending_by_product: [u64; 3],
}

/// Counts the duties.
///
/// # Errors
/// The database refused.
pub fn counts(read: &Read<'_>) -> Result<Counts, StoreError> {
    let mut statement = read
        .conn
        .prepare_cached("SELECT product, state, count(*), min(since) FROM outbox GROUP BY 1, 2")?;
    let mut rows = statement.query([])?;
    let mut counts = Counts { unembeddable: n_unembeddable(read)?, ..Counts::default() };
    while let Some(row) = rows.next()? {
        let product = Product::parse(&row.get::<_, String>(0)?)?;
        let (state, n, since): (String, u64, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
        match state.as_str() {
            "parked" => counts.parked += n,
            "waiting_for_embedding" => counts.waiting_for_embedding += n,
            _ => {
                counts.pending += n;
                for (one, sum) in Product::ALL.into_iter().zip(&mut counts.pending_by_product) {
                    *sum += if one == product { n } else { 0 };
                }
                let oldest = counts.oldest_pending_since.map_or(since, |at| at.0.min(since));
                counts.oldest_pending_since = Some(Micros(oldest));
                counts.conflicts += if state == "conflict" { n } else { 0 };
            }
        }
    }
    count_unenrolled(read, &mut counts)?;
    Ok(counts)
}

/// Memories that are not duties yet owe all the same: a row and a vector.
fn count_unenrolled(read: &Read<'_>, counts: &mut Counts) -> Result<(), StoreError> {
    let Some((n, since)) = enrolment::left(read)? else { return Ok(()) };
    counts.pending += 2 * n;
    for (product, sum) in Product::ALL.into_iter().zip(&mut counts.pending_by_product) {
        *sum += if product == Product::R2 { 0 } else { n };
    }
    counts.oldest_pending_since =
        Some(counts.oldest_pending_since.map_or(since, |oldest| oldest.min(since)));
    Ok(())
}

fn n_unembeddable(read: &Read<'_>) -> Result<u64, StoreError> {
    Ok(read
        .conn
        .prepare_cached(
            "SELECT count(*) FROM pending_embedding p JOIN outbox o ON o.memory = p.memory
             WHERE p.error IS NOT NULL AND o.product = 'vectorize'
               AND o.state = 'waiting_for_embedding'",
        )?
        .query_row([], |row| row.get(0))?)
}

/// Records where the cloud holds a memory's row.
///
/// # Errors
/// The database refused.
pub fn set_position(write: &mut Write<'_>, key: i64, seq: i64) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached(
            "INSERT INTO remote_position(memory, seq) VALUES (?1, ?2)
             ON CONFLICT(memory) DO UPDATE SET seq = excluded.seq, shown = NULL",
        )?
        .execute((key, seq))?;
    Ok(())
}

/// Records that the bucket holds a memory's present body.
///
/// # Errors
/// The database refused.
pub fn set_body_key(write: &mut Write<'_>, key: i64, r2_key: &str) -> Result<(), StoreError> {
    write
        .conn
        .prepare_cached(
            "INSERT INTO remote_position(memory, seq, r2_key) VALUES (?1, 0, ?2)
             ON CONFLICT(memory) DO UPDATE SET r2_key = excluded.r2_key",
        )?
        .execute((key, r2_key))?;
    Ok(())
}

/// A memory as the replicator sends it: read when it is sent, not when it changed.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The memory's local key.
    pub key: i64,
    /// Its id.
    pub id: MemoryId,
    /// The generation of what was read.
    pub generation: i64,
    /// Its registers, in text form.
    pub state: String,
    /// Its text.
    pub content: Option<String>,
    /// Where the cloud holds it, 0 if it doesn't.
    pub seq: i64,
    /// The bucket's key of its present body.
    pub r2_key: Option<String>,
    /// Whether the row at that place shows it already, so that only its entry is missing.
    pub is_row_right: bool,
    /// Its first vector, little-endian f32, if it was asked for and is there.
    pub vector: Option<Vec<u8>>,
}

/// Reads a memory for sending; `None` if it is not there.
///
/// # Errors
/// The database refused.
pub fn outgoing(
    read: &Read<'_>,
    key: i64,
    with_vector: bool,
) -> Result<Option<Outgoing>, StoreError> {
    let found = read
        .conn
        .prepare_cached(
            "SELECT m.id, m.generation, m.state, m.content, coalesce(r.seq, 0), r.r2_key, m.body,
               coalesce(r.shown = m.generation, 0)
             FROM memory m LEFT JOIN remote_position r ON r.memory = m.key WHERE m.key = ?1",
        )?
        .query_row([key], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
                row.get(5)?,
                row.get::<_, String>(6)?,
                row.get(7)?,
            ))
        })
        .optional()?;
    let Some((id, generation, state, content, seq, r2_key, body, is_row_right)) = found else {
        return Ok(None);
    };
    let vector =
        if with_vector { super::vector::first_window(read.conn, key, &body)? } else { None };
    let id = parse_id(&id)?;
    Ok(Some(Outgoing { key, id, generation, state, content, seq, r2_key, is_row_right, vector }))
}
