//! From what the database holds to memories that can be merged: each entry is checked, brought together
//! with its row, and given its text where that is not here yet.
//!
//! Nothing that stands there stops the feed. What can't be taken is quarantined with its reason; only what
//! is about to change, had no room, or waits for a bucket that is out of order is left for the next time.
//! The texts that are held at once are bounded by number and by bytes.

use super::breaker::{Admission, is_own_budget};
use super::pace::{RETRY, TRIES};
use super::reconcile::{SETTLE_S, is_touched, read_row, reconcile};
use super::session::Session;
use super::transition::Move;
use crate::clock::Micros;
use crate::model::draft::{TAG_MAX_CHARS, TEXT_MAX_BYTES, Text, check_type};
use crate::model::id::{BodyHash, MemoryId};
use crate::model::shown::Shown;
use crate::model::stamp::Stamp;
use crate::model::state::State;
use crate::model::state_text;
use crate::remote::budget::Lane;
use crate::remote::d1::D1;
use crate::remote::error::{Disposition, Product, RemoteError};
use crate::remote::feed::{self, FeedEntry, PAGE_MAX};
use crate::remote::push::placeholder;
use crate::remote::r2::R2;
use crate::store::Write;
use crate::store::error::StoreError;
use crate::store::outbox::Setback;
use crate::store::pull::{self, Incoming, Quarantined, SeenRow};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Tags and keys of one state, removed ones included, beyond which nobody sane has written it.
const REGISTERS_MAX: usize = 20_000;
/// Bytes of texts that are held at once, the last one aside.
const TEXTS_MAX_BYTES: u64 = 16 << 20;
/// Bodies that are fetched before what is there is written down.
const BODIES_MAX: usize = 50;
/// Characters of a foreign key that are kept.
const KEY_MAX_CHARS: usize = 80;

/// Memories ready to be merged, and what became of the other entries.
#[derive(Debug, Default)]
pub(super) struct Intake {
    pub(super) incoming: Vec<Incoming>,
    pub(super) quarantined: Vec<Quarantined>,
    /// Neither state nor row: an id and its position.
    pub(super) empty: Vec<(MemoryId, i64)>,
    /// Keys that are no ids, with nothing under them any more, and their positions.
    pub(super) gone: Vec<(String, i64)>,
    /// Written by the Python service a moment ago, or without its text while the bucket is out of order:
    /// looked at again after this time.
    pub(super) unsettled: Vec<MemoryId>,
    pub(super) settles_in: Option<Duration>,
    /// The answer, or the memory, had no room for these.
    pub(super) cut: Vec<MemoryId>,
    /// The position up to which all entries in order were dealt with, and its mark.
    pub(super) end: Option<(i64, Option<String>)>,
}

/// Why there is no intake.
#[derive(Debug)]
pub(super) enum Trouble {
    Remote(RemoteError),
    Store(StoreError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// An entry that was looked at.
struct Looked {
    entry: FeedEntry,
    id: MemoryId,
    state: Option<State>,
    shown: Option<Shown>,
    is_touched: bool,
}

enum Look {
    Ready(Box<Looked>),
    Bad(Quarantined),
    /// No id, and nothing under it.
    Gone(Quarantined),
    Unsettled(MemoryId, Duration),
    Cut(Option<MemoryId>),
}

/// What is left for the next time.
struct Left {
    id: MemoryId,
    seq: i64,
    /// How long it has to wait; `None` if there was no room.
    wait: Option<Duration>,
}

/// Takes the entries of a page, up to the first that has to wait.
pub(super) async fn of_page(
    session: &Session,
    d1: &D1,
    entries: Vec<FeedEntry>,
) -> Result<Intake, Trouble> {
    let mut intake = Intake::default();
    let (mut ready, mut ends) = (Vec::new(), Vec::new());
    for entry in entries {
        let end = (entry.seq, entry.nonce.clone());
        match look(entry) {
            Look::Ready(looked) => ready.push(*looked),
            Look::Bad(bad) => intake.quarantined.push(bad),
            Look::Gone(gone) => intake.gone.push((gone.key, gone.seq)),
            Look::Unsettled(id, left) => {
                intake.unsettled.push(id);
                intake.settles_in = Some(left);
                break;
            }
            Look::Cut(_) => break,
        }
        ends.push(end);
    }
    if let Some(first) = finish(session, d1, ready, true, &mut intake).await?.first() {
        ends.retain(|(seq, _)| *seq < first.seq);
        intake.quarantined.retain(|one| one.seq < first.seq);
        intake.gone.retain(|(_, seq)| *seq < first.seq);
        intake.unsettled = first.wait.map(|_| first.id).into_iter().collect();
        intake.settles_in = first.wait;
    }
    intake.end = ends.pop();
    Ok(intake)
}

/// Takes entries that were asked for by their ids, each for itself.
pub(super) async fn of_ids(
    session: &Session,
    d1: &D1,
    entries: Vec<FeedEntry>,
) -> Result<Intake, Trouble> {
    let mut intake = Intake::default();
    let mut ready = Vec::new();
    for entry in entries {
        match look(entry) {
            Look::Ready(looked) => ready.push(*looked),
            Look::Bad(bad) => intake.quarantined.push(bad),
            Look::Gone(gone) => intake.gone.push((gone.key, gone.seq)),
            Look::Unsettled(id, left) => {
                intake.unsettled.push(id);
                intake.settles_in = intake.settles_in.max(Some(left));
            }
            Look::Cut(id) => intake.cut.extend(id),
        }
    }
    for left in finish(session, d1, ready, false, &mut intake).await? {
        match left.wait {
            Some(_) => intake.unsettled.push(left.id),
            None => intake.cut.push(left.id),
        }
        intake.settles_in = intake.settles_in.max(left.wait);
    }
    Ok(intake)
}

fn look(entry: FeedEntry) -> Look {
    let Some(id) = entry.id() else {
        let bad = bad(&entry, "its id is no SHA-256 in lower-case hex digits".to_owned());
        let is_empty = entry.state_text.is_none() && entry.row.is_none() && !entry.is_cut;
        return if is_empty { Look::Gone(bad) } else { Look::Bad(bad) };
    };
    if entry.is_cut {
        return Look::Cut(Some(id));
    }
    let state = entry.state_text.as_deref().map(read_state).transpose();
    let shown = entry.row.as_ref().map(read_row).transpose();
    let (state, shown) = match (state, shown) {
        (Ok(state), Ok(shown)) => (state, shown),
        (Err(reason), _) | (_, Err(reason)) => return Look::Bad(bad(&entry, reason)),
    };
    let is_touched = is_touched(state.as_ref(), shown.as_ref());
    if is_touched
        && entry.seq > 0
        && let Some(left) = settles_in(entry.age_s)
    {
        return Look::Unsettled(id, left);
    }
    Look::Ready(Box::new(Looked { entry, id, state, shown, is_touched }))
}

/// How long a position of this age is left to settle; `None` if it need not be. One that is further ahead
/// than a clock corrects itself is no instant: waiting for it would stop the feed.
fn settles_in(age_s: Option<i64>) -> Option<Duration> {
    let age_s = age_s.filter(|age_s| (-SETTLE_S..SETTLE_S).contains(age_s))?;
    u64::try_from(SETTLE_S - age_s).ok().map(Duration::from_secs)
}

fn bad(entry: &FeedEntry, reason: String) -> Quarantined {
    let key = entry.key.chars().take(KEY_MAX_CHARS).collect();
    Quarantined { key, seq: entry.seq, reason }
}

/// Reads a state and checks it as any input from outside.
fn read_state(text: &str) -> Result<State, String> {
    let state = state_text::read(text).map_err(|error| error.to_string())?;
    check_type(&state.kind.value).map_err(|refusal| refusal.to_string())?;
    let is_instant = |at: Micros| at.0 >= 0 && at.as_millis() <= Stamp::MS_MAX;
    if !is_instant(state.birth.value.at) || !is_instant(state.updated_at) {
        return Err("its state has a time that is no instant".to_owned());
    }
    if state.newest().ms >= Stamp::MS_MAX {
        return Err(
            "its state has a stamp at the end of time, which no edit could follow".to_owned()
        );
    }
    if state.tags.len().max(state.metadata.len()) > REGISTERS_MAX {
        return Err(format!("its state has more than {REGISTERS_MAX} tags or metadata keys"));
    }
    let is_tag = |tag: &String| {
        !tag.is_empty() && !tag.contains('\0') && tag.chars().count() <= TAG_MAX_CHARS
    };
    if let Some(tag) = state.tags.keys().find(|tag| !is_tag(tag)) {
        let start: String = tag.chars().take(40).collect();
        return Err(format!("its state has a tag that is none: {start:?}"));
    }
    let is_json = |value: &String| serde_json::from_str::<serde_json::Value>(value).is_ok();
    let mut values = state.metadata.iter().filter_map(|(key, r)| Some((key, r.value.as_ref()?)));
    if let Some((key, _)) = values.find(|(_, value)| !is_json(value)) {
        let start: String = key.chars().take(40).collect();
        return Err(format!("its state has metadata that is no JSON under {start:?}"));
    }
    Ok(state)
}

impl Looked {
    fn is_row_alive(&self) -> bool {
        self.shown.as_ref().is_some_and(|shown| shown.deleted_at.is_none())
    }

    /// Whether the text of the row must be read, given the text that is here.
    fn needs_text(&self, here: Option<&BodyHash>) -> bool {
        match (&self.state, &self.shown) {
            // A tombstone without a state is named after whatever stands there.
            (None, Some(_)) => true,
            (Some(_), Some(_)) if self.is_row_alive() && self.is_touched => true,
            (Some(state), Some(_)) => state.is_alive() && here != Some(&state.text.value),
            (_, None) => false,
        }
    }

    /// The key under which the bucket holds the text of a living row.
    fn stored_in_bucket(&self) -> Option<&str> {
        let key = self.entry.row.as_ref()?.r2_key.as_deref()?;
        self.is_row_alive().then_some(key)
    }

    /// Bytes of the text that the database must send.
    fn inline_bytes(&self, here: Option<&BodyHash>) -> u64 {
        let is_asked = self.needs_text(here) && self.stored_in_bucket().is_none();
        self.entry.row.as_ref().filter(|_| is_asked).map_or(0, |row| row.content_bytes)
    }

    /// The memory without its text: its state names the one that it had last. The cloud doesn't show what
    /// it lacks.
    fn textless(&self) -> Option<Incoming> {
        let state = self.state.clone().filter(State::is_alive)?;
        let state = reconcile(Some(state), self.shown.as_ref(), None)?.state;
        Some(Incoming {
            id: self.id,
            seq: self.entry.seq,
            state,
            is_shown: false,
            content: None,
            r2_key: None,
            row: None,
        })
    }

    /// What the row shows. `body` is the text that was read; an untouched row holds the one that its state
    /// names.
    fn seen_row(&self, body: Option<BodyHash>) -> Option<Box<SeenRow>> {
        let shown = self.shown.clone()?;
        let row = self.entry.row.as_ref()?;
        let named = self.state.as_ref().filter(|_| !self.is_touched);
        let is_tidy = row.listed_tags.as_ref().is_none_or(|listed| {
            let mut listed: Vec<&str> = listed.split(',').filter(|tag| !tag.is_empty()).collect();
            listed.sort_unstable();
            listed.iter().copied().eq(row.tags.iter().map(String::as_str))
        });
        Some(Box::new(SeenRow {
            shown,
            body: body.or_else(|| named.map(|state| state.text.value)),
            is_tidy,
            names_own_vector: row.names_own_vector,
            has_entry: self.state.is_some(),
        }))
    }

    /// Whether `text` stands there since the row was read, for one that went to the bucket meanwhile. A
    /// text of somebody's own may look like that too, but has the length that it had.
    fn is_moved(&self, text: &str) -> bool {
        let marker = placeholder("content/");
        let marker = marker.trim_end_matches(']');
        let bytes = self.entry.row.as_ref().map(|row| row.content_bytes);
        text.starts_with(marker) && text.ends_with(']') && bytes != u64::try_from(text.len()).ok()
    }

    /// Brings everything together. `text` is what stands in the row, or in the bucket for it.
    fn finish(self, here: Option<&BodyHash>, text: Option<String>) -> Result<Finished, String> {
        if text.is_none() && self.needs_text(here) {
            return Err("its text can't be read as one".to_owned());
        }
        if self.is_row_alive()
            && let Some(text) = &text
        {
            Text::check(text.clone(), TEXT_MAX_BYTES).map_err(|refusal| refusal.to_string())?;
        }
        let is_inline = self.is_row_alive() && self.stored_in_bucket().is_none();
        if is_inline && text.as_ref().is_some_and(|text| self.is_moved(text)) {
            return Err("its text moved to the bucket while it was being read".to_owned());
        }
        let body = text.as_deref().map(BodyHash::of);
        let is_untouched = !self.is_touched && self.state.as_ref().is_some_and(State::is_alive);
        if is_untouched
            && let (Some(body), Some(state)) = (body, &self.state)
            && body != state.text.value
        {
            return Err("its text is not the one that its state names".to_owned());
        }
        let row = self.seen_row(body);
        let body = body.filter(|_| self.is_touched);
        let Some(reconciled) = reconcile(self.state, self.shown.as_ref(), body) else {
            return Ok(Finished::Empty(self.id, self.entry.seq));
        };
        let named = reconciled.state.text.value;
        let content = text.filter(|text| BodyHash::of(text) == named);
        let is_alive = reconciled.state.is_alive();
        if is_alive && content.is_none() && here != Some(&named) {
            return Err("its row is gone, and its text with it: it comes back when a device that \
                        has it writes it again"
                .to_owned());
        }
        let r2_key = self.entry.row.and_then(|row| row.r2_key);
        Ok(Finished::Incoming(Box::new(Incoming {
            id: self.id,
            seq: self.entry.seq,
            state: reconciled.state,
            is_shown: reconciled.is_shown,
            content: content.filter(|_| is_alive),
            r2_key: r2_key.filter(|_| is_alive),
            row,
        })))
    }
}

enum Finished {
    Incoming(Box<Incoming>),
    Empty(MemoryId, i64),
}

/// Gives the entries their texts and puts them into the intake. Returns those that are left, in order. One
/// after the other, `in_order`, ends with the first of them, as none may be passed over.
async fn finish(
    session: &Session,
    d1: &D1,
    mut ready: Vec<Looked>,
    in_order: bool,
    intake: &mut Intake,
) -> Result<Vec<Left>, Trouble> {
    let ids: Vec<MemoryId> = ready.iter().map(|looked| looked.id).collect();
    let here = session.store.read(move |read| pull::bodies(read, &ids)).await?;
    let mut bytes = 0;
    let inline = ready.iter().map(|looked| looked.inline_bytes(here.get(&looked.id)));
    let n_fitting = inline
        .enumerate()
        .take_while(|(n, size)| {
            bytes += size;
            *n == 0 || bytes <= TEXTS_MAX_BYTES
        })
        .count();
    let without_room = ready.split_off(n_fitting);
    let needed: Vec<MemoryId> = ready
        .iter()
        .filter(|looked| looked.needs_text(here.get(&looked.id)))
        .map(|looked| looked.id)
        .collect();
    let mut inline = texts(d1, needed.into()).await?;
    let held = inline.values().map(|text| u64::try_from(text.len()).unwrap_or(u64::MAX)).sum();
    let mut bucket = Bucket { session, n_fetched: 0, bytes: held };
    let mut left = Vec::new();
    for looked in ready {
        let here = here.get(&looked.id);
        let (id, key, seq) = (looked.id, looked.entry.key.clone(), looked.entry.seq);
        let textless = looked.textless();
        let text = match looked.stored_in_bucket().filter(|_| looked.needs_text(here)) {
            Some(key) => bucket.text(key).await.map(Some),
            None => Ok(inline.remove(&id)),
        };
        let reason = match text {
            Ok(text) => match looked.finish(here, text) {
                Ok(Finished::Incoming(incoming)) => {
                    intake.incoming.push(*incoming);
                    continue;
                }
                Ok(Finished::Empty(id, seq)) => {
                    intake.empty.push((id, seq));
                    continue;
                }
                Err(reason) => reason,
            },
            Err(Unread::NoRoom) => {
                left.push(Left { id, seq, wait: None });
                if in_order {
                    return Ok(left);
                }
                continue;
            }
            Err(Unread::Later(late)) => {
                if !in_order || !is_too_late(session, seq, &late) {
                    left.push(Left { id, seq, wait: Some(late.wait) });
                    if in_order {
                        return Ok(left);
                    }
                    continue;
                }
                late.why
            }
            Err(Unread::Never(reason)) => reason,
        };
        // Where what is here is newer, a text that nobody has any more is not missed.
        if let Some(incoming) = textless {
            let needs_none = incoming.clone();
            let job = move |write: &mut Write<'_>| pull::needs_no_text(write, &needs_none);
            if session.store.write(job).await? {
                intake.incoming.push(incoming);
                continue;
            }
        }
        intake.quarantined.push(Quarantined { key, seq, reason });
    }
    left.extend(without_room.iter().map(|one| Left { id: one.id, seq: one.entry.seq, wait: None }));
    Ok(left)
}

/// Whether the feed goes on without a text: it was asked for often enough, or nobody knows when it can be
/// had.
fn is_too_late(session: &Session, seq: i64, late: &Late) -> bool {
    let is_worn = late.was_asked && session.pace().missed(seq) >= TRIES;
    is_worn || late.needs_a_person || late.wait > RETRY
}

async fn texts(
    d1: &D1,
    mut needed: VecDeque<MemoryId>,
) -> Result<HashMap<MemoryId, String>, Trouble> {
    let mut found = HashMap::new();
    while !needed.is_empty() {
        let asked: Vec<MemoryId> = needed.drain(..needed.len().min(PAGE_MAX)).collect();
        let texts = feed::texts(d1, &asked).await.map_err(Trouble::Remote)?;
        found.extend(texts.found);
        needed.extend(texts.cut);
    }
    Ok(found)
}

/// Why there is no text out of the bucket.
enum Unread {
    /// It is the entry's own fault.
    Never(String),
    /// As many as go at once were fetched.
    NoRoom,
    /// The bucket is out of order, or not to be asked.
    Later(Late),
}

struct Late {
    wait: Duration,
    why: String,
    /// Whether the bucket was asked, and failed.
    was_asked: bool,
    needs_a_person: bool,
}

/// The bucket, and what was fetched from it.
struct Bucket<'a> {
    session: &'a Session,
    n_fetched: usize,
    /// Of all texts that are held.
    bytes: u64,
}

impl Bucket<'_> {
    async fn text(&mut self, key: &str) -> Result<String, Unread> {
        // A key is data of others: it must not lead anywhere but to a text.
        let is_text_key = key.starts_with("content/") && !key.contains("..") && key.len() <= 1024;
        if !is_text_key {
            let start: String = key.chars().take(KEY_MAX_CHARS).collect();
            let why = format!("the bucket's key {start:?} of its text is none of a text");
            return Err(Unread::Never(why));
        }
        let session = self.session;
        let Some(bucket) = &session.link.bucket else {
            let why = "its text is in a bucket, and this device is linked without one";
            return Err(Unread::Never(why.to_owned()));
        };
        let is_full = self.n_fetched >= BODIES_MAX || self.bytes >= TEXTS_MAX_BYTES;
        if is_full && self.n_fetched > 0 {
            return Err(Unread::NoRoom);
        }
        if session.is_shut(Product::R2) {
            let last = session.gates.breakers().of(Product::R2).last_error().map(str::to_owned);
            return Err(self.late(session.now(), last.as_deref(), false));
        }
        self.n_fetched += 1;
        let bytes = match R2::new(session.remote.in_lane(Lane::Live), bucket).get(key).await {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.failed(&error)),
        };
        session.gates.succeeded(Product::R2, session.now());
        let missing = || Unread::Never(format!("its text is missing in the bucket under {key:?}"));
        let bytes = bytes.ok_or_else(missing)?;
        self.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let no_text = |_| Unread::Never("its text in the bucket is no UTF-8".to_owned());
        String::from_utf8(bytes.into()).map_err(no_text)
    }

    fn failed(&self, error: &RemoteError) -> Unread {
        let now = self.session.now();
        if error.disposition == Disposition::Park {
            if error.status.is_some() {
                self.session.gates.failed(error, 0, now);
            }
            return Unread::Never(format!("its text could not be fetched: {error}"));
        }
        let due_at = match self.session.gates.failed(error, 0, now) {
            Move::SetBack(Setback::Defer { due_at, .. }) => due_at,
            _ => now,
        };
        self.late(due_at, Some(&error.to_string()), !is_own_budget(error))
    }

    /// Waits until `at` at least, and for the gate and the budget.
    fn late(&self, at: Micros, why: Option<&str>, was_asked: bool) -> Unread {
        let (session, now) = (self.session, self.session.now());
        let gate = match session.gates.admission(Product::R2, now) {
            Admission::Shut { until } => until.since(now),
            _ => Duration::ZERO,
        };
        let budget = session.remote.budget_wait(Lane::Live).unwrap_or_default();
        let why = why.unwrap_or("the bucket is not to be asked now");
        Unread::Later(Late {
            wait: at.since(now).max(gate).max(budget),
            why: format!("its text could not be fetched: {why}"),
            was_asked,
            needs_a_person: session.gates.breakers().of(Product::R2).action().is_some(),
        })
    }
}
