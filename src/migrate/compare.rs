//! A memory of the service and the same memory here, field by field: pure.
//!
//! What differs is a fault only if nothing explains it. A field that was written here, or on another device,
//! or later than the row says, differs on purpose; it is told apart, as are the keys that the service
//! rewrites at every search.

use super::row::SourceMemory;
use crate::clock::Micros;
use crate::model::carried::Carried;
use crate::model::id::BodyHash;
use crate::model::seen::Seen;
use crate::model::shown::{VOLATILE, is_same_instant};
use crate::model::stamp::{DeviceId, Stamp};
use crate::store::held::Held;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What kind of difference, or of remark, something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A memory of the source is not here.
    Missing,
    /// A row of the source can't be taken.
    Refused,
    /// The source has changed the memory since it was taken over.
    NotTakenOver,
    /// It lives on one side only.
    Life,
    /// It was deleted at another time.
    DeletedAt,
    /// It has another text.
    Text,
    /// Its text is not here.
    TextMissing,
    /// It was stored at another time.
    CreatedAt,
    /// It was changed at an earlier time here.
    UpdatedAt,
    /// It has another type.
    Type,
    /// It has other tags.
    Tags,
    /// It has other metadata.
    Metadata,
    /// Another memory replaces it.
    Successor,
    /// Other columns are kept beside it.
    Carried,
    /// It has no vector and none is being made.
    VectorMissing,
    /// Its vector is not the one that its text has.
    VectorDiffers,
    /// An edge of the graph is not here.
    EdgeMissing,
    /// An edge of the graph is another one.
    EdgeDiffers,
    /// No fault: it was changed here, on another device, or later.
    ChangedSince,
    /// No fault: keys that the service rewrites at every search.
    Volatile,
    /// No fault: a deleted memory's text is no longer kept.
    TextDropped,
    /// No fault: its row is gone from the source, which tells of no deletion; it is alive here.
    GoneThere,
    /// No fault yet: its vector is being made.
    VectorPending,
    /// No fault yet: a change that is being followed.
    OnTheWay,
}

impl Kind {
    /// Whether it means that the two sides disagree.
    pub fn is_difference(self) -> bool {
        self < Self::ChangedSince
    }

    /// Whether it will settle by itself.
    pub fn is_passing(self) -> bool {
        matches!(self, Self::VectorPending | Self::OnTheWay)
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Refused => "refused",
            Self::NotTakenOver => "not_taken_over",
            Self::Life => "life",
            Self::DeletedAt => "deleted_at",
            Self::Text => "text",
            Self::TextMissing => "text_missing",
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
            Self::Type => "type",
            Self::Tags => "tags",
            Self::Metadata => "metadata",
            Self::Successor => "successor",
            Self::Carried => "carried",
            Self::VectorMissing => "vector_missing",
            Self::VectorDiffers => "vector_differs",
            Self::EdgeMissing => "edge_missing",
            Self::EdgeDiffers => "edge_differs",
            Self::ChangedSince => "changed_since",
            Self::Volatile => "volatile",
            Self::TextDropped => "text_dropped",
            Self::GoneThere => "gone_there",
            Self::VectorPending => "vector_pending",
            Self::OnTheWay => "on_the_way",
        }
    }
}

/// What was found: its kind and what it is about.
pub type Finding = (Kind, String);

/// Compares a row of the source with what is here of its memory; `is_followed` says that changes of the source
/// come by themselves.
pub fn compare(row: &SourceMemory, held: Option<&Held>, is_followed: bool) -> Vec<Finding> {
    let not_yet = |kind: Kind| if is_followed { Kind::OnTheWay } else { kind };
    let Some(held) = held else {
        return vec![(not_yet(Kind::Missing), "it is not here".to_owned())];
    };
    let shown = Seen::of(&row.shown, BodyHash::of(&row.content)).to_text();
    match &held.seen {
        Some(seen) if *seen != shown => {
            return vec![(
                not_yet(Kind::NotTakenOver),
                "the source has changed it since".to_owned(),
            )];
        }
        _ => {}
    }
    let mut look = Look { row, held, found: Vec::new() };
    look.life();
    look.text();
    look.instants();
    look.kind_and_successor();
    look.tags();
    look.metadata();
    look.carried();
    look.vector();
    look.found
}

struct Look<'a> {
    row: &'a SourceMemory,
    held: &'a Held,
    found: Vec<Finding>,
}

impl Look<'_> {
    /// Notes that a register says something else than the row, which says it as of `at`.
    fn differs(&mut self, kind: Kind, stamp: Stamp, at: Micros, what: String) {
        let is_later = stamp.device != DeviceId(0) || stamp.ms > at.as_millis();
        self.found.push((if is_later { Kind::ChangedSince } else { kind }, what));
    }

    fn life(&mut self) {
        let (life, shown) = (&self.held.state.life, &self.row.shown);
        match (life.value, shown.deleted_at) {
            (true, Some(at)) => {
                self.differs(Kind::Life, life.stamp, at, "it is deleted there".to_owned());
            }
            (false, None) => {
                let what = "it is deleted here".to_owned();
                self.differs(Kind::Life, life.stamp, shown.created_at, what);
            }
            (false, Some(at)) if life.stamp.ms != at.as_millis() => {
                self.differs(
                    Kind::DeletedAt,
                    life.stamp,
                    at,
                    "it was deleted at another time".to_owned(),
                );
            }
            _ => {}
        }
    }

    fn text(&mut self) {
        let text = &self.held.state.text;
        if text.value != BodyHash::of(&self.row.content) {
            self.differs(Kind::Text, text.stamp, self.row.shown.updated_at, "its text".to_owned());
            return;
        }
        match &self.held.content {
            Some(content) if *content == self.row.content => {}
            None if !self.held.state.is_alive() => {
                let what = "the text of a deleted memory is kept for a while only".to_owned();
                self.found.push((Kind::TextDropped, what));
            }
            _ => self.found.push((Kind::TextMissing, "its text is not here".to_owned())),
        }
    }

    fn instants(&mut self) {
        let (state, shown) = (&self.held.state, &self.row.shown);
        if !is_same_instant(state.birth.value.at, shown.created_at) {
            let what = format!("stored at {} there", shown.created_at.to_rfc3339());
            self.differs(Kind::CreatedAt, state.birth.stamp, shown.created_at, what);
        }
        if state.updated_at < shown.updated_at
            && !is_same_instant(state.updated_at, shown.updated_at)
        {
            let what = format!("changed at {} there", shown.updated_at.to_rfc3339());
            self.found.push((Kind::UpdatedAt, what));
        }
    }

    fn kind_and_successor(&mut self) {
        let (state, shown) = (&self.held.state, &self.row.shown);
        if state.kind.value != shown.kind {
            let what = format!("its type is {} there", shown.kind);
            self.differs(Kind::Type, state.kind.stamp, shown.updated_at, what);
        }
        if state.superseded_by.value != shown.superseded_by {
            let what = shown.superseded_by.map_or_else(
                || "nothing replaces it there".to_owned(),
                |id| format!("{id} replaces it there"),
            );
            self.differs(Kind::Successor, state.superseded_by.stamp, shown.updated_at, what);
        }
    }

    fn tags(&mut self) {
        let (state, shown) = (&self.held.state, &self.row.shown);
        let all: BTreeSet<&String> = state.tags.keys().chain(&shown.tags).collect();
        for tag in all {
            let register = state.tags.get(tag);
            let (is_here, is_there) =
                (register.is_some_and(|register| register.value), shown.tags.contains(tag));
            if is_here != is_there {
                let stamp = register.map(|register| register.stamp).unwrap_or_default();
                let what =
                    format!("the tag {tag} is {} only", if is_here { "here" } else { "there" });
                self.differs(Kind::Tags, stamp, shown.updated_at, what);
            }
        }
    }

    fn metadata(&mut self) {
        let (state, shown) = (&self.held.state, &self.row.shown);
        let all: BTreeSet<&String> = state.metadata.keys().chain(shown.metadata.keys()).collect();
        for key in all {
            let register = state.metadata.get(key);
            let here = register.and_then(|register| register.value.as_ref());
            let there = shown.metadata.get(key);
            if here == there {
                continue;
            }
            let what = format!("its metadata key {key} is another one");
            if VOLATILE.contains(&key.as_str()) {
                self.found.push((Kind::Volatile, what));
            } else {
                let stamp = register.map(|register| register.stamp).unwrap_or_default();
                self.differs(Kind::Metadata, stamp, shown.updated_at, what);
            }
        }
    }

    fn carried(&mut self) {
        let still = |carried: &Carried| Carried { last_accessed: None, ..carried.clone() };
        let (here, there) = (&self.held.carried, &self.row.carried);
        if still(here) != still(there) {
            self.found.push((Kind::Carried, "other columns are kept of it".to_owned()));
        } else if here.last_accessed != there.last_accessed {
            self.found.push((Kind::Volatile, "a search has found it since".to_owned()));
        }
    }

    fn vector(&mut self) {
        if !self.held.state.is_findable() || self.held.vector.is_some() {
            return;
        }
        self.found.push(if self.held.is_pending {
            (Kind::VectorPending, "its vector is being made".to_owned())
        } else {
            (Kind::VectorMissing, "it has no vector".to_owned())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::MemoryId;
    use crate::model::shown::Shown;
    use crate::model::state::Register;
    use crate::model::takeover::newborn;

    const AT: Micros = Micros(1_700_000_000_123_456);

    fn row() -> SourceMemory {
        let mut shown = Shown::new(AT, AT);
        shown.tags.insert("a".to_owned());
        shown.metadata.insert("k".to_owned(), "1".to_owned());
        SourceMemory {
            rowid: 1,
            id: MemoryId::of("text"),
            content: "text".to_owned(),
            shown,
            carried: Carried::default(),
            is_embedding_pending: false,
            remarks: Vec::new(),
        }
    }

    fn held(row: &SourceMemory) -> Held {
        let body = BodyHash::of(&row.content);
        Held {
            state: newborn(&row.shown, body),
            content: Some(row.content.clone()),
            carried: row.carried.clone(),
            seen: Some(Seen::of(&row.shown, body).to_text()),
            vector: Some(vec![1.0]),
            n_windows: 1,
            is_pending: false,
        }
    }

    fn kinds(row: &SourceMemory, held: &Held) -> Vec<Kind> {
        compare(row, Some(held), false).into_iter().map(|(kind, _)| kind).collect()
    }

    #[test]
    fn what_was_just_taken_over_agrees() {
        let mut row = row();
        assert_eq!(kinds(&row, &held(&row)), []);
        row.shown.deleted_at = Some(Micros(AT.0 + 5_000_000));
        assert_eq!(kinds(&row, &held(&row)), []);
    }

    #[test]
    fn every_field_is_compared() {
        let row = row();
        let spoilt = |spoil: fn(&mut Held)| {
            let mut held = held(&row);
            spoil(&mut held);
            kinds(&row, &held)
        };
        assert_eq!(spoilt(|held| held.state.life.value = false), [Kind::Life]);
        assert_eq!(spoilt(|held| held.state.text.value = BodyHash::of("other")), [Kind::Text]);
        assert_eq!(spoilt(|held| held.content = None), [Kind::TextMissing]);
        assert_eq!(spoilt(|held| held.content = Some("tixt".to_owned())), [Kind::TextMissing]);
        assert_eq!(spoilt(|held| held.state.birth.value.at = Micros(5)), [Kind::CreatedAt]);
        assert_eq!(spoilt(|held| held.state.updated_at = Micros(5)), [Kind::UpdatedAt]);
        assert_eq!(spoilt(|held| held.state.kind.value = "x".to_owned()), [Kind::Type]);
        assert_eq!(spoilt(|held| held.state.tags.clear()), [Kind::Tags]);
        assert_eq!(spoilt(|held| held.state.metadata.clear()), [Kind::Metadata]);
        let successor: fn(&mut Held) =
            |held| held.state.superseded_by.value = Some(MemoryId::of("y"));
        assert_eq!(spoilt(successor), [Kind::Successor]);
        assert_eq!(spoilt(|held| held.carried.store = Some("s".to_owned())), [Kind::Carried]);
        assert_eq!(spoilt(|held| held.vector = None), [Kind::VectorMissing]);
        let pending: fn(&mut Held) = |held| (held.vector, held.is_pending) = (None, true);
        assert_eq!(spoilt(pending), [Kind::VectorPending]);
        assert_eq!(spoilt(|held| held.seen = Some("{}".to_owned())), [Kind::NotTakenOver]);
        assert_eq!(compare(&row, None, false), [(Kind::Missing, "it is not here".to_owned())]);
        assert_eq!(compare(&row, None, true), [(Kind::OnTheWay, "it is not here".to_owned())]);
    }

    #[test]
    fn what_was_written_here_or_later_is_told_apart() {
        let row = row();
        let mut here = held(&row);
        let own = Stamp { ms: 1, counter: 0, device: DeviceId(7) };
        here.state.set_tags(&["b".to_owned()].into(), own);
        here.state.tags.insert("b".to_owned(), Register::new(own, true));
        let later = Stamp { ms: AT.as_millis() + 1, counter: 0, device: DeviceId(0) };
        here.state.metadata.insert("k".to_owned(), Register::new(later, Some("2".to_owned())));
        here.state
            .metadata
            .insert("access_count".to_owned(), Register::new(own, Some("9".to_owned())));
        let found = kinds(&row, &here);
        assert!(found.iter().all(|kind| !kind.is_difference()), "{found:?}");
        assert_eq!(found.iter().filter(|kind| **kind == Kind::Volatile).count(), 1);
        assert!(found.len() >= 3);
    }
}
