//! The tools: each turns its arguments into calls of the daemon, and the answer into the Python
//! service's words and into structured content.

pub(super) mod search;

mod cleanup;
mod delete;
mod face;
mod get;
mod health;
mod legacy;
mod list;
mod revival;
mod stats;
mod store;
mod store_session;
mod update;

use super::ToolSet;
use super::arguments::Arguments;
use super::daemon::Daemon;
use super::failure::Failure;
use super::schema::{full, lean};
use crate::clock::Micros;
use face::{Effect, Face};
use legacy::Legacy;
use rmcp::model::{JsonObject, Tool};
use serde_json::Value;
use std::sync::Arc;

/// What a call answers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Output {
    /// For a model that reads.
    pub(super) text: String,
    /// For a program, of the tool's output schema.
    pub(super) structured: Value,
}

/// A tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Cleanup,
    Delete,
    Get,
    Health,
    List,
    Search,
    Stats,
    Store,
    StoreSession,
    Update,
    Legacy(Legacy),
}

impl Kind {
    const LEAN: [Self; 6] =
        [Self::Delete, Self::Health, Self::List, Self::Search, Self::Store, Self::Update];
    const FULL: [Self; 10] = [
        Self::Cleanup,
        Self::Delete,
        Self::Get,
        Self::Health,
        Self::List,
        Self::Search,
        Self::Stats,
        Self::Store,
        Self::StoreSession,
        Self::Update,
    ];

    /// The tools of a set, in the order in which they are listed: by name, always the same, so that a
    /// client's prompt cache holds.
    pub(super) fn of(set: ToolSet) -> &'static [Self] {
        match set {
            ToolSet::Lean => &Self::LEAN,
            ToolSet::Full => &Self::FULL,
            ToolSet::Legacy => &Legacy::KINDS,
        }
    }

    /// The name it is called by.
    pub(super) fn name(self) -> &'static str {
        self.face().name
    }

    fn face(self) -> Face {
        match self {
            Self::Cleanup => Face {
                name: "memory_cleanup",
                title: "Remove duplicates",
                description: "Deletes memories whose text another one has too. Tags and metadata of the \
                              deleted ones move to the one that is kept.",
                effect: Effect::Replaces,
            },
            Self::Delete => Face {
                name: "memory_delete",
                title: "Delete memories",
                description: "Deletes one memory by content_hash, or all that match tags and time. Try \
                              dry_run first.",
                effect: Effect::Replaces,
            },
            Self::Get => Face {
                name: "memory_get",
                title: "Read a memory",
                description: "Reads one memory, whole, by its content_hash.",
                effect: Effect::Nothing,
            },
            Self::Health => Face {
                name: "memory_health",
                title: "Check the memory's health",
                description: "Tells whether storage, search and sync work, and what to do if not.",
                effect: Effect::Nothing,
            },
            Self::List => Face {
                name: "memory_list",
                title: "List memories",
                description: "Lists memories page by page, newest first.",
                effect: Effect::Nothing,
            },
            Self::Search => Face {
                name: "memory_search",
                title: "Search memories",
                description: "Finds memories by meaning and words, best first. Without query: the newest \
                              that match tags or time.",
                effect: Effect::Nothing,
            },
            Self::Stats => Face {
                name: "memory_stats",
                title: "Count memories",
                description: "Tells how many memories and tags there are, and how large the database is.",
                effect: Effect::Nothing,
            },
            Self::Store => Face {
                name: "memory_store",
                title: "Store a memory",
                description: "Remembers a text across sessions. The same text again adds tags and metadata \
                              to the memory that is there.",
                effect: Effect::Adds,
            },
            Self::StoreSession => Face {
                name: "memory_store_session",
                title: "Store a conversation",
                description: "Remembers the turns of a conversation together. A long one becomes several \
                              memories of whole turns with one tag session:<id>.",
                effect: Effect::Adds,
            },
            Self::Update => Face {
                name: "memory_update",
                title: "Update a memory",
                description: "Changes tags, type, metadata or text of a memory. Tags are replaced.",
                effect: Effect::Replaces,
            },
            Self::Legacy(old) => old.face(),
        }
    }

    /// The schema of its arguments as `set` offers it.
    pub(super) fn input_schema(self, set: ToolSet) -> JsonObject {
        match self {
            Self::Cleanup => full::cleanup_input(),
            Self::Delete => lean::delete_input(),
            Self::Get => full::get_input(),
            Self::Health => lean::health_input(),
            Self::List => lean::list_input(),
            Self::Search => lean::search_input(),
            Self::Stats => full::stats_input(),
            Self::Store if set == ToolSet::Full => full::store_input(),
            Self::Store => lean::store_input(),
            Self::StoreSession => full::store_session_input(),
            Self::Update if set == ToolSet::Full => full::update_input(),
            Self::Update => lean::update_input(),
            Self::Legacy(old) => old.input_schema(),
        }
    }

    /// The schema of its structured content.
    pub(super) fn output_schema(self) -> JsonObject {
        match self {
            Self::Cleanup => full::cleanup_output(),
            Self::Delete => lean::delete_output(),
            Self::Get => full::get_output(),
            Self::Health => lean::health_output(),
            Self::List => lean::list_output(),
            Self::Search => lean::search_output(),
            Self::Stats => full::stats_output(),
            Self::Store => lean::store_output(),
            Self::StoreSession => full::store_session_output(),
            Self::Update => lean::update_output(),
            Self::Legacy(old) => old.output_schema(),
        }
    }

    /// How `set` lists it.
    pub(super) fn tool(self, set: ToolSet) -> Tool {
        let face = self.face();
        Tool::new(face.name, face.description, self.input_schema(set))
            .with_title(face.title)
            .with_raw_output_schema(Arc::new(self.output_schema()))
            .with_annotations(face.annotations())
    }

    /// Carries it out in the name of `client`.
    pub(super) async fn run(
        self,
        daemon: &Daemon,
        client: &str,
        now: Micros,
        arguments: Arguments,
    ) -> Result<Output, Failure> {
        match self {
            Self::Cleanup => cleanup::run(daemon, client).await,
            Self::Delete => delete::run(daemon, client, arguments).await,
            Self::Get => get::run(daemon, client, arguments).await,
            Self::Health => health::run(daemon, client).await,
            Self::List => list::run(daemon, client, arguments).await,
            Self::Search => search::run(daemon, client, arguments).await,
            Self::Stats => stats::run(daemon, client, now).await,
            Self::Store => store::run(daemon, client, arguments).await,
            Self::StoreSession => store_session::run(daemon, client, arguments).await,
            Self::Update => update::run(daemon, client, arguments).await,
            Self::Legacy(old) => old.run(daemon, client, now, arguments).await,
        }
    }
}

const TAG_MATCHES: &[&str] = &["any", "all"];

/// Whether a memory must have all tags that are asked for.
fn wants_all_tags(arguments: &mut Arguments) -> Result<bool, Failure> {
    Ok(arguments.choice("tag_match", TAG_MATCHES)? == Some("all"))
}

/// The arguments of `kind` in the lean set, or in the only one it belongs to, for its tests.
#[cfg(test)]
fn given(kind: Kind, value: Value) -> Arguments {
    given_in(ToolSet::Lean, kind, value)
}

/// The arguments of `kind` in `set`, for its tests.
#[cfg(test)]
fn given_in(set: ToolSet, kind: Kind, value: Value) -> Arguments {
    let given = super::arguments::tests::object(value);
    Arguments::check(kind.name(), &kind.input_schema(set), Some(given)).unwrap()
}
