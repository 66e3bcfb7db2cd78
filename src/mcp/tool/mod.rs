//! The tools: each turns its arguments into one call of the daemon, and the answer into the Python
//! service's words and into structured content.

pub(super) mod search;

mod delete;
mod health;
mod list;
mod store;
mod update;

use super::arguments::Arguments;
use super::daemon::Daemon;
use super::failure::Failure;
use super::schema;
use crate::api::wire::MemoryJson;
use crate::clock::Micros;
use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};
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
    Delete,
    Health,
    List,
    Search,
    Store,
    Update,
}

impl Kind {
    /// The lean set, in the order in which it is listed: by name, always the same, so that a client's
    /// prompt cache holds.
    pub(super) const LEAN: [Self; 6] =
        [Self::Delete, Self::Health, Self::List, Self::Search, Self::Store, Self::Update];

    /// The name it is called by.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Delete => "memory_delete",
            Self::Health => "memory_health",
            Self::List => "memory_list",
            Self::Search => "memory_search",
            Self::Store => "memory_store",
            Self::Update => "memory_update",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Delete => "Delete memories",
            Self::Health => "Check the memory's health",
            Self::List => "List memories",
            Self::Search => "Search memories",
            Self::Store => "Store a memory",
            Self::Update => "Update a memory",
        }
    }

    fn description(self) -> &'static str {
        match self {
            Self::Delete => {
                "Deletes one memory by content_hash, or all that match tags and time. Try dry_run first."
            }
            Self::Health => "Tells whether storage, search and sync work, and what to do if not.",
            Self::List => "Lists memories page by page, newest first.",
            Self::Search => {
                "Finds memories by meaning and words, best first. Without query: the newest that match \
                 tags or time."
            }
            Self::Store => {
                "Remembers a text across sessions. The same text again adds tags and metadata to the \
                 memory that is there."
            }
            Self::Update => "Changes tags, type, metadata or text of a memory. Tags are replaced.",
        }
    }

    fn annotations(self) -> ToolAnnotations {
        let closed = ToolAnnotations::new().open_world(false);
        match self {
            Self::Health | Self::List | Self::Search => closed.read_only(true),
            Self::Store => closed.read_only(false).destructive(false).idempotent(true),
            Self::Delete | Self::Update => {
                closed.read_only(false).destructive(true).idempotent(true)
            }
        }
    }

    /// The schema of its arguments.
    pub(super) fn input_schema(self) -> JsonObject {
        match self {
            Self::Delete => schema::delete_input(),
            Self::Health => schema::health_input(),
            Self::List => schema::list_input(),
            Self::Search => schema::search_input(),
            Self::Store => schema::store_input(),
            Self::Update => schema::update_input(),
        }
    }

    /// The schema of its structured content.
    pub(super) fn output_schema(self) -> JsonObject {
        match self {
            Self::Delete => schema::delete_output(),
            Self::Health => schema::health_output(),
            Self::List => schema::list_output(),
            Self::Search => schema::search_output(),
            Self::Store => schema::store_output(),
            Self::Update => schema::update_output(),
        }
    }

    /// How it is listed.
    pub(super) fn tool(self) -> Tool {
        Tool::new(self.name(), self.description(), self.input_schema())
            .with_title(self.title())
            .with_raw_output_schema(Arc::new(self.output_schema()))
            .with_annotations(self.annotations())
    }

    /// Carries it out in the name of `client`.
    pub(super) async fn run(
        self,
        daemon: &Daemon,
        client: &str,
        arguments: Arguments,
    ) -> Result<Output, Failure> {
        match self {
            Self::Delete => delete::run(daemon, client, arguments).await,
            Self::Health => health::run(daemon, client).await,
            Self::List => list::run(daemon, client, arguments).await,
            Self::Search => search::run(daemon, client, arguments).await,
            Self::Store => store::run(daemon, client, arguments).await,
            Self::Update => update::run(daemon, client, arguments).await,
        }
    }
}

const TAG_MATCHES: &[&str] = &["any", "all"];

/// Whether a memory must have all tags that are asked for.
fn wants_all_tags(arguments: &mut Arguments) -> Result<bool, Failure> {
    Ok(arguments.choice("tag_match", TAG_MATCHES)? == Some("all"))
}

/// JSON in the form in which the Python service prints it.
fn indented(value: &Value) -> String {
    format!("{value:#}")
}

/// A memory under the Python service's names. `agent_id` is what an agent put into the metadata.
fn python_form(memory: &MemoryJson) -> Value {
    json!({
        "content": memory.content,
        "content_hash": memory.id,
        "tags": memory.tags,
        "memory_type": memory.memory_type,
        "metadata": memory.metadata,
        "created_at": epoch_seconds(&memory.created_at),
        "updated_at": epoch_seconds(&memory.updated_at),
        "created_at_iso": memory.created_at,
        "updated_at_iso": memory.updated_at,
        "agent_id": memory.metadata.get("agent_id"),
    })
}

/// Seconds since 1970, with fractions; 0 for earlier instants.
fn epoch_seconds(rfc3339: &str) -> f64 {
    let at = Micros::parse_rfc3339(rfc3339).unwrap_or_default();
    at.since(Micros(0)).as_secs_f64()
}

/// A memory for the tests of the tools.
#[cfg(test)]
fn sample(content: &str, tags: &[&str]) -> MemoryJson {
    MemoryJson {
        id: "ab".repeat(32),
        content: content.to_owned(),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        memory_type: "note".to_owned(),
        metadata: JsonObject::new(),
        created_at: "2026-05-04T03:02:01.000500Z".to_owned(),
        updated_at: "2026-05-04T03:02:02.000000Z".to_owned(),
        deleted_at: None,
        superseded_by: None,
        origin: crate::api::wire::Origin { device: "00000001".to_owned(), client: "t".to_owned() },
        synced: false,
        embedded: false,
    }
}

/// The arguments of `kind` for its tests.
#[cfg(test)]
fn given(kind: Kind, value: Value) -> Arguments {
    let given = super::arguments::tests::object(value);
    Arguments::check(kind.name(), &kind.input_schema(), Some(given)).unwrap()
}
