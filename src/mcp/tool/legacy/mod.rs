//! The eight tools that the Python service's HTTP entry point still has under their old names. They
//! answer dictionaries: the text is the structured content, printed.

mod check_database_health;
mod delete_memory;
mod list_memories;
mod memory_graph;
mod retrieve_memory;
mod search_by_tag;
mod store_memory;

use super::face::{Effect, Face};
use super::{Kind, Output, stats};
use crate::clock::Micros;
use crate::mcp::arguments::Arguments;
use crate::mcp::daemon::Daemon;
use crate::mcp::failure::Failure;
use crate::mcp::form::indented;
use crate::mcp::schema::{lean, legacy};
use rmcp::model::JsonObject;
use serde_json::Value;

/// A tool of the old names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::mcp) enum Legacy {
    CheckDatabaseHealth,
    DeleteMemory,
    GetCacheStats,
    ListMemories,
    MemoryGraph,
    RetrieveMemory,
    SearchByTag,
    StoreMemory,
}

impl Legacy {
    /// All of them, by name.
    pub(super) const KINDS: [Kind; 8] = [
        Kind::Legacy(Self::CheckDatabaseHealth),
        Kind::Legacy(Self::DeleteMemory),
        Kind::Legacy(Self::GetCacheStats),
        Kind::Legacy(Self::ListMemories),
        Kind::Legacy(Self::MemoryGraph),
        Kind::Legacy(Self::RetrieveMemory),
        Kind::Legacy(Self::SearchByTag),
        Kind::Legacy(Self::StoreMemory),
    ];

    /// How it is listed.
    pub(super) fn face(self) -> Face {
        match self {
            Self::CheckDatabaseHealth => Face {
                name: "check_database_health",
                title: "Check Database Health",
                description: "Tells whether the memory works, how much it holds, and what to do if \
                              something is wrong.",
                effect: Effect::Nothing,
            },
            Self::DeleteMemory => Face {
                name: "delete_memory",
                title: "Delete Memory",
                description: "Deletes one memory by its content_hash.",
                effect: Effect::Replaces,
            },
            Self::GetCacheStats => Face {
                name: "get_cache_stats",
                title: "Get Cache Stats",
                description: "Tells how many memories there are; there are no caches to tell of.",
                effect: Effect::Nothing,
            },
            Self::ListMemories => Face {
                name: "list_memories",
                title: "List Memories",
                description: "Lists memories page by page, newest first: all, or those of a tag or \
                              type.",
                effect: Effect::Nothing,
            },
            Self::MemoryGraph => Face {
                name: "memory_graph",
                title: "Memory Graph",
                description: "Follows the links between memories: all near one, the shortest path \
                              between two, or the part of the graph around one.",
                effect: Effect::Nothing,
            },
            Self::RetrieveMemory => Face {
                name: "retrieve_memory",
                title: "Retrieve Memory",
                description: "Finds memories by meaning and words, best first.",
                effect: Effect::Nothing,
            },
            Self::SearchByTag => Face {
                name: "search_by_tag",
                title: "Search by Tag",
                description: "Finds the memories that have any, or all, of some tags; newest first.",
                effect: Effect::Nothing,
            },
            Self::StoreMemory => Face {
                name: "store_memory",
                title: "Store Memory",
                description: "Remembers a text across sessions. The same text again adds tags and \
                              metadata to the memory that is there.",
                effect: Effect::Adds,
            },
        }
    }

    /// The schema of its arguments.
    pub(super) fn input_schema(self) -> JsonObject {
        match self {
            Self::CheckDatabaseHealth => legacy::check_database_health_input(),
            Self::DeleteMemory => legacy::delete_memory_input(),
            Self::GetCacheStats => legacy::get_cache_stats_input(),
            Self::ListMemories => legacy::list_memories_input(),
            Self::MemoryGraph => legacy::memory_graph_input(),
            Self::RetrieveMemory => legacy::retrieve_memory_input(),
            Self::SearchByTag => legacy::search_by_tag_input(),
            Self::StoreMemory => legacy::store_memory_input(),
        }
    }

    /// The schema of its structured content.
    pub(super) fn output_schema(self) -> JsonObject {
        match self {
            Self::CheckDatabaseHealth => legacy::check_database_health_output(),
            Self::DeleteMemory => legacy::delete_memory_output(),
            Self::GetCacheStats => legacy::get_cache_stats_output(),
            Self::ListMemories => lean::list_output(),
            Self::MemoryGraph => legacy::memory_graph_output(),
            Self::RetrieveMemory => legacy::retrieve_memory_output(),
            Self::SearchByTag => legacy::search_by_tag_output(),
            Self::StoreMemory => legacy::store_memory_output(),
        }
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
            Self::CheckDatabaseHealth => check_database_health::run(daemon, client, now).await,
            Self::DeleteMemory => delete_memory::run(daemon, client, arguments).await,
            Self::GetCacheStats => stats::run(daemon, client, now).await,
            Self::ListMemories => list_memories::run(daemon, client, arguments).await,
            Self::MemoryGraph => memory_graph::run(daemon, client, arguments).await,
            Self::RetrieveMemory => retrieve_memory::run(daemon, client, arguments).await,
            Self::SearchByTag => search_by_tag::run(daemon, client, arguments).await,
            Self::StoreMemory => store_memory::run(daemon, client, arguments).await,
        }
    }
}

/// An answer that is a dictionary.
fn dictionary(structured: Value) -> Output {
    Output { text: indented(&structured), structured }
}
