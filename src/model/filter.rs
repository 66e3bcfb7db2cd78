//! Which memories a list, a search or a deletion speaks of.

use crate::clock::Micros;
use std::collections::BTreeSet;

/// Conditions that all must hold; empty ones always do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Normalised tags.
    pub tags: BTreeSet<String>,
    /// Whether a memory must have all of `tags`, or one of them.
    pub tags_all: bool,
    /// The exact type.
    pub memory_type: Option<String>,
    /// Created at this instant or later.
    pub after: Option<Micros>,
    /// Created before this instant.
    pub before: Option<Micros>,
}

impl Filter {
    /// Whether every memory passes.
    pub fn is_empty(&self) -> bool {
        self.tags.is_empty()
            && self.memory_type.is_none()
            && self.after.is_none()
            && self.before.is_none()
    }
}
