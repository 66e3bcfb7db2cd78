//! From what the database holds to memories that can be merged: each entry is checked, brought together
//! with its row, and given its text where that is not here yet.
//!
//! Nothing that stands there stops the feed. What can't be taken is quarantined with its reason; only what
//! is about to change, or had no room in the answer, is left for the next time.

use super::reconcile::{SETTLE_S, Shown, is_touched, reconcile};
use super::session::Session;
use crate::clock::Micros;
use crate::model::draft::{TAG_MAX_CHARS, TEXT_MAX_BYTES, Text, check_type};
use crate::model::id::{BodyHash, MemoryId};
use crate::model::stamp::Stamp;
use crate::model::state::State;
use crate::model::state_text;
use crate::remote::budget::Lane;
use crate::remote::d1::D1;
use crate::remote::error::RemoteError;
use crate::remote::feed::{self, FETCH_MAX, FeedEntry};
use crate::remote::r2::R2;
use crate::store::error::StoreError;
use crate::store::pull::{self, Incoming, Quarantined};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Tags and keys of one state, removed ones included, beyond which nobody sane has written it.
const REGISTERS_MAX: usize = 20_000;
/// How a row begins whose text is in the bucket.
const PLACEHOLDER: &str = "[R2 Content: ";
/// Characters of a foreign key that are kept.
const KEY_MAX_CHARS: usize = 80;

/// Memories ready to be merged, and what became of the other entries.
#[derive(Debug, Default)]
pub(super) struct Intake {
    pub(super) incoming: Vec<Incoming>,
    pub(super) quarantined: Vec<Quarantined>,
    /// Neither state nor row: an id and its position.
    pub(super) empty: Vec<(MemoryId, i64)>,
    /// Written by the Python service a moment ago: looked at again after this time.
    pub(super) unsettled: Vec<MemoryId>,
    pub(super) settles_in: Option<Duration>,
    /// The answer had no room for these.
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
    Unsettled(MemoryId, Duration),
    Cut(Option<MemoryId>),
}

/// Takes the entries of a page, up to the first that has to wait.
pub(super) async fn of_page(
    session: &Session,
    d1: &D1,
    entries: Vec<FeedEntry>,
) -> Result<Intake, Trouble> {
    let mut intake = Intake::default();
    let mut ready = Vec::new();
    for entry in entries {
        let end = (entry.seq, entry.nonce.clone());
        match look(entry) {
            Look::Ready(looked) => ready.push(*looked),
            Look::Bad(bad) => intake.quarantined.push(bad),
            Look::Unsettled(id, left) => {
                intake.unsettled.push(id);
                intake.settles_in = Some(left);
                break;
            }
            Look::Cut(_) => break,
        }
        intake.end = Some(end);
    }
    finish(session, d1, ready, intake).await
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
            Look::Unsettled(id, left) => {
                intake.unsettled.push(id);
                intake.settles_in = Some(intake.settles_in.map_or(left, |at| at.max(left)));
            }
            Look::Cut(id) => intake.cut.extend(id),
        }
    }
    finish(session, d1, ready, intake).await
}

fn look(entry: FeedEntry) -> Look {
    let Some(id) = entry.id() else {
        return Look::Bad(bad(&entry, "its id is no SHA-256 in lower-case hex digits".to_owned()));
    };
    if entry.is_cut {
        return Look::Cut(Some(id));
    }
    let state = entry.state_text.as_deref().map(read_state).transpose();
    let shown = entry.row.as_ref().map(Shown::read).transpose();
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
        let is_moved = |text: &String| text.starts_with(PLACEHOLDER) && text.ends_with(']');
        let is_inline = self.is_row_alive() && stored_in_bucket(&self).is_none();
        if is_inline && text.as_ref().is_some_and(is_moved) {
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
        })))
    }
}

enum Finished {
    Incoming(Box<Incoming>),
    Empty(MemoryId, i64),
}

async fn finish(
    session: &Session,
    d1: &D1,
    ready: Vec<Looked>,
    mut intake: Intake,
) -> Result<Intake, Trouble> {
    let ids: Vec<MemoryId> = ready.iter().map(|looked| looked.id).collect();
    let here = session.store.read(move |read| pull::bodies(read, &ids)).await?;
    let needed: Vec<MemoryId> = ready
        .iter()
        .filter(|looked| looked.needs_text(here.get(&looked.id)))
        .map(|looked| looked.id)
        .collect();
    let mut inline = texts(d1, needed.into()).await?;
    for looked in ready {
        let here = here.get(&looked.id);
        let (key, seq) = (looked.entry.key.clone(), looked.entry.seq);
        let text = match stored_in_bucket(&looked) {
            Some(key) if looked.needs_text(here) => body(session, key).await.map(Some),
            _ => Ok(inline.remove(&looked.id)),
        };
        match text.and_then(|text| looked.finish(here, text)) {
            Ok(Finished::Incoming(incoming)) => intake.incoming.push(*incoming),
            Ok(Finished::Empty(id, seq)) => intake.empty.push((id, seq)),
            Err(reason) => intake.quarantined.push(Quarantined { key, seq, reason }),
        }
    }
    Ok(intake)
}

/// The key under which the bucket holds the text of a living row.
fn stored_in_bucket(looked: &Looked) -> Option<&str> {
    let key = looked.entry.row.as_ref()?.r2_key.as_deref()?;
    looked.is_row_alive().then_some(key)
}

async fn texts(
    d1: &D1,
    mut needed: VecDeque<MemoryId>,
) -> Result<HashMap<MemoryId, String>, Trouble> {
    let mut found = HashMap::new();
    while !needed.is_empty() {
        let asked: Vec<MemoryId> = needed.drain(..needed.len().min(FETCH_MAX * 5)).collect();
        let texts = feed::texts(d1, &asked).await.map_err(Trouble::Remote)?;
        found.extend(texts.found);
        needed.extend(texts.cut);
    }
    Ok(found)
}

/// A text out of the bucket; the error is the reason why the memory can't be taken for now.
async fn body(session: &Session, key: &str) -> Result<String, String> {
    // A key is data of others: it must not lead anywhere but to a text.
    let is_text_key = key.starts_with("content/") && !key.contains("..") && key.len() <= 1024;
    if !is_text_key {
        let start: String = key.chars().take(KEY_MAX_CHARS).collect();
        return Err(format!("the bucket's key {start:?} of its text is none of a text"));
    }
    let Some(bucket) = &session.link.bucket else {
        return Err("its text is in a bucket, and this device is linked without one".to_owned());
    };
    let bytes = R2::new(session.remote.in_lane(Lane::Live), bucket).get(key).await;
    let bytes = bytes.map_err(|error| format!("its text could not be fetched: {error}"))?;
    let bytes = bytes.ok_or_else(|| format!("its text is missing in the bucket under {key:?}"))?;
    String::from_utf8(bytes.into()).map_err(|_| "its text in the bucket is no UTF-8".to_owned())
}
