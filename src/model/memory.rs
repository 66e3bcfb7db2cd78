//! A memory as people see it.

use super::id::MemoryId;
use crate::clock::Micros;
use serde_json::{Map, Value};

/// A memory with what is known of its way to the cloud and to the vector index.
#[derive(Debug, Clone, PartialEq)]
pub struct Memory {
    /// What names it.
    pub id: MemoryId,
    /// The exact text. Empty for a deleted memory whose content has been dropped.
    pub content: String,
    /// Sorted tags.
    pub tags: Vec<String>,
    /// The type.
    pub memory_type: String,
    /// Metadata by key.
    pub metadata: Map<String, Value>,
    /// When it was first stored, or stored again after a deletion.
    pub created_at: Micros,
    /// When it was last changed.
    pub updated_at: Micros,
    /// When it was deleted, for a tombstone.
    pub deleted_at: Option<Micros>,
    /// The memory that replaces this one.
    pub superseded_by: Option<MemoryId>,
    /// Which device stored it.
    pub device: String,
    /// Which program stored it.
    pub client: String,
    /// Whether D1, and R2 if it holds the body, have acknowledged the present version.
    pub synced: bool,
    /// Whether it has a vector in the present embedding space.
    pub embedded: bool,
}
